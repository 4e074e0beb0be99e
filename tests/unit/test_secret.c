/* Secrets: slots and slabs, what the kernel knows of them, forks, limits, threads. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "base/secret.h"
#include "tests/unit/base_fixture.h"

#define MANY 100000
#define THREAD_COUNT 4
#define NOBODY 65534

/* The first loop of each test takes what the kernel has, the second acts as if it had no
 * memfd_secret. */
static void choose(int loop)
{
    secrets_init(false);
    secrets_test_no_memfd(loop == 1);
}

static bool kernel_has_memfd(void)
{
    int fd = (int) syscall(447, 0);
    if (fd >= 0)
        (void) close(fd);
    return fd >= 0;
}

static struct secret new_secret(size_t len)
{
    struct secret secret = {NULL, 0};
    ck_assert_uint_eq(secret_new(len, &secret), CKR_OK);
    ck_assert_uint_eq(secret.len, len);
    return secret;
}

/* A process that may lock nothing: root has a privilege that passes the limit. */
static int drop_lock_rights(void)
{
    if (setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){0, 0}) != 0)
        return 1;
    return geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) != 0 ? 1 : 0;
}

static int lock_a_page(void *context)
{
    return drop_lock_rights() == 0 && mlock(context, 1) == 0 ? 1 : 0;
}

/* The sanitizers make mlock do nothing, and say that it did. */
static bool mlock_is_real(void)
{
    static char page[1];
    return fixture_in_child(lock_a_page, page) == 0;
}

static const size_t lens[] = {1,    31,   32,   33,   64,   65,    128,    256,    500,
                              1024, 2048, 4095, 4096, 4097, 16384, 100000, 3 << 20};

START_TEST(every_length_is_zero_filled_and_wiped)
{
    choose(_i);
    for (size_t i = 0; i < COUNT_OF(lens); i++) {
        /* Its slab is kept by the first, unless the length has a slab of its own. */
        struct secret first = new_secret(lens[i]);
        struct secret secret = new_secret(lens[i]);
        unsigned char *bytes = secret.bytes;
        ck_assert_uint_eq((uintptr_t) bytes % 16, 0);
        for (size_t at = 0; at < lens[i]; at++)
            ck_assert_uint_eq(bytes[at], 0);
        memset(bytes, 0xa5, lens[i]);
        secret_clear(&secret);
        ck_assert_ptr_null(secret.bytes);
        ck_assert_uint_eq(secret.len, 0);
        for (size_t at = 0; lens[i] <= 4096 && at < lens[i]; at++)
            ck_assert_uint_eq(bytes[at], 0);
        secret_clear(&first);
    }
    ck_assert_uint_eq(secrets_in_use(), 0);
}
END_TEST

START_TEST(a_shortened_secret_is_wiped_whole)
{
    choose(_i);
    struct secret first = new_secret(64);
    struct secret secret = new_secret(64);
    unsigned char *bytes = secret.bytes;
    memset(bytes, 0xa5, 64);
    secret.len = 3;
    secret_clear(&secret);
    for (size_t at = 0; at < 64; at++)
        ck_assert_uint_eq(bytes[at], 0);
    struct secret own = new_secret(10000);
    own.len = 1;
    secret_clear(&own);
    secret_clear(&first);
    ck_assert_uint_eq(secrets_in_use(), 0);
}
END_TEST

START_TEST(lengths_are_bounded)
{
    choose(_i);
    fixture_catch_log();
    struct secret untouched = {(unsigned char *) "x", 1};
    ck_assert_uint_eq(secret_new(SECRET_MAX + 1, &untouched), CKR_HOST_MEMORY);
    ck_assert_uint_eq(secret_new(SIZE_MAX, &untouched), CKR_HOST_MEMORY);
    ck_assert_uint_eq(untouched.len, 1);
    struct secret empty = new_secret(0);
    ck_assert_ptr_null(empty.bytes);
    secret_clear(&empty);
    ck_assert_uint_eq(secret_from(NULL, 0, &empty), CKR_OK);
}
END_TEST

START_TEST(secrets_move_and_compare)
{
    struct secret a = {NULL, 0};
    struct secret b = {NULL, 0};
    ck_assert(secret_equal(&a, &b));
    ck_assert_uint_eq(secret_from("key bytes", 9, &a), CKR_OK);
    ck_assert(!secret_equal(&a, &b));
    ck_assert_uint_eq(secret_from("key bytes", 9, &b), CKR_OK);
    ck_assert(secret_equal(&a, &b));
    b.bytes[8] ^= 1;
    ck_assert(!secret_equal(&a, &b));
    struct secret moved = secret_move(&a);
    ck_assert_ptr_null(a.bytes);
    ck_assert_mem_eq(moved.bytes, "key bytes", 9);
    secret_clear(&a);
    secret_clear(&moved);
    secret_clear(&b);
    ck_assert_uint_eq(secrets_in_use(), 0);
}
END_TEST

