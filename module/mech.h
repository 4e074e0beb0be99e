/*
 * What the mech_*.c files give to the table (mechanisms.c) and to each other. Nothing else includes
 * it.
 *
 * A refused parameter is the caller's affair and a normal result: REFUSE writes a line at level
 * debug. A failure inside OpenSSL is ours: mech_openssl_failed logs it as an error.
 */
#pragma once

#include <limits.h>
#include <openssl/evp.h>
#include <stdint.h>

#include "base/rv.h"
#include "module/mechanism.h"
#include "module/operation.h"

#define AES_BLOCK_LEN 16
/* EVP counts in int: longer inputs go through in pieces of this many bytes, a multiple of the
 * block. */
#define EVP_CHUNK_LEN ((size_t) 1 << 30)
/* The longest value a derivation makes: 255 blocks of HKDF (RFC 5869) over the longest hash. */
#define DERIVED_LEN_MAX ((size_t) 255 * EVP_MAX_MD_SIZE)
/* The longest byte string taken from a parameter, unless a mechanism's own limit is lower: what
 * exceeds it is taken for a wrong length field. */
#define PARAMETER_BYTES_MAX ((size_t) 64 << 10)

extern const struct digest_ops mech_digest;
extern const struct digest_ops mech_mac;
extern const struct digest_ops mech_mac_general;
extern const struct digest_ops mech_gmac;
extern const struct cipher_ops mech_aes_gcm;
extern const struct message_ops mech_aes_gcm_message;
extern const struct cipher_ops mech_aes_ecb;
extern const struct cipher_ops mech_aes_ctr;
extern const struct cipher_ops mech_aes_cbc;
extern const struct cipher_ops mech_aes_cbc_pad;
extern const struct wrap_ops mech_aes_gcm_wrap;
extern const struct wrap_ops mech_aes_key_wrap;
extern const struct derive_ops mech_sp800_108_counter;
extern const struct derive_ops mech_sp800_108_feedback;
extern const struct derive_ops mech_sp800_108_double_pipeline;
extern const struct derive_ops mech_hkdf;
extern const struct derive_ops mech_hkdf_data;
extern const struct derive_ops mech_aes_ecb_encrypt_data;
extern const struct derive_ops mech_aes_cbc_encrypt_data;
extern const struct derive_ops mech_concatenate_base_and_key;
extern const struct derive_ops mech_concatenate_base_and_data;
extern const struct derive_ops mech_concatenate_data_and_base;
extern const struct derive_ops mech_xor_base_and_data;
extern const struct derive_ops mech_extract_key;
extern const struct derive_ops mech_hash_key;
extern const struct generate_ops mech_pbkdf2;

bool mech_hmac_accepts_key(const struct mechanism *mechanism, CK_KEY_TYPE key_type);
bool mech_hkdf_accepts_key(const struct mechanism *mechanism, CK_KEY_TYPE key_type);
bool mech_sp800_108_accepts_key(const struct mechanism *mechanism, CK_KEY_TYPE key_type);
/* Every secret key. */
bool mech_any_accepts_key(const struct mechanism *mechanism, CK_KEY_TYPE key_type);

#define REFUSE(rv, ...) (log_line(LOG_LEVEL_DEBUG, __VA_ARGS__), (CK_RV) (rv))

/* The value of crypto_fail. The thread's OpenSSL errors are dropped, the host's too: a mark at
 * every call, for what does not happen, would cost more than it saves. Where failures that leave
 * errors are normal, CRYPTO_HIDE_ERRORS keeps the host's. */
_long_way_ CK_RV mech_openssl_cause(const char *mechanism, const char *what);
/* Never CKR_OK, which static analysis sees from here. */
static inline CK_RV mech_openssl_failed(const char *mechanism, const char *what)
{
    CK_RV rv = mech_openssl_cause(mechanism, what);

    return rv == CKR_OK ? CKR_FUNCTION_FAILED : rv;
}

/* The long way of the next two. */
_long_way_ CK_RV mech_parameter_refused(const CK_MECHANISM *mechanism);
_long_way_ CK_RV mech_bytes_refused(const void *bytes, CK_ULONG len, size_t max_len);

/* CKR_MECHANISM_PARAM_INVALID unless the mechanism came without a parameter. A pointer with length
 * 0 is common among clients, and harmless. */
static inline CK_RV mech_no_parameter(const CK_MECHANISM *mechanism)
{
    return mechanism->ulParameterLen == 0 ? CKR_OK : mech_parameter_refused(mechanism);
}

/* A pointer and a length of a parameter, as a view. CKR_MECHANISM_PARAM_INVALID for a NULL pointer
 * with a length, or a length over max_len. */
static inline CK_RV mech_parameter_bytes(const void *bytes, CK_ULONG len, size_t max_len,
                                         struct view *ret_bytes)
{
    if (len > max_len || (len > 0 && bytes == NULL))
        return mech_bytes_refused(bytes, len, max_len);
    *ret_bytes = (struct view){.bytes = (const unsigned char *) bytes, .len = len};
    return CKR_OK;
}
/* The data of a CK_KEY_DERIVATION_STRING_DATA. CKR_MECHANISM_PARAM_INVALID. */
CK_RV mech_string_data(const CK_MECHANISM *mechanism, struct view *ret_data);

/* The value of a key whose handle stands in a derivation's parameters, after the checks that a base
 * key passes; valid while the call lasts. call->further has the reference. */
CK_RV mech_further_key(const struct derive_call *call, CK_OBJECT_HANDLE handle,
                       const struct secret **ret_value);
/* The first `len` bytes of a secret: itself when it has no more. */
CK_RV mech_cut(struct secret *whole, size_t len, struct secret *ret_value);

/* CK_GCM_PARAMS, or its older form without ulIvBits, told apart by the size; the fields are as the
 * caller set them. CKR_MECHANISM_PARAM_INVALID for any other size. */
CK_RV mech_gcm_params(const CK_MECHANISM *mechanism, CK_GCM_PARAMS *ret_params);

/* "AES-256-CBC" for a key of 32 bytes and the mode "CBC": a constant. CKR_KEY_SIZE_RANGE for what
 * is no AES key. */
CK_RV mech_aes_name(const char *mode, size_t key_len, const char **ret_name);
CK_RV mech_aes_cipher(const char *mode, size_t key_len, const EVP_CIPHER **ret_cipher);

/* The mechanism's name of the operation, for log lines. */
static inline const char *mech_name(const struct operation *operation)
{
    return operation->mechanism->name;
}

/* Cryptoki allows in == out, and says nothing of other overlaps, where OpenSSL would corrupt. */
static inline bool mech_overlaps(struct view in, const unsigned char *out, size_t out_len)
{
    uintptr_t in_at = (uintptr_t) in.bytes;
    uintptr_t out_at = (uintptr_t) out;

    return in.len > 0 && out_len > 0 && in_at < out_at + out_len && out_at < in_at + in.len;
}

/* A keyed MAC for the KDFs, of a mechanism whose operations are mech_mac. CKR_KEY_SIZE_RANGE when
 * the key does not fit. Restarted with EVP_MAC_init(context, NULL, 0, NULL); freed with
 * mech_mac_context_free, which wipes it. */
CK_RV mech_mac_context(const struct mechanism *mechanism, const struct secret *key,
                       EVP_MAC_CTX **ret_context);
void mech_mac_context_free(EVP_MAC_CTX **context);
/* Bytes that it gives. */
CK_RV mech_mac_len(const struct mechanism *mechanism, size_t *ret_len);
