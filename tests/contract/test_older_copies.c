/*
 * A token with an anchor: a thousand stores put back to older copies are all noticed, and a
 * thousand honest runs that were killed at any moment raise no alarm. By day a part of them;
 * INDEXKEY_WHOLE=1 makes it all.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/object_fixture.h"
#include "tests/support/postgres_fixture.h"
#include "tests/support/store_hand.h"

#define COPIES_BY_DAY 50
#define COPIES_WHOLE 1000
#define RUNS_BY_DAY 60
#define RUNS_WHOLE 1000
/* Copies that are kept to be put back. */
#define AGES 4

static uint32_t random_state;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

static size_t how_many(size_t by_day, size_t whole)
{
    if (getenv("INDEXKEY_WHOLE") != NULL)
        return whole;
    /* Each login is two connections to the server. */
    return postgres_fixture_is_here() ? by_day / 2 : by_day;
}

/* Without a PIN, whose stretching takes its time. */
static const char *lines(void)
{
    static char text[320];
    (void) snprintf(text, sizeof(text), "login = ambient\nanchor = file:%s\n",
                    fixture_path("anchor"));
    return text;
}

static const char *store_at(int index)
{
    return postgres_fixture_or(fixture_store(index));
}

/* Of store_at(1). */
static void remove_store(void)
{
    if (postgres_fixture_is_here())
        postgres_fixture_sql("DROP SCHEMA IF EXISTS @ CASCADE");
    (void) unlink(fixture_path("token.db"));
    (void) unlink(fixture_path("token.db-wal"));
    (void) unlink(fixture_path("token.db-shm"));
}

static struct object_id ids[16];
static uint64_t versions[16]; /* 0: there is no such object now */

/* Any object is created, changed or destroyed. */
static CK_RV change_something(struct custody *custody)
{
    size_t i = next_random(COUNT_OF(ids));
    CK_RV rv;
    if (versions[i] == 0) {
        ck_assert_uint_eq(sealed_objects_new_id(&ids[i]), CKR_OK);
        rv = sealed_objects_create(custody, &ids[i], view_text("attributes"), NULL);
        versions[i] = 1;
    } else if (versions[i] < 3 && next_random(2) == 0) {
        rv = sealed_objects_update(custody, &ids[i], versions[i], view_text("changed"),
                                   &versions[i]);
    } else {
        rv = sealed_objects_destroy(custody, &ids[i], versions[i]);
        versions[i] = 0;
    }
    return rv;
}

static void note_objects(struct custody *custody)
{
    memset(versions, 0, sizeof(versions));
    size_t count = objects_load(custody);
    ck_assert_uint_le(count, COUNT_OF(ids));
    for (size_t i = 0; i < count; i++) {
        ids[i] = objects_loaded[i].id;
        versions[i] = objects_loaded[i].version;
    }
}

/* Puts a copy back, which no login accepts, and then the newest one, which one does. */
static void try_copy(struct custody *custody, const struct hand_copy *older)
{
    struct hand_copy newest;
    hand_take(custody->store, &newest);
    hand_put_back(custody->store, older);
    fixture_forget_log();
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, (struct view){0}), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_TAMPERED);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "put back to an older copy"));
    hand_put_back(custody->store, &newest);
    hand_copy_clear(&newest);
    fixture_forget_log();
    CK_RV rv = custody_login(custody, CUSTODY_USER, (struct view){0});
    ck_assert_msg(rv == CKR_OK && fixture_log_count() == 0, "%lx %s", rv, fixture_log());
}

