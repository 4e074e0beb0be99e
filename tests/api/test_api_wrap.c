/*
 * C_WrapKey, C_UnwrapKey, C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated: what they make, what
 * each refusal is called, and the rules of the policy (docs/security-model.md) with and without
 * `relax`.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOTHING ((CK_OBJECT_HANDLE) 0xdeadUL)

static struct api api;

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;
static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
static CK_OBJECT_CLASS data = CKO_DATA;
static CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
static CK_KEY_TYPE aes = CKK_AES;
static CK_ULONG len_16 = 16;
static CK_ULONG len_24 = 24;
static CK_ULONG len_32 = 32;
static CK_BYTE value[32] = "the value of the key that moves";
static CK_MECHANISM_TYPE hmac_only = CKM_SHA256_HMAC;
static CK_MECHANISM_TYPE gcm_only = CKM_AES_GCM;

static CK_MECHANISM key_wrap = {CKM_AES_KEY_WRAP, NULL, 0};
static CK_MECHANISM kwp = {CKM_AES_KEY_WRAP_KWP, NULL, 0};

static CK_BYTE gcm_iv[12];
static CK_GCM_WRAP_PARAMS gcm_params = {
    .pIv = gcm_iv, .ulIvLen = sizeof(gcm_iv), .ivGenerator = CKG_GENERATE, .ulTagBits = 128};
static CK_MECHANISM gcm = {CKM_AES_GCM, &gcm_params, sizeof(gcm_params)};

static void open_token(void)
{
    api_open(&api, "memory:", NULL);
}

static void close_token(void)
{
    api_close(&api);
}

/* A session key of 32 bytes, or CKR and NOTHING. */
static CK_RV generate(const CK_ATTRIBUTE *more, size_t count, CK_OBJECT_HANDLE *ret_key)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[8] = {{CKA_VALUE_LEN, &len_32, sizeof(len_32)}};

    memcpy(template + 1, more, count * sizeof(*more));
    return api.p11->C_GenerateKey(api.session, &mechanism, template, count + 1, ret_key);
}

/* A key that wraps and unwraps, with one more attribute. */
static CK_OBJECT_HANDLE make_wrapping_key(CK_ATTRIBUTE one)
{
    CK_ATTRIBUTE template[] = {{CKA_WRAP, &yes, 1}, {CKA_UNWRAP, &yes, 1}, one};
    CK_OBJECT_HANDLE key;

    OK(generate(template, COUNT(template), &key));
    return key;
}

static const CK_ATTRIBUTE nothing_more = {CKA_LABEL, "W", 1};

