/* CKM_SHA_1, SHA-2 and SHA-3 (FIPS 180-4, FIPS 202). */
#include "module/mech.h"

#include "base/alloc.h"
#include "base/crypto.h"

struct digest_state {
    EVP_MD_CTX *context;
    EVP_MD_CTX *blank; /* as each message begins: its copy is made faster than another beginning */
    const EVP_MD *digest;
    size_t len;
    bool unfinished;
};

static void digest_free(void *state)
{
    struct digest_state *digest = state;

    EVP_MD_CTX_free(digest->context);
    EVP_MD_CTX_free(digest->blank);
    mem_free(digest);
}

static CK_RV digest_state_new(const EVP_MD *digest, struct digest_state **ret_state)
{
    struct digest_state *state = mem_calloc(1, sizeof(*state));
    if (!state)
        return CKR_HOST_MEMORY;
    state->digest = digest;
    state->len = (size_t) EVP_MD_get_size(digest);
    state->context = EVP_MD_CTX_new();
    state->blank = EVP_MD_CTX_new();
    CK_RV rv = state->context && state->blank ? CKR_OK : CKR_HOST_MEMORY;
    if (rv == CKR_OK && !EVP_DigestInit_ex2(state->blank, digest, NULL))
        rv = mech_openssl_failed(EVP_MD_get0_name(digest), "starting a digest");
    if (rv != CKR_OK) {
        digest_free(state);
        return rv;
    }
    *ret_state = state;
    return CKR_OK;
}

static CK_RV digest_new(const struct mechanism *mechanism, struct digest_state **ret_state)
{
    const EVP_MD *digest = crypto_digest(mechanism->algorithm);
    if (!digest)
        return mech_openssl_failed(mechanism->name, "fetching the digest");
    return digest_state_new(digest, ret_state);
}

static CK_RV digest_start(struct operation *operation, const CK_MECHANISM *mechanism)
{
    TRY(mech_no_parameter(mechanism));
    struct digest_state *state = operation->state;
    if (!state) {
        TRY(digest_new(operation->mechanism, &state));
        operation->state = state;
    }
    if (!EVP_MD_CTX_copy_ex(state->context, state->blank))
        return mech_openssl_failed(mech_name(operation), "starting a digest");
    state->unfinished = true;
    return CKR_OK;
}

static CK_RV digest_update(struct operation *operation, struct view in)
{
    struct digest_state *state = operation->state;

    if (in.len > 0 && !EVP_DigestUpdate(state->context, in.bytes, in.len))
        return mech_openssl_failed(mech_name(operation), "digesting");
    return CKR_OK;
}

static CK_RV digest_finish(struct operation *operation, unsigned char *out)
{
    struct digest_state *state = operation->state;

    if (!EVP_DigestFinal_ex(state->context, out, NULL))
        return mech_openssl_failed(mech_name(operation), "finishing a digest");
    state->unfinished = false;
    return CKR_OK;
}

_short_way_ static CK_RV digest_one_shot(struct operation *operation, struct view in,
                                         unsigned char *out)
{
    TRY(digest_update(operation, in));
    return digest_finish(operation, out);
}

static size_t digest_len(const struct operation *operation)
{
    const struct digest_state *state = operation->state;

    return state->len;
}

static CK_RV digest_copy(const void *state, void **ret_state)
{
    const struct digest_state *from = state;
    struct digest_state *to = NULL;

    TRY(digest_state_new(from->digest, &to));
    if (!EVP_MD_CTX_copy_ex(to->context, from->context)) {
        digest_free(to);
        return mech_openssl_failed(EVP_MD_get0_name(from->digest), "copying a digest");
    }
    to->unfinished = from->unfinished;
    *ret_state = to;
    return CKR_OK;
}

static void digest_end(void *state)
{
    struct digest_state *digest = state;

    /* The part of a message that an unfinished digest holds may be secret (C_DigestKey). A finished
     * one keeps its context for the next message. */
    if (digest->unfinished) {
        EVP_MD_CTX_reset(digest->context);
        digest->unfinished = false;
    }
}

const struct digest_ops mech_digest = {
    .start = digest_start,
    .update = digest_update,
    .finish = digest_finish,
    .one_shot = digest_one_shot,
    .result_len = digest_len,
    .copy = digest_copy,
    .end = digest_end,
    .free_state = digest_free,
};
