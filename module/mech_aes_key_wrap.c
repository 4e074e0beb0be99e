/*
 * CKM_AES_KEY_WRAP (NIST SP 800-38F, 6.2: KW) and CKM_AES_KEY_WRAP_KWP (6.3: KWP).
 *
 * CKM_AES_KEY_WRAP_PAD is KWP here. Its own text never said which padding it means, 3.0 has put
 * both readings under names of their own, and the peers that have it (SoftHSM, OpenSSL's
 * AES-256-WRAP-PAD) mean KWP, as RFC 5649 has it.
 */
#include "module/mech.h"

#include "base/crypto.h"
#include "module/attributes_table.h"

#define SEMIBLOCK_LEN 8
/* KW wraps two semiblocks or more; RFC 3394 allows no fewer either. */
#define KW_KEY_LEN_MIN 16
/* What KW and KWP put before the key: the check value, with KWP's length in it. */
#define WRAP_OVERHEAD SEMIBLOCK_LEN
#define WRAPPED_LEN_MIN 16
#define WRAPPED_LEN_MAX (KEY_VALUE_MAX + WRAP_OVERHEAD)

static void cipher_context_free(EVP_CIPHER_CTX **context)
{
    EVP_CIPHER_CTX_free(*context);
}

static const struct mechanism *line_of(const struct wrap_call *call)
{
    return mechanism_find(call->mechanism->mechanism);
}

/* KW's check value has 8 bytes, the part of KWP's that may be chosen 4 (PKCS #11, AES key wrap
 * mechanism parameters). NULL: the standard's own. */
static CK_RV read_iv(const struct wrap_call *call, const EVP_CIPHER *cipher,
                     const unsigned char **ret_iv)
{
    const CK_MECHANISM *mechanism = call->mechanism;

    if (mechanism->ulParameterLen == 0) {
        *ret_iv = NULL;
        return CKR_OK;
    }
    if (mechanism->pParameter == NULL ||
        mechanism->ulParameterLen != (CK_ULONG) EVP_CIPHER_get_iv_length(cipher)) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "%s: an IV of %lu bytes", line_of(call)->name,
                      mechanism->ulParameterLen);
    }
    *ret_iv = mechanism->pParameter;
    return CKR_OK;
}

static CK_RV read_parameter(const struct wrap_call *call, const EVP_CIPHER **ret_cipher,
                            const unsigned char **ret_iv)
{
    const EVP_CIPHER *cipher = NULL;

    TRY(mech_aes_cipher(line_of(call)->algorithm, call->key_value->len, &cipher));
    TRY(read_iv(call, cipher, ret_iv));
    *ret_cipher = cipher;
    return CKR_OK;
}

static CK_RV new_context(const struct wrap_call *call, bool wraps, EVP_CIPHER_CTX **ret_context)
{
    const EVP_CIPHER *cipher = NULL;
    const unsigned char *iv = NULL;

    TRY(read_parameter(call, &cipher, &iv));
    _cleanup_(cipher_context_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (!context)
        return CKR_HOST_MEMORY;
    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (!EVP_CipherInit_ex2(context, cipher, call->key_value->bytes, iv, wraps, NULL))
        return mech_openssl_failed(line_of(call)->name, "setting the key");
    *ret_context = TAKE(context);
    return CKR_OK;
}

static bool pads(const struct wrap_call *call)
{
    return call->mechanism->mechanism != CKM_AES_KEY_WRAP;
}

static CK_RV key_wrap_len(const struct wrap_call *call, size_t key_len, size_t *ret_len)
{
    const EVP_CIPHER *cipher = NULL;
    const unsigned char *iv = NULL;

    TRY(read_parameter(call, &cipher, &iv));
    if (!pads(call) && (key_len < KW_KEY_LEN_MIN || key_len % SEMIBLOCK_LEN != 0)) {
        return REFUSE(CKR_KEY_SIZE_RANGE, "%s: a key of %zu bytes; CKM_AES_KEY_WRAP_KWP takes it",
                      line_of(call)->name, key_len);
    }
    size_t semiblocks = (key_len + SEMIBLOCK_LEN - 1) / SEMIBLOCK_LEN;
    *ret_len = semiblocks * SEMIBLOCK_LEN + WRAP_OVERHEAD;
    return CKR_OK;
}

static CK_RV key_wrap(const struct wrap_call *call, const struct secret *key, unsigned char *out)
{
    _cleanup_(cipher_context_free) EVP_CIPHER_CTX *context = NULL;
    int len = 0;

    TRY(new_context(call, true, &context));
    if (!EVP_CipherUpdate(context, out, &len, key->bytes, (int) key->len))
        return mech_openssl_failed(line_of(call)->name, "wrapping");
    return CKR_OK;
}

static bool is_wrapped_len(const struct wrap_call *call, size_t len)
{
    size_t min = pads(call) ? WRAPPED_LEN_MIN : KW_KEY_LEN_MIN + WRAP_OVERHEAD;

    return len >= min && len <= WRAPPED_LEN_MAX && len % SEMIBLOCK_LEN == 0;
}

static CK_RV key_unwrap(const struct wrap_call *call, struct view wrapped, struct secret *ret_key)
{
    _cleanup_(cipher_context_free) EVP_CIPHER_CTX *context = NULL;
    _cleanup_(secret_clear) struct secret key = {0};
    int len = 0;

    TRY(new_context(call, false, &context));
    if (!is_wrapped_len(call, wrapped.len)) {
        return REFUSE(CKR_WRAPPED_KEY_LEN_RANGE, "%s: no wrapped key has %zu bytes",
                      line_of(call)->name, wrapped.len);
    }
    /* OpenSSL wipes as many bytes of the output as the input has. */
    TRY(secret_new(wrapped.len, &key));
    CRYPTO_HIDE_ERRORS;
    if (!EVP_CipherUpdate(context, key.bytes, &len, wrapped.bytes, (int) wrapped.len)) {
        return REFUSE(CKR_WRAPPED_KEY_INVALID, "%s: the check value is wrong", line_of(call)->name);
    }
    key.len = (size_t) len;
    *ret_key = secret_move(&key);
    return CKR_OK;
}

const struct wrap_ops mech_aes_key_wrap = {
    .wrapped_len = key_wrap_len,
    .wrap = key_wrap,
    .unwrap = key_unwrap,
};
