/*
 * The message functions as drivers. The parameter lives here, one for all: a machine works on one
 * message at a time. A size query or a too small buffer that touched the IV fails at once.
 */
#include <string.h>

#include "tests/api/state_operations.h"

#define P11 states_api.p11
#define TAG 16

static CK_BYTE iv[12] = "messages IV";
static CK_BYTE tag[TAG];
static CK_BYTE aad[20] = "associated data....";
static CK_BYTE stray_parameter[3];

CK_GCM_MESSAGE_PARAMS messages_own_iv = {.pIv = iv,
                                         .ulIvLen = sizeof(iv),
                                         .ivGenerator = CKG_NO_GENERATE,
                                         .pTag = tag,
                                         .ulTagBits = 128};
CK_GCM_MESSAGE_PARAMS messages_counted_iv = {.pIv = iv,
                                             .ulIvLen = sizeof(iv),
                                             .ulIvFixedBits = 32,
                                             .ivGenerator = CKG_GENERATE_COUNTER,
                                             .pTag = tag,
                                             .ulTagBits = 128};
/* Of the row that was begun last. */
static CK_GCM_MESSAGE_PARAMS *params = &messages_own_iv;

static void take_params(const CK_MECHANISM *mechanism)
{
    if (mechanism != NULL && mechanism->ulParameterLen == sizeof(*params))
        params = mechanism->pParameter;
}

static CK_RV encrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                          const struct machine_args *args)
{
    (void) args;
    take_params(mechanism);
    return P11->C_MessageEncryptInit(session, mechanism, key);
}

static CK_RV encrypt_once(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    CK_BYTE before[sizeof(iv)];

    memcpy(before, iv, sizeof(iv));
    CK_RV rv = P11->C_EncryptMessage(session, params, sizeof(*params), aad, sizeof(aad), args->in,
                                     args->in_len, args->out, args->out_len);
    if (rv == CKR_BUFFER_TOO_SMALL || args->out == NULL)
        REQUIRE(memcmp(before, iv, sizeof(iv)) == 0);
    return rv;
}

static CK_RV encrypt_begin(CK_SESSION_HANDLE session, bool with_parameter)
{
    return P11->C_EncryptMessageBegin(session, with_parameter ? (void *) params : stray_parameter,
                                      with_parameter ? sizeof(*params) : sizeof(stray_parameter),
                                      aad, sizeof(aad));
}

static CK_RV encrypt_next(CK_SESSION_HANDLE session, const struct machine_args *args,
                          CK_FLAGS flags)
{
    return P11->C_EncryptMessageNext(session, params, sizeof(*params), args->in, args->in_len,
                                     args->out, args->out_len, flags);
}

static CK_RV encrypt_update(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return encrypt_next(session, args, 0);
}

static CK_RV encrypt_final(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return encrypt_next(session, args, CKF_END_OF_MESSAGE);
}

static CK_RV encrypt_end(CK_SESSION_HANDLE session)
{
    return P11->C_MessageEncryptFinal(session);
}

static CK_ULONG encrypt_tail(CK_BYTE *out)
{
    memcpy(out, tag, TAG);
    return TAG;
}

static CK_RV decrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                          const struct machine_args *args)
{
    (void) args;
    take_params(mechanism);
    return P11->C_MessageDecryptInit(session, mechanism, key);
}

static CK_RV decrypt_once(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_DecryptMessage(session, params, sizeof(*params), aad, sizeof(aad), args->in,
                                 args->in_len, args->out, args->out_len);
}

static CK_RV decrypt_begin(CK_SESSION_HANDLE session, bool with_parameter)
{
    return P11->C_DecryptMessageBegin(session, with_parameter ? (void *) params : stray_parameter,
                                      with_parameter ? sizeof(*params) : sizeof(stray_parameter),
                                      aad, sizeof(aad));
}

static CK_RV decrypt_next(CK_SESSION_HANDLE session, const struct machine_args *args,
                          CK_FLAGS flags)
{
    return P11->C_DecryptMessageNext(session, params, sizeof(*params), args->in, args->in_len,
                                     args->out, args->out_len, flags);
}

static CK_RV decrypt_update(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return decrypt_next(session, args, 0);
}

static CK_RV decrypt_final(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return decrypt_next(session, args, CKF_END_OF_MESSAGE);
}

static CK_RV decrypt_end(CK_SESSION_HANDLE session)
{
    return P11->C_MessageDecryptFinal(session);
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                       const struct machine_args *args)
{
    (void) args;
    return P11->C_MessageSignInit(session, mechanism, key);
}

static CK_RV sign_once(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_SignMessage(session, NULL, 0, args->in, args->in_len, args->out, args->out_len);
}

static CK_RV sign_begin(CK_SESSION_HANDLE session, bool with_parameter)
{
    return P11->C_SignMessageBegin(session, stray_parameter,
                                   with_parameter ? 0 : sizeof(stray_parameter));
}