/* `value` as a session key that may leave, with two more attributes. */
static CK_RV import(CK_KEY_TYPE *type, CK_ULONG len, CK_ATTRIBUTE one, CK_ATTRIBUTE two,
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

static const CK_ATTRIBUTE extractable = {CKA_EXTRACTABLE, &yes, 1};
static const CK_ATTRIBUTE signs = {CKA_SIGN, &yes, 1};

static CK_OBJECT_HANDLE import_mac_key(void)
{
    CK_OBJECT_HANDLE key;

    OK(import(&generic, 32, extractable, signs, &key));
    return key;
}

static CK_RV unwrap(CK_MECHANISM *mechanism, CK_OBJECT_HANDLE with, const CK_BYTE *blob,
                    CK_ULONG len, const CK_ATTRIBUTE *more, size_t count, CK_OBJECT_HANDLE *ret_key)
{
    CK_ATTRIBUTE template[8] = {{CKA_CLASS, &secret_key, sizeof(secret_key)}};

    memcpy(template + 1, more, count * sizeof(*more));
    return api.p11->C_UnwrapKey(api.session, mechanism, with, (CK_BYTE_PTR) (uintptr_t) blob, len,
                                template, count + 1, ret_key);
}

static const CK_ATTRIBUTE as_mac_key[] = {{CKA_KEY_TYPE, &generic, sizeof(generic)},
                                          {CKA_SIGN, &yes, 1}};

static void expect_flag(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type, CK_BBOOL wanted)
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

static void expect_same_value(CK_OBJECT_HANDLE one, CK_OBJECT_HANDLE other)
{
    CK_BYTE macs[2][32];

    hmac_of(one, macs[0]);
    hmac_of(other, macs[1]);
    ck_assert_mem_eq(macs[0], macs[1], 32);
}

static const struct {
    CK_MECHANISM_TYPE type;
    CK_ULONG wrapped_len;
} round_trips[] = {
    {CKM_AES_KEY_WRAP, 40},
    {CKM_AES_KEY_WRAP_PAD, 40},
    {CKM_AES_KEY_WRAP_KWP, 40},
    {CKM_AES_GCM, 48},
};

START_TEST(a_key_leaves_and_comes_back)
{
    CK_MECHANISM plain = {round_trips[_i].type, NULL, 0};
    CK_MECHANISM *mechanism = round_trips[_i].type == CKM_AES_GCM ? &gcm : &plain;
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);
    CK_OBJECT_HANDLE key = import_mac_key();
    CK_OBJECT_HANDLE back;
    CK_BYTE blob[64] = {0};
    CK_ULONG len = 0;

    OK(api.p11->C_WrapKey(api.session, mechanism, with, key, NULL, &len));
    ck_assert_uint_eq(len, round_trips[_i].wrapped_len);
    len--;
    EXPECT(CKR_BUFFER_TOO_SMALL, api.p11->C_WrapKey(api.session, mechanism, with, key, blob, &len));
    ck_assert_uint_eq(len, round_trips[_i].wrapped_len);
    ck_assert_uint_eq(blob[0] | blob[47], 0);
    len = sizeof(blob);
    OK(api.p11->C_WrapKey(api.session, mechanism, with, key, blob, &len));
    ck_assert_uint_eq(len, round_trips[_i].wrapped_len);
    OK(unwrap(mechanism, with, blob, len, as_mac_key, COUNT(as_mac_key), &back));
    expect_same_value(key, back);
    expect_flag(back, CKA_SENSITIVE, CK_TRUE);
    expect_flag(back, CKA_EXTRACTABLE, CK_TRUE);
    expect_flag(back, CKA_LOCAL, CK_FALSE);
    expect_flag(back, CKA_ALWAYS_SENSITIVE, CK_FALSE);
    expect_flag(back, CKA_NEVER_EXTRACTABLE, CK_FALSE);
    expect_flag(back, CKA_TOKEN, CK_FALSE);
    blob[3] ^= 1;
    EXPECT(CKR_WRAPPED_KEY_INVALID,
           unwrap(mechanism, with, blob, len, as_mac_key, COUNT(as_mac_key), &back));
    EXPECT(CKR_WRAPPED_KEY_LEN_RANGE,
           unwrap(mechanism, with, blob, 9, as_mac_key, COUNT(as_mac_key), &back));
}
END_TEST

START_TEST(authenticated_data_is_bound)
{
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);
    CK_OBJECT_HANDLE key = import_mac_key();
    CK_OBJECT_HANDLE back = NOTHING;
    CK_ATTRIBUTE template[] = {as_mac_key[0], as_mac_key[1]};
    CK_BYTE bound[] = "to whom";
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    OK(api.p11->C_WrapKeyAuthenticated(api.session, &gcm, with, key, bound, 7, blob, &len));
    ck_assert_uint_eq(len, 48);
    EXPECT(CKR_WRAPPED_KEY_INVALID,
           api.p11->C_UnwrapKeyAuthenticated(api.session, &gcm, with, blob, len, template, 2, bound,
                                             6, &back));
    EXPECT(CKR_WRAPPED_KEY_INVALID,
           api.p11->C_UnwrapKey(api.session, &gcm, with, blob, len, template, 2, &back));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_UnwrapKeyAuthenticated(api.session, &gcm, with, blob, len,
                                                                template, 2, NULL, 7, &back));
    ck_assert_uint_eq(back, NOTHING);
    OK(api.p11->C_UnwrapKeyAuthenticated(api.session, &gcm, with, blob, len, template, 2, bound, 7,
                                         &back));
    expect_same_value(key, back);
    EXPECT(CKR_MECHANISM_INVALID,
           api.p11->C_WrapKeyAuthenticated(api.session, &key_wrap, with, key, NULL, 0, blob, &len));
    EXPECT(CKR_MECHANISM_INVALID,
           api.p11->C_UnwrapKeyAuthenticated(api.session, &kwp, with, blob, len, template, 2, NULL,
                                             0, &back));
}
END_TEST

