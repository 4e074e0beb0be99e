/* Direct keys on a scripted source: at login, at each lease, many at once, and one bad among them.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tests/support/direct_fixture.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define LEASES "lease = 15m\ngrace = 1h"

static struct custody *logged_in(int count)
{
    struct custody *custody = direct_token(LEASES, direct_sections(count), true);
    fixture_login_user(custody);
    return custody;
}

static int open_count(struct custody *custody)
{
    int open = 0;
    for (size_t i = 0; i < custody_direct_keys_count(custody); i++)
        open += direct_is_open(custody, i) ? 1 : 0;
    return open;
}

/* ---- login ---- */

START_TEST(a_login_costs_one_call_and_one_for_each_direct_key)
{
    struct custody *custody = logged_in(20);
    ck_assert_int_eq(fake_data_key_calls, 1);
    ck_assert_int_eq(fake_calls, 20);
    ck_assert_int_eq(open_count(custody), 20);
    direct_tick(custody);
    ck_assert_int_eq(fake_calls, 20);
    custody_close(&custody);
}
END_TEST

START_TEST(one_bad_of_five_hides_only_itself_with_one_line)
{
    struct custody *custody = direct_token(LEASES, direct_sections(5), true);
    static const int causes[] = {INDEXKEY_CAUSE_DENIED, INDEXKEY_CAUSE_TAMPERED,
                                 INDEXKEY_CAUSE_CONTEXT, INDEXKEY_CAUSE_THROTTLED,
                                 INDEXKEY_CAUSE_TIMEOUT};
    atomic_store(&fake_keys[3].cause, causes[_i]);
    fixture_login_user(custody);
    ck_assert_int_eq(open_count(custody), 4);
    ck_assert(!direct_is_open(custody, 3));
    const char *line = strstr(fixture_log(), "error: ");
    ck_assert_ptr_nonnull(line);
    ck_assert_ptr_null(strstr(line + 1, "error: "));
    ck_assert_ptr_nonnull(strstr(line, "[key k3] is not shown"));
    ck_assert_ptr_nonnull(strstr(line, cause_name((enum indexkey_cause) causes[_i])));
    ck_assert_ptr_nonnull(strstr(line, "the scripted source fails"));
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_NONE);
    custody_close(&custody);
}
END_TEST

static const struct {
    const char *type;
    int len;
    bool opens;
} lengths[] = {
    {"generic", 15, false}, {"generic", 16, true}, {"generic", 32, true}, {"generic", 64, true},
    {"generic", 65, false}, {"aes", 16, true},     {"aes", 24, true},     {"aes", 32, true},
    {"aes", 20, false},     {"aes", 64, false},
};

START_TEST(a_value_has_a_length_of_its_type)
{
    char sections[256];
    (void) snprintf(sections, sizeof(sections),
                    "[key k]\ntoken = vectors\nciphertext = vault:0\ntype = %s\n",
                    lengths[_i].type);
    struct custody *custody = direct_token(LEASES, sections, true);
    atomic_store(&fake_keys[0].len, lengths[_i].len);
    fixture_login_user(custody);
    ck_assert_int_eq(direct_is_open(custody, 0), lengths[_i].opens);
    custody_close(&custody);
}
END_TEST

static void tell_check_value(char ret_text[17])
{
    static const char before[] = "check_value = ";
    const char *told = strstr(fixture_log(), before);
    ck_assert_msg(told != NULL, "%s", fixture_log());
    memcpy(ret_text, told + strlen(before), 16);
    ret_text[16] = '\0';
}

START_TEST(the_check_value_is_told_once_and_pins_the_key)
{
    char check_value[17];
    char expected[17];
    char sections[256];
    unsigned char key[32];
    unsigned char mac[32];
    size_t mac_len;
    struct custody *custody = logged_in(1);
    tell_check_value(check_value);
    memset(key, 1, sizeof(key));
    static const char label[] = "indexkey/1/direct/check";
    ck_assert_ptr_nonnull(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, sizeof(key),
                                    (const unsigned char *) label, strlen(label), mac, sizeof(mac),
                                    &mac_len));
    for (size_t i = 0; i < 8; i++)
        (void) snprintf(expected + 2 * i, 3, "%02x", mac[i]);
    ck_assert_str_eq(check_value, expected);
    custody_logout(custody);
    fixture_forget_log();
    fixture_login_user(custody);
    ck_assert_uint_eq(fixture_log_count(), 0);
    custody_close(&custody);

    (void) snprintf(sections, sizeof(sections), "%scheck_value = %s\n", direct_sections(1),
                    check_value);
    custody = direct_token(LEASES, sections, true);
    fixture_login_user(custody);
    ck_assert(direct_is_open(custody, 0));
    ck_assert_uint_eq(fixture_log_count(), 0);
    custody_logout(custody);
    atomic_store(&fake_keys[0].seed, 99);
    fixture_login_user(custody);
    ck_assert(!direct_is_open(custody, 0));
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "(context)"));
    custody_close(&custody);
}
END_TEST

