/*
 * CKM_AES_GCM (NIST SP 800-38D).
 *
 * The associated data enters OpenSSL's context in C_*Init, so nothing of the caller's parameter is
 * kept. Encryption streams. Decryption gives nothing out before the tag is verified:
 * C_DecryptUpdate collects the ciphertext, up to GCM_COLLECTED_MAX bytes, and C_DecryptFinal
 * decrypts it. C_Decrypt and C_DecryptFinal decrypt into the caller's buffer and wipe it when the
 * tag is wrong; another thread that reads the buffer during the call could see the plaintext
 * before.
 */
#include "module/mech_aes_gcm.h"

#include <stdint.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "module/policy_rules.h"

#define GCM_TAG_LEN_MIN 12
/* 2^39 - 256 bits (SP 800-38D, 5.2.1.1). */
#define GCM_TEXT_LEN_MAX (((uint64_t) 1 << 36) - 32)
#define GCM_COLLECTED_MAX ((size_t) 64 << 20)
#define GCM_COLLECTED_STEP ((size_t) 4 << 10)

/* CK_GCM_PARAMS as it was before ulIvBits came in; told apart by its size. */
struct gcm_params_legacy {
    CK_BYTE_PTR pIv;
    CK_ULONG ulIvLen;
    CK_BYTE_PTR pAAD;
    CK_ULONG ulAADLen;
    CK_ULONG ulTagBits;
};

static bool encrypts(const struct operation *operation)
{
    return operation->kind == OPERATION_ENCRYPT || operation->kind == OPERATION_MESSAGE_ENCRYPT;
}

static CK_RV too_long(const struct operation *operation)
{
    return REFUSE(encrypts(operation) ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE,
                  "%s: the message is too long", mech_name(operation));
}

/* ulIvBits is not looked at: clients leave it 0 or unset. */
CK_RV mech_gcm_params(const CK_MECHANISM *mechanism, CK_GCM_PARAMS *ret_params)
{
    struct gcm_params_legacy legacy;

    if (!mechanism->pParameter)
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "no CK_GCM_PARAMS");
    if (mechanism->ulParameterLen == sizeof(*ret_params)) {
        memcpy(ret_params, mechanism->pParameter, sizeof(*ret_params));
        return CKR_OK;
    }
    if (mechanism->ulParameterLen != sizeof(legacy)) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CK_GCM_PARAMS of %lu bytes",
                      mechanism->ulParameterLen);
    }
    memcpy(&legacy, mechanism->pParameter, sizeof(legacy));
    *ret_params = (CK_GCM_PARAMS){
        .pIv = legacy.pIv,
        .ulIvLen = legacy.ulIvLen,
        .pAAD = legacy.pAAD,
        .ulAADLen = legacy.ulAADLen,
        .ulTagBits = legacy.ulTagBits,
    };
    return CKR_OK;
}

CK_RV mech_aes_gcm_tag_len(CK_ULONG tag_bits, size_t *ret_len)
{
    bool is_short = tag_bits < 8UL * GCM_TAG_LEN_MIN && !policy_allows_breach("tag-length-floor");

    if (tag_bits % 8 != 0 || tag_bits == 0 || is_short || tag_bits > 8UL * GCM_TAG_LEN_MAX)
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_AES_GCM: a tag of %lu bits", tag_bits);
    *ret_len = tag_bits / 8;
    return CKR_OK;
}

static CK_RV gcm_input_read(const CK_MECHANISM *mechanism, struct gcm_input *ret_input)
{
    CK_GCM_PARAMS params;
    struct gcm_input input = {0};

    TRY(mech_gcm_params(mechanism, &params));
    TRY(mech_parameter_bytes(params.pIv, params.ulIvLen, GCM_IV_LEN_MAX, &input.iv));
    TRY(mech_parameter_bytes(params.pAAD, params.ulAADLen, GCM_AAD_LEN_MAX, &input.aad));
    if (input.iv.len == 0)
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_AES_GCM: an empty IV");
    TRY(mech_aes_gcm_tag_len(params.ulTagBits, &input.tag_len));
    *ret_input = input;
    return CKR_OK;
}

void mech_aes_gcm_end(void *state)
{
    struct gcm_state *gcm = state;

    if (gcm->collected.bytes)
        blob_clear(&gcm->collected);
    gcm->collected_room = 0;
    gcm->text_len = 0;
}

void mech_aes_gcm_free(void *state)
{
    struct gcm_state *gcm = state;

    mech_aes_gcm_end(gcm);
    EVP_CIPHER_CTX_free(gcm->context);
    mem_free(gcm);
}

static void gcm_free_pointer(struct gcm_state **state)
{
    if (*state)
        mech_aes_gcm_free(*state);
}

