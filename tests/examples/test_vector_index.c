// The encrypted vector index, end to end, on whatever module the environment names.

#include "vector_index_suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#define NAMES_LEN 4096

START_TEST(test_all_lists_give_the_exact_neighbours)
{
    char *expected = driver_read_file(driver_package_path("expected-top10.tsv"), NULL);
    struct driver_result result = suite_search(driver_path("index.db"), "all");

    suite_expect_ok(&result);
    ck_assert_str_eq(result.out, expected);
    driver_result_clear(&result);
    free(expected);
}
END_TEST

static double next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (double) (*state >> 33) / 2147483648.0;
}

static void swap_items(struct driver_data *data, size_t a, size_t b)
{
    char *name = data->names[a];
    char *section = data->sections[a];
    unsigned long size = data->sizes[a];

    data->names[a] = data->names[b];
    data->sections[a] = data->sections[b];
    data->sizes[a] = data->sizes[b];
    data->names[b] = name;
    data->sections[b] = section;
    data->sizes[b] = size;
    for (size_t i = 0; i < data->dim; i++) {
        float value = data->values[a * data->dim + i];

        data->values[a * data->dim + i] = data->values[b * data->dim + i];
        data->values[b * data->dim + i] = value;
    }
}

static void perturb(float *vector, size_t dim, uint64_t *state)
{
    double length = 0;

    for (size_t i = 0; i < dim; i++) {
        vector[i] += (float) ((next_random(state) - 0.5) * 0.04);
        length += (double) vector[i] * (double) vector[i];
    }
    for (size_t i = 0; i < dim; i++) {
        vector[i] = (float) ((double) vector[i] / sqrt(length));
    }
}

static void shuffle_and_perturb(struct driver_data *data)
{
    uint64_t state = 20240607;

    for (size_t i = data->count - 1; i > 0; i--) {
        swap_items(data, i, (size_t) (next_random(&state) * (double) (i + 1)));
    }
    for (size_t i = 0; i < data->count; i++) {
        perturb(data->values + i * data->dim, data->dim, &state);
    }
}

static char *brute_force_lines(const struct driver_data *data)
{
    char *lines = calloc(SUITE_QUERIES, NAMES_LEN);
    size_t used = 0;

    ck_assert_ptr_nonnull(lines);
    for (size_t i = 0; i < SUITE_QUERIES; i++) {
        char names[NAMES_LEN - 64];

        driver_brute_force(data, suite_queries->values + i * suite_queries->dim, SIZE_MAX, names,
                           sizeof names);
        used += (size_t) sprintf(lines + used, "query %zu\t%s\n", i + 1, names);
    }
    return lines;
}

START_TEST(test_shuffled_and_perturbed_equals_brute_force)
{
    struct driver_data *data = driver_data_load(driver_package_path("packages.fvecs"),
                                                driver_package_path("packages.tsv"));
    const char *db = driver_path("shuffled.db");
    char *unchanged = brute_force_lines(data);
    struct driver_result result;
    char *expected;

    shuffle_and_perturb(data);
    driver_data_save(data, driver_path("shuffled.fvecs"), driver_path("shuffled.tsv"));
    driver_build(db, driver_path("shuffled.fvecs"), driver_path("shuffled.tsv"));
    result = driver_run("search", "--db", db, "--query", driver_package_path("queries.fvecs"),
                        "--probe", "all", "--tsv", NULL);
    suite_expect_ok(&result);
    expected = brute_force_lines(data);
    ck_assert_str_eq(result.out, expected);
    ck_assert_str_ne(unchanged, expected);
    driver_result_clear(&result);
    free(unchanged);
    free(expected);
    driver_data_free(data);
}
END_TEST

// How many of the names of one "text TAB a,b,c" line are in the other.
static size_t common_names(char *found_line, const char *expected_line)
{
    char *names = strchr(found_line, '\t') + 1;
    const char *expected = strchr(expected_line, '\t') + 1;
    char *name;
    size_t common = 0;

    while ((name = strsep(&names, ",")) != NULL) {
        for (const char *at = expected; at != NULL; at = strchr(at, ',')) {
            at += *at == ',';
            common += strncmp(at, name, strlen(name)) == 0 &&
                      (at[strlen(name)] == ',' || at[strlen(name)] == '\0');
        }
    }
    return common;
}

