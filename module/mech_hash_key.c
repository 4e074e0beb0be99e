/* CKM_*_KEY_DERIVATION: the derived key is a digest of the base key (PKCS #11 6, each hash's own
 * section), cut at its end; of SHAKE, as many bytes as the template says. */
#include "module/mech.h"

#include "base/crypto.h"

static void digest_context_free(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

/* Without a length in the template, a generic secret has the digest's. Other key types have no
 * length of their own, and SHAKE's output has none. */
static CK_RV len_read(const struct derive_call *call, const EVP_MD *digest, size_t *ret_len)
{
    const struct derive_output *output = call->outputs;
    bool is_xof = (EVP_MD_get_flags(digest) & EVP_MD_FLAG_XOF) != 0;
    size_t digest_len = (size_t) EVP_MD_get_size(digest);

    if (output->len == 0 && (is_xof || output->key_type != CKK_GENERIC_SECRET))
        return REFUSE(CKR_TEMPLATE_INCOMPLETE, "a hashed key has no length");
    if (!is_xof && output->len > digest_len)
        return REFUSE(CKR_KEY_SIZE_RANGE, "a key of %zu bytes from a digest of %zu", output->len,
                      digest_len);
    *ret_len = output->len ? output->len : digest_len;
    return CKR_OK;
}

static CK_RV hash_base(const struct derive_call *call, const EVP_MD *digest, struct secret *whole)
{
    const struct secret *base = call->base_value;
    bool is_xof = (EVP_MD_get_flags(digest) & EVP_MD_FLAG_XOF) != 0;
    _cleanup_(digest_context_free) EVP_MD_CTX *context = EVP_MD_CTX_new();

    if (!context)
        return CKR_HOST_MEMORY;
    if (!EVP_DigestInit_ex2(context, digest, NULL) ||
        !EVP_DigestUpdate(context, base->bytes, base->len) ||
        !(is_xof ? EVP_DigestFinalXOF(context, whole->bytes, whole->len)
                 : EVP_DigestFinal_ex(context, whole->bytes, NULL))) {
        return mech_openssl_failed("CKM_*_KEY_DERIVATION", "hashing a key");
    }
    return CKR_OK;
}

static CK_RV hash_key_derive(const struct derive_call *call, struct secret *ret_value)
{
    const struct mechanism *mechanism = mechanism_find(call->mechanism->mechanism);
    const EVP_MD *digest = crypto_digest(mechanism->algorithm);
    _cleanup_(secret_clear) struct secret whole = {0};
    size_t len = 0;

    TRY(mech_no_parameter(call->mechanism));
    if (!digest)
        return mech_openssl_failed(mechanism->name, "fetching the digest");
    TRY(len_read(call, digest, &len));
    /* A digest comes whole; what the template does not want is cut off. */
    TRY(secret_new(len > (size_t) EVP_MD_get_size(digest) ? len : (size_t) EVP_MD_get_size(digest),
                   &whole));
    TRY(hash_base(call, digest, &whole));
    return mech_cut(&whole, len, ret_value);
}

const struct derive_ops mech_hash_key = {
    .default_type = CKK_GENERIC_SECRET,
    .form = DERIVE_HASHES,
    .derive = hash_key_derive,
};