static int64_t timed_login(struct custody *custody)
{
    int64_t began = clock_boot_ms();
    fixture_login_user(custody);
    return clock_boot_ms() - began;
}

static void slow_down(int count, int delay_ms)
{
    for (int i = 0; i < count; i++)
        atomic_store(&fake_keys[i].delay_ms, delay_ms);
}

START_TEST(sixteen_slow_keys_come_in_two_rounds)
{
    struct custody *custody = direct_token(LEASES, direct_sections(16), true);
    slow_down(16, 100);
    ck_assert_int_lt(timed_login(custody), 600);
    ck_assert_int_eq(open_count(custody), 16);
    ck_assert_int_eq(fake_running_most, 8);
    custody_close(&custody);
}
END_TEST

START_TEST(without_threads_they_come_one_by_one_each_with_its_own_deadline)
{
    struct custody *custody = direct_token(LEASES, direct_sections(4), false);
    slow_down(4, 100);
    ck_assert_int_ge(timed_login(custody), 400);
    ck_assert_int_eq(open_count(custody), 4);
    ck_assert_int_eq(fake_running_most, 1);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_gt(fake_keys[i].deadline_ms, DIRECT_DEADLINE_MS - 50);
        ck_assert_int_le(fake_keys[i].deadline_ms, DIRECT_DEADLINE_MS);
    }
    custody_close(&custody);
}
END_TEST

START_TEST(a_source_that_is_silent_costs_one_deadline_and_heals)
{
    struct custody *custody = direct_token(LEASES, direct_sections(40), true);
    for (int i = 0; i < 40; i++)
        atomic_store(&fake_keys[i].cause, INDEXKEY_CAUSE_TIMEOUT);
    slow_down(40, 50);
    fixture_login_user(custody);
    ck_assert_int_ge(fake_calls, 8);
    ck_assert_int_le(fake_calls, 16);
    ck_assert_int_eq(open_count(custody), 0);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "of its direct keys were not asked for"));
    for (int i = 0; i < 40; i++)
        atomic_store(&fake_keys[i].cause, INDEXKEY_CAUSE_NONE);
    clock_shift(2 * SECOND);
    direct_tick(custody);
    ck_assert_int_eq(open_count(custody), 40);
    custody_close(&custody);
}
END_TEST

/* Under `login = credential` every request carries what the user gave, renewals too. */
START_TEST(the_credential_goes_with_each_request)
{
    struct custody *custody = direct_token(LEASES "\nlogin = ambient", direct_sections(2), true);
    custody->login = CUSTODY_LOGIN_CREDENTIAL;
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, view_text("s.token")), CKR_OK);
    ck_assert_int_eq(fake_keys[1].credential_len, 7);
    atomic_store(&fake_keys[1].credential_len, 0);
    clock_shift(15 * MINUTE);
    direct_tick(custody);
    ck_assert_int_eq(fake_keys[1].calls, 2);
    ck_assert_int_eq(fake_keys[1].credential_len, 7);
    custody_close(&custody);
}
END_TEST

/* ---- leases ---- */

static const int denials[] = {INDEXKEY_CAUSE_DENIED, INDEXKEY_CAUSE_DISABLED,
                              INDEXKEY_CAUSE_DELETED, INDEXKEY_CAUSE_TAMPERED};

START_TEST(a_denial_at_renewal_removes_that_key_until_the_next_login)
{
    struct custody *custody = logged_in(3);
    uint64_t version = custody_direct_keys_version(custody);
    fixture_forget_log();
    clock_shift(14 * MINUTE - 5 * SECOND);
    direct_tick(custody);
    ck_assert_int_eq(fake_calls, 3);
    atomic_store(&fake_keys[1].cause, denials[_i]);
    clock_shift(15 * MINUTE);
    direct_tick(custody);
    ck_assert_int_eq(fake_calls, 6);
    ck_assert_int_eq(fake_data_key_calls, 2);
    ck_assert(direct_is_open(custody, 0));
    ck_assert(!direct_is_open(custody, 1));
    ck_assert(direct_is_open(custody, 2));
    ck_assert_uint_ne(custody_direct_keys_version(custody), version);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "[key k1] is not shown until the next C_Login"));
    atomic_store(&fake_keys[1].cause, INDEXKEY_CAUSE_NONE);
    clock_shift(31 * MINUTE);
    direct_tick(custody);
    ck_assert_int_eq(fake_keys[1].calls, 2);
    custody_logout(custody);
    fixture_login_user(custody);
    ck_assert(direct_is_open(custody, 1));
    custody_close(&custody);
}
END_TEST