START_TEST(older_copies_are_all_noticed)
{
    struct custody *custody = fixture_token(store_at(_i), lines());
    struct hand_copy older[AGES] = {{.row_count = 0}};
    size_t count = how_many(COPIES_BY_DAY, COPIES_WHOLE);
    random_state = 61;
    memset(versions, 0, sizeof(versions));
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, (struct view){0}), CKR_OK);
    for (size_t age = 0; age < AGES; age++) {
        hand_take(custody->store, &older[age]);
        ck_assert_uint_eq(change_something(custody), CKR_OK);
    }
    for (size_t i = 0; i < count; i++) {
        /* One of the last changes, the last one in every second copy. */
        size_t at = i % 2 == 0 ? (i + AGES - 1) % AGES : next_random(AGES);
        custody_logout(custody);
        try_copy(custody, &older[at]);
        hand_copy_clear(&older[i % AGES]);
        hand_take(custody->store, &older[i % AGES]);
        ck_assert_uint_eq(change_something(custody), CKR_OK);
    }
    printf("%s: %zu older copies, all noticed\n", custody->store->ops->scheme, count);
    for (size_t age = 0; age < AGES; age++)
        hand_copy_clear(&older[age]);
    custody_close(&custody);
}
END_TEST

/* Where a process dies of itself; the linker puts these functions before the real ones. */
enum moment {
    NOWHERE, /* it runs to its end */
    AT_RANDOM,
    BEFORE_ANCHOR,  /* the store has committed */
    BEFORE_RENAME,  /* the anchor's successor is written */
    AFTER_RENAME,   /* it has taken its place, and the folder is not synced */
    AFTER_ANCHOR,   /* nothing is acknowledged yet */
    AFTER_ADMITTED, /* C_InitToken: the store has not committed yet */
    BEFORE_SETTLED, /* it has */
    MOMENTS,
};

static enum moment moment;
static unsigned int passes_left;

static void pass(enum moment here)
{
    if (moment == here && passes_left-- == 0)
        (void) kill(getpid(), SIGKILL);
}

struct anchor;
struct anchor_key;
CK_RV __real_anchor_advance(struct anchor *anchor, const struct anchor_key *key,
                            uint64_t generation);
CK_RV __wrap_anchor_advance(struct anchor *anchor, const struct anchor_key *key,
                            uint64_t generation);
CK_RV __real_anchor_admit(const struct anchor *anchor, const struct anchor_key *key,
                          uint64_t generation);
CK_RV __wrap_anchor_admit(const struct anchor *anchor, const struct anchor_key *key,
                          uint64_t generation);
CK_RV __real_anchor_settle(struct anchor *anchor, const struct anchor_key *key,
                           uint64_t generation);
CK_RV __wrap_anchor_settle(struct anchor *anchor, const struct anchor_key *key,
                           uint64_t generation);
int __real_renameat(int old_folder, const char *old_name, int new_folder, const char *new_name);
int __wrap_renameat(int old_folder, const char *old_name, int new_folder, const char *new_name);

CK_RV __wrap_anchor_advance(struct anchor *anchor, const struct anchor_key *key,
                            uint64_t generation)
{
    pass(BEFORE_ANCHOR);
    CK_RV rv = __real_anchor_advance(anchor, key, generation);
    pass(AFTER_ANCHOR);
    return rv;
}

CK_RV __wrap_anchor_admit(const struct anchor *anchor, const struct anchor_key *key,
                          uint64_t generation)
{
    CK_RV rv = __real_anchor_admit(anchor, key, generation);
    pass(AFTER_ADMITTED);
    return rv;
}

CK_RV __wrap_anchor_settle(struct anchor *anchor, const struct anchor_key *key, uint64_t generation)
{
    pass(BEFORE_SETTLED);
    return __real_anchor_settle(anchor, key, generation);
}

int __wrap_renameat(int old_folder, const char *old_name, int new_folder, const char *new_name)
{
    pass(BEFORE_RENAME);
    int result = __real_renameat(old_folder, old_name, new_folder, new_name);
    pass(AFTER_RENAME);
    return result;
}

/* A process's life in the child: exit code 0, or death by the kill. */
static void live(bool makes_token)
{
    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    secrets_abandon();
    struct custody *custody = fixture_open(store_at(1), lines());
    if (makes_token)
        fixture_init_token(custody);
    if (custody_login(custody, CUSTODY_USER, (struct view){0}) != CKR_OK)
        _exit(1);
    note_objects(custody);
    do {
        if (change_something(custody) != CKR_OK)
            _exit(1);
    } while (moment == AT_RANDOM || next_random(3) != 0);
    custody_close(&custody);
    _exit(fixture_log_count() == 0 ? 0 : 1);
}

