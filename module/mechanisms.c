#include "module/mechanism.h"

#include <stdlib.h>

#include "module/attributes_table.h"
#include "module/mech.h"

/* Key sizes of a line are bytes, or bits where the standard counts bits: CKM_GENERIC_SECRET_KEY_GEN
 * and SP 800-108. */
#define AES_KEY_MIN 16
#define AES_KEY_MAX 32
#define SECRET_LEN_MIN 1
#define SECRET_LEN_MAX KEY_VALUE_MAX
/* Generated keys have at least 112 bits (NIST SP 800-131A). */
#define GENERATED_MIN 14
#define GENERATED_MAX KEY_VALUE_MAX

#define ANY_KEY CK_UNAVAILABLE_INFORMATION

#define DIGEST(mechanism, openssl_name)                                                            \
    {                                                                                              \
        .type = mechanism, .name = #mechanism, .key_type = ANY_KEY, .algorithm = openssl_name,     \
        .digest = &mech_digest,                                                                    \
    }

/* The name is an argument where one macro goes through another, which would expand it first. */
#define HMAC_WITH(mechanism, text, key, openssl_name, ops)                                         \
    {                                                                                              \
        .type = mechanism, .name = text, .min_key = SECRET_LEN_MIN, .max_key = SECRET_LEN_MAX,     \
        .key_type = key, .accepts_key = mech_hmac_accepts_key, .family = FAMILY_HMAC,              \
        .algorithm = openssl_name, .mac = ops,                                                     \
    }
