/*
 * What must not grow with the number of objects: a search, the KMS calls of a login; and what may
 * grow only in proportion: a login's own work and memory, opening and closing sessions. Times are
 * CPU time, medians of rounds that alternate between the sizes.
 *
 *   test_api_scale            the tests
 *   test_api_scale startup    prints the nanoseconds from C_Initialize to the list of slots
 */
#include "tests/api/scale_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define LOGIN_ROUNDS 5
#define LOGIN_OWN_MS_MAX 250
#define KEY_BYTES_MAX 400

#define SEARCH_ROUNDS 15
#define SEARCH_COUNT 20000
#define SEARCHES_A_SECOND_MIN 500000

#define SESSION_ROUNDS 9
#define SESSION_COUNT 10000

#define STARTUP_ROUNDS 9
#define STARTUP_MS_MAX 5

/* Under a sanitizer or valgrind times and sizes say nothing. */
static bool figures_count(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#else
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded == NULL || strstr(preloaded, "vgpreload") == NULL;
#endif
}

#define ASSERT_FIGURE(condition, ...)                                                              \
    do {                                                                                           \
        if (figures_count())                                                                       \
            ck_assert_msg((condition), __VA_ARGS__);                                               \
    } while (0)

static double now_ms(clockid_t clock)
{
    struct timespec now;

    REQUIRE(clock_gettime(clock, &now) == 0);
    return (double) now.tv_sec * 1e3 + (double) now.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *) a;
    double right = *(const double *) b;

    return (left > right) - (left < right);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return values[count / 2];
}

/* Resident bytes: locked ones too. */
static double resident(void)
{
    unsigned long pages;
    FILE *file = fopen("/proc/self/statm", "r");

    REQUIRE(file != NULL);
    REQUIRE(fscanf(file, "%*u %lu", &pages) == 1);
    fclose(file);
    return (double) pages * (double) sysconf(_SC_PAGESIZE);
}

struct login_cost {
    CK_SLOT_ID slot;
    double cpu_ms;
    double wall_ms;
    double bytes;
};

/* In a process that has not had the module before. */
static void measure_login(void *result)
{
    struct login_cost *cost = result;
    CK_FUNCTION_LIST *p11 = scale_load();

    OK(p11->C_Initialize(NULL));
    CK_SESSION_HANDLE session = scale_session(p11, cost->slot);
    cost->bytes = -resident();
    cost->cpu_ms = -now_ms(CLOCK_PROCESS_CPUTIME_ID);
    cost->wall_ms = -now_ms(CLOCK_MONOTONIC);
    scale_login(p11, session);
    cost->cpu_ms += now_ms(CLOCK_PROCESS_CPUTIME_ID);
    cost->wall_ms += now_ms(CLOCK_MONOTONIC);
    cost->bytes += resident();
    OK(p11->C_Finalize(NULL));
}

/* A login of the empty token costs the same PIN (scrypt) and the same call of the KMS; what comes
 * on top is the keys'. */
START_TEST(a_login_is_one_kms_call_and_little_work)
{
    struct login_cost empty[LOGIN_ROUNDS];
    struct login_cost full[LOGIN_ROUNDS];
    double cpu_ms[LOGIN_ROUNDS];
    double wall_ms[LOGIN_ROUNDS];
    double bytes[LOGIN_ROUNDS];

    for (size_t i = 0; i < LOGIN_ROUNDS; i++) {
        empty[i] = (struct login_cost){.slot = SCALE_NONE};
        full[i] = (struct login_cost){.slot = SCALE_MANY};
        scale_in_child(measure_login, &empty[i], sizeof(empty[i]));
        int calls = scale_kms_calls();
        scale_in_child(measure_login, &full[i], sizeof(full[i]));
        ck_assert_int_eq(scale_kms_calls() - calls, 1);
        cpu_ms[i] = full[i].cpu_ms - empty[i].cpu_ms;
        wall_ms[i] = full[i].wall_ms - empty[i].wall_ms;
        bytes[i] = (full[i].bytes - empty[i].bytes) / scale_sizes[SCALE_MANY];
    }
    double own_ms = median(cpu_ms, LOGIN_ROUNDS);
    double key_bytes = median(bytes, LOGIN_ROUNDS);
    printf("C_Login with %u keys: 1 KMS call, %.0f ms of CPU time (%.0f ms passed) more than with "
           "none, %.0f bytes a key\n",
           scale_sizes[SCALE_MANY], own_ms, median(wall_ms, LOGIN_ROUNDS), key_bytes);
    ASSERT_FIGURE(own_ms <= LOGIN_OWN_MS_MAX, "%.0f ms of CPU time", own_ms);
    ASSERT_FIGURE(key_bytes <= KEY_BYTES_MAX, "%.0f bytes a key", key_bytes);
}
END_TEST

enum search_by { BY_LABEL, BY_ID, BY_UNIQUE_ID, SEARCH_KINDS };