static CK_RV gcm_new(const struct operation *operation, struct gcm_state **ret_state)
{
    const struct secret *key = NULL;
    const EVP_CIPHER *cipher = NULL;

    TRY(object_value(operation->key, &key));
    TRY(mech_aes_cipher(operation->mechanism->algorithm, key->len, &cipher));
    _cleanup_(gcm_free_pointer) struct gcm_state *state = mem_calloc(1, sizeof(*state));
    if (!state)
        return CKR_HOST_MEMORY;
    state->context = EVP_CIPHER_CTX_new();
    if (!state->context)
        return CKR_HOST_MEMORY;
    if (!EVP_CipherInit_ex2(state->context, cipher, key->bytes, NULL, encrypts(operation), NULL))
        return mech_openssl_failed(mech_name(operation), "setting the key");
    state->iv_len = (size_t) EVP_CIPHER_CTX_get_iv_length(state->context);
    *ret_state = TAKE(state);
    return CKR_OK;
}

/* One EVP_CipherUpdate after another, each within its int; `out` is NULL for associated data. */
static CK_RV gcm_feed(struct operation *operation, struct view in, unsigned char *out)
{
    struct gcm_state *state = operation->state;
    int written = 0;

    while (in.len > 0) {
        size_t part = in.len < EVP_CHUNK_LEN ? in.len : EVP_CHUNK_LEN;
        if (!EVP_CipherUpdate(state->context, out, &written, in.bytes, (int) part))
            return mech_openssl_failed(mech_name(operation), "processing data");
        in = (struct view){.bytes = in.bytes + part, .len = in.len - part};
        out = out ? out + part : NULL;
    }
    return CKR_OK;
}

CK_RV mech_aes_gcm_state(struct operation *operation, struct gcm_state **ret_state)
{
    struct gcm_state *state = operation->state;

    if (!state) {
        TRY(gcm_new(operation, &state));
        operation->state = state;
    }
    *ret_state = state;
    return CKR_OK;
}

_short_way_ CK_RV mech_aes_gcm_begin(struct operation *operation, const struct gcm_input *input)
{
    struct gcm_state *state = operation->state;

    if (state->iv_len != input->iv.len) {
        if (!EVP_CIPHER_CTX_ctrl(state->context, EVP_CTRL_AEAD_SET_IVLEN, (int) input->iv.len,
                                 NULL))
            return mech_openssl_failed(mech_name(operation), "setting the IV's length");
        state->iv_len = input->iv.len;
    }
    if (!EVP_CipherInit_ex2(state->context, NULL, NULL, input->iv.bytes, encrypts(operation), NULL))
        return mech_openssl_failed(mech_name(operation), "setting the IV");
    state->tag_len = input->tag_len;
    state->text_len = 0;
    return gcm_feed(operation, input->aad, NULL);
}

_short_way_ static CK_RV gcm_start(struct operation *operation, const CK_MECHANISM *mechanism)
{
    struct gcm_state *state = NULL;
    struct gcm_input input;

    TRY(gcm_input_read(mechanism, &input));
    TRY(mech_aes_gcm_state(operation, &state));
    if (encrypts(operation))
        TRY(gcm_counts_take(operation->key, &operation->share));
    return mech_aes_gcm_begin(operation, &input);
}

/* Counts `len` more bytes of plaintext or ciphertext. */
static CK_RV gcm_count(struct operation *operation, size_t len)
{
    struct gcm_state *state = operation->state;

    if (len > GCM_TEXT_LEN_MAX - state->text_len)
        return too_long(operation);
    state->text_len += len;
    return CKR_OK;
}

static CK_RV gcm_output_len(struct operation *operation, size_t in_len, bool last, size_t *ret_len)
{
    const struct gcm_state *state = operation->state;

    if (encrypts(operation)) {
        size_t tail = last ? state->tag_len : 0;
        if (in_len > SIZE_MAX - tail)
            return too_long(operation);
        *ret_len = in_len + tail;
        return CKR_OK;
    }
    if (!last) {
        *ret_len = 0;
        return CKR_OK;
    }
    if (in_len > SIZE_MAX - state->collected.len)
        return too_long(operation);
    size_t sealed_len = state->collected.len + in_len;
    /* Shorter than the tag: C_Decrypt itself says so. */
    *ret_len = sealed_len < state->tag_len ? 0 : sealed_len - state->tag_len;
    return CKR_OK;
}

/* CTR mode writes byte for byte behind what it reads: only a shifted overlap needs the move. */
static struct view gcm_untangle(struct view in, unsigned char *out)
{
    if (out == in.bytes || !mech_overlaps(in, out, in.len))
        return in;
    memmove(out, in.bytes, in.len);
    return (struct view){.bytes = out, .len = in.len};
}

CK_RV mech_aes_gcm_tag_write(struct operation *operation, unsigned char *tag)
{
    struct gcm_state *state = operation->state;
    /* EVP_CIPHER_CTX_ctrl would make the same of it, a tenth slower for 16 bytes. */
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, state->tag_len),
        OSSL_PARAM_END,
    };
    unsigned char none[AES_BLOCK_LEN];
    int none_len = 0;

    if (!EVP_EncryptFinal_ex(state->context, none, &none_len) ||
        !EVP_CIPHER_CTX_get_params(state->context, params)) {
        return mech_openssl_failed(mech_name(operation), "making the tag");
    }
    return CKR_OK;
}

