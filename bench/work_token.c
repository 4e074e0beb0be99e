/* The works on a token, by C_* calls. */
#include <string.h>

#include "bench/work.h"

#define CALL(lane, function, ...) (lane)->token->p11->function((lane)->session, __VA_ARGS__)
#define TRY(call)                                                                                  \
    do {                                                                                           \
        CK_RV rv_ = (call);                                                                        \
        if (rv_ != CKR_OK)                                                                         \
            return rv_;                                                                            \
    } while (0)

static CK_GCM_PARAMS gcm_params(struct lane *lane)
{
    return (CK_GCM_PARAMS){.pIv = lane->iv,
                           .ulIvLen = WORK_IV_LEN,
                           .ulIvBits = 8 * WORK_IV_LEN,
                           .ulTagBits = 8 * WORK_TAG_LEN};
}

/* ---- AES-GCM ---- */

static CK_RV encrypt_to(struct lane *lane, const struct work *work, unsigned char *out)
{
    CK_GCM_PARAMS params = gcm_params(lane);
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_ULONG out_len = work->len + WORK_TAG_LEN;

    TRY(CALL(lane, C_EncryptInit, &mechanism, lane->key));
    return CALL(lane, C_Encrypt, lane->text, work->len, out, &out_len);
}

static CK_RV encrypt_run(struct lane *lane, const struct work *work)
{
    count_up(lane->iv, WORK_IV_LEN);
    return encrypt_to(lane, work, lane->out);
}

static CK_RV decrypt_prepare(struct lane *lane, const struct work *work)
{
    count_up(lane->iv, WORK_IV_LEN);
    return encrypt_to(lane, work, lane->sealed);
}

static CK_RV decrypt_run(struct lane *lane, const struct work *work)
{
    CK_GCM_PARAMS params = gcm_params(lane);
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    /* SoftHSM asks for as much room as the ciphertext has. */
    CK_ULONG out_len = work->len + WORK_TAG_LEN;

    TRY(CALL(lane, C_DecryptInit, &mechanism, lane->key));
    return CALL(lane, C_Decrypt, lane->sealed, work->len + WORK_TAG_LEN, lane->out, &out_len);
}

static CK_RV message_prepare(struct lane *lane, const struct work *work)
{
    CK_MECHANISM mechanism = {work->kind->mechanism, NULL, 0};

    if (!lane->token->p30)
        return CKR_FUNCTION_NOT_SUPPORTED;
    return lane->token->p30->C_MessageEncryptInit(lane->session, &mechanism, lane->key);
}

static CK_RV message_run(struct lane *lane, const struct work *work)
{
    CK_GCM_MESSAGE_PARAMS params = {.pIv = lane->iv,
                                    .ulIvLen = WORK_IV_LEN,
                                    .ivGenerator = CKG_NO_GENERATE,
                                    .pTag = lane->out + work->len,
                                    .ulTagBits = 8 * WORK_TAG_LEN};
    CK_ULONG out_len = work->len;

    count_up(lane->iv, WORK_IV_LEN);
    return lane->token->p30->C_EncryptMessage(lane->session, &params, sizeof(params), NULL, 0,
                                              lane->text, work->len, lane->out, &out_len);
}

/* ---- MAC, digest, random ---- */

static CK_RV sign_run(struct lane *lane, const struct work *work)
{
    CK_MECHANISM mechanism = {work->kind->mechanism, NULL, 0};
    CK_ULONG out_len = EVP_MAX_MD_SIZE;

    TRY(CALL(lane, C_SignInit, &mechanism, lane->key));
    return CALL(lane, C_Sign, lane->text, work->len, lane->out, &out_len);
}

static CK_RV digest_run(struct lane *lane, const struct work *work)
{
    CK_MECHANISM mechanism = {work->kind->mechanism, NULL, 0};
    CK_ULONG out_len = EVP_MAX_MD_SIZE;

    TRY(CALL(lane, C_DigestInit, &mechanism));
    return CALL(lane, C_Digest, lane->text, work->len, lane->out, &out_len);
}

static CK_RV random_run(struct lane *lane, const struct work *work)
{
    return CALL(lane, C_GenerateRandom, lane->out, work->len);
}

/* ---- keys derived, and destroyed again ---- */

/* A key for HMAC, such as one for each row of a table. */
static CK_RV derive(struct lane *lane, const struct work *work, CK_MECHANISM mechanism)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ULONG len = work->len;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_SIGN, &yes, sizeof(yes)},
    };
    CK_OBJECT_HANDLE key;

    TRY(CALL(lane, C_DeriveKey, &mechanism, lane->key, template,
             sizeof(template) / sizeof(template[0]), &key));
    return CALL(lane, C_DestroyObject, key);
}

static CK_RV hkdf_run(struct lane *lane, const struct work *work)
{
    CK_HKDF_PARAMS params = {.bExtract = CK_TRUE,
                             .bExpand = CK_TRUE,
                             .prfHashMechanism = CKM_SHA256,
                             .ulSaltType = CKF_HKDF_SALT_NULL,
                             .pInfo = lane->info,
                             .ulInfoLen = WORK_INFO_LEN};
    CK_MECHANISM mechanism = {work->kind->mechanism, &params, sizeof(params)};

    count_up(lane->info, WORK_INFO_LEN);
    return derive(lane, work, mechanism);
}

/* Counter, a byte string, the length in bits: what OpenSSL's KBKDF reads too. */
static CK_RV counter_kdf_run(struct lane *lane, const struct work *work)
{
    CK_SP800_108_COUNTER_FORMAT counter = {.ulWidthInBits = 32};
    CK_SP800_108_DKM_LENGTH_FORMAT length = {.dkmLengthMethod = CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS,
                                             .ulWidthInBits = 32};
    CK_PRF_DATA_PARAM data[] = {
        {CK_SP800_108_ITERATION_VARIABLE, &counter, sizeof(counter)},
        {CK_SP800_108_BYTE_ARRAY, lane->info, WORK_INFO_LEN},
        {CK_SP800_108_DKM_LENGTH, &length, sizeof(length)},
    };
    CK_SP800_108_KDF_PARAMS params = {.prfType = CKM_SHA256_HMAC,
                                      .ulNumberOfDataParams = sizeof(data) / sizeof(data[0]),
                                      .pDataParams = data};
    CK_MECHANISM mechanism = {work->kind->mechanism, &params, sizeof(params)};

    count_up(lane->info, WORK_INFO_LEN);
    return derive(lane, work, mechanism);
}

const struct operation token_encrypt = {.run = encrypt_run};
const struct operation token_decrypt = {.prepare = decrypt_prepare, .run = decrypt_run};
const struct operation token_message = {.prepare = message_prepare, .run = message_run};
const struct operation token_sign = {.run = sign_run};
const struct operation token_digest = {.run = digest_run};
const struct operation token_random = {.run = random_run};
const struct operation token_hkdf = {.run = hkdf_run};
const struct operation token_counter_kdf = {.run = counter_kdf_run};
