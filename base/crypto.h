/*
 * OpenSSL for the rest of the project: one private library context, algorithms fetched once.
 *
 * The private OSSL_LIB_CTX (default provider only, no configuration file) keeps us apart from the
 * host's: a host whose openssl.cnf loads a PKCS#11 provider over this module cannot re-enter it
 * from here. The functions below serve sealing and derivation; the mechanisms take the fetched
 * algorithms and drive their own contexts.
 *
 * crypto_init comes before everything else and is called under the module's own lock; all others
 * may be called from any thread. A failure inside OpenSSL is CKR_FUNCTION_FAILED (CKR_HOST_MEMORY
 * where it lacked memory), logged with its reason. The thread's OpenSSL error queue belongs to the
 * host, whose TLS reads it: the functions below leave it as it was.
 */
#pragma once

#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "base/bytes.h"
#include "base/secret.h"

#define AEAD_KEY_LEN 32
#define AEAD_IV_LEN 12
#define AEAD_TAG_LEN 16
/* What a seal adds to its plaintext: IV before, tag behind. */
#define AEAD_OVERHEAD (AEAD_IV_LEN + AEAD_TAG_LEN)
#define SHA256_LEN 32

/* Leaves nothing behind when it fails, but the context, which the next call takes. */
CK_RV crypto_init(void);
/* Gives back the algorithms. The context itself stays for the next crypto_init: OpenSSL keeps a
 * random generator in it for each thread, which it frees when the thread ends, and would do so
 * after the context is gone (measured on 3.0). Does nothing without crypto_init. */
void crypto_finish(void);
/* After a fork: leaves the parent's context alone (a lock of it may be held for ever) so that
 * crypto_init makes a new one. */
void crypto_abandon(void);

/* NULL before crypto_init. */
OSSL_LIB_CTX *crypto_context(void);

/* Fetched at crypto_init, owned by this file, valid until crypto_finish. NULL when OpenSSL has no
 * such algorithm, or it is not in the table of base/crypto.c. Names are OpenSSL's, in capitals:
 * "AES-256-GCM", "SHA256" or "SHA2-256", "SHA512-256", "SHA3-256", "SHAKE128", "HMAC", "HKDF". */
const EVP_CIPHER *crypto_cipher(const char *name);
const EVP_MD *crypto_digest(const char *name);
EVP_MAC *crypto_mac(const char *name);
EVP_KDF *crypto_kdf(const char *name);

/* A declaration for code that drives OpenSSL itself: what OpenSSL adds to the thread's error queue
 * until the end of the scope is taken away there. */
#define CRYPTO_HIDE_ERRORS                                                                         \
    __attribute__((cleanup(crypto_errors_restore), unused)) int crypto_mark_ = crypto_errors_mark()
int crypto_errors_mark(void);
void crypto_errors_restore(int *mark);
/* Within that scope: logs "WHAT: OpenSSL's reason" and answers the value to return. */
CK_RV crypto_fail(const char *what);

/* From the private context's generator for secrets: not RAND_priv_bytes_ex, which would turn to a
 * RAND_METHOD that the host has set. */
/* Fresh entropy for the calling thread's generator. */
CK_RV crypto_random_reseed(void);
CK_RV crypto_random(void *bytes, size_t len);
/* A fresh random secret of `len` bytes. */
CK_RV crypto_random_secret(size_t len, struct secret *ret_secret);

/* AES-256-GCM with a random IV: `ret_sealed` = IV | ciphertext | tag. */
CK_RV crypto_seal(const struct secret *key, struct view aad, struct view plaintext,
                  struct blob *ret_sealed);
/* Opens such a blob into a secret. CKR_ENCRYPTED_DATA_INVALID, not logged, when it does not verify
 * or is too short: the caller knows what it was and what to say. */
CK_RV crypto_open(const struct secret *key, struct view aad, struct view sealed,
                  struct secret *ret_plaintext);

/* A keyed AES-256-GCM opener/sealer whose key schedule is set up once, for work over many rows.
 * Not thread-safe: one owner at a time. Freed with aead_free, which wipes it and sets NULL. */
struct aead;
CK_RV aead_new(const struct secret *key, struct aead **ret_aead);
void aead_free(struct aead **aead);
/* `sealed` has room for plaintext.len + AEAD_OVERHEAD; `plaintext` for sealed.len - AEAD_OVERHEAD,
 * and holds zeros when the blob does not verify. Input and output do not overlap. */
