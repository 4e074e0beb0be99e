#include "base/crypto.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/alloc.h"
#include "base/rv.h"

struct hmac {
    EVP_MAC_CTX *context;
    bool is_fresh; /* keyed, and nothing read yet */
};

CK_RV hmac_new(const struct secret *key, struct hmac **ret_hmac)
{
    static char digest_name[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest_name,
                                         sizeof digest_name - 1),
        OSSL_PARAM_construct_end(),
    };
    CRYPTO_HIDE_ERRORS;
    _cleanup_(hmac_free) struct hmac *hmac = mem_calloc(1, sizeof *hmac);
    if (hmac == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for an HMAC context");
    EVP_MAC *mac = crypto_mac("HMAC");
    hmac->context = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);
    if (hmac->context == NULL || EVP_MAC_init(hmac->context, key->bytes, key->len, params) != 1)
        return crypto_fail("HMAC-SHA-256");
    hmac->is_fresh = true;
    *ret_hmac = TAKE(hmac);
    return CKR_OK;
}

void hmac_free(struct hmac **hmac)
{
    if (*hmac == NULL)
        return;
    /* Wipes the key and what was made of it. */
    EVP_MAC_CTX_free((*hmac)->context);
    mem_free(*hmac);
    *hmac = NULL;
}

CK_RV hmac_sha256(struct hmac *hmac, struct view message, unsigned char ret_mac[SHA256_LEN])
{
    CRYPTO_HIDE_ERRORS;
    unsigned char result[SHA256_LEN];
    size_t result_len;
    /* Without a key: back to the state behind the key's block, which is hashed but once. */
    bool is_ready = hmac->is_fresh || EVP_MAC_init(hmac->context, NULL, 0, NULL) == 1;
    hmac->is_fresh = false;
    if (!is_ready ||
        (message.len > 0 && EVP_MAC_update(hmac->context, message.bytes, message.len) != 1) ||
        EVP_MAC_final(hmac->context, result, &result_len, sizeof result) != 1)
        return crypto_fail("HMAC-SHA-256");
    memcpy(ret_mac, result, sizeof result);
    /* A MAC may be a key to its caller. */
    OPENSSL_cleanse(result, sizeof result);
    return CKR_OK;
}

CK_RV crypto_hmac_sha256(const struct secret *key, struct view message,
                         unsigned char ret_mac[SHA256_LEN])
{
    _cleanup_(hmac_free) struct hmac *hmac = NULL;
    TRY(hmac_new(key, &hmac));
    return hmac_sha256(hmac, message, ret_mac);
}
