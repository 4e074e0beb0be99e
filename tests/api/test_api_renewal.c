/* What renews a token, through the module: data that was encrypted before is read afterwards, by
 * the same sessions where they go on, and by a process that starts anew. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "module/admin.h"
#include "tests/support/api_fixture.h"
#include "tests/support/backup_buffer.h"

#define IV_LEN 12
#define TEXT "what was written before"
#define TEXT_LEN (sizeof(TEXT) - 1)
#define SEALED_LEN (TEXT_LEN + 16)

static struct api api;
static CK_BYTE iv[IV_LEN];
static CK_BYTE sealed[SEALED_LEN];

static CK_MECHANISM gcm(CK_GCM_PARAMS *params, CK_BYTE *iv_bytes)
{
    *params = (CK_GCM_PARAMS){.pIv = iv_bytes, .ulIvLen = IV_LEN, .ulIvBits = 96, .ulTagBits = 128};
    return (CK_MECHANISM){CKM_AES_GCM, params, sizeof(*params)};
}

static void encrypt(CK_OBJECT_HANDLE key)
{
    CK_GCM_PARAMS params;
    CK_MECHANISM mechanism = gcm(&params, iv);
    CK_ULONG len = sizeof(sealed);

    OK(api.p11->C_EncryptInit(api.session, &mechanism, key));
    OK(api.p11->C_Encrypt(api.session, (CK_BYTE_PTR) TEXT, TEXT_LEN, sealed, &len));
    ck_assert_uint_eq(len, sizeof(sealed));
}

static void decrypt(CK_OBJECT_HANDLE key)
{
    CK_GCM_PARAMS params;
    CK_MECHANISM mechanism = gcm(&params, iv);
    CK_BYTE text[SEALED_LEN];
    CK_ULONG len = sizeof(text);

    OK(api.p11->C_DecryptInit(api.session, &mechanism, key));
    OK(api.p11->C_Decrypt(api.session, sealed, sizeof(sealed), text, &len));
    ck_assert_uint_eq(len, TEXT_LEN);
    ck_assert_mem_eq(text, TEXT, TEXT_LEN);
}

static CK_OBJECT_HANDLE begin(void)
{
    api_open(&api, NULL, NULL);
    (void) api_make_index_key(&api, "index", 1);
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "key");
    encrypt(key);
    return key;
}

static void end(void)
{
    api_restart(&api);
    decrypt(api_find(&api, "key"));
    (void) api_find(&api, "index");
    char *log = api_log(&api);
    ck_assert_msg(strstr(log, "behind the token's back") == NULL, "%s", log);
    free(log);
    api_close(&api);
}

static struct admin_status status_of(void)
{
    struct admin_status status;

    OK(admin_token_status(api.slot, &status));
    return status;
}

static struct view pin(const char *text)
{
    return view_text(text);
}

START_TEST(an_epoch_ends_and_sessions_go_on)
{
    CK_OBJECT_HANDLE key = begin();
    struct admin_status before = status_of();

    OK(api.p11->C_DestroyObject(api.session, api_find(&api, "index")));
    (void) api_make_index_key(&api, "index", 2);
    OK(admin_token_shred(api.session));
    struct admin_status after = status_of();
    ck_assert_uint_eq(after.epoch, before.epoch + 1);
    ck_assert_uint_gt(after.generation, before.generation);
    decrypt(key);
    encrypt(key);
    CK_ATTRIBUTE label = {CKA_LABEL, "changed", 7};
    OK(api.p11->C_SetAttributeValue(api.session, key, &label, 1));
    label = (CK_ATTRIBUTE){CKA_LABEL, "key", 3};
    OK(api.p11->C_SetAttributeValue(api.session, key, &label, 1));
    end();
}
END_TEST

START_TEST(the_data_key_is_wrapped_anew)
{
    struct admin_rewrap report;

    CK_OBJECT_HANDLE key = begin();
    OK(admin_token_rewrap(api.session, &report));
    ck_assert_str_eq(report.old_key, report.new_key);
    ck_assert_str_eq(report.new_key, status_of().wrapping_key);
    decrypt(key);
    end();
}
END_TEST

START_TEST(another_token_key_logs_out)
{
    CK_SESSION_INFO info;

    (void) begin();
    EXPECT(CKR_PIN_INCORRECT, admin_token_rotate_key(api.slot, pin("wrong"), pin(API_USER_PIN)));
    EXPECT(CKR_PIN_INCORRECT, admin_token_rotate_key(api.slot, pin(API_SO_PIN), pin("wrong")));
    ck_assert(status_of().is_open);
    OK(admin_token_rotate_key(api.slot, pin(API_SO_PIN), pin(API_USER_PIN)));
    ck_assert(!status_of().is_open);
    OK(api.p11->C_GetSessionInfo(api.session, &info));
    ck_assert_uint_eq(info.state, CKS_RW_PUBLIC_SESSION);
    OK(api.p11->C_Login(api.session, CKU_USER, (CK_UTF8CHAR_PTR) API_USER_PIN,
                        strlen(API_USER_PIN)));
    decrypt(api_find(&api, "key"));
    /* The key goes on to count where it was. */
    CK_ULONG rows = status_of().row_count;
    encrypt(api_find(&api, "key"));
    ck_assert_uint_eq(status_of().row_count, rows);
    end();
}
END_TEST

