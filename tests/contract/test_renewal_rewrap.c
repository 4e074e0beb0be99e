/* The data key wrapped anew; at each source's own server: source_matrix.c. */
#include <string.h>

#include "base/clock.h"
#include "tests/contract/renewal_fixture.h"

static struct custody_rewrap report;

static CK_RV rewrap(struct custody *custody)
{
    return custody_rewrap(custody, &report);
}

static void assert_refused(struct custody *custody, enum indexkey_cause cause)
{
    struct blob before = renewal_record(custody, RECORD_TOKEN);
    memset(&report, 0x5a, sizeof(report));
    struct custody_rewrap untouched = report;
    fixture_forget_log();
    ck_assert_uint_eq(custody_rewrap(custody, &report), cause_rv(cause));
    ck_assert_int_eq((int) cause_last(), (int) cause);
    ck_assert_msg(fixture_log_count() == 1, "%s", fixture_log());
    ck_assert_mem_eq(&untouched, &report, sizeof(report));
    struct blob after = renewal_record(custody, RECORD_TOKEN);
    ck_assert(view_equal(blob_view(&before), blob_view(&after)));
    blob_clear(&before);
    blob_clear(&after);
}

START_TEST(the_wrapped_key_is_another_and_the_roles_are_the_same)
{
    struct custody *custody = renewal_token();
    struct token_record before = {0};
    struct token_record after = {0};
    ck_assert_uint_eq(custody_read_token(custody, &before), CKR_OK);
    ck_assert_uint_eq(rewrap(custody), CKR_OK);
    ck_assert_uint_eq(custody_read_token(custody, &after), CKR_OK);
    ck_assert_uint_eq(after.version, before.version + 1);
    ck_assert(!view_equal(before.wrapped, after.wrapped));
    ck_assert_mem_eq(before.serial, after.serial, SERIAL_LEN);
    ck_assert_mem_eq(before.label, after.label, TOKEN_LABEL_LEN);
    ck_assert_mem_eq(before.roles, after.roles, sizeof(before.roles));
    ck_assert_ptr_nonnull(strstr(report.old_key, "root key "));
    ck_assert_str_eq(report.old_key, report.new_key);
    token_record_clear(&before);
    token_record_clear(&after);
    renewal_check(custody);
    custody_logout(custody);
    ck_assert_uint_eq(custody_login(custody, CUSTODY_SO, view_text(FIXTURE_SO_PIN)), CKR_OK);
    ck_assert_uint_eq(rewrap(custody), CKR_OK);
    custody_logout(custody);
    ck_assert_uint_eq(rewrap(custody), CKR_USER_NOT_LOGGED_IN);
    custody_close(&custody);
    renewal_check_anew();
}
END_TEST

START_TEST(others_that_are_logged_in_go_on)
{
    struct custody *custody = renewal_token();
    struct custody *other = fixture_open(fixture_store(1), "");
    fixture_login_user(other);
    ck_assert_uint_eq(rewrap(custody), CKR_OK);
    clock_shift(200);
    ck_assert_int_ne(custody_tick(other), CUSTODY_CLOSED);
    clock_shift(16 * 60 * 1000);
    ck_assert_int_ne(custody_tick(other), CUSTODY_CLOSED);
    renewal_check(other);
    custody_close(&other);
    custody_close(&custody);
}
END_TEST

/* Wraps, as it says, and gives something else to unwrap. */
static CK_RV wrap_another(struct source *source, const struct source_call *call,
                          const struct secret *data_key, struct blob *ret_wrapped)
{
    struct fixture_source *fixture = (struct fixture_source *) source;
    struct secret other = {0};
    ck_assert_uint_eq(secret_from(data_key->bytes, data_key->len, &other), CKR_OK);
    other.bytes[31] ^= 1;
    CK_RV rv = fixture->inner->ops->wrap(fixture->inner, call, &other, ret_wrapped);
    secret_clear(&other);
    return rv;
}

static CK_RV wrap_rubbish(struct source *source, const struct source_call *call,
                          const struct secret *data_key, struct blob *ret_wrapped)
{
    CK_RV rv = wrap_another(source, call, data_key, ret_wrapped);
    ret_wrapped->bytes[ret_wrapped->len - 1] ^= 1;
    return rv;
}

static CK_RV wrap_fails(struct source *source, const struct source_call *call,
                        const struct secret *data_key, struct blob *ret_wrapped)
{
    (void) source;
    (void) call;
    (void) data_key;
    (void) ret_wrapped;
    return FAIL_CAUSE(INDEXKEY_CAUSE_DENIED, "no permission to wrap");
}

START_TEST(what_does_not_open_is_not_kept)
{
    struct custody *custody = renewal_token();
    struct fixture_source *source = fixture_interpose(custody);
    source->ops.wrap = wrap_another;
    assert_refused(custody, INDEXKEY_CAUSE_SERVER);
    source->ops.wrap = wrap_rubbish;
    assert_refused(custody, INDEXKEY_CAUSE_TAMPERED);
    source->ops.wrap = wrap_fails;
    assert_refused(custody, INDEXKEY_CAUSE_DENIED);
    atomic_store(&source->fails_with, INDEXKEY_CAUSE_TIMEOUT);
    assert_refused(custody, INDEXKEY_CAUSE_TIMEOUT);
    custody_close(&custody);
    renewal_check_anew();
}
END_TEST

/* Another process sets a PIN between the reading of the record and its commit. */
static struct custody *rival;

static CK_RV wrap_beside_a_rival(struct source *source, const struct source_call *call,
                                 const struct secret *data_key, struct blob *ret_wrapped)
{
    struct fixture_source *fixture = (struct fixture_source *) source;
    if (rival != NULL)
        ck_assert_uint_eq(
            custody_set_pin(rival, CUSTODY_USER, view_text(FIXTURE_PIN), view_text("another pin")),
            CKR_OK);
    rival = NULL;
    return fixture->inner->ops->wrap(fixture->inner, call, data_key, ret_wrapped);
}

START_TEST(a_pin_that_is_set_meanwhile_stays)
{
    struct custody *custody = renewal_token();
    struct custody *other = fixture_open(fixture_store(1), "");
    struct fixture_source *source = fixture_interpose(custody);
    source->ops.wrap = wrap_beside_a_rival;
    rival = other;
    ck_assert_uint_eq(rewrap(custody), CKR_OK);
    ck_assert_ptr_null(rival);
    ck_assert_uint_eq(custody_login(other, CUSTODY_USER, view_text("another pin")), CKR_OK);
    renewal_check(other);
    custody_close(&other);
    custody_close(&custody);
}
END_TEST

START_TEST(a_kill_leaves_the_old_or_the_new)
{
    struct custody *custody = renewal_token();
    custody_close(&custody);
    renewal_kill_everywhere(rewrap, renewal_check_anew);
}
END_TEST

START_TEST(a_failing_device_leaves_the_old_or_the_new)
{
    struct custody *custody = renewal_token();
    custody_close(&custody);
    renewal_fail_everywhere(rewrap, renewal_check_anew);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("renewal_rewrap");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, the_wrapped_key_is_another_and_the_roles_are_the_same);
    tcase_add_test(cases, others_that_are_logged_in_go_on);
    tcase_add_test(cases, what_does_not_open_is_not_kept);
    tcase_add_test(cases, a_pin_that_is_set_meanwhile_stays);
    tcase_add_test(cases, a_kill_leaves_the_old_or_the_new);
    tcase_add_test(cases, a_failing_device_leaves_the_old_or_the_new);
    return fixture_run("renewal_rewrap", cases);
}
