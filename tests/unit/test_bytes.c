/* Records: what is written is read back, and no reader leaves its input. */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/rv.h"
#include "tests/unit/base_fixture.h"

static const unsigned char record[] = {
    0x7f, 0x01, 0x02, 0x03, 0x04, 0xff, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x02, 'h',  'i',  'r',
};

START_TEST(a_record_has_the_documented_bytes)
{
    _cleanup_(writer_clear) struct writer writer = {0};
    write_u8(&writer, 0x7f);
    write_u32(&writer, 0x01020304);
    write_u64(&writer, 0xff00000000000001);
    write_string(&writer, view_text("hi"));
    write_raw(&writer, view_text("r"));
    struct view written = writer_view(&writer);
    ck_assert_uint_eq(written.len, sizeof record);
    ck_assert_mem_eq(written.bytes, record, sizeof record);
}
END_TEST

START_TEST(a_record_is_read_back)
{
    struct reader reader = reader_of((struct view){record, sizeof record});
    ck_assert_uint_eq(read_u8(&reader), 0x7f);
    ck_assert_uint_eq(read_u32(&reader), 0x01020304);
    ck_assert_uint_eq(read_u64(&reader), 0xff00000000000001);
    ck_assert(!reader_done(&reader));
    ck_assert(view_equal(read_string(&reader, 2), view_text("hi")));
    ck_assert(view_equal(read_raw(&reader, 1), view_text("r")));
    ck_assert(reader_done(&reader));
}
END_TEST

/* Each prefix in a heap block of its own, so that a sanitizer sees a step outside. */
START_TEST(a_short_record_fails_once_and_for_all)
{
    for (size_t len = 0; len < sizeof record; len++) {
        struct blob prefix = {NULL, 0};
        ck_assert_uint_eq(blob_from(record, len, &prefix), CKR_OK);
        struct reader reader = reader_of(blob_view(&prefix));
        (void) read_u8(&reader);
        (void) read_u32(&reader);
        (void) read_u64(&reader);
        (void) read_string(&reader, SIZE_MAX);
        struct view last = read_raw(&reader, 1);
        ck_assert(reader.failed);
        ck_assert(!reader_done(&reader));
        ck_assert_ptr_null(last.bytes);
        ck_assert_uint_eq(last.len, 0);
        ck_assert_uint_eq(read_u64(&reader), 0);
        ck_assert_uint_eq(read_raw(&reader, 0).len, 0);
        ck_assert(reader.failed);
        blob_clear(&prefix);
    }
}
END_TEST

START_TEST(a_string_is_bounded)
{
    static const unsigned char lengths[][6] = {
        {0, 0, 0, 2, 'a', 'b'}, {0, 0, 0, 3, 'a', 'b'}, {0xff, 0xff, 0xff, 0xff, 'a', 'b'}};
    struct reader fits = reader_of((struct view){lengths[0], 6});
    ck_assert_uint_eq(read_string(&fits, 2).len, 2);
    struct reader too_long = reader_of((struct view){lengths[0], 6});
    ck_assert_uint_eq(read_string(&too_long, 1).len, 0);
    ck_assert(too_long.failed);
    for (size_t i = 1; i < COUNT_OF(lengths); i++) {
        struct reader reader = reader_of((struct view){lengths[i], 6});
        ck_assert_uint_eq(read_string(&reader, SIZE_MAX).len, 0);
        ck_assert(reader.failed);
    }
}
END_TEST

START_TEST(an_empty_input_is_done)
{
    struct reader reader = reader_of((struct view){NULL, 0});
    ck_assert(reader_done(&reader));
    ck_assert_uint_eq(read_raw(&reader, 0).len, 0);
    ck_assert(reader_done(&reader));
    ck_assert_uint_eq(read_u8(&reader), 0);
    ck_assert(!reader_done(&reader));
}
END_TEST

