/*
 * Attributes through the API: token keys never show their value, whatever the template; what the
 * policy makes of templates; how LOCAL and the like begin; what never changes back.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;
static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
static CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
static CK_KEY_TYPE aes = CKK_AES;
static CK_ULONG len_32 = 32;
static CK_BYTE known_value[32] = "a value that the test knows....";

static struct api api;

static CK_BBOOL get_flag(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = 0x5a;
    CK_ATTRIBUTE attribute = {type, &value, sizeof(value)};

    OK(api.p11->C_GetAttributeValue(api.session, key, &attribute, 1));
    return value;
}

static CK_ULONG get_number(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type)
{
    CK_ULONG value = 0x5a5a;
    CK_ATTRIBUTE attribute = {type, &value, sizeof(value)};

    OK(api.p11->C_GetAttributeValue(api.session, key, &attribute, 1));
    return value;
}

/* Each of the five booleans is absent, false or true. */
enum { TOKEN, SENSITIVE, EXTRACTABLE, PRIVATE, MODIFIABLE, COMBINED };
enum said { SAID_NOTHING, SAID_FALSE, SAID_TRUE };
#define COMBINATIONS 243 /* 3^COMBINED */

static const CK_ATTRIBUTE_TYPE combined_types[COMBINED] = {
    CKA_TOKEN, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_PRIVATE, CKA_MODIFIABLE};

struct combination {
    enum said said[COMBINED];
};

static struct combination combination_of(int number)
{
    struct combination result;

    for (int i = 0; i < COMBINED; i++, number /= 3)
        result.said[i] = (enum said)(number % 3);
    return result;
}

static CK_ULONG add_combination(const struct combination *combination, CK_ATTRIBUTE *template,
                                CK_ULONG count)
{
    for (int i = 0; i < COMBINED; i++)
        if (combination->said[i] != SAID_NOTHING)
            template[count++] = (CK_ATTRIBUTE){combined_types[i],
                                               combination->said[i] == SAID_TRUE ? &yes : &no, 1};
    return count;
}

/* The ways to make a key. */
enum way { CREATE, GENERATE, DERIVE_FROM_CLOSED, DERIVE_FROM_OPEN, COPY_CLOSED, COPY_OPEN, WAYS };

static const char *const way_names[WAYS] = {"create",           "generate", "derive",
                                            "derive from open", "copy",     "copy open"};

/* A base or a source: closed is a sensitive token key, open a readable session key. */
static CK_OBJECT_HANDLE sources[WAYS];

static CK_RV make(enum way way, const struct combination *combination, CK_OBJECT_HANDLE *out)
{
    static CK_BYTE data[32];
    CK_KEY_DERIVATION_STRING_DATA string = {data, sizeof(data)};
    CK_MECHANISM key_gen = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_MECHANISM encrypt_data = {CKM_AES_ECB_ENCRYPT_DATA, &string, sizeof(string)};
    CK_ATTRIBUTE created[16] = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                                {CKA_KEY_TYPE, &generic, sizeof(generic)},
                                {CKA_SIGN, &yes, 1},
                                {CKA_VALUE, known_value, sizeof(known_value)}};
    CK_ATTRIBUTE made[16] = {{CKA_KEY_TYPE, &generic, sizeof(generic)},
                             {CKA_SIGN, &yes, 1},
                             {CKA_VALUE_LEN, &len_32, sizeof(len_32)}};
    CK_ATTRIBUTE copied[8];

    switch (way) {
    case CREATE:
        return api.p11->C_CreateObject(api.session, created,
                                       add_combination(combination, created, 4), out);
    case GENERATE:
        return api.p11->C_GenerateKey(api.session, &key_gen, made,
                                      add_combination(combination, made, 3), out);
    case DERIVE_FROM_CLOSED:
    case DERIVE_FROM_OPEN:
        return api.p11->C_DeriveKey(api.session, &encrypt_data, sources[way], made,
                                    add_combination(combination, made, 3), out);
    default:
        return api.p11->C_CopyObject(api.session, sources[way], copied,
                                     add_combination(combination, copied, 0), out);
    }
}

