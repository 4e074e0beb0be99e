/*
 * Stores of former versions open, log in, decrypt and go on; what a newer version wrote is refused
 * by a line that says so.
 *
 * tests/contract/data has one store of each version, as SQL, with what its keys made in comments.
 * `test_store_versions make FILE` writes one with the module of INDEXKEY_MODULE.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/api_fixture.h"

#define TEXT "written by this version"
#define TEXT_LEN (sizeof(TEXT) - 1)
#define TAG_LEN 16
#define OUTPUT_MAX 64
#define FILE_MAX (1 << 18)

static struct api api;
static CK_BBOOL yes = CK_TRUE;
static CK_BYTE iv[12] = {1};

/* What the keys of a store made of the text. */
enum output { AES_GCM, ITEM_GCM, TOKEN_MAC, OWN_MAC, OUTPUT_COUNT };

static const struct {
    const char *name;
    const char *label;
    bool encrypts;
} outputs[OUTPUT_COUNT] = {
    [AES_GCM] = {"aes", "aes", true},
    [ITEM_GCM] = {"item", "index/item", true},
    [TOKEN_MAC] = {"token", "index/token", false},
    [OWN_MAC] = {"mac", "mac", false},
};

struct bytes {
    CK_BYTE bytes[OUTPUT_MAX];
    CK_ULONG len;
};

static CK_MECHANISM *mechanism_of(enum output output)
{
    static CK_GCM_PARAMS params;
    static CK_MECHANISM gcm = {CKM_AES_GCM, &params, sizeof(params)};
    static CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};

    params = (CK_GCM_PARAMS){.pIv = iv, .ulIvLen = sizeof(iv), .ulIvBits = 96, .ulTagBits = 128};
    return outputs[output].encrypts ? &gcm : &hmac;
}

static struct bytes use_key(enum output output)
{
    CK_OBJECT_HANDLE key = api_find(&api, outputs[output].label);
    struct bytes made = {.len = OUTPUT_MAX};

    if (outputs[output].encrypts) {
        OK(api.p11->C_EncryptInit(api.session, mechanism_of(output), key));
        OK(api.p11->C_Encrypt(api.session, (CK_BYTE *) TEXT, TEXT_LEN, made.bytes, &made.len));
    } else {
        OK(api.p11->C_SignInit(api.session, mechanism_of(output), key));
        OK(api.p11->C_Sign(api.session, (CK_BYTE *) TEXT, TEXT_LEN, made.bytes, &made.len));
    }
    return made;
}

static void check_output(enum output output, const struct bytes *made)
{
    CK_OBJECT_HANDLE key = api_find(&api, outputs[output].label);
    struct bytes text = {.len = OUTPUT_MAX};

    if (!outputs[output].encrypts) {
        OK(api.p11->C_VerifyInit(api.session, mechanism_of(output), key));
        OK(api.p11->C_Verify(api.session, (CK_BYTE *) TEXT, TEXT_LEN, (CK_BYTE *) made->bytes,
                             made->len));
        return;
    }
    OK(api.p11->C_DecryptInit(api.session, mechanism_of(output), key));
    OK(api.p11->C_Decrypt(api.session, (CK_BYTE *) made->bytes, made->len, text.bytes, &text.len));
    ck_assert_uint_eq(text.len, TEXT_LEN);
    ck_assert_mem_eq(text.bytes, TEXT, TEXT_LEN);
}

static CK_OBJECT_HANDLE make_mac_key(const char *label)
{
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_SIGN, &yes, sizeof(yes)},
        {CKA_VERIFY, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_LABEL, (void *) label, strlen(label)},
    };
    CK_OBJECT_HANDLE key;

    OK(api.p11->C_GenerateKey(api.session, &mechanism, template, 5, &key));
    return key;
}

static void make_data_object(void)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_PRIVATE, &yes, sizeof(yes)},   {CKA_LABEL, "data", 4},
        {CKA_VALUE, TEXT, TEXT_LEN},
    };
    CK_OBJECT_HANDLE object;

    OK(api.p11->C_CreateObject(api.session, template, 5, &object));
}

static void check_data_object(void)
{
    CK_BYTE value[OUTPUT_MAX];
    CK_ATTRIBUTE attribute = {CKA_VALUE, value, sizeof(value)};

    OK(api.p11->C_GetAttributeValue(api.session, api_find(&api, "data"), &attribute, 1));
    ck_assert_uint_eq(attribute.ulValueLen, TEXT_LEN);
    ck_assert_mem_eq(value, TEXT, TEXT_LEN);
}