_short_way_ CK_RV mech_aes_gcm_encrypt(struct operation *operation, struct view in,
                                       unsigned char *out)
{
    TRY(gcm_count(operation, in.len));
    return gcm_feed(operation, gcm_untangle(in, out), out);
}

static CK_RV gcm_encrypt(struct operation *operation, struct view in, unsigned char *out,
                         size_t *ret_len)
{
    const struct gcm_state *state = operation->state;

    TRY(mech_aes_gcm_encrypt(operation, in, out));
    TRY(mech_aes_gcm_tag_write(operation, out + in.len));
    *ret_len = in.len + state->tag_len;
    return CKR_OK;
}

CK_RV mech_aes_gcm_open(struct operation *operation, struct view text, unsigned char *tag,
                        unsigned char *out)
{
    struct gcm_state *state = operation->state;
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, state->tag_len),
        OSSL_PARAM_END,
    };
    unsigned char none[AES_BLOCK_LEN];
    int none_len = 0;

    TRY(gcm_count(operation, text.len));
    if (!EVP_CIPHER_CTX_set_params(state->context, params))
        return mech_openssl_failed(mech_name(operation), "setting the tag");
    CK_RV rv = gcm_feed(operation, gcm_untangle(text, out), out);
    /* For a wrong tag OpenSSL leaves no error behind. */
    if (rv == CKR_OK && !EVP_DecryptFinal_ex(state->context, none, &none_len)) {
        rv = REFUSE(CKR_ENCRYPTED_DATA_INVALID, "%s: the tag is wrong", mech_name(operation));
    }
    if (rv != CKR_OK && text.len > 0)
        OPENSSL_cleanse(out, text.len);
    return rv;
}

/* `sealed` is ciphertext and tag. */
static CK_RV gcm_decrypt(struct operation *operation, struct view sealed, unsigned char *out,
                         size_t *ret_len)
{
    const struct gcm_state *state = operation->state;
    unsigned char tag[GCM_TAG_LEN_MAX];

    if (sealed.len < state->tag_len) {
        return REFUSE(CKR_ENCRYPTED_DATA_LEN_RANGE, "%s: shorter than the tag",
                      mech_name(operation));
    }
    struct view text = {.bytes = sealed.bytes, .len = sealed.len - state->tag_len};
    /* The move of an overlapping ciphertext may run over the tag behind it. */
    memcpy(tag, sealed.bytes + text.len, state->tag_len);
    TRY(mech_aes_gcm_open(operation, text, tag, out));
    *ret_len = text.len;
    return CKR_OK;
}

CK_RV mech_aes_gcm_collect(struct operation *operation, struct view in)
{
    struct gcm_state *state = operation->state;
    size_t len = state->collected.len;

    if (in.len == 0)
        return CKR_OK;
    if (in.len > GCM_COLLECTED_MAX - len)
        return too_long(operation);
    if (in.len > state->collected_room - len) {
        size_t room = 2 * state->collected_room;
        if (room < len + in.len)
            room = len + in.len + GCM_COLLECTED_STEP;
        unsigned char *bytes = mem_resize(state->collected.bytes, room, 1);
        if (!bytes)
            return CKR_HOST_MEMORY;
        state->collected.bytes = bytes;
        state->collected_room = room;
    }
    memcpy(state->collected.bytes + len, in.bytes, in.len);
    state->collected.len = len + in.len;
    return CKR_OK;
}

_short_way_ static CK_RV gcm_one_shot(struct operation *operation, struct view in,
                                      unsigned char *out, size_t *ret_len)
{
    return encrypts(operation) ? gcm_encrypt(operation, in, out, ret_len)
                               : gcm_decrypt(operation, in, out, ret_len);
}

static CK_RV gcm_update(struct operation *operation, struct view in, unsigned char *out,
                        size_t *ret_len)
{
    *ret_len = encrypts(operation) ? in.len : 0;
    return encrypts(operation) ? mech_aes_gcm_encrypt(operation, in, out)
                               : mech_aes_gcm_collect(operation, in);
}

static CK_RV gcm_finish(struct operation *operation, unsigned char *out, size_t *ret_len)
{
    const struct gcm_state *state = operation->state;

    if (!encrypts(operation))
        return gcm_decrypt(operation, blob_view(&state->collected), out, ret_len);
    TRY(mech_aes_gcm_tag_write(operation, out));
    *ret_len = state->tag_len;
    return CKR_OK;
}

const struct cipher_ops mech_aes_gcm = {
    .start = gcm_start,
    .output_len = gcm_output_len,
    .one_shot = gcm_one_shot,
    .update = gcm_update,
    .finish = gcm_finish,
    .end = mech_aes_gcm_end,
    .free_state = mech_aes_gcm_free,
};
