/* The sealed form of attributes: its bytes, and what happens to bytes that are not. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/rv.h"
#include "module/attributes_table.h"
#include "module/lifecycle.h"
#include "tests/unit/attributes_fixture.h"

#define ITERATIONS 200000

/* The example of docs/formats.md: an AES-256 token key. */
static const unsigned char example[] = {
    0x01,                                           /* format */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xC0, 0xFF, /* flags */
    0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x1F, /* CKO_SECRET_KEY, CKK_AES */
    0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x10, 0x80, /* 32 bytes, CKM_AES_KEY_GEN */
    0x04, 0x00, 0x04, 'n',  'a',  'm',  'e',        /* CKA_LABEL */
    0x0C, 0x00, 0x01, 0x01,                         /* CKA_ID */
    0x23, 0x00, 0x0B,                               /* CKA_WRAP_TEMPLATE: */
    0x0D, 0x00, 0x01, 0x01,                         /*   CKA_SENSITIVE true */
    0x17, 0x00, 0x04, 0x00, 0x00, 0x00, 0x20,       /*   CKA_VALUE_LEN 32 */
    0x26, 0x00, 0x04, 0x00, 0x00, 0x10, 0x87,       /* CKA_ALLOWED_MECHANISMS: CKM_AES_GCM */
};

#define HEADER_LEN 25
#define TEMPLATE_AT (HEADER_LEN + 7 + 4)
#define MECHANISMS_AT (TEMPLATE_AT + 3 + 11)

static const CK_ULONG len_32 = 32;
static const CK_ULONG gcm = CKM_AES_GCM;

static struct view example_view(void)
{
    return (struct view){example, sizeof(example)};
}

START_TEST(the_example_is_what_a_template_makes)
{
    CK_ATTRIBUTE inner[] = {ATTRIBUTE(CKA_VALUE_LEN, len_32), ATTRIBUTE(CKA_SENSITIVE, yes)};
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_ALLOWED_MECHANISMS, gcm),
        ATTRIBUTE(CKA_WRAP_TEMPLATE, inner),
        ATTRIBUTE(CKA_VALUE_LEN, len_32),
        {CKA_ID, "\x01", 1},
        ATTRIBUTE(CKA_TOKEN, yes),
        {CKA_LABEL, "name", 4},
    };
    _cleanup_(template_result_clear) struct template_result result = {0};
    _cleanup_(blob_clear) struct blob encoded = {NULL, 0};
    ck_assert_uint_eq(
        attributes_from_template(ORIGIN_GENERATE, template, COUNT(template), CKK_AES, &result),
        CKR_OK);
    result.attributes.key_gen_mechanism = CKM_AES_KEY_GEN;
    ck_assert_uint_le(result.attributes.others.len, 64);
    ck_assert_uint_eq(attributes_encode(&result.attributes, &encoded), CKR_OK);
    ck_assert_uint_eq(encoded.len, sizeof(example));
    ck_assert_mem_eq(encoded.bytes, example, sizeof(example));
}
END_TEST

START_TEST(what_is_decoded_is_what_was_encoded)
{
    _cleanup_(attributes_clear) struct attributes attributes = {0};
    struct view bytes;
    CK_ULONG shown;
    ck_assert_uint_eq(attributes_decode(example_view(), &attributes), CKR_OK);
    ck_assert_uint_eq(attributes.flags, 0x01C0FF);
    ck_assert_uint_eq(attributes.object_class, CKO_SECRET_KEY);
    ck_assert_uint_eq(attributes.key_type, CKK_AES);
    ck_assert_uint_eq(attributes.value_len, 32);
    ck_assert_uint_eq(attributes.key_gen_mechanism, CKM_AES_KEY_GEN);
    ck_assert(attributes_bytes(&attributes, CKA_LABEL, &bytes));
    ck_assert(view_equal(bytes, view_text("name")));
    ck_assert(attributes_bytes(&attributes, CKA_ALLOWED_MECHANISMS, &bytes));
    ck_assert_uint_eq(bytes.len, sizeof(shown));
    memcpy(&shown, bytes.bytes, sizeof(shown));
    ck_assert_uint_eq(shown, CKM_AES_GCM);
    ck_assert(!attributes_bytes(&attributes, CKA_UNWRAP_TEMPLATE, &bytes));
}
END_TEST

struct edit {
    const char *what;
    size_t at;
    unsigned char byte;
};

