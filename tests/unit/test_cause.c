/* The table of causes: names, results, who said no. */
#include <pthread.h>
#include <string.h>

#include "base/cause.h"
#include "tests/unit/base_fixture.h"

enum verdict { NEITHER, DENIAL, TRANSIENT };

static const struct {
    enum indexkey_cause cause;
    const char *name;
    CK_RV rv;
    enum verdict verdict;
} expected[] = {
    {INDEXKEY_CAUSE_NONE, "none", CKR_OK, NEITHER},
    {INDEXKEY_CAUSE_DENIED, "denied", CKR_FUNCTION_FAILED, DENIAL},
    {INDEXKEY_CAUSE_DISABLED, "disabled", CKR_FUNCTION_FAILED, DENIAL},
    {INDEXKEY_CAUSE_DELETED, "deleted", CKR_FUNCTION_FAILED, DENIAL},
    {INDEXKEY_CAUSE_TAMPERED, "tampered", CKR_FUNCTION_FAILED, DENIAL},
    {INDEXKEY_CAUSE_CONTEXT, "context", CKR_FUNCTION_FAILED, DENIAL},
    {INDEXKEY_CAUSE_CREDENTIAL, "credential", CKR_FUNCTION_FAILED, DENIAL},
    {INDEXKEY_CAUSE_THROTTLED, "throttled", CKR_DEVICE_ERROR, TRANSIENT},
    {INDEXKEY_CAUSE_TIMEOUT, "timeout", CKR_DEVICE_ERROR, TRANSIENT},
    {INDEXKEY_CAUSE_UNREACHABLE, "unreachable", CKR_DEVICE_ERROR, TRANSIENT},
    {INDEXKEY_CAUSE_DNS, "dns", CKR_DEVICE_ERROR, TRANSIENT},
    {INDEXKEY_CAUSE_TLS, "tls", CKR_DEVICE_ERROR, TRANSIENT},
    {INDEXKEY_CAUSE_SERVER, "server", CKR_DEVICE_ERROR, TRANSIENT},
    {INDEXKEY_CAUSE_STORE, "store", CKR_DEVICE_ERROR, TRANSIENT},
    {INDEXKEY_CAUSE_STORE_FULL, "store full", CKR_DEVICE_MEMORY, NEITHER},
    {INDEXKEY_CAUSE_PIN, "pin", CKR_PIN_INCORRECT, NEITHER},
    {INDEXKEY_CAUSE_CONFIG, "config", CKR_FUNCTION_FAILED, NEITHER},
    {INDEXKEY_CAUSE_CANCELLED, "cancelled", CKR_DEVICE_ERROR, TRANSIENT},
    {INDEXKEY_CAUSE_INTERNAL, "internal", CKR_GENERAL_ERROR, NEITHER},
    {INDEXKEY_CAUSE_AUDIT, "audit", CKR_DEVICE_ERROR, NEITHER},
};

START_TEST(each_cause_has_its_row)
{
    enum indexkey_cause cause = expected[_i].cause;
    ck_assert_int_eq(cause, _i);
    ck_assert_str_eq(cause_name(cause), expected[_i].name);
    ck_assert_uint_eq(cause_rv(cause), expected[_i].rv);
    ck_assert_int_eq(cause_is_denial(cause), expected[_i].verdict == DENIAL);
    ck_assert_int_eq(cause_is_transient(cause), expected[_i].verdict == TRANSIENT);
}
END_TEST

START_TEST(an_unknown_cause_is_internal)
{
    static const int unknown[] = {(int) COUNT_OF(expected), 1000, -1};
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        ck_assert_str_eq(cause_name((enum indexkey_cause) unknown[i]), "internal");
        ck_assert_uint_eq(cause_rv((enum indexkey_cause) unknown[i]), CKR_GENERAL_ERROR);
        ck_assert(!cause_is_transient((enum indexkey_cause) unknown[i]));
    }
}
END_TEST

static void *other_thread(void *seen)
{
    *(enum indexkey_cause *) seen = cause_last();
    cause_set(INDEXKEY_CAUSE_DNS);
    return NULL;
}

START_TEST(each_thread_has_its_own)
{
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_NONE);
    cause_set(INDEXKEY_CAUSE_TLS);
    enum indexkey_cause seen = INDEXKEY_CAUSE_INTERNAL;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, other_thread, &seen), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(seen, INDEXKEY_CAUSE_NONE);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_TLS);
    cause_clear();
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_NONE);
}
END_TEST

static CK_RV refused_by_source(void)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_DISABLED, "key %s is disabled", "k1");
}

START_TEST(a_failure_logs_records_and_answers)
{
    fixture_catch_log();
    ck_assert_uint_eq(refused_by_source(), CKR_FUNCTION_FAILED);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_DISABLED);
    ck_assert_str_eq(fixture_log(), "indexkey: error: key k1 is disabled\n");
    cause_clear();
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("cause");
    tcase_add_loop_test(cases, each_cause_has_its_row, 0, COUNT_OF(expected));
    tcase_add_test(cases, an_unknown_cause_is_internal);
    tcase_add_test(cases, each_thread_has_its_own);
    tcase_add_test(cases, a_failure_logs_records_and_answers);
    return fixture_run("cause", cases);
}
