/*
 * What the configuration allows, for a token and for single keys: each of its keys refused and
 * allowed. The module is part of the program, so that the test sets the clock: it begins on a
 * Monday at noon.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "include/indexkey.h"
#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)
#define WEEK_MS (7 * DAY_MS)
/* 1 January 1970 was a Thursday. */
#define MONDAY_NOON_MS (4 * DAY_MS + 12 * HOUR_MS)

static struct api api;
static int64_t noon_shift;

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;
static CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
static CK_KEY_TYPE aes = CKK_AES;
static CK_ULONG len_32 = 32;

static void set_clock(void)
{
    int64_t in_week = (clock_utc_s() * 1000 - MONDAY_NOON_MS) % WEEK_MS;

    noon_shift = WEEK_MS - in_week;
    clock_shift(noon_shift);
}

static void reset_clock(void)
{
    clock_shift(0);
}

static CK_OBJECT_HANDLE make_key(const char *label, CK_KEY_TYPE type, CK_ATTRIBUTE_TYPE use,
                                 CK_ATTRIBUTE_TYPE other_use)
{
    CK_MECHANISM mechanism = {type == CKK_AES ? CKM_AES_KEY_GEN : CKM_GENERIC_SECRET_KEY_GEN, NULL,
                              0};
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
        {CKA_LABEL, (void *) label, strlen(label)},
        {use, &yes, sizeof(yes)},
        {other_use, &yes, sizeof(yes)},
    };
    CK_OBJECT_HANDLE key;

    OK(api.p11->C_GenerateKey(api.session, &mechanism, template, COUNT(template), &key));
    return key;
}

static CK_RV encrypt(CK_OBJECT_HANDLE key)
{
    static CK_BYTE iv[12] = "a fixed iv..";
    CK_GCM_PARAMS gcm = {iv, sizeof(iv), 96, NULL, 0, 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    CK_BYTE in[16] = {0};
    CK_BYTE out[32];
    CK_ULONG len = sizeof(out);

    iv[0]++;
    CK_RV rv = api.p11->C_EncryptInit(api.session, &mechanism, key);
    return rv == CKR_OK ? api.p11->C_Encrypt(api.session, in, sizeof(in), out, &len) : rv;
}

static CK_RV sign(CK_OBJECT_HANDLE key, CK_MECHANISM_TYPE type)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_BYTE out[64];
    CK_ULONG len = sizeof(out);
    CK_RV rv = api.p11->C_SignInit(api.session, &mechanism, key);

    return rv == CKR_OK ? api.p11->C_Sign(api.session, out, 16, out, &len) : rv;
}

static void expect_log(const char *words)
{
    char *log = api_log(&api);

    ck_assert_msg(strstr(log, words) != NULL, "no '%s' in the log:\n%s", words, log);
    free(log);
}

static CK_OBJECT_HANDLE find_or_none(const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};

    return api_count(&api, &template, 1) == 0 ? CK_INVALID_HANDLE : api_find(&api, label);
}

/* ---- mechanisms ---- */

START_TEST(a_token_has_the_mechanisms_that_are_named)
{
    static const CK_MECHANISM_TYPE wanted[] = {CKM_SHA256, CKM_AES_KEY_GEN, CKM_AES_GCM};
    CK_MECHANISM_TYPE list[8];
    CK_ULONG count = COUNT(list);
    CK_MECHANISM_INFO info;
    CK_MECHANISM other = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_MECHANISM digest = {CKM_SHA512, NULL, 0};
    CK_BYTE iv[16] = {0};
    CK_MECHANISM cbc = {CKM_AES_CBC, iv, sizeof(iv)};
    CK_OBJECT_HANDLE key;

    api_open(&api, "memory:", "allowed_mechanisms = CKM_AES_GCM CKM_AES_KEY_GEN CKM_SHA256\n");
    OK(api.p11->C_GetMechanismList(api.slot, list, &count));
    ck_assert_uint_eq(count, COUNT(wanted));
    ck_assert_mem_eq(list, wanted, sizeof(wanted));
    OK(api.p11->C_GetMechanismInfo(api.slot, CKM_AES_GCM, &info));
    EXPECT(CKR_MECHANISM_INVALID, api.p11->C_GetMechanismInfo(api.slot, CKM_AES_CBC, &info));
    EXPECT(CKR_MECHANISM_INVALID, api.p11->C_GenerateKey(api.session, &other, NULL, 0, &key));
    EXPECT(CKR_MECHANISM_INVALID, api.p11->C_DigestInit(api.session, &digest));
    digest.mechanism = CKM_SHA256;
    OK(api.p11->C_DigestInit(api.session, &digest));
    key = api_make_aes_key(&api, true, "a");
    OK(encrypt(key));
    EXPECT(CKR_MECHANISM_INVALID, api.p11->C_EncryptInit(api.session, &cbc, key));
    api_close(&api);
}
END_TEST

