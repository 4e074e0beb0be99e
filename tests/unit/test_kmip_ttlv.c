/* KMIP's encoding: what is written is as in the standard's examples, what is malformed is not read.
 */
#include <string.h>

#include "base/alloc.h"
#include "tests/support/token_fixture.h"
#include "tokens/kmip_ttlv.h"

#define TAG 0x420020

/* KMIP 1.4, 9.1.2: examples. */
static const unsigned char an_integer[] = {0x42, 0, 0x20, 2, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0};
static const unsigned char a_text[] = {0x42, 0,   0x20, 7,   0,   0,   0,   0x0b,
                                       'H',  'e', 'l',  'l', 'o', ' ', 'W', 'o',
                                       'r',  'l', 'd',  0,   0,   0,   0,   0};
static const unsigned char a_structure[] = {
    0x42, 0, 0x20, 1, 0,    0, 0, 0x20, 0x42, 0, 4, 5, 0, 0, 0, 4,    0, 0, 0, 0xfe,
    0,    0, 0,    0, 0x42, 0, 5, 2,    0,    0, 0, 4, 0, 0, 0, 0xff, 0, 0, 0, 0};

static void expect_written(struct ttlv_writer *writer, const unsigned char *wanted, size_t len)
{
    struct view written = ttlv_written(writer);
    ck_assert(view_equal(written, (struct view){wanted, len}));
    ttlv_clear(writer);
}

START_TEST(what_is_written_is_the_standards)
{
    struct ttlv_writer writer = {.len = 0};
    ttlv_number(&writer, TAG, TTLV_INTEGER, 8);
    expect_written(&writer, an_integer, sizeof(an_integer));
    ttlv_string(&writer, TAG, TTLV_TEXT, view_text("Hello World"));
    expect_written(&writer, a_text, sizeof(a_text));
    ttlv_begin(&writer, TAG);
    ttlv_number(&writer, 0x420004, TTLV_ENUMERATION, 254);
    ttlv_number(&writer, 0x420005, TTLV_INTEGER, 255);
    ttlv_end(&writer);
    expect_written(&writer, a_structure, sizeof(a_structure));
}
END_TEST

START_TEST(what_is_not_whole_is_not_written)
{
    struct ttlv_writer writer = {.len = 0};
    unsigned char much[4096] = {0};
    ck_assert_uint_eq(ttlv_written(&writer).len, 0);
    ttlv_begin(&writer, TAG);
    ck_assert_uint_eq(ttlv_written(&writer).len, 0);
    ttlv_end(&writer);
    ttlv_end(&writer);
    ck_assert_uint_eq(ttlv_written(&writer).len, 0);
    ttlv_clear(&writer);
    for (int i = 0; i < 5; i++)
        ttlv_string(&writer, TAG, TTLV_BYTES, (struct view){much, sizeof(much)});
    ck_assert_uint_eq(ttlv_written(&writer).len, 0);
    ttlv_clear(&writer);
    for (size_t i = 0; i <= TTLV_DEPTH_MAX; i++)
        ttlv_begin(&writer, TAG);
    for (size_t i = 0; i <= TTLV_DEPTH_MAX; i++)
        ttlv_end(&writer);
    ck_assert_uint_eq(ttlv_written(&writer).len, 0);
    ttlv_clear(&writer);
    mem_fail_at(1, false);
    ttlv_number(&writer, TAG, TTLV_INTEGER, 8);
    mem_fail_at(0, false);
    ck_assert_uint_eq(ttlv_written(&writer).len, 0);
    ttlv_clear(&writer);
}
END_TEST

START_TEST(what_was_written_is_read)
{
    struct view body;
    uint32_t number;
    struct view whole = {a_structure, sizeof(a_structure)};
    ck_assert(ttlv_find(whole, TAG, TTLV_STRUCTURE, &body));
    ck_assert_uint_eq(body.len, 0x20);
    ck_assert(ttlv_find_number(body, 0x420004, TTLV_ENUMERATION, &number));
    ck_assert_uint_eq(number, 254);
    ck_assert(ttlv_find_number(body, 0x420005, TTLV_INTEGER, &number));
    ck_assert_uint_eq(number, 255);
    ck_assert(!ttlv_find_number(body, 0x420005, TTLV_ENUMERATION, &number));
    ck_assert(!ttlv_find_number(body, 0x420006, TTLV_INTEGER, &number));
    ck_assert(!ttlv_find_number(whole, TAG, TTLV_STRUCTURE, &number));
    ck_assert_uint_eq(ttlv_whole_len(a_structure, TAG), sizeof(a_structure));
    ck_assert_uint_eq(ttlv_whole_len(a_structure, TAG + 1), 0);
    ck_assert_uint_eq(ttlv_whole_len(an_integer, TAG), 0);
}
END_TEST

START_TEST(what_is_cut_off_is_not_read)
{
    struct view body;
    for (size_t len = 0; len < sizeof(a_structure); len++) {
        /* A block of its own, so that a sanitizer sees each byte too many. */
        unsigned char *copy = mem_dup(a_structure, len);
        ck_assert_ptr_nonnull(copy);
        ck_assert_msg(!ttlv_find((struct view){copy, len}, TAG, TTLV_STRUCTURE, &body), "%zu", len);
        mem_free(copy);
    }
}
END_TEST

START_TEST(what_comes_twice_is_not_read)
{
    unsigned char twice[2 * sizeof(an_integer)];
    uint32_t number;
    memcpy(twice, an_integer, sizeof(an_integer));
    memcpy(twice + sizeof(an_integer), an_integer, sizeof(an_integer));
    ck_assert(!ttlv_find_number((struct view){twice, sizeof(twice)}, TAG, TTLV_INTEGER, &number));
    twice[sizeof(an_integer) + 2]++;
    ck_assert(ttlv_find_number((struct view){twice, sizeof(twice)}, TAG, TTLV_INTEGER, &number));
    /* The lengths that a hostile neighbour may have. */
    for (int byte = 4; byte < 8; byte++) {
        twice[sizeof(an_integer) + (size_t) byte] = 0xff;
        ck_assert(
            !ttlv_find_number((struct view){twice, sizeof(twice)}, TAG, TTLV_INTEGER, &number));
        twice[sizeof(an_integer) + (size_t) byte] = byte == 7 ? 4 : 0;
    }
}
END_TEST

START_TEST(an_announced_length_is_bounded)
{
    unsigned char head[TTLV_HEAD_LEN] = {0x42, 0, 0x20, 1, 0, 0, 0x3f, 0xf8};
    ck_assert_uint_eq(ttlv_whole_len(head, TAG), TTLV_LEN_MAX);
    head[7]++;
    ck_assert_uint_eq(ttlv_whole_len(head, TAG), 0);
    memset(head + 4, 0xff, 4);
    ck_assert_uint_eq(ttlv_whole_len(head, TAG), 0);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("ttlv");
    tcase_add_test(cases, what_is_written_is_the_standards);
    tcase_add_test(cases, what_is_not_whole_is_not_written);
    tcase_add_test(cases, what_was_written_is_read);
    tcase_add_test(cases, what_is_cut_off_is_not_read);
    tcase_add_test(cases, what_comes_twice_is_not_read);
    tcase_add_test(cases, an_announced_length_is_bounded);
    return fixture_run("kmip ttlv", cases);
}
