/*
 * What CKM_AES_GCM's two faces share: C_Encrypt* with CK_GCM_PARAMS (mech_aes_gcm.c) and the
 * message functions with CK_GCM_MESSAGE_PARAMS (mech_aes_gcm_message.c).
 */
#pragma once

#include "module/gcm_counts.h"
#include "module/mech.h"

/* OpenSSL 3.0 takes no longer IV; 12 bytes are recommended (SP 800-38D, 5.2.1.1). */
#define GCM_IV_LEN_MAX 128
/* Far above any use; what is longer is taken for a wrong length field. */
#define GCM_AAD_LEN_MAX ((size_t) 16 << 20)
#define GCM_TAG_LEN_MAX 16

struct gcm_state {
    EVP_CIPHER_CTX *context;
    size_t iv_len; /* that the context is set to */
    size_t tag_len;
    uint64_t text_len;     /* so far in this message */
    struct blob collected; /* ciphertext that waits for its tag */
    size_t collected_room;
};

struct gcm_input {
    struct view iv;
    struct view aad;
    size_t tag_len;
};

/* CKR_MECHANISM_PARAM_INVALID for a tag of no allowed length. */
CK_RV mech_aes_gcm_tag_len(CK_ULONG tag_bits, size_t *ret_len);
/* The operation's state: kept, or new with its key set. */
CK_RV mech_aes_gcm_state(struct operation *operation, struct gcm_state **ret_state);
/* Begins a message: IV and associated data. */
CK_RV mech_aes_gcm_begin(struct operation *operation, const struct gcm_input *input);
CK_RV mech_aes_gcm_encrypt(struct operation *operation, struct view in, unsigned char *out);
/* Ends an encryption: tag_len bytes. */
CK_RV mech_aes_gcm_tag_write(struct operation *operation, unsigned char *tag);
/* Keeps ciphertext until its tag comes. */
CK_RV mech_aes_gcm_collect(struct operation *operation, struct view in);
/* Decrypts and verifies; `tag` does not overlap `out`. CKR_ENCRYPTED_DATA_INVALID when the tag is
 * wrong; `out` is wiped then, in place the ciphertext with it. */
CK_RV mech_aes_gcm_open(struct operation *operation, struct view text, unsigned char *tag,
                        unsigned char *out);
/* Forgets the message, and the state. */
void mech_aes_gcm_end(void *state);
void mech_aes_gcm_free(void *state);
