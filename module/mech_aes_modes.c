#include "module/mech_aes_modes.h"

#include <stdint.h>

#include <openssl/crypto.h>

#include "base/alloc.h"
#include "base/crypto.h"

struct aes_mode_state {
    EVP_CIPHER_CTX *context;
    struct aes_mode mode;
    size_t held;
    uint64_t left; /* bytes until the message is too long */
};

static bool encrypts(const struct operation *operation)
{
    return operation->kind == OPERATION_ENCRYPT;
}

static CK_RV bad_length(const struct operation *operation)
{
    return REFUSE(encrypts(operation) ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE,
                  "%s: the length does not fit the mode", mech_name(operation));
}

void aes_mode_free(void *state)
{
    struct aes_mode_state *mode = state;

    EVP_CIPHER_CTX_free(mode->context);
    mem_free(mode);
}

static void mode_free_pointer(struct aes_mode_state **state)
{
    if (*state)
        aes_mode_free(*state);
}

static CK_RV mode_new(const struct operation *operation, bool pads,
                      struct aes_mode_state **ret_state)
{
    const struct secret *key = NULL;
    const EVP_CIPHER *cipher = NULL;

    TRY(object_value(operation->key, &key));
    TRY(mech_aes_cipher(operation->mechanism->algorithm, key->len, &cipher));
    _cleanup_(mode_free_pointer) struct aes_mode_state *state = mem_calloc(1, sizeof(*state));
    if (!state)
        return CKR_HOST_MEMORY;
    state->context = EVP_CIPHER_CTX_new();
    if (!state->context)
        return CKR_HOST_MEMORY;
    if (!EVP_CipherInit_ex2(state->context, cipher, key->bytes, NULL, encrypts(operation), NULL) ||
        !EVP_CIPHER_CTX_set_padding(state->context, pads))
        return mech_openssl_failed(mech_name(operation), "setting the key");
    *ret_state = TAKE(state);
    return CKR_OK;
}

CK_RV aes_mode_start(struct operation *operation, const unsigned char *iv,
                     const struct aes_mode *mode)
{
    struct aes_mode_state *state = operation->state;

    if (!state) {
        TRY(mode_new(operation, mode->pads, &state));
        operation->state = state;
    }
    if (!EVP_CipherInit_ex2(state->context, NULL, NULL, iv, encrypts(operation), NULL))
        return mech_openssl_failed(mech_name(operation), "starting a message");
    state->mode = *mode;
    state->held = 0;
    state->left = mode->len_limit;
    return CKR_OK;
}

/* What an update with in_len more bytes writes. */
static size_t mode_update_len(const struct operation *operation, size_t in_len)
{
    const struct aes_mode_state *state = operation->state;
    size_t total = state->held + in_len;

    if (state->mode.pads && !encrypts(operation) && total > 0)
        total--;
    return total - total % state->mode.unit;
}

CK_RV aes_mode_output_len(struct operation *operation, size_t in_len, bool last, size_t *ret_len)
{
    const struct aes_mode_state *state = operation->state;

    if (in_len > SIZE_MAX - (size_t) 2 * AES_BLOCK_LEN || in_len > state->left)
        return bad_length(operation);
    size_t total = state->held + in_len;
    if (!last)
        *ret_len = mode_update_len(operation, in_len);
    else if (state->mode.pads && encrypts(operation))
        *ret_len = total - total % AES_BLOCK_LEN + AES_BLOCK_LEN;
    else
        *ret_len = total - total % state->mode.unit;
    return CKR_OK;
}

static CK_RV mode_feed(struct operation *operation, struct view in, unsigned char *out,
                       size_t *ret_len)
{
    struct aes_mode_state *state = operation->state;
    size_t written = 0;

    if (in.len > state->left)
        return bad_length(operation);
    state->left -= in.len;
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

CK_RV aes_mode_update(struct operation *operation, struct view in, unsigned char *out,
                      size_t *ret_len)
{
    struct aes_mode_state *state = operation->state;
    _cleanup_(secret_clear) struct secret copy = {0};

    /* With bytes held back, the output runs ahead of the input in the same buffer. */
    if (mech_overlaps(in, out, mode_update_len(operation, in.len)) &&
        (out != in.bytes || state->held > 0)) {
        TRY(secret_from(in.bytes, in.len, &copy));
        in = (struct view){.bytes = copy.bytes, .len = copy.len};
    }
    return mode_feed(operation, in, out, ret_len);
}

CK_RV aes_mode_finish(struct operation *operation, unsigned char *out, size_t *ret_len)
{
    struct aes_mode_state *state = operation->state;
    unsigned char block[AES_BLOCK_LEN];
    int written = 0;
    CRYPTO_HIDE_ERRORS;

    if (!state->mode.pads) {
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

CK_RV aes_mode_one_shot(struct operation *operation, struct view in, unsigned char *out,
                        size_t *ret_len)
{
    const struct aes_mode_state *state = operation->state;
    size_t written = 0;
    size_t tail = 0;

    /* Known before a byte is written. */
    if (in.len % state->mode.unit != 0 && !(state->mode.pads && encrypts(operation)))
        return bad_length(operation);
    TRY(aes_mode_update(operation, in, out, &written));
    CK_RV rv = aes_mode_finish(operation, out + written, &tail);
    if (rv != CKR_OK) {
        if (written > 0)
            OPENSSL_cleanse(out, written);
        return rv;
    }
    *ret_len = written + tail;
    return CKR_OK;
}

void aes_mode_end(void *state)
{
    struct aes_mode_state *mode = state;

    /* At most one block of the message is still inside the context, which is wiped when it is
     * freed; OpenSSL has no call to wipe it alone. */
    mode->held = 0;
}