static void make_sources(void)
{
    CK_MECHANISM_TYPE allowed = CKM_AES_ECB_ENCRYPT_DATA;
    CK_BBOOL *open_or_closed[] = {&no, &yes};

    for (int open = 0; open < 2; open++) {
        CK_BBOOL *is_open = open_or_closed[open];
        CK_BBOOL *is_closed = open_or_closed[!open];
        CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                                   {CKA_KEY_TYPE, &aes, sizeof(aes)},
                                   {CKA_VALUE, known_value, sizeof(known_value)},
                                   {CKA_TOKEN, is_closed, 1},
                                   {CKA_SENSITIVE, is_closed, 1},
                                   {CKA_EXTRACTABLE, is_open, 1},
                                   {CKA_PRIVATE, is_closed, 1},
                                   {CKA_DERIVE, &yes, 1},
                                   {CKA_ALLOWED_MECHANISMS, &allowed, sizeof(allowed)}};
        OK(api.p11->C_CreateObject(api.session, template, COUNT(template),
                                   &sources[DERIVE_FROM_CLOSED + open]));
        template[1].pValue = &generic;
        template[7].type = CKA_SIGN;
        OK(api.p11->C_CreateObject(api.session, template, 8, &sources[COPY_CLOSED + open]));
    }
}

/* What has to come out of a combination: the design's rules, once more. */
struct outcome {
    CK_RV rv;
    bool flags[COMBINED];
};

static struct outcome foresee(enum way way, const struct combination *combination, bool strict)
{
    bool is_copy = way == COPY_CLOSED || way == COPY_OPEN;
    bool open = way == COPY_OPEN;
    struct outcome outcome = {.rv = CKR_OK};
    bool defaults[COMBINED] = {[SENSITIVE] = true, [PRIVATE] = true, [MODIFIABLE] = true};

    if (is_copy) {
        defaults[TOKEN] = defaults[SENSITIVE] = defaults[PRIVATE] = !open;
        defaults[EXTRACTABLE] = open;
    }
    for (int i = 0; i < COMBINED; i++)
        outcome.flags[i] =
            combination->said[i] == SAID_NOTHING ? defaults[i] : combination->said[i] == SAID_TRUE;
    bool *flags = outcome.flags;
    bool weak = !flags[SENSITIVE] || !flags[PRIVATE] || flags[EXTRACTABLE];
    if (way == COPY_CLOSED && weak)
        outcome.rv = CKR_ATTRIBUTE_READ_ONLY;
    else if (flags[TOKEN] && ((!is_copy && flags[EXTRACTABLE]) || (strict && weak)))
        outcome.rv = CKR_TEMPLATE_INCONSISTENT;
    else if (flags[TOKEN])
        flags[SENSITIVE] = flags[PRIVATE] = !(flags[EXTRACTABLE] = false);
    else if (way == DERIVE_FROM_CLOSED && (!flags[SENSITIVE] || flags[EXTRACTABLE]))
        outcome.rv = CKR_TEMPLATE_INCONSISTENT;
    return outcome;
}

static void expect_value(CK_OBJECT_HANDLE key, bool readable, const char *name)
{
    CK_BYTE value[64];
    CK_ATTRIBUTE attribute = {CKA_VALUE, value, sizeof(value)};
    CK_ATTRIBUTE query = {CKA_VALUE, NULL, 0};

    memset(value, 0x5a, sizeof(value));
    CK_RV wanted = readable ? CKR_OK : CKR_ATTRIBUTE_SENSITIVE;
    api_expect(api.p11->C_GetAttributeValue(api.session, key, &attribute, 1), wanted, name);
    api_expect(api.p11->C_GetAttributeValue(api.session, key, &query, 1), wanted, name);
    ck_assert_uint_eq(attribute.ulValueLen, readable ? 32 : CK_UNAVAILABLE_INFORMATION);
    ck_assert_uint_eq(query.ulValueLen, attribute.ulValueLen);
    if (!readable)
        for (size_t i = 0; i < sizeof(value); i++)
            ck_assert_uint_eq(value[i], 0x5a);
}

static const char *const policies[] = {"policy = strengthen", "policy = strict"};

