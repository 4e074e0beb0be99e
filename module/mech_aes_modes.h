/*
 * What the AES modes without a tag (CBC, ECB, CTR: NIST SP 800-38A) have in common: all but their
 * parameters. A mode's C_*Init reads its parameter and calls aes_mode_start; the rest of its
 * struct cipher_ops are the functions below.
 *
 * OpenSSL holds back what does not fill a block (and, where padding is removed, the last full
 * block); `held` follows it, so that output lengths are exact except that of a decryption that
 * removes padding.
 */
#pragma once

#include "module/mech.h"

struct aes_mode {
    bool pads;          /* PKCS #7; the same for all messages of a mechanism */
    size_t unit;        /* what a message's length is a multiple of, unless padded */
    uint64_t len_limit; /* of a message */
};

#define AES_MODE_NO_LIMIT UINT64_MAX

/* Begins a message; `iv` has a block's bytes, or is NULL for a mode without. Makes the operation's
 * state at need. */
CK_RV aes_mode_start(struct operation *operation, const unsigned char *iv,
                     const struct aes_mode *mode);

CK_RV aes_mode_output_len(struct operation *operation, size_t in_len, bool last, size_t *ret_len);
CK_RV aes_mode_one_shot(struct operation *operation, struct view in, unsigned char *out,
                        size_t *ret_len);
CK_RV aes_mode_update(struct operation *operation, struct view in, unsigned char *out,
                      size_t *ret_len);
CK_RV aes_mode_finish(struct operation *operation, unsigned char *out, size_t *ret_len);
void aes_mode_end(void *state);
void aes_mode_free(void *state);

/* The operations of a mode whose C_*Init is `start_function`. */
#define AES_MODE_OPS(start_function)                                                               \
    {                                                                                              \
        .start = start_function, .output_len = aes_mode_output_len, .one_shot = aes_mode_one_shot, \
        .update = aes_mode_update, .finish = aes_mode_finish, .end = aes_mode_end,                 \
        .free_state = aes_mode_free,                                                               \
    }
