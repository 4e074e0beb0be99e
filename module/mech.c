#include "module/mech.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "base/crypto.h"
#include "module/key_use.h"

CK_RV mech_openssl_cause(const char *mechanism, const char *what)
{
    char text[96];

    (void) snprintf(text, sizeof(text), "%s: %s", mechanism, what);
    CK_RV rv = crypto_fail(text);
    ERR_clear_error();
    return rv;
}

CK_RV mech_parameter_refused(const CK_MECHANISM *mechanism)
{
    return REFUSE(CKR_MECHANISM_PARAM_INVALID, "mechanism 0x%lx takes no parameter",
                  mechanism->mechanism);
}

CK_RV mech_bytes_refused(const void *bytes, CK_ULONG len, size_t max_len)
{
    return REFUSE(CKR_MECHANISM_PARAM_INVALID,
                  "a mechanism parameter holds %lu bytes at %s; the limit is %zu", len,
                  bytes ? "an address" : "NULL", max_len);
}

CK_RV mech_string_data(const CK_MECHANISM *mechanism, struct view *ret_data)
{
    CK_KEY_DERIVATION_STRING_DATA params;

    if (!mechanism->pParameter || mechanism->ulParameterLen != sizeof(params)) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID,
                      "mechanism 0x%lx has no CK_KEY_DERIVATION_STRING_DATA", mechanism->mechanism);
    }
    memcpy(&params, mechanism->pParameter, sizeof(params));
    return mech_parameter_bytes(params.pData, params.ulLen, PARAMETER_BYTES_MAX, ret_data);
}

CK_RV mech_further_key(const struct derive_call *call, CK_OBJECT_HANDLE handle,
                       const struct secret **ret_value)
{
    const struct mechanism *mechanism = mechanism_find(call->mechanism->mechanism);
    struct derive_keys *further = call->further;
    struct object *key = NULL;

    if (further->count == DERIVE_FURTHER_MAX)
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "%s: too many keys", mechanism->name);
    TRY(key_use_get(call->slot, handle, FLAG_DERIVE, mechanism, &key));
    further->keys[further->count++] = key;
    return key_use_value(key, ret_value);
}

CK_RV mech_cut(struct secret *whole, size_t len, struct secret *ret_value)
{
    if (len != whole->len)
        return secret_from(whole->bytes, len, ret_value);
    *ret_value = secret_move(whole);
    return CKR_OK;
}

bool mech_any_accepts_key(const struct mechanism *mechanism, CK_KEY_TYPE key_type)
{
    (void) mechanism;
    (void) key_type;
    return true;
}

CK_RV mech_aes_name(const char *mode, size_t key_len, const char **ret_name)
{
    static const struct {
        const char *mode;
        const char *names[3];
    } modes[] = {
        {"GCM", {"AES-128-GCM", "AES-192-GCM", "AES-256-GCM"}},
        {"CBC", {"AES-128-CBC", "AES-192-CBC", "AES-256-CBC"}},
        {"CTR", {"AES-128-CTR", "AES-192-CTR", "AES-256-CTR"}},
        {"ECB", {"AES-128-ECB", "AES-192-ECB", "AES-256-ECB"}},
        {"WRAP", {"AES-128-WRAP", "AES-192-WRAP", "AES-256-WRAP"}},
        {"WRAP-PAD", {"AES-128-WRAP-PAD", "AES-192-WRAP-PAD", "AES-256-WRAP-PAD"}},
    };

    if (key_len != 16 && key_len != 24 && key_len != 32)
        return REFUSE(CKR_KEY_SIZE_RANGE, "an AES key of %zu bytes", key_len);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(modes[i].mode, mode) == 0) {
            *ret_name = modes[i].names[key_len / 8 - 2];
            return CKR_OK;
        }
    }
    return FAIL(CKR_GENERAL_ERROR, "no AES mode %s", mode);
}

CK_RV mech_aes_cipher(const char *mode, size_t key_len, const EVP_CIPHER **ret_cipher)
{
    const char *name = NULL;

    TRY(mech_aes_name(mode, key_len, &name));
    const EVP_CIPHER *cipher = crypto_cipher(name);
    if (!cipher)
        return mech_openssl_failed(name, "fetching the cipher");
    *ret_cipher = cipher;
    return CKR_OK;
}
