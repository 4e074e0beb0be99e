/*
 * The works: what one operation does on a token, and the same on raw OpenSSL.
 *
 * OpenSSL's side is the best that a careful caller would write: algorithms fetched once, the keyed
 * context kept, only what changes from call to call set again (IV, message; base key and info).
 */
#pragma once

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stddef.h>

#include "bench/token.h"

#define WORK_TEXT_MAX ((size_t) 1 << 20)
#define WORK_TAG_LEN 16
#define WORK_IV_LEN 12
#define WORK_INFO_LEN 32
#define NO_GOAL 0

/* One thread's side of a work: a session of a token, or contexts of OpenSSL. Threads share no cache
 * line of it. */
struct lane {
    _Alignas(128) const struct token *token; /* NULL: raw OpenSSL */
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    unsigned char key_bytes[32]; /* OpenSSL's */
    EVP_CIPHER_CTX *cipher;
    EVP_MAC_CTX *mac;
    EVP_MD *digest;
    EVP_MD_CTX *digest_context;
    EVP_MD_CTX *digest_blank;
    EVP_KDF_CTX *kdf;
    unsigned char iv[WORK_IV_LEN];     /* another for each message encrypted */
    unsigned char info[WORK_INFO_LEN]; /* another for each key derived */
    unsigned char *text;               /* WORK_TEXT_MAX bytes each, and a tag */
    unsigned char *sealed;
    unsigned char *out;
};

struct work;

/* A side that is not able to do the work says so by the error of `prepare`, or of the first `run`.
 * `end` may be NULL. */
struct operation {
    CK_RV (*prepare)(struct lane *lane, const struct work *work);
    CK_RV (*run)(struct lane *lane, const struct work *work);
    void (*end)(struct lane *lane);
};

/* The same on both sides. */
struct kind {
    const struct operation *token;
    const struct operation *evp;
    CK_MECHANISM_TYPE mechanism;
    const char *algorithm; /* cipher or digest, by OpenSSL's name */
    enum key_kind key;
};

/* For two threads, measured is the scaling from one to two. */
enum threads { ONE_THREAD, TWO_SAME_KEY, TWO_DISTINCT_KEYS };

struct work {
    const char *name;
    size_t len;
    double goal; /* of module : EVP; NO_GOAL */
    const struct kind *kind;
    enum threads threads;
};

extern const struct work works[];
extern const size_t works_count;

extern const struct operation token_encrypt, token_decrypt, token_message, token_sign, token_digest,
    token_random, token_hkdf, token_counter_kdf;
extern const struct operation evp_encrypt, evp_decrypt, evp_sign, evp_digest, evp_random, evp_hkdf,
    evp_counter_kdf, evp_encrypt_fastest, evp_digest_fastest, evp_counter_kdf_keyed;

/* `token` NULL: a lane of raw OpenSSL. Lanes of one index, which never run at once, work on the
 * same text and output: where a buffer happens to lie can cost more than what is compared. Lives
 * until the program ends. */
void lane_open(struct lane *lane, const struct token *token, int index);
/* Session, key, what the operation prepares, and a first run. `index` is the thread's, which calls
 * this by itself, so that contexts come from its own part of the heap. lane_end afterwards, after a
 * failure too. */
CK_RV lane_prepare(struct lane *lane, const struct work *work, int index);
void lane_end(struct lane *lane, const struct work *work);

static inline const struct operation *lane_operation(const struct lane *lane,
                                                     const struct work *work)
{
    return lane->token ? work->kind->token : work->kind->evp;
}

/* A number of bytes counted up: no two IVs of a key, no two infos, are the same. */
static inline void count_up(unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len && ++bytes[i] == 0; i++)
        continue;
}
