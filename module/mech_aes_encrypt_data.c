/*
 * CKM_AES_ECB_ENCRYPT_DATA and CKM_AES_CBC_ENCRYPT_DATA: the derived key is the
 * ciphertext of the caller's data, cut at its end.
 */
#include "module/mech.h"

#include <string.h>

#include "base/crypto.h"

static void cipher_free(EVP_CIPHER_CTX **context)
{
    EVP_CIPHER_CTX_free(*context);
}

static CK_RV invalid(const char *what)
{
    return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_AES_*_ENCRYPT_DATA: %s", what);
}

static CK_RV encrypt_data(const struct derive_call *call, const char *mode, const CK_BYTE *iv,
                          struct view data, struct secret *ret_value)
{
    const EVP_CIPHER *cipher = NULL;
    _cleanup_(secret_clear) struct secret text = {0};
    int written = 0;

    if (data.len == 0 || data.len % AES_BLOCK_LEN != 0)
        return invalid("the data is not a number of blocks");
    size_t len = call->outputs->len ? call->outputs->len : data.len;
    if (len > data.len)
        return REFUSE(CKR_DATA_LEN_RANGE, "the data is too short for a key of %zu bytes", len);
    TRY(mech_aes_cipher(mode, call->base_value->len, &cipher));
    TRY(secret_new(data.len, &text));
    _cleanup_(cipher_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (!context)
        return CKR_HOST_MEMORY;
    if (!EVP_EncryptInit_ex2(context, cipher, call->base_value->bytes, iv, NULL) ||
        !EVP_CIPHER_CTX_set_padding(context, 0) ||
        !EVP_EncryptUpdate(context, text.bytes, &written, data.bytes, (int) data.len)) {
        return mech_openssl_failed("CKM_AES_*_ENCRYPT_DATA", "encrypting");
    }
    return mech_cut(&text, len, ret_value);
}

static CK_RV ecb_derive(const struct derive_call *call, struct secret *ret_value)
{
    struct view data = {0};

    TRY(mech_string_data(call->mechanism, &data));
    return encrypt_data(call, "ECB", NULL, data, ret_value);
}

static CK_RV cbc_derive(const struct derive_call *call, struct secret *ret_value)
{
    CK_AES_CBC_ENCRYPT_DATA_PARAMS params;
    struct view data = {0};

    if (!call->mechanism->pParameter || call->mechanism->ulParameterLen != sizeof(params))
        return invalid("no CK_AES_CBC_ENCRYPT_DATA_PARAMS");
    memcpy(&params, call->mechanism->pParameter, sizeof(params));
    TRY(mech_parameter_bytes(params.pData, params.length, PARAMETER_BYTES_MAX, &data));
    return encrypt_data(call, "CBC", params.iv, data, ret_value);
}

const struct derive_ops mech_aes_ecb_encrypt_data = {
    .default_type = CKK_GENERIC_SECRET,
    .derive = ecb_derive,
};

const struct derive_ops mech_aes_cbc_encrypt_data = {
    .default_type = CKK_GENERIC_SECRET,
    .derive = cbc_derive,
};
