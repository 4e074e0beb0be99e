/* The limit of AES-GCM invocations (NIST SP 800-38D, 8.3): counted durably, shared by all sessions,
 * processes and objects that have the key, never fewer than were made. The limit is the test's. */
#include <check.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/indexkey.h"
#include "module/gcm_counts.h"
#include "tests/support/api_fixture.h"
#include "tests/threads/crew.h"
#include "tests/threads/work.h"

#define LIMIT 1000

static struct api api;
static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

static void begin(void)
{
    api_open(&api, NULL, NULL);
    gcm_counts_test_limit(LIMIT);
}

static void end(void)
{
    gcm_counts_test_limit(0);
    api_close(&api);
}

static CK_MECHANISM gcm(void)
{
    static CK_BYTE iv[12];
    static CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};

    return (CK_MECHANISM){CKM_AES_GCM, &params, sizeof(params)};
}

static CK_RV encrypt_in(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mechanism = gcm();
    CK_BYTE out[32];
    CK_ULONG len = sizeof(out);
    CK_RV rv = api.p11->C_EncryptInit(session, &mechanism, key);

    return rv != CKR_OK ? rv : api.p11->C_Encrypt(session, (CK_BYTE *) "text", 4, out, &len);
}

/* How many encryptions succeed, at most `wanted`; what ends them must be the limit. */
static size_t encrypt_many(CK_OBJECT_HANDLE key, size_t wanted)
{
    for (size_t i = 0; i < wanted; i++) {
        CK_RV rv = encrypt_in(api.session, key);
        if (rv != CKR_OK) {
            EXPECT(CKR_KEY_EXHAUSTED, rv);
            return i;
        }
    }
    return wanted;
}

static CK_OBJECT_HANDLE copy_to(CK_OBJECT_HANDLE key, bool token)
{
    CK_ATTRIBUTE template = {CKA_TOKEN, token ? &yes : &no, sizeof(yes)};
    CK_OBJECT_HANDLE copy;

    OK(api.p11->C_CopyObject(api.session, key, &template, 1, &copy));
    return copy;
}

static int count_rows(void)
{
    sqlite3 *database;
    sqlite3_stmt *statement;
    char path[128];

    snprintf(path, sizeof(path), "%s/test.db", api.folder);
    ck_assert_int_eq(sqlite3_open(path, &database), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_prepare_v2(database, "SELECT count(*) FROM object", -1, &statement, NULL),
        SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int count = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return count;
}

START_TEST(the_limit_holds_across_a_restart)
{
    begin();
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "key");
    ck_assert_uint_eq(encrypt_many(key, 2 * LIMIT), LIMIT);
    ck_assert_uint_eq(encrypt_many(key, 1), 0);
    api_restart(&api);
    ck_assert_uint_eq(encrypt_many(api_find(&api, "key"), 1), 0);
    char *log = api_log(&api);
    ck_assert_ptr_nonnull(strstr(log, "make a new key"));
    free(log);
    end();
}
END_TEST

START_TEST(an_exhausted_key_still_decrypts)
{
    CK_MECHANISM mechanism = gcm();
    CK_BYTE sealed[32];
    CK_BYTE text[32];
    CK_ULONG sealed_len = sizeof(sealed);
    CK_ULONG text_len = sizeof(text);

    begin();
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "key");
    OK(api.p11->C_EncryptInit(api.session, &mechanism, key));
    OK(api.p11->C_Encrypt(api.session, (CK_BYTE *) "text", 4, sealed, &sealed_len));
    ck_assert_uint_eq(encrypt_many(key, 2 * LIMIT), LIMIT - 1);
    OK(api.p11->C_DecryptInit(api.session, &mechanism, key));
    OK(api.p11->C_Decrypt(api.session, sealed, sealed_len, text, &text_len));
    ck_assert_mem_eq(text, "text", 4);
    end();
}
END_TEST

START_TEST(restarts_count_too_many_rather_than_too_few)
{
    size_t made = 0;

    begin();
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "key");
    for (size_t made_now = 1; made_now > 0; made += made_now) {
        made_now = encrypt_many(key, 50);
        api_restart(&api);
        key = api_find(&api, "key");
    }
    ck_assert_uint_le(made, LIMIT);
    ck_assert_uint_ge(made, LIMIT / 2);
    end();
}
END_TEST