static const struct edit edits[] = {
    {"another format", 0, 2},
    {"a flag that does not exist", 5, 0x80},
    {"class of a profile", 12, CKO_PROFILE},
    {"class of a certificate", 12, CKO_CERTIFICATE},
    {"data with a key type", 12, CKO_DATA},
    {"DES key", 16, CKK_DES},
    {"31 bytes", 20, 31},
    {"label that is no UTF-8", HEADER_LEN + 3, 0xFF},
    {"label that is longer than the rest", HEADER_LEN + 1, 0xFF},
    {"tag of no attribute", HEADER_LEN, 0},
    {"tag of data objects", HEADER_LEN, 6},
    {"tag of a flag", HEADER_LEN, 2},
    {"tag of the value", HEADER_LEN, 7},
    {"tags that fall", HEADER_LEN, 0x0C},
    {"template with itself inside", TEMPLATE_AT + 3, 0x23},
    {"template with a value inside", TEMPLATE_AT + 3, 7},
    {"template with a flag of 2", TEMPLATE_AT + 6, 2},
    {"template with tags that fall", TEMPLATE_AT + 3, 0x18},
    {"template with an attribute of no key", TEMPLATE_AT + 7, 0x22},
    {"template with a short number", TEMPLATE_AT + 9, 3},
    {"mechanism list of 3 bytes", MECHANISMS_AT + 2, 3},
};

START_TEST(edited_bytes_are_refused)
{
    unsigned char edited[sizeof(example)];
    struct attributes attributes = {.flags = 77};
    memcpy(edited, example, sizeof(example));
    edited[edits[_i].at] = edits[_i].byte;
    CK_RV rv = attributes_decode((struct view){edited, sizeof(edited)}, &attributes);
    ck_assert_msg(rv == CKR_DATA_INVALID, "%s: 0x%lx", edits[_i].what, rv);
    ck_assert_uint_eq(attributes.flags, 77);
}
END_TEST

START_TEST(cut_and_lengthened_bytes_are_refused)
{
    static const size_t whole[] = {HEADER_LEN, HEADER_LEN + 7, TEMPLATE_AT, MECHANISMS_AT,
                                   sizeof(example)};
    unsigned char longer[sizeof(example) + 1] = {0};
    for (size_t len = 0; len <= sizeof(example); len++) {
        struct attributes attributes = {0};
        bool is_whole = false;
        for (size_t i = 0; i < COUNT(whole); i++)
            is_whole |= len == whole[i];
        ck_assert_uint_eq(attributes_decode((struct view){example, len}, &attributes),
                          is_whole ? CKR_OK : CKR_DATA_INVALID);
        attributes_clear(&attributes);
    }
    struct attributes attributes;
    memcpy(longer, example, sizeof(example));
    ck_assert_uint_eq(attributes_decode((struct view){longer, sizeof(longer)}, &attributes),
                      CKR_DATA_INVALID);
}
END_TEST

/* Each of these would be a second form of a set of attributes. */
START_TEST(empty_text_is_never_stored)
{
    unsigned char bytes[HEADER_LEN + 3];
    struct attributes attributes;
    memcpy(bytes, example, HEADER_LEN);
    memcpy(bytes + HEADER_LEN, "\x04\x00\x00", 3);
    ck_assert_uint_eq(attributes_decode((struct view){bytes, sizeof(bytes)}, &attributes),
                      CKR_DATA_INVALID);
    bytes[HEADER_LEN] = 0x26; /* CKA_ALLOWED_MECHANISMS: empty is not unset */
    ck_assert_uint_eq(attributes_decode((struct view){bytes, sizeof(bytes)}, &attributes), CKR_OK);
    ck_assert(!attributes_allow(&attributes, CKM_AES_GCM));
    attributes_clear(&attributes);
}
END_TEST

/* What a key without a life of its own has reads the same without an entry. */
struct wide_case {
    unsigned char tag;
    unsigned char bytes[9];
    unsigned char len;
    CK_RV wanted;
};