START_TEST(a_key_has_the_mechanisms_that_are_named)
{
    api_open(&api, "memory:",
             "[policy p]\ntoken = test\nkeys = pay-*\nallowed_mechanisms = CKM_SHA256_HMAC\n");
    CK_OBJECT_HANDLE key = make_key("pay-1", CKK_GENERIC_SECRET, CKA_SIGN, CKA_VERIFY);
    CK_OBJECT_HANDLE other = make_key("other", CKK_GENERIC_SECRET, CKA_SIGN, CKA_VERIFY);
    OK(sign(key, CKM_SHA256_HMAC));
    EXPECT(CKR_MECHANISM_INVALID, sign(key, CKM_SHA512_HMAC));
    expect_log("key-mechanisms-are-allowed: key 'pay-1': CKM_SHA512_HMAC");
    OK(sign(other, CKM_SHA512_HMAC));
    api_close(&api);
}
END_TEST

/* ---- derivations ---- */

static CK_RV derive_purpose(CK_OBJECT_HANDLE base, enum indexkey_purpose purpose)
{
    struct indexkey_kdf kdf;
    CK_MECHANISM mechanism;
    CK_ATTRIBUTE template[] = {
        {CKA_KEY_TYPE, purpose == INDEXKEY_PURPOSE_PAYLOAD ? &aes : &generic, sizeof(aes)},
        {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_EXTRACTABLE, &no, sizeof(no)},
        {purpose == INDEXKEY_PURPOSE_PAYLOAD ? CKA_ENCRYPT : CKA_SIGN, &yes, sizeof(yes)},
    };
    CK_OBJECT_HANDLE key;

    OK(indexkey_kdf_make(purpose, &kdf));
    mechanism = kdf.mechanism;
    return api.p11->C_DeriveKey(api.session, &mechanism, base, template, COUNT(template), &key);
}

START_TEST(purposes_that_are_not_allowed_are_not_there)
{
    api_open(&api,
             "memory:", "[policy p]\ntoken = test\nkeys = mac\nallowed_purposes = token query\n");
    CK_OBJECT_HANDLE key = api_make_index_key(&api, "mac", 1);
    CK_OBJECT_HANDLE other = api_make_index_key(&api, "all", 2);
    ck_assert_uint_ne(find_or_none("mac/token"), CK_INVALID_HANDLE);
    ck_assert_uint_eq(find_or_none("mac/payload"), CK_INVALID_HANDLE);
    ck_assert_uint_ne(find_or_none("all/payload"), CK_INVALID_HANDLE);
    /* Nor by its handle, whose low bits are the purpose. */
    EXPECT(CKR_KEY_HANDLE_INVALID, encrypt(key | INDEXKEY_PURPOSE_PAYLOAD));
    OK(derive_purpose(key, INDEXKEY_PURPOSE_TOKEN));
    EXPECT(CKR_MECHANISM_PARAM_INVALID, derive_purpose(key, INDEXKEY_PURPOSE_PAYLOAD));
    expect_log("purposes-are-allowed");
    OK(derive_purpose(other, INDEXKEY_PURPOSE_PAYLOAD));
    api_close(&api);
}
END_TEST

static CK_OBJECT_HANDLE make_base(const char *label)
{
    static CK_MECHANISM_TYPE allowed[] = {CKM_HKDF_DERIVE, CKM_SP800_108_COUNTER_KDF,
                                          CKM_SHA256_KEY_DERIVATION};
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
        {CKA_LABEL, (void *) label, strlen(label)},
        {CKA_DERIVE, &yes, sizeof(yes)},
        {CKA_ALLOWED_MECHANISMS, allowed, sizeof(allowed)},
    };
    CK_OBJECT_HANDLE key;

    OK(api.p11->C_GenerateKey(api.session, &mechanism, template, COUNT(template), &key));
    return key;
}

