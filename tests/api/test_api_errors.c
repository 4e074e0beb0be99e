/*
 * What goes wrong around a token: each fault gives the CKR of docs/architecture.md and one log line
 * that names cause and remedy, and afterwards the right input works in the same process.
 */
#include <check.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/indexkey.h"
#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOBODY 65534

static struct api api;
static size_t log_mark;

static void open_token(void)
{
    api_open(&api, NULL, NULL);
    api_make_index_key(&api, "first", 1);
    api_make_index_key(&api, "second", 2);
}

static void close_token(void)
{
    api_close(&api);
}

/* Log lines from here on are the fault's. */
static void mark_log(void)
{
    char *log = api_log(&api);

    log_mark = strlen(log);
    free(log);
}

/* Exactly one line at warning or error since the mark, with all of `texts` (NULL ends them). */
static void expect_one_line(const char *const *texts)
{
    char *log = api_log(&api);
    const char *found = NULL;
    int count = 0;

    char *rest = log + log_mark;
    for (char *line = strtok_r(rest, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strstr(line, "error: ") == NULL && strstr(line, "warning: ") == NULL)
            continue;
        found = line;
        count++;
    }
    ck_assert_msg(count == 1, "%d lines, the last: %s", count, found == NULL ? "" : found);
    for (; *texts != NULL; texts++)
        ck_assert_msg(strstr(found, *texts) != NULL, "no '%s' in: %s", *texts, found);
    free(log);
}

#define EXPECT_LINE(...) expect_one_line((const char *const[]){__VA_ARGS__, NULL})

static CK_RV login(const char *pin)
{
    return api.p11->C_Login(api.session, CKU_USER, (CK_UTF8CHAR *) pin, strlen(pin));
}

static CK_ULONG device_error(void)
{
    CK_SESSION_INFO info;

    OK(api.p11->C_GetSessionInfo(api.session, &info));
    return info.ulDeviceError;
}

static CK_ULONG count_label(const char *label)
{
    return api_count(&api, &(CK_ATTRIBUTE){CKA_LABEL, (void *) label, strlen(label)}, 1);
}

/* Signs with an index key's subkey, which opens the sealed value. */
static CK_RV use_key(const char *label)
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE mac[32];
    CK_ULONG len = sizeof(mac);
    CK_RV rv = api.p11->C_SignInit(api.session, &mechanism, api_find(&api, label));

    return rv == CKR_OK ? api.p11->C_Sign(api.session, mac, 4, mac, &len) : rv;
}

START_TEST(wrong_pin)
{
    OK(api.p11->C_Logout(api.session));
    mark_log();
    EXPECT(CKR_PIN_INCORRECT, login("not the pin"));
    ck_assert_uint_eq(device_error(), INDEXKEY_CAUSE_PIN);
    EXPECT_LINE("token 'test'", "wrong user PIN", "9 tries left", "check the PIN");
    OK(login(API_USER_PIN));
    OK(use_key("first/token"));
}
END_TEST

START_TEST(locked_pin)
{
    OK(api.p11->C_Logout(api.session));
    for (int i = 0; i < 10; i++)
        EXPECT(CKR_PIN_INCORRECT, login("not the pin"));
    mark_log();
    EXPECT(CKR_PIN_LOCKED, login(API_USER_PIN));
    EXPECT_LINE("token 'test'", "locked after 10 wrong", "C_InitPIN");
    OK(api.p11->C_Login(api.session, CKU_SO, (CK_UTF8CHAR *) API_SO_PIN, strlen(API_SO_PIN)));
    OK(api.p11->C_InitPIN(api.session, (CK_UTF8CHAR *) API_USER_PIN, strlen(API_USER_PIN)));
    OK(api.p11->C_Logout(api.session));
    OK(login(API_USER_PIN));
    OK(use_key("first/token"));
}
END_TEST

/* Runs SQL on the store as somebody else would. */
static void change_store(const char *sql)
{
    char path[96];
    char *error = NULL;
    sqlite3 *db;

    snprintf(path, sizeof(path), "%s/test.db", api.folder);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_busy_timeout(db, 5000), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &error) == SQLITE_OK, "%s: %s", sql,
                  error == NULL ? "" : error);
    ck_assert_int_gt(sqlite3_total_changes(db), 0);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* Flips the lowest bit of the byte that follows `at` bytes of a column of one row; twice: as it
 * was. */
