/* C_Initialize and C_Finalize against everything else (PKCS #11 5.4). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/api_fixture.h"
#include "tests/threads/crew.h"
#include "tests/threads/work.h"

#define ROUNDS 200

struct shared {
    struct api api;
    atomic_ulong done;
    atomic_ulong refused; /* answers CKR_CRYPTOKI_NOT_INITIALIZED */
    atomic_ulong winners;
    pthread_barrier_t barrier;
};

static bool settle(struct shared *shared, struct work *work, CK_RV rv)
{
    atomic_fetch_add(rv == CKR_CRYPTOKI_NOT_INITIALIZED ? &shared->refused : &shared->done, 1);
    if (rv == CKR_OK)
        return true;
    ck_assert_msg(rv == CKR_CRYPTOKI_NOT_INITIALIZED || work_is_loss(work, rv), "%s: 0x%lx",
                  work->call, rv);
    if (rv == CKR_CRYPTOKI_NOT_INITIALIZED || rv == CKR_SESSION_HANDLE_INVALID)
        work->session = 0;
    return false;
}

static struct work new_work(struct shared *shared, const struct crew_member *member)
{
    return (struct work){
        .p11 = shared->api.p11,
        .slot = shared->api.slot,
        .seed = (unsigned int) member->number + 1,
        .call = "none",
    };
}

static void use_subkeys(struct crew_member *member, void *context)
{
    struct work work = new_work(context, member);

    while (crew_goes_on(member))
        if (work.session != 0 || settle(context, &work, work_open(&work, CKF_RW_SESSION)))
            settle(context, &work, work_subkeys(&work));
}

static void make_objects(struct crew_member *member, void *context)
{
    struct work work = new_work(context, member);

    while (crew_goes_on(member))
        if (work.session != 0 || settle(context, &work, work_open(&work, CKF_RW_SESSION)))
            settle(context, &work, work_own_object(&work, CK_FALSE, "own"));
}

static void log_in(struct crew_member *member, void *context)
{
    struct work work = new_work(context, member);

    while (crew_goes_on(member)) {
        if (work.session == 0 && !settle(context, &work, work_open(&work, CKF_RW_SESSION)))
            continue;
        settle(context, &work, work_login(&work));
        work.call = "C_GetTokenInfo";
        CK_TOKEN_INFO info;
        settle(context, &work, work.p11->C_GetTokenInfo(work.slot, &info));
    }
}

static void wait_for_events(struct crew_member *member, void *context)
{
    struct shared *shared = context;
    CK_SLOT_ID slot;

    while (crew_goes_on(member)) {
        EXPECT(CKR_CRYPTOKI_NOT_INITIALIZED, shared->api.p11->C_WaitForSlotEvent(0, &slot, NULL));
        atomic_fetch_add(&shared->refused, 1);
    }
}

static void check_down(struct shared *shared)
{
    const char *alive = work_first_alive(shared->api.p11);

    ck_assert_msg(alive == NULL, "%s answers after C_Finalize", alive);
}

/* With an audit log, calls wait for their lines outside their sessions' locks. */
START_TEST(finalize_races_everything)
{
    static struct shared shared;
    static struct crew crew;
    char log[64];
    char lines[200];

    snprintf(log, sizeof(log), "/tmp/indexkey-finalize-%d.jsonl", (int) getpid());
    snprintf(lines, sizeof(lines), "audit = file:%s\nmetrics = file:%s.prom\n", log, log);
    api_open(&shared.api, NULL, _i == 0 ? NULL : lines);
    api_import_index_key(&shared.api, WORK_LABEL, work_index_key);
    crew_start(&crew, 2, use_subkeys, &shared);
    crew_start(&crew, 1, make_objects, &shared);
    crew_start(&crew, 1, log_in, &shared);
    crew_start(&crew, 1, wait_for_events, &shared);
    for (int round = 0; round < ROUNDS; round++) {
        crew_sleep_ms(round % 8 == 0 ? 60 : round % 8); /* a login takes longer than most rounds */
        OK(shared.api.p11->C_Finalize(NULL));
        if (round % 10 == 0)
            check_down(&shared);
        OK(shared.api.p11->C_Initialize(NULL));
    }
    atomic_store(&crew.stop, true);
    OK(shared.api.p11->C_Finalize(NULL));
    crew_join(&crew);
    ck_assert_uint_gt(atomic_load(&shared.refused), ROUNDS);
    ck_assert_uint_gt(atomic_load(&shared.done), ROUNDS);
    OK(shared.api.p11->C_Initialize(NULL));
    api_login(&shared.api);
    api_find(&shared.api, WORK_LABEL);
    api_close(&shared.api);
    if (_i == 0)
        return;
    ck_assert_int_eq(unlink(log), 0);
    snprintf(lines, sizeof(lines), "%s.prom", log);
    ck_assert_int_eq(unlink(lines), 0);
}
END_TEST