static const CK_ATTRIBUTE_TYPE searched_types[SEARCH_KINDS] = {CKA_LABEL, CKA_ID, CKA_UNIQUE_ID};
static const char *const searched_names[SEARCH_KINDS] = {"label", "id", "unique id"};

#define SEARCHED_MAX 48

/* What is searched, in an order that no cache foresees. */
struct questions {
    CK_ULONG lens[SEARCH_COUNT];
    CK_BYTE values[SEARCH_COUNT][SEARCHED_MAX];
};

static CK_OBJECT_HANDLE find_one(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session,
                                 CK_ATTRIBUTE template)
{
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count;

    OK(p11->C_FindObjectsInit(session, &template, 1));
    OK(p11->C_FindObjects(session, found, 2, &count));
    OK(p11->C_FindObjectsFinal(session));
    REQUIRE_MSG(count == 1, "%lu objects found", count);
    return found[0];
}

static CK_ULONG prepare_one(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, enum search_by by,
                            unsigned int number, CK_BYTE value[SEARCHED_MAX])
{
    char label[SCALE_LABEL_MAX];
    size_t label_len = scale_label(number, label);

    if (by == BY_LABEL) {
        memcpy(value, label, label_len);
        return label_len;
    }
    if (by == BY_ID) {
        scale_id(number, value);
        return SCALE_ID_LEN;
    }
    CK_ATTRIBUTE by_label = {CKA_LABEL, label, label_len};
    CK_ATTRIBUTE unique_id = {CKA_UNIQUE_ID, value, SEARCHED_MAX};
    OK(p11->C_GetAttributeValue(session, find_one(p11, session, by_label), &unique_id, 1));
    return unique_id.ulValueLen;
}

static struct questions *prepare(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session,
                                 enum search_by by, unsigned int key_count)
{
    struct questions *questions = malloc(sizeof(*questions));
    uint64_t state = 1;

    REQUIRE(questions != NULL);
    for (size_t i = 0; i < SEARCH_COUNT; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407U;
        unsigned int number = (unsigned int) (state >> 33) % key_count;
        questions->lens[i] = prepare_one(p11, session, by, number, questions->values[i]);
    }
    return questions;
}

/* Searches a second of CPU time. */
static double search_all(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session,
                         struct questions *questions, CK_ATTRIBUTE_TYPE type)
{
    double ms = -now_ms(CLOCK_THREAD_CPUTIME_ID);

    for (size_t i = 0; i < SEARCH_COUNT; i++)
        (void) find_one(p11, session,
                        (CK_ATTRIBUTE){type, questions->values[i], questions->lens[i]});
    ms += now_ms(CLOCK_THREAD_CPUTIME_ID);
    return SEARCH_COUNT / ms * 1e3;
}

static void search_by(CK_FUNCTION_LIST *p11, const CK_SESSION_HANDLE *sessions, enum search_by by)
{
    static double rates[SCALE_COUNT][SEARCH_ROUNDS];
    struct questions *questions[SCALE_COUNT];
    double least = 0;
    double most = 0;

    for (int size = SCALE_FEW; size < SCALE_COUNT; size++)
        questions[size] = prepare(p11, sessions[size], by, scale_sizes[size]);
    for (size_t round = 0; round < SEARCH_ROUNDS; round++)
        for (int size = SCALE_FEW; size < SCALE_COUNT; size++)
            rates[size][round] =
                search_all(p11, sessions[size], questions[size], searched_types[by]);
    printf("searches a second by %s:", searched_names[by]);
    for (int size = SCALE_FEW; size < SCALE_COUNT; size++) {
        double rate = median(rates[size], SEARCH_ROUNDS);
        printf(" %.0f of %u", rate, scale_sizes[size]);
        least = size == SCALE_FEW || rate < least ? rate : least;
        most = rate > most ? rate : most;
        free(questions[size]);
    }
    printf(" (least : most %.2f)\n", least / most);
}

START_TEST(a_search_costs_the_same_at_each_size)
{
    CK_SESSION_HANDLE sessions[SCALE_COUNT] = {0};
    CK_FUNCTION_LIST *p11 = scale_load();

    OK(p11->C_Initialize(NULL));
    for (CK_SLOT_ID slot = SCALE_FEW; slot < SCALE_COUNT; slot++) {
        sessions[slot] = scale_session(p11, slot);
        scale_login(p11, sessions[slot]);
    }
    for (int by = 0; by < SEARCH_KINDS; by++)
        search_by(p11, sessions, (enum search_by) by);
    OK(p11->C_Finalize(NULL));
}
END_TEST

int main(int argc, char **argv)
{
    (void) argc; (void) argv; (void) compare;
    setvbuf(stdout, NULL, _IOLBF, 0);
    TCase *cases = tcase_create("scale");
    Suite *suite = suite_create("what must not grow with the number of objects");

    tcase_set_timeout(cases, 300);
    tcase_add_unchecked_fixture(cases, scale_setup, scale_teardown);
    tcase_add_test(cases, a_login_is_one_kms_call_and_little_work);
    tcase_add_test(cases, a_search_costs_the_same_at_each_size);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
