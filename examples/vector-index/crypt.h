// What the token computes for the index: random bytes, HMAC-SHA-256, AES-256-GCM.
//
// Every record is one single-part call of at most 16 KiB, which every HSM takes.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "token.h"
#include "util.h"

#define CRYPT_MAC_LEN 32U
#define CRYPT_TAG_LEN 16U
#define CRYPT_NONCE_LEN 12U
#define CRYPT_NONCE_MAX_LEN 16U
#define CRYPT_RECORD_MAX_LEN 16384U
#define CRYPT_AAD_MAX_LEN 192U

struct crypt_plain {
    size_t len;
    uint8_t data[CRYPT_RECORD_MAX_LEN];
};

struct crypt_sealed {
    size_t nonce_len;
    size_t len;
    uint8_t nonce[CRYPT_NONCE_MAX_LEN];
    uint8_t data[CRYPT_RECORD_MAX_LEN + CRYPT_TAG_LEN];
};

// Whose record it is: the key, the bytes that bind it, and its name for a person.
struct crypt_context {
    enum token_key key;
    char name[64];
    size_t aad_len;
    uint8_t aad[CRYPT_AAD_MAX_LEN];
};

bool crypt_random(struct token *token, void *to, size_t len);
bool crypt_mac(struct token *token, enum token_key key, struct bytes data,
               uint8_t ret_mac[CRYPT_MAC_LEN]);
bool crypt_seal(struct token *token, const struct crypt_context *context,
                const struct crypt_plain *plain, struct crypt_sealed *ret_sealed);

// A record that was altered or moved fails with an error that names it.
bool crypt_open(struct token *token, const struct crypt_context *context,
                const struct crypt_sealed *sealed, struct crypt_plain *ret_plain);