static void flip(const char *column, const char *table, const char *where, int at)
{
    char sql[256];
    char path[96];
    sqlite3 *db;
    sqlite3_stmt *select;
    sqlite3_blob *blob;
    unsigned char byte;

    snprintf(path, sizeof(path), "%s/test.db", api.folder);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_busy_timeout(db, 5000), SQLITE_OK);
    snprintf(sql, sizeof(sql), "SELECT rowid FROM %s WHERE %s", table, where);
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &select, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(select), SQLITE_ROW);
    ck_assert_int_eq(
        sqlite3_blob_open(db, "main", table, column, sqlite3_column_int64(select, 0), 1, &blob),
        SQLITE_OK);
    ck_assert_int_eq(sqlite3_finalize(select), SQLITE_OK);
    ck_assert_int_eq(sqlite3_blob_read(blob, &byte, 1, at), SQLITE_OK);
    byte ^= 1;
    ck_assert_int_eq(sqlite3_blob_write(blob, &byte, 1, at), SQLITE_OK);
    ck_assert_int_eq(sqlite3_blob_close(blob), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* The row of "first": objects are stored in the order of their creation. */
#define FIRST "rowid = (SELECT min(rowid) FROM object)"
#define SECOND "rowid = (SELECT max(rowid) FROM object)"

/* Both at login: one line for the row that does not open, and no further harm. */
static const struct {
    const char *column;
    int at;
} row_faults[] = {{"attributes", 0}, {"attributes", 4}, {"attributes", 9}, {"attributes", 60}};

START_TEST(tampered_row)
{
    OK(api.p11->C_Logout(api.session));
    flip(row_faults[_i].column, "object", FIRST, row_faults[_i].at);
    mark_log();
    OK(login(API_USER_PIN));
    ck_assert_uint_eq(count_label("first"), 0);
    ck_assert_uint_eq(count_label("first/token"), 0);
    OK(use_key("second/token"));
    EXPECT_LINE("token 'test'", "was changed and does not open", "restore the store from a backup");
    OK(api.p11->C_Logout(api.session));
    flip(row_faults[_i].column, "object", FIRST, row_faults[_i].at);
    OK(login(API_USER_PIN));
    OK(use_key("first/token"));
}
END_TEST

START_TEST(tampered_value)
{
    OK(api.p11->C_Logout(api.session));
    flip("value", "object", FIRST, 40);
    OK(login(API_USER_PIN));
    mark_log();
    EXPECT(CKR_DEVICE_ERROR, use_key("first/token"));
    ck_assert_uint_eq(device_error(), INDEXKEY_CAUSE_TAMPERED);
    EXPECT_LINE("token 'test'", "was changed and does not open", "restore the store from a backup");
    OK(use_key("second/token"));
    flip("value", "object", FIRST, 40);
    OK(use_key("first/token"));
}
END_TEST

/* Rows, or one column of them, in each other's place. */
#define TAKE_FROM_OTHER(column)                                                                    \
    column " = (SELECT " column " FROM former WHERE former.id <> object.id)"
#define SWAP(columns) "CREATE TEMP TABLE former AS SELECT * FROM object; UPDATE object SET " columns

static const struct {
    const char *sql;
    CK_ULONG shown; /* of the two keys */
    int lines;
} swaps[] = {
    {SWAP(TAKE_FROM_OTHER("attributes")), 0, 2},
    {SWAP(TAKE_FROM_OTHER("value")), 2, 1},
    {SWAP(TAKE_FROM_OTHER("attributes") ", " TAKE_FROM_OTHER("value")), 0, 2},
};

START_TEST(swapped_rows)
{
    OK(api.p11->C_Logout(api.session));
    change_store(swaps[_i].sql);
    mark_log();
    OK(login(API_USER_PIN));
    ck_assert_uint_eq(count_label("first") + count_label("second"), swaps[_i].shown);
    if (swaps[_i].shown > 0)
        EXPECT(CKR_DEVICE_ERROR, use_key("first/token"));
    char *log = api_log(&api);
    int lines = 0;
    for (char *at = log + log_mark;
         (at = strstr(at, "does not open; restore the store from a backup")) != NULL; at++)
        lines++;
    ck_assert_int_eq(lines, swaps[_i].lines);
    free(log);
    OK(api.p11->C_Logout(api.session));
    change_store(swaps[_i].sql);
    OK(login(API_USER_PIN));
    OK(use_key("first/token"));
    OK(use_key("second/token"));
}
END_TEST

/* The token's own records: no PIN can be right, and none is counted. */
static const struct {
    const char *name;
    int at;
    CK_RV wanted;
    const char *cause;
} record_faults[] = {
    {"token", 0, CKR_FUNCTION_FAILED, "was changed"},
    {"token", 20, CKR_FUNCTION_FAILED, "was changed"},
    {"token", -1, CKR_FUNCTION_FAILED, "was changed"},
    {"keys", 30, CKR_FUNCTION_FAILED, "was changed"},
};

START_TEST(tampered_record)
{
    char where[64];
    int at = record_faults[_i].at < 0 ? 250 : record_faults[_i].at;

    OK(api.p11->C_Logout(api.session));
    snprintf(where, sizeof(where), "name = '%s'", record_faults[_i].name);
    flip("bytes", "record", where, at);
    mark_log();
    api_expect(login(API_USER_PIN), record_faults[_i].wanted, record_faults[_i].name);
    ck_assert_uint_eq(device_error(), INDEXKEY_CAUSE_TAMPERED);
    EXPECT_LINE("token 'test'", record_faults[_i].cause, "restore the store from a backup");
    flip("bytes", "record", where, at);
    OK(login(API_USER_PIN));
    OK(use_key("first/token"));
}
END_TEST

static CK_RV make_data(size_t size)
{
    static CK_BYTE value[8192];
    CK_BBOOL yes = CK_TRUE;
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_TOKEN, &yes, 1},
                               {CKA_LABEL, "filler", 6},
                               {CKA_VALUE, value, size}};
    CK_OBJECT_HANDLE out;

    return api.p11->C_CreateObject(api.session, template, COUNT(template), &out);
}

