/* Templates: what each origin, C_SetAttributeValue and C_CopyObject accept and what it becomes. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "include/indexkey.h"
#include "module/attributes_table.h"
#include "tests/unit/attributes_fixture.h"

static const CK_ULONG len_32 = 32;
static const CK_ULONG some_mechanism = CKM_AES_GCM;
static const CK_PROFILE_ID some_profile = CKP_BASELINE_PROVIDER;
static const CK_ULONG suspended = INDEXKEY_STATE_SUSPENDED;
static const CK_ULONG some_time = 1893456000;
static const CK_ATTRIBUTE nested[] = {ATTRIBUTE(CKA_SENSITIVE, yes)};

/* One line an attribute. `key` and `data` have six letters: given in C_CreateObject, C_GenerateKey,
 * C_DeriveKey, C_UnwrapKey (data objects: C_CreateObject, C_DeriveKey only), then set, then copied:
 * o accepted, r CKR_ATTRIBUTE_READ_ONLY, t CKR_ATTRIBUTE_TYPE_INVALID. `shown`: s sensitive, o as
 * given, n a template, * made by the token. */
struct rule {
    CK_ATTRIBUTE sample;
    const char *key;
    const char *data;
    char shown;
};

static const struct rule rules[] = {
    {ATTRIBUTE(CKA_CLASS, class_key), "oooorr", "", 'o'},
    {ATTRIBUTE(CKA_TOKEN, yes), "ooooro", "ooro", 'o'},
    {ATTRIBUTE(CKA_PRIVATE, yes), "ooooro", "ooro", 'o'},
    {{CKA_LABEL, "caf\xc3\xa9", 5}, "oooooo", "oooo", 'o'},
    {{CKA_UNIQUE_ID, "1", 1}, "rrrrrr", "rrrr", '*'},
    {{CKA_APPLICATION, "app", 3}, "tttttt", "oooo", 'o'},
    {ATTRIBUTE(CKA_VALUE, key_bytes), "orrrrr", "orrr", 's'},
    {{CKA_OBJECT_ID, "\x06\x01\x2a", 3}, "tttttt", "oooo", 'o'},
    {ATTRIBUTE(CKA_TRUSTED, no), "oooooo", "tttt", 'o'},
    {{CKA_CHECK_VALUE, NULL, 0}, "oooorr", "tttt", 'o'},
    {ATTRIBUTE(CKA_KEY_TYPE, type_aes), "oooorr", "tott", 'o'},
    {{CKA_ID, "\x01\x00", 2}, "oooooo", "tttt", 'o'},
    {ATTRIBUTE(CKA_SENSITIVE, yes), "oooooo", "tttt", 'o'},
    {ATTRIBUTE(CKA_ENCRYPT, yes), "oooooo", "tttt", 'o'},
    {ATTRIBUTE(CKA_DECRYPT, no), "oooooo", "tttt", 'o'},
    {ATTRIBUTE(CKA_WRAP, yes), "oooooo", "tttt", 'o'},
    {ATTRIBUTE(CKA_UNWRAP, yes), "oooooo", "tttt", 'o'},
    {ATTRIBUTE(CKA_SIGN, yes), "oooooo", "tttt", 'o'},
    {ATTRIBUTE(CKA_VERIFY, yes), "oooooo", "tttt", 'o'},
    {ATTRIBUTE(CKA_DERIVE, yes), "oooooo", "tttt", 'o'},
    {{CKA_START_DATE, "20240229", 8}, "oooooo", "tttt", 'o'},
    {{CKA_END_DATE, "20991231", 8}, "oooooo", "tttt", 'o'},
    {ATTRIBUTE(CKA_VALUE_LEN, len_32), "rooorr", "tott", 'o'},
    {ATTRIBUTE(CKA_EXTRACTABLE, no), "oooooo", "tttt", 'o'},
    {ATTRIBUTE(CKA_LOCAL, no), "rrrrrr", "tttt", '*'},
    {ATTRIBUTE(CKA_NEVER_EXTRACTABLE, no), "rrrrrr", "tttt", '*'},
    {ATTRIBUTE(CKA_ALWAYS_SENSITIVE, no), "rrrrrr", "tttt", '*'},
    {ATTRIBUTE(CKA_KEY_GEN_MECHANISM, some_mechanism), "rrrrrr", "tttt", '*'},
    {ATTRIBUTE(CKA_MODIFIABLE, no), "ooooro", "ooro", 'o'},
    {ATTRIBUTE(CKA_COPYABLE, no), "oooooo", "oooo", 'o'},
    {ATTRIBUTE(CKA_DESTROYABLE, no), "oooooo", "oooo", 'o'},
    {ATTRIBUTE(CKA_ALWAYS_AUTHENTICATE, no), "oooorr", "tttt", 'o'},
    {ATTRIBUTE(CKA_WRAP_WITH_TRUSTED, yes), "oooooo", "tttt", 'o'},
    {ATTRIBUTE(CKA_PROFILE_ID, some_profile), "tttttt", "tttt", 'o'},
    {ATTRIBUTE(CKA_WRAP_TEMPLATE, nested), "oooorr", "tttt", 'n'},
    {ATTRIBUTE(CKA_UNWRAP_TEMPLATE, nested), "oooorr", "tttt", 'n'},
    {ATTRIBUTE(CKA_DERIVE_TEMPLATE, nested), "oooorr", "tttt", 'n'},
    {ATTRIBUTE(CKA_ALLOWED_MECHANISMS, some_mechanism), "oooorr", "tttt", 'o'},
    {ATTRIBUTE(CKA_INDEXKEY_STATE, suspended), "rrrrrr", "tttt", '*'},
    {ATTRIBUTE(CKA_INDEXKEY_ACTIVATION, some_time), "rrrrrr", "tttt", '*'},
    {ATTRIBUTE(CKA_INDEXKEY_DEACTIVATION, some_time), "rrrrrr", "tttt", '*'},
    {ATTRIBUTE(CKA_INDEXKEY_DESTROY_AT, some_time), "rrrrrr", "tttt", '*'},
    {ATTRIBUTE(CKA_INDEXKEY_VERSION, some_time), "rrrrrr", "tttt", '*'},
    {{CKA_INDEXKEY_LINE, "sixteen bytes of", INDEXKEY_LINE_LEN}, "rrrrrr", "tttt", '*'},
    {ATTRIBUTE(CKA_INDEXKEY_HOLD, no), "rrrrrr", "tttt", '*'},
    {{CKA_MODULUS, "\x01", 1}, "tttttt", "tttt", '*'},
    {{CKA_VENDOR_DEFINED | 7, "\x01", 1}, "tttttt", "tttt", '*'},
};

