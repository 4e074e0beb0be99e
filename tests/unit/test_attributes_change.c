/* What attributes become: defaults, history, one-way changes, copies, templates that bind. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "tests/unit/attributes_fixture.h"

#define BIT(name) FLAG_BIT(FLAG_##name)
#define STORAGE (BIT(PRIVATE) | BIT(MODIFIABLE) | BIT(COPYABLE) | BIT(DESTROYABLE))

struct default_case {
    enum attribute_origin origin;
    const CK_KEY_TYPE *key_type;
    CK_ATTRIBUTE more;
    uint64_t flags; /* beside STORAGE */
};

#define NOTHING                                                                                    \
    {                                                                                              \
        CKA_LABEL, NULL, 0                                                                         \
    }

static const struct default_case default_cases[] = {
    {ORIGIN_GENERATE, &type_aes, NOTHING,
     BIT(SENSITIVE) | BIT(ENCRYPT) | BIT(DECRYPT) | BIT(LOCAL) | BIT(ALWAYS_SENSITIVE) |
         BIT(NEVER_EXTRACTABLE)},
    {ORIGIN_DERIVE, &type_aes, NOTHING,
     BIT(SENSITIVE) | BIT(ENCRYPT) | BIT(DECRYPT) | BIT(ALWAYS_SENSITIVE) | BIT(NEVER_EXTRACTABLE)},
    {ORIGIN_UNWRAP, &type_aes, NOTHING,
     BIT(SENSITIVE) | BIT(EXTRACTABLE) | BIT(ENCRYPT) | BIT(DECRYPT)},
    {ORIGIN_UNWRAP, &type_aes, ATTRIBUTE(CKA_EXTRACTABLE, no),
     BIT(SENSITIVE) | BIT(ENCRYPT) | BIT(DECRYPT)},
    {ORIGIN_CREATE, &type_aes, NOTHING, BIT(SENSITIVE) | BIT(ENCRYPT) | BIT(DECRYPT)},
    {ORIGIN_CREATE, &type_sha256_hmac, NOTHING, BIT(SENSITIVE) | BIT(SIGN) | BIT(VERIFY)},
    {ORIGIN_CREATE, &type_generic, NOTHING, BIT(SENSITIVE)},
    {ORIGIN_CREATE, &type_aes, ATTRIBUTE(CKA_WRAP, yes), BIT(SENSITIVE) | BIT(WRAP)},
    {ORIGIN_CREATE, &type_aes, ATTRIBUTE(CKA_WRAP, no), BIT(SENSITIVE)},
    {ORIGIN_CREATE, &type_sha256_hmac, ATTRIBUTE(CKA_DERIVE, yes), BIT(SENSITIVE) | BIT(DERIVE)},
    {ORIGIN_GENERATE, &type_generic, ATTRIBUTE(CKA_SENSITIVE, no),
     BIT(LOCAL) | BIT(NEVER_EXTRACTABLE)},
    {ORIGIN_GENERATE, &type_generic, ATTRIBUTE(CKA_EXTRACTABLE, yes),
     BIT(SENSITIVE) | BIT(EXTRACTABLE) | BIT(LOCAL) | BIT(ALWAYS_SENSITIVE)},
};

START_TEST(defaults)
{
    const struct default_case *this = &default_cases[_i];
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_CLASS, class_key),
        {CKA_KEY_TYPE, (void *) this->key_type, sizeof(CK_KEY_TYPE)},
        this->more,
        ATTRIBUTE(CKA_VALUE, key_bytes),
    };
    struct template_result result;
    ck_assert_uint_eq(attributes_from_template(this->origin, template,
                                               this->origin == ORIGIN_CREATE ? 4 : 3,
                                               CK_UNAVAILABLE_INFORMATION, &result),
                      CKR_OK);
    ck_assert_uint_eq(result.attributes.flags, this->flags | STORAGE);
    ck_assert_uint_eq(result.attributes.key_gen_mechanism, UINT32_MAX);
    ck_assert_uint_eq(result.attributes.others.len, 0);
    ck_assert_uint_eq(result.has_value, this->origin == ORIGIN_CREATE);
    ck_assert_uint_eq(result.value.len, this->origin == ORIGIN_CREATE ? 32 : 0);
    ck_assert_uint_eq(result.attributes.value_len, result.value.len);
    template_result_clear(&result);
    ck_assert_ptr_null(result.value.bytes);
}
END_TEST

START_TEST(defaults_of_data)
{
    struct fixture_template template = fixture_data();
    struct template_result result;
    ck_assert_uint_eq(fixture_build(ORIGIN_CREATE, &template, &result), CKR_OK);
    ck_assert_uint_eq(result.attributes.flags, STORAGE);
    ck_assert_uint_eq(result.attributes.key_type, 0);
    ck_assert(!result.has_value && !result.has_key_type && result.has_class);
    template_result_clear(&result);
}
END_TEST

