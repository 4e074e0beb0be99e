/* Tokens from the outside, on both kinds of store: initialisation, login, PINs, what is refused. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tests/support/token_fixture.h"
#include "tokens/sealed_objects.h"

static void assert_serial_kept(const struct custody_info *before, const struct custody_info *after)
{
    ck_assert_mem_eq(before->serial, after->serial, TOKEN_SERIAL_LEN);
}

static void overwrite(struct custody *custody, const char *name, const unsigned char *bytes,
                      size_t len)
{
    struct blob old = {0};
    struct store_change change = {.record = name, .attributes = {bytes, len}};
    ck_assert_uint_eq(
        custody->store->ops->read_record(custody->store, name, &old, &change.expected), CKR_OK);
    blob_clear(&old);
    ck_assert_uint_eq(custody->store->ops->commit(custody->store, &change, 1), CKR_OK);
}

static CK_RV login(struct custody *custody, enum custody_role role, const char *pin)
{
    return custody_login(custody, role, view_text(pin));
}

START_TEST(a_fresh_token_is_blank_and_refuses_logins)
{
    struct custody *custody = fixture_open(fixture_store(_i), "");
    struct custody_info info;
    ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    ck_assert(!info.initialized && !info.so.set && !info.user.set);
    ck_assert_mem_eq(info.label, "                                ", TOKEN_LABEL_LEN);
    ck_assert_mem_eq(info.serial, "                ", TOKEN_SERIAL_LEN);
    ck_assert_uint_eq(login(custody, CUSTODY_USER, FIXTURE_PIN), CKR_USER_PIN_NOT_INITIALIZED);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_int_eq(atomic_load(custody_due(custody)), INT64_MAX);
    custody_close(&custody);
}
END_TEST

START_TEST(the_whole_way_from_initialisation_to_logout)
{
    struct custody *custody = fixture_open(fixture_store(_i), "");
    fixture_init_token(custody);
    struct custody_info info;
    ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    ck_assert(info.initialized && info.so.set && !info.user.set);
    ck_assert_mem_eq(info.label, "vectors                         ", TOKEN_LABEL_LEN);
    for (size_t i = 0; i < TOKEN_SERIAL_LEN; i++)
        ck_assert(strchr("0123456789abcdef", info.serial[i]) != NULL);

    ck_assert_uint_eq(login(custody, CUSTODY_USER, FIXTURE_PIN), CKR_USER_PIN_NOT_INITIALIZED);
    ck_assert_uint_eq(custody_init_pin(custody, view_text(FIXTURE_PIN)), CKR_USER_NOT_LOGGED_IN);
    ck_assert_uint_eq(login(custody, CUSTODY_SO, FIXTURE_SO_PIN), CKR_OK);
    ck_assert_uint_eq(custody_init_pin(custody, view_text(FIXTURE_PIN)), CKR_OK);
    custody_logout(custody);
    fixture_login_user(custody);
    ck_assert_int_lt(atomic_load(custody_due(custody)), INT64_MAX);
    ck_assert_uint_eq(custody_init_pin(custody, view_text(FIXTURE_PIN)), CKR_USER_NOT_LOGGED_IN);
    custody_logout(custody);
    ck_assert_uint_eq(secrets_in_use(), 0);
    custody_close(&custody);
}
END_TEST

START_TEST(a_token_survives_a_restart)
{
    struct custody *first = fixture_token(fixture_store(1), "");
    struct custody_info before;
    struct custody_info after;
    ck_assert_uint_eq(custody_info(first, &before), CKR_OK);
    custody_close(&first);
    struct custody *second = fixture_open(fixture_store(1), "");
    ck_assert_uint_eq(custody_info(second, &after), CKR_OK);
    ck_assert_mem_eq(&before, &after, sizeof(before));
    fixture_login_user(second);
    custody_close(&second);
}
END_TEST

START_TEST(ten_wrong_pins_lock_and_the_so_unlocks)
{
    struct custody *custody = fixture_token(fixture_store(_i), "");
    struct custody_info info;
    for (int i = 1; i <= PIN_TRIES; i++) {
        fixture_forget_log();
        ck_assert_uint_eq(login(custody, CUSTODY_USER, "wrong"), CKR_PIN_INCORRECT);
        ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_PIN);
        ck_assert_uint_eq(fixture_log_count(), 1);
        ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
        ck_assert(info.user.count_low);
        ck_assert_int_eq(info.user.final_try, i == PIN_TRIES - 1);
        ck_assert_int_eq(info.user.locked, i == PIN_TRIES);
    }
    ck_assert_uint_eq(login(custody, CUSTODY_USER, FIXTURE_PIN), CKR_PIN_LOCKED);
    /* While it is locked, C_SetPIN takes the SO PIN in place of the old one. */
    ck_assert_uint_eq(
        custody_set_pin(custody, CUSTODY_USER, view_text(FIXTURE_PIN), view_text("another")),
        CKR_PIN_INCORRECT);
    ck_assert_uint_eq(
        custody_set_pin(custody, CUSTODY_USER, view_text(FIXTURE_SO_PIN), view_text("unlocked")),
        CKR_OK);
    ck_assert_uint_eq(login(custody, CUSTODY_USER, "unlocked"), CKR_OK);
    custody_logout(custody);
    ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    ck_assert(!info.so.count_low && !info.user.locked);
    ck_assert_uint_eq(login(custody, CUSTODY_SO, FIXTURE_SO_PIN), CKR_OK);
    ck_assert_uint_eq(custody_init_pin(custody, view_text("new-user")), CKR_OK);
    custody_logout(custody);
    ck_assert_uint_eq(login(custody, CUSTODY_USER, "new-user"), CKR_OK);
    ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    ck_assert(!info.user.count_low && !info.user.locked);
    custody_close(&custody);
}
END_TEST