START_TEST(an_outage_is_ridden_out_within_the_grace_and_no_longer)
{
    struct custody *custody = logged_in(2);
    uint64_t version = custody_direct_keys_version(custody);
    atomic_store(&fake_keys[0].cause, INDEXKEY_CAUSE_UNREACHABLE);
    for (int64_t ms = 15 * MINUTE; ms < 74 * MINUTE; ms += 10 * SECOND) {
        clock_shift(ms);
        direct_tick(custody);
        ck_assert(direct_is_open(custody, 0));
    }
    ck_assert_uint_eq(custody_direct_keys_version(custody), version);
    /* 354 ticks; the pauses grow to half a minute on average. */
    ck_assert_int_ge(fake_keys[0].calls, 20);
    ck_assert_int_le(fake_keys[0].calls, 250);
    ck_assert_int_le(fake_keys[1].calls, 7);
    clock_shift(76 * MINUTE);
    direct_tick(custody);
    ck_assert(!direct_is_open(custody, 0));
    ck_assert(direct_is_open(custody, 1));
    ck_assert_ptr_nonnull(strstr(fixture_log(), "[key k0] is not shown any more"));
    atomic_store(&fake_keys[0].cause, INDEXKEY_CAUSE_NONE);
    clock_shift(78 * MINUTE);
    direct_tick(custody);
    ck_assert(direct_is_open(custody, 0));
    custody_close(&custody);
}
END_TEST

START_TEST(a_transient_failure_at_login_heals_by_itself)
{
    struct custody *custody = direct_token(LEASES, direct_sections(2), true);
    atomic_store(&fake_keys[0].cause, INDEXKEY_CAUSE_THROTTLED);
    fixture_login_user(custody);
    ck_assert(!direct_is_open(custody, 0));
    atomic_store(&fake_keys[0].cause, INDEXKEY_CAUSE_NONE);
    clock_shift(2 * SECOND);
    direct_tick(custody);
    ck_assert(direct_is_open(custody, 0));
    ck_assert_int_eq(fake_keys[1].calls, 1);
    custody_close(&custody);
}
END_TEST

START_TEST(a_rotated_file_is_seen_at_the_next_lease)
{
    char sections[512];
    fixture_write("key.txt", "vault:5\n", 0644);
    (void) snprintf(sections, sizeof(sections), "[key k]\ntoken = vectors\nciphertext = file:%s\n",
                    fixture_path("key.txt"));
    struct custody *custody = direct_token(LEASES, sections, true);
    fixture_login_user(custody);
    struct secret value = direct_value(custody, 0);
    ck_assert_uint_eq(value.bytes[0], 6);
    secret_clear(&value);
    fixture_remove("key.txt");
    clock_shift(15 * MINUTE);
    direct_tick(custody);
    ck_assert(direct_is_open(custody, 0));
    fixture_write("key.txt", "vault:9\n", 0644);
    clock_shift(17 * MINUTE);
    direct_tick(custody);
    value = direct_value(custody, 0);
    ck_assert_uint_eq(value.len, 32);
    ck_assert_uint_eq(value.bytes[0], 10);
    secret_clear(&value);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "holds another key than before"));
    custody_close(&custody);
}
END_TEST

/* ---- other threads ---- */

static void *tick_in_thread(void *context)
{
    direct_tick(context);
    return NULL;
}

static void head_start(void)
{
    (void) nanosleep(&(struct timespec){.tv_nsec = 60 * 1000000L}, NULL);
}

START_TEST(within_the_grace_one_asks_and_others_go_on)
{
    struct custody *custody = logged_in(2);
    pthread_t asker;
    /* Beyond the grace they wait for the answer, and see what it was. */
    bool beyond = _i == 1;
    slow_down(2, 400);
    atomic_store(&fake_keys[0].cause, INDEXKEY_CAUSE_DENIED);
    clock_shift(beyond ? 80 * MINUTE : 15 * MINUTE);
    ck_assert_int_eq(pthread_create(&asker, NULL, tick_in_thread, custody), 0);
    head_start();
    int64_t began = clock_boot_ms();
    direct_tick(custody);
    int64_t took = clock_boot_ms() - began;
    if (beyond)
        ck_assert_int_ge(took, 250);
    else
        ck_assert_int_lt(took, 200);
    ck_assert_int_eq(direct_is_open(custody, 0), !beyond);
    ck_assert_int_eq(pthread_join(asker, NULL), 0);
    ck_assert_int_eq(fake_calls, 4);
    ck_assert(!direct_is_open(custody, 0));
    custody_close(&custody);
}
END_TEST