struct way {
    CK_ATTRIBUTE_TYPE type;
    enum attribute_flag flag;
    bool copies;
    bool is_so;
    bool from;
    CK_RV rv; /* of the change to !from */
};

static const struct way ways[] = {
    {CKA_SENSITIVE, FLAG_SENSITIVE, false, false, false, CKR_OK},
    {CKA_SENSITIVE, FLAG_SENSITIVE, false, false, true, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_SENSITIVE, FLAG_SENSITIVE, true, false, true, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_EXTRACTABLE, FLAG_EXTRACTABLE, false, false, true, CKR_OK},
    {CKA_EXTRACTABLE, FLAG_EXTRACTABLE, false, false, false, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_EXTRACTABLE, FLAG_EXTRACTABLE, true, true, false, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_WRAP_WITH_TRUSTED, FLAG_WRAP_WITH_TRUSTED, false, false, false, CKR_OK},
    {CKA_WRAP_WITH_TRUSTED, FLAG_WRAP_WITH_TRUSTED, true, false, true, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_COPYABLE, FLAG_COPYABLE, true, false, true, CKR_OK},
    {CKA_COPYABLE, FLAG_COPYABLE, false, false, false, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_DESTROYABLE, FLAG_DESTROYABLE, false, false, true, CKR_OK},
    {CKA_DESTROYABLE, FLAG_DESTROYABLE, false, false, false, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_DESTROYABLE, FLAG_DESTROYABLE, true, false, false, CKR_OK},
    {CKA_PRIVATE, FLAG_PRIVATE, true, false, false, CKR_OK},
    {CKA_PRIVATE, FLAG_PRIVATE, true, false, true, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_MODIFIABLE, FLAG_MODIFIABLE, true, false, false, CKR_OK},
    {CKA_TOKEN, FLAG_TOKEN, true, false, true, CKR_OK},
    {CKA_TRUSTED, FLAG_TRUSTED, false, false, false, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_TRUSTED, FLAG_TRUSTED, true, false, false, CKR_ATTRIBUTE_READ_ONLY},
    {CKA_TRUSTED, FLAG_TRUSTED, false, true, false, CKR_OK},
    {CKA_TRUSTED, FLAG_TRUSTED, false, false, true, CKR_OK},
    {CKA_SIGN, FLAG_SIGN, false, false, false, CKR_OK},
    {CKA_ENCRYPT, FLAG_ENCRYPT, false, false, true, CKR_OK},
};

START_TEST(one_way_attributes)
{
    const struct way *way = &ways[_i];
    uint64_t others = BIT(MODIFIABLE) | BIT(COPYABLE) | BIT(LOCAL) | BIT(NEVER_EXTRACTABLE);
    struct attributes old = {.flags = others, .object_class = CKO_SECRET_KEY, .key_type = CKK_AES};
    if (way->copies && way->flag == FLAG_MODIFIABLE)
        old.flags &= ~BIT(MODIFIABLE);
    struct attributes changed;
    attributes_set_flag(&old, way->flag, way->from);
    if (way->flag == FLAG_COPYABLE && !way->copies)
        attributes_set_flag(&old, FLAG_MODIFIABLE, true);
    for (unsigned int same = 0; same < 2; same++) {
        bool wanted = same == 1 ? way->from : !way->from;
        CK_ATTRIBUTE template = {way->type, (void *) (wanted ? &yes : &no), 1};
        CK_RV rv = way->copies ? attributes_for_copy(&old, &template, 1, way->is_so, &changed)
                               : attributes_change(&old, &template, 1, way->is_so, &changed);
        ck_assert_uint_eq(rv, same == 1 ? CKR_OK : way->rv);
        if (rv != CKR_OK)
            continue;
        struct attributes wanted_attributes = old;
        attributes_set_flag(&wanted_attributes, way->flag, wanted);
        ck_assert_uint_eq(changed.flags, wanted_attributes.flags);
        attributes_clear(&changed);
    }
}
END_TEST

START_TEST(prohibited)
{
    struct attributes old = {.flags = BIT(COPYABLE), .object_class = CKO_SECRET_KEY};
    struct attributes changed;
    CK_ATTRIBUTE label = {CKA_LABEL, "a", 1};
    ck_assert_uint_eq(attributes_change(&old, &label, 1, false, &changed), CKR_ACTION_PROHIBITED);
    ck_assert_uint_eq(attributes_for_copy(&old, &label, 1, false, &changed), CKR_OK);
    attributes_clear(&changed);
    old.flags = BIT(MODIFIABLE);
    ck_assert_uint_eq(attributes_for_copy(&old, &label, 1, false, &changed), CKR_ACTION_PROHIBITED);
    ck_assert_uint_eq(attributes_change(&old, &label, 1, false, &changed), CKR_OK);
    attributes_clear(&changed);
}
END_TEST

