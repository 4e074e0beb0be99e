#include "module/mech_prf.h"

#include <string.h>

#include <openssl/crypto.h>

#include "base/crypto.h"

#define IPAD 0x36
#define OPAD 0x5c

static CK_RV failed(void)
{
    return mech_openssl_failed("a PRF", "computing it");
}

/* The digest of a padded key and a message: one of HMAC's two. */
static CK_RV digest_padded(const struct prf *prf, unsigned char pad, const struct view *parts,
                           size_t part_count, unsigned char *ret_out)
{
    unsigned char block[PRF_BLOCK_LEN_MAX];

    memset(block, pad, prf->block_len);
    for (size_t i = 0; i < prf->key.len; i++)
        block[i] ^= prf->key.bytes[i];
    bool ok = EVP_DigestInit_ex2(prf->context, prf->digest, NULL) &&
              EVP_DigestUpdate(prf->context, block, prf->block_len);
    OPENSSL_cleanse(block, prf->block_len);
    for (size_t i = 0; ok && i < part_count; i++)
        ok = parts[i].len == 0 || EVP_DigestUpdate(prf->context, parts[i].bytes, parts[i].len);
    return ok && EVP_DigestFinal_ex(prf->context, ret_out, NULL) ? CKR_OK : failed();
}

static CK_RV hmac_run(const struct prf *prf, const struct view *parts, size_t part_count,
                      unsigned char *ret_out)
{
    unsigned char inner[EVP_MAX_MD_SIZE];
    const struct view message = {inner, prf->len};

    CK_RV rv = digest_padded(prf, IPAD, parts, part_count, inner);
    if (rv == CKR_OK)
        rv = digest_padded(prf, OPAD, &message, 1, ret_out);
    OPENSSL_cleanse(inner, prf->len);
    return rv;
}

static CK_RV cmac_run(const struct prf *prf, const struct view *parts, size_t part_count,
                      unsigned char *ret_out)
{
    size_t len = 0;
    bool ok = EVP_MAC_init(prf->cmac, NULL, 0, NULL);

    for (size_t i = 0; ok && i < part_count; i++)
        ok = parts[i].len == 0 || EVP_MAC_update(prf->cmac, parts[i].bytes, parts[i].len);
    return ok && EVP_MAC_final(prf->cmac, ret_out, &len, prf->len) ? CKR_OK : failed();
}

CK_RV prf_run(struct prf *prf, const struct view *parts, size_t part_count, unsigned char *ret_out)
{
    return prf->cmac != NULL ? cmac_run(prf, parts, part_count, ret_out)
                             : hmac_run(prf, parts, part_count, ret_out);
}

/* FIPS 198-1, 4: a key that is longer than a block is replaced by its digest. */
static CK_RV hash_key(struct prf *prf, struct view key)
{
    if (!EVP_DigestInit_ex2(prf->context, prf->digest, NULL) ||
        !EVP_DigestUpdate(prf->context, key.bytes, key.len) ||
        !EVP_DigestFinal_ex(prf->context, prf->hashed, NULL))
        return failed();
    prf->key = (struct view){prf->hashed, prf->len};
    return CKR_OK;
}

CK_RV prf_hmac(const EVP_MD *digest, struct view key, struct prf *prf)
{
    prf->digest = digest;
    prf->len = (size_t) EVP_MD_get_size(digest);
    prf->block_len = (size_t) EVP_MD_get_block_size(digest);
    if (prf->block_len > PRF_BLOCK_LEN_MAX)
        return FAIL(CKR_GENERAL_ERROR, "a digest with blocks of %zu bytes", prf->block_len);
    prf->context = EVP_MD_CTX_new();
    if (prf->context == NULL)
        return CKR_HOST_MEMORY;
    prf->key = key;
    return key.len > prf->block_len ? hash_key(prf, key) : CKR_OK;
}

CK_RV prf_of(const struct mechanism *mechanism, const struct secret *key, struct prf *prf)
{
    if (mechanism->family != FAMILY_HMAC) {
        TRY(mech_mac_context(mechanism, key, &prf->cmac));
        prf->len = EVP_MAC_CTX_get_mac_size(prf->cmac);
        return CKR_OK;
    }
    const EVP_MD *digest = crypto_digest(mechanism->algorithm);
    if (digest == NULL)
        return mech_openssl_failed(mechanism->name, "fetching the digest");
    if (key->len < mechanism->min_key || key->len > mechanism->max_key)
        return REFUSE(CKR_KEY_SIZE_RANGE, "%s: a key of %zu bytes", mechanism->name, key->len);
    return prf_hmac(digest, (struct view){key->bytes, key->len}, prf);
}

void prf_clear(struct prf *prf)
{
    EVP_MD_CTX_free(prf->context);
    EVP_MAC_CTX_free(prf->cmac);
    if (prf->key.bytes == prf->hashed)
        OPENSSL_cleanse(prf->hashed, sizeof(prf->hashed));
    prf->context = NULL;
    prf->cmac = NULL;
}
