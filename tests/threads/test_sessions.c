/* Sessions in great number, closed by many, and used by two threads at once (PKCS #11 5.6). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/api_fixture.h"
#include "tests/threads/crew.h"
#include "tests/threads/work.h"

#define MANY 10000

struct shared {
    struct api api;
    CK_SESSION_HANDLE session;
    atomic_ulong closed;
    atomic_ulong done;
    pthread_barrier_t barrier;
};

static CK_SESSION_HANDLE open_session(struct api *api, CK_FLAGS flags)
{
    CK_SESSION_HANDLE session;

    OK(api->p11->C_OpenSession(api->slot, CKF_SERIAL_SESSION | flags, NULL, NULL, &session));
    return session;
}

static CK_ULONG session_count(struct api *api)
{
    CK_TOKEN_INFO info;

    OK(api->p11->C_GetTokenInfo(api->slot, &info));
    return info.ulSessionCount;
}

static void close_shared(struct crew_member *member, void *context)
{
    struct shared *shared = context;

    (void) member;
    pthread_barrier_wait(&shared->barrier);
    CK_RV rv = shared->api.p11->C_CloseSession(shared->session);
    ck_assert_msg(rv == CKR_OK || rv == CKR_SESSION_HANDLE_INVALID, "0x%lx", rv);
    atomic_fetch_add(&shared->closed, rv == CKR_OK);
}

START_TEST(one_of_many_closes)
{
    static struct shared shared;
    static struct crew crew;

    api_open(&shared.api, "memory:", NULL);
    for (int round = 0; round < 100; round++) {
        shared.session = open_session(&shared.api, CKF_RW_SESSION);
        atomic_store(&shared.closed, 0);
        pthread_barrier_init(&shared.barrier, NULL, 8);
        crew_start(&crew, 8, close_shared, &shared);
        crew_join(&crew);
        pthread_barrier_destroy(&shared.barrier);
        ck_assert_uint_eq(atomic_load(&shared.closed), 1);
        ck_assert_uint_eq(session_count(&shared.api), 1);
    }
    api_close(&shared.api);
}
END_TEST

/* Not allowed by the standard; but a mistake in the host must not become a crash, or a wrong result
 * of a call that claims success. */
static void misuse(struct crew_member *member, void *context)
{
    struct shared *shared = context;
    CK_FUNCTION_LIST_3_2 *p11 = shared->api.p11;
    CK_BYTE iv[12] = {(CK_BYTE) member->number};
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM gcm = {CKM_AES_GCM, &params, sizeof(params)};
    CK_MECHANISM sha = {CKM_SHA256, NULL, 0};
    CK_OBJECT_HANDLE key = api_find(&shared->api, "misused");
    CK_OBJECT_HANDLE found;
    CK_BYTE text[100] = {0};
    CK_BYTE out[200];
    CK_ULONG count;

    pthread_barrier_wait(&shared->barrier);
    while (crew_goes_on(member)) {
        CK_ULONG len = sizeof(out);
        p11->C_EncryptInit(shared->session, &gcm, key);
        p11->C_EncryptUpdate(shared->session, text, 10, out, &len);
        len = sizeof(out);
        if (p11->C_EncryptFinal(shared->session, out, &len) == CKR_OK)
            ck_assert_uint_eq(len, 16);
        p11->C_FindObjectsInit(shared->session, NULL, 0);
        p11->C_FindObjects(shared->session, &found, 1, &count);
        p11->C_FindObjectsFinal(shared->session);
        len = sizeof(out);
        p11->C_DigestInit(shared->session, &sha);
        p11->C_Digest(shared->session, text, sizeof(text), out, &len);
        p11->C_SessionCancel(shared->session, CKF_ENCRYPT | CKF_FIND_OBJECTS | CKF_DIGEST);
        atomic_fetch_add(&shared->done, 1);
    }
}

START_TEST(two_threads_in_one_session)
{
    static struct shared shared;
    static struct crew crew;

    api_open(&shared.api, "memory:", NULL);
    api_make_aes_key(&shared.api, true, "misused");
    shared.session = open_session(&shared.api, CKF_RW_SESSION);
    /* The barrier keeps their lookups, which share api.session, apart from the race. */
    pthread_barrier_init(&shared.barrier, NULL, 2);
    crew_start(&crew, 1, misuse, &shared);
    crew_sleep_ms(50);
    crew_start(&crew, 1, misuse, &shared);
    crew_run(&crew, crew_race_ms());
    pthread_barrier_destroy(&shared.barrier);
    ck_assert_uint_gt(atomic_load(&shared.done), 10);
    OK(shared.api.p11->C_CloseSession(shared.session));
    api_close(&shared.api);
}
END_TEST

static int compare(const void *a, const void *b)
{
    CK_SESSION_HANDLE x = *(const CK_SESSION_HANDLE *) a;
    CK_SESSION_HANDLE y = *(const CK_SESSION_HANDLE *) b;

    return (x > y) - (x < y);
}