static void expect_wrap(CK_RV wanted, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE with,
                        CK_OBJECT_HANDLE key)
{
    CK_BYTE blob[64] = {0};
    CK_ULONG len = sizeof(blob);

    EXPECT(wanted, api.p11->C_WrapKey(api.session, mechanism, with, key, blob, &len));
    for (size_t i = 0; wanted != CKR_OK && i < sizeof(blob); i++)
        ck_assert_uint_eq(blob[i], 0);
}

START_TEST(refusals_of_wrapping)
{
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);
    CK_OBJECT_HANDLE key = import_mac_key();
    CK_MECHANISM unknown = {CKM_AES_CBC_PAD, NULL, 0};
    CK_MECHANISM bad_iv = {CKM_AES_KEY_WRAP, value, 7};
    CK_ATTRIBUTE class = {CKA_CLASS, &data, sizeof(data)};
    CK_OBJECT_HANDLE other;
    CK_ULONG len = 64;

    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_WrapKey(api.session, NULL, with, key, NULL, &len));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_WrapKey(api.session, &kwp, with, key, NULL, NULL));
    EXPECT(CKR_SESSION_HANDLE_INVALID, api.p11->C_WrapKey(77, &kwp, with, key, NULL, &len));
    expect_wrap(CKR_MECHANISM_INVALID, &unknown, with, key);
    expect_wrap(CKR_MECHANISM_PARAM_INVALID, &bad_iv, with, key);
    expect_wrap(CKR_WRAPPING_KEY_HANDLE_INVALID, &kwp, 0, key);
    expect_wrap(CKR_WRAPPING_KEY_TYPE_INCONSISTENT, &kwp, key, key);
    OK(generate(NULL, 0, &other));
    expect_wrap(CKR_KEY_FUNCTION_NOT_PERMITTED, &kwp, other, key);
    expect_wrap(CKR_KEY_HANDLE_INVALID, &kwp, with, 0);
    OK(api.p11->C_CreateObject(api.session, &class, 1, &other));
    expect_wrap(CKR_KEY_HANDLE_INVALID, &kwp, with, other);
    OK(import(&generic, 32, (CK_ATTRIBUTE){CKA_EXTRACTABLE, &no, 1}, signs, &other));
    expect_wrap(CKR_KEY_UNEXTRACTABLE, &kwp, with, other);
    OK(import(&generic, 17, extractable, signs, &other));
    expect_wrap(CKR_KEY_SIZE_RANGE, &key_wrap, with, other);
    expect_wrap(CKR_OK, &kwp, with, other);
    expect_wrap(CKR_KEY_FUNCTION_NOT_PERMITTED, &gcm, with, other); /* another family */
    OK(import(&generic, 32, extractable, (CK_ATTRIBUTE){CKA_WRAP_WITH_TRUSTED, &yes, 1}, &other));
    expect_wrap(CKR_KEY_NOT_WRAPPABLE, &kwp, with, other);
    other = make_wrapping_key((CK_ATTRIBUTE){CKA_ALLOWED_MECHANISMS, &gcm_only, sizeof(gcm_only)});
    expect_wrap(CKR_MECHANISM_INVALID, &kwp, other, key);
    OK(api.p11->C_Logout(api.session));
    EXPECT(CKR_WRAPPING_KEY_HANDLE_INVALID,
           api.p11->C_WrapKey(api.session, &kwp, with, key, NULL, &len));
}
END_TEST