/* A file size limit stands for the full disk: both fail in write(2). */
START_TEST(full_disk)
{
    struct rlimit limit;
    struct rlimit former;
    CK_ULONG made = 0;
    CK_RV rv = CKR_OK;

    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &former), 0);
    limit = former;
    limit.rlim_cur = 512 << 10;
    mark_log();
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    while (rv == CKR_OK && made < 500) {
        rv = make_data(8192);
        made += rv == CKR_OK;
    }
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &former), 0);
    api_expect(rv, CKR_DEVICE_MEMORY, "C_CreateObject");
    ck_assert_uint_eq(device_error(), INDEXKEY_CAUSE_STORE_FULL);
    EXPECT_LINE("store sqlite:", "nothing was changed", "free space");
    ck_assert_uint_eq(count_label("filler"), made);
    OK(use_key("first/token"));
    OK(make_data(8192));
    api_restart(&api);
    ck_assert_uint_eq(count_label("filler"), made + 1);
    OK(use_key("second/token"));
}
END_TEST

/* Root may write everything: the test goes on as nobody. */
START_TEST(unwritable_store)
{
    bool is_root = geteuid() == 0;
    char path[96];

    if (is_root)
        ck_assert_int_eq(seteuid(NOBODY), 0);
    api_open(&api, NULL, NULL);
    api_make_index_key(&api, "first", 1);
    OK(api.p11->C_Finalize(NULL));
    snprintf(path, sizeof(path), "%s/test.db", api.folder);
    ck_assert_int_eq(chmod(path, 0400), 0);
    ck_assert_int_eq(chmod(api.folder, 0500), 0);
    OK(api.p11->C_Initialize(NULL));
    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                              &api.session));
    mark_log();
    EXPECT(CKR_DEVICE_ERROR, login(API_USER_PIN));
    ck_assert_uint_eq(device_error(), INDEXKEY_CAUSE_STORE);
    EXPECT_LINE("store sqlite:", "test.db", "unwritable", "mode 0600", "mode 0700");
    ck_assert_int_eq(chmod(api.folder, 0700), 0);
    ck_assert_int_eq(chmod(path, 0600), 0);
    OK(login(API_USER_PIN));
    OK(use_key("first/token"));
    OK(make_data(10));
    api_close(&api);
    if (is_root)
        ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

/* Faults of the configuration are found before its log is known: they go to stderr, into the
 * fixture's log here. */