START_TEST(token_keys_are_never_readable)
{
    bool strict = _i == 1;

    api_open(&api, "memory:", policies[_i]);
    make_sources();
    for (int way = 0; way < WAYS; way++) {
        for (int number = 0; number < COMBINATIONS; number++) {
            struct combination combination = combination_of(number);
            struct outcome wanted = foresee((enum way) way, &combination, strict);
            CK_OBJECT_HANDLE key = 0;
            char name[96];
            snprintf(name, sizeof(name), "%s: %s, token %d sensitive %d extractable %d private %d",
                     policies[_i], way_names[way], combination.said[TOKEN],
                     combination.said[SENSITIVE], combination.said[EXTRACTABLE],
                     combination.said[PRIVATE]);
            api_expect(make((enum way) way, &combination, &key), wanted.rv, name);
            ck_assert_int_eq(key == 0, wanted.rv != CKR_OK);
            if (key == 0)
                continue;
            for (int i = 0; i < COMBINED; i++)
                ck_assert_msg(get_flag(key, combined_types[i]) == wanted.flags[i], "%s: 0x%lx",
                              name, combined_types[i]);
            expect_value(
                key, !wanted.flags[TOKEN] && !wanted.flags[SENSITIVE] && wanted.flags[EXTRACTABLE],
                name);
            OK(api.p11->C_DestroyObject(api.session, key));
        }
    }
    api_close(&api);
}
END_TEST

START_TEST(search_by_value_finds_no_secret)
{
    CK_ATTRIBUTE by_value[] = {{CKA_VALUE, known_value, sizeof(known_value)},
                               {CKA_LABEL, "one", 3}};
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                               {CKA_KEY_TYPE, &generic, sizeof(generic)},
                               {CKA_VALUE, known_value, sizeof(known_value)},
                               {CKA_LABEL, "one", 3},
                               {CKA_TOKEN, &yes, 1},
                               {CKA_SENSITIVE, &yes, 1},
                               {CKA_EXTRACTABLE, &no, 1}};
    CK_OBJECT_HANDLE key;

    api_open(&api, "memory:", NULL);
    OK(api.p11->C_CreateObject(api.session, template, 7, &key));
    template[4].pValue = &no;
    OK(api.p11->C_CreateObject(api.session, template, 7, &key));
    template[6].pValue = &yes; /* sensitive though extractable */
    OK(api.p11->C_CreateObject(api.session, template, 7, &key));
    template[5].pValue = &no;
    template[6].pValue = &no; /* not sensitive, not extractable */
    OK(api.p11->C_CreateObject(api.session, template, 7, &key));
    ck_assert_uint_eq(api_count(&api, by_value, 1), 0);
    ck_assert_uint_eq(api_count(&api, by_value, 2), 0);
    by_value[0].ulValueLen = 0;
    ck_assert_uint_eq(api_count(&api, by_value, 1), 0);
    by_value[0].ulValueLen = sizeof(known_value);
    template[6].pValue = &yes; /* readable: found */
    OK(api.p11->C_CreateObject(api.session, template, 7, &key));
    ck_assert_uint_eq(api_count(&api, by_value, 1), 1);
    ck_assert_uint_eq(api_count(&api, by_value, 2), 1);
    api_close(&api);
}
END_TEST

static void expect_history(CK_OBJECT_HANDLE key, CK_BBOOL local, CK_BBOOL sensitive,
                           CK_BBOOL inside, CK_ULONG mechanism)
{
    ck_assert_uint_eq(get_flag(key, CKA_LOCAL), local);
    ck_assert_uint_eq(get_flag(key, CKA_ALWAYS_SENSITIVE), sensitive);
    ck_assert_uint_eq(get_flag(key, CKA_NEVER_EXTRACTABLE), inside);
    ck_assert_uint_eq(get_number(key, CKA_KEY_GEN_MECHANISM), mechanism);
}