START_TEST(a_change_is_whole_or_none)
{
    struct fixture_template template =
        fixture_with(fixture_key(ORIGIN_CREATE), (CK_ATTRIBUTE){CKA_LABEL, "old", 3});
    struct object object = fixture_object(ORIGIN_CREATE, &template);
    struct attributes changed;
    memset(&changed, 0x5A, sizeof(changed));
    struct attributes before = changed;
    CK_ATTRIBUTE change[] = {
        {CKA_LABEL, "new one", 7}, {CKA_ID, "\x07", 1}, ATTRIBUTE(CKA_LOCAL, yes)};
    struct view label;
    ck_assert_uint_eq(attributes_change(&object.attributes, change, 3, false, &changed),
                      CKR_ATTRIBUTE_READ_ONLY);
    ck_assert_mem_eq(&changed, &before, sizeof(changed));
    ck_assert_uint_eq(attributes_change(&object.attributes, change, 2, false, &changed), CKR_OK);
    ck_assert(attributes_bytes(&object.attributes, CKA_LABEL, &label));
    ck_assert(view_equal(label, view_text("old")));
    ck_assert(attributes_bytes(&changed, CKA_LABEL, &label));
    ck_assert(view_equal(label, view_text("new one")));
    ck_assert(attributes_bytes(&changed, CKA_ID, &label) && label.len == 1);
    attributes_clear(&changed);
    change[0].ulValueLen = 0;
    ck_assert_uint_eq(attributes_change(&object.attributes, change, 1, false, &changed), CKR_OK);
    ck_assert(!attributes_bytes(&changed, CKA_LABEL, &label));
    ck_assert_uint_eq(changed.others.len, 0);
    attributes_clear(&changed);
    fixture_release(&object);
}
END_TEST

START_TEST(allowed_mechanisms)
{
    struct attributes attributes = {.object_class = CKO_SECRET_KEY};
    const CK_MECHANISM_TYPE two[] = {CKM_AES_GCM, CKM_SHA256_HMAC};
    static const CK_MECHANISM_TYPE many[65];
    struct view shown;
    ck_assert(attributes_allow(&attributes, CKM_AES_CBC));
    ck_assert_uint_eq(attributes_set_allowed(&attributes, two, 2), CKR_OK);
    ck_assert(attributes_allow(&attributes, CKM_AES_GCM));
    ck_assert(attributes_allow(&attributes, CKM_SHA256_HMAC));
    ck_assert(!attributes_allow(&attributes, CKM_AES_CBC));
    ck_assert(attributes_bytes(&attributes, CKA_ALLOWED_MECHANISMS, &shown));
    ck_assert(view_equal(shown, (struct view){(const unsigned char *) two, sizeof(two)}));
    ck_assert_uint_eq(attributes_set_allowed(&attributes, many, 65), CKR_ATTRIBUTE_VALUE_INVALID);
    ck_assert(attributes_allow(&attributes, CKM_AES_GCM));
    ck_assert_uint_eq(attributes_set_allowed(&attributes, NULL, 0), CKR_OK);
    ck_assert(attributes_bytes(&attributes, CKA_ALLOWED_MECHANISMS, &shown));
    ck_assert(!attributes_allow(&attributes, CKM_AES_GCM));
    attributes_clear(&attributes);
}
END_TEST

static const CK_ULONG len_32 = 32;
static const CK_ULONG len_16 = 16;
static const CK_ULONG gcm = CKM_AES_GCM;
static const CK_ULONG cbc = CKM_AES_CBC;
static const CK_ULONG unavailable = CK_UNAVAILABLE_INFORMATION;

struct satisfy_case {
    CK_ATTRIBUTE entry;
    bool satisfied;
};

static const struct satisfy_case satisfy_cases[] = {
    {ATTRIBUTE(CKA_SENSITIVE, yes), true},
    {ATTRIBUTE(CKA_SENSITIVE, no), false},
    {ATTRIBUTE(CKA_LOCAL, no), true},
    {ATTRIBUTE(CKA_CLASS, class_key), true},
    {ATTRIBUTE(CKA_KEY_TYPE, type_aes), true},
    {ATTRIBUTE(CKA_KEY_TYPE, type_generic), false},
    {ATTRIBUTE(CKA_VALUE_LEN, len_32), true},
    {ATTRIBUTE(CKA_VALUE_LEN, len_16), false},
    {{CKA_LABEL, "name", 4}, true},
    {{CKA_LABEL, "nam", 3}, false},
    {{CKA_ID, NULL, 0}, true},
    {{CKA_ID, "\x01", 1}, false},
    {ATTRIBUTE(CKA_ALLOWED_MECHANISMS, gcm), true},
    {ATTRIBUTE(CKA_ALLOWED_MECHANISMS, cbc), false},
    {{CKA_ALLOWED_MECHANISMS, NULL, 0}, false},
    {ATTRIBUTE(CKA_KEY_GEN_MECHANISM, unavailable), true},
    {ATTRIBUTE(CKA_KEY_GEN_MECHANISM, gcm), false},
};

