#include "tests/vectors/replay.h"

#include <string.h>

#include "tests/vectors/replay_bytes.h"

#define GCM_IV_LEN_MAX 128
#define KEY_LEN_MAX 512
#define GMAC_BARE_IV_LEN 12
/* An odd number, so that parts and blocks do not meet. */
#define PART_LEN 7

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

static CK_RV key_new(const struct replay_token *token, CK_KEY_TYPE type,
                     const CK_ATTRIBUTE_TYPE usages[2], struct bytes *bytes,
                     CK_OBJECT_HANDLE *ret_key)
{
    const CK_ATTRIBUTE value = {CKA_VALUE, bytes->at, bytes->len};
    const CK_ATTRIBUTE others[3] = {
        {usages[0], &yes, sizeof(yes)},
        {usages[1], &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
    };

    return replay_key(token, type, others, &value, ret_key);
}

static void key_destroy(const struct replay_token *token, CK_OBJECT_HANDLE key)
{
    (void) token->functions->C_DestroyObject(token->session, key);
}

/* The four functions of a direction, so that one body serves both. */
struct direction {
    CK_C_EncryptInit init;
    CK_C_Encrypt one_shot;
    CK_C_EncryptUpdate update;
    CK_C_EncryptFinal final;
};

static struct direction sealing(const struct replay_token *token)
{
    return (struct direction){token->functions->C_EncryptInit, token->functions->C_Encrypt,
                              token->functions->C_EncryptUpdate, token->functions->C_EncryptFinal};
}

static struct direction opening(const struct replay_token *token)
{
    return (struct direction){token->functions->C_DecryptInit, token->functions->C_Decrypt,
                              token->functions->C_DecryptUpdate, token->functions->C_DecryptFinal};
}

/* `ret_out` has room for the result; its length is set. */
static CK_RV crypt_whole(const struct replay_token *token, const struct direction *way,
                         const struct bytes *in, struct bytes *ret_out)
{
    return way->one_shot(token->session, in->at, in->len, ret_out->at, &ret_out->len);
}

static CK_RV crypt_parts(const struct replay_token *token, const struct direction *way,
                         const struct bytes *in, struct bytes *ret_out)
{
    CK_ULONG room = ret_out->len;
    CK_ULONG written = 0;

    for (CK_ULONG at = 0; at < in->len; at += PART_LEN) {
        CK_ULONG part = in->len - at < PART_LEN ? in->len - at : PART_LEN;
        CK_ULONG len = room - written;
        CK_RV rv = way->update(token->session, in->at + at, part, ret_out->at + written, &len);
        if (rv != CKR_OK)
            return rv;
        written += len;
    }
    CK_ULONG len = room - written;
    CK_RV rv = way->final(token->session, ret_out->at + written, &len);
    ret_out->len = written + len;
    return rv;
}

/* What stays the same through a case. */
struct crypt_case {
    const struct replay_token *token;
    CK_MECHANISM *mechanism;
    CK_OBJECT_HANDLE key;
};

/* One-shot and in parts: the same return value and bytes. CKR_GENERAL_ERROR stands for a difference
 * between the two, or from `wanted`. */
static CK_RV crypt_both(const struct crypt_case *crypt, const struct direction *way,
                        const struct bytes *in, const struct bytes *wanted)
{
    const struct replay_token *token = crypt->token;
    CLEARED struct bytes whole = bytes_new(in->len + 64);
    CLEARED struct bytes parts = bytes_new(in->len + 64);

    CK_RV rv = way->init(token->session, crypt->mechanism, crypt->key);
    if (rv != CKR_OK)
        return rv;
    CK_RV whole_rv = crypt_whole(token, way, in, &whole);
    rv = way->init(token->session, crypt->mechanism, crypt->key);
    if (rv != CKR_OK)
        return CKR_GENERAL_ERROR;
    CK_RV parts_rv = crypt_parts(token, way, in, &parts);
    if (whole_rv != parts_rv)
        return CKR_GENERAL_ERROR;
    if (whole_rv != CKR_OK)
        return whole_rv;
    return bytes_equal(&whole, wanted) && bytes_equal(&parts, wanted) ? CKR_OK : CKR_GENERAL_ERROR;
}

/* A valid vector seals to `sealed` and opens to `text`; an invalid one opens with `refusal` alone,
 * or with the second when that is not CKR_OK. */
static struct replay_result crypt_check(const struct crypt_case *crypt, json_t *test,
                                        const struct bytes *texts, const CK_RV refusals[2])
{
    const struct bytes *text = &texts[0];
    const struct bytes *sealed = &texts[1];
    struct direction open = opening(crypt->token);
    struct direction seal = sealing(crypt->token);
    CK_RV rv = crypt_both(crypt, &open, sealed, text);

    if (!is_valid(test)) {
        return rv == refusals[0] || rv == refusals[1] ? outcome(REPLAY_REJECTED)
                                                      : wrong("decryption gave 0x%lx", rv);
    }
    if (rv != CKR_OK)
        return wrong("decryption gave 0x%lx", rv);
    rv = crypt_both(crypt, &seal, text, sealed);
    return rv == CKR_OK ? outcome(REPLAY_RIGHT) : wrong("encryption gave 0x%lx", rv);
}

static const CK_ATTRIBUTE_TYPE crypt_usages[2] = {CKA_ENCRYPT, CKA_DECRYPT};

struct replay_result replay_gcm(const struct replay_token *token, const struct replay_file *file,
                                json_t *group, json_t *test)
{
    CLEARED struct bytes key_bytes = bytes_hex(test, "key");
    CLEARED struct bytes iv = bytes_hex(test, "iv");
    CLEARED struct bytes aad = bytes_hex(test, "aad");
    CLEARED struct bytes text = bytes_hex(test, "msg");
    CLEARED struct bytes cipher_text = bytes_hex(test, "ct");
    CLEARED struct bytes tag = bytes_hex(test, "tag");
    CLEARED struct bytes sealed = bytes_join(&cipher_text, &tag);
    CK_GCM_PARAMS params = {
        .pIv = iv.at,
        .ulIvLen = iv.len,
        .pAAD = aad.at,
        .ulAADLen = aad.len,
        .ulTagBits = (CK_ULONG) json_integer_value(json_object_get(group, "tagSize")),
    };
    CK_MECHANISM mechanism = {file->mechanism, &params, sizeof(params)};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_RV rv = key_new(token, file->key_type, crypt_usages, &key_bytes, &key);

    if (rv != CKR_OK)
        return wrong("C_CreateObject gave 0x%lx", rv);
    const struct bytes texts[2] = {text, sealed};
    /* An empty IV is refused at once, every other bad vector by its tag. */
    const CK_RV refusal = iv.len == 0 ? CKR_MECHANISM_PARAM_INVALID : CKR_ENCRYPTED_DATA_INVALID;
    const CK_RV refusals[2] = {refusal, refusal};
    struct replay_result result;
    if (iv.len > GCM_IV_LEN_MAX) {
        rv = token->functions->C_EncryptInit(token->session, &mechanism, key);
        result = rv == CKR_MECHANISM_PARAM_INVALID
                     ? policy("an IV of AES-GCM has at most 128 bytes")
                     : wrong("C_EncryptInit gave 0x%lx", rv);
    } else {
        result = crypt_check(&(struct crypt_case){token, &mechanism, key}, test, texts, refusals);
    }
    key_destroy(token, key);
    return result;
}

struct replay_result replay_cbc_pad(const struct replay_token *token,
                                    const struct replay_file *file, json_t *group, json_t *test)
{
    CLEARED struct bytes key_bytes = bytes_hex(test, "key");
    CLEARED struct bytes iv = bytes_hex(test, "iv");
    CLEARED struct bytes text = bytes_hex(test, "msg");
    CLEARED struct bytes sealed = bytes_hex(test, "ct");
    CK_MECHANISM mechanism = {file->mechanism, iv.at, iv.len};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_RV rv = key_new(token, file->key_type, crypt_usages, &key_bytes, &key);

    (void) group;
    if (rv != CKR_OK)
        return wrong("C_CreateObject gave 0x%lx", rv);
    const struct bytes texts[2] = {text, sealed};
    const CK_RV refusals[2] = {CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE};
    struct replay_result result =
        crypt_check(&(struct crypt_case){token, &mechanism, key}, test, texts, refusals);
    key_destroy(token, key);
    return result;
}

static CK_RV mac_verify(const struct replay_token *token, CK_MECHANISM *mechanism,
                        CK_OBJECT_HANDLE key, const struct bytes *message, const struct bytes *tag)
{
    CK_RV rv = token->functions->C_VerifyInit(token->session, mechanism, key);

    if (rv != CKR_OK)
        return rv;
    return token->functions->C_Verify(token->session, message->at, message->len, tag->at, tag->len);
}

/* One-shot and in parts. */
static struct replay_result mac_sign(const struct replay_token *token, CK_MECHANISM *mechanism,
                                     CK_OBJECT_HANDLE key, const struct bytes *message,
                                     const struct bytes *tag)
{
    const CK_FUNCTION_LIST *functions = token->functions;
    CLEARED struct bytes whole = bytes_new(64);
    CLEARED struct bytes parts = bytes_new(64);

    CK_RV rv = functions->C_SignInit(token->session, mechanism, key);
    if (rv == CKR_OK) {
        rv = functions->C_Sign(token->session, message->at, message->len, whole.at, &whole.len);
    }
    if (rv != CKR_OK || !bytes_equal(&whole, tag))
        return wrong("C_Sign gave 0x%lx or another MAC", rv);
    rv = functions->C_SignInit(token->session, mechanism, key);
    for (CK_ULONG at = 0; rv == CKR_OK && at < message->len; at += PART_LEN) {
        CK_ULONG part = message->len - at < PART_LEN ? message->len - at : PART_LEN;
        rv = functions->C_SignUpdate(token->session, message->at + at, part);
    }
    if (rv == CKR_OK)
        rv = functions->C_SignFinal(token->session, parts.at, &parts.len);
    if (rv != CKR_OK || !bytes_equal(&parts, tag))
        return wrong("C_SignFinal gave 0x%lx or another MAC", rv);
    return outcome(REPLAY_RIGHT);
}

static bool has_flag(json_t *test, const char *wanted)
{
    size_t index = 0;
    json_t *flag = NULL;

    json_array_foreach(json_object_get(test, "flags"), index, flag)
    {
        if (json_string_value(flag) && strcmp(json_string_value(flag), wanted) == 0)
            return true;
    }
    return false;
}

static struct replay_result mac_check(const struct replay_token *token, CK_MECHANISM *mechanism,
                                      CK_OBJECT_HANDLE key, json_t *test)
{
    CLEARED struct bytes message = bytes_hex(test, "msg");
    CLEARED struct bytes tag = bytes_hex(test, "tag");
    CK_RV rv = mac_verify(token, mechanism, key, &message, &tag);

    if (!is_valid(test)) {
        return rv == CKR_SIGNATURE_INVALID || rv == CKR_SIGNATURE_LEN_RANGE
                   ? outcome(REPLAY_REJECTED)
                   : wrong("C_Verify gave 0x%lx", rv);
    }
    if (rv != CKR_OK)
        return wrong("C_Verify gave 0x%lx", rv);
    return mac_sign(token, mechanism, key, &message, &tag);
}

static const CK_ATTRIBUTE_TYPE mac_usages[2] = {CKA_SIGN, CKA_VERIFY};

struct replay_result replay_mac(const struct replay_token *token, const struct replay_file *file,
                                json_t *group, json_t *test)
{
    CLEARED struct bytes key_bytes = bytes_hex(test, "key");
    CK_MAC_GENERAL_PARAMS len =
        (CK_ULONG) json_integer_value(json_object_get(group, "tagSize")) / 8;
    CK_MECHANISM whole = {file->mechanism, NULL, 0};
    CK_MECHANISM cut = {file->general, &len, sizeof(len)};
    CK_MECHANISM *mechanism = len == file->full_len ? &whole : &cut;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_RV rv = key_new(token, file->key_type, mac_usages, &key_bytes, &key);

    if (rv != CKR_OK) {
        bool is_right = !is_valid(test) && has_flag(test, "InvalidKeySize") &&
                        rv == CKR_ATTRIBUTE_VALUE_INVALID;
        return is_right ? outcome(REPLAY_REJECTED) : wrong("C_CreateObject gave 0x%lx", rv);
    }
    struct replay_result result = mac_check(token, mechanism, key, test);
    key_destroy(token, key);
    return result;
}

/* By CK_GCM_PARAMS, and where the IV has 12 bytes, by the bare IV too. */
struct replay_result replay_gmac(const struct replay_token *token, const struct replay_file *file,
                                 json_t *group, json_t *test)
{
    CLEARED struct bytes key_bytes = bytes_hex(test, "key");
    CLEARED struct bytes iv = bytes_hex(test, "iv");
    CK_GCM_PARAMS params = {
        .pIv = iv.at,
        .ulIvLen = iv.len,
        .ulTagBits = (CK_ULONG) json_integer_value(json_object_get(group, "tagSize")),
    };
    CK_MECHANISM with_params = {file->mechanism, &params, sizeof(params)};
    CK_MECHANISM bare = {file->mechanism, iv.at, iv.len};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_RV rv = key_new(token, file->key_type, mac_usages, &key_bytes, &key);

    if (rv != CKR_OK)
        return wrong("C_CreateObject gave 0x%lx", rv);
    struct replay_result result = mac_check(token, &with_params, key, test);
    if (result.outcome != REPLAY_WRONG && iv.len == GMAC_BARE_IV_LEN)
        result = mac_check(token, &bare, key, test);
    key_destroy(token, key);
    return result;
}

static CK_RV hkdf_value(const struct replay_token *token, CK_OBJECT_HANDLE key,
                        struct bytes *ret_value)
{
    CK_ATTRIBUTE value = {CKA_VALUE, ret_value->at, ret_value->len};
    CK_RV rv = token->functions->C_GetAttributeValue(token->session, key, &value, 1);

    if (rv == CKR_OK)
        ret_value->len = value.ulValueLen;
    return rv;
}

static CK_RV hkdf_derive(const struct replay_token *token, CK_MECHANISM *mechanism,
                         CK_OBJECT_HANDLE base, struct bytes *ret_value)
{
    CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ULONG len = ret_value->len;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &object_class, sizeof(object_class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &no, sizeof(no)},
        {CKA_SENSITIVE, &no, sizeof(no)},
        {CKA_EXTRACTABLE, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
    };
    CK_RV rv = token->functions->C_DeriveKey(token->session, mechanism, base, template,
                                             sizeof(template) / sizeof(template[0]), &key);

    if (rv != CKR_OK)
        return rv;
    rv = hkdf_value(token, key, ret_value);
    key_destroy(token, key);
    return rv;
}

/* The base is readable itself, so that the derived key may be. */
static CK_RV hkdf_base(const struct replay_token *token, struct bytes *ikm,
                       CK_OBJECT_HANDLE *ret_key)
{
    const CK_ATTRIBUTE value = {CKA_VALUE, ikm->at, ikm->len};
    const CK_ATTRIBUTE others[3] = {
        {CKA_DERIVE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &no, sizeof(no)},
        {CKA_EXTRACTABLE, &yes, sizeof(yes)},
    };

    return replay_key(token, CKK_GENERIC_SECRET, others, &value, ret_key);
}

struct replay_result replay_hkdf(const struct replay_token *token, const struct replay_file *file,
                                 json_t *group, json_t *test)
{
    CLEARED struct bytes ikm = bytes_hex(test, "ikm");
    CLEARED struct bytes salt = bytes_hex(test, "salt");
    CLEARED struct bytes info = bytes_hex(test, "info");
    CLEARED struct bytes wanted = bytes_hex(test, "okm");
    CK_ULONG len = (CK_ULONG) json_integer_value(json_object_get(test, "size"));
    CLEARED struct bytes value = bytes_new(len);
    CK_HKDF_PARAMS params = {
        .bExtract = CK_TRUE,
        .bExpand = CK_TRUE,
        .prfHashMechanism = file->mechanism,
        .ulSaltType = salt.len > 0 ? CKF_HKDF_SALT_DATA : CKF_HKDF_SALT_NULL,
        .pSalt = salt.at,
        .ulSaltLen = salt.len,
        .pInfo = info.at,
        .ulInfoLen = info.len,
    };
    CK_MECHANISM mechanism = {CKM_HKDF_DERIVE, &params, sizeof(params)};
    CK_OBJECT_HANDLE base = CK_INVALID_HANDLE;
    CK_RV rv = hkdf_base(token, &ikm, &base);

    (void) group;
    if (rv != CKR_OK)
        return wrong("C_CreateObject gave 0x%lx", rv);
    rv = hkdf_derive(token, &mechanism, base, &value);
    key_destroy(token, base);
    bool too_long = len > KEY_LEN_MAX && rv == CKR_ATTRIBUTE_VALUE_INVALID;
    if (!is_valid(test)) {
        return too_long || rv == CKR_KEY_SIZE_RANGE ? outcome(REPLAY_REJECTED)
                                                    : wrong("C_DeriveKey gave 0x%lx", rv);
    }
    if (too_long)
        return policy("a key has at most 512 bytes");
    if (rv != CKR_OK || !bytes_equal(&value, &wanted))
        return wrong("C_DeriveKey gave 0x%lx or another key", rv);
    return outcome(REPLAY_RIGHT);
}