START_TEST(ten_thousand_sessions)
{
    static CK_SESSION_HANDLE handles[2 * MANY];
    static struct api api;
    CK_SESSION_INFO info;

    api_open(&api, "memory:", NULL);
    for (size_t i = 0; i < MANY; i++)
        handles[i] = open_session(&api, i % 2 == 0 ? CKF_RW_SESSION : 0);
    ck_assert_uint_eq(session_count(&api), MANY + 1);
    for (size_t i = 0; i < MANY; i++) {
        OK(api.p11->C_GetSessionInfo(handles[i], &info));
        ck_assert_uint_eq(info.state, i % 2 == 0 ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS);
        OK(api.p11->C_CloseSession(handles[i]));
        EXPECT(CKR_SESSION_HANDLE_INVALID, api.p11->C_GetSessionInfo(handles[i], &info));
    }
    for (size_t i = MANY; i < 2 * MANY; i++)
        handles[i] = open_session(&api, CKF_RW_SESSION);
    for (size_t i = 0; i < MANY; i++)
        EXPECT(CKR_SESSION_HANDLE_INVALID, api.p11->C_CloseSession(handles[i]));
    qsort(handles, 2 * MANY, sizeof(handles[0]), compare);
    for (size_t i = 1; i < 2 * MANY; i++)
        ck_assert_msg(handles[i] != handles[i - 1], "a session handle was given out twice");
    OK(api.p11->C_CloseAllSessions(api.slot));
    ck_assert_uint_eq(session_count(&api), 0);
    api_close(&api);
}
END_TEST

START_TEST(too_many_sessions_are_refused)
{
    static struct api api;
    CK_SESSION_HANDLE session;
    CK_RV rv = CKR_OK;
    CK_ULONG count = 0;

    api_open(&api, "memory:", NULL);
    while (rv == CKR_OK && count < 1000000) {
        rv = api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION, NULL, NULL, &session);
        count += rv == CKR_OK;
    }
    EXPECT(CKR_SESSION_COUNT, rv);
    ck_assert_uint_gt(count, 100000);
    OK(api.p11->C_CloseSession(api.session));
    open_session(&api, 0);
    OK(api.p11->C_CloseAllSessions(api.slot));
    open_session(&api, 0);
    api_close(&api);
}
END_TEST

START_TEST(objects_end_with_their_session)
{
    static struct shared shared;
    struct api *api = &shared.api;

    api_open(api, "memory:", NULL);
    CK_SESSION_HANDLE first = api->session;
    CK_SESSION_HANDLE second = open_session(api, CKF_RW_SESSION);
    api->session = second;
    CK_OBJECT_HANDLE key = api_make_aes_key(api, false, "of the second");
    api->session = first;
    ck_assert_uint_eq(api_find(api, "of the second"), key);
    OK(api->p11->C_CloseSession(second));
    CK_ATTRIBUTE label = {CKA_LABEL, "of the second", strlen("of the second")};
    ck_assert_uint_eq(api_count(api, &label, 1), 0);
    EXPECT(CKR_OBJECT_HANDLE_INVALID, api->p11->C_DestroyObject(first, key));
    api_close(api);
}
END_TEST

static void generate(struct crew_member *member, void *context)
{
    struct shared *shared = context;
    struct work work = {.p11 = shared->api.p11, .slot = shared->api.slot, .call = "none"};

    while (crew_goes_on(member)) {
        work.session = shared->session;
        CK_RV rv = work_own_object(&work, CK_FALSE, "orphan");
        ck_assert_msg(rv == CKR_OK || work_is_loss(&work, rv) || rv == CKR_OPERATION_ACTIVE,
                      "%s: 0x%lx", work.call, rv);
    }
}

/* An object whose session is closed while it is made must not stay. */
START_TEST(no_object_outlives_its_session)
{
    static struct shared shared;
    static struct crew crew;

    api_open(&shared.api, "memory:", NULL);
    CK_ULONG before = api_count(&shared.api, NULL, 0);
    for (int round = 0; round < 100; round++) {
        shared.session = open_session(&shared.api, CKF_RW_SESSION);
        crew_start(&crew, 1, generate, &shared);
        crew_sleep_ms(round % 4);
        OK(shared.api.p11->C_CloseSession(shared.session));
        crew_run(&crew, 0);
        ck_assert_uint_eq(api_count(&shared.api, NULL, 0), before);
    }
    api_close(&shared.api);
}
END_TEST

static double search_us(struct api *api, const char *label, int rounds)
{
    struct timespec start;
    struct timespec end;

    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < rounds; i++)
        api_find(api, label);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return ((double) (end.tv_sec - start.tv_sec) * 1e6 +
            (double) (end.tv_nsec - start.tv_nsec) / 1e3) /
           rounds;
}

static void fill(struct api *api, int from, int to)
{
    char label[32];

    for (int i = from; i < to; i++) {
        snprintf(label, sizeof(label), "key-%d", i);
        api_make_aes_key(api, false, label);
    }
}

START_TEST(search_time_is_printed)
{
    static struct api api;

    api_open(&api, "memory:", NULL);
    fill(&api, 0, 100);
    double few = search_us(&api, "key-50", 2000);
    fill(&api, 100, 20000);
    double many = search_us(&api, "key-50", 2000);
    printf("search by label: %.2f us with 100 objects, %.2f us with 20000 (ratio %.2f)\n", few,
           many, many / few);
    ck_assert_double_lt(many, 50 * few); /* a walk over the objects would be 200 times as long */
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sessions");
    TCase *tests = tcase_create("sessions");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, one_of_many_closes);
    tcase_add_test(tests, two_threads_in_one_session);
    tcase_add_test(tests, ten_thousand_sessions);
    tcase_add_test(tests, too_many_sessions_are_refused);
    tcase_add_test(tests, objects_end_with_their_session);
    tcase_add_test(tests, no_object_outlives_its_session);
    tcase_add_test(tests, search_time_is_printed);
    tcase_set_timeout(tests, 200);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