START_TEST(sessions_give_back_what_they_do_not_use)
{
    CK_SESSION_HANDLE session;
    size_t made = 0;

    begin();
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "key");
    for (CK_RV rv = CKR_OK; rv == CKR_OK; made += rv == CKR_OK) {
        OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION, NULL, NULL, &session));
        rv = encrypt_in(session, key);
        OK(api.p11->C_CloseSession(session));
    }
    ck_assert_uint_eq(made, LIMIT);
    end();
}
END_TEST

/* The subkey object and what C_DeriveKey gives for its purpose are one key. */
START_TEST(a_purpose_is_counted_once)
{
    CK_BBOOL cipher = CK_TRUE;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_ENCRYPT, &cipher, sizeof(cipher)},
        {CKA_SENSITIVE, &yes, sizeof(yes)}, {CKA_EXTRACTABLE, &no, sizeof(no)},
    };
    struct indexkey_kdf kdf;
    CK_OBJECT_HANDLE derived;

    begin();
    CK_OBJECT_HANDLE index_key = api_import_index_key(&api, WORK_LABEL, work_index_key);
    OK(indexkey_kdf_make(INDEXKEY_PURPOSE_PAYLOAD, &kdf));
    OK(api.p11->C_DeriveKey(api.session, &kdf.mechanism, index_key, template, 6, &derived));
    size_t made = encrypt_many(derived, 300);
    made += encrypt_many(api_find(&api, WORK_LABEL "/payload"), 2 * LIMIT);
    made += encrypt_many(copy_to(derived, false), 2 * LIMIT);
    made += encrypt_many(derived, 2 * LIMIT);
    ck_assert_uint_le(made, LIMIT);
    ck_assert_uint_ge(made, LIMIT / 2);
    ck_assert_uint_eq(encrypt_many(api_find(&api, WORK_LABEL "/item"), LIMIT), LIMIT);
    end();
}
END_TEST

START_TEST(copies_share_a_count_and_the_last_takes_it_away)
{
    begin();
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "key");
    ck_assert_uint_eq(encrypt_many(key, 600), 600);
    CK_OBJECT_HANDLE copy = copy_to(key, true);
    CK_OBJECT_HANDLE session_copy = copy_to(key, false);
    ck_assert_int_eq(count_rows(), 3);
    ck_assert_uint_le(encrypt_many(copy, LIMIT), LIMIT - 600);
    OK(api.p11->C_DestroyObject(api.session, key));
    ck_assert_int_eq(count_rows(), 2);
    api_restart(&api);
    copy = api_find(&api, "key");
    ck_assert_uint_eq(encrypt_many(copy, 1), 0);
    ck_assert_uint_eq(encrypt_many(copy_to(copy, false), 1), 0);
    OK(api.p11->C_DestroyObject(api.session, copy));
    ck_assert_int_eq(count_rows(), 0);
    (void) session_copy;
    end();
}
END_TEST

START_TEST(session_keys_count_with_their_copies)
{
    begin();
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, false, "key");
    CK_OBJECT_HANDLE copy = copy_to(key, false);
    size_t made = encrypt_many(key, 600);
    ck_assert_uint_eq(made, 600);
    ck_assert_uint_eq(made + encrypt_many(copy, LIMIT), LIMIT);
    ck_assert_uint_eq(encrypt_many(copy_to(key, false), 1), 0);
    /* And what moves into the token brings its count. */
    ck_assert_uint_eq(encrypt_many(copy_to(key, true), 1), 0);
    end();
}
END_TEST

START_TEST(index_keys_take_their_counts_with_them)
{
    begin();
    CK_OBJECT_HANDLE index_key = api_import_index_key(&api, WORK_LABEL, work_index_key);
    encrypt_many(api_find(&api, WORK_LABEL "/payload"), 1);
    encrypt_many(api_find(&api, WORK_LABEL "/item"), 1);
    ck_assert_int_eq(count_rows(), 3);
    OK(api.p11->C_DestroyObject(api.session, index_key));
    ck_assert_int_eq(count_rows(), 0);
    end();
}
END_TEST

static _Atomic size_t total;

