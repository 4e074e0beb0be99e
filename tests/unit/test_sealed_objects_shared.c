/* Objects of a token with many writers: threads, other custodies, other processes; and many rows.
 * */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/object_fixture.h"
#include "tests/support/vfs_faults.h"
#include "tokens/seal.h"

#define WRITER_COUNT 4
#define WRITER_OBJECTS 25

static void create_many(struct custody *custody)
{
    for (int i = 0; i < WRITER_OBJECTS; i++) {
        struct object_id id = objects_create(custody, "many", "value");
        uint64_t version;
        if (i % 5 == 0)
            ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_OK);
        else
            ck_assert_uint_eq(sealed_objects_update(custody, &id, 1, view_text("more"), &version),
                              CKR_OK);
    }
}

static void *create_in_thread(void *custody)
{
    create_many(custody);
    return NULL;
}

static void assert_all_there(struct custody *custody)
{
    fixture_forget_log();
    ck_assert_uint_eq(objects_load(custody), WRITER_COUNT * WRITER_OBJECTS * 4 / 5);
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
}

START_TEST(threads_write_side_by_side)
{
    struct custody *custody = objects_token(fixture_store(_i));
    pthread_t threads[WRITER_COUNT];
    for (size_t i = 0; i < WRITER_COUNT; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, create_in_thread, custody), 0);
    for (size_t i = 0; i < WRITER_COUNT; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    assert_all_there(custody);
    custody_close(&custody);
}
END_TEST

START_TEST(custodies_write_side_by_side)
{
    struct custody *custodies[WRITER_COUNT];
    pthread_t threads[WRITER_COUNT];
    custodies[0] = objects_token(fixture_store(1));
    for (size_t i = 1; i < WRITER_COUNT; i++) {
        custodies[i] = fixture_open(fixture_store(1), "");
        fixture_login_user(custodies[i]);
    }
    for (size_t i = 0; i < WRITER_COUNT; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, create_in_thread, custodies[i]), 0);
    for (size_t i = 0; i < WRITER_COUNT; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < WRITER_COUNT; i++) {
        assert_all_there(custodies[i]);
        custody_close(&custodies[i]);
    }
}
END_TEST

START_TEST(processes_write_side_by_side)
{
    struct custody *custody = fixture_token(fixture_store(1), "");
    custody_close(&custody);
    pid_t children[WRITER_COUNT];
    for (size_t i = 0; i < WRITER_COUNT; i++) {
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i] == 0) {
            secrets_abandon();
            custody = fixture_open(fixture_store(1), "");
            fixture_login_user(custody);
            create_many(custody);
            custody_close(&custody);
            _exit(0);
        }
    }
    for (size_t i = 0; i < WRITER_COUNT; i++) {
        int status = 0;
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert_int_eq(status, 0);
    }
    custody = fixture_open(fixture_store(1), "");
    fixture_login_user(custody);
    assert_all_there(custody);
    custody_close(&custody);
}
END_TEST

#define RIVALS 4
#define RIVAL_ROUNDS 20

/* Threads that want to change one and the same version, beside others whose changes meet no one. */
struct rivalry {
    struct custody *custody;
    struct object_id id;
    uint64_t version;
    atomic_int won;
    atomic_int lost;
    pthread_barrier_t begin;
};

static void *change_as_rival(void *context)
{
    struct rivalry *rivalry = context;
    struct object_id spoils;
    ck_assert_uint_eq(sealed_objects_new_id(&spoils), CKR_OK);
    const struct sealed_change changes[] = {
        {.id = &spoils, .attributes = view_text("of the winner")},
        {.id = &rivalry->id, .version = rivalry->version, .attributes = view_text("changed")},
    };
    (void) pthread_barrier_wait(&rivalry->begin);
    cause_clear();
    CK_RV rv = sealed_objects_commit(rivalry->custody, changes, 2);
    ck_assert(rv == CKR_OK || rv == CKR_OBJECT_HANDLE_INVALID);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_NONE);
    atomic_fetch_add(rv == CKR_OK ? &rivalry->won : &rivalry->lost, 1);
    return NULL;
}

static void *create_as_bystander(void *context)
{
    struct rivalry *rivalry = context;
    (void) pthread_barrier_wait(&rivalry->begin);
    (void) objects_create(rivalry->custody, "bystander", "value");
    return NULL;
}