START_TEST(a_locked_so_stays_locked_and_cannot_initialise)
{
    struct custody *custody = fixture_token(fixture_store(_i), "");
    unsigned char label[TOKEN_LABEL_LEN] = {0};
    for (int i = 0; i < PIN_TRIES; i++)
        ck_assert_uint_eq(custody_init_token(custody, view_text("wrong"), label),
                          CKR_PIN_INCORRECT);
    ck_assert_uint_eq(login(custody, CUSTODY_SO, FIXTURE_SO_PIN), CKR_PIN_LOCKED);
    ck_assert_uint_eq(custody_init_token(custody, view_text(FIXTURE_SO_PIN), label),
                      CKR_PIN_LOCKED);
    fixture_login_user(custody);
    custody_close(&custody);
}
END_TEST

START_TEST(a_right_pin_clears_the_count)
{
    struct custody *custody = fixture_token(fixture_store(_i), "");
    struct custody_info info;
    ck_assert_uint_eq(login(custody, CUSTODY_USER, "wrong"), CKR_PIN_INCORRECT);
    fixture_login_user(custody);
    ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    ck_assert(!info.user.count_low);
    custody_close(&custody);
}
END_TEST

static const size_t bad_lengths[] = {0, 1, PIN_LEN_MIN - 1, PIN_LEN_MAX + 1, 4000};

START_TEST(lengths_out_of_range_are_wrong_pins_and_bad_new_ones)
{
    struct custody *custody = fixture_token("memory:", "");
    static unsigned char bytes[4096];
    memset(bytes, 'x', sizeof(bytes));
    struct view pin = {bytes, bad_lengths[_i]};
    struct custody_info info;
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, pin), CKR_PIN_INCORRECT);
    ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    ck_assert(info.user.count_low);
    ck_assert_uint_eq(custody_set_pin(custody, CUSTODY_USER, view_text(FIXTURE_PIN), pin),
                      CKR_PIN_LEN_RANGE);
    ck_assert_uint_eq(login(custody, CUSTODY_SO, FIXTURE_SO_PIN), CKR_OK);
    ck_assert_uint_eq(custody_init_pin(custody, pin), CKR_PIN_LEN_RANGE);
    custody_close(&custody);
    struct custody *blank = fixture_open("memory:", "");
    ck_assert_uint_eq(custody_init_token(blank, pin, info.label), CKR_PIN_LEN_RANGE);
    custody_close(&blank);
}
END_TEST

START_TEST(longest_and_shortest_pins_work)
{
    struct custody *custody = fixture_token("memory:", "");
    unsigned char bytes[PIN_LEN_MAX];
    memset(bytes, 0xfe, sizeof(bytes));
    struct view longest = {bytes, PIN_LEN_MAX};
    struct view shortest = {bytes, PIN_LEN_MIN};
    ck_assert_uint_eq(custody_set_pin(custody, CUSTODY_USER, view_text(FIXTURE_PIN), longest),
                      CKR_OK);
    ck_assert_uint_eq(custody_set_pin(custody, CUSTODY_USER, longest, shortest), CKR_OK);
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, longest), CKR_PIN_INCORRECT);
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, shortest), CKR_OK);
    custody_close(&custody);
}
END_TEST