static const struct {
    CK_RV wanted;
    CK_ATTRIBUTE more[3];
    size_t count;
} unwrap_templates[] = {
    {CKR_TEMPLATE_INCOMPLETE, {{CKA_SIGN, &yes, 1}}, 1},
    {CKR_TEMPLATE_INCONSISTENT, {{CKA_CLASS, &data, sizeof(data)}}, 1},
    {CKR_ATTRIBUTE_READ_ONLY,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_VALUE, value, 32}},
     2},
    {CKR_ATTRIBUTE_READ_ONLY,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_TRUSTED, &yes, 1}},
     2},
    {CKR_TEMPLATE_INCONSISTENT,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_VALUE_LEN, &len_16, sizeof(len_16)}},
     2},
    {CKR_OK,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_VALUE_LEN, &len_24, sizeof(len_24)}},
     2},
    {CKR_OK, {{CKA_KEY_TYPE, &aes, sizeof(aes)}}, 1},
    {CKR_ATTRIBUTE_VALUE_INVALID,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_CHECK_VALUE, value, 3}},
     2},
    /* Rules of the policy: unwrapped-keys-are-sensitive, -do-not-wrap, -do-not-derive,
     * unwrap-excludes-encrypt, openers-stay-inside. */
    {CKR_TEMPLATE_INCONSISTENT,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_SENSITIVE, &no, 1}},
     2},
    {CKR_TEMPLATE_INCONSISTENT,
     {{CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_WRAP, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}},
     3},
    {CKR_TEMPLATE_INCONSISTENT,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_DERIVE, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}},
     3},
    {CKR_TEMPLATE_INCONSISTENT,
     {{CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_UNWRAP, &yes, 1}, {CKA_ENCRYPT, &yes, 1}},
     3},
    {CKR_TEMPLATE_INCONSISTENT, {{CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_UNWRAP, &yes, 1}}, 2},
    {CKR_OK,
     {{CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_UNWRAP, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}},
     3},
};

START_TEST(templates_of_unwrapping)
{
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);
    CK_OBJECT_HANDLE key;
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    OK(import(&aes, 24, extractable, nothing_more, &key));
    OK(api.p11->C_WrapKey(api.session, &kwp, with, key, blob, &len));
    for (size_t i = 0; i < COUNT(unwrap_templates); i++) {
        CK_ULONG before = api_count(&api, NULL, 0);
        CK_OBJECT_HANDLE back = NOTHING;
        CK_RV rv = unwrap(&kwp, with, blob, len, unwrap_templates[i].more,
                          unwrap_templates[i].count, &back);
        ck_assert_msg(rv == unwrap_templates[i].wanted, "row %zu: 0x%lx", i, rv);
        ck_assert_msg((back == NOTHING) == (rv != CKR_OK), "row %zu", i);
        ck_assert_uint_eq(api_count(&api, NULL, 0), before + (rv == CKR_OK ? 1 : 0));
    }
}
END_TEST

START_TEST(refusals_of_unwrapping)
{
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);
    CK_OBJECT_HANDLE key = import_mac_key();
    CK_MECHANISM unknown = {CKM_AES_CBC, NULL, 0};
    CK_ATTRIBUTE as_aes = {CKA_KEY_TYPE, &aes, sizeof(aes)};
    CK_ATTRIBUTE template[] = {as_mac_key[0], as_mac_key[1]};
    CK_OBJECT_HANDLE other;
    CK_OBJECT_HANDLE out = NOTHING;
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    OK(api.p11->C_WrapKey(api.session, &kwp, with, key, blob, &len));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_UnwrapKey(api.session, NULL, with, blob, len, template, 2, &out));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_UnwrapKey(api.session, &kwp, with, NULL, len, template, 2, &out));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_UnwrapKey(api.session, &kwp, with, blob, len, NULL, 2, &out));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_UnwrapKey(api.session, &kwp, with, blob, len, template, 2, NULL));
    EXPECT(CKR_MECHANISM_INVALID, unwrap(&unknown, with, blob, len, template, 2, &out));
    EXPECT(CKR_UNWRAPPING_KEY_HANDLE_INVALID, unwrap(&kwp, 0, blob, len, template, 2, &out));
    EXPECT(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, unwrap(&kwp, key, blob, len, template, 2, &out));
    OK(generate(NULL, 0, &other));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, unwrap(&kwp, other, blob, len, template, 2, &out));
    EXPECT(CKR_WRAPPED_KEY_INVALID, unwrap(&key_wrap, with, blob, len, template, 2, &out));
    EXPECT(CKR_MECHANISM_INVALID, unwrap(&kwp,
                                         make_wrapping_key((CK_ATTRIBUTE){
                                             CKA_ALLOWED_MECHANISMS, &gcm_only, sizeof(gcm_only)}),
                                         blob, len, template, 2, &out));
    OK(import(&generic, 17, extractable, signs, &other));
    len = sizeof(blob);
    OK(api.p11->C_WrapKey(api.session, &kwp, with, other, blob, &len));
    EXPECT(CKR_WRAPPED_KEY_INVALID, unwrap(&kwp, with, blob, len, &as_aes, 1, &out));
    ck_assert_uint_eq(out, NOTHING);
}
END_TEST