static const struct wide_case wide_cases[] = {
    {0x27, {0, 0, 0, 0, 0, 0, 0, 2}, 8, CKR_OK},           /* CKA_INDEXKEY_STATE: suspended */
    {0x27, {0, 0, 0, 0, 0, 0, 0, 1}, 8, CKR_DATA_INVALID}, /* active is the default */
    {0x27, {0, 0, 0, 0, 0, 0, 0, 5}, 8, CKR_DATA_INVALID}, /* DESTROY_AT says it */
    {0x27, {0, 0, 0, 2}, 4, CKR_DATA_INVALID},
    {0x27, {0, 0, 0, 0, 0, 0, 0, 2, 0}, 9, CKR_DATA_INVALID},
    {0x28, {0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0xDE, 0xF0}, 8, CKR_OK}, /* ACTIVATION */
    {0x28, {0}, 8, CKR_DATA_INVALID},
    {0x28, {0x80}, 8, CKR_DATA_INVALID},
    {0x2A, {0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 8, CKR_OK}, /* DESTROY_AT */
    {0x2B, {0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}, 8, CKR_OK},             /* VERSION */
    {0x2B, {0, 0, 0, 1, 0, 0, 0, 0}, 8, CKR_DATA_INVALID},
    {0x2C, {0}, 9, CKR_DATA_INVALID}, /* LINE */
    {0x2D, {1}, 1, CKR_DATA_INVALID}, /* HOLD is a flag */
};

START_TEST(life_cycles_have_one_form)
{
    const struct wide_case *wide = &wide_cases[_i];
    unsigned char bytes[HEADER_LEN + 3 + sizeof(wide->bytes)];
    _cleanup_(attributes_clear) struct attributes attributes = {0};
    _cleanup_(blob_clear) struct blob again = {NULL, 0};
    memcpy(bytes, example, HEADER_LEN);
    bytes[HEADER_LEN] = wide->tag;
    bytes[HEADER_LEN + 1] = 0;
    bytes[HEADER_LEN + 2] = wide->len;
    memcpy(bytes + HEADER_LEN + 3, wide->bytes, wide->len);
    struct view input = {bytes, HEADER_LEN + 3U + wide->len};
    ck_assert_uint_eq(attributes_decode(input, &attributes), wide->wanted);
    if (wide->wanted != CKR_OK)
        return;
    const struct attribute_row *row = attributes_table_by_tag(wide->tag);
    CK_ULONG number = 0;
    for (size_t i = 0; i < wide->len; i++)
        number = number << 8 | wide->bytes[i];
    ck_assert_uint_eq(lifecycle_get(&attributes, row->type), number);
    ck_assert_uint_eq(lifecycle_is_begun(&attributes), wide->tag <= 0x2A);
    ck_assert_uint_eq(attributes_encode(&attributes, &again), CKR_OK);
    ck_assert(view_equal(blob_view(&again), input));
    ck_assert_uint_eq(lifecycle_set(&attributes, row->type, (CK_ULONG) row->unset), CKR_OK);
    ck_assert_uint_eq(attributes.others.len, 0);
}
END_TEST

START_TEST(labels_of_versions)
{
    static const char *const versions[] = {"L@1", "@0", "a@b@123"};
    static const char *const others[] = {"", "1", "L1", "L@", "L@1a", "L@ 1", "@"};
    for (size_t i = 0; i < COUNT(versions); i++)
        ck_assert_msg(lifecycle_is_version_label(view_text(versions[i])), "%s", versions[i]);
    for (size_t i = 0; i < COUNT(others); i++)
        ck_assert_msg(!lifecycle_is_version_label(view_text(others[i])), "%s", others[i]);
}
END_TEST

static uint64_t random_state = 0x9E3779B97F4A7C15U;

/* xorshift64*: the same inputs at every run. */
static size_t random_below(size_t limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (size_t) ((random_state * 0x2545F4914F6CDD1DU) >> 33) % limit;
}

/* The example with a few bytes changed, cut, doubled or noise behind a good header. */
static size_t make_input(unsigned char input[2 * sizeof(example)])
{
    size_t len = sizeof(example);
    memcpy(input, example, len);
    if (random_below(4) == 0) {
        len = HEADER_LEN + random_below(sizeof(example));
        for (size_t i = HEADER_LEN; i < len; i++)
            input[i] = (unsigned char) random_below(random_below(2) == 0 ? 40 : 256);
    } else if (random_below(4) == 0) {
        memcpy(input + len, example + HEADER_LEN, len - HEADER_LEN);
        len += random_below(len - HEADER_LEN);
    }
    for (size_t edits_left = random_below(4); edits_left > 0; edits_left--)
        input[random_below(len)] = (unsigned char) random_below(256);
    return random_below(8) == 0 ? random_below(len) : len;
}

START_TEST(random_bytes_do_no_harm)
{
    size_t accepted = 0;
    for (size_t i = 0; i < ITERATIONS; i++) {
        unsigned char input[2 * sizeof(example)];
        size_t len = make_input(input);
        /* On the heap and of exact size, so that a sanitizer sees a byte too many. */
        _cleanup_(blob_clear) struct blob exact = {NULL, 0};
        _cleanup_(blob_clear) struct blob again = {NULL, 0};
        _cleanup_(attributes_clear) struct attributes attributes = {0};
        ck_assert_uint_eq(blob_from(input, len, &exact), CKR_OK);
        CK_RV rv = attributes_decode(blob_view(&exact), &attributes);
        if (rv != CKR_OK) {
            ck_assert_uint_eq(rv, CKR_DATA_INVALID);
            continue;
        }
        accepted++;
        ck_assert_uint_eq(attributes_encode(&attributes, &again), CKR_OK);
        ck_assert(view_equal(blob_view(&exact), blob_view(&again)));
    }
    ck_assert_uint_gt(accepted, ITERATIONS / 100);
    ck_assert_uint_lt(accepted, ITERATIONS);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("attributes_codec");
    TCase *tests = tcase_create("codec");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, the_example_is_what_a_template_makes);
    tcase_add_test(tests, what_is_decoded_is_what_was_encoded);
    tcase_add_loop_test(tests, edited_bytes_are_refused, 0, (int) COUNT(edits));
    tcase_add_test(tests, cut_and_lengthened_bytes_are_refused);
    tcase_add_test(tests, empty_text_is_never_stored);
    tcase_add_loop_test(tests, life_cycles_have_one_form, 0, COUNT(wide_cases));
    tcase_add_test(tests, labels_of_versions);
    tcase_add_test(tests, random_bytes_do_no_harm);
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