/* What meets another version fails alone, and as a whole. */
START_TEST(a_change_that_loses_fails_alone)
{
    pthread_t threads[2 * RIVALS];
    struct rivalry rivalry = {.version = 1};
    vfs_faults_install();
    rivalry.custody = objects_token(fixture_store(_i));
    rivalry.id = objects_create(rivalry.custody, "wanted", "value");
    (void) pthread_barrier_init(&rivalry.begin, NULL, 2 * RIVALS);
    vfs_faults_delay_syncs(5);
    for (; rivalry.version <= RIVAL_ROUNDS; rivalry.version++) {
        for (size_t i = 0; i < 2 * RIVALS; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL,
                                            i % 2 == 0 ? change_as_rival : create_as_bystander,
                                            &rivalry),
                             0);
        for (size_t i = 0; i < 2 * RIVALS; i++)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    vfs_faults_delay_syncs(0);
    ck_assert_int_eq(atomic_load(&rivalry.won), RIVAL_ROUNDS);
    ck_assert_int_eq(atomic_load(&rivalry.lost), RIVAL_ROUNDS * (RIVALS - 1));
    objects_assert_value(rivalry.custody, &rivalry.id, RIVAL_ROUNDS + 1, "value");
    fixture_forget_log();
    ck_assert_uint_eq(objects_load(rivalry.custody), 1 + (RIVALS + 1) * RIVAL_ROUNDS);
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
    (void) pthread_barrier_destroy(&rivalry.begin);
    custody_close(&rivalry.custody);
}
END_TEST

#define BUSY_PROCESSES 2
#define TURNS 20
/* A turn comes within milliseconds; the rest is for slow disks and busy machines. */
#define TURN_MS 2000

static pid_t create_without_pause(atomic_ulong *created_count)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child > 0)
        return child;
    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    secrets_abandon();
    struct custody *custody = fixture_open(fixture_store(1), "");
    fixture_login_user(custody);
    for (;;) {
        (void) objects_create(custody, "many", "value");
        atomic_fetch_add(created_count, 1);
    }
}

/* Two processes that create without a pause keep no third one out, nor each other. */
START_TEST(every_process_gets_its_turn)
{
    pid_t children[BUSY_PROCESSES];
    int64_t longest = 0;
    atomic_ulong *counts = mmap(NULL, BUSY_PROCESSES * sizeof(*counts), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(counts, MAP_FAILED);
    struct custody *custody = fixture_token(fixture_store(1), "");
    custody_close(&custody);
    for (size_t i = 0; i < BUSY_PROCESSES; i++)
        children[i] = create_without_pause(&counts[i]);
    custody = fixture_open(fixture_store(1), "");
    fixture_login_user(custody);
    while (atomic_load(&counts[0]) == 0 || atomic_load(&counts[1]) == 0)
        (void) usleep(1000);
    unsigned long before = atomic_load(&counts[0]) + atomic_load(&counts[1]);
    for (int i = 0; i < TURNS; i++) {
        int64_t begin = clock_boot_ms();
        (void) objects_create(custody, "one", "value");
        int64_t took = clock_boot_ms() - begin;
        longest = took > longest ? took : longest;
    }
    unsigned long others = atomic_load(&counts[0]) + atomic_load(&counts[1]) - before;
    for (size_t i = 0; i < BUSY_PROCESSES; i++) {
        ck_assert_int_eq(kill(children[i], SIGKILL), 0);
        ck_assert_int_eq(waitpid(children[i], NULL, 0), children[i]);
    }
    if (getenv("INDEXKEY_TEST_TIMES") != NULL)
        (void) printf("%d creations beside %lu of two other processes: the longest took %lld ms\n",
                      TURNS, others, (long long) longest);
    ck_assert_uint_gt(others, 0);
    ck_assert_msg(longest < TURN_MS, "%lld ms", (long long) longest);
    custody_close(&custody);
    (void) munmap(counts, BUSY_PROCESSES * sizeof(*counts));
}
END_TEST

static void let_a_tick_fall_due(void)
{
    struct timespec pause = {.tv_nsec = 60 * 1000000L};
    (void) nanosleep(&pause, NULL);
}

START_TEST(a_change_by_another_is_seen_at_the_next_tick_and_an_own_one_is_not)
{
    struct custody *one = objects_token(fixture_store(1));
    struct custody *two = fixture_open(fixture_store(1), "");
    fixture_login_user(two);
    ck_assert_uint_eq(objects_load(one), 0);
    ck_assert_uint_eq(objects_load(two), 0);
    let_a_tick_fall_due();
    /* Two's login counted its attempt in the store: no news for one. */
    ck_assert_int_eq(custody_tick(one), CUSTODY_SAME);
    ck_assert_int_eq(custody_tick(two), CUSTODY_SAME);
    (void) objects_create(one, "label", "value");
    let_a_tick_fall_due();
    ck_assert_int_eq(custody_tick(one), CUSTODY_SAME);
    ck_assert_int_eq(custody_tick(two), CUSTODY_CHANGED);
    ck_assert_uint_eq(objects_load(two), 1);
    let_a_tick_fall_due();
    ck_assert_int_eq(custody_tick(two), CUSTODY_SAME);
    custody_close(&two);
    custody_close(&one);
}
END_TEST

/* A tick that comes just when a commit ends would have all objects read anew. */
START_TEST(own_changes_are_no_news_at_any_moment)
{
    pthread_t threads[WRITER_COUNT];
    unsigned int changed_count = 0;
    vfs_faults_install();
    struct custody *custody = objects_token(fixture_store(1));
    ck_assert_uint_eq(objects_load(custody), 0);
    vfs_faults_delay_syncs(5);
    for (size_t i = 0; i < WRITER_COUNT; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, create_in_thread, custody), 0);
    for (int64_t ms = 60; ms <= 60 * 200; ms += 60) {
        clock_shift(ms);
        changed_count += custody_tick(custody) == CUSTODY_CHANGED;
    }
    for (size_t i = 0; i < WRITER_COUNT; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    vfs_faults_delay_syncs(0);
    clock_shift(0);
    ck_assert_uint_eq(changed_count, 0);
    custody_close(&custody);
}
END_TEST

static CK_RV plan_only(struct store *store, store_plan_fn *plan, void *context)
{
    const struct store_change *changes;
    size_t change_count;
    (void) store;
    ck_assert_uint_eq(plan(context, &changes, &change_count), CKR_OK);
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE_FULL, "the store is full");
}