static CK_RV expected(char letter)
{
    if (letter == 'o')
        return CKR_OK;
    return letter == 'r' ? CKR_ATTRIBUTE_READ_ONLY : CKR_ATTRIBUTE_TYPE_INVALID;
}

static void assert_shown(struct object *object, const struct rule *rule)
{
    unsigned char shown[64];
    CK_ULONG len = sizeof(shown);
    if (rule->shown == 'n')
        return; /* test_object_attributes.c reads them */
    CK_RV rv = fixture_get(object, rule->sample.type, shown, &len);
    if (rule->shown == 's' && object->attributes.object_class == CKO_SECRET_KEY) {
        ck_assert_uint_eq(rv, CKR_ATTRIBUTE_SENSITIVE);
        ck_assert_uint_eq(len, CK_UNAVAILABLE_INFORMATION);
        return;
    }
    ck_assert_uint_eq(rv, CKR_OK);
    ck_assert_uint_eq(len, rule->sample.ulValueLen);
    if (len > 0)
        ck_assert_mem_eq(shown, rule->sample.pValue, len);
}

static void assert_given(const struct rule *rule, enum attribute_origin origin,
                         struct fixture_template base, char letter)
{
    struct fixture_template template = fixture_with(base, rule->sample);
    struct template_result result;
    CK_RV rv = fixture_build(origin, &template, &result);
    ck_assert_msg(rv == expected(letter), "attribute 0x%lx, origin %d: 0x%lx", rule->sample.type,
                  (int) origin, rv);
    if (rv != CKR_OK)
        return;
    template_result_clear(&result);
    struct object object = fixture_object(origin, &template);
    if (object.attributes.object_class == CKO_SECRET_KEY || rule->data[2] != 't')
        assert_shown(&object, rule);
    fixture_release(&object);
}

