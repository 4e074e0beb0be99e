// Embeddings of 768 floats by the million, through examples/vector-index: memory must not grow with
// their number, and the module must cost little more than raw EVP under the same program.
//
// The environment says how many: MILLION_CHUNK embeddings a round, MILLION_ROUNDS rounds in which
// the two sides take turns, then MILLION_WHOLE in one index. MILLION_RATIO is the least ratio, in
// hundredths, of EVP's CPU time to the module's.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "million_runs.h"

#define ROUNDS_MAX 100
#define SEARCH_ROUNDS 5
// For what is not of the index: the heap's and the store's own unevenness. 1,000 embeddings more
// than fill it.
#define GROWTH_MAX_KIB 3072
#define TIMEOUT_SECONDS 7200

static long chunk_peak_kib;

static int compare(const void *a, const void *b)
{
    const double *left = a;
    const double *right = b;

    return (*left > *right) - (*left < *right);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

static void expect_ratio(const char *what, double ratio)
{
    double least = (double) million_number("MILLION_RATIO") / 100;

    ck_assert_msg(ratio >= least, "%s: ratio %.3f, at least %.2f is due", what, ratio, least);
}

START_TEST(test_building_costs_little_more_than_on_evp)
{
    uint64_t count = million_number("MILLION_CHUNK");
    size_t rounds = million_number("MILLION_ROUNDS");
    const char *db = driver_path("chunk.db");
    double ratios[ROUNDS_MAX];
    double ratio;

    ck_assert_uint_le(rounds, ROUNDS_MAX);
    for (size_t i = 0; i < rounds; i++) {
        struct million_cost costs[MILLION_SIDE_COUNT];
        enum million_side first = i % 2 == 0 ? MILLION_MODULE : MILLION_EVP;
        enum million_side second = i % 2 == 0 ? MILLION_EVP : MILLION_MODULE;

        costs[first] = million_build(first, db, count, false);
        costs[second] = million_build(second, db, count, false);
        ratios[i] = costs[MILLION_EVP].cpu / costs[MILLION_MODULE].cpu;
        if (costs[MILLION_MODULE].peak_kib > chunk_peak_kib) {
            chunk_peak_kib = costs[MILLION_MODULE].peak_kib;
        }
    }
    ratio = median(ratios, rounds);
    printf("build: %zu rounds of %" PRIu64 " embeddings, EVP's CPU time : module's %.3f (%.3f to"
           " %.3f)\n",
           rounds, count, ratio, ratios[0], ratios[rounds - 1]);
    expect_ratio("build", ratio);
}
END_TEST

static void print_ratio(const char *name, uint64_t calls, uint64_t module, uint64_t evp)
{
    printf("  %-32s %9" PRIu64 " calls, EVP's time : module's %.3f\n", name, calls,
           (double) evp / (double) module);
}

// RAND_bytes is slow, so the random nonces are told apart: they would hide what the rest costs.
static void print_calls(const struct million_cost *module, const struct million_cost *evp)
{
    static const struct {
        const char *name;
        enum million_call call;
    } rows[] = {
        {"seal: C_EncryptInit, C_Encrypt", MILLION_SEAL},
        {"mac: C_SignInit, C_Sign", MILLION_MAC},
        {"random: C_GenerateRandom", MILLION_RANDOM},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum million_call call = rows[i].call;

        ck_assert_uint_gt(module->calls[call], 0);
        ck_assert_uint_eq(module->calls[call], evp->calls[call]);
        print_ratio(rows[i].name, module->calls[call], module->times[call], evp->times[call]);
    }
    print_ratio("seal and mac", module->calls[MILLION_SEAL] + module->calls[MILLION_MAC],
                module->times[MILLION_SEAL] + module->times[MILLION_MAC],
                evp->times[MILLION_SEAL] + evp->times[MILLION_MAC]);
}

START_TEST(test_memory_does_not_grow)
{
    uint64_t count = million_number("MILLION_WHOLE");
    struct million_cost module =
        million_build(MILLION_MODULE, driver_path("module.db"), count, true);
    struct million_cost evp = million_build(MILLION_EVP, driver_path("evp.db"), count, true);

    printf("build: %" PRIu64 " embeddings in one index, EVP's CPU time : module's %.3f\n", count,
           evp.cpu / module.cpu);
    print_calls(&module, &evp);
    printf("peak memory: %ld KiB at %" PRIu64 " embeddings, %ld KiB at %" PRIu64 "\n",
           chunk_peak_kib, million_number("MILLION_CHUNK"), module.peak_kib, count);
    ck_assert_int_gt(chunk_peak_kib, 0);
    ck_assert_int_le(module.peak_kib, chunk_peak_kib + GROWTH_MAX_KIB);
}
END_TEST

static double search_cpu(enum million_side side, const char *answers)
{
    char *found = NULL;
    double cpu = million_search(side, driver_path("module.db"), &found).cpu;

    ck_assert_str_eq(found, answers);
    free(found);
    return cpu;
}

// A login costs what a long search hides and a short one does not.
static double start_cpu(enum million_side side)
{
    double starts[SEARCH_ROUNDS];

    for (size_t i = 0; i < SEARCH_ROUNDS; i++) {
        starts[i] = million_start(side, driver_path("module.db")).cpu;
    }
    return median(starts, SEARCH_ROUNDS);
}

// The two sides take turns, as in building.
static void search_ratios(const char *answers, double ret_ratios[SEARCH_ROUNDS])
{
    double starts[MILLION_SIDE_COUNT] = {start_cpu(MILLION_MODULE), start_cpu(MILLION_EVP)};

    for (size_t i = 0; i < SEARCH_ROUNDS; i++) {
        double cpus[MILLION_SIDE_COUNT];
        enum million_side first = i % 2 == 0 ? MILLION_MODULE : MILLION_EVP;
        enum million_side second = i % 2 == 0 ? MILLION_EVP : MILLION_MODULE;

        cpus[first] = search_cpu(first, answers);
        cpus[second] = search_cpu(second, answers);
        ret_ratios[i] = (cpus[MILLION_EVP] - starts[MILLION_EVP]) /
                        (cpus[MILLION_MODULE] - starts[MILLION_MODULE]);
    }
}

START_TEST(test_searching_costs_little_more_than_on_evp)
{
    double ratios[SEARCH_ROUNDS];
    char *answers = NULL;
    char *others = NULL;
    double ratio;

    million_make_queries();
    million_search(MILLION_EVP, driver_path("module.db"), &answers);
    ck_assert_uint_gt(strlen(answers), 20 * strlen("query 1\titem-00000000"));
    // Each side's index opens with the other side's keys. The two were built from one input.
    million_search(MILLION_MODULE, driver_path("evp.db"), &others);
    ck_assert_str_eq(others, answers);
    search_ratios(answers, ratios);
    ratio = median(ratios, SEARCH_ROUNDS);
    printf(
        "search: %d rounds of 20 queries, login left out, EVP's CPU time : module's %.3f (%.3f to"
        " %.3f)\n",
        SEARCH_ROUNDS, ratio, ratios[0], ratios[SEARCH_ROUNDS - 1]);
    free(answers);
    free(others);
    expect_ratio("search", ratio);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("million");
    TCase *tests = tcase_create("million");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, TIMEOUT_SECONDS);
    tcase_add_unchecked_fixture(tests, driver_make_folder, driver_remove_folder);
    tcase_add_test(tests, test_building_costs_little_more_than_on_evp);
    tcase_add_test(tests, test_memory_does_not_grow);
    tcase_add_test(tests, test_searching_costs_little_more_than_on_evp);
    // One process: the tests go on with what the ones before them made.
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