static double seconds(void)
{
    struct timespec now;
    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* KiB that this process has locked. */
static long locked_kib(void)
{
    char line[256];
    long kib = -1;
    FILE *file = fopen("/proc/self/status", "r");
    ck_assert_ptr_nonnull(file);
    while (kib < 0 && fgets(line, sizeof line, file) != NULL)
        (void) sscanf(line, "VmLck: %ld", &kib);
    (void) fclose(file);
    ck_assert_int_ge(kib, 0);
    return kib;
}

START_TEST(many_secrets_are_distinct_and_quick)
{
    choose(_i);
    struct secret *secrets = calloc(MANY, sizeof *secrets);
    ck_assert_ptr_nonnull(secrets);
    struct secret kept = new_secret(32);
    long blocks = mem_live();
    long locked = locked_kib();
    for (uint32_t i = 0; i < MANY; i++) {
        secrets[i] = new_secret(32);
        memcpy(secrets[i].bytes, &i, sizeof i);
    }
    ck_assert_uint_eq(secrets_in_use(), (size_t) 32 * (MANY + 1));
    for (uint32_t i = 0; i < MANY; i++)
        ck_assert_mem_eq(secrets[i].bytes, &i, sizeof i);
    double start = seconds();
    /* Not in the order of their making: 7919 is prime to MANY. */
    for (size_t i = 0; i < MANY; i++)
        secret_clear(&secrets[i * 7919 % MANY]);
    /* A sanitizer or valgrind takes a few hundred times what the code takes alone. */
    ck_assert_double_lt(seconds() - start, 5.0);
    ck_assert_uint_eq(secrets_in_use(), 32);
    /* The slabs went back, but for the one that `kept` is in and one that is empty. */
    ck_assert_int_le(mem_live(), blocks + 1);
    ck_assert_int_le(locked_kib(), locked + 4 * sysconf(_SC_PAGESIZE) / 1024);
    secret_clear(&kept);
    free(secrets);
}
END_TEST

/* Random lengths and order against a shadow copy: every secret keeps its own bytes. */
START_TEST(a_random_mixture_keeps_its_bytes)
{
    choose(_i);
    enum { COUNT = 200, STEPS = 20000 };
    struct secret secrets[COUNT] = {0};
    unsigned marks[COUNT] = {0};
    unsigned state = 12345;
    for (unsigned step = 0; step < STEPS; step++) {
        state = state * 1103515245 + 12345;
        size_t i = (state >> 8) % COUNT;
        for (size_t at = 0; at < secrets[i].len; at++)
            ck_assert_uint_eq(secrets[i].bytes[at], (unsigned char) marks[i]);
        secret_clear(&secrets[i]);
        secrets[i] = new_secret((state >> 16) % 300 + (step % 500 == 0 ? 9000 : 0));
        marks[i] = step;
        if (secrets[i].len > 0)
            memset(secrets[i].bytes, (int) (step & 0xff), secrets[i].len);
    }
    for (size_t i = 0; i < COUNT; i++)
        secret_clear(&secrets[i]);
    ck_assert_uint_eq(secrets_in_use(), 0);
}
END_TEST

START_TEST(a_second_free_is_noticed)
{
    choose(_i);
    struct secret other = new_secret(32);
    struct secret secret = new_secret(32);
    struct secret copy = secret;
    secret_clear(&secret);
    fixture_catch_log();
    secret_clear(&copy);
    ck_assert_str_eq(fixture_log(), "indexkey: error: a secret was freed twice\n");
    ck_assert_uint_eq(secrets_in_use(), 32);
    secret_clear(&other);
}
END_TEST

START_TEST(short_memory_is_said)
{
    choose(_i);
    fixture_catch_log();
    struct secret untouched = {(unsigned char *) "x", 1};
    /* The first is the secret itself, the second the bookkeeping of its slab. */
    for (unsigned long nth = 1; nth <= 2; nth++) {
        mem_fail_at(nth, false);
        ck_assert_uint_eq(secret_new(32, &untouched), CKR_HOST_MEMORY);
    }
    mem_fail_at(0, false);
    ck_assert_uint_eq(untouched.len, 1);
    ck_assert_uint_eq(secrets_in_use(), 0);
    struct secret secret = new_secret(32);
    secret_clear(&secret);
}
END_TEST

/* The VmFlags of the mapping that `address` is in, with a space before and after each flag. */
static void vm_flags(const void *address, char *flags, size_t flags_len)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    ck_assert_ptr_nonnull(file);
    char line[512];
    bool within = false;
    flags[0] = '\0';
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long first;
        unsigned long end;
        if (sscanf(line, "%lx-%lx ", &first, &end) == 2)
            within = first <= (unsigned long) address && (unsigned long) address < end;
        else if (within && strncmp(line, "VmFlags:", 8) == 0)
            (void) snprintf(flags, flags_len, "%s ", strtok(line + 8, "\n"));
    }
    (void) fclose(file);
}