static void initialize(struct crew_member *member, void *context)
{
    struct shared *shared = context;

    (void) member;
    pthread_barrier_wait(&shared->barrier);
    CK_RV rv = shared->api.p11->C_Initialize(NULL);
    ck_assert_msg(rv == CKR_OK || rv == CKR_CRYPTOKI_ALREADY_INITIALIZED, "0x%lx", rv);
    atomic_fetch_add(&shared->winners, rv == CKR_OK);
}

static void finalize(struct crew_member *member, void *context)
{
    struct shared *shared = context;

    (void) member;
    pthread_barrier_wait(&shared->barrier);
    CK_RV rv = shared->api.p11->C_Finalize(NULL);
    ck_assert_msg(rv == CKR_OK || rv == CKR_CRYPTOKI_NOT_INITIALIZED, "0x%lx", rv);
    atomic_fetch_add(&shared->winners, rv == CKR_OK);
}

static void race(struct shared *shared, void (*job)(struct crew_member *member, void *context))
{
    static struct crew crew;

    atomic_store(&shared->winners, 0);
    pthread_barrier_init(&shared->barrier, NULL, 8);
    crew_start(&crew, 8, job, shared);
    crew_join(&crew);
    pthread_barrier_destroy(&shared->barrier);
    ck_assert_uint_eq(atomic_load(&shared->winners), 1);
}

START_TEST(one_of_many_initializes)
{
    static struct shared shared;

    api_load(&shared.api, "memory:", NULL);
    race(&shared, finalize);
    for (int round = 0; round < 50; round++) {
        race(&shared, initialize);
        race(&shared, finalize);
    }
    api_close(&shared.api);
}
END_TEST

static void wait_once(struct crew_member *member, void *context)
{
    struct shared *shared = context;
    CK_SLOT_ID slot;

    (void) member;
    EXPECT(CKR_CRYPTOKI_NOT_INITIALIZED, shared->api.p11->C_WaitForSlotEvent(0, &slot, NULL));
    atomic_fetch_add(&shared->done, 1);
}

START_TEST(finalize_releases_those_who_wait)
{
    static struct shared shared;
    static struct crew crew;
    CK_SLOT_ID slot;

    api_load(&shared.api, "memory:", NULL);
    EXPECT(CKR_NO_EVENT, shared.api.p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));
    crew_start(&crew, 4, wait_once, &shared);
    crew_sleep_ms(100);
    ck_assert_uint_eq(atomic_load(&shared.done), 0);
    /* An initialisation that follows at once does not put them to sleep again. */
    OK(shared.api.p11->C_Finalize(NULL));
    OK(shared.api.p11->C_Initialize(NULL));
    crew_join(&crew);
    ck_assert_uint_eq(atomic_load(&shared.done), 4);
    api_close(&shared.api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("finalize");
    TCase *tests = tcase_create("finalize");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_loop_test(tests, finalize_races_everything, 0, 2);
    tcase_add_test(tests, one_of_many_initializes);
    tcase_add_test(tests, finalize_releases_those_who_wait);
    tcase_set_timeout(tests, 500);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