static CK_RV derive(CK_OBJECT_HANDLE base, CK_MECHANISM mechanism)
{
    CK_ATTRIBUTE template[] = {
        {CKA_KEY_TYPE, &aes, sizeof(aes)},  {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
        {CKA_SENSITIVE, &yes, sizeof(yes)}, {CKA_EXTRACTABLE, &no, sizeof(no)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},
    };
    CK_OBJECT_HANDLE key;

    return api.p11->C_DeriveKey(api.session, &mechanism, base, template, COUNT(template), &key);
}

static CK_RV hkdf(CK_OBJECT_HANDLE base, const char *info)
{
    CK_HKDF_PARAMS params = {
        .bExtract = CK_TRUE,
        .bExpand = info != NULL,
        .prfHashMechanism = CKM_SHA256,
        .ulSaltType = CKF_HKDF_SALT_NULL,
        .pInfo = (CK_BYTE *) info,
        .ulInfoLen = info == NULL ? 0 : strlen(info),
    };

    return derive(base, (CK_MECHANISM){CKM_HKDF_DERIVE, &params, sizeof(params)});
}

/* A counter of `counter_bits`, then the bytes as they stand. */
static CK_RV counter_kdf(CK_OBJECT_HANDLE base, CK_ULONG counter_bits, const char *bytes,
                         size_t len)
{
    CK_SP800_108_COUNTER_FORMAT counter = {CK_FALSE, counter_bits};
    CK_PRF_DATA_PARAM data[] = {
        {CK_SP800_108_ITERATION_VARIABLE, &counter, sizeof(counter)},
        {CK_SP800_108_BYTE_ARRAY, (void *) bytes, len},
    };
    CK_SP800_108_KDF_PARAMS params = {CKM_SHA256_HMAC, 2, data, 0, NULL};

    return derive(base, (CK_MECHANISM){CKM_SP800_108_COUNTER_KDF, &params, sizeof(params)});
}

START_TEST(derivations_have_the_labels_that_are_listed)
{
    api_open(&api, "memory:",
             "[policy d]\ntoken = test\nkeys = d\nderivation_labels = app/one hex:74776f\n");
    CK_OBJECT_HANDLE base = make_base("d");
    CK_OBJECT_HANDLE other = make_base("other");
    OK(hkdf(base, "app/one"));
    OK(hkdf(base, "two"));
    EXPECT(CKR_MECHANISM_PARAM_INVALID, hkdf(base, "app/on"));
    EXPECT(CKR_MECHANISM_PARAM_INVALID, hkdf(base, ""));
    EXPECT(CKR_MECHANISM_PARAM_INVALID, hkdf(base, NULL));
    expect_log("derivation-labels-are-listed");
    OK(counter_kdf(base, 32, "app/one\0context", 15));
    OK(counter_kdf(base, 32, "two\0", 4));
    EXPECT(CKR_MECHANISM_PARAM_INVALID, counter_kdf(base, 32, "app/one", 7));
    EXPECT(CKR_MECHANISM_PARAM_INVALID, counter_kdf(base, 32, "app/one2\0", 9));
    EXPECT(CKR_MECHANISM_PARAM_INVALID, counter_kdf(base, 32, "\0app/one\0", 9));
    EXPECT(CKR_MECHANISM_PARAM_INVALID, counter_kdf(base, 8, "app/one\0", 8));
    EXPECT(CKR_MECHANISM_PARAM_INVALID, counter_kdf(base, 8, "xyzapp/one\0", 11));
    EXPECT(CKR_MECHANISM_INVALID, derive(base, (CK_MECHANISM){CKM_SHA256_KEY_DERIVATION, NULL, 0}));
    OK(hkdf(other, "app/on"));
    OK(derive(other, (CK_MECHANISM){CKM_SHA256_KEY_DERIVATION, NULL, 0}));
    api_close(&api);
}
END_TEST

/* ---- hours ---- */

#define HOURS "[policy h]\ntoken = test\nkeys = h*\ntime_window = Mon-Fri 07:00-19:00 UTC\n"

static void begin_messages(CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mechanism = {CKM_AES_GCM, NULL, 0};

    OK(api.p11->C_MessageEncryptInit(api.session, &mechanism, key));
}

static CK_RV encrypt_message(void)
{
    CK_BYTE iv[12];
    CK_BYTE tag[16];
    CK_GCM_MESSAGE_PARAMS params = {iv, sizeof(iv), 0, CKG_GENERATE_RANDOM, tag, 128};
    CK_BYTE bytes[16] = {0};
    CK_ULONG len = sizeof(bytes);

    return api.p11->C_EncryptMessage(api.session, &params, sizeof(params), NULL, 0, bytes,
                                     sizeof(bytes), bytes, &len);
}

START_TEST(keys_have_hours)
{
    api_open(&api, "memory:", HOURS);
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "hours");
    CK_OBJECT_HANDLE other = api_make_aes_key(&api, true, "always");
    CK_OBJECT_HANDLE index_key = api_make_index_key(&api, "hidx", 1);
    OK(encrypt(key));
    OK(encrypt(api_find(&api, "hidx/payload")));
    OK(encrypt(key));
    begin_messages(key);
    OK(encrypt_message());
    clock_shift(noon_shift + 8 * HOUR_MS);
    /* The session has the key still: it is asked all the same. */
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, encrypt(key));
    expect_log("keys-have-hours: key 'hours'");
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, encrypt_message());
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, encrypt(api_find(&api, "hidx/payload")));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, derive_purpose(index_key, INDEXKEY_PURPOSE_TOKEN));
    OK(encrypt(other));
    clock_shift(noon_shift + DAY_MS);
    OK(encrypt(key));
    clock_shift(noon_shift + 5 * DAY_MS);
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, encrypt(key));
    api_close(&api);
}
END_TEST

