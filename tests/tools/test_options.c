/* The command line of indexkey, and its tables. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/command.h"
#include "tools/failure.h"
#include "tools/options.h"

#define COUNT_OF(array) ((int) (sizeof(array) / sizeof((array)[0])))
#define WORDS_MAX 8

/* Words of one line, separated by single blanks, as main would have them. */
static CK_RV read_line(const char *line, struct options *ret_options)
{
    static char text[256];
    static char *words[WORDS_MAX + 2];
    int count = 0;
    (void) snprintf(text, sizeof(text), "indexkey %s", line);
    for (char *at = text; at != NULL && *at != '\0'; count++) {
        ck_assert_int_lt(count, WORDS_MAX);
        words[count] = strsep(&at, " ");
    }
    words[count] = NULL;
    return options_read(count, words, ret_options);
}

START_TEST(tables_are_whole)
{
    size_t count;
    const struct command *all = commands_all(&count);
    ck_assert_uint_gt(count, 4);
    for (size_t i = 0; i < count; i++) {
        ck_assert_ptr_nonnull(all[i].run);
        ck_assert_uint_le(all[i].arguments_min, all[i].arguments_max);
        ck_assert_uint_le(all[i].arguments_max, ARGUMENTS_MAX);
        ck_assert_int_eq(all[i].arguments_max > 0, *all[i].arguments != '\0');
        ck_assert_uint_eq(all[i].options >> OPTION_COUNT, 0);
        ck_assert_uint_ne(all[i].options & OPTION_BIT(OPTION_JSON), 0);
        for (size_t k = 0; k < i; k++)
            ck_assert_str_ne(all[i].name, all[k].name);
    }
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        ck_assert_ptr_nonnull(option_rows[i].name);
        ck_assert_ptr_nonnull(option_rows[i].help);
        for (size_t k = 0; k < i; k++)
            ck_assert_str_ne(option_rows[i].name, option_rows[k].name);
    }
}
END_TEST

START_TEST(options_and_arguments_stand_in_any_order)
{
    static const char *const lines[] = {
        "keys packages --token vectors --json",
        "keys --token vectors packages --json",
        "keys --token=vectors --json -- packages",
    };
    struct options options;
    ck_assert_uint_eq(read_line(lines[_i], &options), CKR_OK);
    ck_assert_str_eq(options.command->name, "keys");
    ck_assert_str_eq(options_argument(&options), "packages");
    ck_assert_str_eq(options_value(&options, OPTION_TOKEN), "vectors");
    ck_assert(options_has(&options, OPTION_JSON));
    ck_assert(!options_has(&options, OPTION_ID));
}
END_TEST

START_TEST(commands_of_two_words)
{
    struct options options;
    ck_assert_uint_eq(read_line("audit show a b", &options), CKR_OK);
    ck_assert_str_eq(options.command->name, "audit show");
    ck_assert_uint_eq(options.argument_count, 2);
    ck_assert_str_eq(options.arguments[1], "b");
}
END_TEST

START_TEST(help)
{
    struct options options;
    ck_assert_uint_eq(read_line("help", &options), CKR_OK);
    ck_assert_ptr_null(options.command);
    ck_assert(options_has(&options, OPTION_HELP));
    ck_assert_uint_eq(read_line("help audit verify", &options), CKR_OK);
    ck_assert_str_eq(options.command->name, "audit verify");
    ck_assert(options_has(&options, OPTION_HELP));
    /* Arguments that are missing do not matter then. */
    ck_assert_uint_eq(read_line("usage --help", &options), CKR_OK);
    ck_assert(options_has(&options, OPTION_HELP));
}
END_TEST

static const struct {
    const char *line;
    const char *says;
} wrong[] = {
    {"", "no command"},
    {"chek", "nearest: 'check'"},
    {"zzzzzzzzzz", "'zzzzzzzzzz' is no command; see"},
    {"audit", "is no command"},
    {"audit sow x", "is no command"},
    {"check --josn", "nearest: '--json'"},
    {"check --label x", "unknown option '--label'"},
    {"check -x", "unknown option"},
    {"check --token", "needs a value"},
    {"check --json=yes", "unknown option '--json'"},
    {"check x", "too many arguments"},
    {"usage", "an argument is missing"},
    {"check --token a --token b", "given twice"},
    {"keys --pin 1234", "never given on the command line"},
    {"keys --so-pin=1234", "--so-pin-file"},
};