static CK_RV initialize_with_stderr_logged(void)
{
    int log = open(api.log, O_WRONLY | O_APPEND);
    int kept = dup(STDERR_FILENO);

    ck_assert(log >= 0 && kept >= 0);
    fflush(stderr);
    ck_assert_int_ge(dup2(log, STDERR_FILENO), 0);
    CK_RV rv = api.p11->C_Initialize(NULL);
    ck_assert_int_ge(dup2(kept, STDERR_FILENO), 0);
    close(log);
    close(kept);
    return rv;
}

static const mode_t open_modes[] = {0602, 0620, 0666, 0606};

START_TEST(configuration_that_others_may_write)
{
    OK(api.p11->C_Finalize(NULL));
    ck_assert_int_eq(chmod(api.conf, open_modes[_i]), 0);
    mark_log();
    EXPECT(CKR_FUNCTION_FAILED, initialize_with_stderr_logged());
    EXPECT_LINE(api.conf, "others may write it", "chmod go-w");
    EXPECT(CKR_CRYPTOKI_NOT_INITIALIZED, api.p11->C_Finalize(NULL));
    ck_assert_int_eq(chmod(api.conf, 0600), 0);
    OK(api.p11->C_Initialize(NULL));
    api_login(&api);
    OK(use_key("first/token"));
}
END_TEST

static const struct {
    const char *module_line;
    const char *token_line;
    const char *named; /* in the line, with its number */
    const char *nearest;
} unknown_keys[] = {
    {"lgo = stderr:info", "", "lgo", "log"},
    {"require_locked_memry = yes", "", "require_locked_memry", "require_locked_memory"},
    {"", "subkey = none", "subkey", "subkeys"},
    {"", "polcy = strict", "polcy", "policy"},
    {"", "keyfile = /x", "keyfile", "key_file"},
};

START_TEST(unknown_configuration_key)
{
    bool in_module = unknown_keys[_i].module_line[0] != '\0';
    CK_TOKEN_INFO info;
    char line[32];

    OK(api.p11->C_Finalize(NULL));
    api_write_conf(&api, unknown_keys[_i].module_line, NULL, unknown_keys[_i].token_line);
    snprintf(line, sizeof(line), "indexkey.conf:%d:", in_module ? 3 : 8);
    mark_log();
    if (in_module) {
        EXPECT(CKR_FUNCTION_FAILED, initialize_with_stderr_logged());
    } else { /* that slot alone */
        OK(initialize_with_stderr_logged());
        EXPECT(CKR_TOKEN_NOT_PRESENT, api.p11->C_GetTokenInfo(api.slot, &info));
        EXPECT(CKR_TOKEN_NOT_PRESENT,
               api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION, NULL, NULL, &api.session));
        OK(api.p11->C_Finalize(NULL));
    }
    EXPECT_LINE(line, unknown_keys[_i].named, unknown_keys[_i].nearest);
    api_write_conf(&api, NULL, NULL, NULL);
    OK(api.p11->C_Initialize(NULL));
    api_login(&api);
    OK(use_key("first/token"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api errors");
    TCase *tests = tcase_create("errors");
    TCase *owner = tcase_create("another user");
    SRunner *runner = srunner_create(suite);

    /* Before a test becomes nobody, who may not read the build folder. */
    const char *module = getenv("INDEXKEY_MODULE");
    if (module == NULL || dlopen(module, RTLD_NOW | RTLD_LOCAL) == NULL) {
        fprintf(stderr, "INDEXKEY_MODULE must name the built module: %s\n", dlerror());
        return EXIT_FAILURE;
    }
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, owner);
    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_test(tests, wrong_pin);
    tcase_add_test(tests, locked_pin);
    tcase_add_loop_test(tests, tampered_row, 0, COUNT(row_faults));
    tcase_add_test(tests, tampered_value);
    tcase_add_loop_test(tests, swapped_rows, 0, COUNT(swaps));
    tcase_add_loop_test(tests, tampered_record, 0, COUNT(record_faults));
    tcase_add_test(tests, full_disk);
    tcase_add_loop_test(tests, configuration_that_others_may_write, 0, COUNT(open_modes));
    tcase_add_loop_test(tests, unknown_configuration_key, 0, COUNT(unknown_keys));
    tcase_add_test(owner, unwritable_store);
    tcase_set_timeout(tests, 60);
    tcase_set_timeout(owner, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