static void assert_changed(const struct rule *rule, struct fixture_template base, bool copy,
                           char letter)
{
    struct object object = fixture_object(ORIGIN_CREATE, &base);
    struct object changed = {.value_is_open = true};
    CK_RV rv =
        copy ? attributes_for_copy(&object.attributes, &rule->sample, 1, false, &changed.attributes)
             : attributes_change(&object.attributes, &rule->sample, 1, false, &changed.attributes);
    ck_assert_msg(rv == expected(letter), "attribute 0x%lx, %s: 0x%lx", rule->sample.type,
                  copy ? "copy" : "set", rv);
    if (rv == CKR_OK)
        assert_shown(&changed, rule);
    fixture_release(&changed);
    fixture_release(&object);
}

START_TEST(every_attribute_follows_its_line)
{
    const struct rule *rule = &rules[_i];
    for (enum attribute_origin origin = ORIGIN_CREATE; origin < ORIGIN_COUNT; origin++)
        assert_given(rule, origin, fixture_key(origin), rule->key[origin]);
    assert_changed(rule, fixture_key(ORIGIN_CREATE), false, rule->key[4]);
    assert_changed(rule, fixture_key(ORIGIN_CREATE), true, rule->key[5]);
    if (rule->data[0] == '\0')
        return;
    assert_given(rule, ORIGIN_CREATE, fixture_data(), rule->data[0]);
    assert_given(rule, ORIGIN_DERIVE, fixture_data(), rule->data[1]);
    assert_changed(rule, fixture_data(), false, rule->data[2]);
    assert_changed(rule, fixture_data(), true, rule->data[3]);
}
END_TEST

START_TEST(the_table_is_sorted_and_every_line_is_tested)
{
    size_t count;
    const struct attribute_row *table = attributes_table_all(&count);
    uint64_t flags = 0;
    for (size_t i = 0; i < count; i++) {
        size_t found = 0;
        for (size_t j = 0; j < COUNT(rules); j++)
            found += rules[j].sample.type == table[i].type;
        ck_assert_msg(found == 1, "%s is in %zu rules", table[i].name, found);
        ck_assert(i == 0 || table[i - 1].type < table[i].type);
        ck_assert_ptr_eq(attributes_table_find(table[i].type), &table[i]);
        ck_assert_ptr_eq(attributes_table_by_tag(table[i].tag), &table[i]);
        if (table[i].kind == KIND_FLAG)
            flags += FLAG_BIT(table[i].flag);
    }
    ck_assert_uint_eq(flags, FLAG_BIT(FLAG_COUNT) - 1);
}
END_TEST

static const unsigned char two = 2;
static const CK_ULONG len_31 = 31;
static const CK_ULONG type_des = CKK_DES;
static const CK_ULONG class_profile = CKO_PROFILE;
static const CK_ULONG too_big_mechanism = 0x100000000UL;
static const CK_ULONG no_mechanism = CK_UNAVAILABLE_INFORMATION;
static const CK_ATTRIBUTE nested_value[] = {ATTRIBUTE(CKA_VALUE, key_bytes)};
static const CK_ATTRIBUTE nested_template[] = {ATTRIBUTE(CKA_WRAP_TEMPLATE, nested)};
static const CK_ULONG all_ones_of_32 = 0xFFFFFFFFUL;
static const CK_ATTRIBUTE nested_number[] = {ATTRIBUTE(CKA_KEY_GEN_MECHANISM, all_ones_of_32)};
static const CK_ATTRIBUTE nested_null[] = {{CKA_LABEL, NULL, 3}};
static const CK_ATTRIBUTE nested_two[] = {ATTRIBUTE(CKA_SIGN, yes), ATTRIBUTE(CKA_SIGN, no)};
static const unsigned char zeros[(64 << 10) + 1];

