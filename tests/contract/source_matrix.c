/* source_matrix ADAPTER [custody]: see source_matrix.h. A line for each cell that came out right:
 * cell|SOURCE|CELL|ok, ok* (a fake answered) or n/a|SERVER|CKR|CAUSE|LOG LINE or why not */
#include "tests/contract/source_matrix.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/support/object_fixture.h"
#include "tokens/token_record.h"

#define TENANT "acme"
#define OTHER_TENANT "evil"
#define CHANGED 8
#define LATE_MS 2000
#define TIMEOUT_S 120

static const char *const cell_names[] = {
    [MATRIX_INIT] = "init",
    [MATRIX_LOGIN] = "login",
    [MATRIX_CREDENTIAL] = "wrong credential",
    [MATRIX_DENIED] = "denied",
    [MATRIX_DISABLED] = "disabled",
    [MATRIX_DELETED] = "deleted",
    [MATRIX_ROTATED] = "rotated",
    [MATRIX_REWRAPPED] = "rewrapped",
    [MATRIX_TAMPERED] = "tampered blob",
    [MATRIX_CONTEXT] = "wrong context",
    [MATRIX_THROTTLED] = "throttled",
    [MATRIX_WRONG_CA] = "wrong CA",
    [MATRIX_SLOW] = "slow",
    [MATRIX_UNREACHABLE] = "unreachable",
    [MATRIX_ROTATE_KEYS] = "key rotation",
    [MATRIX_REWRAP] = "rewrap",
    [MATRIX_TOKEN_KEY] = "token key rotation",
    [MATRIX_SHRED] = "shred",
    [MATRIX_SUSPEND] = "suspend",
    [MATRIX_RESUME] = "resume",
    [MATRIX_DEACTIVATE] = "deactivate",
    [MATRIX_DESTROY] = "destroy",
    [MATRIX_UNDELETE] = "undelete",
    [MATRIX_RESTORE] = "backup and restore",
};

static const struct matrix_adapter *const adapters[] = {
    &matrix_file,     &matrix_env, &matrix_vault, &matrix_ministack, &matrix_moto,
    &matrix_fake_aws, &matrix_gcp, &matrix_azure, &matrix_kmip,      &matrix_hsm,
};

static const struct matrix_adapter *adapter;
static int cell_number;
static const char *run_lines = ""; /* of configuration, for all cells */

const char *matrix_key_name(void)
{
    static char name[32];
    (void) snprintf(name, sizeof(name), "matrix-%d", cell_number);
    return name;
}

void matrix_signal(const char *folder, const char *name, int number)
{
    char path[512];
    long pid = 0;
    (void) snprintf(path, sizeof(path), "%s/%s.pid", folder, name);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%ld", &pid), 1);
    (void) fclose(file);
    ck_assert_int_gt(pid, 1);
    ck_assert_int_eq(kill((pid_t) pid, number), 0);
}

/* ---- the store ---- */

