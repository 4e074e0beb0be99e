/*
 * cryptoki.h and indexkey.h: numbers, layouts and order against the OASIS header of 3.2, and
 * against p11-kit's header where both speak.
 */
#include "indexkey.h"

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cryptoki.h"
#include "tests/support/p11kit_constants.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct expected {
    struct header_number is;
    unsigned long shall_be;
};

#define NUMBER(name, value)         {{#name, (name)}, (value)}
#define BYTES(type, value)          {{"sizeof " #type, sizeof(type)}, (value)}
#define OFFSET(type, member, value) {{#type "." #member, offsetof(type, member)}, (value)}

static const struct expected constants[] = {
    NUMBER(CRYPTOKI_VERSION_MAJOR, 3),
    NUMBER(CRYPTOKI_VERSION_MINOR, 2),
    NUMBER(CK_UNAVAILABLE_INFORMATION, 0xFFFFFFFFFFFFFFFF),
    NUMBER(CK_EFFECTIVELY_INFINITE, 0),
    NUMBER(CK_INVALID_HANDLE, 0),

    NUMBER(CKP_PKCS5_PBKD2_HMAC_SHA1, 1),
    NUMBER(CKP_PKCS5_PBKD2_HMAC_SHA224, 3),
    NUMBER(CKP_PKCS5_PBKD2_HMAC_SHA256, 4),
    NUMBER(CKP_PKCS5_PBKD2_HMAC_SHA384, 5),
    NUMBER(CKP_PKCS5_PBKD2_HMAC_SHA512, 6),
    NUMBER(CKP_PKCS5_PBKD2_HMAC_SHA512_224, 7),
    NUMBER(CKP_PKCS5_PBKD2_HMAC_SHA512_256, 8),
    NUMBER(CKZ_SALT_SPECIFIED, 1),

    NUMBER(CKM_SHA3_256, 0x2B0),
    NUMBER(CKM_SHA3_256_HMAC, 0x2B1),
    NUMBER(CKM_SHA3_256_HMAC_GENERAL, 0x2B2),
    NUMBER(CKM_SHA3_256_KEY_GEN, 0x2B3),
    NUMBER(CKM_SHA3_224, 0x2B5),
    NUMBER(CKM_SHA3_224_HMAC, 0x2B6),
    NUMBER(CKM_SHA3_224_HMAC_GENERAL, 0x2B7),
    NUMBER(CKM_SHA3_224_KEY_GEN, 0x2B8),
    NUMBER(CKM_SHA3_384, 0x2C0),
    NUMBER(CKM_SHA3_384_HMAC, 0x2C1),
    NUMBER(CKM_SHA3_384_HMAC_GENERAL, 0x2C2),
    NUMBER(CKM_SHA3_384_KEY_GEN, 0x2C3),
    NUMBER(CKM_SHA3_512, 0x2D0),
    NUMBER(CKM_SHA3_512_HMAC, 0x2D1),
    NUMBER(CKM_SHA3_512_HMAC_GENERAL, 0x2D2),
    NUMBER(CKM_SHA3_512_KEY_GEN, 0x2D3),
    NUMBER(CKM_SHA3_256_KEY_DERIVATION, 0x397),
    NUMBER(CKM_SHA3_224_KEY_DERIVATION, 0x398),
    NUMBER(CKM_SHA3_384_KEY_DERIVATION, 0x399),
    NUMBER(CKM_SHA3_512_KEY_DERIVATION, 0x39A),
    NUMBER(CKM_SHAKE_128_KEY_DERIVATION, 0x39B),
    NUMBER(CKM_SHAKE_256_KEY_DERIVATION, 0x39C),
    NUMBER(CKM_SP800_108_COUNTER_KDF, 0x3AC),
    NUMBER(CKM_SP800_108_FEEDBACK_KDF, 0x3AD),
    NUMBER(CKM_SP800_108_DOUBLE_PIPELINE_KDF, 0x3AE),
    NUMBER(CKM_HKDF_DERIVE, 0x402A),
    NUMBER(CKM_HKDF_DATA, 0x402B),
    NUMBER(CKM_HKDF_KEY_GEN, 0x402C),
    NUMBER(CKM_AES_KEY_WRAP_KWP, 0x210B),
    NUMBER(CKM_AES_KEY_WRAP_PKCS7, 0x210C),
    NUMBER(CKM_NULL, 0x400B),
    NUMBER(CKM_AES_XTS, 0x1071),
    NUMBER(CKM_AES_XTS_KEY_GEN, 0x1072),
    NUMBER(CKM_SHA_1_KEY_GEN, 0x4003),
    NUMBER(CKM_SHA224_KEY_GEN, 0x4004),
    NUMBER(CKM_SHA256_KEY_GEN, 0x4005),
    NUMBER(CKM_SHA384_KEY_GEN, 0x4006),
    NUMBER(CKM_SHA512_KEY_GEN, 0x4007),
    NUMBER(CKM_SHA512_224_KEY_GEN, 0x4008),
    NUMBER(CKM_SHA512_256_KEY_GEN, 0x4009),
    NUMBER(CKM_SHA512_T_KEY_GEN, 0x400A),

    NUMBER(CKK_AES_XTS, 0x35),
    NUMBER(CKK_SHA3_224_HMAC, 0x36),
    NUMBER(CKK_SHA3_256_HMAC, 0x37),
    NUMBER(CKK_SHA3_384_HMAC, 0x38),
    NUMBER(CKK_SHA3_512_HMAC, 0x39),
    NUMBER(CKK_HKDF, 0x42),
    NUMBER(CKK_SHA512_224_HMAC, 0x43),
    NUMBER(CKK_SHA512_256_HMAC, 0x44),
    NUMBER(CKK_SHA512_T_HMAC, 0x45),

    NUMBER(CKO_PROFILE, 9),
    NUMBER(CKO_VALIDATION, 0xA),
    NUMBER(CKO_TRUST, 0xB),
    NUMBER(CKA_UNIQUE_ID, 4),
    NUMBER(CKA_PROFILE_ID, 0x601),
    NUMBER(CKA_ALLOWED_MECHANISMS, 0x40000600),
    NUMBER(CKP_INVALID_ID, 0),
    NUMBER(CKP_BASELINE_PROVIDER, 1),
    NUMBER(CKP_EXTENDED_PROVIDER, 2),
    NUMBER(CKP_AUTHENTICATION_TOKEN, 3),
    NUMBER(CKP_PUBLIC_CERTIFICATES_TOKEN, 4),
    NUMBER(CKP_COMPLETE_PROVIDER, 5),
    NUMBER(CKP_HKDF_TLS_TOKEN, 6),
    NUMBER(CKG_NO_GENERATE, 0),
    NUMBER(CKG_GENERATE, 1),
    NUMBER(CKG_GENERATE_COUNTER, 2),
    NUMBER(CKG_GENERATE_RANDOM, 3),
    NUMBER(CKG_GENERATE_COUNTER_XOR, 4),

    NUMBER(CKF_END_OF_MESSAGE, 1),
    NUMBER(CKF_INTERFACE_FORK_SAFE, 1),
    NUMBER(CKF_MESSAGE_ENCRYPT, 2),
    NUMBER(CKF_MESSAGE_DECRYPT, 4),
    NUMBER(CKF_MESSAGE_SIGN, 8),
    NUMBER(CKF_MESSAGE_VERIFY, 0x10),
    NUMBER(CKF_MULTI_MESSAGE, 0x20),
    NUMBER(CKF_FIND_OBJECTS, 0x40),
    NUMBER(CKF_HKDF_SALT_NULL, 1),
    NUMBER(CKF_HKDF_SALT_DATA, 2),
    NUMBER(CKF_HKDF_SALT_KEY, 4),
    NUMBER(CKF_ASYNC_SESSION, 8),
    NUMBER(CKF_ERROR_STATE, 0x01000000),
    NUMBER(CKF_SEED_RANDOM_REQUIRED, 0x02000000),
    NUMBER(CKF_ASYNC_SESSION_SUPPORTED, 0x04000000),

    NUMBER(CKR_AEAD_DECRYPT_FAILED, 0x42),
    NUMBER(CKR_TOKEN_RESOURCE_EXCEEDED, 0x201),
    NUMBER(CKR_OPERATION_CANCEL_FAILED, 0x202),
    NUMBER(CKR_KEY_EXHAUSTED, 0x203),
    NUMBER(CKR_PENDING, 0x204),
    NUMBER(CKR_SESSION_ASYNC_NOT_SUPPORTED, 0x205),
    NUMBER(CKR_SEED_RANDOM_REQUIRED, 0x206),
    NUMBER(CKR_OPERATION_NOT_VALIDATED, 0x207),
    NUMBER(CKR_TOKEN_NOT_INITIALIZED, 0x208),
    NUMBER(CKR_PARAMETER_SET_NOT_SUPPORTED, 0x209),

    NUMBER(CK_SP800_108_ITERATION_VARIABLE, 1),
    NUMBER(CK_SP800_108_COUNTER, 2),
    NUMBER(CK_SP800_108_OPTIONAL_COUNTER, 2),
    NUMBER(CK_SP800_108_DKM_LENGTH, 3),
    NUMBER(CK_SP800_108_BYTE_ARRAY, 4),
    NUMBER(CK_SP800_108_KEY_HANDLE, 5),
    NUMBER(CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, 1),
    NUMBER(CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS, 2),
};