START_TEST(wrap_template_says_which_keys_leave)
{
    CK_ATTRIBUTE inner[] = {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_SIGN, &yes, 1}};
    CK_OBJECT_HANDLE with =
        make_wrapping_key((CK_ATTRIBUTE){CKA_WRAP_TEMPLATE, inner, sizeof(inner)});
    CK_OBJECT_HANDLE other;

    expect_wrap(CKR_OK, &kwp, with, import_mac_key());
    OK(import(&aes, 32, extractable, nothing_more, &other));
    expect_wrap(CKR_KEY_NOT_WRAPPABLE, &kwp, with, other);
}
END_TEST

START_TEST(unwrap_template_is_imposed)
{
    CK_ATTRIBUTE inner[] = {
        {CKA_KEY_TYPE, &generic, sizeof(generic)},
        {CKA_SIGN, &yes, 1},
        {CKA_EXTRACTABLE, &no, 1},
        {CKA_LOCAL, &no, 1},
        {CKA_ALLOWED_MECHANISMS, &hmac_only, sizeof(hmac_only)},
    };
    CK_ATTRIBUTE against[] = {{CKA_EXTRACTABLE, &yes, 1}};
    CK_ATTRIBUTE besides[] = {{CKA_VERIFY, &yes, 1}, {CKA_SIGN, &yes, 1}};
    CK_OBJECT_HANDLE with =
        make_wrapping_key((CK_ATTRIBUTE){CKA_UNWRAP_TEMPLATE, inner, sizeof(inner)});
    CK_OBJECT_HANDLE back = NOTHING;
    CK_MECHANISM_TYPE allowed = 0;
    CK_ATTRIBUTE list = {CKA_ALLOWED_MECHANISMS, &allowed, sizeof(allowed)};
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    OK(api.p11->C_WrapKey(api.session, &kwp, with, import_mac_key(), blob, &len));
    EXPECT(CKR_TEMPLATE_INCONSISTENT, unwrap(&kwp, with, blob, len, against, 1, &back));
    ck_assert_uint_eq(back, NOTHING);
    OK(unwrap(&kwp, with, blob, len, besides, 2, &back));
    expect_flag(back, CKA_SIGN, CK_TRUE);
    expect_flag(back, CKA_VERIFY, CK_TRUE);
    expect_flag(back, CKA_EXTRACTABLE, CK_FALSE);
    OK(api.p11->C_GetAttributeValue(api.session, back, &list, 1));
    ck_assert_uint_eq(allowed, CKM_SHA256_HMAC);
    inner[3].pValue = &yes; /* no unwrapped key is local */
    with = make_wrapping_key((CK_ATTRIBUTE){CKA_UNWRAP_TEMPLATE, inner, sizeof(inner)});
    EXPECT(CKR_TEMPLATE_INCONSISTENT, unwrap(&kwp, with, blob, len, besides, 2, &back));
}
END_TEST