static void read_record(sqlite3 *database, struct token_record *ret_record)
{
    sqlite3_stmt *statement;
    struct blob bytes = {0};
    ck_assert_int_eq(sqlite3_prepare_v2(database, "SELECT bytes FROM record WHERE name = ?", -1,
                                        &statement, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(sqlite3_bind_text(statement, 1, RECORD_TOKEN, -1, SQLITE_STATIC), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    ck_assert_uint_eq(blob_from(sqlite3_column_blob(statement, 0),
                                (size_t) sqlite3_column_bytes(statement, 0), &bytes),
                      CKR_OK);
    ck_assert_int_eq(sqlite3_finalize(statement), SQLITE_OK);
    ck_assert_uint_eq(token_record_parse(&bytes, ret_record), CKR_OK);
}

static void write_record(sqlite3 *database, const struct blob *bytes)
{
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_prepare_v2(database, "UPDATE record SET bytes = ? WHERE name = ?", -1,
                                        &statement, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(sqlite3_bind_blob(statement, 1, bytes->bytes, (int) bytes->len, SQLITE_STATIC),
                     SQLITE_OK);
    ck_assert_int_eq(sqlite3_bind_text(statement, 2, RECORD_TOKEN, -1, SQLITE_STATIC), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_DONE);
    ck_assert_int_eq(sqlite3_changes(database), 1);
    ck_assert_int_eq(sqlite3_finalize(statement), SQLITE_OK);
}

/* The record's own byte at a place of one of its views. */
static unsigned char *byte_of(struct token_record *record, struct view field, size_t at)
{
    return record->bytes.bytes + (field.bytes - record->bytes.bytes) + at;
}

static void change_record(struct token_record *record, const struct matrix_row *row)
{
    if (row->change == MATRIX_STORED_CONTEXT) {
        const unsigned char *found =
            memmem(record->context.bytes, record->context.len, TENANT, strlen(TENANT));
        ck_assert_ptr_nonnull(found);
        size_t at = (size_t) (found - record->context.bytes);
        memcpy(byte_of(record, record->context, at), OTHER_TENANT, strlen(OTHER_TENANT));
        return;
    }
    size_t from_end = row->changed == 0 ? CHANGED : (size_t) row->changed;
    ck_assert_uint_ge(record->wrapped.len, from_end);
    unsigned char *byte = byte_of(record, record->wrapped, record->wrapped.len - from_end);
    if (row->change == MATRIX_WRAPPED_BASE64)
        *byte = *byte == 'A' ? 'B' : 'A';
    else
        *byte ^= 1;
}

static sqlite3 *open_store(void)
{
    sqlite3 *database;
    ck_assert_int_eq(sqlite3_open(strchr(fixture_store(1), ':') + 1, &database), SQLITE_OK);
    return database;
}

/* `ret_before` is for restore_store, which clears it. */
static void change_store(const struct matrix_row *row, struct blob *ret_before)
{
    struct token_record record = {0};
    if (row->change == MATRIX_STORE_AS_IS)
        return;
    sqlite3 *database = open_store();
    read_record(database, &record);
    ck_assert_uint_eq(blob_from(record.bytes.bytes, record.bytes.len, ret_before), CKR_OK);
    change_record(&record, row);
    write_record(database, &record.bytes);
    token_record_clear(&record);
    ck_assert_int_eq(sqlite3_close(database), SQLITE_OK);
}

static void restore_store(struct blob *before)
{
    if (before->len == 0)
        return;
    sqlite3 *database = open_store();
    write_record(database, before);
    ck_assert_int_eq(sqlite3_close(database), SQLITE_OK);
    blob_clear(before);
}

/* ---- a cell ---- */

static void configure(const struct kms_settings *settings, const char *tenant)
{
    char more[2048];
    struct kms_settings full = *settings;
    int len = snprintf(more, sizeof(more), "context.tenant = %s\n%s%s", tenant, run_lines,
                       kms_or_default(settings->more, ""));
    ck_assert_int_lt(len, (int) sizeof(more));
    full.more = more;
    adapter->configure(&full);
}

static void assert_logs_in(void)
{
    enum indexkey_cause cause;
    kms_assert_ok(kms_login(FIXTURE_PIN, &cause));
    ck_assert_int_eq((int) cause, INDEXKEY_CAUSE_NONE);
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
}

static void replace(const char **setting, const char *value)
{
    if (value != NULL)
        *setting = value;
}

static struct kms_settings broken_settings(const struct kms_settings *settings,
                                           const struct matrix_row *row)
{
    struct kms_settings broken = *settings;
    replace(&broken.addr, row->with.addr);
    replace(&broken.ca, row->with.ca);
    replace(&broken.more, row->with.more);
    replace(&broken.token, row->with.token);
    replace(&broken.access, row->with.access);
    replace(&broken.secret, row->with.secret);
    replace(&broken.credential, row->with.credential);
    if (row->with.deadline_ms != 0)
        broken.deadline_ms = row->with.deadline_ms;
    if (row->break_it != NULL)
        row->break_it(&broken);
    return broken;
}

static const char *mark_of(const struct matrix_row *row)
{
    return adapter->fake != NULL || row->by_fake != NULL ? "ok*" : "ok";
}

static void print_cell(const struct matrix_row *row, const char *mark, CK_RV rv, const char *says)
{
    printf("cell|%s|%s|%s|%s|0x%02lx|%s|%.*s\n", adapter->source, cell_names[row->cell], mark,
           kms_or_default(row->by_fake, adapter->server), rv, cause_name(row->cause),
           (int) strcspn(says, "\n"), says);
    (void) fflush(stdout);
}

static bool log_has(const char *text)
{
    return text != NULL && strstr(fixture_log(), text) != NULL;
}

/* One line, which names the token or its source, and no credential. */
static bool log_is_right(const struct matrix_row *row)
{
    char source[32];
    if (row->cause == INDEXKEY_CAUSE_NONE)
        return fixture_log_count() == 0;
    (void) snprintf(source, sizeof(source), "source %s", adapter->source);
    return fixture_log_count() == 1 && log_has(row->says) &&
           (log_has("token 'vectors'") || log_has(source)) && !log_has(FIXTURE_PIN) &&
           !log_has(row->with.token) && !log_has(row->with.secret);
}

static CK_RV login_broken(const struct matrix_row *row, int deadline_ms)
{
    enum indexkey_cause cause;
    int64_t begin_ms = clock_boot_ms();
    CK_RV rv = kms_login(FIXTURE_PIN, &cause);
    int64_t late_ms = clock_boot_ms() - begin_ms - deadline_ms;
    ck_assert_msg(cause == row->cause && rv == cause_rv(row->cause) && log_is_right(row) &&
                      late_ms <= LATE_MS,
                  "%s of %s: wanted %s, got %s, 0x%02lx, %ld ms late, %zu lines: %s",
                  cell_names[row->cell], adapter->name, cause_name(row->cause), cause_name(cause),
                  rv, (long) late_ms, fixture_log_count(), fixture_log());
    return rv;
}

static void heal(const struct matrix_row *row, const struct kms_settings *settings)
{
    if (row->heal != NULL)
        row->heal();
    if (row->cause == INDEXKEY_CAUSE_NONE) {
        /* Under what is new, a new token. */
        kms_init_token();
        assert_logs_in();
    } else if (!row->stays_broken) {
        configure(settings, TENANT);
        assert_logs_in();
    }
}

static void break_and_heal(const struct matrix_row *row, const struct kms_settings *settings)
{
    char line[2048];
    struct blob before = {0};
    struct kms_settings broken = broken_settings(settings, row);
    configure(&broken, row->change == MATRIX_STORED_CONTEXT ? OTHER_TENANT : TENANT);
    if (row->command != NULL)
        fake_service_command(adapter->fake, "%s", row->command);
    change_store(row, &before);
    CK_RV rv = login_broken(row, broken.deadline_ms);
    (void) snprintf(line, sizeof(line), "%s", fixture_log());
    if (adapter->fake != NULL)
        kms_reset(adapter->fake);
    restore_store(&before);
    heal(row, settings);
    print_cell(row, mark_of(row), rv, line);
}

static void prepare_cell(int number, struct kms_settings *ret_settings)
{
    cell_number = number;
    if (adapter->prepare != NULL)
        adapter->prepare(ret_settings);
    ret_settings->deadline_ms = MATRIX_DEADLINE_MS;
    configure(ret_settings, TENANT);
}

static void begin_cell(int number, struct kms_settings *ret_settings)
{
    prepare_cell(number, ret_settings);
    kms_init_token();
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
}

START_TEST(a_row)
{
    const struct matrix_row *row = &adapter->rows[_i];
    struct kms_settings settings = {0};
    if (row->absent != NULL) {
        print_cell(row, "n/a", CKR_OK, row->absent);
        return;
    }
    begin_cell(_i, &settings);
    assert_logs_in();
    break_and_heal(row, &settings);
}
END_TEST

START_TEST(init_and_login)
{
    static const struct matrix_row init = {.cell = MATRIX_INIT};
    static const struct matrix_row login = {.cell = MATRIX_LOGIN};
    struct kms_settings settings = {0};
    begin_cell((int) adapter->row_count, &settings);
    print_cell(&init, mark_of(&init), CKR_OK, "");
    assert_logs_in();
    print_cell(&login, mark_of(&login), CKR_OK, "");
}
END_TEST

static const struct matrix_row *row_of(enum matrix_cell cell)
{
    for (size_t i = 0; i < adapter->row_count; i++) {
        if (adapter->rows[i].cell == cell && adapter->rows[i].absent == NULL)
            return &adapter->rows[i];
    }
    return NULL;
}

/* NULL: there is one key only. */
static const struct matrix_row *rotation_row(void)
{
    return adapter->rotation != NULL ? adapter->rotation : row_of(MATRIX_ROTATED);
}

static void rotate(const struct matrix_row *row, const struct kms_settings *settings)
{
    struct kms_settings rotated = broken_settings(settings, row);
    configure(&rotated, TENANT);
    if (row->command != NULL)
        fake_service_command(adapter->fake, "%s", row->command);
}

static void rewrap(struct custody_rewrap *ret_report)
{
    struct custody *custody = kms_open_custody();
    fixture_login_user(custody);
    struct object_id id = objects_create(custody, "before", "value");
    CK_RV rv = custody_rewrap(custody, ret_report);
    ck_assert_msg(rv == CKR_OK && fixture_log_count() == 0, "%lx %s", rv, fixture_log());
    custody_close(&custody);
    custody = kms_open_custody();
    fixture_login_user(custody);
    objects_assert_value(custody, &id, 1, "value");
    ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_OK);
    custody_close(&custody);
}

/* The data key is wrapped anew, and the token with all that is in it opens as before. */
START_TEST(rewraps)
{
    static const struct matrix_row rewrapped = {.cell = MATRIX_REWRAPPED};
    const struct matrix_row *rotation = rotation_row();
    struct kms_settings settings = {0};
    struct custody_rewrap first;
    struct custody_rewrap second;
    char line[2 * CUSTODY_KEY_TEXT_MAX + 8];
    begin_cell((int) adapter->row_count + 1, &settings);
    if (rotation != NULL)
        rotate(rotation, &settings);
    rewrap(&first);
    rewrap(&second);
    assert_logs_in();
    ck_assert(first.old_key[0] != '\0' && first.new_key[0] != '\0');
    ck_assert_msg((strcmp(first.old_key, first.new_key) == 0) == (rotation == NULL), "%s, %s",
                  first.old_key, first.new_key);
    ck_assert_str_eq(second.old_key, first.new_key);
    ck_assert_str_eq(second.new_key, first.new_key);
    if (adapter->fake != NULL)
        kms_reset(adapter->fake);
    if (rotation != NULL && rotation->heal != NULL)
        rotation->heal();
    (void) snprintf(line, sizeof(line), "%s -> %s", first.old_key, first.new_key);
    print_cell(&rewrapped, mark_of(&rewrapped), CKR_OK, line);
}
END_TEST

START_TEST(custody)
{
    const struct matrix_row *rotation = rotation_row();
    struct kms_settings settings = {0};
    run_lines = "undo_window = 1h\n";
    prepare_cell(0, &settings);
    matrix_custody_make(rotation != NULL);
    for (enum matrix_cell act = MATRIX_ACTS_BEGIN; act < MATRIX_ACTS_END; act++) {
        const struct matrix_row row = {.cell = act};
        if (act == MATRIX_REWRAP && rotation != NULL)
            rotate(rotation, &settings);
        matrix_custody_act(act);
        print_cell(&row, mark_of(&row), CKR_OK, "");
    }
}
END_TEST

static void start(void)
{
    /* Another CA than a real server's, and here, so that all cells find it. */
    (void) fake_service_certificates();
    if (adapter->start != NULL)
        adapter->start();
    if (adapter->fake != NULL)
        fake_service_command(adapter->fake, "%s", HANDLER("\"save\""));
}

static void stop(void)
{
    if (adapter->stop != NULL)
        adapter->stop();
    fake_service_clean();
}

static void add_cells(TCase *cases)
{
    if (adapter->is_for_all)
        tcase_add_test(cases, init_and_login);
    if (adapter->rewraps)
        tcase_add_test(cases, rewraps);
    tcase_add_loop_test(cases, a_row, 0, (int) adapter->row_count);
}

int main(int argc, char **argv)
{
    bool is_custody = argc == 3 && strcmp(argv[2], "custody") == 0;
    for (size_t i = 0; (argc == 2 || is_custody) && i < COUNT_OF(adapters); i++) {
        if (strcmp(adapters[i]->name, argv[1]) == 0)
            adapter = adapters[i];
    }
    if (adapter == NULL)
        return EXIT_FAILURE;
    TCase *cases = tcase_create(adapter->name);
    tcase_set_timeout(cases, TIMEOUT_S);
    tcase_add_unchecked_fixture(cases, start, stop);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    if (is_custody)
        tcase_add_test(cases, custody);
    else
        add_cells(cases);
    return fixture_run("source matrix", cases);
}