/* 4.10 and 5.18 of the standard: what a key remembers of its origin. */
START_TEST(history_by_origin)
{
    const CK_ULONG none = CK_UNAVAILABLE_INFORMATION;
    struct combination silent = {{SAID_NOTHING}};
    struct combination token = {.said = {[TOKEN] = SAID_TRUE}};
    struct combination open = {.said = {[SENSITIVE] = SAID_FALSE, [EXTRACTABLE] = SAID_TRUE}};
    CK_ATTRIBUTE close[] = {{CKA_SENSITIVE, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}};
    CK_ATTRIBUTE to_token = {CKA_TOKEN, &yes, 1};
    CK_OBJECT_HANDLE key;
    CK_OBJECT_HANDLE copy;

    api_open(&api, "memory:", NULL);
    make_sources();
    OK(make(GENERATE, &silent, &key));
    expect_history(key, CK_TRUE, CK_TRUE, CK_TRUE, CKM_GENERIC_SECRET_KEY_GEN);
    OK(make(GENERATE, &token, &key));
    expect_history(key, CK_TRUE, CK_TRUE, CK_TRUE, CKM_GENERIC_SECRET_KEY_GEN);
    OK(api.p11->C_CopyObject(api.session, key, NULL, 0, &copy));
    expect_history(copy, CK_TRUE, CK_TRUE, CK_TRUE, CKM_GENERIC_SECRET_KEY_GEN);
    OK(make(GENERATE, &open, &key));
    expect_history(key, CK_TRUE, CK_FALSE, CK_FALSE, CKM_GENERIC_SECRET_KEY_GEN);
    OK(api.p11->C_SetAttributeValue(api.session, key, close, 2));
    expect_history(key, CK_TRUE, CK_FALSE, CK_FALSE, CKM_GENERIC_SECRET_KEY_GEN);
    OK(api.p11->C_CopyObject(api.session, key, &to_token, 1, &copy));
    expect_history(copy, CK_TRUE, CK_FALSE, CK_FALSE, CKM_GENERIC_SECRET_KEY_GEN);
    OK(make(CREATE, &silent, &key));
    expect_history(key, CK_FALSE, CK_FALSE, CK_FALSE, none);
    OK(make(CREATE, &token, &key));
    expect_history(key, CK_FALSE, CK_FALSE, CK_FALSE, none);
    OK(make(DERIVE_FROM_CLOSED, &silent, &key)); /* its base was imported */
    expect_history(key, CK_FALSE, CK_FALSE, CK_FALSE, none);
    sources[DERIVE_FROM_CLOSED] = api_make_index_key(&api, "generated", 1);
    CK_BYTE label[] = "x";
    CK_SP800_108_COUNTER_FORMAT counter = {CK_FALSE, 8};
    CK_PRF_DATA_PARAM data[] = {{CK_SP800_108_ITERATION_VARIABLE, &counter, sizeof(counter)},
                                {CK_SP800_108_BYTE_ARRAY, label, 1}};
    CK_SP800_108_KDF_PARAMS params = {CKM_SHA256_HMAC, 2, data, 0, NULL};
    CK_MECHANISM kdf = {CKM_SP800_108_COUNTER_KDF, &params, sizeof(params)};
    CK_ATTRIBUTE template[] = {{CKA_KEY_TYPE, &generic, sizeof(generic)},
                               {CKA_VALUE_LEN, &len_32, sizeof(len_32)}};
    OK(api.p11->C_DeriveKey(api.session, &kdf, sources[DERIVE_FROM_CLOSED], template, 2, &key));
    expect_history(key, CK_FALSE, CK_TRUE, CK_TRUE, none);
    api_close(&api);
}
END_TEST

static const struct {
    CK_ATTRIBUTE_TYPE type;
    CK_BBOOL *begin; /* NULL: not in the creating template */
    CK_BBOOL *change;
    CK_RV wanted;
} sticky[] = {
    {CKA_SENSITIVE, &yes, &no, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_SENSITIVE, &yes, &yes, CKR_OK},
    {CKA_SENSITIVE, &no, &yes, CKR_OK},
    {CKA_EXTRACTABLE, &no, &yes, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_EXTRACTABLE, &no, &no, CKR_OK},
    {CKA_EXTRACTABLE, &yes, &no, CKR_OK},
    {CKA_WRAP_WITH_TRUSTED, &yes, &no, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_WRAP_WITH_TRUSTED, &no, &yes, CKR_OK},
    {CKA_COPYABLE, &no, &yes, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_COPYABLE, &yes, &no, CKR_OK},
    {CKA_DESTROYABLE, &no, &yes, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_DESTROYABLE, &yes, &no, CKR_OK},
    {CKA_TRUSTED, NULL, &yes, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_MODIFIABLE, &yes, &no, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_PRIVATE, &yes, &no, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_TOKEN, &no, &yes, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_LOCAL, NULL, &no, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_ALWAYS_SENSITIVE, NULL, &yes, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_NEVER_EXTRACTABLE, NULL, &yes, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_SIGN, &yes, &no, CKR_OK},
    {CKA_SIGN, &no, &yes, CKR_TEMPLATE_INCONSISTENT},
    {CKA_DERIVE, &no, &yes, CKR_TEMPLATE_INCONSISTENT},
};

