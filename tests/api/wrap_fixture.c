#include "tests/api/wrap_fixture.h"

#include <string.h>

struct api api;

CK_BBOOL yes = CK_TRUE;
CK_BBOOL no = CK_FALSE;
CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
CK_KEY_TYPE aes = CKK_AES;
CK_ULONG len_16 = 16;
CK_ULONG len_32 = 32;
CK_BYTE value[32] = "the value of the key that moves";

CK_MECHANISM key_wrap = {CKM_AES_KEY_WRAP, NULL, 0};
CK_MECHANISM kwp = {CKM_AES_KEY_WRAP_KWP, NULL, 0};

CK_BYTE gcm_iv[12];
static CK_GCM_WRAP_PARAMS gcm_params = {
    .pIv = gcm_iv, .ulIvLen = sizeof(gcm_iv), .ivGenerator = CKG_GENERATE, .ulTagBits = 128};
CK_MECHANISM gcm = {CKM_AES_GCM, &gcm_params, sizeof(gcm_params)};

void open_token(void)
{
    api_open(&api, "memory:", NULL);
}

void close_token(void)
{
    api_close(&api);
}

CK_RV generate(const CK_ATTRIBUTE *more, size_t count, CK_OBJECT_HANDLE *ret_key)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[8] = {{CKA_VALUE_LEN, &len_32, sizeof(len_32)}};

    memcpy(template + 1, more, count * sizeof(*more));
    return api.p11->C_GenerateKey(api.session, &mechanism, template, count + 1, ret_key);
}

CK_OBJECT_HANDLE make_wrapping_key(CK_ATTRIBUTE one)
{
    CK_ATTRIBUTE template[] = {{CKA_WRAP, &yes, 1}, {CKA_UNWRAP, &yes, 1}, one};
    CK_OBJECT_HANDLE key;

    OK(generate(template, COUNT(template), &key));
    return key;
}

const CK_ATTRIBUTE nothing_more = {CKA_LABEL, "W", 1};

CK_RV import(CK_KEY_TYPE *type, CK_ULONG len, CK_ATTRIBUTE one, CK_ATTRIBUTE two,
             CK_OBJECT_HANDLE *ret_key)
{
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &secret_key, sizeof(secret_key)},
        {CKA_KEY_TYPE, type, sizeof(*type)},
        {CKA_VALUE, value, len},
        one,
        two,
    };

    return api.p11->C_CreateObject(api.session, template, COUNT(template), ret_key);
}

const CK_ATTRIBUTE extractable = {CKA_EXTRACTABLE, &yes, 1};
const CK_ATTRIBUTE signs = {CKA_SIGN, &yes, 1};

CK_OBJECT_HANDLE import_mac_key(void)
{
    CK_OBJECT_HANDLE key;

    OK(import(&generic, 32, extractable, signs, &key));
    return key;
}

CK_RV unwrap(const struct wrapped *from, const CK_ATTRIBUTE *more, size_t count,
             CK_OBJECT_HANDLE *ret_key)
{
    CK_ATTRIBUTE template[8] = {{CKA_CLASS, &secret_key, sizeof(secret_key)}};

    memcpy(template + 1, more, count * sizeof(*more));
    return api.p11->C_UnwrapKey(api.session, from->mechanism, from->with, from->blob, from->len,
                                template, count + 1, ret_key);
}

const CK_ATTRIBUTE as_mac_key[2] = {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_SIGN, &yes, 1}};

void expect_flag(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type, CK_BBOOL wanted)
{
    CK_BBOOL found = 2;
    CK_ATTRIBUTE attribute = {type, &found, sizeof(found)};

    OK(api.p11->C_GetAttributeValue(api.session, key, &attribute, 1));
    ck_assert_msg(found == wanted, "attribute 0x%lx is %u", type, found);
}

static void hmac_of(CK_OBJECT_HANDLE key, CK_BYTE mac[32])
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_ULONG len = 32;

    OK(api.p11->C_SignInit(api.session, &mechanism, key));
    OK(api.p11->C_Sign(api.session, value, 5, mac, &len));
}

void expect_same_value(CK_OBJECT_HANDLE one, CK_OBJECT_HANDLE other)
{
    CK_BYTE macs[2][32];

    hmac_of(one, macs[0]);
    hmac_of(other, macs[1]);
    ck_assert_mem_eq(macs[0], macs[1], 32);
}

void expect_wrap(CK_RV wanted, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE with, CK_OBJECT_HANDLE key)
{
    CK_BYTE blob[64] = {0};
    CK_ULONG len = sizeof(blob);

    EXPECT(wanted, api.p11->C_WrapKey(api.session, mechanism, with, key, blob, &len));
    for (size_t i = 0; wanted != CKR_OK && i < sizeof(blob); i++)
        ck_assert_uint_eq(blob[i], 0);
}
