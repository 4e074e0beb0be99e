/*
 * CKM_AES_CBC and CKM_AES_CBC_PAD (NIST SP 800-38A; the padding is that of PKCS #7).
 *
 * OpenSSL holds back what does not fill a block (and, where padding is removed, the last full
 * block); `held` follows it, so that output lengths are exact except that of a decryption that
 * removes padding.
 */
#include "module/mech.h"

#include <stdint.h>

#include <openssl/crypto.h>

#include "base/alloc.h"
#include "base/crypto.h"

struct cbc_state {
    EVP_CIPHER_CTX *context;
    bool pads;
    size_t held;
};

static bool encrypts(const struct operation *operation)
{
    return operation->kind == OPERATION_ENCRYPT;
}

static CK_RV bad_length(const struct operation *operation)
{
    return REFUSE(encrypts(operation) ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE,
                  "%s: the length does not fit the block", mech_name(operation));
}

static void cbc_free(void *state)
{
    struct cbc_state *cbc = state;

    EVP_CIPHER_CTX_free(cbc->context);
    mem_free(cbc);
}

static void cbc_free_pointer(struct cbc_state **state)
{
    if (*state)
        cbc_free(*state);
}

static CK_RV cbc_new(const struct operation *operation, struct cbc_state **ret_state)
{
    const struct secret *key = NULL;
    const EVP_CIPHER *cipher = NULL;

    TRY(object_value(operation->key, &key));
    TRY(mech_aes_cipher(operation->mechanism->algorithm, key->len, &cipher));
    _cleanup_(cbc_free_pointer) struct cbc_state *state = mem_calloc(1, sizeof(*state));
    if (!state)
        return CKR_HOST_MEMORY;
    state->pads = operation->mechanism->cipher == &mech_aes_cbc_pad;
    state->context = EVP_CIPHER_CTX_new();
    if (!state->context)
        return CKR_HOST_MEMORY;
    if (!EVP_CipherInit_ex2(state->context, cipher, key->bytes, NULL, encrypts(operation), NULL) ||
        !EVP_CIPHER_CTX_set_padding(state->context, state->pads)) {
        return mech_openssl_failed(mech_name(operation), "setting the key");
    }
    *ret_state = TAKE(state);
    return CKR_OK;
}

static CK_RV cbc_start(struct operation *operation, const CK_MECHANISM *mechanism)
{
    if (!mechanism->pParameter || mechanism->ulParameterLen != AES_BLOCK_LEN) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "%s: an IV of %lu bytes", mech_name(operation),
                      mechanism->ulParameterLen);
    }
    struct cbc_state *state = operation->state;
    if (!state) {
        TRY(cbc_new(operation, &state));
        operation->state = state;
    }
    if (!EVP_CipherInit_ex2(state->context, NULL, NULL, mechanism->pParameter, encrypts(operation),
                            NULL)) {
        return mech_openssl_failed(mech_name(operation), "setting the IV");
    }
    state->held = 0;
    return CKR_OK;
}

/* What an update with in_len more bytes writes. */
static size_t cbc_update_len(const struct operation *operation, size_t in_len)
{
    const struct cbc_state *state = operation->state;
    size_t total = state->held + in_len;

    if (state->pads && !encrypts(operation) && total > 0)
        total--;
    return total - total % AES_BLOCK_LEN;
}

static CK_RV cbc_output_len(struct operation *operation, size_t in_len, bool last, size_t *ret_len)
{
    const struct cbc_state *state = operation->state;

    if (in_len > SIZE_MAX - (size_t) 2 * AES_BLOCK_LEN)
        return bad_length(operation);
    size_t total = state->held + in_len;
    if (!last)
        *ret_len = cbc_update_len(operation, in_len);
    else if (state->pads && encrypts(operation))
        *ret_len = total - total % AES_BLOCK_LEN + AES_BLOCK_LEN;
    else
        *ret_len = total - total % AES_BLOCK_LEN;
    return CKR_OK;
}