START_TEST(sticky_attributes)
{
    CK_MECHANISM key_gen = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};

    api_open(&api, "memory:", NULL);
    for (size_t i = 0; i < COUNT(sticky); i++) {
        CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &len_32, sizeof(len_32)},
                                   {sticky[i].type, sticky[i].begin, 1}};
        CK_ATTRIBUTE change = {sticky[i].type, sticky[i].change, 1};
        CK_OBJECT_HANDLE key;
        char name[32];
        snprintf(name, sizeof(name), "row %zu, 0x%lx", i, sticky[i].type);
        OK(api.p11->C_GenerateKey(api.session, &key_gen, template, sticky[i].begin ? 2 : 1, &key));
        CK_BBOOL before = get_flag(key, sticky[i].type);
        api_expect(api.p11->C_SetAttributeValue(api.session, key, &change, 1), sticky[i].wanted,
                   name);
        ck_assert_msg(get_flag(key, sticky[i].type) ==
                          (sticky[i].wanted == CKR_OK ? *sticky[i].change : before),
                      "%s", name);
    }
    api_close(&api);
}
END_TEST

START_TEST(prohibited_actions)
{
    static const CK_ATTRIBUTE_TYPE types[] = {CKA_MODIFIABLE, CKA_COPYABLE, CKA_DESTROYABLE};
    CK_MECHANISM key_gen = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE label = {CKA_LABEL, "x", 1};

    api_open(&api, "memory:", NULL);
    for (size_t i = 0; i < COUNT(types); i++) {
        for (int token = 0; token < 2; token++) {
            CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &len_32, sizeof(len_32)},
                                       {CKA_TOKEN, token ? &yes : &no, 1},
                                       {types[i], &no, 1}};
            CK_OBJECT_HANDLE key;
            CK_OBJECT_HANDLE copy;
            OK(api.p11->C_GenerateKey(api.session, &key_gen, template, 3, &key));
            EXPECT(i == 0 ? CKR_ACTION_PROHIBITED : CKR_OK,
                   api.p11->C_SetAttributeValue(api.session, key, &label, 1));
            EXPECT(i == 1 ? CKR_ACTION_PROHIBITED : CKR_OK,
                   api.p11->C_CopyObject(api.session, key, NULL, 0, &copy));
            EXPECT(i == 2 ? CKR_ACTION_PROHIBITED : CKR_OK,
                   api.p11->C_DestroyObject(api.session, key));
        }
    }
    api_close(&api);
}
END_TEST

static CK_ULONG get_unique_id(CK_OBJECT_HANDLE key, char out[128])
{
    CK_ATTRIBUTE attribute = {CKA_UNIQUE_ID, out, 128};

    OK(api.p11->C_GetAttributeValue(api.session, key, &attribute, 1));
    return attribute.ulValueLen;
}

START_TEST(unique_ids)
{
    CK_ATTRIBUTE unique = {CKA_UNIQUE_ID, "0123456789abcdef0123456789abcdef", 32};
    CK_ATTRIBUTE label = {CKA_LABEL, "renamed", 7};
    CK_MECHANISM key_gen = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE made[] = {{CKA_VALUE_LEN, &len_32, sizeof(len_32)}, unique};
    CK_ATTRIBUTE created[] = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                              {CKA_KEY_TYPE, &generic, sizeof(generic)},
                              {CKA_VALUE, known_value, sizeof(known_value)},
                              unique};
    char first[128];
    char second[128];
    CK_OBJECT_HANDLE copy;

    api_open(&api, NULL, NULL);
    CK_OBJECT_HANDLE key = api_make_index_key(&api, "named", 1);
    CK_ULONG len = get_unique_id(key, first);
    ck_assert_uint_gt(len, 0);
    EXPECT(CKR_ATTRIBUTE_READ_ONLY, api.p11->C_CreateObject(api.session, created, 4, &copy));
    EXPECT(CKR_ATTRIBUTE_READ_ONLY, api.p11->C_GenerateKey(api.session, &key_gen, made, 2, &copy));
    EXPECT(CKR_ATTRIBUTE_READ_ONLY, api.p11->C_CopyObject(api.session, key, &unique, 1, &copy));
    EXPECT(CKR_ATTRIBUTE_READ_ONLY, api.p11->C_SetAttributeValue(api.session, key, &unique, 1));
    OK(api.p11->C_SetAttributeValue(api.session, key, &label, 1));
    ck_assert_uint_eq(get_unique_id(key, second), len);
    ck_assert_mem_eq(first, second, len);
    OK(api.p11->C_CopyObject(api.session, key, NULL, 0, &copy));
    ck_assert_uint_eq(get_unique_id(copy, second), len);
    ck_assert_mem_ne(first, second, len);
    OK(api.p11->C_DestroyObject(api.session, copy));
    api_restart(&api);
    key = api_find(&api, "renamed");
    ck_assert_uint_eq(get_unique_id(key, second), len);
    ck_assert_mem_eq(first, second, len);
    api_close(&api);
}
END_TEST