START_TEST(derive_template_is_imposed)
{
    CK_ATTRIBUTE inner[] = {{CKA_SIGN, &yes, 1}, {CKA_VALUE_LEN, &len_32, sizeof(len_32)}};
    CK_ATTRIBUTE against[] = {{CKA_VALUE_LEN, &len_16, sizeof(len_16)}};
    CK_HKDF_PARAMS hkdf = {
        .bExpand = CK_TRUE, .prfHashMechanism = CKM_SHA256, .ulSaltType = CKF_HKDF_SALT_NULL};
    CK_MECHANISM mechanism = {CKM_HKDF_DERIVE, &hkdf, sizeof(hkdf)};
    CK_OBJECT_HANDLE base;
    CK_OBJECT_HANDLE key = NOTHING;

    OK(import(&generic, 32, (CK_ATTRIBUTE){CKA_DERIVE, &yes, 1},
              (CK_ATTRIBUTE){CKA_DERIVE_TEMPLATE, inner, sizeof(inner)}, &base));
    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           api.p11->C_DeriveKey(api.session, &mechanism, base, against, 1, &key));
    ck_assert_uint_eq(key, NOTHING);
    OK(api.p11->C_DeriveKey(api.session, &mechanism, base, NULL, 0, &key));
    expect_flag(key, CKA_SIGN, CK_TRUE);
}
END_TEST

static const struct {
    const char *name;
    CK_ATTRIBUTE more[3];
    size_t count;
} mixed_roles[] = {
    {"wrap-excludes-decrypt", {{CKA_WRAP, &yes, 1}, {CKA_DECRYPT, &yes, 1}}, 2},
    {"wrap-excludes-encrypt", {{CKA_WRAP, &yes, 1}, {CKA_ENCRYPT, &yes, 1}}, 2},
    {"unwrap-excludes-encrypt", {{CKA_UNWRAP, &yes, 1}, {CKA_ENCRYPT, &yes, 1}}, 2},
    {"openers-stay-inside", {{CKA_WRAP, &yes, 1}, {CKA_EXTRACTABLE, &yes, 1}}, 2},
    {"openers-stay-inside", {{CKA_UNWRAP, &yes, 1}, {CKA_EXTRACTABLE, &yes, 1}}, 2},
    {"openers-stay-inside", {{CKA_DERIVE, &yes, 1}, {CKA_EXTRACTABLE, &yes, 1}}, 2},
    {"known-keys-do-not-wrap", {{CKA_WRAP, &yes, 1}, {CKA_SENSITIVE, &no, 1}}, 2},
    {"token-keys-are-sensitive", {{CKA_TOKEN, &yes, 1}, {CKA_EXTRACTABLE, &yes, 1}}, 2},
};

START_TEST(roles_that_do_not_go_together)
{
    CK_OBJECT_HANDLE key = NOTHING;

    for (size_t i = 0; i < COUNT(mixed_roles); i++) {
        api_expect(generate(mixed_roles[i].more, mixed_roles[i].count, &key),
                   CKR_TEMPLATE_INCONSISTENT, mixed_roles[i].name);
        ck_assert_uint_eq(key, NOTHING);
    }
}
END_TEST

START_TEST(known_keys_do_not_wrap)
{
    CK_HKDF_PARAMS hkdf = {
        .bExpand = CK_TRUE, .prfHashMechanism = CKM_SHA256, .ulSaltType = CKF_HKDF_SALT_NULL};
    CK_MECHANISM mechanism = {CKM_HKDF_DERIVE, &hkdf, sizeof(hkdf)};
    CK_ATTRIBUTE template[] = {{CKA_KEY_TYPE, &aes, sizeof(aes)},
                               {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
                               {CKA_WRAP, &yes, 1}};
    CK_ATTRIBUTE derives[] = {{CKA_DERIVE, &yes, 1}};
    CK_OBJECT_HANDLE base;
    CK_OBJECT_HANDLE key = NOTHING;

    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           import(&aes, 32, (CK_ATTRIBUTE){CKA_WRAP, &yes, 1}, nothing_more, &key));
    /* Derived a second time, it could decrypt. */
    CK_MECHANISM make = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE base_template[] = {derives[0], {CKA_VALUE_LEN, &len_32, sizeof(len_32)}};
    OK(api.p11->C_GenerateKey(api.session, &make, base_template, 2, &base));
    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           api.p11->C_DeriveKey(api.session, &mechanism, base, template, 3, &key));
    ck_assert_uint_eq(key, NOTHING);
    OK(api.p11->C_DeriveKey(api.session, &mechanism, base, template, 2, &key));
}
END_TEST