static sqlite3 *open_database(void)
{
    char path[160];
    sqlite3 *db = NULL;

    snprintf(path, sizeof(path), "%s/test.db", api.folder);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static void print_rows(sqlite3 *db, const char *sql, FILE *file)
{
    sqlite3_stmt *statement = NULL;

    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW)
        fprintf(file, "%s;\n", (const char *) sqlite3_column_text(statement, 0));
    ck_assert_int_eq(sqlite3_finalize(statement), SQLITE_OK);
}

static void dump(FILE *file)
{
    sqlite3 *db = open_database();

    print_rows(db, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL", file);
    print_rows(db, "SELECT 'PRAGMA application_id = ' || application_id FROM pragma_application_id",
               file);
    print_rows(db, "SELECT 'PRAGMA user_version = ' || user_version FROM pragma_user_version",
               file);
    print_rows(db,
               "SELECT 'INSERT INTO record VALUES (' || quote(name) || ', ' || version || ', ' ||"
               " quote(bytes) || ')' FROM record ORDER BY name",
               file);
    print_rows(db,
               "SELECT 'INSERT INTO object VALUES (' || quote(id) || ', ' || version || ', ' ||"
               " quote(attributes) || ', ' || quote(value) || ')' FROM object ORDER BY id",
               file);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static const char *path_to_make;

START_TEST(make_a_store)
{
    static const CK_BYTE value[32] = {0x42};
    CK_ATTRIBUTE label = {CKA_LABEL, "mac", 3};
    FILE *file = fopen(path_to_make, "w");

    ck_assert_ptr_nonnull(file);
    api_open(&api, NULL, NULL);
    (void) api_import_index_key(&api, "index", value);
    (void) api_make_aes_key(&api, true, "aes");
    OK(api.p11->C_SetAttributeValue(api.session, make_mac_key("former"), &label, 1));
    OK(api.p11->C_DestroyObject(api.session, make_mac_key("destroyed")));
    make_data_object();
    for (enum output output = 0; output < OUTPUT_COUNT; output++) {
        struct bytes made = use_key(output);
        fprintf(file, "-- %s ", outputs[output].name);
        for (CK_ULONG i = 0; i < made.len; i++)
            fprintf(file, "%02x", made.bytes[i]);
        fprintf(file, "\n");
    }
    OK(api.p11->C_Finalize(NULL));
    dump(file);
    ck_assert_int_eq(fclose(file), 0);
    api_close(&api);
}
END_TEST

/* The stores there are; in no order. */
static char names[16][256];
static int name_count;

static void list_stores(void)
{
    DIR *folder = opendir(STORE_DATA);

    for (struct dirent *entry = folder == NULL ? NULL : readdir(folder); entry != NULL;
         entry = readdir(folder)) {
        if (strstr(entry->d_name, ".sql") != NULL && name_count < 16)
            snprintf(names[name_count++], sizeof(names[0]), "%s", entry->d_name);
    }
    if (folder != NULL)
        closedir(folder);
}

static struct bytes read_output(const char *text, const char *name)
{
    char line[80];
    struct bytes read = {.len = 0};
    unsigned int byte;

    snprintf(line, sizeof(line), "-- %s ", name);
    const char *at = strstr(text, line);
    ck_assert_msg(at != NULL, "%s is missing", name);
    for (at += strlen(line); *at != '\n' && read.len < OUTPUT_MAX && sscanf(at, "%2x", &byte) == 1;
         at += 2)
        read.bytes[read.len++] = (CK_BYTE) byte;
    return read;
}

static void run_sql(const char *sql)
{
    sqlite3 *db = open_database();
    char *error = NULL;

    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &error) == SQLITE_OK, "%s", error);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* A token of that version, with nobody logged in. */
static void open_store(const char *name, struct bytes made[OUTPUT_COUNT])
{
    static char text[FILE_MAX];
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", STORE_DATA, name);
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s", path);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    ck_assert_uint_lt(len, sizeof(text) - 1);
    text[len] = '\0';
    (void) fclose(file);
    for (enum output output = 0; output < OUTPUT_COUNT; output++)
        made[output] = read_output(text, outputs[output].name);
    (void) umask(077);
    api_load(&api, NULL, NULL);
    run_sql(text);
}

static void check_all(const struct bytes made[OUTPUT_COUNT])
{
    for (enum output output = 0; output < OUTPUT_COUNT; output++)
        check_output(output, &made[output]);
    check_data_object();
}

static void reset_user_pin(void)
{
    CK_SESSION_HANDLE session;

    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    OK(api.p11->C_Login(session, CKU_SO, (CK_UTF8CHAR *) API_SO_PIN, strlen(API_SO_PIN)));
    OK(api.p11->C_InitPIN(session, (CK_UTF8CHAR *) API_USER_PIN, strlen(API_USER_PIN)));
    OK(api.p11->C_CloseSession(session));
}

START_TEST(a_store_of_each_version_opens_and_goes_on)
{
    struct bytes made[OUTPUT_COUNT];

    open_store(names[_i], made);
    api_login(&api);
    check_all(made);
    OK(api.p11->C_DestroyObject(api.session, make_mac_key("gone")));
    (void) make_mac_key("new");
    (void) use_key(AES_GCM);
    api_restart(&api);
    check_all(made);
    (void) api_find(&api, "new");
    OK(api.p11->C_Finalize(NULL));
    OK(api.p11->C_Initialize(NULL));
    reset_user_pin();
    api_login(&api);
    check_all(made);
    char *log = api_log(&api);
    ck_assert_msg(strstr(log, "error:") == NULL, "%s", log);
    free(log);
    api_close(&api);
}
END_TEST

/* The newest of our formats is 1 everywhere; the byte is the first of each. */
static const struct {
    const char *sql;
    CK_RV login;
    const char *words;
} newer[] = {
    {"PRAGMA user_version = 99", CKR_DEVICE_ERROR, "newer version"},
    {"UPDATE record SET bytes = CAST(x'63' || substr(bytes, 2) AS BLOB) WHERE name = 'token'",
     CKR_FUNCTION_FAILED, "its record in the store was written by a newer version"},
    {"UPDATE record SET bytes = CAST(x'63' || substr(bytes, 2) AS BLOB) WHERE name = 'attempts'",
     CKR_FUNCTION_FAILED, "store was written by a newer version"},
    {"UPDATE record SET bytes = CAST(x'63' || substr(bytes, 2) AS BLOB) WHERE name = 'keys'",
     CKR_FUNCTION_FAILED, "'keys' in its store was written by a newer version"},
    {"UPDATE record SET bytes = CAST(x'63' || substr(bytes, 2) AS BLOB) WHERE name = 'summary'",
     CKR_OK, "'summary' in its store was written by a newer version"},
    {"UPDATE object SET attributes = CAST(x'63' || substr(attributes, 2) AS BLOB)", CKR_OK,
     "in its store was written by a newer version"},
};

#define NEWER_COUNT (sizeof(newer) / sizeof(newer[0]))

START_TEST(what_a_newer_version_wrote_is_refused)
{
    struct bytes made[OUTPUT_COUNT];
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE any = {CKA_CLASS, &class, sizeof(class)};

    open_store(names[0], made);
    OK(api.p11->C_Finalize(NULL));
    run_sql(newer[_i].sql);
    OK(api.p11->C_Initialize(NULL));
    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                              &api.session));
    CK_RV rv =
        api.p11->C_Login(api.session, CKU_USER, (CK_UTF8CHAR *) API_USER_PIN, strlen(API_USER_PIN));
    api_expect(rv, newer[_i].login, newer[_i].sql);
    /* With the summary alone of another format, objects are read and not changed. */
    if (strstr(newer[_i].sql, "'summary'") != NULL)
        EXPECT(CKR_DEVICE_ERROR, api.p11->C_DestroyObject(api.session, api_find(&api, "aes")));
    if (strstr(newer[_i].sql, "attributes") != NULL)
        ck_assert_uint_eq(api_count(&api, &any, 1), 0);
    char *log = api_log(&api);
    ck_assert_msg(strstr(log, newer[_i].words) != NULL, "%s", log);
    ck_assert_msg(strstr(log, "update the module") != NULL, "%s", log);
    free(log);
    api_close(&api);
}
END_TEST