START_TEST(each_role_changes_its_pin)
{
    struct custody *custody = fixture_token(fixture_store(_i), "");
    static const struct {
        enum custody_role role;
        const char *old_pin;
    } rows[] = {{CUSTODY_SO, FIXTURE_SO_PIN}, {CUSTODY_USER, FIXTURE_PIN}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct view old_pin = view_text(rows[i].old_pin);
        struct view new_pin = view_text("changed");
        ck_assert_uint_eq(custody_set_pin(custody, rows[i].role, new_pin, new_pin),
                          CKR_PIN_INCORRECT);
        ck_assert_uint_eq(custody_set_pin(custody, rows[i].role, old_pin, new_pin), CKR_OK);
        ck_assert_uint_eq(custody_login(custody, rows[i].role, old_pin), CKR_PIN_INCORRECT);
        ck_assert_uint_eq(custody_login(custody, rows[i].role, new_pin), CKR_OK);
        custody_logout(custody);
    }
    custody_close(&custody);
}
END_TEST

static CK_RV count_object(void *context, const struct sealed_object *object)
{
    (void) object;
    ++*(size_t *) context;
    return CKR_OK;
}

START_TEST(initialising_again_proves_the_so_and_removes_objects)
{
    struct custody *custody = fixture_token(fixture_store(_i), "");
    struct custody_info before;
    struct custody_info after;
    struct object_id id;
    size_t count = 0;
    fixture_login_user(custody);
    ck_assert_uint_eq(sealed_objects_new_id(&id), CKR_OK);
    ck_assert_uint_eq(sealed_objects_create(custody, &id, view_text("a"), NULL), CKR_OK);
    custody_logout(custody);
    ck_assert_uint_eq(custody_info(custody, &before), CKR_OK);
    ck_assert_uint_eq(custody_init_token(custody, view_text("wrong"), before.label),
                      CKR_PIN_INCORRECT);
    fixture_init_token(custody);
    ck_assert_uint_eq(custody_info(custody, &after), CKR_OK);
    assert_serial_kept(&before, &after);
    ck_assert(!after.user.set && !after.so.count_low);
    ck_assert_uint_eq(login(custody, CUSTODY_SO, FIXTURE_SO_PIN), CKR_OK);
    fixture_forget_log();
    ck_assert_uint_eq(sealed_objects_load(custody, count_object, &count), CKR_OK);
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(fixture_log_count(), 0);
    custody_close(&custody);
}
END_TEST

START_TEST(a_failing_source_counts_no_attempt)
{
    struct custody *custody = fixture_token(fixture_store(_i), "");
    struct fixture_source *source = fixture_interpose(custody);
    static const int causes[] = {INDEXKEY_CAUSE_TIMEOUT, INDEXKEY_CAUSE_DENIED,
                                 INDEXKEY_CAUSE_CREDENTIAL};
    for (size_t i = 0; i < COUNT_OF(causes); i++) {
        atomic_store(&source->fails_with, causes[i]);
        CK_RV rv = login(custody, CUSTODY_USER, "wrong");
        ck_assert_uint_eq(rv, cause_rv((enum indexkey_cause) causes[i]));
        ck_assert_int_eq((int) cause_last(), causes[i]);
    }
    struct custody_info info;
    ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    ck_assert(!info.user.count_low);
    atomic_store(&source->fails_with, INDEXKEY_CAUSE_NONE);
    fixture_login_user(custody);
    custody_close(&custody);
}
END_TEST