struct bad_case {
    CK_ATTRIBUTE entry;
    CK_RV rv;
};

static const struct bad_case bad_values[] = {
    {{CKA_LABEL, NULL, 1}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_LABEL, (void *) zeros, CK_UNAVAILABLE_INFORMATION}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_LABEL, (void *) zeros, 256}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_LABEL, "\xff", 1}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_LABEL, "\xc3", 1}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_LABEL, "\xc0\x80", 2}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_LABEL, "\xe0\x9f\xbf", 3}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_LABEL, "\xed\xa0\x80", 3}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_LABEL, "\xe2\x82\x41", 3}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_LABEL, "\xf0\x8f\xbf\xbf", 4}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_LABEL, "\xf4\x90\x80\x80", 4}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_ID, (void *) zeros, 33}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_START_DATE, "2023022", 7}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_START_DATE, "20230229", 8}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_START_DATE, "21000229", 8}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_END_DATE, "20231301", 8}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_END_DATE, "20230431", 8}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_END_DATE, "20230400", 8}, CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_END_DATE, "2023 401", 8}, CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_SIGN, two), CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_SIGN, len_31), CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_SIGN, NULL, 0}, CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_VALUE_LEN, len_31), CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_VALUE_LEN, two), CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_VALUE_LEN, too_big_mechanism), CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_TRUSTED, yes), CKR_ATTRIBUTE_READ_ONLY},
    {ATTRIBUTE(CKA_ALWAYS_AUTHENTICATE, yes), CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_KEY_TYPE, type_generic), CKR_TEMPLATE_INCONSISTENT},
    {ATTRIBUTE(CKA_CLASS, class_data), CKR_TEMPLATE_INCONSISTENT},
    {ATTRIBUTE(CKA_ALLOWED_MECHANISMS, two), CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_ALLOWED_MECHANISMS, too_big_mechanism), CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_ALLOWED_MECHANISMS, no_mechanism), CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_ALLOWED_MECHANISMS, (void *) zeros, 65 * 8}, CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_WRAP_TEMPLATE, two), CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_WRAP_TEMPLATE, nested_value), CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_WRAP_TEMPLATE, nested_template), CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_WRAP_TEMPLATE, nested_number), CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_WRAP_TEMPLATE, nested_null), CKR_ATTRIBUTE_VALUE_INVALID},
    {ATTRIBUTE(CKA_WRAP_TEMPLATE, nested_two), CKR_ATTRIBUTE_VALUE_INVALID},
    {{CKA_WRAP_TEMPLATE, (void *) zeros, 257 * sizeof(CK_ATTRIBUTE)}, CKR_ATTRIBUTE_VALUE_INVALID},
};

START_TEST(bad_values_are_refused)
{
    const struct bad_case *bad = &bad_values[_i];
    struct fixture_template template = fixture_with(fixture_key(ORIGIN_GENERATE), bad->entry);
    struct template_result result;
    memset(&result, 0x5A, sizeof(result));
    struct template_result before = result;
    ck_assert_uint_eq(fixture_build(ORIGIN_GENERATE, &template, &result), bad->rv);
    ck_assert_mem_eq(&result, &before, sizeof(result));
}
END_TEST

struct whole_case {
    const char *what;
    enum attribute_origin origin;
    CK_ATTRIBUTE entries[3];
    CK_ULONG count;
    CK_KEY_TYPE implied;
    CK_RV rv;
};

