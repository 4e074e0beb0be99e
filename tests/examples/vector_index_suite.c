#include "vector_index_suite.h"

#include <stdlib.h>
#include <string.h>

struct driver_data *suite_packages;
struct driver_data *suite_queries;

// One index serves all tests that do not change it.
static void suite_setup(void)
{
    driver_make_folder();
    suite_packages = driver_data_load(driver_package_path("packages.fvecs"),
                                      driver_package_path("packages.tsv"));
    suite_queries = driver_data_load(driver_package_path("queries.fvecs"), NULL);
    ck_assert_uint_eq(suite_queries->count, SUITE_QUERIES);
    driver_build(driver_path("index.db"), driver_package_path("packages.fvecs"),
                 driver_package_path("packages.tsv"));
}

static void suite_teardown(void)
{
    driver_data_free(suite_packages);
    driver_data_free(suite_queries);
    driver_remove_folder();
}

void suite_set_up_case(Suite *suite, TCase *tests)
{
    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 300);
    tcase_add_unchecked_fixture(tests, suite_setup, suite_teardown);
}

struct driver_result suite_search(const char *db, const char *probe)
{
    return driver_run("search", "--db", db, "--query", driver_package_path("queries.fvecs"),
                      "--query-text", driver_package_path("queries.tsv"), "--probe", probe, "--tsv",
                      NULL);
}

void suite_expect_ok(const struct driver_result *result)
{
    ck_assert_msg(result->status == 0, "exit %d: %s", result->status, result->err);
}

void suite_expect_failure(struct driver_result result, const char *words)
{
    ck_assert_msg(result.status == 1, "exit %d where 1 is due: %s", result.status, result.err);
    ck_assert_msg(strstr(result.err, words) != NULL, "\"%s\" is not in: %s", words, result.err);
    driver_result_clear(&result);
}

void suite_copy_index(const char *to)
{
    size_t len = 0;
    char *bytes = driver_read_file(driver_path("index.db"), &len);

    driver_write_file(to, bytes, len);
    free(bytes);
}
