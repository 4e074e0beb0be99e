#include "bench/work.h"

#include <stdlib.h>
#include <string.h>

static const struct kind gcm_encrypt = {&token_encrypt, &evp_encrypt, CKM_AES_GCM, "AES-256-GCM",
                                        KEY_CIPHER};
static const struct kind gcm_decrypt = {&token_decrypt, &evp_decrypt, CKM_AES_GCM, "AES-256-GCM",
                                        KEY_CIPHER};
static const struct kind gcm_message = {&token_message, &evp_encrypt, CKM_AES_GCM, "AES-256-GCM",
                                        KEY_CIPHER};
static const struct kind hmac_sha256 = {&token_sign, &evp_sign, CKM_SHA256_HMAC, "SHA2-256",
                                        KEY_HMAC};
static const struct kind hmac_sha512 = {&token_sign, &evp_sign, CKM_SHA512_HMAC, "SHA2-512",
                                        KEY_HMAC};
static const struct kind hmac_sha3 = {&token_sign, &evp_sign, CKM_SHA3_256_HMAC, "SHA3-256",
                                      KEY_HMAC};
static const struct kind cmac = {&token_sign, &evp_sign, CKM_AES_CMAC, "AES-256-CBC", KEY_CMAC};
static const struct kind sha256 = {&token_digest, &evp_digest, CKM_SHA256, "SHA2-256", KEY_NONE};
static const struct kind gcm_encrypt_fastest = {&token_encrypt, &evp_encrypt_fastest, CKM_AES_GCM,
                                                "AES-256-GCM", KEY_CIPHER};
static const struct kind sha256_fastest = {&token_digest, &evp_digest_fastest, CKM_SHA256,
                                           "SHA2-256", KEY_NONE};
static const struct kind counter_kdf_keyed = {&token_counter_kdf, &evp_counter_kdf_keyed,
                                              CKM_SP800_108_COUNTER_KDF, "SHA2-256", KEY_BASE};
static const struct kind generate_random = {.token = &token_random, .evp = &evp_random};
static const struct kind hkdf = {&token_hkdf, &evp_hkdf, CKM_HKDF_DERIVE, "SHA2-256", KEY_BASE};
static const struct kind counter_kdf = {&token_counter_kdf, &evp_counter_kdf,
                                        CKM_SP800_108_COUNTER_KDF, "SHA2-256", KEY_BASE};