/* ---- counts ---- */

START_TEST(a_key_encrypts_so_many_times)
{
    CK_BYTE iv[12] = "another iv..";
    CK_GCM_PARAMS gcm = {iv, sizeof(iv), 96, NULL, 0, 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof(gcm)};

    api_open(&api, NULL, "[policy u]\ntoken = test\nkeys = u\nusage_limit = 100\n");
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "u");
    CK_OBJECT_HANDLE other = api_make_aes_key(&api, true, "v");
    for (int i = 0; i < 100; i++)
        OK(encrypt(key));
    EXPECT(CKR_KEY_EXHAUSTED, encrypt(key));
    expect_log("all its 100 AES-GCM encryptions");
    OK(api.p11->C_DecryptInit(api.session, &mechanism, key));
    for (int i = 0; i < 200; i++)
        OK(encrypt(other));
    api_restart(&api);
    EXPECT(CKR_KEY_EXHAUSTED, encrypt(api_find(&api, "u")));
    OK(encrypt(api_find(&api, "v")));
    api_close(&api);
}
END_TEST

/* ---- where a policy goes ---- */

static CK_RV copy_key(CK_OBJECT_HANDLE key, CK_BBOOL token, const char *label,
                      CK_OBJECT_HANDLE *ret_copy)
{
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &token, sizeof(token)},
        {CKA_LABEL, (void *) label, strlen(label)},
    };

    return api.p11->C_CopyObject(api.session, key, template, COUNT(template), ret_copy);
}

START_TEST(a_policy_stays_with_its_key)
{
    CK_ATTRIBUTE new_label = {CKA_LABEL, "free", 4};
    CK_ATTRIBUTE good_label = {CKA_LABEL, "hello", 5};
    CK_OBJECT_HANDLE session_copy;
    CK_OBJECT_HANDLE renamed_copy;
    CK_OBJECT_HANDLE copy;

    api_open(&api, NULL, HOURS);
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "hours");
    EXPECT(CKR_TEMPLATE_INCONSISTENT, copy_key(key, CK_TRUE, "free", &copy));
    expect_log("policies-stay-with-the-key");
    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           api.p11->C_SetAttributeValue(api.session, key, &new_label, 1));
    OK(copy_key(key, CK_FALSE, "free", &session_copy));
    OK(copy_key(session_copy, CK_FALSE, "freer", &renamed_copy));
    EXPECT(CKR_TEMPLATE_INCONSISTENT, copy_key(renamed_copy, CK_TRUE, "free", &copy));
    OK(copy_key(key, CK_TRUE, "hours too", &copy));
    OK(api.p11->C_SetAttributeValue(api.session, key, &good_label, 1));
    OK(encrypt(session_copy));
    clock_shift(noon_shift + 8 * HOUR_MS);
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, encrypt(key));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, encrypt(session_copy));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, encrypt(renamed_copy));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, encrypt(copy));
    api_restart(&api);
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, encrypt(api_find(&api, "hello")));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, encrypt(api_find(&api, "hours too")));
    api_close(&api);
}
END_TEST

