/* Messages: AES-GCM with one key and many IVs. */
#include <string.h>

#include "tests/differential/operations.h"

struct messages {
    struct run *run;
    struct session *session;
    struct message *message;
};

static struct call message_call(const struct messages *messages, enum function function)
{
    struct call call = run_call(function, messages->session);
    const struct message *message = messages->message;

    call.subject = "GCM";
    call.iv = (struct bytes){message->parameters.iv, message->parameters.iv_len};
    call.aad = (struct bytes){message->parameters.extra, message->parameters.extra_len};
    call.tag_len = message->parameters.number / 8;
    memcpy(call.object, message->key->handle, sizeof(call.object));
    call.room = OUT_ROOM;
    return call;
}

static enum step begin(const struct messages *messages, enum function function)
{
    static const CK_MECHANISM gcm = {CKM_AES_GCM, NULL, 0};
    struct call call = message_call(messages, function);
    struct answer answers[SIDES];

    call.comparison = COMPARE_NOTHING;
    call.mechanism[OURS] = call.mechanism[THEIRS] = &gcm;
    return run_exchange(messages->run, &call, answers);
}

static enum step end(const struct messages *messages, enum function function)
{
    struct call call = message_call(messages, function);
    struct answer answers[SIDES];

    call.comparison = COMPARE_NOTHING;
    return run_exchange(messages->run, &call, answers);
}

static enum step encrypt(const struct messages *messages)
{
    struct call call = message_call(messages, CALL_EncryptMessage);
    struct message *message = messages->message;
    struct answer answers[SIDES];

    for (int side = 0; side < SIDES; side++)
        call.in[side] = (struct bytes){message->text, message->text_len};
    if (!message->key->known)
        call.comparison = COMPARE_LENGTH;
    enum step step = run_exchange(messages->run, &call, answers);
    if (step != STEP_OK || answers[OURS].len > TEXT_MAX)
        return step;
    message->sealed_len = answers[OURS].len;
    for (int side = 0; side < SIDES; side++)
        memcpy(message->sealed[side], answers[side].out, message->sealed_len);
    return step;
}

static enum step decrypt(const struct messages *messages)
{
    struct call call = message_call(messages, CALL_DecryptMessage);
    struct message *message = messages->message;
    struct answer answers[SIDES];

    if (prng_percent(&messages->run->prng, 15)) {
        call.variant = "tampered";
        for (int side = 0; side < SIDES; side++)
            message->sealed[side][message->sealed_len - 1] ^= 1;
    }
    for (int side = 0; side < SIDES; side++) {
        CK_ULONG len = message->sealed_len - call.tag_len;
        call.in[side] = (struct bytes){message->sealed[side], len};
        call.check[side] = (struct bytes){message->sealed[side] + len, call.tag_len};
    }
    return run_exchange(messages->run, &call, answers);
}

static void renew(const struct messages *messages)
{
    struct message *message = messages->message;

    parameters_make(message->spec, &messages->run->prng, &message->parameters);
    message->parameters.iv_len = 12;
    message->text_len = 1 + prng_below(&messages->run->prng, 100);
}

/* Some messages there and back, each with an IV of its own. */
void message_step(struct run *run)
{
    struct message message;
    struct messages messages = {run, run_session(run), &message};

    if (messages.session == NULL || !run->modules[OURS]->has_messages ||
        !run->modules[THEIRS]->has_messages || !operation_message(run, COMMON_CIPHER, &message) ||
        message.spec->shape != SHAPE_GCM || !messages.session->open)
        return;
    for (int kind = 0; kind < KINDS; kind++)
        if (messages.session->operations[kind].active || messages.session->failed[kind])
            return;
    for (unsigned long i = 0; i < 1 + prng_below(&run->prng, 2); i++) {
        renew(&messages);
        if (begin(&messages, CALL_MessageEncryptInit) != STEP_OK || encrypt(&messages) != STEP_OK ||
            end(&messages, CALL_MessageEncryptFinal) != STEP_OK ||
            begin(&messages, CALL_MessageDecryptInit) != STEP_OK ||
            decrypt(&messages) == STEP_APART || end(&messages, CALL_MessageDecryptFinal) != STEP_OK)
            return;
    }
}
