/*
 * MACs: HMAC over every digest of the table (FIPS 198-1), AES CMAC (NIST SP 800-38B) and AES GMAC
 * (NIST SP 800-38D, 6.4).
 *
 * A message restarts the kept context by EVP_MAC_init without a key, which copies the keyed state
 * instead of hashing the key again.
 *
 * GMAC's IV comes from the caller, as in 2.40 (12 bytes, the tag has 128 bits) or in CK_GCM_PARAMS
 * (since 3.0), told apart by the size. The message is what C_Sign and C_SignUpdate get; associated
 * data in the parameter would leave open whether it is part of it, and is refused.
 */
#include "module/mech_aes_gcm.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "module/policy_rules.h"

/* Shorter MACs could be found byte by byte through C_Verify, so they are refused. */
#define HMAC_GENERAL_LEN_MIN 10
#define CMAC_GENERAL_LEN_MIN 8

/* As of AES-GCM. */
#define GMAC_TAG_LEN_MIN 12
#define GMAC_BARE_IV_LEN 12

struct mac_state {
    EVP_MAC_CTX *context;
    size_t full_len;
    size_t mac_len; /* of this message; what is cut off is never given out */
    bool unfinished;
};

void mech_mac_context_free(EVP_MAC_CTX **context)
{
    EVP_MAC_CTX_free(*context);
    *context = NULL;
}

static bool is_cmac(const struct mechanism *mechanism)
{
    return mechanism->family == FAMILY_AES_CMAC;
}

bool mech_hmac_accepts_key(const struct mechanism *mechanism, CK_KEY_TYPE key_type)
{
    return key_type == CKK_GENERIC_SECRET || key_type == mechanism->key_type;
}

CK_RV mech_mac_context(const struct mechanism *mechanism, const struct secret *key,
                       EVP_MAC_CTX **ret_context)
{
    const char *parameter = OSSL_MAC_PARAM_DIGEST;
    const char *algorithm = mechanism->algorithm;
    const char *mac_name = "HMAC";

    if (is_cmac(mechanism) || mechanism->mac == &mech_gmac) {
        parameter = OSSL_MAC_PARAM_CIPHER;
        mac_name = is_cmac(mechanism) ? "CMAC" : "GMAC";
        TRY(mech_aes_name(mechanism->algorithm, key->len, &algorithm));
    }
    if (key->len < mechanism->min_key || key->len > mechanism->max_key)
        return REFUSE(CKR_KEY_SIZE_RANGE, "%s: a key of %zu bytes", mechanism->name, key->len);
    EVP_MAC *mac = crypto_mac(mac_name);
    if (!mac)
        return mech_openssl_failed(mechanism->name, "fetching the MAC");
    _cleanup_(mech_mac_context_free) EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    if (!context)
        return CKR_HOST_MEMORY;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(parameter, (char *) algorithm, 0),
        OSSL_PARAM_construct_end(),
    };
    if (!EVP_MAC_init(context, key->bytes, key->len, params))
        return mech_openssl_failed(mechanism->name, "setting the key of a MAC");
    *ret_context = TAKE(context);
    return CKR_OK;
}

CK_RV mech_mac_len(const struct mechanism *mechanism, size_t *ret_len)
{
    if (is_cmac(mechanism)) {
        *ret_len = AES_BLOCK_LEN;
        return CKR_OK;
    }
    const EVP_MD *digest = crypto_digest(mechanism->algorithm);
    if (!digest)
        return mech_openssl_failed(mechanism->name, "fetching the digest");
    *ret_len = (size_t) EVP_MD_get_size(digest);
    return CKR_OK;
}

static void mac_free(void *state)
{
    struct mac_state *mac = state;

    EVP_MAC_CTX_free(mac->context);
    mem_free(mac);
}

static CK_RV mac_new(const struct operation *operation, struct mac_state **ret_state)
{
    const struct secret *key = NULL;
    _cleanup_(mech_mac_context_free) EVP_MAC_CTX *context = NULL;

    TRY(object_value(operation->key, &key));
    TRY(mech_mac_context(operation->mechanism, key, &context));
    struct mac_state *state = mem_calloc(1, sizeof(*state));
    if (!state)
        return CKR_HOST_MEMORY;
    state->context = TAKE(context);
    state->full_len = EVP_MAC_CTX_get_mac_size(state->context);
    *ret_state = state;
    return CKR_OK;
}

/* Takes the state up, or makes it, ready for a new message. */
static CK_RV mac_restart(struct operation *operation, struct mac_state **ret_state)
{
    struct mac_state *state = operation->state;

    if (!state) {
        TRY(mac_new(operation, &state));
        operation->state = state;
    } else if (!EVP_MAC_init(state->context, NULL, 0, NULL)) {
        return mech_openssl_failed(mech_name(operation), "restarting a MAC");
    }
    *ret_state = state;
    return CKR_OK;
}

static CK_RV mac_again(struct operation *operation)
{
    struct mac_state *state = NULL;

    return mac_restart(operation, &state);
}

static CK_RV mac_start(struct operation *operation, const CK_MECHANISM *mechanism)
{
    struct mac_state *state = NULL;

    TRY(mech_no_parameter(mechanism));
    TRY(mac_restart(operation, &state));
    state->mac_len = state->full_len;
    return CKR_OK;
}

