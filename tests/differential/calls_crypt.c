/* Encryption and decryption. */
#include <string.h>

#include "tests/differential/operations.h"

struct crypt {
    struct run *run;
    struct session *session;
    enum operation_kind kind;
    struct operation *operation;
};

static bool encrypts(const struct crypt *crypt)
{
    return crypt->kind == KIND_ENCRYPT;
}

static CK_ULONG input_len(const struct crypt *crypt)
{
    const struct message *message = &crypt->operation->message;

    return encrypts(crypt) ? message->text_len : message->sealed_len;
}

static const unsigned char *input(const struct crypt *crypt, enum side side)
{
    const struct message *message = &crypt->operation->message;

    return encrypts(crypt) ? message->text : message->sealed[side];
}

/* The bytes of a result are those of both sides when the key is. A decryption gives the text that
 * went in, whatever the key. */
static enum comparison comparison(const struct crypt *crypt)
{
    return !encrypts(crypt) || crypt->operation->message.key->known ? COMPARE_BYTES
                                                                    : COMPARE_LENGTH;
}

static struct call crypt_call(const struct crypt *crypt, enum function for_encryption)
{
    /* The four functions of decryption follow those of encryption. */
    enum function function =
        encrypts(crypt) ? for_encryption
                        : (enum function)(for_encryption + CALL_DecryptInit - CALL_EncryptInit);
    struct call call = run_call(function, crypt->session);
    const struct message *message = &crypt->operation->message;

    call.subject = message->spec == NULL ? "" : message->spec->subject;
    if (message->key != NULL)
        call.comparison = comparison(crypt);
    if (operation_lost_its_key(crypt->operation))
        call.variant = "key destroyed";
    else if (crypt->run->peer == PEER_NSS && crypt->operation->queried)
        call.variant = "after a size query";
    return call;
}

static void give_input(const struct crypt *crypt, struct call *call, CK_ULONG len)
{
    for (int side = 0; side < SIDES; side++)
        call->in[side] =
            (struct bytes){input(crypt, (enum side) side) + crypt->operation->fed, len};
}

/* What came out is what a later decryption takes. */
static void keep_output(const struct crypt *crypt, const struct answer answers[SIDES])
{
    struct message *message = &crypt->operation->message;
    CK_ULONG len = answers[OURS].len;

    if (!encrypts(crypt) || len > TEXT_MAX - message->sealed_len)
        return;
    for (int side = 0; side < SIDES; side++)
        memcpy(message->sealed[side] + message->sealed_len, answers[side].out, len);
    message->sealed_len += len;
}

static void conclude(const struct crypt *crypt)
{
    if (encrypts(crypt))
        run_add_message(crypt->run, &crypt->operation->message);
    operation_done(crypt->operation);
}

/* What the whole call gives at most. */
static CK_ULONG result_len(const struct crypt *crypt)
{
    const struct spec *spec = crypt->operation->message.spec;
    CK_ULONG tag = spec->shape == SHAPE_GCM ? crypt->operation->message.parameters.number / 8 : 0;
    CK_ULONG in = input_len(crypt);
    bool pads = strcmp(spec->subject, "CBC_PAD") == 0;

    if (encrypts(crypt))
        return pads ? in - in % 16 + 16 : in + tag;
    return in < tag ? 0 : in - tag;
}

static void give_up_on(const struct crypt *crypt, const struct answer answers[SIDES])
{
    if (answers[OURS].rv != CKR_BUFFER_TOO_SMALL)
        operation_failed(crypt->session, crypt->kind);
}

static void once(const struct crypt *crypt)
{
    struct call call = crypt_call(crypt, CALL_Encrypt);
    struct answer answers[SIDES];

    give_input(crypt, &call, input_len(crypt));
    call.room = OUT_ROOM;
    if (crypt->operation->parts)
        call.variant = "after parts";
    else if (call.variant[0] == '\0' && crypt->operation->message.tampered)
        call.variant = "tampered";
    else if (call.variant[0] == '\0')
        operation_output(crypt->run, &call, result_len(crypt));
    enum step step = run_exchange(crypt->run, &call, answers);
    if (step == STEP_REFUSED)
        give_up_on(crypt, answers);
    if (step == STEP_OK && call.no_out)
        crypt->operation->queried = true;
    if (step != STEP_OK || call.no_out)
        return;
    keep_output(crypt, answers);
    conclude(crypt);
}

static void update(const struct crypt *crypt)
{
    struct operation *operation = crypt->operation;
    struct call call = crypt_call(crypt, CALL_EncryptUpdate);
    CK_ULONG len = operation_part(crypt->run, operation, input_len(crypt));
    struct answer answers[SIDES];

    give_input(crypt, &call, len);
    if (call.variant[0] != '\0')
        call.room = OUT_ROOM;
    else if (operation_output(crypt->run, &call, len))
        call.variant = "exact part";
    if (len == 0 && call.variant[0] == '\0')
        call.variant = "no input";
    enum step step = run_exchange(crypt->run, &call, answers);
    if (step == STEP_REFUSED)
        give_up_on(crypt, answers);
    if (step == STEP_OK && call.no_out)
        crypt->operation->queried = true;
    if (step != STEP_OK || call.no_out)
        return;
    operation->parts = true;
    operation->fed += len;
    keep_output(crypt, answers);
}

