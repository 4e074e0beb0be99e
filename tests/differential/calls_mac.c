/* MACs: signing and verification. */
#include <string.h>

#include "tests/differential/operations.h"

#define MAC_MAX 64

struct mac {
    struct run *run;
    struct session *session;
    enum operation_kind kind;
    struct operation *operation;
};

static bool signs(const struct mac *mac)
{
    return mac->kind == KIND_SIGN;
}

static CK_ULONG mac_len(const struct message *message)
{
    return message->spec->shape == SHAPE_MAC_LEN ? message->parameters.number : message->spec->len;
}

static struct call mac_call(const struct mac *mac, enum function to_sign)
{
    enum function function =
        signs(mac) ? to_sign : (enum function)(to_sign + CALL_VerifyInit - CALL_SignInit);
    struct call call = run_call(function, mac->session);
    const struct message *message = &mac->operation->message;

    call.subject = message->spec == NULL ? "" : message->spec->subject;
    if (message->key != NULL && !message->key->known)
        call.comparison = COMPARE_LENGTH;
    if (!signs(mac))
        call.comparison = COMPARE_NOTHING;
    if (operation_lost_its_key(mac->operation))
        call.variant = "key destroyed";
    for (int side = 0; side < SIDES; side++)
        call.check[side] = (struct bytes){message->sealed[side], message->sealed_len};
    if (message->spec != NULL && message->spec->shape == SHAPE_MAC_LEN) {
        call.cut = message->parameters.number;
        call.check[THEIRS].len += message->spec->len - message->parameters.number;
    }
    return call;
}

static void give_text(const struct mac *mac, struct call *call, CK_ULONG len)
{
    for (int side = 0; side < SIDES; side++)
        call->in[side] = (struct bytes){mac->operation->message.text + mac->operation->fed, len};
}

static void conclude(const struct mac *mac, const struct answer answers[SIDES])
{
    struct message *message = &mac->operation->message;

    if (signs(mac) && answers[OURS].len <= TEXT_MAX) {
        message->sealed_len = answers[OURS].len;
        for (int side = 0; side < SIDES; side++)
            memcpy(message->sealed[side], answers[side].out, MAC_MAX);
        run_add_message(mac->run, message);
    }
    operation_done(mac->operation);
}

static void result(const struct mac *mac, enum function to_sign)
{
    struct call call = mac_call(mac, to_sign);
    struct answer answers[SIDES];

    if (to_sign == CALL_Sign)
        give_text(mac, &call, mac->operation->message.text_len);
    if (to_sign == CALL_Sign && mac->operation->parts)
        call.variant = "after parts";
    else if (call.variant[0] == '\0' && mac->operation->message.tampered)
        call.variant = "tampered";
    call.room = OUT_ROOM;
    if (signs(mac) && call.variant[0] == '\0')
        operation_output(mac->run, &call, mac_len(&mac->operation->message));
    enum step step = run_exchange(mac->run, &call, answers);
    if (step == STEP_OK && !call.no_out)
        conclude(mac, answers);
    else if (step == STEP_REFUSED && answers[OURS].rv != CKR_BUFFER_TOO_SMALL)
        operation_failed(mac->session, mac->kind);
}

static void update(const struct mac *mac)
{
    struct operation *operation = mac->operation;
    struct call call = mac_call(mac, CALL_SignUpdate);
    CK_ULONG len = operation_part(mac->run, operation, operation->message.text_len);
    struct answer answers[SIDES];

    give_text(mac, &call, len);
    if (len == 0 && call.variant[0] == '\0')
        call.variant = "no input";
    enum step step = run_exchange(mac->run, &call, answers);
    if (step == STEP_REFUSED)
        operation_failed(mac->session, mac->kind);
    if (step != STEP_OK)
        return;
    operation->parts = true;
    operation->fed += len;
}

/* Another text, another MAC or another length of it. */
static void tamper(struct run *run, struct message *message)
{
    unsigned long choice = prng_below(&run->prng, 3);

    message->tampered = true;
    if (choice == 0) {
        message->text[0] ^= 1;
        message->text_len += message->text_len == 0 ? 1 : 0;
    } else if (choice == 1) {
        message->sealed[OURS][0] ^= 1;
        message->sealed[THEIRS][0] ^= 1;
    } else {
        message->sealed_len--;
    }
}

static void begin(const struct mac *mac)
{
    struct message message;

    if (signs(mac)) {
        if (!operation_message(mac->run, COMMON_MAC, &message))
            return;
    } else {
        const struct message *kept = run_message(mac->run, CKF_SIGN);
        if (kept == NULL)
            return;
        message = *kept;
        if (prng_percent(&mac->run->prng, 15))
            tamper(mac->run, &message);
    }
    if (mac->session->open)
        operation_start(mac->run, mac->session, mac->kind, &message);
}

static void not_begun(const struct mac *mac)
{
    static const enum function functions[] = {CALL_Sign, CALL_SignUpdate, CALL_SignFinal};
    struct call call = mac_call(mac, functions[prng_below(&mac->run->prng, 3)]);
    struct answer answers[SIDES];

    call.variant = mac->session->failed[mac->kind] ? "after an error" : "not begun";
    call.room = OUT_ROOM;
    call.comparison = COMPARE_NOTHING;
    for (int side = 0; side < SIDES; side++)
        call.in[side] = call.check[side] =
            (struct bytes){(const unsigned char *) "0123456789abcdef", 16};
    run_exchange(mac->run, &call, answers);
}

static void go_on(const struct mac *mac)
{
    struct operation *operation = mac->operation;

    if (prng_percent(&mac->run->prng, 4))
        begin(mac);
    else if (operation->parts ? prng_percent(&mac->run->prng, 3)
                              : prng_percent(&mac->run->prng, 55))
        result(mac, CALL_Sign);
    else if (operation->fed < operation->message.text_len)
        update(mac);
    else
        result(mac, CALL_SignFinal);
}

void mac_step(struct run *run)
{
    struct session *session = run_session(run);
    struct mac mac = {.run = run, .session = session, .kind = KIND_SIGN};

    if (session == NULL)
        return;
    if (session->operations[KIND_VERIFY].active ||
        (!session->operations[KIND_SIGN].active && run_message(run, CKF_SIGN) != NULL &&
         prng_percent(&run->prng, 70)))
        mac.kind = KIND_VERIFY;
    mac.operation = &session->operations[mac.kind];
    if (operation_is_hindered(run, session, mac.kind))
        return;
    if (mac.operation->active)
        go_on(&mac);
    else if (prng_percent(&run->prng, 4))
        not_begun(&mac);
    else
        begin(&mac);
    for (int i = 0; i < 3 && mac.operation->active && !run->ended; i++)
        go_on(&mac);
}