START_TEST(a_weaker_key_does_not_wrap)
{
    CK_MECHANISM make = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &len_16, sizeof(len_16)}, {CKA_WRAP, &yes, 1}};
    CK_OBJECT_HANDLE with;
    CK_OBJECT_HANDLE short_key;

    OK(api.p11->C_GenerateKey(api.session, &make, template, 2, &with));
    expect_wrap(CKR_WRAPPING_KEY_SIZE_RANGE, &kwp, with, import_mac_key());
    OK(import(&generic, 16, extractable, signs, &short_key));
    expect_wrap(CKR_OK, &kwp, with, short_key);
}
END_TEST

START_TEST(a_gcm_wrapping_has_no_iv_of_the_callers)
{
    CK_GCM_PARAMS plain = {.pIv = gcm_iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM with_plain = {CKM_AES_GCM, &plain, sizeof(plain)};
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);

    expect_wrap(CKR_MECHANISM_PARAM_INVALID, &with_plain, with, import_mac_key());
}
END_TEST

/* What `relax` gives up, and what the rule is there for: one IV, two keys, one of them known. */
START_TEST(relaxed_ivs_give_keys_away)
{
    CK_GCM_PARAMS plain = {.pIv = gcm_iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM with_plain = {CKM_AES_GCM, &plain, sizeof(plain)};
    CK_ATTRIBUTE leaves[] = {extractable};
    CK_OBJECT_HANDLE with;
    CK_OBJECT_HANDLE keys[2];
    CK_BYTE blobs[2][64];
    CK_BYTE found[32];
    CK_OBJECT_HANDLE found_key;

    api_open(&api, "memory:", "relax = wrapping-ivs-are-fresh");
    with = make_wrapping_key(nothing_more);
    keys[0] = import_mac_key();
    CK_MECHANISM make = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {leaves[0], signs, {CKA_VALUE_LEN, &len_32, sizeof(len_32)}};
    OK(api.p11->C_GenerateKey(api.session, &make, template, 3, &keys[1]));
    for (size_t i = 0; i < 2; i++) {
        CK_ULONG len = sizeof(blobs[i]);
        OK(api.p11->C_WrapKey(api.session, &with_plain, with, keys[i], blobs[i], &len));
    }
    for (size_t i = 0; i < sizeof(found); i++)
        found[i] = (CK_BYTE) (blobs[0][i] ^ blobs[1][i] ^ value[i]);
    CK_ATTRIBUTE known[] = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                            {CKA_KEY_TYPE, &generic, sizeof(generic)},
                            {CKA_VALUE, found, sizeof(found)},
                            signs};
    OK(api.p11->C_CreateObject(api.session, known, COUNT(known), &found_key));
    expect_same_value(keys[1], found_key);
    api_close(&api);
}
END_TEST

START_TEST(relaxed_known_keys_wrap)
{
    CK_ATTRIBUTE as_wrapping[] = {
        {CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_WRAP, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}};
    CK_OBJECT_HANDLE with;
    CK_OBJECT_HANDLE out = NOTHING;
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    api_open(&api, "memory:", "relax = known-keys-do-not-wrap wrapped-under-as-strong");
    OK(import(&aes, 16, (CK_ATTRIBUTE){CKA_WRAP, &yes, 1}, (CK_ATTRIBUTE){CKA_UNWRAP, &yes, 1},
              &with));
    OK(api.p11->C_WrapKey(api.session, &kwp, with, import_mac_key(), blob, &len));
    /* Never relaxed: the blob of a data key comes back as a wrapping key. */
    EXPECT(CKR_TEMPLATE_INCONSISTENT, unwrap(&kwp, with, blob, len, as_wrapping, 3, &out));
    ck_assert_uint_eq(out, NOTHING);
    api_close(&api);
}
END_TEST

