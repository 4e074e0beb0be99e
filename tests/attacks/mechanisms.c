#include "tests/attacks/mechanisms.h"

#include <string.h>

#define LIST(array)                                                                                \
    {                                                                                              \
        (array), sizeof(array) / sizeof((array)[0])                                                \
    }

static const struct way derive[] = {
    {"KDF of payload keys", CKM_SP800_108_COUNTER_KDF, FORM_PURPOSE, 0},
    {"counter KDF", CKM_SP800_108_COUNTER_KDF, FORM_CONTEXT, 0},
    {"counter KDF with CMAC", CKM_SP800_108_COUNTER_KDF, FORM_CMAC_CONTEXT, 0},
    {"HKDF, expanding", CKM_HKDF_DERIVE, FORM_HKDF_EXPAND, 0},
    {"HKDF, the other key as salt", CKM_HKDF_DERIVE, FORM_HKDF_SALT_KEY, 0},
    {"HKDF_DATA", CKM_HKDF_DATA, FORM_HKDF_EXPAND, 0},
    {"HKDF, listed info", CKM_HKDF_DERIVE, FORM_HKDF_LISTED, 0},
    {"HKDF_DATA, listed info", CKM_HKDF_DATA, FORM_HKDF_LISTED, 0},
    {"ECB_ENCRYPT_DATA", CKM_AES_ECB_ENCRYPT_DATA, FORM_DATA_32, 0},
    {"CBC_ENCRYPT_DATA", CKM_AES_CBC_ENCRYPT_DATA, FORM_CBC_DATA, 0},
    {"XOR with zeros", CKM_XOR_BASE_AND_DATA, FORM_DATA_32, 0},
    {"XOR with a byte", CKM_XOR_BASE_AND_DATA, FORM_DATA_1, 0},
    {"CONCATENATE a byte", CKM_CONCATENATE_BASE_AND_DATA, FORM_DATA_1, 0},
    {"CONCATENATE to 31 bytes", CKM_CONCATENATE_DATA_AND_BASE, FORM_DATA_31, 0},
    {"CONCATENATE the other key", CKM_CONCATENATE_BASE_AND_KEY, FORM_KEY, 0},
    {"EXTRACT", CKM_EXTRACT_KEY_FROM_KEY, FORM_BIT, 0},
    {"SHA256_KEY_DERIVATION", CKM_SHA256_KEY_DERIVATION, FORM_PLAIN, 0},
};

static const struct way encrypt[] = {
    {"ECB", CKM_AES_ECB, FORM_PLAIN, TEXT_ZEROS},
    {"CBC", CKM_AES_CBC, FORM_IV, TEXT_ZEROS},
    {"CTR from 0", CKM_AES_CTR, FORM_CTR_ZERO, TEXT_ZEROS},
    {"CTR as in GCM", CKM_AES_CTR, FORM_CTR_GCM, TEXT_ZEROS},
    {"GCM", CKM_AES_GCM, FORM_GCM, TEXT_ZEROS},
    {"GCM with a tag of 4 bytes", CKM_AES_GCM, FORM_GCM_SHORT_TAG, TEXT_ZEROS},
    {"GCM with the IV", CKM_AES_GCM, FORM_GCM_SEEN_IV, TEXT_ZEROS},
    {"a GCM message", CKM_AES_GCM, FORM_GCM_MESSAGE, TEXT_ZEROS},
    {"KEY_WRAP", CKM_AES_KEY_WRAP, FORM_PLAIN, TEXT_ZEROS},
};

/* Not by CKM_AES_CBC_PAD: CBC gives more, and does not depend on chance. */
static const struct way decrypt[] = {
    {"ECB", CKM_AES_ECB, FORM_PLAIN, 0},
    {"CBC", CKM_AES_CBC, FORM_IV, 0},
    {"CTR as in GCM", CKM_AES_CTR, FORM_CTR_GCM, 0},
    {"GCM", CKM_AES_GCM, FORM_GCM, 0},
    {"KEY_WRAP", CKM_AES_KEY_WRAP, FORM_PLAIN, 0},
    {"KEY_WRAP_KWP", CKM_AES_KEY_WRAP_KWP, FORM_PLAIN, 0},
};