START_TEST(a_token_without_a_pin_opens_by_its_source_alone)
{
    struct custody *custody = fixture_token(fixture_store(_i), "login = ambient");
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, (struct view){0}), CKR_OK);
    custody_logout(custody);
    ck_assert_uint_eq(login(custody, CUSTODY_SO, FIXTURE_SO_PIN), CKR_OK);
    ck_assert_uint_eq(custody_init_pin(custody, view_text(FIXTURE_PIN)),
                      CKR_FUNCTION_NOT_SUPPORTED);
    custody_logout(custody);
    ck_assert_uint_eq(
        custody_set_pin(custody, CUSTODY_USER, (struct view){0}, view_text(FIXTURE_PIN)),
        CKR_FUNCTION_NOT_SUPPORTED);
    ck_assert_uint_eq(
        custody_set_pin(custody, CUSTODY_SO, view_text(FIXTURE_SO_PIN), view_text("changed")),
        CKR_OK);
    struct fixture_source *source = fixture_interpose(custody);
    atomic_store(&source->fails_with, INDEXKEY_CAUSE_CREDENTIAL);
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, (struct view){0}), CKR_PIN_INCORRECT);
    custody_close(&custody);
}
END_TEST

START_TEST(a_credential_goes_to_the_source_and_only_the_users)
{
    struct custody *custody = fixture_open("memory:", "");
    struct fixture_source *source = fixture_interpose(custody);
    custody->login = CUSTODY_LOGIN_CREDENTIAL;
    fixture_init_token(custody);
    ck_assert_uint_eq(login(custody, CUSTODY_SO, FIXTURE_SO_PIN), CKR_OK);
    ck_assert_str_eq(source->credential, "");
    custody_logout(custody);
    ck_assert_uint_eq(login(custody, CUSTODY_USER, "s.token"), CKR_OK);
    ck_assert_str_eq(source->credential, "s.token");
    /* The lease's renewal sends it again. */
    source->credential[0] = '\0';
    clock_shift(20 * 60 * 1000);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    ck_assert_str_eq(source->credential, "s.token");
    custody_logout(custody);
    atomic_store(&source->fails_with, INDEXKEY_CAUSE_CREDENTIAL);
    ck_assert_uint_eq(login(custody, CUSTODY_USER, "s.other"), CKR_PIN_INCORRECT);
    ck_assert_uint_eq(login(custody, CUSTODY_SO, FIXTURE_SO_PIN), CKR_FUNCTION_FAILED);
    custody_close(&custody);
}
END_TEST

START_TEST(a_source_without_credentials_refuses_that_login_mode)
{
    struct custody *custody = NULL;
    ck_assert_uint_eq(fixture_try_open("memory:", "login = credential", &custody),
                      CKR_FUNCTION_FAILED);
    ck_assert_ptr_null(custody);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_CONFIG);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "[token vectors] in line 1"));
    ck_assert_ptr_nonnull(strstr(fixture_log(), "set login to pin or ambient"));
}
END_TEST

static const struct {
    const char *before;
    const char *after;
    const char *says;
} reconfigurations[] = {
    {"context.tenant = acme", "context.tenant = other", "context.tenant is not what it was"},
    {"context.tenant = acme", "", "context.tenant is not what it was"},
    {"", "context.a = 1", "context.a is not what it was"},
    {"context.b = 1", "context.a = 1\ncontext.b = 1", "context.a is not what it was"},
    {"", "source = env\nkey_env = INDEXKEY_TEST_ROOT", "set the former one"},
    {"", "login = ambient", "set login = pin"},
    {"login = ambient", "", "set login = credential or ambient"},
};

START_TEST(another_configuration_is_named)
{
    struct custody *before = fixture_token(fixture_store(1), reconfigurations[_i].before);
    custody_close(&before);
    struct custody *after = fixture_open(fixture_store(1), reconfigurations[_i].after);
    ck_assert_uint_eq(login(after, CUSTODY_USER, FIXTURE_PIN), CKR_FUNCTION_FAILED);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_CONTEXT);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_msg(strstr(fixture_log(), reconfigurations[_i].says) != NULL, "%s", fixture_log());
    custody_close(&after);
    /* The former configuration works again. */
    struct custody *again = fixture_open(fixture_store(1), reconfigurations[_i].before);
    ck_assert_uint_eq(login(again, CUSTODY_USER, FIXTURE_PIN), CKR_OK);
    custody_close(&again);
}
END_TEST

START_TEST(the_order_of_context_keys_does_not_matter)
{
    struct custody *before = fixture_token(fixture_store(1), "context.a = 1\ncontext.b = 2");
    custody_close(&before);
    struct custody *after = fixture_open(fixture_store(1), "context.b = 2\ncontext.a = 1");
    fixture_login_user(after);
    custody_close(&after);
}
END_TEST

