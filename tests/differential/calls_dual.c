/* Two operations fed by one call: a digest or a MAC beside encryption or decryption. */
#include <string.h>

#include "tests/differential/operations.h"

/* Whole blocks, as NSS wants them. */
#define TEXT_LEN 64

struct dual {
    enum function update;
    enum operation_kind first; /* digest, sign or verify */
    enum operation_kind second;
};

static const struct dual duals[] = {
    {CALL_DigestEncryptUpdate, KIND_DIGEST, KIND_ENCRYPT},
    {CALL_DecryptDigestUpdate, KIND_DIGEST, KIND_DECRYPT},
    {CALL_SignEncryptUpdate, KIND_SIGN, KIND_ENCRYPT},
    {CALL_DecryptVerifyUpdate, KIND_VERIFY, KIND_DECRYPT},
};
#define DUALS (sizeof(duals) / sizeof(duals[0]))

/* Not where the start had something wrong about it, and went through with another key. */
static bool starts(struct run *run, struct session *session, enum operation_kind kind,
                   const struct message *message)
{
    struct operation *operation = &session->operations[kind];

    return session->open && operation_start(run, session, kind, message) &&
           operation->message.key == message->key && (message->key == NULL || message->key->used);
}

/* A cipher with blocks and a key that both sides know. */
static bool choose_cipher(struct run *run, struct message *cipher)
{
    if (!operation_message(run, COMMON_CIPHER, cipher) || cipher->spec->shape != SHAPE_IV ||
        !cipher->key->known || strcmp(cipher->spec->subject, "CBC") != 0)
        return false;
    cipher->sealed_len = cipher->text_len = TEXT_LEN;
    for (int side = 0; side < SIDES; side++)
        memcpy(cipher->sealed[side], cipher->text, TEXT_LEN);
    return true;
}

static struct call dual_call(const struct session *session, enum function function,
                             const struct message *message)
{
    struct call call = run_call(function, session);

    call.subject = message->spec->subject;
    call.room = OUT_ROOM;
    if (message->key != NULL && !message->key->known)
        call.comparison = COMPARE_LENGTH;
    for (int side = 0; side < SIDES; side++)
        call.check[side] = (struct bytes){message->sealed[side], message->sealed_len};
    return call;
}

static bool feeds(struct run *run, const struct session *session, enum function function,
                  const struct message *cipher)
{
    struct call call = dual_call(session, function, cipher);
    bool seals = function == CALL_DigestEncryptUpdate || function == CALL_SignEncryptUpdate;
    struct answer answers[SIDES];

    for (int side = 0; side < SIDES; side++)
        call.in[side] = (struct bytes){seals ? cipher->text : cipher->sealed[side], TEXT_LEN};
    return run_exchange(run, &call, answers) == STEP_OK;
}

static bool finishes(struct run *run, struct session *session, enum operation_kind kind)
{
    static const enum function ends[KINDS] = {
        [KIND_ENCRYPT] = CALL_EncryptFinal, [KIND_DECRYPT] = CALL_DecryptFinal,
        [KIND_DIGEST] = CALL_DigestFinal,   [KIND_SIGN] = CALL_SignFinal,
        [KIND_VERIFY] = CALL_VerifyFinal,
    };
    struct operation *operation = &session->operations[kind];
    struct call call = dual_call(session, ends[kind], &operation->message);
    struct answer answers[SIDES];

    if (kind == KIND_VERIFY)
        call.comparison = COMPARE_NOTHING;
    if (run_exchange(run, &call, answers) != STEP_OK)
        return false;
    operation_done(operation);
    return true;
}

/* The MAC of what the ciphertext is of, for C_DecryptVerifyUpdate. */
static bool sign_text(struct run *run, struct session *session, struct message *mac,
                      const struct message *cipher)
{
    struct answer answers[SIDES];

    if (!starts(run, session, KIND_SIGN, mac))
        return false;
    struct call call = dual_call(session, CALL_Sign, mac);
    for (int side = 0; side < SIDES; side++)
        call.in[side] = (struct bytes){cipher->text, TEXT_LEN};
    if (run_exchange(run, &call, answers) != STEP_OK)
        return false;
    operation_done(&session->operations[KIND_SIGN]);
    mac->sealed_len = answers[OURS].len;
    for (int side = 0; side < SIDES; side++)
        memcpy(mac->sealed[side], answers[side].out, mac->sealed_len);
    return true;
}

/* The text's ciphertext. */
static bool seal_text(struct run *run, struct session *session, struct message *cipher)
{
    struct answer answers[SIDES];

    if (!starts(run, session, KIND_ENCRYPT, cipher))
        return false;
    struct call call = dual_call(session, CALL_Encrypt, cipher);
    for (int side = 0; side < SIDES; side++)
        call.in[side] = (struct bytes){cipher->text, TEXT_LEN};
    if (run_exchange(run, &call, answers) != STEP_OK)
        return false;
    operation_done(&session->operations[KIND_ENCRYPT]);
    for (int side = 0; side < SIDES; side++)
        memcpy(cipher->sealed[side], answers[side].out, TEXT_LEN);
    return true;
}

void dual_step(struct run *run)
{
    const struct dual *dual = &duals[prng_below(&run->prng, DUALS)];
    struct session *session = run_session(run);
    int common = dual->first == KIND_DIGEST ? COMMON_DIGEST : COMMON_MAC;
    struct message first;
    struct message cipher;

    if (session == NULL || !run->modules[OURS]->has_dual || !run->modules[THEIRS]->has_dual)
        return;
    for (int kind = 0; kind < KINDS; kind++)
        if (session->operations[kind].active || session->failed[kind])
            return;
    if (!operation_message(run, common, &first) || first.spec->shape == SHAPE_MAC_LEN ||
        !choose_cipher(run, &cipher))
        return;
    if (dual->first == KIND_VERIFY &&
        (!seal_text(run, session, &cipher) || !sign_text(run, session, &first, &cipher)))
        return;
    if (starts(run, session, dual->first, &first) && starts(run, session, dual->second, &cipher) &&
        feeds(run, session, dual->update, &cipher) && finishes(run, session, dual->second))
        (void) finishes(run, session, dual->first);
}