/* Decryption of a size is to reach what encryption of that size does. */
const struct work works[] = {
    {"AES-256-GCM encrypt, 16 B", 16, 0.85, &gcm_encrypt, ONE_THREAD},
    {"AES-256-GCM encrypt, 256 B", 256, 0.90, &gcm_encrypt, ONE_THREAD},
    {"AES-256-GCM encrypt, 3,072 B", 3072, 0.97, &gcm_encrypt, ONE_THREAD},
    {"AES-256-GCM encrypt, 16 KiB", 16384, 0.99, &gcm_encrypt, ONE_THREAD},
    {"AES-256-GCM encrypt, 1 MiB", WORK_TEXT_MAX, 0.99, &gcm_encrypt, ONE_THREAD},
    {"AES-256-GCM decrypt, 16 B", 16, 0.85, &gcm_decrypt, ONE_THREAD},
    {"AES-256-GCM decrypt, 256 B", 256, 0.90, &gcm_decrypt, ONE_THREAD},
    {"AES-256-GCM decrypt, 3,072 B", 3072, 0.97, &gcm_decrypt, ONE_THREAD},
    {"AES-256-GCM decrypt, 16 KiB", 16384, 0.99, &gcm_decrypt, ONE_THREAD},
    {"AES-256-GCM decrypt, 1 MiB", WORK_TEXT_MAX, 0.99, &gcm_decrypt, ONE_THREAD},
    {"C_EncryptMessage, 16 B", 16, 0.90, &gcm_message, ONE_THREAD},
    {"C_EncryptMessage, 3,072 B", 3072, 0.98, &gcm_message, ONE_THREAD},
    {"HMAC-SHA-256, 32 B", 32, 0.85, &hmac_sha256, ONE_THREAD},
    {"HMAC-SHA-256, 3,072 B", 3072, 0.98, &hmac_sha256, ONE_THREAD},
    {"HMAC-SHA3-256, 32 B", 32, 0.85, &hmac_sha3, ONE_THREAD},
    {"HMAC-SHA-512, 32 B", 32, 0.85, &hmac_sha512, ONE_THREAD},
    {"AES-CMAC, 32 B", 32, 0.80, &cmac, ONE_THREAD},
    {"SHA-256, 32 B", 32, 0.80, &sha256, ONE_THREAD},
    {"C_GenerateRandom, 32 B", 32, 2.5, &generate_random, ONE_THREAD},
    {"C_DeriveKey + C_DestroyObject, HKDF", 32, 1.0, &hkdf, ONE_THREAD},
    {"C_DeriveKey + C_DestroyObject, SP800-108", 32, 1.0, &counter_kdf, ONE_THREAD},
    /* Beside what a caller can do who knows OpenSSL 3.0's costs. */
    {"AES-256-GCM encrypt, 16 B: EVP's tag by get_params", 16, NO_GOAL, &gcm_encrypt_fastest,
     ONE_THREAD},
    {"SHA-256, 32 B: EVP by copies of a begun context", 32, NO_GOAL, &sha256_fastest, ONE_THREAD},
    {"SP800-108: EVP with one base key for good", 32, NO_GOAL, &counter_kdf_keyed, ONE_THREAD},
    {"two threads, same key: AES-256-GCM, 256 B", 256, 0.97, &gcm_encrypt, TWO_SAME_KEY},
    {"two threads, distinct keys: AES-256-GCM, 256 B", 256, 0.97, &gcm_encrypt, TWO_DISTINCT_KEYS},
    {"two threads, same key: HMAC-SHA-256, 32 B", 32, 0.97, &hmac_sha256, TWO_SAME_KEY},
    {"two threads, distinct keys: HMAC-SHA-256, 32 B", 32, 0.97, &hmac_sha256, TWO_DISTINCT_KEYS},
};
const size_t works_count = sizeof(works) / sizeof(works[0]);

void lane_open(struct lane *lane, const struct token *token, int index)
{
    static unsigned char *texts[2];
    static unsigned char *outs[2];

    if (!texts[index]) {
        texts[index] = calloc(1, WORK_TEXT_MAX);
        outs[index] = calloc(1, WORK_TEXT_MAX + WORK_TAG_LEN);
    }
    *lane = (struct lane){.token = token, .text = texts[index], .out = outs[index]};
    lane->sealed = calloc(1, WORK_TEXT_MAX + WORK_TAG_LEN);
    MUST(lane->text && lane->sealed && lane->out);
}

CK_RV lane_prepare(struct lane *lane, const struct work *work, int index)
{
    const struct operation *operation = lane_operation(lane, work);
    int which = work->threads == TWO_DISTINCT_KEYS ? index : 0;

    memset(lane->key_bytes, which + 1, sizeof(lane->key_bytes));
    /* Each lane counts from a number of its own: threads with one key share no IV. */
    lane->iv[WORK_IV_LEN - 1] = (unsigned char) (index + 1);
    if (lane->token) {
        lane->session = token_session(lane->token);
        lane->key = lane->token->keys[work->kind->key][which];
        if (work->kind->key != KEY_NONE && lane->key == 0)
            return CKR_MECHANISM_INVALID;
    }
    CK_RV rv = operation->prepare ? operation->prepare(lane, work) : CKR_OK;
    return rv == CKR_OK ? operation->run(lane, work) : rv;
}

void lane_end(struct lane *lane, const struct work *work)
{
    const struct operation *operation = lane_operation(lane, work);

    if (operation->end)
        operation->end(lane);
    if (lane->token)
        MUST(lane->token->p11->C_CloseSession(lane->session) == CKR_OK);
}