CK_RV aead_seal(struct aead *aead, struct view aad, struct view plaintext, unsigned char *sealed);
CK_RV aead_open(struct aead *aead, struct view aad, struct view sealed, unsigned char *plaintext);

/* HKDF-SHA-256 (RFC 5869), extract and expand; `len` from 1 to 255 * 32. Keys are never empty. */
CK_RV crypto_hkdf(const struct secret *ikm, struct view salt, struct view info, size_t len,
                  struct secret *ret_key);
CK_RV crypto_hmac_sha256(const struct secret *key, struct view message,
                         unsigned char ret_mac[SHA256_LEN]);

/* HMAC-SHA-256 under one key, whose blocks are hashed once, for work over many rows. Not
 * thread-safe: one owner at a time. Freed with hmac_free, which wipes it and sets NULL. */
struct hmac;
CK_RV hmac_new(const struct secret *key, struct hmac **ret_hmac);
void hmac_free(struct hmac **hmac);
CK_RV hmac_sha256(struct hmac *hmac, struct view message, unsigned char ret_mac[SHA256_LEN]);

CK_RV crypto_sha256(struct view message, unsigned char ret_digest[SHA256_LEN]);
/* scrypt's parameters (RFC 7914, 2); n is a power of two. */
struct scrypt_cost {
    uint64_t n;
    uint32_t r;
    uint32_t p;
};

/* scrypt (RFC 7914), 32 bytes; n a power of two. CKR_DATA_INVALID for parameters that are none, or
 * that ask for more than 512 MiB of memory or p > 16: they may come from a store. */
CK_RV crypto_scrypt(struct view password, struct view salt, const struct scrypt_cost *cost,
                    struct secret *ret_key);

/* AES Key Wrap with a wrapping key of 32 bytes (RFC 3394; NIST SP 800-38F, 6.2: KW).
 * CKR_ENCRYPTED_DATA_INVALID, not logged, when it does not verify. */
CK_RV crypto_key_unwrap(const struct secret *wrapping_key, struct view wrapped,
                        struct secret *ret_key);

#define CRYPTO_PEM_LEN_MAX ((size_t) 16384)

/* RSASSA with SHA-256 (RFC 8017): PKCS1-v1_5, or PSS with a salt of 32 bytes. The key is PEM, PKCS
 * #8 or PKCS #1, without a password; other things may stand beside it. CKR_DATA_INVALID, not
 * logged, when it is no RSA key of 2048 to 16384 bits. What OpenSSL makes of the key is on its heap
 * meanwhile, and partly not wiped there. */
CK_RV crypto_rsa_sign(struct view key_pem, bool pss, struct view message,
                      struct secret *ret_signature);

/* An RSA public key, as CKA_MODULUS and CKA_PUBLIC_EXPONENT have it: big-endian. */
struct rsa_public {
    struct view modulus;
    struct view exponent;
};

/* SHA-256 of its SubjectPublicKeyInfo in DER (`openssl pkey -pubin -outform DER | sha256sum`).
 * CKR_DATA_INVALID, not logged, when it has not 2048 to 16384 bits or its exponent is none. */
CK_RV crypto_rsa_fingerprint(const struct rsa_public *key, unsigned char ret_digest[SHA256_LEN]);
/* RSAES-OAEP (RFC 8017) without a label, with this hash ("SHA256", "SHA1") in both its places; as
 * many bytes as the modulus has. CKR_DATA_INVALID as above. */
CK_RV crypto_rsa_oaep(const struct rsa_public *key, const char *hash, struct view plaintext,
                      struct blob *ret_ciphertext);

/* Ed25519 (RFC 8032). The private key is its seed. What OpenSSL makes of it is on its heap for the
 * length of the call. */
#define ED25519_SEED_LEN 32
#define ED25519_PUBLIC_LEN 32
#define ED25519_SIGNATURE_LEN 64
CK_RV crypto_ed25519_public(const struct secret *seed,
                            unsigned char ret_public[ED25519_PUBLIC_LEN]);
CK_RV crypto_ed25519_sign(const struct secret *seed, struct view message,
                          unsigned char ret_signature[ED25519_SIGNATURE_LEN]);
bool crypto_ed25519_verify(const unsigned char public_key[ED25519_PUBLIC_LEN], struct view message,
                           const unsigned char signature[ED25519_SIGNATURE_LEN]);

/* Base64 (RFC 4648, standard alphabet, white space at the ends ignored) of exactly `len` bytes.
 * CKR_DATA_INVALID, not logged, for anything else. Constant time in the content. */
CK_RV crypto_base64_secret(struct view text, size_t len, struct secret *ret_secret);