static void finish(const struct crypt *crypt)
{
    struct call call = crypt_call(crypt, CALL_EncryptFinal);
    struct answer answers[SIDES];

    call.room = OUT_ROOM;
    if (call.variant[0] == '\0' && crypt->operation->message.tampered)
        call.variant = "tampered";
    else if (call.variant[0] == '\0' && operation_output(crypt->run, &call, 16))
        call.room = OUT_ROOM;
    enum step step = run_exchange(crypt->run, &call, answers);
    if (step == STEP_REFUSED)
        give_up_on(crypt, answers);
    if (step == STEP_OK && call.no_out)
        crypt->operation->queried = true;
    if (step != STEP_OK || call.no_out)
        return;
    keep_output(crypt, answers);
    conclude(crypt);
}

/* Wrong at any place; the same bytes are wrong on both sides. */
static void tamper(struct run *run, struct message *message)
{
    if (message->sealed_len == 0)
        return;
    message->tampered = true;
    if (prng_percent(&run->prng, 40)) {
        message->sealed_len = prng_below(&run->prng, message->sealed_len);
        return;
    }
    unsigned long at = prng_below(&run->prng, message->sealed_len);
    for (int side = 0; side < SIDES; side++)
        message->sealed[side][at] ^= 0x40;
}

static bool choose_sealed(struct run *run, struct message *message)
{
    const struct message *kept = run_message(run, CKF_ENCRYPT);

    if (kept != NULL) {
        *message = *kept;
        if (kept->key->known && prng_percent(&run->prng, 10))
            tamper(run, message);
        return true;
    }
    if (prng_percent(&run->prng, 80) || !operation_message(run, COMMON_CIPHER, message) ||
        !message->key->known)
        return false;
    message->tampered = true;
    message->sealed_len = message->text_len;
    for (int side = 0; side < SIDES; side++)
        memcpy(message->sealed[side], message->text, message->text_len);
    return true;
}

static void begin(const struct crypt *crypt)
{
    struct message message;
    bool chosen = encrypts(crypt) ? operation_message(crypt->run, COMMON_CIPHER, &message)
                                  : choose_sealed(crypt->run, &message);

    /* A key that could not be made on both sides closes no session, but one of another may have. */
    if (chosen && crypt->session->open)
        operation_start(crypt->run, crypt->session, crypt->kind, &message);
}

static void not_begun(const struct crypt *crypt)
{
    static const enum function functions[] = {CALL_Encrypt, CALL_EncryptUpdate, CALL_EncryptFinal};
    struct call call = crypt_call(crypt, functions[prng_below(&crypt->run->prng, 3)]);
    struct answer answers[SIDES];

    call.variant = crypt->session->failed[crypt->kind] ? "after an error" : "not begun";
    call.room = OUT_ROOM;
    call.comparison = COMPARE_NOTHING;
    for (int side = 0; side < SIDES; side++)
        call.in[side] = (struct bytes){(const unsigned char *) "0123456789abcdef", 16};
    run_exchange(crypt->run, &call, answers);
}

/* NSS has no AES-GCM in parts, though it lists the mechanism. */
static unsigned long prefers_one_part(const struct crypt *crypt)
{
    bool nss_gcm = crypt->run->peer == PEER_NSS && crypt->operation->message.spec != NULL &&
                   crypt->operation->message.spec->shape == SHAPE_GCM;

    return nss_gcm ? 95 : 55;
}

static void go_on(const struct crypt *crypt)
{
    struct operation *operation = crypt->operation;
    bool all_in = operation->fed >= input_len(crypt);

    if (prng_percent(&crypt->run->prng, 4))
        begin(crypt);
    else if (operation->parts ? prng_percent(&crypt->run->prng, 3)
                              : prng_percent(&crypt->run->prng, prefers_one_part(crypt)))
        once(crypt);
    else if (!all_in)
        update(crypt);
    else
        finish(crypt);
}

void crypt_step(struct run *run)
{
    struct session *session = run_session(run);
    struct crypt crypt = {.run = run, .session = session, .kind = KIND_ENCRYPT};

    if (session == NULL)
        return;
    if (session->operations[KIND_DECRYPT].active ||
        (!session->operations[KIND_ENCRYPT].active && prng_percent(&run->prng, 50)))
        crypt.kind = KIND_DECRYPT;
    crypt.operation = &session->operations[crypt.kind];
    if (operation_is_hindered(run, session, crypt.kind))
        return;
    if (crypt.operation->active)
        go_on(&crypt);
    else if (prng_percent(&run->prng, 4))
        not_begun(&crypt);
    else
        begin(&crypt);
    for (int i = 0; i < 3 && crypt.operation->active && !run->ended; i++)
        go_on(&crypt);
}