static void *login_in_thread(void *context)
{
    (void) custody_login(context, CUSTODY_USER, view_text(FIXTURE_PIN));
    return NULL;
}

START_TEST(cancelling_ends_a_login_within_half_a_second)
{
    struct custody *custody = direct_token(LEASES, direct_sections(40), true);
    pthread_t thread;
    slow_down(40, 1900);
    ck_assert_int_eq(pthread_create(&thread, NULL, login_in_thread, custody), 0);
    (void) nanosleep(&(struct timespec){.tv_nsec = 400 * 1000000L}, NULL);
    ck_assert_int_eq(fake_running, 8);
    int64_t began = clock_boot_ms();
    custody_cancel(custody);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_lt(clock_boot_ms() - began, 500);
    ck_assert_int_eq(fake_calls, 8);
    ck_assert_uint_eq(fixture_log_count(), 0);
    custody_close(&custody);
}
END_TEST

START_TEST(a_late_answer_does_not_touch_the_next_login)
{
    struct custody *custody = logged_in(2);
    pthread_t thread;
    slow_down(2, 300);
    atomic_store(&fake_keys[0].cause, INDEXKEY_CAUSE_DENIED);
    clock_shift(15 * MINUTE);
    ck_assert_int_eq(pthread_create(&thread, NULL, tick_in_thread, custody), 0);
    head_start();
    custody_logout(custody);
    ck_assert_int_eq(open_count(custody), 0);
    slow_down(2, 0);
    atomic_store(&fake_keys[0].cause, INDEXKEY_CAUSE_NONE);
    fixture_login_user(custody);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(open_count(custody), 2);
    custody_close(&custody);
}
END_TEST

START_TEST(a_logout_ends_the_round)
{
    struct custody *custody = logged_in(40);
    pthread_t thread;
    slow_down(40, 300);
    clock_shift(15 * MINUTE);
    ck_assert_int_eq(pthread_create(&thread, NULL, tick_in_thread, custody), 0);
    head_start();
    custody_logout(custody);
    fixture_forget_log();
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(fake_calls, 48);
    ck_assert_uint_eq(fixture_log_count(), 0);
    custody_close(&custody);
}
END_TEST

/* Serial, so that the n-th allocation is always the same one. */
START_TEST(a_lack_of_memory_leaves_nothing_behind)
{
    struct custody *custody = direct_token(LEASES, direct_sections(3), false);
    int healed = 0;
    for (unsigned long nth = 1; nth < 400 && healed < 3; nth++) {
        mem_fail_at(nth, false);
        CK_RV rv = custody_login(custody, CUSTODY_USER, view_text(FIXTURE_PIN));
        bool was_reached = mem_count() >= nth;
        mem_fail_at(0, false);
        if (rv == CKR_OK) {
            clock_shift((int64_t) nth * MINUTE / 10);
            direct_tick(custody);
            healed += was_reached ? 0 : 1;
            ck_assert_int_ge(open_count(custody), was_reached ? 2 : 3);
        }
        custody_logout(custody);
        ck_assert_uint_eq(secrets_in_use(), 0);
    }
    ck_assert_int_eq(healed, 3);
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("direct_keys");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, a_login_costs_one_call_and_one_for_each_direct_key);
    tcase_add_loop_test(cases, one_bad_of_five_hides_only_itself_with_one_line, 0, 5);
    tcase_add_loop_test(cases, a_value_has_a_length_of_its_type, 0, (int) COUNT_OF(lengths));
    tcase_add_test(cases, the_check_value_is_told_once_and_pins_the_key);
    tcase_add_test(cases, sixteen_slow_keys_come_in_two_rounds);
    tcase_add_test(cases, without_threads_they_come_one_by_one_each_with_its_own_deadline);
    tcase_add_test(cases, a_source_that_is_silent_costs_one_deadline_and_heals);
    tcase_add_test(cases, the_credential_goes_with_each_request);
    tcase_add_loop_test(cases, a_denial_at_renewal_removes_that_key_until_the_next_login, 0,
                        (int) COUNT_OF(denials));
    tcase_add_test(cases, an_outage_is_ridden_out_within_the_grace_and_no_longer);
    tcase_add_test(cases, a_transient_failure_at_login_heals_by_itself);
    tcase_add_test(cases, a_rotated_file_is_seen_at_the_next_lease);
    tcase_add_loop_test(cases, within_the_grace_one_asks_and_others_go_on, 0, 2);
    tcase_add_test(cases, cancelling_ends_a_login_within_half_a_second);
    tcase_add_test(cases, a_late_answer_does_not_touch_the_next_login);
    tcase_add_test(cases, a_logout_ends_the_round);
    tcase_add_test(cases, a_lack_of_memory_leaves_nothing_behind);
    return fixture_run("direct_keys", cases);
}
