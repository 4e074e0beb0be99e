/*
 * Key wrapping: the vector's message as a key that leaves, and its blob as a key that comes in. An
 * unwrapped key cannot be read, so that its value is compared by an HMAC under it, and by wrapping
 * it again.
 */
#include <string.h>

#include "tests/vectors/replay_bytes.h"

#define KEY_LEN_MAX 512
#define MAC_LEN 32

static CK_BBOOL yes = CK_TRUE;

struct wrap_case {
    const struct replay_token *token;
    CK_MECHANISM mechanism;
    CK_OBJECT_HANDLE wrapping_key;
};

static CK_RV make_keys(const struct replay_token *token, struct bytes *kek, struct bytes *key,
                       CK_OBJECT_HANDLE *ret_kek, CK_OBJECT_HANDLE *ret_key)
{
    const CK_ATTRIBUTE kek_value = {CKA_VALUE, kek->at, kek->len};
    const CK_ATTRIBUTE key_value = {CKA_VALUE, key->at, key->len};
    const CK_ATTRIBUTE wraps[3] = {
        {CKA_WRAP, &yes, sizeof(yes)},
        {CKA_UNWRAP, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
    };
    const CK_ATTRIBUTE leaves[3] = {
        {CKA_EXTRACTABLE, &yes, sizeof(yes)},
        {CKA_SIGN, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
    };
    CK_RV rv = replay_key(token, CKK_AES, wraps, &kek_value, ret_kek);

    /* There is no key without bytes. */
    if (rv != CKR_OK || key->len == 0)
        return rv;
    return replay_key(token, CKK_GENERIC_SECRET, leaves, &key_value, ret_key);
}

static CK_RV wrap(struct wrap_case *with, CK_OBJECT_HANDLE key, struct bytes *ret_blob)
{
    ret_blob->len = KEY_LEN_MAX + 16;
    return with->token->functions->C_WrapKey(with->token->session, &with->mechanism,
                                             with->wrapping_key, key, ret_blob->at, &ret_blob->len);
}

static CK_RV unwrap(struct wrap_case *with, const struct bytes *blob, CK_OBJECT_HANDLE *ret_key)
{
    CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &object_class, sizeof(object_class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_SIGN, &yes, sizeof(yes)},
    };

    return with->token->functions->C_UnwrapKey(with->token->session, &with->mechanism,
                                               with->wrapping_key, blob->at, blob->len, template,
                                               sizeof(template) / sizeof(template[0]), ret_key);
}

static CK_RV mac(const struct replay_token *token, CK_OBJECT_HANDLE key, CK_BYTE out[MAC_LEN])
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE message[] = "the same key?";
    CK_ULONG len = MAC_LEN;
    CK_RV rv = token->functions->C_SignInit(token->session, &mechanism, key);

    if (rv != CKR_OK)
        return rv;
    return token->functions->C_Sign(token->session, message, sizeof(message), out, &len);
}

static bool same_value(const struct replay_token *token, CK_OBJECT_HANDLE a, CK_OBJECT_HANDLE b)
{
    CK_BYTE macs[2][MAC_LEN];

    return mac(token, a, macs[0]) == CKR_OK && mac(token, b, macs[1]) == CKR_OK &&
           memcmp(macs[0], macs[1], MAC_LEN) == 0;
}

static struct replay_result replay_valid(struct wrap_case *with, CK_OBJECT_HANDLE key,
                                         const struct bytes *wanted)
{
    CLEARED struct bytes blob = bytes_new(KEY_LEN_MAX + 16);
    CK_OBJECT_HANDLE back = CK_INVALID_HANDLE;
    CK_RV rv = wrap(with, key, &blob);

    if (rv != CKR_OK || !bytes_equal(&blob, wanted))
        return wrong("C_WrapKey gave 0x%lx or another blob", rv);
    rv = unwrap(with, wanted, &back);
    if (rv != CKR_OK || !same_value(with->token, key, back))
        return wrong("C_UnwrapKey gave 0x%lx or another key", rv);
    rv = wrap(with, back, &blob);
    (void) with->token->functions->C_DestroyObject(with->token->session, back);
    if (rv != CKR_OK || !bytes_equal(&blob, wanted))
        return wrong("C_WrapKey of the unwrapped key gave 0x%lx or another blob", rv);
    return outcome(REPLAY_RIGHT);
}

/* The blob does not come in, and is not what the key leaves as. */
static struct replay_result replay_invalid(struct wrap_case *with, CK_OBJECT_HANDLE key,
                                           const struct bytes *bad)
{
    CLEARED struct bytes blob = bytes_new(KEY_LEN_MAX + 16);
    CK_OBJECT_HANDLE back = CK_INVALID_HANDLE;
    CK_RV rv = unwrap(with, bad, &back);

    if (rv != CKR_WRAPPED_KEY_INVALID && rv != CKR_WRAPPED_KEY_LEN_RANGE)
        return wrong("C_UnwrapKey gave 0x%lx", rv);
    if (key == CK_INVALID_HANDLE)
        return outcome(REPLAY_REJECTED);
    rv = wrap(with, key, &blob);
    if (rv != CKR_KEY_SIZE_RANGE && (rv != CKR_OK || bytes_equal(&blob, bad)))
        return wrong("C_WrapKey gave 0x%lx or the bad blob", rv);
    return outcome(REPLAY_REJECTED);
}

struct replay_result replay_wrap(const struct replay_token *token, const struct replay_file *file,
                                 json_t *group, json_t *test)
{
    CLEARED struct bytes kek = bytes_hex(test, "key");
    CLEARED struct bytes value = bytes_hex(test, "msg");
    CLEARED struct bytes blob = bytes_hex(test, "ct");
    struct wrap_case with = {.token = token, .mechanism = {file->mechanism, NULL, 0}};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_RV rv = make_keys(token, &kek, &value, &with.wrapping_key, &key);

    (void) group;
    if (rv != CKR_OK)
        return wrong("C_CreateObject gave 0x%lx", rv);
    struct replay_result result =
        is_valid(test) ? replay_valid(&with, key, &blob) : replay_invalid(&with, key, &blob);
    (void) token->functions->C_DestroyObject(token->session, with.wrapping_key);
    if (key != CK_INVALID_HANDLE)
        (void) token->functions->C_DestroyObject(token->session, key);
    return result;
}