static const struct {
    const char *record;
    bool may_open; /* what a flipped bit there cannot break without being noticed: the counters */
} records[] = {{RECORD_TOKEN, false}, {RECORD_KEYS, false}, {RECORD_ATTEMPTS, true}};

START_TEST(no_flipped_byte_of_a_record_opens_a_token)
{
    const char *name = records[_i].record;
    struct custody *custody = fixture_token("memory:", "context.a = 1");
    struct blob good = {0};
    uint64_t version;
    ck_assert_uint_eq(custody->store->ops->read_record(custody->store, name, &good, &version),
                      CKR_OK);
    for (size_t i = 0; i < good.len; i++) {
        good.bytes[i] ^= (unsigned char) (1u << i % 8);
        overwrite(custody, name, good.bytes, good.len);
        good.bytes[i] ^= (unsigned char) (1u << i % 8);
        fixture_forget_log();
        cause_clear();
        CK_RV rv = login(custody, CUSTODY_USER, FIXTURE_PIN);
        if (rv != CKR_OK || !records[_i].may_open) {
            ck_assert_msg(rv == CKR_FUNCTION_FAILED, "byte %zu: %lx", i, rv);
            ck_assert(cause_last() == INDEXKEY_CAUSE_TAMPERED ||
                      cause_last() == INDEXKEY_CAUSE_CONTEXT);
            ck_assert_uint_eq(fixture_log_count(), 1);
        }
        custody_logout(custody);
        overwrite(custody, name, good.bytes, good.len);
    }
    for (size_t len = 0; len < good.len; len++) {
        overwrite(custody, name, good.bytes, len);
        ck_assert_uint_eq(login(custody, CUSTODY_USER, FIXTURE_PIN), CKR_FUNCTION_FAILED);
    }
    overwrite(custody, name, good.bytes, good.len);
    fixture_login_user(custody);
    blob_clear(&good);
    custody_close(&custody);
}
END_TEST

static CK_RV read_only(struct store *store, store_plan_fn *plan, void *context)
{
    (void) store;
    (void) plan;
    (void) context;
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE, "the store is read-only");
}