START_TEST(a_value_of_a_newer_version_is_refused)
{
    struct bytes made[OUTPUT_COUNT];

    open_store(names[0], made);
    run_sql("UPDATE object SET value = CAST(x'63' || substr(value, 2) AS BLOB) WHERE length(value) "
            "> 0");
    api_login(&api);
    CK_OBJECT_HANDLE key = api_find(&api, "mac");
    EXPECT(CKR_DEVICE_ERROR, api.p11->C_SignInit(api.session, mechanism_of(OWN_MAC), key));
    char *log = api_log(&api);
    ck_assert_msg(strstr(log, "in its store was written by a newer version") != NULL, "%s", log);
    free(log);
    api_close(&api);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("store_versions");
    TCase *cases = tcase_create("store_versions");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, cases);
    tcase_set_timeout(cases, 60);
    list_stores();
    if (argc == 3 && strcmp(argv[1], "make") == 0) {
        path_to_make = argv[2];
        tcase_add_test(cases, make_a_store);
    } else {
        tcase_add_loop_test(cases, a_store_of_each_version_opens_and_goes_on, 0, name_count);
        tcase_add_loop_test(cases, what_a_newer_version_wrote_is_refused, 0, (int) NEWER_COUNT);
        tcase_add_test(cases, a_value_of_a_newer_version_is_refused);
    }
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