static double measure_recall(const char *probe)
{
    char *expected = driver_read_file(driver_package_path("expected-top10.tsv"), NULL);
    struct driver_result result = suite_search(driver_path("index.db"), probe);
    char *found_rest = result.out;
    char *expected_rest = expected;
    size_t common = 0;

    suite_expect_ok(&result);
    for (size_t i = 0; i < SUITE_QUERIES; i++) {
        char *found_line = strsep(&found_rest, "\n");

        common += common_names(found_line, strsep(&expected_rest, "\n"));
    }
    driver_result_clear(&result);
    free(expected);
    return (double) common / (SUITE_QUERIES * DRIVER_TOP);
}

START_TEST(test_recall_grows_with_the_lists_probed)
{
    static const char *const probes[] = {"1", "2", "4", "8", "16", "all"};
    double before = 0;
    double recall = 0;

    printf("lists probed  recall@10\n");
    fflush(stdout);
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        recall = measure_recall(probes[i]);
        printf("%12s  %9.3f\n", probes[i], recall);
        fflush(stdout); // or the next child would print it again
        ck_assert_msg(recall >= before, "recall falls at %s lists", probes[i]);
        before = recall;
        if (i == 0) {
            ck_assert_msg(recall > 0.2 && recall < 1, "one list is no subset worth the name");
        }
    }
    ck_assert_double_eq(recall, 1);
}
END_TEST

START_TEST(test_like_gives_the_neighbours_of_an_item)
{
    static const size_t items[] = {0, 700, 1499};

    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        const float *vector = suite_packages->values + items[i] * suite_packages->dim;
        char names[NAMES_LEN];
        char expected[NAMES_LEN + 300];
        struct driver_result result =
            driver_run("search", "--db", driver_path("index.db"), "--like",
                       suite_packages->names[items[i]], "--probe", "all", "--tsv", NULL);

        suite_expect_ok(&result);
        driver_brute_force(suite_packages, vector, items[i], names, sizeof names);
        snprintf(expected, sizeof expected, "%s\t%s\n", suite_packages->names[items[i]], names);
        ck_assert_str_eq(result.out, expected);
        driver_result_clear(&result);
    }
    suite_expect_failure(
        driver_run("search", "--db", driver_path("index.db"), "--like", "no-such", NULL),
        "no item named \"no-such\"");
}
END_TEST

START_TEST(test_field_gives_every_item_with_the_value)
{
    char *expected = calloc(suite_packages->count, 256);
    size_t used = (size_t) sprintf(expected, "section=games\t");
    size_t count = 0;
    struct driver_result result = driver_run("search", "--db", driver_path("index.db"), "--field",
                                             "section=games", "--tsv", NULL);

    for (size_t i = 0; i < suite_packages->count; i++) {
        if (strcmp(suite_packages->sections[i], "games") == 0) {
            used += (size_t) sprintf(expected + used, "%s%s", count++ > 0 ? "," : "",
                                     suite_packages->names[i]);
        }
    }
    sprintf(expected + used, "\n");
    suite_expect_ok(&result);
    ck_assert_uint_gt(count, 100);
    ck_assert_str_eq(result.out, expected);
    driver_result_clear(&result);
    free(expected);

    // A value of the other field is none of this one, nor is a part of a value.
    result = driver_run("search", "--db", driver_path("index.db"), "--field", "name=games", NULL);
    ck_assert_str_eq(result.out, "name=games\n0 items\n");
    driver_result_clear(&result);
    result = driver_run("search", "--db", driver_path("index.db"), "--field", "section=game", NULL);
    ck_assert_str_eq(result.out, "section=game\n0 items\n");
    driver_result_clear(&result);
}
END_TEST

// Builds from a pipe that another process fills with the first vectors of the packages.
static struct driver_result build_from_pipe(const char *db, size_t vectors_len, const char *items,
                                            const char *lists)
{
    const char *pipe = driver_path("vectors.pipe");
    size_t len = 0;
    char *bytes = driver_read_file(driver_package_path("packages.fvecs"), &len);
    struct driver_result result;
    pid_t writer;

    ck_assert_uint_le(vectors_len, len);
    ck_assert_int_eq(mkfifo(pipe, 0600), 0);
    writer = fork();
    ck_assert_int_ge(writer, 0);
    if (writer == 0) {
        driver_write_file(pipe, bytes, vectors_len);
        _exit(0);
    }
    result = driver_run("build", "--db", db, "--vectors", pipe, "--items", items,
                        lists != NULL ? "--lists" : NULL, lists, NULL);
    waitpid(writer, NULL, 0);
    unlink(pipe);
    free(bytes);
    return result;
}

