/*
 * A pseudorandom function under one key, for the few messages of a derivation: HMAC (FIPS 198-1)
 * or AES CMAC (NIST SP 800-38B).
 *
 * HMAC is made here of EVP digests: an EVP_MAC context takes three times as long to set up as one
 * short message takes (measured with OpenSSL 3.0), and is never kept for a base key.
 */
#pragma once

#include "module/mech.h"

#define PRF_BLOCK_LEN_MAX 144 /* of SHA3-224 */
#define PRF_LEN_MAX EVP_MAX_MD_SIZE

/* Begins as zeros, ends with prf_clear. */
struct prf {
    size_t len;      /* of its output, bytes */
    struct view key; /* HMAC: at most a block; the caller's bytes, or those in `hashed` */
    const EVP_MD *digest;
    size_t block_len;
    EVP_MD_CTX *context;
    EVP_MAC_CTX *cmac; /* NULL: HMAC */
    unsigned char hashed[EVP_MAX_MD_SIZE];
};

/* The key's bytes stay the caller's, until prf_clear. */
CK_RV prf_hmac(const EVP_MD *digest, struct view key, struct prf *prf);
/* By a mechanism that makes MACs. */
CK_RV prf_of(const struct mechanism *mechanism, const struct secret *key, struct prf *prf);

/* The message is the parts, one behind the other; `ret_out` has room for prf->len bytes, and may be
 * one of them. */
CK_RV prf_run(struct prf *prf, const struct view *parts, size_t part_count, unsigned char *ret_out);

void prf_clear(struct prf *prf);