/* Where p11-kit's header departs from the standard. */
static const struct expected p11kit_departures[] = {
    NUMBER(CKR_EXCEEDED_MAX_ITERATIONS, 0x1B5), NUMBER(CKR_FIPS_SELF_TEST_FAILED, 0x1B6),
    NUMBER(CKR_LIBRARY_LOAD_FAILED, 0x1B7),     NUMBER(CKR_PIN_TOO_WEAK, 0x1B8),
    NUMBER(CKR_PUBLIC_KEY_INVALID, 0x1B9),
};

/* Names of p11-kit's header that the standard does not have. */
static const char *const p11kit_own[] = {"CKC_OPENPGP"};

static const struct expected layouts[] = {
    BYTES(CK_BYTE, 1),
    BYTES(CK_BBOOL, 1),
    BYTES(CK_ULONG, 8),
    BYTES(CK_VERSION, 2),
    BYTES(CK_ATTRIBUTE, 24),
    BYTES(CK_MECHANISM, 24),
    BYTES(CK_MAC_GENERAL_PARAMS, 8),
    BYTES(CK_EXTRACT_PARAMS, 8),
    BYTES(CK_GCM_PARAMS, 48),
    OFFSET(CK_GCM_PARAMS, ulIvBits, 16),
    OFFSET(CK_GCM_PARAMS, pAAD, 24),

    BYTES(CK_GCM_MESSAGE_PARAMS, 48),
    OFFSET(CK_GCM_MESSAGE_PARAMS, pIv, 0),
    OFFSET(CK_GCM_MESSAGE_PARAMS, ulIvLen, 8),
    OFFSET(CK_GCM_MESSAGE_PARAMS, ulIvFixedBits, 16),
    OFFSET(CK_GCM_MESSAGE_PARAMS, ivGenerator, 24),
    OFFSET(CK_GCM_MESSAGE_PARAMS, pTag, 32),
    OFFSET(CK_GCM_MESSAGE_PARAMS, ulTagBits, 40),

    BYTES(CK_GCM_WRAP_PARAMS, 56),
    OFFSET(CK_GCM_WRAP_PARAMS, pIv, 0),
    OFFSET(CK_GCM_WRAP_PARAMS, ulIvLen, 8),
    OFFSET(CK_GCM_WRAP_PARAMS, ulIvFixedBits, 16),
    OFFSET(CK_GCM_WRAP_PARAMS, ivGenerator, 24),
    OFFSET(CK_GCM_WRAP_PARAMS, pAAD, 32),
    OFFSET(CK_GCM_WRAP_PARAMS, ulAADLen, 40),
    OFFSET(CK_GCM_WRAP_PARAMS, ulTagBits, 48),

    BYTES(CK_CCM_PARAMS, 48),
    BYTES(CK_CCM_MESSAGE_PARAMS, 56),
    BYTES(CK_CCM_WRAP_PARAMS, 64),

    BYTES(CK_HKDF_PARAMS, 64),
    OFFSET(CK_HKDF_PARAMS, bExtract, 0),
    OFFSET(CK_HKDF_PARAMS, bExpand, 1),
    OFFSET(CK_HKDF_PARAMS, prfHashMechanism, 8),
    OFFSET(CK_HKDF_PARAMS, ulSaltType, 16),
    OFFSET(CK_HKDF_PARAMS, pSalt, 24),
    OFFSET(CK_HKDF_PARAMS, ulSaltLen, 32),
    OFFSET(CK_HKDF_PARAMS, hSaltKey, 40),
    OFFSET(CK_HKDF_PARAMS, pInfo, 48),
    OFFSET(CK_HKDF_PARAMS, ulInfoLen, 56),

    BYTES(CK_PRF_DATA_PARAM, 24),
    OFFSET(CK_PRF_DATA_PARAM, type, 0),
    OFFSET(CK_PRF_DATA_PARAM, pValue, 8),
    OFFSET(CK_PRF_DATA_PARAM, ulValueLen, 16),
    BYTES(CK_SP800_108_COUNTER_FORMAT, 16),
    OFFSET(CK_SP800_108_COUNTER_FORMAT, bLittleEndian, 0),
    OFFSET(CK_SP800_108_COUNTER_FORMAT, ulWidthInBits, 8),
    BYTES(CK_SP800_108_DKM_LENGTH_FORMAT, 24),
    OFFSET(CK_SP800_108_DKM_LENGTH_FORMAT, dkmLengthMethod, 0),
    OFFSET(CK_SP800_108_DKM_LENGTH_FORMAT, bLittleEndian, 8),
    OFFSET(CK_SP800_108_DKM_LENGTH_FORMAT, ulWidthInBits, 16),
    BYTES(CK_DERIVED_KEY, 24),
    OFFSET(CK_DERIVED_KEY, pTemplate, 0),
    OFFSET(CK_DERIVED_KEY, ulAttributeCount, 8),
    OFFSET(CK_DERIVED_KEY, phKey, 16),

    BYTES(CK_SP800_108_KDF_PARAMS, 40),
    OFFSET(CK_SP800_108_KDF_PARAMS, prfType, 0),
    OFFSET(CK_SP800_108_KDF_PARAMS, ulNumberOfDataParams, 8),
    OFFSET(CK_SP800_108_KDF_PARAMS, pDataParams, 16),
    OFFSET(CK_SP800_108_KDF_PARAMS, ulAdditionalDerivedKeys, 24),
    OFFSET(CK_SP800_108_KDF_PARAMS, pAdditionalDerivedKeys, 32),
    BYTES(CK_SP800_108_FEEDBACK_KDF_PARAMS, 56),
    OFFSET(CK_SP800_108_FEEDBACK_KDF_PARAMS, pDataParams, 16),
    OFFSET(CK_SP800_108_FEEDBACK_KDF_PARAMS, ulIVLen, 24),
    OFFSET(CK_SP800_108_FEEDBACK_KDF_PARAMS, pIV, 32),
    OFFSET(CK_SP800_108_FEEDBACK_KDF_PARAMS, ulAdditionalDerivedKeys, 40),
    OFFSET(CK_SP800_108_FEEDBACK_KDF_PARAMS, pAdditionalDerivedKeys, 48),

    BYTES(CK_PKCS5_PBKD2_PARAMS, 72),
    BYTES(CK_PKCS5_PBKD2_PARAMS2, 72),
    OFFSET(CK_PKCS5_PBKD2_PARAMS2, saltSource, 0),
    OFFSET(CK_PKCS5_PBKD2_PARAMS2, pSaltSourceData, 8),
    OFFSET(CK_PKCS5_PBKD2_PARAMS2, ulSaltSourceDataLen, 16),
    OFFSET(CK_PKCS5_PBKD2_PARAMS2, iterations, 24),
    OFFSET(CK_PKCS5_PBKD2_PARAMS2, prf, 32),
    OFFSET(CK_PKCS5_PBKD2_PARAMS2, pPrfData, 40),
    OFFSET(CK_PKCS5_PBKD2_PARAMS2, ulPrfDataLen, 48),
    OFFSET(CK_PKCS5_PBKD2_PARAMS2, pPassword, 56),
    OFFSET(CK_PKCS5_PBKD2_PARAMS2, ulPasswordLen, 64),

    BYTES(CK_INTERFACE, 24),
    OFFSET(CK_INTERFACE, pInterfaceName, 0),
    OFFSET(CK_INTERFACE, pFunctionList, 8),
    OFFSET(CK_INTERFACE, flags, 16),
    BYTES(CK_ASYNC_DATA, 40),
    OFFSET(CK_ASYNC_DATA, ulVersion, 0),
    OFFSET(CK_ASYNC_DATA, pValue, 8),
    OFFSET(CK_ASYNC_DATA, ulValue, 16),
    OFFSET(CK_ASYNC_DATA, hObject, 24),
    OFFSET(CK_ASYNC_DATA, hAdditionalObject, 32),

    BYTES(CK_FUNCTION_LIST, 552),
    BYTES(CK_FUNCTION_LIST_3_0, 744),
    BYTES(CK_FUNCTION_LIST_3_2, 840),
    OFFSET(CK_FUNCTION_LIST, C_Initialize, 8),
    OFFSET(CK_FUNCTION_LIST, C_WaitForSlotEvent, 544),
    OFFSET(CK_FUNCTION_LIST_3_2, C_WrapKeyAuthenticated, 824),
    OFFSET(CK_FUNCTION_LIST_3_2, C_UnwrapKeyAuthenticated, 832),
};