START_TEST(test_a_pipe_gives_the_same_answers)
{
    char *expected = driver_read_file(driver_package_path("expected-top10.tsv"), NULL);
    const char *db = driver_path("piped.db");
    struct driver_result result =
        build_from_pipe(db, suite_packages->count * (4 + 4 * suite_packages->dim),
                        driver_package_path("packages.tsv"), "4");

    suite_expect_ok(&result);
    // The lists were found from 256 of the vectors, the others came after.
    ck_assert_ptr_nonnull(strstr(result.out, "1500 records of 384 values in 4 lists"));
    driver_result_clear(&result);
    result = suite_search(db, "all");
    suite_expect_ok(&result);
    ck_assert_str_eq(result.out, expected);
    driver_result_clear(&result);
    free(expected);
}
END_TEST

START_TEST(test_a_pipe_may_be_short_but_not_cut)
{
    const char *db = driver_path("short.db");
    const char *items = driver_path("short.tsv");
    const char *two_items = "a\tb\t1\nc\td\t2\n";
    size_t row = 4 + 4 * suite_packages->dim;
    struct driver_result result;

    driver_write_file(items, two_items, strlen(two_items));
    suite_expect_failure(build_from_pipe(db, 2 * row, items, NULL), "--lists is needed");
    suite_expect_failure(build_from_pipe(db, 2 * row - 1, items, "4"), "vector 1 cannot be read");
    suite_expect_failure(build_from_pipe(db, row + 3, items, "4"), "vector 1 cannot be read");
    suite_expect_failure(build_from_pipe(db, row, items, "4"), "more items");
    suite_expect_failure(build_from_pipe(db, 3 * row, items, "4"), "ends after 2 items");
    suite_expect_failure(build_from_pipe(db, 0, items, "4"), "too short");
    ck_assert_uint_eq(driver_count_files("short.db"), 0);

    result = build_from_pipe(db, 2 * row, items, "4");
    suite_expect_ok(&result);
    ck_assert_ptr_nonnull(strstr(result.out, "2 records of 384 values in 2 lists"));
    driver_result_clear(&result);
}
END_TEST

START_TEST(test_wrong_token_pin_index_or_file_is_named)
{
    const char *token = driver_env("VECTOR_INDEX_TOKEN");
    const char *pin = driver_env("VECTOR_INDEX_PIN_FILE");
    const char *index = driver_env("VECTOR_INDEX_NAME");
    const char *db = driver_path("index.db");
    const char *wrong = driver_path("wrong.pin");
    struct driver_result result;
    char *pin_text;

    driver_write_file(wrong, "9999zzzz\n", 9);
    suite_expect_failure(driver_run_as(token, wrong, index, db), "open to every user");
    ck_assert_int_eq(chmod(wrong, 0600), 0);
    suite_expect_failure(driver_run_as(token, wrong, index, db), "CKR_PIN_INCORRECT");
    suite_expect_failure(driver_run_as(token, NULL, index, db), "no PIN");
    suite_expect_failure(driver_run_as("no such token", pin, index, db),
                         "labelled \"no such token\"");
    suite_expect_failure(driver_run_as(token, pin, "no-such", db),
                         "no secret key \"no-such/token\"");
    suite_expect_failure(driver_run_as(token, pin, index, driver_path("none.db")),
                         "unable to open");
    suite_expect_failure(driver_run_as(token, pin, index, driver_package_path("packages.tsv")),
                         "not a database");

    result = driver_run_as(token, pin, index, db);
    suite_expect_ok(&result);
    driver_result_clear(&result);
    pin_text = driver_read_file(pin, NULL);
    setenv("VECTOR_INDEX_PIN", pin_text, 1);
    free(pin_text);
    result = driver_run_as(token, NULL, index, db);
    unsetenv("VECTOR_INDEX_PIN");
    suite_expect_ok(&result);
    driver_result_clear(&result);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vector-index");
    TCase *tests = tcase_create("vector-index");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_set_up_case(suite, tests);
    tcase_add_test(tests, test_all_lists_give_the_exact_neighbours);
    tcase_add_test(tests, test_shuffled_and_perturbed_equals_brute_force);
    tcase_add_test(tests, test_recall_grows_with_the_lists_probed);
    tcase_add_test(tests, test_like_gives_the_neighbours_of_an_item);
    tcase_add_test(tests, test_field_gives_every_item_with_the_value);
    tcase_add_test(tests, test_a_pipe_gives_the_same_answers);
    tcase_add_test(tests, test_a_pipe_may_be_short_but_not_cut);
    tcase_add_test(tests, test_wrong_token_pin_index_or_file_is_named);
    tampering_add_tests(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
