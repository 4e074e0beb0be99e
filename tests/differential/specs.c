#include "tests/differential/specs.h"

#include <stdio.h>

#define DIGEST(hash, len_)                                                                         \
    {                                                                                              \
        .type = CKM_##hash, .name = "CKM_" #hash, .subject = "digest", .use = CKF_DIGEST,          \
        .len = (len_)                                                                              \
    }
#define HMAC(hash, len_)                                                                           \
    {                                                                                              \
        .type = CKM_##hash##_HMAC, .name = "CKM_" #hash "_HMAC", .subject = "HMAC",                \
        .use = CKF_SIGN, .role = ROLE_HMAC, .key_type = CKK_##hash##_HMAC, .len = (len_)           \
    }
#define HMAC_GENERAL(hash, len_)                                                                   \
    {                                                                                              \
        .type = CKM_##hash##_HMAC_GENERAL, .name = "CKM_" #hash "_HMAC_GENERAL",                   \
        .subject = "HMAC_GENERAL", .use = CKF_SIGN, .shape = SHAPE_MAC_LEN, .role = ROLE_HMAC,     \
        .key_type = CKK_##hash##_HMAC, .len = (len_)                                               \
    }
#define HASH(hash, len) DIGEST(hash, len), HMAC(hash, len), HMAC_GENERAL(hash, len)
#define AES(mode, text, use_, shape_, role_)                                                       \
    {                                                                                              \
        .type = CKM_AES_##mode, .name = "CKM_AES_" #mode, .subject = text, .use = (use_),          \
        .shape = SHAPE_##shape_, .role = ROLE_##role_, .key_type = CKK_AES, .len = 16              \
    }
#define DERIVE(mechanism, text, shape_, role_)                                                     \
    {                                                                                              \
        .type = CKM_##mechanism, .name = "CKM_" #mechanism, .subject = text, .use = CKF_DERIVE,    \
        .shape = SHAPE_##shape_, .role = ROLE_##role_                                              \
    }
/* The same with AES-CMAC as its PRF. */
#define DERIVE_AES(mechanism, text, shape_)                                                        \
    {                                                                                              \
        .type = CKM_##mechanism, .name = "CKM_" #mechanism " (CMAC)", .subject = text,             \
        .use = CKF_DERIVE, .shape = SHAPE_##shape_, .role = ROLE_AES_BASE, .key_type = CKK_AES     \
    }
#define GENERATE(mechanism, text, key)                                                             \
    {                                                                                              \
        .type = CKM_##mechanism##_KEY_GEN, .name = "CKM_" #mechanism "_KEY_GEN", .subject = text,  \
        .use = CKF_GENERATE, .key_type = (key)                                                     \
    }