START_TEST(the_kernel_was_told)
{
    static const char *const secretmem[] = {" dd ", " dc ", " lo ", " sh "};
    static const char *const anonymous[] = {" dd ", " wf ", " lo "}; /* the last by mlock */
    choose(_i);
    bool is_memfd = _i == 0 && kernel_has_memfd();
    const char *const *expected = is_memfd ? secretmem : anonymous;
    size_t unlocked = mlock_is_real() ? 0 : 1;
    size_t count = is_memfd ? COUNT_OF(secretmem) : COUNT_OF(anonymous) - unlocked;
    static const size_t both[] = {32, 10000};
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        struct secret secret = new_secret(both[i]);
        char flags[256];
        vm_flags(secret.bytes, flags, sizeof flags);
        for (size_t at = 0; at < count; at++)
            ck_assert_msg(strstr(flags, expected[at]) != NULL, "%s in %s", expected[at], flags);
        secret_clear(&secret);
    }
    ck_assert(secrets_are_locked());
}
END_TEST

/* 0: all bytes are zero. */
static int look_at(void *context)
{
    const struct secret *secret = context;
    for (size_t i = 0; i < secret->len; i++) {
        if (((volatile unsigned char *) secret->bytes)[i] != 0)
            return 1;
    }
    return 0;
}

START_TEST(a_child_has_no_secret)
{
    choose(_i);
    bool is_memfd = _i == 0 && kernel_has_memfd();
    static const size_t both[] = {32, 10000};
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        struct secret secret = new_secret(both[i]);
        memset(secret.bytes, 0x5a, secret.len);
        int status = fixture_in_child(look_at, &secret);
        if (is_memfd)
            ck_assert(fixture_died_of_access(status));
        else
            ck_assert_int_eq(status, 0);
        ck_assert_uint_eq(secret.bytes[secret.len - 1], 0x5a);
        secret_clear(&secret);
    }
}
END_TEST

static int begin_anew(void *context)
{
    struct secret stale = *(struct secret *) context;
    secrets_abandon();
    secret_clear(&stale);
    if (stale.bytes != NULL || secrets_in_use() != 0)
        return 1;
    struct secret fresh = {NULL, 0};
    if (secret_new(32, &fresh) != CKR_OK || look_at(&fresh) != 0)
        return 2;
    memset(fresh.bytes, 1, fresh.len);
    if (secrets_in_use() != 32)
        return 3;
    secret_clear(&fresh);
    return 0;
}

START_TEST(a_child_begins_anew)
{
    choose(_i);
    struct secret secret = new_secret(32);
    memset(secret.bytes, 0x5a, secret.len);
    ck_assert_int_eq(fixture_in_child(begin_anew, &secret), 0);
    ck_assert_uint_eq(secret.bytes[31], 0x5a);
    ck_assert_uint_eq(secrets_in_use(), 32);
    secret_clear(&secret);
}
END_TEST

struct overrun {
    size_t len;
    long step; /* 1 up, -1 down */
};

/* Writes past the secret; the slab is no longer than 16 pages, so that a guard comes within them.
 */
static int overrun(void *context)
{
    const struct overrun *how = context;
    struct secret secret = {NULL, 0};
    if (secret_new(how->len, &secret) != CKR_OK)
        return 1;
    volatile unsigned char *at = secret.bytes;
    for (long i = 0; i < 16 * sysconf(_SC_PAGESIZE); i++) {
        *at = 1;
        at += how->step;
    }
    return 0;
}

START_TEST(guard_pages_stop_an_overrun)
{
    choose(_i);
    static struct overrun ways[] = {{32, 1}, {32, -1}, {10000, 1}, {10000, -1}};
    for (size_t i = 0; i < COUNT_OF(ways); i++)
        ck_assert(fixture_died_of_access(fixture_in_child(overrun, &ways[i])));
}
END_TEST

