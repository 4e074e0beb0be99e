/* Many processes prove the PIN of one token: their attempts are counted before they are checked. */
#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "tests/support/token_fixture.h"

#define DEADLINE_MS 300
#define CONFIGURED "deadline = 300ms"

static void *login_in_thread(void *context)
{
    struct custody *custody = context;
    fixture_login_user(custody);
    return NULL;
}

#define CROWD (2 * PIN_TRIES)

START_TEST(a_crowd_with_the_right_pin_does_not_lock_itself_out)
{
    struct custody *crowd[CROWD];
    pthread_t threads[CROWD];
    struct custody_info info;
    crowd[0] = fixture_token(fixture_store(1), "");
    for (size_t i = 1; i < CROWD; i++)
        crowd[i] = fixture_open(fixture_store(1), "");
    for (size_t i = 0; i < CROWD; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, login_in_thread, crowd[i]), 0);
    for (size_t i = 0; i < CROWD; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(custody_info(crowd[0], &info), CKR_OK);
    ck_assert(!info.user.count_low);
    for (size_t i = 0; i < CROWD; i++)
        custody_close(&crowd[i]);
}
END_TEST

/* `left` fewer attempts than lock, of which one is known to have been wrong. */
static void set_attempts(struct custody *custody, uint8_t left)
{
    unsigned char bytes[ATTEMPTS_LEN];
    struct attempts attempts = {.roles[CUSTODY_USER] = {.counted = PIN_TRIES, .wrong = 1}};
    attempts.roles[CUSTODY_USER].counted = (uint8_t) (PIN_TRIES - left);
    attempts_encode(&attempts, bytes);
    struct blob old = {0};
    struct store *store = custody->store;
    struct store_change change = {.record = RECORD_ATTEMPTS, .attributes = {bytes, sizeof(bytes)}};
    ck_assert_uint_eq(store->ops->read_record(store, RECORD_ATTEMPTS, &old, &change.expected),
                      CKR_OK);
    blob_clear(&old);
    ck_assert_uint_eq(store->ops->commit(store, &change, 1), CKR_OK);
}

START_TEST(attempts_that_were_killed_lock_after_a_while)
{
    struct custody *custody = fixture_token("memory:", CONFIGURED);
    set_attempts(custody, 0);
    int64_t begin = clock_boot_ms();
    CK_RV rv = custody_login(custody, CUSTODY_USER, view_text(FIXTURE_PIN));
    ck_assert_uint_eq(rv, CKR_PIN_LOCKED);
    ck_assert_int_ge(clock_boot_ms() - begin, DEADLINE_MS);
    custody_close(&custody);
}
END_TEST

/* Others, who end an attempt and begin the next, three deadlines long. */
static void *attempt_in_thread(void *context)
{
    for (int ms = 0; ms <= 3 * DEADLINE_MS; ms += DEADLINE_MS / 6) {
        (void) nanosleep(&(struct timespec){.tv_nsec = DEADLINE_MS / 6 * 1000000L}, NULL);
        set_attempts(context, 0);
    }
    set_attempts(context, 1);
    return NULL;
}

START_TEST(who_waits_for_others_at_work_is_not_told_that_the_pin_is_locked)
{
    pthread_t others;
    struct custody *custody = fixture_token("memory:", CONFIGURED);
    set_attempts(custody, 0);
    int64_t begin = clock_boot_ms();
    ck_assert_int_eq(pthread_create(&others, NULL, attempt_in_thread, custody), 0);
    fixture_login_user(custody);
    ck_assert_int_ge(clock_boot_ms() - begin, 3 * DEADLINE_MS);
    ck_assert_int_eq(pthread_join(others, NULL), 0);
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("attempts");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, a_crowd_with_the_right_pin_does_not_lock_itself_out);
    tcase_add_test(cases, attempts_that_were_killed_lock_after_a_while);
    tcase_add_test(cases, who_waits_for_others_at_work_is_not_told_that_the_pin_is_locked);
    return fixture_run("custody attempts", cases);
}
