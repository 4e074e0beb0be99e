/* What an object shows of itself, what a search finds, and what neither gives away. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/rv.h"
#include "module/lineage.h"
#include "module/mechanism.h"
#include "tests/unit/attributes_fixture.h"

static const CK_ULONG gcm = CKM_AES_GCM;
static const CK_ULONG cbc = CKM_AES_CBC;
static const CK_ULONG len_32 = 32;

static struct object readable_key(void)
{
    struct fixture_template template = fixture_key(ORIGIN_CREATE);
    template = fixture_with(template, (CK_ATTRIBUTE) ATTRIBUTE(CKA_SENSITIVE, no));
    template = fixture_with(template, (CK_ATTRIBUTE) ATTRIBUTE(CKA_EXTRACTABLE, yes));
    template = fixture_with(template, (CK_ATTRIBUTE){CKA_LABEL, "name", 4});
    return fixture_object(ORIGIN_CREATE, &template);
}

/* PKCS #11 5.7.5: every entry is processed, whatever happens to the others. */
START_TEST(every_entry_is_answered)
{
    struct object object = readable_key();
    unsigned char label[8] = {0};
    unsigned char odd[1 + sizeof(CK_ULONG)];
    CK_ULONG class;
    CK_ATTRIBUTE template[] = {
        {CKA_LABEL, label, 3},
        {CKA_MODULUS, label, sizeof(label)},
        {CKA_LABEL, NULL, 0},
        {CKA_CLASS, odd + 1, sizeof(CK_ULONG)},
        {CKA_ID, label, sizeof(label)},
        {CKA_START_DATE, NULL, 77},
        {CKA_ALLOWED_MECHANISMS, label, sizeof(label)},
        {CKA_WRAP_TEMPLATE, NULL, 0},
        {CKA_LABEL, label + 1, 4},
        {CKA_APPLICATION, NULL, 0},
    };
    static const CK_ULONG lengths[] = {
        CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION, 4, sizeof(CK_ULONG),          0, 0,
        CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION, 4, CK_UNAVAILABLE_INFORMATION};
    ck_assert_uint_eq(object_get_attributes(&object, template, COUNT(template)),
                      CKR_BUFFER_TOO_SMALL);
    for (size_t i = 0; i < COUNT(template); i++)
        ck_assert_uint_eq(template[i].ulValueLen, lengths[i]);
    memcpy(&class, odd + 1, sizeof(class));
    ck_assert_uint_eq(class, CKO_SECRET_KEY);
    ck_assert_mem_eq(label, "\0name\0\0\0", 8);
    ck_assert_uint_eq(object_get_attributes(&object, template + 1, 1), CKR_ATTRIBUTE_TYPE_INVALID);
    ck_assert_uint_eq(object_get_attributes(&object, NULL, 0), CKR_OK);
    ck_assert_uint_eq(object_get_attributes(&object, NULL, 1), CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(object_get_attributes(&object, template, 257), CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(values_opened, 0);
    fixture_release(&object);
}
END_TEST

START_TEST(token_made_attributes)
{
    struct fixture_template template = fixture_key(ORIGIN_GENERATE);
    struct object object = fixture_object(ORIGIN_GENERATE, &template);
    CK_ULONG number;
    CK_ULONG len = sizeof(number);
    ck_assert(fixture_flag(&object, CKA_LOCAL));
    ck_assert(fixture_flag(&object, CKA_ALWAYS_SENSITIVE));
    ck_assert(fixture_flag(&object, CKA_NEVER_EXTRACTABLE));
    ck_assert(!fixture_flag(&object, CKA_ALWAYS_AUTHENTICATE));
    ck_assert(!fixture_flag(&object, CKA_TRUSTED));
    ck_assert_uint_eq(fixture_get(&object, CKA_KEY_GEN_MECHANISM, &number, &len), CKR_OK);
    ck_assert_uint_eq(number, CK_UNAVAILABLE_INFORMATION);
    object.attributes.key_gen_mechanism = CKM_AES_KEY_GEN;
    ck_assert_uint_eq(fixture_get(&object, CKA_KEY_GEN_MECHANISM, &number, &len), CKR_OK);
    ck_assert_uint_eq(number, CKM_AES_KEY_GEN);
    fixture_release(&object);
}
END_TEST

struct secrecy {
    bool token, sensitive, extractable, readable;
};

static const struct secrecy secrecies[] = {
    {false, false, true, true}, {false, true, true, false}, {false, false, false, false},
    {true, false, true, false}, {true, true, false, false},
};

START_TEST(secret_values)
{
    const struct secrecy *this = &secrecies[_i];
    struct object object = readable_key();
    unsigned char shown[32];
    CK_ULONG len = sizeof(shown);
    CK_ATTRIBUTE search = ATTRIBUTE(CKA_VALUE, key_bytes);
    attributes_set_flag(&object.attributes, FLAG_TOKEN, this->token);
    attributes_set_flag(&object.attributes, FLAG_SENSITIVE, this->sensitive);
    attributes_set_flag(&object.attributes, FLAG_EXTRACTABLE, this->extractable);
    memset(shown, 0x5A, sizeof(shown));
    CK_RV rv = fixture_get(&object, CKA_VALUE, shown, &len);
    ck_assert_uint_eq(rv, this->readable ? CKR_OK : CKR_ATTRIBUTE_SENSITIVE);
    ck_assert_uint_eq(len, this->readable ? 32 : CK_UNAVAILABLE_INFORMATION);
    ck_assert_uint_eq(shown[0], this->readable ? 0 : 0x5A);
    len = 0;
    ck_assert_uint_eq(fixture_get(&object, CKA_VALUE, NULL, &len), rv);
    ck_assert_uint_eq(object_matches(&object, &search, 1), this->readable);
    search.ulValueLen = 31;
    ck_assert(!object_matches(&object, &search, 1));
    ck_assert_uint_eq(values_opened > 0, this->readable);
    fixture_release(&object);
}
END_TEST

START_TEST(data_is_no_secret)
{
    struct fixture_template template =
        fixture_with(fixture_data(), (CK_ATTRIBUTE){CKA_VALUE, "data", 4});
    template = fixture_with(template, (CK_ATTRIBUTE) ATTRIBUTE(CKA_TOKEN, yes));
    struct object object = fixture_object(ORIGIN_CREATE, &template);
    unsigned char shown[4];
    CK_ULONG len = sizeof(shown);
    ck_assert_uint_eq(fixture_get(&object, CKA_VALUE, shown, &len), CKR_OK);
    ck_assert_mem_eq(shown, "data", 4);
    ck_assert(object_matches(&object, template.entries, template.count));
    ck_assert_uint_eq(fixture_get(&object, CKA_KEY_TYPE, shown, &len), CKR_ATTRIBUTE_TYPE_INVALID);
    fixture_release(&object);
}
END_TEST

struct match_case {
    CK_ATTRIBUTE entry;
    bool matches;
};

static const CK_ATTRIBUTE inner_same[] = {{CKA_LABEL, "in", 2}, ATTRIBUTE(CKA_SENSITIVE, yes)};
static const CK_ATTRIBUTE inner_other[] = {ATTRIBUTE(CKA_SENSITIVE, yes)};

static const struct match_case match_cases[] = {
    {{CKA_LABEL, "name", 4}, true},
    {{CKA_LABEL, "name2", 5}, false},
    {{CKA_LABEL, NULL, 0}, false},
    {{CKA_ID, NULL, 0}, true},
    {{CKA_ID, "\x01", 1}, false},
    {ATTRIBUTE(CKA_CLASS, class_key), true},
    {ATTRIBUTE(CKA_CLASS, class_data), false},
    {ATTRIBUTE(CKA_KEY_TYPE, type_aes), true},
    {ATTRIBUTE(CKA_TOKEN, no), true},
    {ATTRIBUTE(CKA_TOKEN, yes), false},
    {ATTRIBUTE(CKA_VALUE_LEN, len_32), true},
    {{CKA_UNIQUE_ID, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 32}, true},
    {{CKA_UNIQUE_ID, "F0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 32}, false},
    {ATTRIBUTE(CKA_ALLOWED_MECHANISMS, cbc), true},
    {ATTRIBUTE(CKA_ALLOWED_MECHANISMS, gcm), false},
    {ATTRIBUTE(CKA_WRAP_TEMPLATE, inner_same), true},
    {ATTRIBUTE(CKA_WRAP_TEMPLATE, inner_other), false},
    {{CKA_WRAP_TEMPLATE, "123", 3}, false},
    {ATTRIBUTE(CKA_UNWRAP_TEMPLATE, inner_same), false},
    {{CKA_CHECK_VALUE, "\xdc\x95\xc0", 3}, false},
    {ATTRIBUTE(CKA_VALUE, key_bytes), false},
    {{CKA_MODULUS, NULL, 0}, false},
    {{CKA_APPLICATION, NULL, 0}, false},
};

START_TEST(searches)
{
    const struct match_case *this = &match_cases[_i];
    CK_ATTRIBUTE inner[] = {ATTRIBUTE(CKA_SENSITIVE, yes), {CKA_LABEL, "in", 2}};
    struct fixture_template template = fixture_key(ORIGIN_CREATE);
    template = fixture_with(template, (CK_ATTRIBUTE){CKA_LABEL, "name", 4});
    template = fixture_with(template, (CK_ATTRIBUTE) ATTRIBUTE(CKA_ALLOWED_MECHANISMS, cbc));
    template = fixture_with(template, (CK_ATTRIBUTE) ATTRIBUTE(CKA_WRAP_TEMPLATE, inner));
    struct object object = fixture_object(ORIGIN_CREATE, &template);
    CK_ATTRIBUTE two[] = {ATTRIBUTE(CKA_CLASS, class_key), this->entry};
    ck_assert_uint_eq(object_search_template(two, 2), CKR_OK);
    ck_assert_uint_eq(object_matches(&object, two, 2), this->matches);
    ck_assert(object_matches(&object, NULL, 0));
    ck_assert_uint_eq(values_opened, 0);
    fixture_release(&object);
}
END_TEST

START_TEST(search_templates_are_bounded)
{
    CK_ATTRIBUTE entry = {CKA_LABEL, NULL, 4};
    ck_assert_uint_eq(object_search_template(&entry, 1), CKR_ATTRIBUTE_VALUE_INVALID);
    entry = (CK_ATTRIBUTE){CKA_MODULUS, "x", CK_UNAVAILABLE_INFORMATION};
    ck_assert_uint_eq(object_search_template(&entry, 1), CKR_ATTRIBUTE_VALUE_INVALID);
    ck_assert_uint_eq(object_search_template(NULL, 1), CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(object_search_template(&entry, 257), CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(object_search_template(NULL, 0), CKR_OK);
}
END_TEST

START_TEST(unique_ids)
{
    struct object parent = {.id = {{0x0A, 0xB1}}};
    struct object subkey = {.parent = &parent, .purpose = 5, .id = {{0xFF}}};
    char text[OBJECT_UNIQUE_ID_MAX + 1];
    object_unique_id(&parent, text);
    ck_assert_str_eq(text, "0ab10000000000000000000000000000");
    object_unique_id(&subkey, text);
    ck_assert_str_eq(text, "0ab10000000000000000000000000000-5");
}
END_TEST

/* PKCS #11 5.7.5, the rules for an array of attributes. */
START_TEST(templates_are_read_in_three_steps)
{
    CK_ATTRIBUTE given[] = {
        ATTRIBUTE(CKA_ALLOWED_MECHANISMS, gcm), {CKA_LABEL, "in", 2}, ATTRIBUTE(CKA_SIGN, no)};
    struct fixture_template template = fixture_with(
        fixture_key(ORIGIN_CREATE), (CK_ATTRIBUTE) ATTRIBUTE(CKA_UNWRAP_TEMPLATE, given));
    struct object object = fixture_object(ORIGIN_CREATE, &template);
    CK_ULONG len = 0;
    memset(given, 0, sizeof(given)); /* ours is a copy */
    ck_assert_uint_eq(fixture_get(&object, CKA_UNWRAP_TEMPLATE, NULL, &len), CKR_OK);
    ck_assert_uint_eq(len, 3 * sizeof(CK_ATTRIBUTE));
    CK_ATTRIBUTE shown[3] = {0};
    len--;
    ck_assert_uint_eq(fixture_get(&object, CKA_UNWRAP_TEMPLATE, shown, &len), CKR_BUFFER_TOO_SMALL);
    ck_assert_uint_eq(len, CK_UNAVAILABLE_INFORMATION);
    len = sizeof(shown);
    ck_assert_uint_eq(fixture_get(&object, CKA_UNWRAP_TEMPLATE, shown, &len), CKR_OK);
    ck_assert_uint_eq(shown[0].type, CKA_LABEL);
    ck_assert_uint_eq(shown[0].ulValueLen, 2);
    ck_assert_uint_eq(shown[1].type, CKA_SIGN);
    ck_assert_uint_eq(shown[2].type, CKA_ALLOWED_MECHANISMS);
    ck_assert_uint_eq(shown[2].ulValueLen, sizeof(CK_ULONG));
    char label[2];
    CK_BBOOL sign = 7;
    CK_ULONG allowed = 0;
    shown[0].pValue = label;
    shown[0].ulValueLen = 1;
    shown[1].pValue = &sign;
    shown[2].pValue = &allowed;
    ck_assert_uint_eq(fixture_get(&object, CKA_UNWRAP_TEMPLATE, shown, &len), CKR_BUFFER_TOO_SMALL);
    ck_assert_uint_eq(shown[0].ulValueLen, CK_UNAVAILABLE_INFORMATION);
    ck_assert_uint_eq(sign, CK_FALSE);
    ck_assert_uint_eq(allowed, CKM_AES_GCM);
    shown[0].ulValueLen = sizeof(label);
    ck_assert_uint_eq(fixture_get(&object, CKA_UNWRAP_TEMPLATE, shown, &len), CKR_OK);
    ck_assert_mem_eq(label, "in", 2);
    fixture_release(&object);
}
END_TEST

struct check_case {
    const CK_KEY_TYPE *key_type;
    CK_ULONG value_len;
    CK_ATTRIBUTE more;
    unsigned int family;
    const char *check; /* NULL: none */
};

#define ALLOWS(mechanism) ATTRIBUTE(CKA_ALLOWED_MECHANISMS, mechanism)
#define NOTHING                                                                                    \
    {                                                                                              \
        CKA_LABEL, NULL, 0                                                                         \
    }

/* E_K(0) and SHA-1 of all-zero keys, as `openssl enc -aes-N-ecb` and sha1sum give them. */
static const struct check_case check_cases[] = {
    {&type_aes, 16, ALLOWS(cbc), FAMILY_NONE, "\x66\xe9\x4b"},
    {&type_aes, 24, ALLOWS(cbc), FAMILY_NONE, "\xaa\xe0\x69"},
    {&type_aes, 32, ALLOWS(cbc), FAMILY_NONE, "\xdc\x95\xc0"},
    {&type_aes, 32, NOTHING, FAMILY_AES_CBC, "\xdc\x95\xc0"},
    {&type_aes, 32, NOTHING, FAMILY_NONE, NULL},
    {&type_aes, 32, ALLOWS(gcm), FAMILY_NONE, NULL},
    {&type_aes, 32, NOTHING, FAMILY_AES_GCM, NULL},
    {&type_generic, 16, NOTHING, FAMILY_NONE, "\xe1\x29\xf2"},
    {&type_sha256_hmac, 16, NOTHING, FAMILY_NONE, "\xe1\x29\xf2"},
    {&type_generic, 15, NOTHING, FAMILY_NONE, NULL},
};

START_TEST(check_values)
{
    const struct check_case *this = &check_cases[_i];
    ck_assert_uint_eq(crypto_init(), CKR_OK);
    struct fixture_template template = {
        .entries = {ATTRIBUTE(CKA_CLASS, class_key),
                    {CKA_KEY_TYPE, (void *) this->key_type, sizeof(CK_KEY_TYPE)},
                    {CKA_VALUE, (void *) key_bytes, this->value_len},
                    this->more},
        .count = 4,
    };
    struct object object = fixture_object(ORIGIN_CREATE, &template);
    unsigned char check[3];
    CK_ULONG len = sizeof(check);
    struct lineage *lineage;
    ck_assert_uint_eq(lineage_of(&object, &lineage), CKR_OK);
    atomic_store(&lineage->family, this->family);
    CK_RV rv = fixture_get(&object, CKA_CHECK_VALUE, check, &len);
    ck_assert_uint_eq(rv, this->check == NULL ? CKR_ATTRIBUTE_TYPE_INVALID : CKR_OK);
    ck_assert_uint_eq(values_opened > 0, this->check != NULL);
    if (this->check != NULL)
        ck_assert_mem_eq(check, this->check, 3);
    index_key = true;
    ck_assert(!object_check_value(&object, check));
    index_key = false;
    object.purpose = 1;
    ck_assert(!object_check_value(&object, check));
    fixture_release(&object);
    crypto_finish();
}
END_TEST

static void begin(void)
{
    values_opened = 0;
    index_key = false;
}

static Suite *suite(void)
{
    Suite *suite = suite_create("object_attributes");
    TCase *tests = tcase_create("reading");
    tcase_add_checked_fixture(tests, begin, NULL);
    tcase_add_test(tests, every_entry_is_answered);
    tcase_add_test(tests, token_made_attributes);
    tcase_add_loop_test(tests, secret_values, 0, (int) COUNT(secrecies));
    tcase_add_test(tests, data_is_no_secret);
    tcase_add_loop_test(tests, searches, 0, (int) COUNT(match_cases));
    tcase_add_test(tests, search_templates_are_bounded);
    tcase_add_test(tests, unique_ids);
    tcase_add_test(tests, templates_are_read_in_three_steps);
    tcase_add_loop_test(tests, check_values, 0, (int) COUNT(check_cases));
    suite_add_tcase(suite, tests);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