/* The template of pkcs11-tool 0.23 --keygen, entry by entry. */
static CK_RV keygen_like_pkcs11_tool(CK_MECHANISM_TYPE type, CK_KEY_TYPE key_type,
                                     CK_OBJECT_HANDLE *out)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                               {CKA_TOKEN, &yes, 1},
                               {CKA_KEY_TYPE, &key_type, sizeof(key_type)},
                               {CKA_SENSITIVE, &no, 1},
                               {CKA_EXTRACTABLE, &no, 1},
                               {CKA_PRIVATE, &no, 1},
                               {CKA_ENCRYPT, &yes, 1},
                               {CKA_DECRYPT, &yes, 1},
                               {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
                               {CKA_LABEL, "k", 1},
                               {CKA_ID, "\1", 1}};

    return api.p11->C_GenerateKey(api.session, &mechanism, template, COUNT(template), out);
}

static void expect_allowed(CK_OBJECT_HANDLE key, const CK_MECHANISM_TYPE *wanted, size_t count)
{
    CK_MECHANISM_TYPE allowed[8];
    CK_ATTRIBUTE attribute = {CKA_ALLOWED_MECHANISMS, allowed, sizeof(allowed)};

    OK(api.p11->C_GetAttributeValue(api.session, key, &attribute, 1));
    ck_assert_uint_eq(attribute.ulValueLen, count * sizeof(allowed[0]));
    ck_assert_mem_eq(allowed, wanted, count * sizeof(allowed[0]));
}

static void expect_strong(CK_OBJECT_HANDLE key)
{
    ck_assert(get_flag(key, CKA_SENSITIVE) && get_flag(key, CKA_PRIVATE));
    ck_assert(!get_flag(key, CKA_EXTRACTABLE));
    ck_assert(get_flag(key, CKA_ALWAYS_SENSITIVE) && get_flag(key, CKA_NEVER_EXTRACTABLE));
    expect_value(key, false, "keygen");
}

static const struct {
    const char *lines;
    CK_RV wanted;
    CK_MECHANISM_TYPE aes_allowed[2];
    size_t aes_count;
} keygens[] = {
    {"", CKR_OK, {CKM_AES_GCM}, 1},
    {"aes_default = gcm", CKR_OK, {CKM_AES_GCM}, 1},
    {"aes_default = cbc", CKR_OK, {CKM_AES_CBC, CKM_AES_CBC_PAD}, 2},
    {"policy = strict", CKR_TEMPLATE_INCONSISTENT, {0}, 0},
};

START_TEST(keygen_of_pkcs11_tool)
{
    static const CK_MECHANISM_TYPE kdf = CKM_SP800_108_COUNTER_KDF;
    CK_OBJECT_HANDLE key = 0;

    api_open(&api, "memory:", keygens[_i].lines);
    api_expect(keygen_like_pkcs11_tool(CKM_AES_KEY_GEN, CKK_AES, &key), keygens[_i].wanted,
               "AES:32");
    if (keygens[_i].wanted == CKR_OK) {
        expect_strong(key);
        expect_allowed(key, keygens[_i].aes_allowed, keygens[_i].aes_count);
        ck_assert(get_flag(key, CKA_ENCRYPT) && get_flag(key, CKA_DECRYPT));
        ck_assert(!get_flag(key, CKA_DERIVE));
    }
    api_expect(keygen_like_pkcs11_tool(CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, &key),
               keygens[_i].wanted, "GENERIC:32");
    if (keygens[_i].wanted == CKR_OK) {
        expect_strong(key);
        expect_allowed(key, &kdf, 1);
        ck_assert(get_flag(key, CKA_DERIVE));
        ck_assert(!get_flag(key, CKA_ENCRYPT) && !get_flag(key, CKA_DECRYPT));
        ck_assert(!get_flag(key, CKA_SIGN) && !get_flag(key, CKA_VERIFY));
        api_find(&api, "k/token");
    }
    api_close(&api);
}
END_TEST