static void remove_store(void)
{
    static const char *const names[] = {"test.db", "test.db-wal", "test.db-shm"};
    char path[128];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void) snprintf(path, sizeof(path), "%s/%s", api.folder, names[i]);
        (void) unlink(path);
    }
}

START_TEST(a_backup_comes_back)
{
    static struct backup_buffer file;
    struct admin_restore what = {
        .read = backup_buffer_read, .context = &file, .pin = view_text(API_USER_PIN)};

    (void) begin();
    OK(admin_backup(api.session, backup_buffer_write, &file));
    EXPECT(CKR_USER_ALREADY_LOGGED_IN, admin_restore(api.slot, &what));
    OK(api.p11->C_Finalize(NULL));
    remove_store();
    OK(api.p11->C_Initialize(NULL));
    ck_assert(!status_of().is_initialized);
    what.pin = view_text("wrong");
    file.at = 0;
    EXPECT(CKR_PIN_INCORRECT, admin_restore(api.slot, &what));
    what.pin = view_text(API_SO_PIN);
    what.is_so = true;
    file.at = 0;
    OK(admin_restore(api.slot, &what));
    ck_assert(status_of().is_initialized);
    end();
}
END_TEST

START_TEST(sessions_and_arguments_are_checked)
{
    CK_SESSION_HANDLE reading;
    struct admin_rewrap report;

    (void) begin();
    struct admin_status status = status_of();
    ck_assert(status.is_initialized && status.is_open);
    ck_assert_str_eq(status.source, "file");
    ck_assert_str_eq(status.store, "sqlite");
    ck_assert_uint_eq(strlen(status.serial), 16);
    ck_assert_uint_eq(status.epoch, 1);
    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION, NULL, NULL, &reading));
    EXPECT(CKR_SESSION_READ_ONLY, admin_token_shred(reading));
    EXPECT(CKR_SESSION_READ_ONLY, admin_token_rewrap(reading, &report));
    EXPECT(CKR_ARGUMENTS_BAD, admin_token_rewrap(api.session, NULL));
    EXPECT(CKR_ARGUMENTS_BAD, admin_backup(api.session, NULL, NULL));
    EXPECT(CKR_ARGUMENTS_BAD, admin_restore(api.slot, NULL));
    EXPECT(CKR_ARGUMENTS_BAD, admin_token_status(api.slot, NULL));
    EXPECT(CKR_SESSION_HANDLE_INVALID, admin_token_shred(4711));
    EXPECT(CKR_SLOT_ID_INVALID, admin_token_rotate_key(4711, pin("a"), pin("b")));
    OK(api.p11->C_Logout(api.session));
    EXPECT(CKR_USER_NOT_LOGGED_IN, admin_token_shred(api.session));
    EXPECT(CKR_USER_NOT_LOGGED_IN, admin_token_rewrap(api.session, &report));
    EXPECT(CKR_USER_NOT_LOGGED_IN, admin_backup(api.session, backup_buffer_write, NULL));
    status = status_of();
    ck_assert(status.is_initialized && !status.is_open && status.epoch == 0);
    OK(api.p11->C_Finalize(NULL));
    EXPECT(CKR_CRYPTOKI_NOT_INITIALIZED, admin_token_status(api.slot, &status));
    OK(api.p11->C_Initialize(NULL));
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api_renewal");
    TCase *cases = tcase_create("renewal");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, cases);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, an_epoch_ends_and_sessions_go_on);
    tcase_add_test(cases, the_data_key_is_wrapped_anew);
    tcase_add_test(cases, another_token_key_logs_out);
    tcase_add_test(cases, a_backup_comes_back);
    tcase_add_test(cases, sessions_and_arguments_are_checked);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
