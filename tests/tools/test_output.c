/* Documents of indexkey as text and as JSON. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "tools/output.h"

#define TEXT_MAX 8192

/* What is printed from begin to end. */
static int former_stdout;
static FILE *printed;
static char text[TEXT_MAX];

static void begin(void)
{
    printed = tmpfile();
    ck_assert_ptr_nonnull(printed);
    ck_assert_int_eq(fflush(stdout), 0);
    former_stdout = dup(STDOUT_FILENO);
    ck_assert_int_eq(dup2(fileno(printed), STDOUT_FILENO), STDOUT_FILENO);
}

static const char *end(void)
{
    (void) fflush(stdout);
    (void) dup2(former_stdout, STDOUT_FILENO);
    (void) close(former_stdout);
    rewind(printed);
    size_t len = fread(text, 1, sizeof(text) - 1, printed);
    text[len] = '\0';
    (void) fclose(printed);
    return text;
}

static void fill(struct output *output)
{
    static const unsigned char bytes[] = {0x0a, 0xff};
    output_text(output, "token", "vectors");
    output_text(output, "nothing", NULL);
    output_number(output, "lease_seconds", 900);
    output_list(output, "keys", "label id uses");
    for (unsigned i = 0; i < 2; i++) {
        output_record(output);
        output_text(output, "label",
                    i == 0 ? "a"
                           : "gr\xc3\xbc\xc3\x9f"
                             "e");
        output_hex(output, "id", (struct view){bytes, sizeof(bytes)});
        output_flag(output, "local", i == 0);
        output_time(output, "from", 86400);
        output_word(output, "uses", NULL);
        if (i == 0) {
            output_word(output, "uses", "token");
            output_word(output, "uses", "query");
        }
        output_end_record(output);
    }
    output_end_list(output);
}

static const char *print(bool json, void (*filler)(struct output *))
{
    _cleanup_(output_free) struct output *output = NULL;
    ck_assert_uint_eq(output_new(json, &output), CKR_OK);
    filler(output);
    begin();
    CK_RV rv = output_print(output);
    const char *all = end();
    ck_assert_uint_eq(rv, CKR_OK);
    return all;
}

START_TEST(text_has_values_and_a_table)
{
    ck_assert_str_eq(print(false, fill), "token:         vectors\n"
                                         "nothing:       -\n"
                                         "lease seconds: 900\n"
                                         "LABEL  ID    USES\n"
                                         "a      0aff  token query\n"
                                         "gr\xc3\xbc\xc3\x9f"
                                         "e  0aff  -\n");
}
END_TEST

START_TEST(json_has_everything)
{
    json_t *document = json_loads(print(true, fill), JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(document);
    ck_assert_str_eq(json_string_value(json_object_get(document, "token")), "vectors");
    ck_assert(json_is_null(json_object_get(document, "nothing")));
    json_t *key = json_array_get(json_object_get(document, "keys"), 0);
    ck_assert(json_is_true(json_object_get(key, "local")));
    ck_assert_str_eq(json_string_value(json_object_get(key, "from")), "1970-01-02T00:00:00Z");
    ck_assert_uint_eq(json_array_size(json_object_get(key, "uses")), 2);
    json_decref(document);
}
END_TEST

static void fill_blocks(struct output *output)
{
    output_list(output, "tokens", NULL);
    for (unsigned i = 0; i < 2; i++) {
        output_record(output);
        output_number(output, "slot", i);
        output_text(output, "label", "x");
        output_end_record(output);
    }
    output_end_list(output);
}

START_TEST(a_list_without_columns_is_blocks)
{
    ck_assert_str_eq(print(false, fill_blocks), "slot:  0\nlabel: x\n\nslot:  1\nlabel: x\n");
}
END_TEST

static void fill_empty(struct output *output)
{
    output_list(output, "keys", "label");
    output_end_list(output);
}

START_TEST(an_empty_list_is_told)
{
    ck_assert_str_eq(print(false, fill_empty), "keys: -\n");
}
END_TEST

/* Labels are whatever an application made them. */
static const struct {
    const char *bytes;
    size_t len;
} hostile[] = {
    {"a\x1b[2Jb", 6}, {"a\nkeys: forged", 14}, {"\xff\xfe", 2}, {"a\0b", 3}, {"\xe2\x80\xaex", 4},
};
static int hostile_row;

static void fill_hostile(struct output *output)
{
    struct view bytes = {(const unsigned char *) hostile[hostile_row].bytes,
                         hostile[hostile_row].len};
    output_view(output, "label", bytes);
}

START_TEST(hostile_text_is_made_safe)
{
    hostile_row = _i;
    const char *line = print(false, fill_hostile);
    ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
    for (const char *at = line; *at != '\0'; at++)
        ck_assert(*at == '\n' || (*at >= ' ' && *at <= '~'));
    json_t *document = json_loads(print(true, fill_hostile), 0, NULL);
    ck_assert_ptr_nonnull(document);
    json_decref(document);
}
END_TEST

/* With `nth` allocations granted, a document is printed whole or refused. */
START_TEST(short_memory)
{
    bool was_whole = false;
    for (unsigned long nth = 1; !was_whole; nth++) {
        ck_assert_uint_lt(nth, 500);
        struct output *output = NULL;
        begin();
        mem_fail_at(nth, false);
        CK_RV rv = output_new(false, &output);
        if (rv == CKR_OK) {
            fill(output);
            rv = output_print(output);
        }
        was_whole = mem_count() < nth;
        mem_fail_at(0, false);
        (void) end();
        ck_assert_int_eq(rv == CKR_OK, was_whole);
        output_free(&output);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("output");
    TCase *cases = tcase_create("output");
    tcase_add_test(cases, text_has_values_and_a_table);
    tcase_add_test(cases, json_has_everything);
    tcase_add_test(cases, a_list_without_columns_is_blocks);
    tcase_add_test(cases, an_empty_list_is_told);
    tcase_add_loop_test(cases, hostile_text_is_made_safe, 0,
                        (int) (sizeof(hostile) / sizeof(hostile[0])));
    tcase_add_test(cases, short_memory);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