START_TEST(templates_bind)
{
    const struct satisfy_case *this = &satisfy_cases[_i];
    CK_ATTRIBUTE inner[] = {this->entry, ATTRIBUTE(CKA_ENCRYPT, yes)};
    struct fixture_template template = fixture_key(ORIGIN_CREATE);
    template = fixture_with(template, (CK_ATTRIBUTE){CKA_LABEL, "name", 4});
    template = fixture_with(template, (CK_ATTRIBUTE) ATTRIBUTE(CKA_ALLOWED_MECHANISMS, gcm));
    template = fixture_with(template, (CK_ATTRIBUTE) ATTRIBUTE(CKA_ENCRYPT, yes));
    struct object object = fixture_object(ORIGIN_CREATE, &template);
    CK_ATTRIBUTE wrap = ATTRIBUTE(CKA_WRAP_TEMPLATE, inner);
    struct fixture_template wrapping = fixture_with(fixture_key(ORIGIN_CREATE), wrap);
    struct object wrapper = fixture_object(ORIGIN_CREATE, &wrapping);
    struct view canonical;
    ck_assert(attributes_bytes(&wrapper.attributes, CKA_WRAP_TEMPLATE, &canonical));
    ck_assert_uint_eq(attributes_satisfy(&object.attributes, canonical), this->satisfied);
    attributes_set_flag(&object.attributes, FLAG_ENCRYPT, false);
    ck_assert(!attributes_satisfy(&object.attributes, canonical));
    ck_assert(!attributes_satisfy(&object.attributes, (struct view){canonical.bytes, 2}));
    ck_assert(attributes_satisfy(&object.attributes, (struct view){NULL, 0}));
    fixture_release(&wrapper);
    fixture_release(&object);
}
END_TEST

/* Every allocation in turn fails; nothing is lost and the answer is CKR_HOST_MEMORY. */
START_TEST(memory_runs_out)
{
    CK_ATTRIBUTE inner[] = {{CKA_LABEL, "x", 1}, ATTRIBUTE(CKA_SIGN, yes)};
    struct fixture_template template = fixture_key(ORIGIN_CREATE);
    template = fixture_with(template, (CK_ATTRIBUTE){CKA_LABEL, "name", 4});
    template = fixture_with(template, (CK_ATTRIBUTE) ATTRIBUTE(CKA_ALLOWED_MECHANISMS, gcm));
    template = fixture_with(template, (CK_ATTRIBUTE) ATTRIBUTE(CKA_WRAP_TEMPLATE, inner));
    CK_ATTRIBUTE change[] = {{CKA_LABEL, "name two", 8}, {CKA_ID, "1", 1}};
    fixture_release(&(struct object[]){fixture_object(ORIGIN_CREATE, &template)}[0]);
    long live = mem_live();
    CK_RV rv = CKR_HOST_MEMORY;
    unsigned long failures = 0;
    for (; rv == CKR_HOST_MEMORY; failures++) {
        struct template_result result = {0};
        _cleanup_(attributes_clear) struct attributes changed = {0};
        _cleanup_(attributes_clear) struct attributes decoded = {0};
        _cleanup_(blob_clear) struct blob encoded = {NULL, 0};
        mem_fail_at(failures + 1, false);
        rv = fixture_build(ORIGIN_CREATE, &template, &result);
        if (rv == CKR_OK)
            rv = attributes_change(&result.attributes, change, 2, false, &changed);
        if (rv == CKR_OK)
            rv = attributes_encode(&changed, &encoded);
        if (rv == CKR_OK)
            rv = attributes_decode(blob_view(&encoded), &decoded);
        mem_fail_at(0, false);
        template_result_clear(&result);
    }
    ck_assert_uint_eq(rv, CKR_OK);
    ck_assert_uint_gt(failures, 10);
    ck_assert_int_eq(mem_live(), live);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("attributes_change");
    TCase *tests = tcase_create("change");
    tcase_add_loop_test(tests, defaults, 0, (int) COUNT(default_cases));
    tcase_add_test(tests, defaults_of_data);
    tcase_add_loop_test(tests, one_way_attributes, 0, (int) COUNT(ways));
    tcase_add_test(tests, prohibited);
    tcase_add_test(tests, a_change_is_whole_or_none);
    tcase_add_test(tests, allowed_mechanisms);
    tcase_add_loop_test(tests, templates_bind, 0, (int) COUNT(satisfy_cases));
    tcase_add_test(tests, memory_runs_out);
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