static const struct way sign[] = {
    {"HMAC of a purpose", CKM_SHA256_HMAC, FORM_PLAIN, TEXT_PURPOSE},
    {"HMAC of a context", CKM_SHA256_HMAC, FORM_PLAIN, TEXT_CONTEXT},
    {"HMAC of an info", CKM_SHA256_HMAC, FORM_PLAIN, TEXT_INFO},
    {"HMAC of 1 byte", CKM_SHA256_HMAC_GENERAL, FORM_SHORT_MAC, TEXT_CONTEXT},
    {"CMAC", CKM_AES_CMAC, FORM_PLAIN, TEXT_CONTEXT},
    {"CMAC of 1 byte", CKM_AES_CMAC_GENERAL, FORM_SHORT_MAC, TEXT_CONTEXT},
};

/* C_WrapKey and C_UnwrapKey, and the authenticated two. */
static const struct way wrap[] = {
    {"KEY_WRAP", CKM_AES_KEY_WRAP, FORM_PLAIN, 0},
    {"KEY_WRAP_KWP", CKM_AES_KEY_WRAP_KWP, FORM_PLAIN, 0},
    {"KEY_WRAP_PAD", CKM_AES_KEY_WRAP_PAD, FORM_PLAIN, 0},
    {"GCM", CKM_AES_GCM, FORM_GCM, 0},
    {"GCM, authenticated", CKM_AES_GCM, FORM_GCM_WRAP, 0},
    {"GCM, authenticated, fresh IV", CKM_AES_GCM, FORM_GCM_WRAP_FRESH, 0},
    {"ECB", CKM_AES_ECB, FORM_PLAIN, 0},
    {"CBC", CKM_AES_CBC, FORM_IV, 0},
    {"CBC_PAD", CKM_AES_CBC_PAD, FORM_IV, 0},
    {"CTR", CKM_AES_CTR, FORM_CTR_GCM, 0},
};

const struct way_list ways_derive = LIST(derive);
const struct way_list ways_encrypt = LIST(encrypt);
const struct way_list ways_decrypt = LIST(decrypt);
const struct way_list ways_sign = LIST(sign);
const struct way_list ways_wrap = LIST(wrap);

static CK_BYTE zeros[ATTACK_ZEROS_LEN];

static void gcm_prepare(const struct way *way, struct way_call *call)
{
    CK_ULONG tag_bits = way->form == FORM_GCM_SHORT_TAG ? 32 : 128;

    if (way->form == FORM_GCM_WRAP || way->form == FORM_GCM_WRAP_FRESH) {
        call->params.gcm_wrap = (CK_GCM_WRAP_PARAMS){
            .pIv = call->iv,
            .ulIvLen = ATTACK_IV_LEN,
            .ivGenerator = way->form == FORM_GCM_WRAP ? CKG_NO_GENERATE : CKG_GENERATE_RANDOM,
            .ulTagBits = tag_bits};
        call->mechanism.ulParameterLen = sizeof(call->params.gcm_wrap);
    } else if (way->form == FORM_GCM_MESSAGE) {
        call->params.gcm_message = (CK_GCM_MESSAGE_PARAMS){.pIv = call->iv,
                                                           .ulIvLen = ATTACK_IV_LEN,
                                                           .ivGenerator = CKG_NO_GENERATE,
                                                           .pTag = call->tag,
                                                           .ulTagBits = tag_bits};
        call->mechanism.ulParameterLen = sizeof(call->params.gcm_message);
    } else {
        call->params.gcm = (CK_GCM_PARAMS){.pIv = call->iv,
                                           .ulIvLen = ATTACK_IV_LEN,
                                           .ulIvBits = 8UL * ATTACK_IV_LEN,
                                           .ulTagBits = tag_bits};
        call->mechanism.ulParameterLen = sizeof(call->params.gcm);
    }
}

/* PRF(key, counter | ATTACK_CONTEXT). */
static void context_prepare(const struct way *way, struct way_call *call)
{
    (void) indexkey_kdf_make(INDEXKEY_PURPOSE_PAYLOAD, &call->kdf);
    call->kdf.data[1].pValue = (CK_BYTE_PTR) ATTACK_CONTEXT;
    call->kdf.data[1].ulValueLen = strlen(ATTACK_CONTEXT);
    call->kdf.params.ulNumberOfDataParams = 2;
    if (way->form == FORM_CMAC_CONTEXT)
        call->kdf.params.prfType = CKM_AES_CMAC;
    call->mechanism = call->kdf.mechanism;
}