/* Without a place for the length, more follows. */
static CK_RV sign_update(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_SignMessageNext(session, NULL, 0, args->in, args->in_len, NULL, NULL);
}

static CK_RV sign_final(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_SignMessageNext(session, NULL, 0, args->in, args->in_len, args->out,
                                  args->out_len);
}

static CK_RV sign_end(CK_SESSION_HANDLE session)
{
    return P11->C_MessageSignFinal(session);
}

static CK_RV verify_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                         const struct machine_args *args)
{
    (void) args;
    return P11->C_MessageVerifyInit(session, mechanism, key);
}

static CK_RV verify_once(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_VerifyMessage(session, NULL, 0, args->in, args->in_len, args->out,
                                *args->out_len);
}

static CK_RV verify_begin(CK_SESSION_HANDLE session, bool with_parameter)
{
    return P11->C_VerifyMessageBegin(session, stray_parameter,
                                     with_parameter ? 0 : sizeof(stray_parameter));
}

/* Without a signature, more follows. */
static CK_RV verify_update(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_VerifyMessageNext(session, NULL, 0, args->in, args->in_len, NULL, 0);
}

static CK_RV verify_final(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_VerifyMessageNext(session, NULL, 0, args->in, args->in_len, args->out,
                                    *args->out_len);
}

static CK_RV verify_end(CK_SESSION_HANDLE session)
{
    return P11->C_MessageVerifyFinal(session);
}

#define DRIVER(name, flag, tail_function)                                                          \
    const struct machine_driver messages_##name = {.cancel_flag = flag,                            \
                                                   .init = name##_init,                            \
                                                   .once = name##_once,                            \
                                                   .begin = name##_begin,                          \
                                                   .update = name##_update,                        \
                                                   .final = name##_final,                          \
                                                   .end = name##_end,                              \
                                                   .tail = tail_function}
DRIVER(encrypt, CKF_MESSAGE_ENCRYPT, encrypt_tail);
DRIVER(decrypt, CKF_MESSAGE_DECRYPT, NULL);
DRIVER(sign, CKF_MESSAGE_SIGN, NULL);
DRIVER(verify, CKF_MESSAGE_VERIFY, NULL);

/* C_Encrypt with the IV that the message had: ciphertext and tag. */
static CK_ULONG seal(const struct machine *machine, CK_BYTE *in, CK_ULONG len, CK_BYTE *out)
{
    CK_GCM_PARAMS gcm = {
        .pIv = iv, .ulIvLen = sizeof(iv), .pAAD = aad, .ulAADLen = sizeof(aad), .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    CK_ULONG out_len = MACHINE_BYTES;

    OK(P11->C_EncryptInit(machine->other, &mechanism, machine->key));
    OK(P11->C_Encrypt(machine->other, in, len, out, &out_len));
    return out_len;
}

CK_ULONG messages_make_text(struct machine *machine)
{
    CK_ULONG len = seal(machine, machine->plain, machine->row->text_len, machine->text);

    memcpy(tag, machine->text + len - TAG, TAG);
    return len - TAG;
}

CK_ULONG messages_reference(const struct machine *machine, CK_BYTE *in, CK_ULONG len, CK_BYTE *out)
{
    if ((machine->row->traits & TRAIT_MESSAGE_ENCRYPT) != 0)
        return seal(machine, in, len, out);
    memcpy(out, machine->plain, len);
    return len;
}

bool messages_present(void)
{
    return P11->C_MessageEncryptFinal(states_api.session) != CKR_FUNCTION_NOT_SUPPORTED;
}

static unsigned long count_of_iv(void)
{
    unsigned long count = 0;

    for (size_t i = 4; i < sizeof(iv); i++)
        count = count << 8 | iv[i];
    return count;
}

void messages_check_counter(void)
{
    static struct machine machine;
    static const struct machine_row row = {
        .name = "counter",
        .traits = TRAIT_MESSAGE_ENCRYPT,
        .driver = &messages_encrypt,
        .mechanism = {CKM_AES_GCM, &messages_counted_iv, sizeof(messages_counted_iv)},
        .key_type = CKK_AES,
        .text_len = 50,
        .part_len = 20,
    };
    /* No IV is due to those between the two that it is due to. */
    static const enum machine_call between[] = {
        CALL_ONCE_QUERY, CALL_ONCE_SMALL,  CALL_ONCE_NO_LEN,    CALL_ONCE_NO_INPUT,
        CALL_UPDATE,     CALL_FINAL_SMALL, CALL_BEGIN_PARAMETER};

    machine_open(&machine, &row);
    machine_begin(&machine);
    machine_step(&machine, CALL_INIT);
    machine_step(&machine, CALL_ONCE);
    for (size_t i = 0; i < COUNT(between); i++) {
        unsigned long before = count_of_iv();
        machine_step(&machine, between[i]);
        machine_step(&machine, CALL_ONCE);
        REQUIRE_MSG(count_of_iv() == before + 1, "%s: count %lu after %lu", machine.trace,
                    count_of_iv(), before);
    }
    machine_end(&machine);
}
