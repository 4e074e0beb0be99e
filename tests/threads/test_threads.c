/* Many threads on one token, each with sessions of its own (PKCS #11 5.4.1, CKF_OS_LOCKING_OK). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/api_fixture.h"
#include "tests/threads/crew.h"
#include "tests/threads/work.h"

static const char *const stores[] = {"memory:", NULL};

struct shared {
    struct api api;
    CK_OBJECT_HANDLE index_key;
    atomic_ulong done;     /* rounds of work that went through */
    bool sessions_may_end; /* others log out and close sessions */
};

static struct work new_work(struct shared *shared, const struct crew_member *member)
{
    return (struct work){
        .p11 = shared->api.p11,
        .slot = shared->api.slot,
        .seed = (unsigned int) member->number + 1,
        .call = "none",
    };
}

/* Whether the round went through; a result that may not be fails the test. */
static bool settle(struct shared *shared, struct work *work, CK_RV rv)
{
    if (rv == CKR_OK) {
        atomic_fetch_add(&shared->done, 1);
        return true;
    }
    ck_assert_msg(shared->sessions_may_end && work_is_loss(work, rv), "%s: 0x%lx", work->call, rv);
    if (rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_SESSION_CLOSED)
        work->session = 0;
    return false;
}

/* A session of the thread's own, anew when somebody closed it. */
static bool has_session(struct shared *shared, struct work *work)
{
    return work->session != 0 || settle(shared, work, work_open(work, CKF_RW_SESSION));
}

static void use_subkeys(struct crew_member *member, void *context)
{
    struct work work = new_work(context, member);

    while (crew_goes_on(member))
        if (has_session(context, &work))
            settle(context, &work, work_subkeys(&work));
}

static void derive_keys(struct crew_member *member, void *context)
{
    struct work work = new_work(context, member);
    struct shared *shared = context;

    while (crew_goes_on(member)) {
        CK_OBJECT_HANDLE key = shared->index_key;
        if (!has_session(shared, &work))
            continue;
        if (shared->sessions_may_end && !settle(shared, &work, work_find(&work, WORK_LABEL, &key)))
            continue;
        if (key != 0)
            settle(shared, &work, work_derive(&work, key));
    }
}

static void make_objects(struct crew_member *member, void *context)
{
    struct work work = new_work(context, member);
    char label[32];

    for (unsigned int round = 0; crew_goes_on(member); round++) {
        snprintf(label, sizeof(label), "own-%zu-%u", member->number, round);
        if (has_session(context, &work))
            settle(context, &work, work_own_object(&work, round % 4 == 0, label));
    }
}

/* Every thread renames and uses the same key: each sees it, under some name. */
static void rename_shared(struct crew_member *member, void *context)
{
    struct work work = new_work(context, member);
    struct shared *shared = context;
    char id[8];
    CK_ATTRIBUTE change = {CKA_ID, id, 0};

    for (unsigned int round = 0; crew_goes_on(member); round++) {
        if (!has_session(shared, &work))
            continue;
        change.ulValueLen = (CK_ULONG) snprintf(id, sizeof(id), "%u", round % 1000);
        work.call = "C_SetAttributeValue";
        settle(shared, &work,
               work.p11->C_SetAttributeValue(work.session, shared->index_key, &change, 1));
    }
}

static void open_and_close(struct crew_member *member, void *context)
{
    struct work work = new_work(context, member);

    while (crew_goes_on(member)) {
        if (!settle(context, &work, work_open(&work, 0)))
            continue;
        work.call = "C_CloseSession";
        settle(context, &work, work.p11->C_CloseSession(work.session));
    }
}

static void log_in_and_out(struct crew_member *member, void *context)
{
    struct work work = new_work(context, member);

    while (crew_goes_on(member)) {
        if (!has_session(context, &work))
            continue;
        settle(context, &work, work_login(&work));
        crew_sleep_ms(20);
        if (!has_session(context, &work))
            continue;
        work.call = "C_Logout";
        settle(context, &work, work.p11->C_Logout(work.session));
    }
}

static void close_all(struct crew_member *member, void *context)
{
    struct work work = new_work(context, member);

    while (crew_goes_on(member)) {
        crew_sleep_ms(70);
        work.call = "C_CloseAllSessions";
        settle(context, &work, work.p11->C_CloseAllSessions(work.slot));
    }
}

static void begin(struct shared *shared, int store)
{
    memset(shared, 0, sizeof(*shared));
    api_open(&shared->api, stores[store], NULL);
    shared->index_key = api_import_index_key(&shared->api, WORK_LABEL, work_index_key);
}

START_TEST(all_work_goes_through)
{
    static struct shared shared;
    static struct crew crew;

    begin(&shared, _i);
    crew_start(&crew, 3, use_subkeys, &shared);
    crew_start(&crew, 2, derive_keys, &shared);
    crew_start(&crew, 2, make_objects, &shared);
    crew_start(&crew, 1, open_and_close, &shared);
    crew_run(&crew, crew_race_ms());
    ck_assert_uint_gt(atomic_load(&shared.done), 20);
    ck_assert_uint_eq(api_count(&shared.api, NULL, 0) > 0, 1);
    api_find(&shared.api, WORK_LABEL);
    api_close(&shared.api);
}
END_TEST

START_TEST(one_key_is_changed_by_many)
{
    static struct shared shared;
    static struct crew crew;

    begin(&shared, _i);
    crew_start(&crew, 4, rename_shared, &shared);
    crew_start(&crew, 2, use_subkeys, &shared);
    crew_start(&crew, 1, derive_keys, &shared);
    crew_run(&crew, crew_race_ms());
    ck_assert_uint_gt(atomic_load(&shared.done), 20);
    api_close(&shared.api);
}
END_TEST

START_TEST(logout_and_close_under_load)
{
    static struct shared shared;
    static struct crew crew;

    begin(&shared, _i);
    shared.sessions_may_end = true;
    crew_start(&crew, 3, use_subkeys, &shared);
    crew_start(&crew, 2, derive_keys, &shared);
    crew_start(&crew, 2, make_objects, &shared);
    crew_start(&crew, 1, open_and_close, &shared);
    crew_start(&crew, 2, log_in_and_out, &shared);
    crew_start(&crew, 1, close_all, &shared);
    crew_run(&crew, 2 * crew_race_ms());
    ck_assert_uint_gt(atomic_load(&shared.done), 20);
    OK(shared.api.p11->C_CloseAllSessions(shared.api.slot));
    api_login(&shared.api);
    api_find(&shared.api, WORK_LABEL);
    api_close(&shared.api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("threads");
    TCase *tests = tcase_create("threads");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_loop_test(tests, all_work_goes_through, 0, 2);
    tcase_add_loop_test(tests, one_key_is_changed_by_many, 0, 2);
    tcase_add_loop_test(tests, logout_and_close_under_load, 0, 2);
    tcase_set_timeout(tests, 120);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