static CK_RV cbc_feed(struct operation *operation, struct view in, unsigned char *out,
                      size_t *ret_len)
{
    struct cbc_state *state = operation->state;
    size_t written = 0;

    for (size_t done = 0; done < in.len;) {
        size_t part = in.len - done < EVP_CHUNK_LEN ? in.len - done : EVP_CHUNK_LEN;
        int part_written = 0;
        if (!EVP_CipherUpdate(state->context, out + written, &part_written, in.bytes + done,
                              (int) part)) {
            return mech_openssl_failed(mech_name(operation), "processing data");
        }
        written += (size_t) part_written;
        done += part;
    }
    state->held += in.len - written;
    *ret_len = written;
    return CKR_OK;
}

static CK_RV cbc_update(struct operation *operation, struct view in, unsigned char *out,
                        size_t *ret_len)
{
    struct cbc_state *state = operation->state;
    _cleanup_(secret_clear) struct secret copy = {0};

    /* With bytes held back, the output runs ahead of the input in the same buffer. */
    if (mech_overlaps(in, out, cbc_update_len(operation, in.len)) &&
        (out != in.bytes || state->held > 0)) {
        TRY(secret_from(in.bytes, in.len, &copy));
        in = (struct view){.bytes = copy.bytes, .len = copy.len};
    }
    return cbc_feed(operation, in, out, ret_len);
}

static CK_RV cbc_finish(struct operation *operation, unsigned char *out, size_t *ret_len)
{
    struct cbc_state *state = operation->state;
    unsigned char block[AES_BLOCK_LEN];
    int written = 0;
    CRYPTO_HIDE_ERRORS;

    if (!state->pads) {
        if (state->held > 0)
            return bad_length(operation);
        *ret_len = 0;
        return CKR_OK;
    }
    if (!encrypts(operation) && state->held != AES_BLOCK_LEN)
        return bad_length(operation);
    if (!EVP_CipherFinal_ex(state->context, block, &written)) {
        if (encrypts(operation))
            return mech_openssl_failed(mech_name(operation), "padding");
        return REFUSE(CKR_ENCRYPTED_DATA_INVALID, "%s: the padding is wrong", mech_name(operation));
    }
    for (int i = 0; i < written; i++)
        out[i] = block[i];
    OPENSSL_cleanse(block, sizeof(block));
    *ret_len = (size_t) written;
    return CKR_OK;
}

static CK_RV cbc_one_shot(struct operation *operation, struct view in, unsigned char *out,
                          size_t *ret_len)
{
    const struct cbc_state *state = operation->state;
    size_t written = 0;
    size_t tail = 0;

    /* Known before a byte is written. */
    if (in.len % AES_BLOCK_LEN != 0 && !(state->pads && encrypts(operation)))
        return bad_length(operation);
    TRY(cbc_update(operation, in, out, &written));
    CK_RV rv = cbc_finish(operation, out + written, &tail);
    if (rv != CKR_OK) {
        if (written > 0)
            OPENSSL_cleanse(out, written);
        return rv;
    }
    *ret_len = written + tail;
    return CKR_OK;
}

static void cbc_end(void *state)
{
    struct cbc_state *cbc = state;

    /* At most one block of the message is still inside the context, which is wiped when it is
     * freed; OpenSSL has no call to wipe it alone. */
    cbc->held = 0;
}

const struct cipher_ops mech_aes_cbc = {
    .start = cbc_start,
    .output_len = cbc_output_len,
    .one_shot = cbc_one_shot,
    .update = cbc_update,
    .finish = cbc_finish,
    .end = cbc_end,
    .free_state = cbc_free,
};

const struct cipher_ops mech_aes_cbc_pad = {
    .start = cbc_start,
    .output_len = cbc_output_len,
    .one_shot = cbc_one_shot,
    .update = cbc_update,
    .finish = cbc_finish,
    .end = cbc_end,
    .free_state = cbc_free,
};