START_TEST(what_a_key_derives_is_under_its_policy)
{
    struct indexkey_kdf kdf;
    CK_MECHANISM mechanism;
    CK_ATTRIBUTE template[] = {
        {CKA_KEY_TYPE, &aes, sizeof(aes)},  {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
        {CKA_SENSITIVE, &yes, sizeof(yes)}, {CKA_EXTRACTABLE, &no, sizeof(no)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},   {CKA_TOKEN, &no, sizeof(no)},
    };
    CK_OBJECT_HANDLE derived;

    api_open(&api, NULL, HOURS);
    CK_OBJECT_HANDLE key = api_make_index_key(&api, "hidx", 1);
    OK(indexkey_kdf_make(INDEXKEY_PURPOSE_PAYLOAD, &kdf));
    mechanism = kdf.mechanism;
    OK(api.p11->C_DeriveKey(api.session, &mechanism, key, template, COUNT(template), &derived));
    template[5].pValue = &yes;
    CK_OBJECT_HANDLE stored;
    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           api.p11->C_DeriveKey(api.session, &mechanism, key, template, COUNT(template), &stored));
    OK(encrypt(derived));
    clock_shift(noon_shift + 8 * HOUR_MS);
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, encrypt(derived));
    api_close(&api);
}
END_TEST

/* ---- who administers ---- */

static void login(CK_USER_TYPE user, const char *pin)
{
    OK(api.p11->C_Logout(api.session));
    OK(api.p11->C_Login(api.session, user, (CK_UTF8CHAR *) pin, strlen(pin)));
}

START_TEST(the_so_administers)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_TOKEN, &yes, sizeof(yes)},
                               {CKA_VALUE_LEN, &len_32, sizeof(len_32)}};
    CK_ATTRIBUTE new_label = {CKA_LABEL, "b", 1};
    CK_OBJECT_HANDLE made;
    CK_OBJECT_HANDLE copy;

    api_open(&api, NULL, "administer = so\n");
    EXPECT(CKR_ACTION_PROHIBITED,
           api.p11->C_GenerateKey(api.session, &mechanism, template, COUNT(template), &made));
    expect_log("the-so-administers");
    OK(encrypt(api_make_aes_key(&api, false, "session key")));
    login(CKU_SO, API_SO_PIN);
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "a");
    CK_OBJECT_HANDLE index_key = api_make_index_key(&api, "idx", 1);
    ck_assert_uint_eq(api_find(&api, "a"), key);
    /* The SO uses none. */
    EXPECT(CKR_KEY_HANDLE_INVALID, encrypt(key));
    EXPECT(CKR_KEY_HANDLE_INVALID, derive_purpose(index_key, INDEXKEY_PURPOSE_TOKEN));
    login(CKU_USER, API_USER_PIN);
    key = api_find(&api, "a");
    OK(encrypt(key));
    OK(encrypt(api_find(&api, "idx/payload")));
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, key));
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_SetAttributeValue(api.session, key, &new_label, 1));
    EXPECT(CKR_ACTION_PROHIBITED, copy_key(key, CK_TRUE, "c", &copy));
    OK(copy_key(key, CK_FALSE, "c", &copy));
    login(CKU_SO, API_SO_PIN);
    key = api_find(&api, "a");
    OK(api.p11->C_SetAttributeValue(api.session, key, &new_label, 1));
    OK(api.p11->C_DestroyObject(api.session, api_find(&api, "b")));
    login(CKU_USER, API_USER_PIN);
    ck_assert_uint_eq(find_or_none("b"), CK_INVALID_HANDLE);
    OK(encrypt(api_find(&api, "idx/payload")));
    api_close(&api);
}
END_TEST

/* By default it is the user, and the SO sees nothing. */
START_TEST(the_user_administers)
{
    api_open(&api, NULL, "administer = user\n");
    (void) api_make_aes_key(&api, true, "a");
    login(CKU_SO, API_SO_PIN);
    ck_assert_uint_eq(find_or_none("a"), CK_INVALID_HANDLE);
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("policy");
    TCase *cases = tcase_create("policy");

    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, set_clock, reset_clock);
    tcase_add_test(cases, a_token_has_the_mechanisms_that_are_named);
    tcase_add_test(cases, a_key_has_the_mechanisms_that_are_named);
    tcase_add_test(cases, purposes_that_are_not_allowed_are_not_there);
    tcase_add_test(cases, derivations_have_the_labels_that_are_listed);
    tcase_add_test(cases, keys_have_hours);
    tcase_add_test(cases, a_key_encrypts_so_many_times);
    tcase_add_test(cases, a_policy_stays_with_its_key);
    tcase_add_test(cases, what_a_key_derives_is_under_its_policy);
    tcase_add_test(cases, the_so_administers);
    tcase_add_test(cases, the_user_administers);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
