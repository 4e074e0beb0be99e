/*
 * Derivations with more than one key: a second one that enters by a handle in the parameters, and
 * SP 800-108's additional keys, which come out together or not at all. And the purposes of an index
 * key (indexkey.h) in the modes and places where these derivations could say them.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "include/indexkey.h"
#include "tests/support/derive_keys.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOTHING ((CK_OBJECT_HANDLE) 0xdeadUL)

static struct api api;
static CK_BYTE data[32] = "thirty-two bytes of data, fixed";

static void open_token(void)
{
    api_open(&api, "memory:", NULL);
}

static void close_token(void)
{
    api_close(&api);
}

/* A second key enters by CONCATENATE_BASE_AND_KEY, as HKDF's salt, or as SP 800-108 data. */
struct second {
    CK_OBJECT_HANDLE handle;
    CK_HKDF_PARAMS hkdf;
    CK_SP800_108_COUNTER_FORMAT counter;
    CK_PRF_DATA_PARAM data[2];
    CK_SP800_108_KDF_PARAMS kdf;
    CK_SP800_108_FEEDBACK_KDF_PARAMS feedback;
};

static const CK_MECHANISM_TYPE seconds[] = {CKM_CONCATENATE_BASE_AND_KEY, CKM_HKDF_DERIVE,
                                            CKM_SP800_108_COUNTER_KDF, CKM_SP800_108_FEEDBACK_KDF,
                                            CKM_SP800_108_DOUBLE_PIPELINE_KDF};

static CK_MECHANISM with_second(struct second *second, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key)
{
    bool counts = type == CKM_SP800_108_COUNTER_KDF;

    *second = (struct second){
        .handle = key,
        .hkdf = {.bExtract = CK_TRUE,
                 .bExpand = CK_TRUE,
                 .prfHashMechanism = CKM_SHA256,
                 .ulSaltType = CKF_HKDF_SALT_KEY,
                 .hSaltKey = key},
        .counter = {CK_FALSE, 32},
        .data = {{CK_SP800_108_ITERATION_VARIABLE, counts ? &second->counter : NULL,
                  counts ? sizeof(second->counter) : 0},
                 {CK_SP800_108_KEY_HANDLE, &second->handle, sizeof(second->handle)}},
        .kdf = {CKM_SHA256_HMAC, 2, second->data, 0, NULL},
        .feedback = {CKM_SHA256_HMAC, 2, second->data, 0, NULL, 0, NULL},
    };
    if (type == CKM_CONCATENATE_BASE_AND_KEY)
        return (CK_MECHANISM){type, &second->handle, sizeof(second->handle)};
    if (type == CKM_HKDF_DERIVE)
        return (CK_MECHANISM){type, &second->hkdf, sizeof(second->hkdf)};
    if (type == CKM_SP800_108_FEEDBACK_KDF)
        return (CK_MECHANISM){type, &second->feedback, sizeof(second->feedback)};
    return (CK_MECHANISM){type, &second->kdf, sizeof(second->kdf)};
}

/* Keys of 32 bytes are joined whole. */
static CK_ULONG whole_len(CK_MECHANISM_TYPE type)
{
    return type == CKM_CONCATENATE_BASE_AND_KEY ? 64 : 32;
}