static int warn_once(void *context)
{
    (void) context;
    struct secret secrets[3] = {0};
    fixture_catch_log();
    if (drop_lock_rights() != 0 || secret_new(32, &secrets[0]) != CKR_OK ||
        secret_new(64, &secrets[1]) != CKR_OK || secret_new(9999, &secrets[2]) != CKR_OK)
        return 1;
    const char *warning = strstr(fixture_log(), "indexkey: warning: ");
    if (warning == NULL || strstr(warning + 1, "indexkey: ") != NULL ||
        strstr(warning, "RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=)") == NULL)
        return 2;
    if (secrets_are_locked())
        return 3;
    for (size_t i = 0; i < COUNT_OF(secrets); i++)
        secret_clear(&secrets[i]);
    /* The empty unlocked slabs are not used again once locking is required. */
    secrets_init(true);
    if (!secrets_are_locked())
        return 4;
    struct secret refused = {NULL, 0};
    return secret_new(32, &refused) == CKR_HOST_MEMORY ? 0 : 5;
}

START_TEST(unlocked_memory_is_said_once)
{
    choose(_i);
    if (mlock_is_real())
        ck_assert_int_eq(fixture_in_child(warn_once, NULL), 0);
}
END_TEST

static int refuse(void *context)
{
    (void) context;
    secrets_init(true);
    struct secret secret = {(unsigned char *) "x", 1};
    fixture_catch_log();
    if (drop_lock_rights() != 0 || secret_new(32, &secret) != CKR_HOST_MEMORY ||
        secret_new(9999, &secret) != CKR_HOST_MEMORY || secret.len != 1 || secrets_in_use() != 0)
        return 1;
    return strstr(fixture_log(), "RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=)") != NULL ? 0 : 2;
}

START_TEST(required_locking_refuses)
{
    choose(_i);
    if (mlock_is_real())
        ck_assert_int_eq(fixture_in_child(refuse, NULL), 0);
}
END_TEST

static void *allocate_and_check(void *number)
{
    unsigned char mark = *(unsigned char *) number;
    struct secret secrets[64] = {0};
    for (size_t round = 0; round < 2000; round++) {
        struct secret *secret = &secrets[round * 37 % COUNT_OF(secrets)];
        for (size_t i = 0; i < secret->len; i++) {
            if (secret->bytes[i] != mark)
                return NULL;
        }
        secret_clear(secret);
        if (secret_new(1 + round * 13 % 200, secret) != CKR_OK)
            return NULL;
        memset(secret->bytes, mark, secret->len);
        log_line(LOG_LEVEL_DEBUG, "round %zu", round);
    }
    for (size_t i = 0; i < COUNT_OF(secrets); i++)
        secret_clear(&secrets[i]);
    return number;
}

START_TEST(threads_share_the_slabs)
{
    choose(_i);
    ck_assert(log_open("file:/dev/null:debug"));
    pthread_t threads[THREAD_COUNT];
    unsigned char marks[THREAD_COUNT];
    for (size_t i = 0; i < THREAD_COUNT; i++) {
        marks[i] = (unsigned char) (i + 1);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, allocate_and_check, &marks[i]), 0);
    }
    for (size_t i = 0; i < THREAD_COUNT; i++) {
        void *result = NULL;
        ck_assert_int_eq(pthread_join(threads[i], &result), 0);
        ck_assert_ptr_eq(result, &marks[i]);
    }
    ck_assert_uint_eq(secrets_in_use(), 0);
    log_close();
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("secret");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, secrets_move_and_compare);
    tcase_add_loop_test(cases, every_length_is_zero_filled_and_wiped, 0, 2);
    tcase_add_loop_test(cases, a_shortened_secret_is_wiped_whole, 0, 2);
    tcase_add_loop_test(cases, lengths_are_bounded, 0, 2);
    tcase_add_loop_test(cases, many_secrets_are_distinct_and_quick, 0, 2);
    tcase_add_loop_test(cases, a_random_mixture_keeps_its_bytes, 0, 2);
    tcase_add_loop_test(cases, a_second_free_is_noticed, 0, 2);
    tcase_add_loop_test(cases, short_memory_is_said, 0, 2);
    tcase_add_loop_test(cases, the_kernel_was_told, 0, 2);
    tcase_add_loop_test(cases, a_child_has_no_secret, 0, 2);
    tcase_add_loop_test(cases, a_child_begins_anew, 0, 2);
    tcase_add_loop_test(cases, guard_pages_stop_an_overrun, 0, 2);
    tcase_add_loop_test(cases, unlocked_memory_is_said_once, 0, 2);
    tcase_add_loop_test(cases, required_locking_refuses, 0, 2);
    tcase_add_loop_test(cases, threads_share_the_slabs, 0, 2);
    return fixture_run("secret", cases);
}