static void encrypt_until_exhausted(struct crew_member *member, void *context)
{
    CK_SESSION_HANDLE session;
    CK_RV rv = CKR_OK;

    (void) member;
    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION, NULL, NULL, &session));
    while (rv == CKR_OK) {
        rv = encrypt_in(session, *(CK_OBJECT_HANDLE *) context);
        total += rv == CKR_OK;
    }
    EXPECT(CKR_KEY_EXHAUSTED, rv);
}

START_TEST(threads_make_as_many_as_the_limit_allows)
{
    static struct crew crew;

    begin();
    gcm_counts_test_limit(50000);
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "key");
    total = 0;
    crew_start(&crew, 8, encrypt_until_exhausted, &key);
    crew_join(&crew);
    ck_assert_uint_eq(total, 50000);
    end();
}
END_TEST

/* Counts what it encrypts, tells its parent once it has done so many, and goes on until it is
 * killed. */
static void encrypt_until_killed(_Atomic size_t *made, size_t wanted, int to)
{
    if (api.p11->C_Initialize(NULL) != CKR_OK)
        _exit(1);
    api_login(&api);
    CK_OBJECT_HANDLE key = api_find(&api, "key");
    size_t before = *made;
    while (encrypt_in(api.session, key) == CKR_OK)
        if (++*made == before + wanted && write(to, "", 1) != 1)
            break;
    _exit(1);
}

static void kill_after(_Atomic size_t *made, size_t wanted)
{
    int ends[2];
    char told;

    ck_assert_int_eq(pipe(ends), 0);
    pid_t process = fork();
    ck_assert_int_ge(process, 0);
    if (process == 0)
        encrypt_until_killed(made, wanted, ends[1]);
    ck_assert_int_eq(close(ends[1]), 0);
    ck_assert_int_eq(read(ends[0], &told, 1), 1);
    ck_assert_int_eq(kill(process, SIGKILL), 0);
    ck_assert_int_eq(waitpid(process, NULL, 0), process);
    ck_assert_int_eq(close(ends[0]), 0);
}

/* Around the ends of blocks, which are of 64 and then as long as all before together. */
START_TEST(a_kill_loses_no_count)
{
    static const size_t wanted[] = {1, 2, 63, 64, 65, 100, 127, 128, 129, 1000, 3000, 4097};
    _Atomic size_t *made =
        mmap(NULL, sizeof(*made), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    begin();
    gcm_counts_test_limit(0); /* the one that nobody gets to */
    api_make_aes_key(&api, true, "key");
    OK(api.p11->C_Finalize(NULL));
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        kill_after(made, wanted[i]);
    ck_assert_uint_gt(*made, 8000);
    OK(api.p11->C_Initialize(NULL));
    api_login(&api);
    gcm_counts_test_limit(*made);
    ck_assert_uint_eq(encrypt_many(api_find(&api, "key"), 1), 0);
    munmap((void *) made, sizeof(*made));
    end();
}
END_TEST

/* Before either is used they are one key too: neither can go another way than the other. */
START_TEST(copies_share_their_mechanism_family)
{
    CK_BYTE iv[16] = {0};
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_MECHANISM cbc = {CKM_AES_CBC, iv, sizeof(iv)};
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},
    };
    CK_OBJECT_HANDLE key;

    begin();
    OK(api.p11->C_GenerateKey(api.session, &mechanism, template, 2, &key));
    CK_OBJECT_HANDLE copy = copy_to(key, false);
    ck_assert_uint_eq(encrypt_many(key, 1), 1);
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, api.p11->C_EncryptInit(api.session, &cbc, copy));
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gcm_counts");
    TCase *cases = tcase_create("cases");

    tcase_set_timeout(cases, 240);
    tcase_add_test(cases, the_limit_holds_across_a_restart);
    tcase_add_test(cases, an_exhausted_key_still_decrypts);
    tcase_add_test(cases, restarts_count_too_many_rather_than_too_few);
    tcase_add_test(cases, sessions_give_back_what_they_do_not_use);
    tcase_add_test(cases, a_purpose_is_counted_once);
    tcase_add_test(cases, copies_share_a_count_and_the_last_takes_it_away);
    tcase_add_test(cases, session_keys_count_with_their_copies);
    tcase_add_test(cases, index_keys_take_their_counts_with_them);
    tcase_add_test(cases, threads_make_as_many_as_the_limit_allows);
    tcase_add_test(cases, a_kill_loses_no_count);
    tcase_add_test(cases, copies_share_their_mechanism_family);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