/* What a base key must be, a second key must be. */
START_TEST(second_keys_pass_the_same_checks)
{
    CK_MECHANISM_TYPE type = seconds[_i];
    CK_OBJECT_HANDLE base = derive_base(&api, KEY_OPEN, CKK_GENERIC_SECRET);
    CK_MECHANISM_TYPE other = CKM_SHA256_KEY_DERIVATION;
    struct second second;
    struct template template;
    CK_OBJECT_HANDLE key;

    template_open(&template, CKK_GENERIC_SECRET, whole_len(type));
    ck_assert_uint_eq(derive_with(&api, with_second(&second, type, 0xdead), base, &template, NULL),
                      CKR_KEY_HANDLE_INVALID);
    struct template mac;
    template_open(&mac, CKK_GENERIC_SECRET, 0);
    template_flag(&mac, CKA_SIGN, CK_TRUE);
    mac.entries[mac.count++] = (CK_ATTRIBUTE){CKA_VALUE, data, sizeof(data)};
    OK(api.p11->C_CreateObject(api.session, mac.entries, mac.count, &key));
    ck_assert_uint_eq(derive_with(&api, with_second(&second, type, key), base, &template, NULL),
                      CKR_KEY_FUNCTION_NOT_PERMITTED);
    mac.entries[4] = (CK_ATTRIBUTE){CKA_DERIVE, &mac.flags[4], 1};
    mac.entries[mac.count++] = (CK_ATTRIBUTE){CKA_ALLOWED_MECHANISMS, &other, sizeof(other)};
    OK(api.p11->C_CreateObject(api.session, mac.entries, mac.count, &key));
    ck_assert_uint_eq(derive_with(&api, with_second(&second, type, key), base, &template, NULL),
                      CKR_MECHANISM_INVALID);
    other = type;
    OK(api.p11->C_CreateObject(api.session, mac.entries, mac.count, &key));
    ck_assert_uint_eq(derive_with(&api, with_second(&second, type, key), base, &template, NULL),
                      CKR_OK);
    /* An index key is for its purposes alone. */
    key = api_make_index_key(&api, "vectors", 1);
    CK_RV rv = derive_with(&api, with_second(&second, type, key), base, &template, NULL);
    ck_assert_uint_eq(rv, type == CKM_SP800_108_COUNTER_KDF ? CKR_TEMPLATE_INCONSISTENT
                                                            : CKR_MECHANISM_INVALID);
    EXPECT(CKR_OK, api.p11->C_Logout(api.session));
    ck_assert_uint_eq(derive_with(&api, with_second(&second, type, key), base, &template, NULL),
                      CKR_KEY_HANDLE_INVALID);
}
END_TEST

/* The result is as sensitive as the more sensitive of the two, whichever is the base. */
START_TEST(second_keys_make_the_result_sensitive)
{
    CK_MECHANISM_TYPE type = seconds[_i];
    CK_OBJECT_HANDLE open = derive_base(&api, KEY_OPEN, CKK_GENERIC_SECRET);
    CK_OBJECT_HANDLE guarded = derive_base(&api, KEY_GENERATED, CKK_GENERIC_SECRET);
    struct second second;
    struct template template;
    CK_OBJECT_HANDLE key;

    template_open(&template, CKK_GENERIC_SECRET, whole_len(type));
    ck_assert_uint_eq(derive_with(&api, with_second(&second, type, guarded), open, &template, NULL),
                      CKR_TEMPLATE_INCONSISTENT);
    ck_assert(derive_logged(&api, "policy rule as-sensitive-as-its-base"));
    ck_assert_uint_eq(derive_with(&api, with_second(&second, type, open), guarded, &template, NULL),
                      CKR_TEMPLATE_INCONSISTENT);
    ck_assert_uint_eq(derive_with(&api, with_second(&second, type, open), open, &template, NULL),
                      CKR_OK);
    /* A template that is silent gets what is right. */
    template.entries[2] = template.entries[4];
    template.count = 3;
    ck_assert_uint_eq(derive_with(&api, with_second(&second, type, guarded), open, &template, &key),
                      CKR_OK);
    ck_assert_int_eq(derive_flag(&api, key, CKA_SENSITIVE), CK_TRUE);
    ck_assert_int_eq(derive_flag(&api, key, CKA_EXTRACTABLE), CK_FALSE);
}
END_TEST

/* CKA_ALWAYS_SENSITIVE: of both keys for CONCATENATE_BASE_AND_KEY, of the base for HKDF, of either
 * for SP 800-108 (PKCS #11 6). */