/* A general MAC stands behind its full one: see spec_of_peer. */
const struct spec specs[] = {
    HASH(SHA_1, 20),
    HASH(SHA224, 28),
    HASH(SHA256, 32),
    HASH(SHA384, 48),
    HASH(SHA512, 64),
    HASH(SHA512_224, 28),
    HASH(SHA512_256, 32),
    HASH(SHA3_224, 28),
    HASH(SHA3_256, 32),
    HASH(SHA3_384, 48),
    HASH(SHA3_512, 64),
    AES(CMAC, "CMAC", CKF_SIGN, NONE, CMAC),
    AES(CMAC_GENERAL, "CMAC_GENERAL", CKF_SIGN, MAC_LEN, CMAC),
    AES(ECB, "ECB", CKF_ENCRYPT, NONE, ECB),
    AES(CBC, "CBC", CKF_ENCRYPT, IV, CBC),
    AES(CBC_PAD, "CBC_PAD", CKF_ENCRYPT, IV, CBC),
    AES(CTR, "CTR", CKF_ENCRYPT, CTR, CTR),
    AES(GCM, "GCM", CKF_ENCRYPT, GCM, GCM),
    AES(KEY_WRAP, "KW", CKF_WRAP, WRAP, WRAP),
    AES(KEY_WRAP_KWP, "KWP", CKF_WRAP, WRAP, WRAP),
    DERIVE(AES_ECB_ENCRYPT_DATA, "ECB_DATA", ECB_DATA, AES_BASE),
    DERIVE(AES_CBC_ENCRYPT_DATA, "CBC_DATA", CBC_DATA, AES_BASE),
    DERIVE(HKDF_DERIVE, "HKDF", HKDF, HKDF_BASE),
    DERIVE(HKDF_DATA, "HKDF_DATA", HKDF, HKDF_BASE),
    DERIVE(SP800_108_COUNTER_KDF, "COUNTER", COUNTER, GENERIC_BASE),
    DERIVE(SP800_108_FEEDBACK_KDF, "FEEDBACK", FEEDBACK, GENERIC_BASE),
    DERIVE(SP800_108_DOUBLE_PIPELINE_KDF, "PIPELINE", PIPELINE, GENERIC_BASE),
    DERIVE_AES(SP800_108_COUNTER_KDF, "COUNTER", COUNTER),
    DERIVE_AES(SP800_108_FEEDBACK_KDF, "FEEDBACK", FEEDBACK),
    DERIVE_AES(SP800_108_DOUBLE_PIPELINE_KDF, "PIPELINE", PIPELINE),
    DERIVE(CONCATENATE_BASE_AND_DATA, "BASE_AND_DATA", STRING, GENERIC_BASE),
    DERIVE(CONCATENATE_DATA_AND_BASE, "DATA_AND_BASE", STRING, GENERIC_BASE),
    DERIVE(CONCATENATE_BASE_AND_KEY, "BASE_AND_KEY", KEY, GENERIC_BASE),
    DERIVE(XOR_BASE_AND_DATA, "XOR", STRING, GENERIC_BASE),
    GENERATE(GENERIC_SECRET, "generic", CKK_GENERIC_SECRET),
    GENERATE(AES, "AES", CKK_AES),
    GENERATE(SHA256, "HMAC", CKK_SHA256_HMAC),
};
const size_t specs_count = sizeof(specs) / sizeof(specs[0]);

const struct spec *spec_of_peer(const struct spec *spec)
{
    return spec->shape == SHAPE_MAC_LEN ? spec - 1 : spec;
}

void common_find(struct common *common, const struct module *ours, const struct module *theirs,
                 CK_FLAGS use)
{
    common->count = 0;
    for (size_t i = 0; i < specs_count && common->count < SPECS_MAX; i++)
        if (specs[i].use == use && module_has(ours, specs[i].type, use) &&
            module_has(theirs, spec_of_peer(&specs[i])->type, use))
            common->specs[common->count++] = &specs[i];
}

#define CODE(name)                                                                                 \
    {                                                                                              \
        name, #name                                                                                \
    }

