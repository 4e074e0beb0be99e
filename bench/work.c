#include "bench/work.h"

#include <stdlib.h>
#include <string.h>

#define GCM(title, size, figure, how)                                                              \
    {                                                                                              \
        .name = "AES-256-GCM " title, .len = (size), .goal = (figure), .token = &token_##how,      \
        .evp = &evp_##how, .mechanism = CKM_AES_GCM, .algorithm = "AES-256-GCM", .key = KEY_CIPHER \
    }
#define MAC(title, size, figure, type, parameter, kind)                                            \
    {                                                                                              \
        .name = title, .len = (size), .goal = (figure), .token = &token_sign, .evp = &evp_sign,    \
        .mechanism = (type), .algorithm = (parameter), .key = (kind)                               \
    }
#define DERIVE(title, figure, type, how)                                                           \
    {                                                                                              \
        .name = title, .len = 32, .goal = (figure), .token = &token_##how, .evp = &evp_##how,      \
        .mechanism = (type), .key = KEY_BASE                                                       \
    }
#define TWO_THREADS(title, keys_differ, row)                                                       \
    {                                                                                              \
        .name = title, .goal = 0.97, .two_threads = true, .distinct_keys = (keys_differ), row      \
    }
/* What a row for two threads takes over from that for one. */
#define GCM_256                                                                                    \
    .len = 256, .token = &token_encrypt, .evp = &evp_encrypt, .mechanism = CKM_AES_GCM,            \
    .algorithm = "AES-256-GCM", .key = KEY_CIPHER
#define HMAC_32                                                                                    \
    .len = 32, .token = &token_sign, .evp = &evp_sign, .mechanism = CKM_SHA256_HMAC,               \
    .algorithm = "SHA2-256", .key = KEY_HMAC

/* Decryption of a size is to reach what encryption of that size does. */
const struct work works[] = {
    GCM("encrypt, 16 B", 16, 0.85, encrypt),
    GCM("encrypt, 256 B", 256, 0.90, encrypt),
    GCM("encrypt, 3,072 B", 3072, 0.97, encrypt),
    GCM("encrypt, 16 KiB", 16384, 0.99, encrypt),
    GCM("encrypt, 1 MiB", WORK_TEXT_MAX, 0.99, encrypt),
    GCM("decrypt, 16 B", 16, 0.85, decrypt),
    GCM("decrypt, 256 B", 256, 0.90, decrypt),
    GCM("decrypt, 3,072 B", 3072, 0.97, decrypt),
    GCM("decrypt, 16 KiB", 16384, 0.99, decrypt),
    GCM("decrypt, 1 MiB", WORK_TEXT_MAX, 0.99, decrypt),
    {.name = "C_EncryptMessage, 16 B",
     .len = 16,
     .goal = 0.90,
     .token = &token_message,
     .evp = &evp_encrypt,
     .mechanism = CKM_AES_GCM,
     .algorithm = "AES-256-GCM",
     .key = KEY_CIPHER},
    {.name = "C_EncryptMessage, 3,072 B",
     .len = 3072,
     .goal = 0.98,
     .token = &token_message,
     .evp = &evp_encrypt,
     .mechanism = CKM_AES_GCM,
     .algorithm = "AES-256-GCM",
     .key = KEY_CIPHER},
    MAC("HMAC-SHA-256, 32 B", 32, 0.85, CKM_SHA256_HMAC, "SHA2-256", KEY_HMAC),
    MAC("HMAC-SHA-256, 3,072 B", 3072, 0.98, CKM_SHA256_HMAC, "SHA2-256", KEY_HMAC),
    MAC("HMAC-SHA3-256, 32 B", 32, 0.85, CKM_SHA3_256_HMAC, "SHA3-256", KEY_HMAC),
    MAC("HMAC-SHA-512, 32 B", 32, 0.85, CKM_SHA512_HMAC, "SHA2-512", KEY_HMAC),
    MAC("AES-CMAC, 32 B", 32, 0.80, CKM_AES_CMAC, "AES-256-CBC", KEY_CMAC),
    {.name = "SHA-256, 32 B",
     .len = 32,
     .goal = 0.80,
     .token = &token_digest,
     .evp = &evp_digest,
     .mechanism = CKM_SHA256,
     .algorithm = "SHA2-256"},
    {.name = "C_GenerateRandom, 32 B",
     .len = 32,
     .goal = 2.5,
     .token = &token_random,
     .evp = &evp_random},
    DERIVE("C_DeriveKey + C_DestroyObject, HKDF", 1.0, CKM_HKDF_DERIVE, hkdf),
    DERIVE("C_DeriveKey + C_DestroyObject, SP800-108", 1.0, CKM_SP800_108_COUNTER_KDF, counter_kdf),
    TWO_THREADS("two threads, same key: AES-256-GCM, 256 B", false, GCM_256),
    TWO_THREADS("two threads, distinct keys: AES-256-GCM, 256 B", true, GCM_256),
    TWO_THREADS("two threads, same key: HMAC-SHA-256, 32 B", false, HMAC_32),
    TWO_THREADS("two threads, distinct keys: HMAC-SHA-256, 32 B", true, HMAC_32),
};
const size_t works_count = sizeof(works) / sizeof(works[0]);

void lane_open(struct lane *lane, const struct token *token)
{
    *lane = (struct lane){.token = token};
    lane->text = calloc(1, WORK_TEXT_MAX);
    lane->sealed = calloc(1, WORK_TEXT_MAX + WORK_TAG_LEN);
    lane->out = calloc(1, WORK_TEXT_MAX + WORK_TAG_LEN);
    MUST(lane->text && lane->sealed && lane->out);
}

CK_RV lane_prepare(struct lane *lane, const struct work *work, int index)
{
    const struct operation *operation = lane_operation(lane, work);
    int which = work->distinct_keys ? index : 0;

    memset(lane->key_bytes, which + 1, sizeof(lane->key_bytes));
    /* Each lane counts from a number of its own: threads with one key share no IV. */
    lane->iv[WORK_IV_LEN - 1] = (unsigned char) (index + 1);
    if (lane->token) {
        lane->session = token_session(lane->token);
        lane->key = lane->token->keys[work->key][which];
        if (work->key != KEY_NONE && lane->key == 0)
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