START_TEST(a_writer_grows_and_hands_over)
{
    long before = mem_live();
    _cleanup_(writer_clear) struct writer writer = {0};
    for (uint32_t i = 0; i < 5000; i++)
        write_u32(&writer, i);
    struct blob blob = {NULL, 0};
    ck_assert_uint_eq(writer_finish(&writer, &blob), CKR_OK);
    ck_assert_ptr_null(writer.bytes);
    ck_assert_uint_eq(blob.len, 20000);
    struct reader reader = reader_of(blob_view(&blob));
    for (uint32_t i = 0; i < 5000; i++)
        ck_assert_uint_eq(read_u32(&reader), i);
    ck_assert(reader_done(&reader));
    struct blob moved = blob_move(&blob);
    ck_assert_ptr_null(blob.bytes);
    ck_assert_uint_eq(blob.len, 0);
    blob_clear(&moved);
    ck_assert_int_eq(mem_live(), before);
}
END_TEST

START_TEST(a_writer_remembers_a_failure)
{
    fixture_catch_log();
    long before = mem_live();
    struct writer writer = {0};
    write_u8(&writer, 1);
    mem_fail_at(1, false);
    for (int i = 0; i < 1000; i++)
        write_u8(&writer, 2);
    mem_fail_at(0, false);
    write_u8(&writer, 3);
    struct blob blob = {(unsigned char *) "as it was", 9};
    ck_assert_uint_eq(writer_finish(&writer, &blob), CKR_HOST_MEMORY);
    ck_assert_uint_eq(blob.len, 9);
    ck_assert_ptr_null(writer.bytes);
    ck_assert_int_eq(mem_live(), before);
    ck_assert_str_eq(fixture_log(), "indexkey: error: no memory for a record\n");
}
END_TEST

START_TEST(absurd_lengths_are_refused)
{
    struct writer writer = {0};
    write_string(&writer, (struct view){record, (size_t) UINT32_MAX + 1});
    ck_assert(writer.failed);
    writer_clear(&writer);
    write_u8(&writer, 1);
    write_raw(&writer, (struct view){record, SIZE_MAX});
    ck_assert(writer.failed);
    writer_clear(&writer);
    ck_assert(!writer.failed);
}
END_TEST

START_TEST(views_compare_by_content)
{
    char same[] = "abc";
    ck_assert(view_equal(view_text("abc"), view_text(same)));
    ck_assert(!view_equal(view_text("abc"), view_text("abd")));
    ck_assert(!view_equal(view_text("abc"), view_text("ab")));
    ck_assert(view_equal((struct view){NULL, 0}, view_text("")));
}
END_TEST

START_TEST(a_blob_copies)
{
    fixture_catch_log();
    char text[] = "abc";
    struct blob blob = {NULL, 0};
    ck_assert_uint_eq(blob_from(text, 3, &blob), CKR_OK);
    text[0] = 'x';
    ck_assert(view_equal(blob_view(&blob), view_text("abc")));
    struct blob other = blob;
    mem_fail_at(1, false);
    ck_assert_uint_eq(blob_from(text, 3, &other), CKR_HOST_MEMORY);
    mem_fail_at(0, false);
    ck_assert_ptr_eq(other.bytes, blob.bytes);
    blob_clear(&blob);
    ck_assert_ptr_null(blob.bytes);
    ck_assert_uint_eq(blob_from(NULL, 0, &blob), CKR_OK);
    ck_assert_ptr_null(blob.bytes);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("bytes");
    tcase_add_test(cases, a_record_has_the_documented_bytes);
    tcase_add_test(cases, a_record_is_read_back);
    tcase_add_test(cases, a_short_record_fails_once_and_for_all);
    tcase_add_test(cases, a_string_is_bounded);
    tcase_add_test(cases, an_empty_input_is_done);
    tcase_add_test(cases, a_writer_grows_and_hands_over);
    tcase_add_test(cases, a_writer_remembers_a_failure);
    tcase_add_test(cases, absurd_lengths_are_refused);
    tcase_add_test(cases, views_compare_by_content);
    tcase_add_test(cases, a_blob_copies);
    return fixture_run("bytes", cases);
}