#define NOT_IMPLIED CK_UNAVAILABLE_INFORMATION
#define CLASS_KEY_ENTRY ATTRIBUTE(CKA_CLASS, class_key)

static const struct whole_case whole_cases[] = {
    {"no class", ORIGIN_CREATE, {{0}}, 0, NOT_IMPLIED, CKR_TEMPLATE_INCOMPLETE},
    {"no type", ORIGIN_CREATE, {CLASS_KEY_ENTRY}, 1, NOT_IMPLIED, CKR_TEMPLATE_INCOMPLETE},
    {"no value",
     ORIGIN_CREATE,
     {CLASS_KEY_ENTRY, ATTRIBUTE(CKA_KEY_TYPE, type_aes)},
     2,
     NOT_IMPLIED,
     CKR_TEMPLATE_INCOMPLETE},
    {"value of 31 bytes",
     ORIGIN_CREATE,
     {CLASS_KEY_ENTRY, ATTRIBUTE(CKA_KEY_TYPE, type_aes), {CKA_VALUE, (void *) zeros, 31}},
     3,
     NOT_IMPLIED,
     CKR_ATTRIBUTE_VALUE_INVALID},
    {"generic of 0 bytes",
     ORIGIN_CREATE,
     {CLASS_KEY_ENTRY, ATTRIBUTE(CKA_KEY_TYPE, type_generic), {CKA_VALUE, NULL, 0}},
     3,
     NOT_IMPLIED,
     CKR_ATTRIBUTE_VALUE_INVALID},
    {"generic of 513 bytes",
     ORIGIN_CREATE,
     {CLASS_KEY_ENTRY, ATTRIBUTE(CKA_KEY_TYPE, type_generic), {CKA_VALUE, (void *) zeros, 513}},
     3,
     NOT_IMPLIED,
     CKR_ATTRIBUTE_VALUE_INVALID},
    {"generic of 512 bytes",
     ORIGIN_CREATE,
     {CLASS_KEY_ENTRY, ATTRIBUTE(CKA_KEY_TYPE, type_generic), {CKA_VALUE, (void *) zeros, 512}},
     3,
     NOT_IMPLIED,
     CKR_OK},
    {"64 KiB of data",
     ORIGIN_CREATE,
     {ATTRIBUTE(CKA_CLASS, class_data), {CKA_VALUE, (void *) zeros, 64 << 10}},
     2,
     NOT_IMPLIED,
     CKR_OK},
    {"more data",
     ORIGIN_CREATE,
     {ATTRIBUTE(CKA_CLASS, class_data), {CKA_VALUE, (void *) zeros, (64 << 10) + 1}},
     2,
     NOT_IMPLIED,
     CKR_ATTRIBUTE_VALUE_INVALID},
    {"a profile",
     ORIGIN_CREATE,
     {ATTRIBUTE(CKA_CLASS, class_profile)},
     1,
     NOT_IMPLIED,
     CKR_ATTRIBUTE_VALUE_INVALID},
    {"a DES key",
     ORIGIN_UNWRAP,
     {ATTRIBUTE(CKA_KEY_TYPE, type_des)},
     1,
     NOT_IMPLIED,
     CKR_ATTRIBUTE_VALUE_INVALID},
    {"short class",
     ORIGIN_GENERATE,
     {{CKA_CLASS, (void *) zeros, 4}},
     1,
     CKK_AES,
     CKR_ATTRIBUTE_VALUE_INVALID},
    {"nothing but the mechanism", ORIGIN_GENERATE, {{0}}, 0, CKK_AES, CKR_OK},
    {"the mechanism makes AES",
     ORIGIN_GENERATE,
     {ATTRIBUTE(CKA_KEY_TYPE, type_generic)},
     1,
     CKK_AES,
     CKR_TEMPLATE_INCONSISTENT},
    {"derived type is free",
     ORIGIN_DERIVE,
     {ATTRIBUTE(CKA_KEY_TYPE, type_aes)},
     1,
     CKK_GENERIC_SECRET,
     CKR_OK},
    {"derived type by default", ORIGIN_DERIVE, {{0}}, 0, CKK_GENERIC_SECRET, CKR_OK},
    {"generated data",
     ORIGIN_GENERATE,
     {ATTRIBUTE(CKA_CLASS, class_data)},
     1,
     CKK_AES,
     CKR_TEMPLATE_INCONSISTENT},
    {"twice alike",
     ORIGIN_GENERATE,
     {{CKA_ID, "a", 1}, ATTRIBUTE(CKA_SIGN, yes), {CKA_ID, "a", 1}},
     3,
     CKK_AES,
     CKR_OK},
    {"twice not alike",
     ORIGIN_GENERATE,
     {{CKA_ID, "a", 1}, ATTRIBUTE(CKA_SIGN, yes), {CKA_ID, "ab", 2}},
     3,
     CKK_AES,
     CKR_TEMPLATE_INCONSISTENT},
};