START_TEST(history_of_two_keys)
{
    CK_MECHANISM_TYPE type = seconds[_i];
    CK_OBJECT_HANDLE keys[2] = {derive_base(&api, KEY_IMPORTED, CKK_GENERIC_SECRET),
                                derive_base(&api, KEY_GENERATED, CKK_GENERIC_SECRET)};
    bool is_any = type != CKM_CONCATENATE_BASE_AND_KEY && type != CKM_HKDF_DERIVE;

    for (int base = 0; base < 2; base++) {
        for (int other = 0; other < 2; other++) {
            bool always = is_any ? base || other : base && (other || type == CKM_HKDF_DERIVE);
            struct second second;
            struct template template = {.count = 0};
            CK_OBJECT_HANDLE key;
            template_number(&template, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
            template_number(&template, CKA_VALUE_LEN, whole_len(type));
            ck_assert_uint_eq(derive_with(&api, with_second(&second, type, keys[other]), keys[base],
                                          &template, &key),
                              CKR_OK);
            ck_assert_int_eq(derive_flag(&api, key, CKA_ALWAYS_SENSITIVE), always);
            ck_assert_int_eq(derive_flag(&api, key, CKA_NEVER_EXTRACTABLE), always);
        }
    }
}
END_TEST

START_TEST(joined_key_values)
{
    CK_OBJECT_HANDLE base = derive_open_base(&api, CKK_GENERIC_SECRET, "first", 5);
    CK_OBJECT_HANDLE other = derive_open_base(&api, CKK_GENERIC_SECRET, data, sizeof(data));
    struct second second;
    struct template template;
    CK_OBJECT_HANDLE key;
    CK_BYTE joined[5 + sizeof(data)] = "first";

    memcpy(joined + 5, data, sizeof(data));
    ck_assert_uint_eq(derive_with(&api, with_second(&second, seconds[0], other), base,
                                  template_open(&template, CKK_GENERIC_SECRET, 0), &key),
                      CKR_OK);
    derive_expect_value(&api, key, joined, sizeof(joined));
}
END_TEST

#define KEYS_MAX 33

/* Counter mode over pieces around the counter, with additional keys. */
struct several {
    CK_MECHANISM mechanism;
    CK_SP800_108_KDF_PARAMS params;
    CK_PRF_DATA_PARAM data[3];
    CK_SP800_108_COUNTER_FORMAT counter;
    struct template templates[KEYS_MAX];
    CK_DERIVED_KEY keys[KEYS_MAX];
    CK_OBJECT_HANDLE handles[KEYS_MAX];
};

static void several_make(struct several *several, CK_ULONG count)
{
    memset(several, 0, sizeof(*several));
    several->counter.ulWidthInBits = 8;
    several->data[0] = (CK_PRF_DATA_PARAM){CK_SP800_108_ITERATION_VARIABLE, &several->counter,
                                           sizeof(several->counter)};
    several->data[1] = (CK_PRF_DATA_PARAM){CK_SP800_108_BYTE_ARRAY, data, sizeof(data)};
    for (CK_ULONG i = 0; i < count; i++) {
        template_open(&several->templates[i], CKK_GENERIC_SECRET, 32);
        several->handles[i] = NOTHING;
        several->keys[i] = (CK_DERIVED_KEY){several->templates[i].entries,
                                            several->templates[i].count, &several->handles[i]};
    }
    several->params =
        (CK_SP800_108_KDF_PARAMS){CKM_SHA256_HMAC, 2, several->data, count, several->keys};
    several->mechanism =
        (CK_MECHANISM){CKM_SP800_108_COUNTER_KDF, &several->params, sizeof(several->params)};
}

/* Key by key the blocks of one long key. */
START_TEST(additional_keys_have_blocks_of_their_own)
{
    CK_OBJECT_HANDLE base = derive_base(&api, KEY_OPEN, CKK_GENERIC_SECRET);
    struct several several;
    struct template template;
    CK_OBJECT_HANDLE key;
    CK_BYTE whole[512];

    several_make(&several, 0);
    several.params.pAdditionalDerivedKeys = NULL;
    ck_assert_uint_eq(derive_with(&api, several.mechanism, base,
                                  template_open(&template, CKK_GENERIC_SECRET, 256), &key),
                      CKR_OK);
    ck_assert_uint_eq(derive_value(&api, key, whole), 256);

    several_make(&several, 3);
    several.templates[0].numbers[4] = 40; /* two blocks */
    several.templates[1].numbers[1] = CKK_AES;
    ck_assert_uint_eq(derive_with(&api, several.mechanism, base,
                                  template_open(&template, CKK_GENERIC_SECRET, 1), &key),
                      CKR_OK);
    derive_expect_value(&api, key, whole, 1);
    derive_expect_value(&api, several.handles[0], whole + 32, 40);
    derive_expect_value(&api, several.handles[1], whole + 96, 32);
    derive_expect_value(&api, several.handles[2], whole + 128, 32);
}
END_TEST

static void expect_none(struct several *several, CK_OBJECT_HANDLE base, CK_RV wanted,
                        CK_ULONG count)
{
    struct template template;
    CK_RV rv = derive_with(&api, several->mechanism, base,
                           template_open(&template, CKK_GENERIC_SECRET, 32), NULL);

    ck_assert_uint_eq(rv, wanted);
    for (CK_ULONG i = 0; i < count; i++)
        ck_assert_uint_eq(several->handles[i], CK_INVALID_HANDLE);
}

START_TEST(all_keys_or_none)
{
    CK_OBJECT_HANDLE open = derive_base(&api, KEY_OPEN, CKK_GENERIC_SECRET);
    CK_OBJECT_HANDLE guarded = derive_base(&api, KEY_GENERATED, CKK_GENERIC_SECRET);
    struct several several;
    struct template template = {.count = 0};

    several_make(&several, 3);
    several.templates[2].numbers[4] = 0;
    expect_none(&several, open, CKR_ATTRIBUTE_VALUE_INVALID, 3);
    several_make(&several, 3);
    several.keys[2].ulAttributeCount = 4; /* no length */
    expect_none(&several, open, CKR_TEMPLATE_INCOMPLETE, 3);
    several_make(&several, 3);
    several.templates[1].entries[0].type = CKA_VENDOR_DEFINED + 1;
    expect_none(&several, open, CKR_ATTRIBUTE_TYPE_INVALID, 3);
    several_make(&several, 3);
    several.keys[1].pTemplate = NULL;
    expect_none(&several, open, CKR_ARGUMENTS_BAD, 3);
    several_make(&several, 3);
    several.keys[1].ulAttributeCount = ~0UL;
    expect_none(&several, open, CKR_ARGUMENTS_BAD, 3);
    several_make(&several, 3);
    several.templates[0].numbers[0] = CKO_DATA;
    expect_none(&several, open, CKR_ATTRIBUTE_TYPE_INVALID, 3);
    /* The policy, for one of them. */
    several_make(&several, 2);
    several.keys[0].ulAttributeCount = 0;
    template_number(&template, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    template_number(&template, CKA_VALUE_LEN, 32);
    several.keys[0] = (CK_DERIVED_KEY){template.entries, template.count, &several.handles[0]};
    CK_OBJECT_HANDLE first = NOTHING;
    CK_ULONG before = api_count(&api, NULL, 0);
    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           api.p11->C_DeriveKey(api.session, &several.mechanism, guarded, template.entries,
                                template.count, &first));
    ck_assert_uint_eq(first, NOTHING);
    ck_assert_uint_eq(several.handles[0], CK_INVALID_HANDLE);
    ck_assert_uint_eq(several.handles[1], CK_INVALID_HANDLE);
    ck_assert_uint_eq(api_count(&api, NULL, 0), before);
    several.keys[1] = (CK_DERIVED_KEY){template.entries, template.count, &several.handles[1]};
    ck_assert_uint_eq(derive_with(&api, several.mechanism, guarded, &template, NULL), CKR_OK);
    ck_assert_int_eq(derive_flag(&api, several.handles[1], CKA_ALWAYS_SENSITIVE), CK_TRUE);
}
END_TEST

START_TEST(hostile_additional_keys)
{
    CK_OBJECT_HANDLE base = derive_base(&api, KEY_OPEN, CKK_GENERIC_SECRET);
    struct several several;

    several_make(&several, 2);
    several.keys[1].phKey = NULL;
    expect_none(&several, base, CKR_MECHANISM_PARAM_INVALID, 1);
    several_make(&several, 2);
    several.params.pAdditionalDerivedKeys = NULL;
    expect_none(&several, base, CKR_MECHANISM_PARAM_INVALID, 0);
    several_make(&several, 33);
    expect_none(&several, base, CKR_MECHANISM_PARAM_INVALID, 0);
    several.params.ulAdditionalDerivedKeys = ~0UL;
    expect_none(&several, base, CKR_MECHANISM_PARAM_INVALID, 0);
    /* 32 of them, and the counter ends before. */
    several_make(&several, 32);
    for (size_t i = 0; i < 32; i++)
        several.templates[i].numbers[4] = 256;
    expect_none(&several, base, CKR_KEY_SIZE_RANGE, 32);
    several_make(&several, 32);
    expect_none(&several, base, CKR_OK, 0);
}
END_TEST

/* A token key in a read-only session, behind session keys. */
START_TEST(none_in_a_read_only_session)
{
    CK_OBJECT_HANDLE base = derive_base(&api, KEY_GENERATED, CKK_GENERIC_SECRET);
    struct several several;
    struct template plain = {.count = 0};
    struct template token = {.count = 0};
    CK_SESSION_HANDLE reader;
    CK_OBJECT_HANDLE first = NOTHING;

    template_number(&plain, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    template_number(&plain, CKA_VALUE_LEN, 32);
    token = plain;
    token.entries[0].pValue = &token.numbers[0];
    token.entries[1].pValue = &token.numbers[1];
    template_flag(&token, CKA_TOKEN, CK_TRUE);
    several_make(&several, 2);
    several.keys[0] = (CK_DERIVED_KEY){plain.entries, plain.count, &several.handles[0]};
    several.keys[1] = (CK_DERIVED_KEY){token.entries, token.count, &several.handles[1]};
    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION, NULL, NULL, &reader));
    CK_ULONG before = api_count(&api, NULL, 0);
    EXPECT(CKR_SESSION_READ_ONLY, api.p11->C_DeriveKey(reader, &several.mechanism, base,
                                                       plain.entries, plain.count, &first));
    ck_assert_uint_eq(first, NOTHING);
    ck_assert_uint_eq(api_count(&api, NULL, 0), before);
    OK(api.p11->C_DeriveKey(api.session, &several.mechanism, base, plain.entries, plain.count,
                            &first));
    ck_assert_uint_eq(api_count(&api, NULL, 0), before + 3);
}
END_TEST

