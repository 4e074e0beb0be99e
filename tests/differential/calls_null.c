/* NULL where an address is wanted. Not for NSS, which does not survive it. */
#include <string.h>

#include "tests/differential/run.h"

static const struct {
    enum function function;
    const char *variant;
    bool no_out, no_len, no_handle, bad_template, no_mechanism;
} nulls[] = {
    {.function = CALL_OpenSession, .variant = "no handle", .no_handle = true},
    {.function = CALL_GetSessionInfo, .variant = "no info", .no_out = true},
    {.function = CALL_CreateObject, .variant = "no template", .bad_template = true},
    {.function = CALL_CreateObject, .variant = "no handle", .no_handle = true},
    {.function = CALL_CopyObject, .variant = "no handle", .no_handle = true},
    {.function = CALL_GetAttributeValue, .variant = "no template", .no_handle = true},
    {.function = CALL_SetAttributeValue, .variant = "no template", .bad_template = true},
    {.function = CALL_FindObjectsInit, .variant = "no template", .bad_template = true},
    {.function = CALL_FindObjects, .variant = "no count", .no_len = true},
    {.function = CALL_EncryptInit, .variant = "no mechanism", .no_mechanism = true},
    {.function = CALL_DecryptInit, .variant = "no mechanism", .no_mechanism = true},
    {.function = CALL_DigestInit, .variant = "no mechanism", .no_mechanism = true},
    {.function = CALL_SignInit, .variant = "no mechanism", .no_mechanism = true},
    {.function = CALL_VerifyInit, .variant = "no mechanism", .no_mechanism = true},
    {.function = CALL_GenerateKey, .variant = "no mechanism", .no_mechanism = true},
    {.function = CALL_DeriveKey, .variant = "no mechanism", .no_mechanism = true},
    {.function = CALL_WrapKey, .variant = "no mechanism", .no_mechanism = true},
    {.function = CALL_UnwrapKey, .variant = "no mechanism", .no_mechanism = true},
    {.function = CALL_Encrypt, .variant = "no length", .no_len = true},
    {.function = CALL_EncryptUpdate, .variant = "no length", .no_len = true},
    {.function = CALL_EncryptFinal, .variant = "no length", .no_len = true},
    {.function = CALL_Decrypt, .variant = "no length", .no_len = true},
    {.function = CALL_DecryptUpdate, .variant = "no length", .no_len = true},
    {.function = CALL_DecryptFinal, .variant = "no length", .no_len = true},
    {.function = CALL_Digest, .variant = "no length", .no_len = true},
    {.function = CALL_DigestFinal, .variant = "no length", .no_len = true},
    {.function = CALL_Sign, .variant = "no length", .no_len = true},
    {.function = CALL_SignFinal, .variant = "no length", .no_len = true},
};
#define NULLS (sizeof(nulls) / sizeof(nulls[0]))

/* The operations that the call may have ended; no resynchronisation where both refused. */
static void forget_operations(struct session *session)
{
    for (int kind = 0; kind < KINDS; kind++) {
        session->failed[kind] = session->failed[kind] || session->operations[kind].active;
        memset(&session->operations[kind], 0, sizeof(session->operations[kind]));
    }
}

void null_step(struct run *run)
{
    static const CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};
    unsigned long place = prng_below(&run->prng, NULLS);
    struct session *session = run_session(run);
    struct object *object = run_object(run, NULL);
    struct answer answers[SIDES];

    if (session == NULL || object == NULL || run->peer == PEER_NSS)
        return;
    /* Functions that the module may do without. */
    if ((nulls[place].function == CALL_WrapKey || nulls[place].function == CALL_UnwrapKey) &&
        run->common[COMMON_WRAP].count == 0)
        return;
    struct call call = run_call(nulls[place].function, session);
    call.variant = nulls[place].variant;
    call.comparison = COMPARE_NOTHING;
    call.no_out = nulls[place].no_out;
    call.no_len = nulls[place].no_len;
    call.no_handle = nulls[place].no_handle;
    call.template_count = nulls[place].bad_template ? 2 : 0;
    call.number = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    call.room = OUT_ROOM;
    memcpy(call.object, object->handle, sizeof(call.object));
    memcpy(call.other, object->handle, sizeof(call.other));
    for (int side = 0; side < SIDES; side++) {
        call.mechanism[side] = nulls[place].no_mechanism ? NULL : &sha256;
        call.in[side] = (struct bytes){(const unsigned char *) "0123456789abcdef", 16};
    }
    enum step step = run_exchange(run, &call, answers);
    if (step == STEP_REFUSED && (nulls[place].no_len || nulls[place].no_mechanism))
        forget_operations(session);
}