START_TEST(a_store_that_cannot_be_written_lets_nobody_guess)
{
    struct custody *custody = fixture_token(fixture_store(_i), "");
    const struct store_ops *good = custody->store->ops;
    struct store_ops unwritable = *good;
    unwritable.update = read_only;
    custody->store->ops = &unwritable;
    fixture_forget_log();
    ck_assert_uint_eq(login(custody, CUSTODY_USER, FIXTURE_PIN), CKR_DEVICE_ERROR);
    ck_assert_uint_eq(login(custody, CUSTODY_USER, "wrong"), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    ck_assert_uint_eq(fixture_log_count(), 2);
    custody->store->ops = good;
    fixture_login_user(custody);
    custody_close(&custody);
}
END_TEST

START_TEST(memory_that_runs_out_changes_nothing)
{
    struct custody *custody = fixture_token("memory:", "");
    struct custody_info info;
    unsigned long n = 0;
    CK_RV rv;
    do {
        long live = mem_live();
        size_t secrets = secrets_in_use();
        mem_fail_at(++n, 0);
        rv = login(custody, CUSTODY_USER, FIXTURE_PIN);
        mem_fail_at(0, 0);
        ck_assert_msg(rv == CKR_OK || rv == CKR_HOST_MEMORY, "%lu: %lx %s", n, rv, fixture_log());
        if (rv == CKR_OK)
            break;
        ck_assert_uint_eq(secrets_in_use(), secrets);
        ck_assert_int_le(mem_live(), live + 2); /* at most new slabs of secrets */
        ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    } while (n < 1000);
    ck_assert_uint_gt(n, 10);
    ck_assert_uint_eq(rv, CKR_OK);
    ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    ck_assert(!info.user.count_low);
    custody_close(&custody);
}
END_TEST

START_TEST(initialisation_without_memory_leaves_the_store_as_it_was)
{
    struct custody *custody = fixture_open("memory:", "");
    struct custody_info info;
    unsigned long n = 0;
    CK_RV rv;
    do {
        unsigned char label[TOKEN_LABEL_LEN] = {0};
        mem_fail_at(++n, 0);
        rv = custody_init_token(custody, view_text(FIXTURE_SO_PIN), label);
        mem_fail_at(0, 0);
        ck_assert_msg(rv == CKR_OK || rv == CKR_HOST_MEMORY, "%lu: %lx %s", n, rv, fixture_log());
        ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
        ck_assert_int_eq(info.initialized, rv == CKR_OK);
        ck_assert_uint_eq(secrets_in_use(), 0);
    } while (rv != CKR_OK && n < 1000);
    ck_assert_uint_gt(n, 10);
    custody_close(&custody);
    ck_assert_uint_eq(rv, CKR_OK);
}
END_TEST

START_TEST(opening_without_memory_leaks_nothing)
{
    unsigned long n = 0;
    CK_RV rv;
    struct custody *custody = fixture_open("memory:", "context.a = 1");
    custody_close(&custody);
    struct conf_entry entries[] = {
        {.name = "key_file", .value = "/root.key", .key = custody_conf_keys},
        {.name = "source", .value = "file", .key = custody_conf_keys},
        {.name = "store", .value = "memory:", .key = custody_conf_keys},
    };
    struct conf_section section = {.name = "t", .entries = entries, .entry_count = 3};
    do {
        long live = mem_live();
        mem_fail_at(++n, 0);
        rv = custody_open(&section, &custody);
        mem_fail_at(0, 0);
        custody_close(&custody);
        ck_assert_int_eq(mem_live(), live);
        ck_assert(rv == CKR_OK || rv == CKR_HOST_MEMORY);
    } while (rv != CKR_OK);
    ck_assert_uint_gt(n, 4);
}
END_TEST

START_TEST(no_pin_and_no_key_is_ever_logged)
{
    struct custody *custody = fixture_token(fixture_store(_i), "");
    ck_assert_uint_eq(login(custody, CUSTODY_USER, "canary-pin"), CKR_PIN_INCORRECT);
    ck_assert_uint_eq(login(custody, CUSTODY_SO, "canary-pin"), CKR_PIN_INCORRECT);
    fixture_write("root.key", "canary-not-base64", 0600);
    ck_assert_uint_eq(login(custody, CUSTODY_USER, FIXTURE_PIN), CKR_FUNCTION_FAILED);
    ck_assert_ptr_null(strstr(fixture_log(), "canary"));
    ck_assert_ptr_null(strstr(fixture_log(), FIXTURE_PIN));
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("custody");
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, a_fresh_token_is_blank_and_refuses_logins, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, the_whole_way_from_initialisation_to_logout, 0, FIXTURE_STORE_COUNT);
    tcase_add_test(cases, a_token_survives_a_restart);
    tcase_add_loop_test(cases, ten_wrong_pins_lock_and_the_so_unlocks, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, a_locked_so_stays_locked_and_cannot_initialise, 0,
                        FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, a_right_pin_clears_the_count, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, lengths_out_of_range_are_wrong_pins_and_bad_new_ones, 0,
                        (int) COUNT_OF(bad_lengths));
    tcase_add_test(cases, longest_and_shortest_pins_work);
    tcase_add_loop_test(cases, each_role_changes_its_pin, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, initialising_again_proves_the_so_and_removes_objects, 0,
                        FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, a_failing_source_counts_no_attempt, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, a_token_without_a_pin_opens_by_its_source_alone, 0,
                        FIXTURE_STORE_COUNT);
    tcase_add_test(cases, a_credential_goes_to_the_source_and_only_the_users);
    tcase_add_test(cases, a_source_without_credentials_refuses_that_login_mode);
    tcase_add_loop_test(cases, another_configuration_is_named, 0, (int) COUNT_OF(reconfigurations));
    tcase_add_test(cases, the_order_of_context_keys_does_not_matter);
    tcase_add_loop_test(cases, no_flipped_byte_of_a_record_opens_a_token, 0,
                        (int) COUNT_OF(records));
    tcase_add_loop_test(cases, a_store_that_cannot_be_written_lets_nobody_guess, 0,
                        FIXTURE_STORE_COUNT);
    tcase_add_test(cases, memory_that_runs_out_changes_nothing);
    tcase_add_test(cases, initialisation_without_memory_leaves_the_store_as_it_was);
    tcase_add_test(cases, opening_without_memory_leaks_nothing);
    tcase_add_loop_test(cases, no_pin_and_no_key_is_ever_logged, 0, FIXTURE_STORE_COUNT);
    return fixture_run("custody", cases);
}