static void hkdf_prepare(const struct way *way, CK_OBJECT_HANDLE other, struct way_call *call)
{
    bool salted = way->form == FORM_HKDF_SALT_KEY;
    const char *info = way->form == FORM_HKDF_LISTED ? ATTACK_LISTED_INFO : ATTACK_INFO;

    call->params.hkdf = (CK_HKDF_PARAMS){
        .bExtract = salted ? CK_TRUE : CK_FALSE,
        .bExpand = salted ? CK_FALSE : CK_TRUE,
        .prfHashMechanism = CKM_SHA256,
        .ulSaltType = salted ? CKF_HKDF_SALT_KEY : CKF_HKDF_SALT_NULL,
        .hSaltKey = other,
        .pInfo = (CK_BYTE_PTR) info,
        .ulInfoLen = strlen(info),
    };
    call->mechanism.ulParameterLen = sizeof(call->params.hkdf);
}

static void data_prepare(const struct way *way, CK_OBJECT_HANDLE other, struct way_call *call)
{
    switch (way->form) {
    case FORM_CBC_DATA:
        call->params.cbc = (CK_AES_CBC_ENCRYPT_DATA_PARAMS){.pData = zeros, .length = 32};
        call->mechanism.ulParameterLen = sizeof(call->params.cbc);
        break;
    case FORM_KEY:
        call->params.handle = other;
        call->mechanism.ulParameterLen = sizeof(call->params.handle);
        break;
    case FORM_BIT:
        call->params.number = 0;
        call->mechanism.ulParameterLen = sizeof(call->params.number);
        break;
    default:
        call->params.string =
            (CK_KEY_DERIVATION_STRING_DATA){zeros, way->form == FORM_DATA_1    ? 1
                                                   : way->form == FORM_DATA_31 ? 31
                                                                               : 32};
        call->mechanism.ulParameterLen = sizeof(call->params.string);
        break;
    }
}

void way_prepare(const struct way *way, CK_OBJECT_HANDLE other, struct way_call *ret_call)
{
    struct way_call *call = ret_call;

    memset(call, 0, sizeof(*call));
    memcpy(call->iv, ATTACK_IV, ATTACK_IV_LEN);
    call->mechanism = (CK_MECHANISM){way->type, &call->params, 0};
    switch (way->form) {
    case FORM_PLAIN:
        call->mechanism.pParameter = NULL;
        break;
    case FORM_IV:
        call->mechanism.ulParameterLen = sizeof(call->params.iv);
        break;
    case FORM_GCM:
    case FORM_GCM_SHORT_TAG:
    case FORM_GCM_SEEN_IV:
    case FORM_GCM_WRAP:
    case FORM_GCM_WRAP_FRESH:
    case FORM_GCM_MESSAGE:
        gcm_prepare(way, call);
        break;
    case FORM_CTR_ZERO:
    case FORM_CTR_GCM:
        call->params.ctr.ulCounterBits = 32;
        if (way->form == FORM_CTR_GCM) {
            memcpy(call->params.ctr.cb, ATTACK_IV, ATTACK_IV_LEN);
            call->params.ctr.cb[15] = 2;
        }
        call->mechanism.ulParameterLen = sizeof(call->params.ctr);
        break;
    case FORM_SHORT_MAC:
        call->params.number = 1;
        call->mechanism.ulParameterLen = sizeof(call->params.number);
        break;
    case FORM_PURPOSE:
        (void) indexkey_kdf_make(INDEXKEY_PURPOSE_PAYLOAD, &call->kdf);
        call->mechanism = call->kdf.mechanism;
        break;
    case FORM_CONTEXT:
    case FORM_CMAC_CONTEXT:
        context_prepare(way, call);
        break;
    case FORM_HKDF_EXPAND:
    case FORM_HKDF_LISTED:
    case FORM_HKDF_SALT_KEY:
        hkdf_prepare(way, other, call);
        break;
    default:
        data_prepare(way, other, call);
        break;
    }
}

struct view way_text(enum way_text text)
{
    static const unsigned char purpose[] = "\0\0\0\1" INDEXKEY_LABEL_PAYLOAD "\0\0\0\1";
    static const unsigned char context[] = "\0\0\0\1" ATTACK_CONTEXT;
    static const unsigned char info[] = ATTACK_INFO "\1";

    switch (text) {
    case TEXT_PURPOSE:
        return (struct view){purpose, sizeof(purpose)};
    case TEXT_CONTEXT:
        return (struct view){context, sizeof(context) - 1};
    case TEXT_INFO:
        return (struct view){info, sizeof(info) - 1};
    default:
        return (struct view){zeros, sizeof(zeros)};
    }
}

bool way_takes_key(const struct way *way)
{
    return way->form == FORM_KEY || way->form == FORM_HKDF_SALT_KEY;
}