START_TEST(what_is_wrong_is_told)
{
    struct options options;
    ck_assert_uint_eq(read_line(wrong[_i].line, &options), CKR_FUNCTION_FAILED);
    ck_assert_int_eq(failure_last()->exit, EXIT_CODE_USAGE);
    ck_assert_msg(strstr(failure_last()->text, wrong[_i].says) != NULL, "'%s' should say: %s",
                  failure_last()->text, wrong[_i].says);
    ck_assert_ptr_null(strstr(failure_last()->text, "1234"));
}
END_TEST

START_TEST(json_is_known_even_then)
{
    struct options options;
    ck_assert_uint_eq(read_line("nonsense --json", &options), CKR_FUNCTION_FAILED);
    ck_assert(options_has(&options, OPTION_JSON));
}
END_TEST

static const struct {
    CK_RV rv;
    enum indexkey_cause cause;
    enum exit_code exit;
} codes[] = {
    {CKR_PIN_INCORRECT, INDEXKEY_CAUSE_PIN, EXIT_CODE_REFUSED},
    {CKR_PIN_LOCKED, INDEXKEY_CAUSE_NONE, EXIT_CODE_REFUSED},
    {CKR_FUNCTION_FAILED, INDEXKEY_CAUSE_DENIED, EXIT_CODE_REFUSED},
    {CKR_ACTION_PROHIBITED, INDEXKEY_CAUSE_NONE, EXIT_CODE_REFUSED},
    {CKR_DEVICE_ERROR, INDEXKEY_CAUSE_DNS, EXIT_CODE_UNREACHABLE},
    {CKR_DEVICE_ERROR, INDEXKEY_CAUSE_STORE, EXIT_CODE_UNREACHABLE},
    {CKR_DEVICE_ERROR, INDEXKEY_CAUSE_NONE, EXIT_CODE_UNREACHABLE},
    {CKR_FUNCTION_FAILED, INDEXKEY_CAUSE_TAMPERED, EXIT_CODE_TAMPERED},
    {CKR_FUNCTION_FAILED, INDEXKEY_CAUSE_CONTEXT, EXIT_CODE_CONFIG},
    {CKR_OBJECT_HANDLE_INVALID, INDEXKEY_CAUSE_NONE, EXIT_CODE_NOT_FOUND},
    {CKR_GENERAL_ERROR, INDEXKEY_CAUSE_NONE, EXIT_CODE_FAILED},
};

START_TEST(exit_codes)
{
    ck_assert_int_eq(failure_exit_code(codes[_i].rv, codes[_i].cause), codes[_i].exit);
    ck_assert_uint_eq(failure_of(codes[_i].rv, codes[_i].cause, "C_Something"), codes[_i].rv);
    ck_assert_ptr_nonnull(strstr(failure_last()->text, "C_Something: CKR_"));
}
END_TEST

START_TEST(the_modules_line_tells_why)
{
    failure_watch();
    log_line(LOG_LEVEL_ERROR, "the reason: %s", "this");
    ck_assert_uint_eq(failure_of(CKR_DEVICE_ERROR, INDEXKEY_CAUSE_NONE, "C_Login"),
                      CKR_DEVICE_ERROR);
    ck_assert_str_eq(failure_last()->text, "the reason: this");
    ck_assert_uint_eq(failure_of(CKR_DEVICE_ERROR, INDEXKEY_CAUSE_NONE, "C_Login"),
                      CKR_DEVICE_ERROR);
    ck_assert_str_eq(failure_last()->text, "C_Login: CKR_DEVICE_ERROR");
    log_collect(NULL, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *cases = tcase_create("options");
    tcase_add_test(cases, tables_are_whole);
    tcase_add_loop_test(cases, options_and_arguments_stand_in_any_order, 0, 3);
    tcase_add_test(cases, commands_of_two_words);
    tcase_add_test(cases, help);
    tcase_add_loop_test(cases, what_is_wrong_is_told, 0, COUNT_OF(wrong));
    tcase_add_test(cases, json_is_known_even_then);
    tcase_add_loop_test(cases, exit_codes, 0, COUNT_OF(codes));
    tcase_add_test(cases, the_modules_line_tells_why);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