/* A copy into the token gets what a token key gets at creation. */
START_TEST(copies_into_the_token)
{
    static const CK_MECHANISM_TYPE gcm = CKM_AES_GCM;
    CK_MECHANISM key_gen = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &len_32, sizeof(len_32)}};
    CK_OBJECT_CLASS data_class = CKO_DATA;
    CK_ATTRIBUTE data[] = {{CKA_CLASS, &data_class, sizeof(data_class)}, {CKA_PRIVATE, &no, 1}};
    CK_ATTRIBUTE to_token = {CKA_TOKEN, &yes, 1};
    CK_RV wanted = _i == 0 ? CKR_OK : CKR_TEMPLATE_INCONSISTENT;
    CK_OBJECT_HANDLE key;
    CK_OBJECT_HANDLE copy;

    api_open(&api, "memory:", policies[_i]);
    OK(api.p11->C_GenerateKey(api.session, &key_gen, template, 1, &key));
    api_expect(api.p11->C_CopyObject(api.session, key, &to_token, 1, &copy), wanted, "AES key");
    if (wanted == CKR_OK)
        expect_allowed(copy, &gcm, 1);
    OK(api.p11->C_CreateObject(api.session, data, 2, &key));
    api_expect(api.p11->C_CopyObject(api.session, key, &to_token, 1, &copy), wanted, "data");
    if (wanted == CKR_OK)
        ck_assert(get_flag(copy, CKA_PRIVATE));
    api_close(&api);
}
END_TEST

START_TEST(every_entry_is_answered)
{
    char label[2];
    CK_BYTE value[32];
    CK_OBJECT_CLASS class = 0;
    CK_ATTRIBUTE entries[] = {{CKA_LABEL, NULL, 0},
                              {CKA_VALUE, value, sizeof(value)},
                              {CKA_LABEL, label, sizeof(label)},
                              {CKA_MODULUS, value, sizeof(value)},
                              {CKA_CLASS, &class, sizeof(class)}};

    api_open(&api, "memory:", NULL);
    CK_OBJECT_HANDLE key = api_make_index_key(&api, "label", 1);
    EXPECT(CKR_ATTRIBUTE_SENSITIVE,
           api.p11->C_GetAttributeValue(api.session, key, entries, COUNT(entries)));
    ck_assert_uint_eq(entries[0].ulValueLen, 5);
    ck_assert_uint_eq(entries[1].ulValueLen, CK_UNAVAILABLE_INFORMATION);
    ck_assert_uint_eq(entries[2].ulValueLen, CK_UNAVAILABLE_INFORMATION);
    ck_assert_uint_eq(entries[3].ulValueLen, CK_UNAVAILABLE_INFORMATION);
    ck_assert_uint_eq(entries[4].ulValueLen, sizeof(class));
    ck_assert_uint_eq(class, CKO_SECRET_KEY);
    EXPECT(CKR_BUFFER_TOO_SMALL,
           api.p11->C_GetAttributeValue(api.session, key,
                                        &(CK_ATTRIBUTE){CKA_LABEL, label, sizeof(label)}, 1));
    EXPECT(CKR_ATTRIBUTE_TYPE_INVALID,
           api.p11->C_GetAttributeValue(api.session, key,
                                        &(CK_ATTRIBUTE){CKA_MODULUS, value, sizeof(value)}, 1));
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api attributes");
    TCase *tests = tcase_create("attributes");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_loop_test(tests, token_keys_are_never_readable, 0, COUNT(policies));
    tcase_add_test(tests, search_by_value_finds_no_secret);
    tcase_add_test(tests, history_by_origin);
    tcase_add_test(tests, sticky_attributes);
    tcase_add_test(tests, prohibited_actions);
    tcase_add_test(tests, unique_ids);
    tcase_add_loop_test(tests, keygen_of_pkcs11_tool, 0, COUNT(keygens));
    tcase_add_loop_test(tests, copies_into_the_token, 0, COUNT(policies));
    tcase_add_test(tests, every_entry_is_answered);
    tcase_set_timeout(tests, 120);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