START_TEST(whole_templates)
{
    const struct whole_case *whole = &whole_cases[_i];
    struct template_result result;
    CK_RV rv = attributes_from_template(whole->origin, whole->entries, whole->count, whole->implied,
                                        &result);
    ck_assert_msg(rv == whole->rv, "%s: 0x%lx", whole->what, rv);
    if (rv == CKR_OK)
        template_result_clear(&result);
}
END_TEST

START_TEST(the_template_itself_is_bounded)
{
    static CK_ATTRIBUTE many[257];
    struct template_result result;
    for (size_t i = 0; i < COUNT(many); i++)
        many[i] = (CK_ATTRIBUTE) ATTRIBUTE(CKA_SIGN, yes);
    ck_assert_uint_eq(attributes_from_template(ORIGIN_GENERATE, NULL, 1, CKK_AES, &result),
                      CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(attributes_from_template(ORIGIN_GENERATE, many, 257, CKK_AES, &result),
                      CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(attributes_from_template(ORIGIN_GENERATE, many, 256, CKK_AES, &result),
                      CKR_OK);
    ck_assert_uint_eq(result.named, FLAG_BIT(FLAG_SIGN));
    ck_assert(!result.has_class && !result.has_key_type && !result.has_value_len);
    template_result_clear(&result);
}
END_TEST

START_TEST(values_may_stand_anywhere)
{
    unsigned char room[1 + sizeof(CK_ULONG) + sizeof(CK_ATTRIBUTE)];
    struct template_result result;
    memcpy(room + 1, &len_32, sizeof(len_32));
    memcpy(room + 1 + sizeof(CK_ULONG), nested, sizeof(nested));
    CK_ATTRIBUTE template[] = {
        {CKA_VALUE_LEN, room + 1, sizeof(CK_ULONG)},
        {CKA_UNWRAP_TEMPLATE, room + 1 + sizeof(CK_ULONG), sizeof(nested)},
    };
    ck_assert_uint_eq(attributes_from_template(ORIGIN_GENERATE, template, 2, CKK_AES, &result),
                      CKR_OK);
    ck_assert(result.has_value_len);
    ck_assert_uint_eq(result.attributes.value_len, 32);
    template_result_clear(&result);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("attributes");
    TCase *tests = tcase_create("templates");
    tcase_add_loop_test(tests, every_attribute_follows_its_line, 0, (int) COUNT(rules));
    tcase_add_test(tests, the_table_is_sorted_and_every_line_is_tested);
    tcase_add_loop_test(tests, bad_values_are_refused, 0, (int) COUNT(bad_values));
    tcase_add_loop_test(tests, whole_templates, 0, (int) COUNT(whole_cases));
    tcase_add_test(tests, the_template_itself_is_bounded);
    tcase_add_test(tests, values_may_stand_anywhere);
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