static const struct {
    CK_RV rv;
    const char *name;
} codes[] = {
    CODE(CKR_OK),
    CODE(CKR_HOST_MEMORY),
    CODE(CKR_SLOT_ID_INVALID),
    CODE(CKR_GENERAL_ERROR),
    CODE(CKR_FUNCTION_FAILED),
    CODE(CKR_ARGUMENTS_BAD),
    CODE(CKR_ATTRIBUTE_READ_ONLY),
    CODE(CKR_ATTRIBUTE_SENSITIVE),
    CODE(CKR_ATTRIBUTE_TYPE_INVALID),
    CODE(CKR_ATTRIBUTE_VALUE_INVALID),
    CODE(CKR_ACTION_PROHIBITED),
    CODE(CKR_DATA_INVALID),
    CODE(CKR_DATA_LEN_RANGE),
    CODE(CKR_DEVICE_ERROR),
    CODE(CKR_DEVICE_MEMORY),
    CODE(CKR_DEVICE_REMOVED),
    CODE(CKR_ENCRYPTED_DATA_INVALID),
    CODE(CKR_ENCRYPTED_DATA_LEN_RANGE),
    CODE(CKR_AEAD_DECRYPT_FAILED),
    CODE(CKR_FUNCTION_NOT_SUPPORTED),
    CODE(CKR_KEY_HANDLE_INVALID),
    CODE(CKR_KEY_SIZE_RANGE),
    CODE(CKR_KEY_TYPE_INCONSISTENT),
    CODE(CKR_KEY_INDIGESTIBLE),
    CODE(CKR_KEY_FUNCTION_NOT_PERMITTED),
    CODE(CKR_KEY_NOT_WRAPPABLE),
    CODE(CKR_KEY_UNEXTRACTABLE),
    CODE(CKR_KEY_EXHAUSTED),
    CODE(CKR_MECHANISM_INVALID),
    CODE(CKR_MECHANISM_PARAM_INVALID),
    CODE(CKR_OBJECT_HANDLE_INVALID),
    CODE(CKR_OPERATION_ACTIVE),
    CODE(CKR_OPERATION_NOT_INITIALIZED),
    CODE(CKR_PIN_INCORRECT),
    CODE(CKR_PIN_INVALID),
    CODE(CKR_PIN_LEN_RANGE),
    CODE(CKR_PIN_LOCKED),
    CODE(CKR_SESSION_CLOSED),
    CODE(CKR_SESSION_COUNT),
    CODE(CKR_SESSION_HANDLE_INVALID),
    CODE(CKR_SESSION_PARALLEL_NOT_SUPPORTED),
    CODE(CKR_SESSION_READ_ONLY),
    CODE(CKR_SESSION_EXISTS),
    CODE(CKR_SESSION_READ_ONLY_EXISTS),
    CODE(CKR_SESSION_READ_WRITE_SO_EXISTS),
    CODE(CKR_SIGNATURE_INVALID),
    CODE(CKR_SIGNATURE_LEN_RANGE),
    CODE(CKR_TEMPLATE_INCOMPLETE),
    CODE(CKR_TEMPLATE_INCONSISTENT),
    CODE(CKR_TOKEN_NOT_PRESENT),
    CODE(CKR_UNWRAPPING_KEY_HANDLE_INVALID),
    CODE(CKR_UNWRAPPING_KEY_SIZE_RANGE),
    CODE(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT),
    CODE(CKR_USER_ALREADY_LOGGED_IN),
    CODE(CKR_USER_NOT_LOGGED_IN),
    CODE(CKR_USER_PIN_NOT_INITIALIZED),
    CODE(CKR_USER_TYPE_INVALID),
    CODE(CKR_USER_ANOTHER_ALREADY_LOGGED_IN),
    CODE(CKR_USER_TOO_MANY_TYPES),
    CODE(CKR_WRAPPED_KEY_INVALID),
    CODE(CKR_WRAPPED_KEY_LEN_RANGE),
    CODE(CKR_WRAPPING_KEY_HANDLE_INVALID),
    CODE(CKR_WRAPPING_KEY_SIZE_RANGE),
    CODE(CKR_WRAPPING_KEY_TYPE_INCONSISTENT),
    CODE(CKR_DOMAIN_PARAMS_INVALID),
    CODE(CKR_BUFFER_TOO_SMALL),
    CODE(CKR_FUNCTION_REJECTED),
};
#define CODES (sizeof(codes) / sizeof(codes[0]))
_Static_assert(CODES < CODES_MAX, "one place is for codes without a name");

size_t code_place(CK_RV rv)
{
    size_t place = 0;

    while (place < CODES && codes[place].rv != rv)
        place++;
    return place;
}

const char *code_at(size_t place)
{
    return place < CODES ? codes[place].name : "another";
}

const char *code_name(CK_RV rv)
{
    static char number[32];
    size_t place = code_place(rv);

    if (place < CODES)
        return codes[place].name;
    snprintf(number, sizeof(number), "0x%lx", rv);
    return number;
}