/* The 36 functions that 3.0 and 3.2 added, in the standard's order. */
static const char *const added[] = {
    "C_GetInterfaceList",
    "C_GetInterface",
    "C_LoginUser",
    "C_SessionCancel",
    "C_MessageEncryptInit",
    "C_EncryptMessage",
    "C_EncryptMessageBegin",
    "C_EncryptMessageNext",
    "C_MessageEncryptFinal",
    "C_MessageDecryptInit",
    "C_DecryptMessage",
    "C_DecryptMessageBegin",
    "C_DecryptMessageNext",
    "C_MessageDecryptFinal",
    "C_MessageSignInit",
    "C_SignMessage",
    "C_SignMessageBegin",
    "C_SignMessageNext",
    "C_MessageSignFinal",
    "C_MessageVerifyInit",
    "C_VerifyMessage",
    "C_VerifyMessageBegin",
    "C_VerifyMessageNext",
    "C_MessageVerifyFinal",
    "C_EncapsulateKey",
    "C_DecapsulateKey",
    "C_VerifySignatureInit",
    "C_VerifySignature",
    "C_VerifySignatureUpdate",
    "C_VerifySignatureFinal",
    "C_GetSessionValidationFlags",
    "C_AsyncComplete",
    "C_AsyncGetID",
    "C_AsyncJoin",
    "C_WrapKeyAuthenticated",
    "C_UnwrapKeyAuthenticated",
};