static CK_RV mac_general_start(struct operation *operation, const CK_MECHANISM *mechanism)
{
    struct mac_state *state = NULL;
    CK_MAC_GENERAL_PARAMS wanted = 0;
    size_t min_len = is_cmac(operation->mechanism) ? CMAC_GENERAL_LEN_MIN : HMAC_GENERAL_LEN_MIN;

    if (!mechanism->pParameter || mechanism->ulParameterLen != sizeof(wanted)) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "%s: no CK_MAC_GENERAL_PARAMS",
                      mech_name(operation));
    }
    memcpy(&wanted, mechanism->pParameter, sizeof(wanted));
    if (policy_allows_breach("mac-length-floors"))
        min_len = 1;
    TRY(mac_restart(operation, &state));
    if (wanted < min_len || wanted > state->full_len) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "%s: a MAC of %lu bytes, outside %zu to %zu",
                      mech_name(operation), wanted, min_len, state->full_len);
    }
    state->mac_len = wanted;
    return CKR_OK;
}

static CK_RV gmac_input(const CK_MECHANISM *mechanism, struct view *ret_iv, size_t *ret_tag_len)
{
    CK_GCM_PARAMS params = {
        .pIv = mechanism->pParameter,
        .ulIvLen = mechanism->ulParameterLen,
        .ulTagBits = 8UL * AES_BLOCK_LEN,
    };

    if (mechanism->ulParameterLen != GMAC_BARE_IV_LEN)
        TRY(mech_gcm_params(mechanism, &params));
    TRY(mech_parameter_bytes(params.pIv, params.ulIvLen, GCM_IV_LEN_MAX, ret_iv));
    if (params.ulIvLen == 0 || params.ulAADLen > 0 || params.ulTagBits % 8 != 0 ||
        params.ulTagBits < 8UL * GMAC_TAG_LEN_MIN || params.ulTagBits > 8UL * AES_BLOCK_LEN) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID,
                      "CKM_AES_GMAC: an empty IV, associated data, or a tag of %lu bits",
                      params.ulTagBits);
    }
    *ret_tag_len = params.ulTagBits / 8;
    return CKR_OK;
}

static CK_RV gmac_start(struct operation *operation, const CK_MECHANISM *mechanism)
{
    struct mac_state *state = NULL;
    struct view iv = {0};
    size_t tag_len;

    TRY(gmac_input(mechanism, &iv, &tag_len));
    TRY(mac_restart(operation, &state));
    if (operation->kind == OPERATION_SIGN) /* its invocations are those of GCM */
        TRY(gcm_counts_take(operation->key, &operation->share));
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_IV, (void *) iv.bytes, iv.len),
        OSSL_PARAM_construct_end(),
    };
    if (!EVP_MAC_init(state->context, NULL, 0, params))
        return mech_openssl_failed(mech_name(operation), "setting the IV");
    state->mac_len = tag_len;
    return CKR_OK;
}

static CK_RV mac_update(struct operation *operation, struct view in)
{
    struct mac_state *state = operation->state;

    state->unfinished = true;
    if (in.len > 0 && !EVP_MAC_update(state->context, in.bytes, in.len))
        return mech_openssl_failed(mech_name(operation), "updating a MAC");
    return CKR_OK;
}

static CK_RV mac_finish_cut(struct operation *operation, unsigned char *out)
{
    struct mac_state *state = operation->state;
    unsigned char full[EVP_MAX_MD_SIZE];
    size_t full_len = 0;

    if (!EVP_MAC_final(state->context, full, &full_len, sizeof(full)))
        return mech_openssl_failed(mech_name(operation), "finishing a MAC");
    state->unfinished = false;
    memcpy(out, full, state->mac_len);
    OPENSSL_cleanse(full, full_len);
    return CKR_OK;
}

static CK_RV mac_finish(struct operation *operation, unsigned char *out)
{
    struct mac_state *state = operation->state;
    size_t len = 0;

    if (state->mac_len != state->full_len)
        return mac_finish_cut(operation, out);
    if (!EVP_MAC_final(state->context, out, &len, state->full_len))
        return mech_openssl_failed(mech_name(operation), "finishing a MAC");
    state->unfinished = false;
    return CKR_OK;
}

_short_way_ static CK_RV mac_one_shot(struct operation *operation, struct view in,
                                      unsigned char *out)
{
    TRY(mac_update(operation, in));
    return mac_finish(operation, out);
}

static size_t mac_len(const struct operation *operation)
{
    const struct mac_state *state = operation->state;

    return state->mac_len;
}

static void mac_end(void *state)
{
    struct mac_state *mac = state;

    /* An unfinished message's last block is still in the context. If this fails, the next start
     * fails too, and says so. */
    if (mac->unfinished)
        (void) EVP_MAC_init(mac->context, NULL, 0, NULL);
    mac->unfinished = false;
}

const struct digest_ops mech_mac = {
    .start = mac_start,
    .update = mac_update,
    .finish = mac_finish,
    .one_shot = mac_one_shot,
    .result_len = mac_len,
    .restart = mac_again,
    .end = mac_end,
    .free_state = mac_free,
};

const struct digest_ops mech_mac_general = {
    .start = mac_general_start,
    .update = mac_update,
    .finish = mac_finish,
    .one_shot = mac_one_shot,
    .result_len = mac_len,
    .restart = mac_again,
    .end = mac_end,
    .free_state = mac_free,
};

const struct digest_ops mech_gmac = {
    .start = gmac_start,
    .update = mac_update,
    .finish = mac_finish,
    .one_shot = mac_one_shot,
    .result_len = mac_len,
    .end = mac_end,
    .free_state = mac_free,
};