START_TEST(after_a_commit_that_failed_the_objects_are_looked_at)
{
    struct custody *custody = objects_token(fixture_store(1));
    struct object_id id = objects_create(custody, "label", "value");
    const struct store_ops *good = custody->store->ops;
    struct store_ops full = *good;
    ck_assert_uint_eq(objects_load(custody), 1);
    full.update = plan_only;
    custody->store->ops = &full;
    cause_clear();
    ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_DEVICE_MEMORY);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE_FULL);
    custody->store->ops = good;
    let_a_tick_fall_due();
    ck_assert_int_eq(custody_tick(custody), CUSTODY_CHANGED);
    ck_assert_uint_eq(objects_load(custody), 1);
    let_a_tick_fall_due();
    ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    custody_close(&custody);
}
END_TEST

START_TEST(a_token_initialised_elsewhere_logs_out)
{
    struct custody *one = objects_token(fixture_store(1));
    struct custody *two = fixture_open(fixture_store(1), "");
    fixture_init_token(two);
    let_a_tick_fall_due();
    fixture_forget_log();
    ck_assert_int_eq(custody_tick(one), CUSTODY_CLOSED);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_uint_eq(secrets_in_use(), 0);
    ck_assert_int_eq(custody_tick(one), CUSTODY_SAME);
    custody_close(&two);
    custody_close(&one);
}
END_TEST

#define MANY 100000u

static CK_RV count_row(void *context, const struct sealed_object *object)
{
    ++*(size_t *) context;
    ck_assert_uint_eq(object->attributes.len, 200);
    return CKR_OK;
}

/* Sealed rows put straight into the store: the load opens them all and misses them in the summary.
 * */
static void put_many(struct custody *custody)
{
    static const unsigned char attributes[200];
    for (uint32_t i = 0; i < MANY; i++) {
        struct object_id id = {
            {(unsigned char) (i >> 16), (unsigned char) (i >> 8), (unsigned char) i}};
        struct seal_content content = {
            .id = &id,
            .version = 1,
            .attributes = {attributes, sizeof(attributes)},
        };
        struct sealed_row row = {0};
        struct keyring *held = NULL;
        ck_assert_uint_eq(keyring_hold(&custody->keyring, &held), CKR_OK);
        ck_assert_uint_eq(seal_row(held, &content, &row), CKR_OK);
        keyring_release(&held);
        struct store_change change = {.object = &id, .attributes = blob_view(&row.attributes)};
        ck_assert_uint_eq(custody->store->ops->commit(custody->store, &change, 1), CKR_OK);
        sealed_row_clear(&row);
    }
}

START_TEST(a_hundred_thousand_rows_load_at_once)
{
    struct custody *custody = objects_token("memory:");
    put_many(custody);
    size_t count = 0;
    int64_t begin = clock_boot_ms();
    ck_assert_uint_eq(sealed_objects_load(custody, count_row, &count), CKR_OK);
    int64_t took = clock_boot_ms() - begin;
    ck_assert_uint_eq(count, MANY);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "100000 objects where 0 were recorded"));
    /* A fraction of a second; the rest is for sanitizers and busy machines. */
    ck_assert_msg(took < 10000, "%lld ms", (long long) took);
    if (getenv("INDEXKEY_TEST_TIMES") != NULL)
        (void) printf("%u rows: %lld ms\n", MANY, (long long) took);
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("sealed_objects_shared");
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, threads_write_side_by_side, 0, FIXTURE_STORE_COUNT);
    tcase_add_test(cases, custodies_write_side_by_side);
    tcase_add_test(cases, processes_write_side_by_side);
    tcase_add_loop_test(cases, a_change_that_loses_fails_alone, 0, FIXTURE_STORE_COUNT);
    tcase_add_test(cases, every_process_gets_its_turn);
    tcase_add_test(cases, a_change_by_another_is_seen_at_the_next_tick_and_an_own_one_is_not);
    tcase_add_test(cases, own_changes_are_no_news_at_any_moment);
    tcase_add_test(cases, after_a_commit_that_failed_the_objects_are_looked_at);
    tcase_add_test(cases, a_token_initialised_elsewhere_logs_out);
    tcase_add_test(cases, a_hundred_thousand_rows_load_at_once);
    return fixture_run("sealed_objects_shared", cases);
}