START_TEST(relaxed_token_keys_leave)
{
    CK_MECHANISM make = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_TOKEN, &yes, 1},
                               {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
                               {CKA_LABEL, "leaves", 6},
                               signs,
                               {CKA_EXTRACTABLE, &yes, 1}};
    CK_ATTRIBUTE as_token[] = {as_mac_key[0], as_mac_key[1], {CKA_TOKEN, &yes, 1}};
    CK_OBJECT_HANDLE key;
    CK_OBJECT_HANDLE back;
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    api_open(&api, NULL, "relax = token-keys-stay-inside");
    OK(api.p11->C_GenerateKey(api.session, &make, template, 5, &key));
    api_restart(&api);
    key = api_find(&api, "leaves");
    expect_flag(key, CKA_EXTRACTABLE, CK_TRUE);
    expect_flag(key, CKA_SENSITIVE, CK_TRUE);
    expect_flag(key, CKA_PRIVATE, CK_TRUE);
    CK_OBJECT_HANDLE with = make_wrapping_key((CK_ATTRIBUTE){CKA_TOKEN, &yes, 1});
    OK(api.p11->C_WrapKey(api.session, &kwp, with, key, blob, &len));
    OK(unwrap(&kwp, with, blob, len, as_token, 3, &back));
    expect_same_value(key, back);
    expect_flag(back, CKA_EXTRACTABLE, CK_FALSE); /* it was not asked for by name */
    /* An index key derives: it stays. */
    template[3] = (CK_ATTRIBUTE){CKA_DERIVE, &yes, 1};
    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           api.p11->C_GenerateKey(api.session, &make, template, 5, &key));
    template[4] = (CK_ATTRIBUTE){CKA_DERIVE, &yes, 1};
    OK(api.p11->C_GenerateKey(api.session, &make, template, 5, &key));
    expect_wrap(CKR_KEY_UNEXTRACTABLE, &kwp, with, key);
    api_close(&api);
}
END_TEST

/* 32 generic bytes that come in wrapped may have signed elsewhere: no index key is made of them. */
START_TEST(no_index_key_comes_in_wrapped)
{
    CK_ATTRIBUTE as_token[] = {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_TOKEN, &yes, 1}};
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);
    CK_OBJECT_HANDLE back;
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    OK(api.p11->C_WrapKey(api.session, &kwp, with, import_mac_key(), blob, &len));
    OK(unwrap(&kwp, with, blob, len, as_token, 2, &back));
    expect_flag(back, CKA_DERIVE, CK_FALSE);
    expect_flag(back, CKA_EXTRACTABLE, CK_FALSE);
}
END_TEST

static Suite *suite(void)
{
    Suite *all = suite_create("wrap");
    TCase *tests = tcase_create("default policy");
    TCase *relaxed = tcase_create("relaxed");

    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_loop_test(tests, a_key_leaves_and_comes_back, 0, COUNT(round_trips));
    tcase_add_test(tests, authenticated_data_is_bound);
    tcase_add_test(tests, refusals_of_wrapping);
    tcase_add_test(tests, templates_of_unwrapping);
    tcase_add_test(tests, refusals_of_unwrapping);
    tcase_add_test(tests, wrap_template_says_which_keys_leave);
    tcase_add_test(tests, unwrap_template_is_imposed);
    tcase_add_test(tests, derive_template_is_imposed);
    tcase_add_test(tests, roles_that_do_not_go_together);
    tcase_add_test(tests, known_keys_do_not_wrap);
    tcase_add_test(tests, a_weaker_key_does_not_wrap);
    tcase_add_test(tests, a_gcm_wrapping_has_no_iv_of_the_callers);
    tcase_add_test(tests, no_index_key_comes_in_wrapped);
    suite_add_tcase(all, tests);
    tcase_add_test(relaxed, relaxed_ivs_give_keys_away);
    tcase_add_test(relaxed, relaxed_known_keys_wrap);
    tcase_add_test(relaxed, relaxed_token_keys_leave);
    suite_add_tcase(all, relaxed);
    return all;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());

    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