/* With many keys the counter reaches letters: block 105 completes a purpose's input. */
START_TEST(the_counter_makes_a_label)
{
    static CK_BYTE head[] = {0, 0, 0, 1};
    static CK_BYTE tail[] = "ndexkey/1/token\0\0\0\1";
    static CK_BYTE other[] = "ndexkey/1/token\0\0\0\2";
    CK_OBJECT_HANDLE index_key = api_make_index_key(&api, "vectors", 1);
    struct several several;
    struct template first = {.count = 0};
    CK_MECHANISM_TYPE sha1 = CKM_SHA_1_HMAC;

    template_number(&first, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    template_number(&first, CKA_VALUE_LEN, 512); /* 16 blocks */
    several_make(&several, 14);
    several.data[1] = several.data[0];
    several.data[0] = (CK_PRF_DATA_PARAM){CK_SP800_108_BYTE_ARRAY, head, sizeof(head)};
    several.data[2] = (CK_PRF_DATA_PARAM){CK_SP800_108_BYTE_ARRAY, tail, sizeof(tail)};
    several.params.ulNumberOfDataParams = 3;
    for (size_t i = 0; i < 14; i++) {
        /* Five of 16 blocks, then nine of one: the last is block 105. */
        struct template *template = &several.templates[i];
        memset(template, 0, sizeof(*template));
        template_number(template, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
        template_number(template, CKA_VALUE_LEN, i < 5 ? 512 : 32);
        if (i == 13)
            template->entries[template->count++] =
                (CK_ATTRIBUTE){CKA_ALLOWED_MECHANISMS, &sha1, sizeof(sha1)};
        several.keys[i].ulAttributeCount = template->count;
    }
    ck_assert_uint_eq(derive_with(&api, several.mechanism, index_key, &first, NULL),
                      CKR_TEMPLATE_INCONSISTENT);
    several.data[2].pValue = other;
    ck_assert_uint_eq(derive_with(&api, several.mechanism, index_key, &first, NULL),
                      CKR_MECHANISM_PARAM_INVALID);
    /* A template that is silent gets what the purpose's key has. */
    several.data[2].pValue = tail;
    several.keys[13].ulAttributeCount--;
    ck_assert_uint_eq(derive_with(&api, several.mechanism, index_key, &first, NULL), CKR_OK);
    CK_MECHANISM_TYPE allowed[16];
    CK_ATTRIBUTE list = {CKA_ALLOWED_MECHANISMS, allowed, sizeof(allowed)};
    OK(api.p11->C_GetAttributeValue(api.session, several.handles[13], &list, 1));
    ck_assert_uint_eq(list.ulValueLen, 7 * sizeof(allowed[0]));
    list.ulValueLen = sizeof(allowed);
    EXPECT(CKR_ATTRIBUTE_TYPE_INVALID,
           api.p11->C_GetAttributeValue(api.session, several.handles[12], &list, 1));
}
END_TEST

/* A purpose's input as what another mode's PRF gets: K(0) and the data, or A(0). */
static const struct {
    CK_MECHANISM_TYPE type;
    const char *iv;
    CK_ULONG iv_len;
    const char *bytes;
    CK_ULONG len;
    CK_RV wanted;
} forms[] = {
    {CKM_SP800_108_FEEDBACK_KDF, "\0\0\0\1", 4, "indexkey/1/token\0\0\0\1", 21,
     CKR_TEMPLATE_INCONSISTENT},
    {CKM_SP800_108_FEEDBACK_KDF, "\0\0\0\1indexkey/1/item", 19, "\0\0\0\1", 5,
     CKR_TEMPLATE_INCONSISTENT},
    {CKM_SP800_108_FEEDBACK_KDF, "", 0, "\0\0\0\1indexkey/1/token\0\0\0\1", 25,
     CKR_TEMPLATE_INCONSISTENT},
    {CKM_SP800_108_FEEDBACK_KDF, "\0\0\0\2", 4, "indexkey/1/token\0\0\0\1", 21,
     CKR_MECHANISM_PARAM_INVALID},
    {CKM_SP800_108_FEEDBACK_KDF, "indexk", 6, "ey/", 3, CKR_MECHANISM_PARAM_INVALID},
    {CKM_SP800_108_DOUBLE_PIPELINE_KDF, "", 0, "\0\0\0\1indexkey/1/token\0\0\0\1", 25,
     CKR_TEMPLATE_INCONSISTENT},
    {CKM_SP800_108_DOUBLE_PIPELINE_KDF, "", 0, "indexkey/1/token\0\0\0\1", 21,
     CKR_MECHANISM_PARAM_INVALID},
    {CKM_SP800_108_FEEDBACK_KDF, "indexk", 6, "ey", 2, CKR_OK},
};

START_TEST(purposes_in_other_modes)
{
    CK_OBJECT_HANDLE base = derive_base(&api, KEY_GENERATED, CKK_GENERIC_SECRET);

    for (size_t i = 0; i < COUNT(forms); i++) {
        CK_PRF_DATA_PARAM params[] = {
            {CK_SP800_108_ITERATION_VARIABLE, NULL, 0},
            {CK_SP800_108_BYTE_ARRAY, (void *) forms[i].bytes, forms[i].len}};
        CK_SP800_108_FEEDBACK_KDF_PARAMS feedback = {
            CKM_SHA256_HMAC, 2, params, forms[i].iv_len, (CK_BYTE_PTR) forms[i].iv, 0, NULL};
        CK_SP800_108_KDF_PARAMS pipeline = {CKM_SHA256_HMAC, 2, params, 0, NULL};
        bool is_feedback = forms[i].type == CKM_SP800_108_FEEDBACK_KDF;
        CK_MECHANISM mechanism = {forms[i].type, is_feedback ? (void *) &feedback : &pipeline,
                                  is_feedback ? sizeof(feedback) : sizeof(pipeline)};
        CK_MECHANISM_TYPE sha1 = CKM_SHA_1_HMAC;
        struct template template = {.count = 0};
        template_number(&template, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
        template_number(&template, CKA_VALUE_LEN, 32);
        template.entries[template.count++] =
            (CK_ATTRIBUTE){CKA_ALLOWED_MECHANISMS, &sha1, sizeof(sha1)};
        CK_RV rv = derive_with(&api, mechanism, base, &template, NULL);
        ck_assert_msg(rv == forms[i].wanted, "row %zu: 0x%lx", i, rv);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api derive several");
    TCase *tests = tcase_create("several keys");

    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, second_keys_pass_the_same_checks, 0, COUNT(seconds));
    tcase_add_loop_test(tests, second_keys_make_the_result_sensitive, 0, COUNT(seconds));
    tcase_add_loop_test(tests, history_of_two_keys, 0, COUNT(seconds));
    tcase_add_test(tests, joined_key_values);
    tcase_add_test(tests, additional_keys_have_blocks_of_their_own);
    tcase_add_test(tests, all_keys_or_none);
    tcase_add_test(tests, hostile_additional_keys);
    tcase_add_test(tests, none_in_a_read_only_session);
    tcase_add_test(tests, the_counter_makes_a_label);
    tcase_add_test(tests, purposes_in_other_modes);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