#define IN_3_2(name) {#name, offsetof(CK_FUNCTION_LIST_3_2, name)},
static const struct header_number functions[] = {CK_FUNCTIONS_3_2(IN_3_2)};

/* Does not compile unless the prototype has exactly these argument types. */
#define IS_TYPE(function, ...) \
    _Static_assert(_Generic(&function, CK_RV(*)(__VA_ARGS__) : 1, default : 0), #function)

IS_TYPE(C_Initialize, void *);
IS_TYPE(C_GetInterfaceList, CK_INTERFACE *, CK_ULONG *);
IS_TYPE(C_GetInterface, CK_BYTE *, CK_VERSION *, CK_INTERFACE **, CK_FLAGS);
IS_TYPE(C_LoginUser, CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
IS_TYPE(C_EncryptMessage, CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG,
        CK_BYTE *, CK_ULONG *);
IS_TYPE(C_EncryptMessageNext, CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *,
        CK_ULONG *, CK_FLAGS);
IS_TYPE(C_DecryptMessageBegin, CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG);
IS_TYPE(C_SignMessageBegin, CK_ULONG, void *, CK_ULONG);
IS_TYPE(C_VerifyMessageNext, CK_ULONG, void *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
IS_TYPE(C_VerifySignatureInit, CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_BYTE *, CK_ULONG);
IS_TYPE(C_GetSessionValidationFlags, CK_ULONG, CK_ULONG, CK_FLAGS *);
IS_TYPE(C_AsyncJoin, CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
IS_TYPE(C_WrapKeyAuthenticated, CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG,
        CK_BYTE *, CK_ULONG *);
IS_TYPE(C_UnwrapKeyAuthenticated, CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_BYTE *, CK_ULONG,
        CK_ATTRIBUTE *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_OBJECT_HANDLE *);

static const struct header_number ours[] = {
#include "p11kit_names.inc"
};

static void assert_expected(const struct expected *expected, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(expected[i].is.number == expected[i].shall_be, "%s is %#lx, not %#lx",
                      expected[i].is.name, expected[i].is.number, expected[i].shall_be);
}

static const struct header_number *our_number(const char *name)
{
    for (size_t i = 0; i < COUNT(ours); i++) {
        if (strcmp(ours[i].name, name) == 0)
            return &ours[i];
    }
    return NULL;
}

static bool is_departure(const char *name)
{
    for (size_t i = 0; i < COUNT(p11kit_departures); i++) {
        if (strcmp(p11kit_departures[i].is.name, name) == 0)
            return true;
    }
    return false;
}

static bool is_p11kit_own(const char *name)
{
    for (size_t i = 0; i < COUNT(p11kit_own); i++) {
        if (strcmp(p11kit_own[i], name) == 0)
            return true;
    }
    return false;
}

START_TEST(constants_are_those_of_the_standard)
{
    assert_expected(constants, COUNT(constants));
    assert_expected(p11kit_departures, COUNT(p11kit_departures));
}
END_TEST

START_TEST(layouts_are_those_of_the_standard)
{
    assert_expected(layouts, COUNT(layouts));
}
END_TEST

START_TEST(functions_have_the_standards_order)
{
    ck_assert_uint_eq(COUNT(functions), 104);
    for (size_t i = 0; i < COUNT(functions); i++)
        ck_assert_uint_eq(functions[i].number, 8 * (i + 1));
    ck_assert_uint_eq(COUNT(added), 36);
    for (size_t i = 0; i < COUNT(added); i++)
        ck_assert_str_eq(functions[68 + i].name, added[i]);
}
END_TEST

START_TEST(a_newer_table_begins_with_the_older_one)
{
#define SAME_PLACE(name)                                                                          \
    ck_assert_uint_eq(offsetof(CK_FUNCTION_LIST, name), offsetof(CK_FUNCTION_LIST_3_0, name));    \
    ck_assert_uint_eq(offsetof(CK_FUNCTION_LIST, name), offsetof(CK_FUNCTION_LIST_3_2, name));
    CK_FUNCTIONS_2_40(SAME_PLACE)
#undef SAME_PLACE
#define SAME_PLACE(name) \
    ck_assert_uint_eq(offsetof(CK_FUNCTION_LIST_3_0, name), offsetof(CK_FUNCTION_LIST_3_2, name));
    CK_FUNCTIONS_3_0_ADDED(SAME_PLACE)
#undef SAME_PLACE
}
END_TEST

START_TEST(p11kit_agrees_where_it_follows_the_standard)
{
    /* Release 0.24.1 has 690 constants and 179 sizes and offsets; none would prove nothing. */
    ck_assert_uint_ge(p11kit_constants_count, 800);
    for (size_t i = 0; i < p11kit_constants_count; i++) {
        const struct header_number *theirs = &p11kit_constants[i];
        const struct header_number *our = our_number(theirs->name);

        if (is_p11kit_own(theirs->name)) {
            ck_assert_msg(!our, "%s is not the standard's", theirs->name);
            continue;
        }
        ck_assert_msg(our != NULL, "%s is missing", theirs->name);
        if (!is_departure(theirs->name))
            ck_assert_msg(our->number == theirs->number, "%s is %#lx, in p11-kit %#lx",
                          theirs->name, our->number, theirs->number);
    }
}
END_TEST

static const enum indexkey_purpose purposes[] = {
    INDEXKEY_PURPOSE_TOKEN, INDEXKEY_PURPOSE_CENTROID, INDEXKEY_PURPOSE_PAYLOAD,
    INDEXKEY_PURPOSE_ITEM,  INDEXKEY_PURPOSE_QUERY,
};
static const char *const purpose_names[] = {"token", "centroid", "payload", "item", "query"};

START_TEST(a_purpose_has_its_label_and_name)
{
    char label[64];

    ck_assert_uint_eq(COUNT(purposes), INDEXKEY_PURPOSE_COUNT);
    snprintf(label, sizeof(label), "indexkey/1/%s", purpose_names[_i]);
    ck_assert_str_eq(indexkey_label(purposes[_i]), label);
    ck_assert_str_eq(indexkey_purpose_name(purposes[_i]), purpose_names[_i]);
}
END_TEST

START_TEST(a_kdf_serialises_to_the_fixed_input)
{
    struct indexkey_kdf kdf;
    const CK_SP800_108_COUNTER_FORMAT *counter = NULL;
    const CK_SP800_108_DKM_LENGTH_FORMAT *length = NULL;
    const char *label = indexkey_label(purposes[_i]);

    ck_assert_uint_eq(indexkey_kdf_make(purposes[_i], &kdf), CKR_OK);
    ck_assert_uint_eq(kdf.mechanism.mechanism, CKM_SP800_108_COUNTER_KDF);
    ck_assert_ptr_eq(kdf.mechanism.pParameter, &kdf.params);
    ck_assert_uint_eq(kdf.mechanism.ulParameterLen, sizeof(CK_SP800_108_KDF_PARAMS));
    ck_assert_uint_eq(kdf.params.prfType, CKM_SHA256_HMAC);
    ck_assert_uint_eq(kdf.params.ulNumberOfDataParams, 3);
    ck_assert_ptr_eq(kdf.params.pDataParams, kdf.data);
    ck_assert_uint_eq(kdf.params.ulAdditionalDerivedKeys, 0);

    ck_assert_uint_eq(kdf.data[0].type, CK_SP800_108_ITERATION_VARIABLE);
    ck_assert_uint_eq(kdf.data[0].ulValueLen, sizeof(*counter));
    counter = kdf.data[0].pValue;
    ck_assert_uint_eq(counter->ulWidthInBits, 32);
    ck_assert_uint_eq(counter->bLittleEndian, CK_FALSE);

    ck_assert_uint_eq(kdf.data[1].type, CK_SP800_108_BYTE_ARRAY);
    ck_assert_uint_eq(kdf.data[1].ulValueLen, strlen(label) + 1);
    ck_assert_mem_eq(kdf.data[1].pValue, label, strlen(label) + 1);

    ck_assert_uint_eq(kdf.data[2].type, CK_SP800_108_DKM_LENGTH);
    ck_assert_uint_eq(kdf.data[2].ulValueLen, sizeof(*length));
    length = kdf.data[2].pValue;
    ck_assert_uint_eq(length->dkmLengthMethod, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS);
    ck_assert_uint_eq(length->ulWidthInBits, 32);
    ck_assert_uint_eq(length->bLittleEndian, CK_FALSE);
}
END_TEST

static const CK_ATTRIBUTE *attribute_of(const struct indexkey_template *made,
                                        CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < made->count; i++) {
        if (made->attributes[i].type == type)
            return &made->attributes[i];
    }
    return NULL;
}

static void assert_number(const struct indexkey_template *made, CK_ATTRIBUTE_TYPE type,
                          CK_ULONG number)
{
    const CK_ATTRIBUTE *attribute = attribute_of(made, type);

    ck_assert_ptr_nonnull(attribute);
    ck_assert_uint_eq(attribute->ulValueLen, sizeof(number));
    ck_assert_mem_eq(attribute->pValue, &number, sizeof(number));
}

static void assert_bool(const struct indexkey_template *made, CK_ATTRIBUTE_TYPE type,
                        CK_BBOOL value)
{
    const CK_ATTRIBUTE *attribute = attribute_of(made, type);

    ck_assert_ptr_nonnull(attribute);
    ck_assert_uint_eq(attribute->ulValueLen, sizeof(value));
    ck_assert_mem_eq(attribute->pValue, &value, sizeof(value));
}

START_TEST(a_template_asks_for_the_purposes_key)
{
    static const CK_ULONG mechanism_counts[] = {7, 10, 1, 1, 7};
    const bool encrypts = purposes[_i] == INDEXKEY_PURPOSE_PAYLOAD ||
                          purposes[_i] == INDEXKEY_PURPOSE_ITEM;
    struct indexkey_template made;
    const CK_ATTRIBUTE *last = &made.attributes[INDEXKEY_TEMPLATE_COUNT - 1];
    const CK_MECHANISM_TYPE *mechanisms = NULL;
    CK_ULONG count = 0;

    ck_assert_uint_eq(indexkey_template_make(purposes[_i], &made), CKR_OK);
    ck_assert_uint_eq(made.count, INDEXKEY_TEMPLATE_COUNT);
    assert_number(&made, CKA_CLASS, CKO_SECRET_KEY);
    assert_number(&made, CKA_KEY_TYPE, encrypts ? CKK_AES : CKK_GENERIC_SECRET);
    assert_number(&made, CKA_VALUE_LEN, 32);
    assert_bool(&made, CKA_TOKEN, CK_FALSE);
    assert_bool(&made, CKA_PRIVATE, CK_TRUE);
    assert_bool(&made, CKA_SENSITIVE, CK_TRUE);
    assert_bool(&made, CKA_EXTRACTABLE, CK_FALSE);
    assert_bool(&made, encrypts ? CKA_ENCRYPT : CKA_SIGN, CK_TRUE);
    assert_bool(&made, encrypts ? CKA_DECRYPT : CKA_VERIFY, CK_TRUE);

    ck_assert_uint_eq(last->type, CKA_ALLOWED_MECHANISMS);
    ck_assert_uint_eq(last->ulValueLen, mechanism_counts[_i] * sizeof(CK_MECHANISM_TYPE));
    ck_assert_uint_eq(indexkey_mechanisms(purposes[_i], &mechanisms, &count), CKR_OK);
    ck_assert_uint_eq(count, mechanism_counts[_i]);
    ck_assert_mem_eq(last->pValue, mechanisms, last->ulValueLen);
    ck_assert_uint_eq(mechanisms[0] == CKM_AES_GCM, encrypts);
}
END_TEST

START_TEST(a_number_that_is_no_purpose_is_refused)
{
    static const int numbers[] = {0, INDEXKEY_PURPOSE_COUNT + 1};
    const enum indexkey_purpose none = (enum indexkey_purpose)numbers[_i];
    const CK_MECHANISM_TYPE *mechanisms = NULL;
    struct indexkey_template made;
    struct indexkey_kdf kdf;
    CK_ULONG count = 77;

    memset(&kdf, 0x5A, sizeof(kdf));
    memset(&made, 0x5A, sizeof(made));
    ck_assert_ptr_null(indexkey_label(none));
    ck_assert_ptr_null(indexkey_purpose_name(none));
    ck_assert_uint_eq(indexkey_kdf_make(none, &kdf), CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(kdf.mechanism.mechanism, 0x5A5A5A5A5A5A5A5A);
    ck_assert_uint_eq(indexkey_template_make(none, &made), CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(made.count, 0x5A5A5A5A5A5A5A5A);
    ck_assert_uint_eq(indexkey_mechanisms(none, &mechanisms, &count), CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(count, 77);
}
END_TEST

static Suite *suite(void)
{
    Suite *headers = suite_create("cryptoki.h and indexkey.h");
    TCase *numbers = tcase_create("cryptoki.h");
    TCase *purpose = tcase_create("indexkey.h");

    tcase_add_test(numbers, constants_are_those_of_the_standard);
    tcase_add_test(numbers, layouts_are_those_of_the_standard);
    tcase_add_test(numbers, functions_have_the_standards_order);
    tcase_add_test(numbers, a_newer_table_begins_with_the_older_one);
    tcase_add_test(numbers, p11kit_agrees_where_it_follows_the_standard);
    suite_add_tcase(headers, numbers);

    tcase_add_loop_test(purpose, a_purpose_has_its_label_and_name, 0, COUNT(purposes));
    tcase_add_loop_test(purpose, a_kdf_serialises_to_the_fixed_input, 0, COUNT(purposes));
    tcase_add_loop_test(purpose, a_template_asks_for_the_purposes_key, 0, COUNT(purposes));
    tcase_add_loop_test(purpose, a_number_that_is_no_purpose_is_refused, 0, 2);
    suite_add_tcase(headers, purpose);
    return headers;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