/* True when it was killed. */
static bool run(enum moment when, bool makes_token)
{
    moment = when;
    passes_left = next_random(3);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        live(makes_token);
    if (when == AT_RANDOM) {
        (void) nanosleep(&(struct timespec){.tv_nsec = next_random(40) * 1000000L}, NULL);
        (void) kill(child, SIGKILL);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "status %x", status);
    return WIFSIGNALED(status);
}

/* No line in the log, and the anchor does not stay behind. */
static void assert_no_alarm(void)
{
    fixture_forget_log();
    moment = NOWHERE;
    struct custody *custody = fixture_open(store_at(1), lines());
    CK_RV rv = custody_login(custody, CUSTODY_USER, (struct view){0});
    ck_assert_msg(rv == CKR_OK && fixture_log_count() == 0, "%lx %s", rv, fixture_log());
    ck_assert_uint_le(objects_load(custody), COUNT_OF(ids));
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
    custody_close(&custody);
}

START_TEST(honest_runs_raise_no_alarm)
{
    static const enum moment moments[] = {
        NOWHERE, AT_RANDOM, BEFORE_ANCHOR, BEFORE_RENAME, AFTER_RENAME, AFTER_ANCHOR,
    };
    size_t killed[MOMENTS] = {0};
    size_t count = how_many(RUNS_BY_DAY, RUNS_WHOLE);
    struct custody *custody = fixture_token(store_at(1), lines());
    custody_close(&custody);
    random_state = 62;
    for (size_t i = 0; i < count; i++) {
        enum moment when = moments[i % COUNT_OF(moments)];
        killed[when] += run(when, false);
        assert_no_alarm();
    }
    printf("%zu runs, no alarm; killed before the anchor %zu, within it %zu and %zu, after it %zu, "
           "at random %zu\n",
           count, killed[BEFORE_ANCHOR], killed[BEFORE_RENAME], killed[AFTER_RENAME],
           killed[AFTER_ANCHOR], killed[AT_RANDOM]);
    for (size_t i = 1; i < COUNT_OF(moments); i++)
        ck_assert_uint_gt(killed[moments[i]], 0);
    ck_assert_uint_eq(killed[NOWHERE], 0);
}
END_TEST

/* The first time, and again on a token that has objects. */
START_TEST(a_kill_while_a_token_is_made_raises_no_alarm)
{
    static const enum moment moments[] = {AFTER_ADMITTED, BEFORE_RENAME, AFTER_RENAME,
                                          BEFORE_SETTLED};
    bool is_again = _i == 1;
    size_t killed = 0;
    random_state = 63;
    if (is_again)
        (void) run(NOWHERE, true);
    for (size_t i = 0; i < how_many(8, 8) * COUNT_OF(moments); i++) {
        enum moment when = moments[i % COUNT_OF(moments)];
        killed += run(when, true);
        struct custody *custody = fixture_open(store_at(1), lines());
        struct custody_info info;
        ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
        custody_close(&custody);
        ck_assert(info.initialized || !is_again);
        if (info.initialized)
            assert_no_alarm();
        if (!is_again)
            remove_store();
    }
    ck_assert_uint_gt(killed, COUNT_OF(moments));
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("older_copies");
    tcase_set_timeout(cases, 600);
    if (postgres_fixture_is_here())
        tcase_add_checked_fixture(cases, postgres_fixture_setup, postgres_fixture_teardown);
    tcase_add_loop_test(cases, older_copies_are_all_noticed, 0,
                        postgres_fixture_is_here() ? 1 : FIXTURE_STORE_COUNT);
    tcase_add_test(cases, honest_runs_raise_no_alarm);
    tcase_add_loop_test(cases, a_kill_while_a_token_is_made_raises_no_alarm, 0, 2);
    return fixture_run("older_copies", cases);
}