#define HMAC(mechanism, key, openssl_name)                                                         \
    HMAC_WITH(mechanism, #mechanism, key, openssl_name, &mech_mac)
#define HMAC_GENERAL(mechanism, key, openssl_name)                                                 \
    HMAC_WITH(mechanism, #mechanism, key, openssl_name, &mech_mac_general)

#define KEY_GEN_WITH(mechanism, text, key, min, max)                                               \
    {                                                                                              \
        .type = mechanism, .name = text, .min_key = min, .max_key = max, .key_type = key,          \
        .generate = &(const struct generate_ops){.key_type = key},                                 \
    }
#define KEY_GEN(mechanism, key, min, max) KEY_GEN_WITH(mechanism, #mechanism, key, min, max)
#define HMAC_KEY_GEN(mechanism, key)                                                               \
    KEY_GEN_WITH(mechanism, #mechanism, key, GENERATED_MIN, GENERATED_MAX)

#define AES_WITH_TEXT(mechanism, text, mode_family, openssl_name, ...)                             \
    {                                                                                              \
        .type = mechanism, .name = text, .min_key = AES_KEY_MIN, .max_key = AES_KEY_MAX,           \
        .key_type = CKK_AES, .family = mode_family, .algorithm = openssl_name, __VA_ARGS__,        \
    }
#define AES_WITH(mechanism, mode_family, openssl_name, ...)                                        \
    AES_WITH_TEXT(mechanism, #mechanism, mode_family, openssl_name, __VA_ARGS__)
#define AES(mechanism, mode_family, ops_field, ops, openssl_name)                                  \
    AES_WITH_TEXT(mechanism, #mechanism, mode_family, openssl_name, .ops_field = ops)

#define DERIVE(mechanism, text, key, accepts, ops)                                                 \
    .type = mechanism, .name = text, .min_key = SECRET_LEN_MIN, .max_key = SECRET_LEN_MAX,         \
    .key_type = key, .accepts_key = accepts, .family = FAMILY_DERIVE, .derive = ops
#define HASH_KEY(mechanism, openssl_name)                                                          \
    {                                                                                              \
        DERIVE(mechanism, #mechanism, ANY_KEY, mech_any_accepts_key, &mech_hash_key),              \
            .algorithm = openssl_name                                                              \
    }
#define COMBINE(mechanism, ops)                                                                    \
    {                                                                                              \
        DERIVE(mechanism, #mechanism, ANY_KEY, mech_any_accepts_key, ops)                          \
    }
#define HKDF(mechanism, ops)                                                                       \
    {                                                                                              \
        DERIVE(mechanism, #mechanism, CKK_HKDF, mech_hkdf_accepts_key, ops)                        \
    }
#define SP800_108(mechanism, ops)                                                                  \
    {                                                                                              \
        .type = mechanism, .name = #mechanism, .min_key = 8UL * SECRET_LEN_MIN,                    \
        .max_key = 8UL * SECRET_LEN_MAX, .key_type = ANY_KEY,                                      \
        .accepts_key = mech_sp800_108_accepts_key, .family = FAMILY_DERIVE, .derive = ops,         \
    }

/* In the order of the types: mechanism_find searches by halves. */
static const struct mechanism table[] = {
    DIGEST(CKM_SHA512_224, "SHA2-512/224"),
    HMAC(CKM_SHA512_224_HMAC, CKK_SHA512_224_HMAC, "SHA2-512/224"),
    HMAC_GENERAL(CKM_SHA512_224_HMAC_GENERAL, CKK_SHA512_224_HMAC, "SHA2-512/224"),
    HASH_KEY(CKM_SHA512_224_KEY_DERIVATION, "SHA2-512/224"),
    DIGEST(CKM_SHA512_256, "SHA2-512/256"),
    HMAC(CKM_SHA512_256_HMAC, CKK_SHA512_256_HMAC, "SHA2-512/256"),
    HMAC_GENERAL(CKM_SHA512_256_HMAC_GENERAL, CKK_SHA512_256_HMAC, "SHA2-512/256"),
    HASH_KEY(CKM_SHA512_256_KEY_DERIVATION, "SHA2-512/256"),

    DIGEST(CKM_SHA_1, "SHA1"),
    HMAC(CKM_SHA_1_HMAC, CKK_SHA_1_HMAC, "SHA1"),
    HMAC_GENERAL(CKM_SHA_1_HMAC_GENERAL, CKK_SHA_1_HMAC, "SHA1"),

    DIGEST(CKM_SHA256, "SHA2-256"),
    HMAC(CKM_SHA256_HMAC, CKK_SHA256_HMAC, "SHA2-256"),
    HMAC_GENERAL(CKM_SHA256_HMAC_GENERAL, CKK_SHA256_HMAC, "SHA2-256"),
    DIGEST(CKM_SHA224, "SHA2-224"),
    HMAC(CKM_SHA224_HMAC, CKK_SHA224_HMAC, "SHA2-224"),
    HMAC_GENERAL(CKM_SHA224_HMAC_GENERAL, CKK_SHA224_HMAC, "SHA2-224"),
    DIGEST(CKM_SHA384, "SHA2-384"),
    HMAC(CKM_SHA384_HMAC, CKK_SHA384_HMAC, "SHA2-384"),
    HMAC_GENERAL(CKM_SHA384_HMAC_GENERAL, CKK_SHA384_HMAC, "SHA2-384"),
    DIGEST(CKM_SHA512, "SHA2-512"),
    HMAC(CKM_SHA512_HMAC, CKK_SHA512_HMAC, "SHA2-512"),
    HMAC_GENERAL(CKM_SHA512_HMAC_GENERAL, CKK_SHA512_HMAC, "SHA2-512"),

    DIGEST(CKM_SHA3_256, "SHA3-256"),
    HMAC(CKM_SHA3_256_HMAC, CKK_SHA3_256_HMAC, "SHA3-256"),
    HMAC_GENERAL(CKM_SHA3_256_HMAC_GENERAL, CKK_SHA3_256_HMAC, "SHA3-256"),
    HMAC_KEY_GEN(CKM_SHA3_256_KEY_GEN, CKK_SHA3_256_HMAC),
    DIGEST(CKM_SHA3_224, "SHA3-224"),
    HMAC(CKM_SHA3_224_HMAC, CKK_SHA3_224_HMAC, "SHA3-224"),
    HMAC_GENERAL(CKM_SHA3_224_HMAC_GENERAL, CKK_SHA3_224_HMAC, "SHA3-224"),
    HMAC_KEY_GEN(CKM_SHA3_224_KEY_GEN, CKK_SHA3_224_HMAC),
    DIGEST(CKM_SHA3_384, "SHA3-384"),
    HMAC(CKM_SHA3_384_HMAC, CKK_SHA3_384_HMAC, "SHA3-384"),
    HMAC_GENERAL(CKM_SHA3_384_HMAC_GENERAL, CKK_SHA3_384_HMAC, "SHA3-384"),
    HMAC_KEY_GEN(CKM_SHA3_384_KEY_GEN, CKK_SHA3_384_HMAC),
    DIGEST(CKM_SHA3_512, "SHA3-512"),
    HMAC(CKM_SHA3_512_HMAC, CKK_SHA3_512_HMAC, "SHA3-512"),
    HMAC_GENERAL(CKM_SHA3_512_HMAC_GENERAL, CKK_SHA3_512_HMAC, "SHA3-512"),
    HMAC_KEY_GEN(CKM_SHA3_512_KEY_GEN, CKK_SHA3_512_HMAC),

    KEY_GEN(CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, 8UL * GENERATED_MIN,
            8UL * GENERATED_MAX),
    COMBINE(CKM_CONCATENATE_BASE_AND_KEY, &mech_concatenate_base_and_key),
    COMBINE(CKM_CONCATENATE_BASE_AND_DATA, &mech_concatenate_base_and_data),
    COMBINE(CKM_CONCATENATE_DATA_AND_BASE, &mech_concatenate_data_and_base),
    COMBINE(CKM_XOR_BASE_AND_DATA, &mech_xor_base_and_data),
    COMBINE(CKM_EXTRACT_KEY_FROM_KEY, &mech_extract_key),
    HASH_KEY(CKM_SHA1_KEY_DERIVATION, "SHA1"),
    HASH_KEY(CKM_SHA256_KEY_DERIVATION, "SHA2-256"),
    HASH_KEY(CKM_SHA384_KEY_DERIVATION, "SHA2-384"),
    HASH_KEY(CKM_SHA512_KEY_DERIVATION, "SHA2-512"),
    HASH_KEY(CKM_SHA224_KEY_DERIVATION, "SHA2-224"),
    HASH_KEY(CKM_SHA3_256_KEY_DERIVATION, "SHA3-256"),
    HASH_KEY(CKM_SHA3_224_KEY_DERIVATION, "SHA3-224"),
    HASH_KEY(CKM_SHA3_384_KEY_DERIVATION, "SHA3-384"),
    HASH_KEY(CKM_SHA3_512_KEY_DERIVATION, "SHA3-512"),
    HASH_KEY(CKM_SHAKE_128_KEY_DERIVATION, "SHAKE128"),
    HASH_KEY(CKM_SHAKE_256_KEY_DERIVATION, "SHAKE256"),
    SP800_108(CKM_SP800_108_COUNTER_KDF, &mech_sp800_108_counter),
    SP800_108(CKM_SP800_108_FEEDBACK_KDF, &mech_sp800_108_feedback),
    SP800_108(CKM_SP800_108_DOUBLE_PIPELINE_KDF, &mech_sp800_108_double_pipeline),
    {
        .type = CKM_PKCS5_PBKD2,
        .name = "CKM_PKCS5_PBKD2",
        .min_key = GENERATED_MIN,
        .max_key = GENERATED_MAX,
        .key_type = ANY_KEY,
        .generate = &mech_pbkdf2,
    },

    KEY_GEN(CKM_AES_KEY_GEN, CKK_AES, AES_KEY_MIN, AES_KEY_MAX),
    AES(CKM_AES_ECB, FAMILY_AES_ECB, cipher, &mech_aes_ecb, "ECB"),
    AES(CKM_AES_CBC, FAMILY_AES_CBC, cipher, &mech_aes_cbc, "CBC"),
    AES(CKM_AES_CBC_PAD, FAMILY_AES_CBC, cipher, &mech_aes_cbc_pad, "CBC"),
    AES(CKM_AES_CTR, FAMILY_AES_CTR, cipher, &mech_aes_ctr, "CTR"),
    AES_WITH(CKM_AES_GCM, FAMILY_AES_GCM, "GCM", .cipher = &mech_aes_gcm,
             .message = &mech_aes_gcm_message, .wrap = &mech_aes_gcm_wrap),
    AES(CKM_AES_CMAC, FAMILY_AES_CMAC, mac, &mech_mac, "CBC"),
    AES(CKM_AES_CMAC_GENERAL, FAMILY_AES_CMAC, mac, &mech_mac_general, "CBC"),
    AES(CKM_AES_GMAC, FAMILY_AES_GMAC, mac, &mech_gmac, "GCM"),
    AES(CKM_AES_ECB_ENCRYPT_DATA, FAMILY_DERIVE, derive, &mech_aes_ecb_encrypt_data, "ECB"),
    AES(CKM_AES_CBC_ENCRYPT_DATA, FAMILY_DERIVE, derive, &mech_aes_cbc_encrypt_data, "CBC"),
    AES(CKM_AES_KEY_WRAP, FAMILY_AES_WRAP, wrap, &mech_aes_key_wrap, "WRAP"),
    AES(CKM_AES_KEY_WRAP_PAD, FAMILY_AES_WRAP, wrap, &mech_aes_key_wrap, "WRAP-PAD"),
    AES(CKM_AES_KEY_WRAP_KWP, FAMILY_AES_WRAP, wrap, &mech_aes_key_wrap, "WRAP-PAD"),

    HMAC_KEY_GEN(CKM_SHA_1_KEY_GEN, CKK_SHA_1_HMAC),
    HMAC_KEY_GEN(CKM_SHA224_KEY_GEN, CKK_SHA224_HMAC),
    HMAC_KEY_GEN(CKM_SHA256_KEY_GEN, CKK_SHA256_HMAC),
    HMAC_KEY_GEN(CKM_SHA384_KEY_GEN, CKK_SHA384_HMAC),
    HMAC_KEY_GEN(CKM_SHA512_KEY_GEN, CKK_SHA512_HMAC),
    HMAC_KEY_GEN(CKM_SHA512_224_KEY_GEN, CKK_SHA512_224_HMAC),
    HMAC_KEY_GEN(CKM_SHA512_256_KEY_GEN, CKK_SHA512_256_HMAC),
    HKDF(CKM_HKDF_DERIVE, &mech_hkdf),
    HKDF(CKM_HKDF_DATA, &mech_hkdf_data),
    KEY_GEN(CKM_HKDF_KEY_GEN, CKK_HKDF, GENERATED_MIN, GENERATED_MAX),
};

static int compare_type(const void *wanted, const void *line)
{
    const CK_MECHANISM_TYPE *type = wanted;
    const struct mechanism *mechanism = line;

    return (*type > mechanism->type) - (*type < mechanism->type);
}

const struct mechanism *mechanism_find(CK_MECHANISM_TYPE type)
{
    return bsearch(&type, table, sizeof(table) / sizeof(table[0]), sizeof(table[0]), compare_type);
}

const struct mechanism *mechanisms_all(size_t *ret_count)
{
    *ret_count = sizeof(table) / sizeof(table[0]);
    return table;
}

CK_FLAGS mechanism_flags(const struct mechanism *mechanism)
{
    CK_FLAGS flags = 0;

    if (mechanism->cipher)
        flags |= CKF_ENCRYPT | CKF_DECRYPT;
    if (mechanism->message)
        flags |= CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT | CKF_MULTI_MESSAGE;
    if (mechanism->digest)
        flags |= CKF_DIGEST;
    if (mechanism->mac)
        flags |= CKF_SIGN | CKF_VERIFY;
    if (mechanism->mac && mechanism->mac->restart)
        flags |= CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY | CKF_MULTI_MESSAGE;
    if (mechanism->generate)
        flags |= CKF_GENERATE;
    if (mechanism->derive)
        flags |= CKF_DERIVE;
    if (mechanism->wrap)
        flags |= CKF_WRAP | CKF_UNWRAP;
    return flags;
}
