/* Two persons through C_* functions: what is refused, and what an approval in the folder allows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crypto.h"
#include "module/admin.h"
#include "tests/api/people_fixture.h"

START_TEST(destroying_takes_two)
{
    char id[40];
    char serial[17];
    char words[160];

    people_open_token("destroy", 1);
    CK_OBJECT_HANDLE key = api_make_index_key(&api, "customers", 1);
    people_unique_id(key, id);
    people_token_serial(serial);
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, key));
    snprintf(words, sizeof(words), "sign 'token %s', 'operation destroy', 'object %s'", serial, id);
    people_expect_log(words);
    people_expect_log("two-persons");
    ck_assert_uint_eq(api_find(&api, "customers"), key);
    people_approve(1, id, 1);
    OK(api.p11->C_DestroyObject(api.session, key));
    people_expect_log("destroy approved by Alice");
    EXPECT(CKR_OBJECT_HANDLE_INVALID, api.p11->C_DestroyObject(api.session, key));
    api_close(&api);
}
END_TEST

START_TEST(an_approval_is_for_one_object)
{
    char id[40];

    people_open_token("destroy", 1);
    CK_OBJECT_HANDLE key = api_make_index_key(&api, "a", 1);
    CK_OBJECT_HANDLE other = api_make_index_key(&api, "b", 2);
    people_unique_id(key, id);
    people_approve(1, id, 1);
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, other));
    people_approve(3, id, 2);
    OK(api.p11->C_DestroyObject(api.session, key));
    api_close(&api);
}
END_TEST

START_TEST(strangers_and_files_of_other_kinds_do_not_count)
{
    char id[40];
    char command[256];

    people_open_token("destroy", 1);
    CK_OBJECT_HANDLE key = api_make_index_key(&api, "a", 1);
    people_unique_id(key, id);
    people_approve(3, id, 1);
    people_write("junk.approval", "junk", 4);
    snprintf(command, sizeof(command),
             "cd %s && ln -s 3-1.approval link.approval && mkfifo pipe.approval && "
             "mkdir folder.approval && head -c 4096 /dev/zero > long.approval",
             people_folder);
    ck_assert_int_eq(system(command), 0);
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, key));
    people_expect_log("3-1.approval is not used: no approver has signed it");
    people_expect_log("junk.approval is not used");
    people_expect_log("pipe.approval: this approval cannot be read");
    people_expect_log("link.approval: this approval cannot be read");
    people_expect_log("long.approval is not used");
    people_approve(2, id, 2);
    OK(api.p11->C_DestroyObject(api.session, key));
    api_close(&api);
}
END_TEST

START_TEST(two_approvers_where_two_are_needed)
{
    char command[256];
    char id[40];

    people_open_token("destroy", 2);
    CK_OBJECT_HANDLE key = api_make_index_key(&api, "a", 1);
    people_unique_id(key, id);
    people_approve(1, id, 1);
    people_approve(1, id, 2);
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, key));
    /* Copies crowd nobody out. */
    snprintf(command, sizeof(command),
             "cd %s && for i in $(seq 200); do cp 1-1.approval copy-$i.approval; done",
             people_folder);
    ck_assert_int_eq(system(command), 0);
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, key));
    people_approve(2, id, 3);
    OK(api.p11->C_DestroyObject(api.session, key));
    api_close(&api);
}
END_TEST

/* The store is put back to when the key was still there, after its approval was used: without an
 * anchor the use is undone with it. With the store as it is, nothing brings the approval back. */
START_TEST(a_restart_forgets_no_use)
{
    char id[40];

    people_open_token("destroy", 1);
    CK_OBJECT_HANDLE key = api_make_index_key(&api, "a", 1);
    people_unique_id(key, id);
    people_approve(1, id, 1);
    OK(api.p11->C_DestroyObject(api.session, key));
    api_restart(&api);
    CK_OBJECT_HANDLE other = api_make_index_key(&api, "b", 1);
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, other));
    char *log = api_log(&api);
    ck_assert_ptr_null(strstr(log, "unknown form"));
    ck_assert_ptr_null(strstr(log, "not of a known form"));
    free(log);
    api_close(&api);
}
END_TEST

START_TEST(session_objects_need_nobody)
{
    people_open_token("destroy", 1);
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, false, "s");
    OK(api.p11->C_DestroyObject(api.session, key));
    api_close(&api);
}
END_TEST

static CK_RV init_again(const char *label)
{
    return api.p11->C_InitToken(api.slot, (CK_UTF8CHAR *) API_SO_PIN, strlen(API_SO_PIN),
                                (CK_UTF8CHAR *) label);
}

START_TEST(initialising_again_takes_two)
{
    static const char label[] = "anew                            ";
    static const char other_label[] = "another one                     ";
    char document[APPROVAL_TEXT_MAX];
    char object[65];
    char serial[17];

    people_open_token("destroy", 1);
    OK(api.p11->C_CloseSession(api.session));
    EXPECT(CKR_TOKEN_WRITE_PROTECTED, init_again(label));
    people_wanted_object(object);
    people_token_serial(serial);
    struct approval_text text = {serial, "reset", object, 1, time(NULL) + 600};
    size_t len = approval_sign(1, &text, document);
    people_write("reset.approval", document, len);
    EXPECT(CKR_TOKEN_WRITE_PROTECTED, init_again(other_label));
    OK(init_again(label));
    /* It is for the token as it was. */
    EXPECT(CKR_TOKEN_WRITE_PROTECTED, init_again(label));
    api_close(&api);
}
END_TEST

static CK_RV count_written(void *context, struct view bytes)
{
    size_t *len = context;

    *len += bytes.len;
    return CKR_OK;
}

START_TEST(a_backup_takes_two)
{
    char document[APPROVAL_TEXT_MAX];
    unsigned char digest[SHA256_LEN];
    char expected[65];
    char object[65];
    char serial[17];
    size_t written = 0;

    people_open_token("export", 1);
    (void) api_make_index_key(&api, "customers", 1);
    EXPECT(CKR_ACTION_PROHIBITED, admin_backup(api.session, count_written, &written));
    ck_assert_uint_eq(written, 0);
    people_expect_log("'operation backup'");
    people_wanted_object(object);
    people_token_serial(serial);
    OK(crypto_sha256((struct view){(const unsigned char *) serial, 16}, digest));
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(expected + 2 * i, 3, "%02x", digest[i]);
    ck_assert_str_eq(object, expected);
    struct approval_text text = {serial, "backup", object, 1, time(NULL) + 600};
    size_t len = approval_sign(1, &text, document);
    people_write("backup.approval", document, len);
    OK(admin_backup(api.session, count_written, &written));
    ck_assert_uint_gt(written, 0);
    people_expect_log("backup approved by Alice");
    EXPECT(CKR_ACTION_PROHIBITED, admin_backup(api.session, count_written, &written));
    api_close(&api);
}
END_TEST

static CK_RV read_nothing(void *context, unsigned char *bytes, size_t size, size_t *ret_len)
{
    (void) context;
    (void) bytes;
    (void) size;
    *ret_len = 0;
    return CKR_OK;
}

/* It would take with it what takes two persons to destroy. */
START_TEST(a_backup_takes_the_place_of_no_token)
{
    const struct admin_restore what = {
        .read = read_nothing,
        .pin = view_text(API_SO_PIN),
        .is_so = true,
        .force = true,
    };

    people_open_token("destroy", 1);
    OK(api.p11->C_Logout(api.session));
    EXPECT(CKR_ACTION_PROHIBITED, admin_restore(api.slot, &what));
    people_expect_log("into an empty store only");
    api_close(&api);
}
END_TEST

START_TEST(a_token_without_approvers_is_not_shown)
{
    static const char *const lines[] = {
        "two_person = destroy\n",
        "two_person = destroy\napprovers = file:/nonexistent/people.pem\n",
        "two_person = destroy\napprovers = people.pem\n",
        "two_person = destroy\napprovals_needed = 0\n",
        "two_person = everything\n",
    };
    CK_TOKEN_INFO info;
    char few[256];

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        api_load(&api, NULL, lines[i]);
        EXPECT(CKR_TOKEN_NOT_PRESENT, api.p11->C_GetTokenInfo(api.slot, &info));
        api_close(&api);
    }
    snprintf(few, sizeof(few),
             "two_person = destroy\napprovers = file:%s/people.pem\napprovals_needed = 3\n",
             people_folder);
    api_load(&api, NULL, few);
    EXPECT(CKR_TOKEN_NOT_PRESENT, api.p11->C_GetTokenInfo(api.slot, &info));
    people_expect_log("approvals_needed is 3");
    api_close(&api);
}
END_TEST

/* The commands of docs/formats-approvals.md, by the openssl command. */
START_TEST(the_openssl_command_makes_one)
{
    char command[2048];
    char serial[17];
    char id[40];

    snprintf(command, sizeof(command),
             "cd %s && openssl genpkey -algorithm ed25519 -out dora.key && { echo '# Dora'; "
             "openssl pkey -in dora.key -pubout; } > people.pem && chmod 600 people.pem",
             people_folder);
    ck_assert_int_eq(system(command), 0);
    people_open_token("destroy", 1);
    CK_OBJECT_HANDLE key = api_make_index_key(&api, "a", 1);
    people_unique_id(key, id);
    people_token_serial(serial);
    snprintf(command, sizeof(command),
             "cd %s && printf '%%s\\n' 'indexkey approval 1' 'token %s' 'operation destroy' "
             "'object %s' \"nonce $(openssl rand -hex 16)\" "
             "\"expires $(date -d '+1 day' +%%s)\" > request && "
             "openssl pkeyutl -sign -rawin -inkey dora.key -in request -out request.sig && "
             "{ cat request; echo \"signature $(od -An -v -tx1 request.sig | tr -d ' \\n')\"; } "
             "> dora.approval",
             people_folder, serial, id);
    ck_assert_int_eq(system(command), 0);
    OK(api.p11->C_DestroyObject(api.session, key));
    people_expect_log("destroy approved by Dora");
    api_close(&api);
}
END_TEST

/* ---- the policy itself ---- */

#define PINNED "two_person = policy\napprovers = file:%s/people.pem\n"

START_TEST(a_pinned_policy_is_changed_by_two)
{
    char first[256];
    char second[256];
    char people[512] = "";

    snprintf(first, sizeof(first), PINNED, people_folder);
    snprintf(second, sizeof(second), PINNED "allowed_purposes = token\n", people_folder);
    api_open(&api, NULL, first);
    (void) api_make_index_key(&api, "a", 1);
    OK(people_login_with(first));
    EXPECT(CKR_FUNCTION_FAILED, people_login_with(second));
    people_expect_log("'operation policy'");
    people_approve_policy(3, 1);
    EXPECT(CKR_FUNCTION_FAILED, people_login_with(second));
    EXPECT(CKR_FUNCTION_FAILED,
           api.p11->C_Login(api.session, CKU_SO, (CK_UTF8CHAR *) API_SO_PIN, strlen(API_SO_PIN)));
    OK(people_login_with(first)); /* as it was */
    EXPECT(CKR_FUNCTION_FAILED, people_login_with(second));
    people_approve_policy(1, 2);
    OK(people_login_with(second));
    (void) api_find(&api, "a/token");
    OK(people_login_with(second));
    /* Back again is a change too, and an approval is used once. */
    EXPECT(CKR_FUNCTION_FAILED, people_login_with(first));
    people_approve_policy(2, 3);
    OK(people_login_with(first));
    EXPECT(CKR_FUNCTION_FAILED, people_login_with(second));
    /* Others who may approve are a change that takes those who may now. */
    approval_add_person(3, "Mallory", people, sizeof(people));
    people_write("people.pem", people, strlen(people));
    EXPECT(CKR_FUNCTION_FAILED, people_login_with(first));
    people_approve_policy(3, 4);
    EXPECT(CKR_FUNCTION_FAILED, people_login_with(first));
    people_approve_policy(2, 5);
    OK(people_login_with(first));
    api_close(&api);
}
END_TEST

START_TEST(pinning_ends_by_two)
{
    char pinned[256];

    snprintf(pinned, sizeof(pinned), PINNED, people_folder);
    api_open(&api, NULL, pinned);
    EXPECT(CKR_FUNCTION_FAILED, people_login_with(""));
    people_approve_policy(1, 1);
    OK(people_login_with(""));
    OK(people_login_with("allowed_purposes = token\n"));
    api_close(&api);
}
END_TEST

START_TEST(a_policy_section_is_pinned_too)
{
    char pinned[256];
    char with_section[512];

    snprintf(pinned, sizeof(pinned), PINNED, people_folder);
    snprintf(with_section, sizeof(with_section),
             "%s[policy p]\ntoken = test\nkeys = a\nusage_limit = 5\n", pinned);
    api_open(&api, NULL, with_section);
    OK(people_login_with(with_section));
    EXPECT(CKR_FUNCTION_FAILED, people_login_with(pinned));
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("approvals");
    TCase *cases = tcase_create("approvals");

    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, people_setup, people_teardown);
    tcase_add_test(cases, destroying_takes_two);
    tcase_add_test(cases, an_approval_is_for_one_object);
    tcase_add_test(cases, strangers_and_files_of_other_kinds_do_not_count);
    tcase_add_test(cases, two_approvers_where_two_are_needed);
    tcase_add_test(cases, a_restart_forgets_no_use);
    tcase_add_test(cases, session_objects_need_nobody);
    tcase_add_test(cases, initialising_again_takes_two);
    tcase_add_test(cases, a_backup_takes_two);
    tcase_add_test(cases, a_token_without_approvers_is_not_shown);
    tcase_add_test(cases, the_openssl_command_makes_one);
    tcase_add_test(cases, a_backup_takes_the_place_of_no_token);
    tcase_add_test(cases, a_pinned_policy_is_changed_by_two);
    tcase_add_test(cases, pinning_ends_by_two);
    tcase_add_test(cases, a_policy_section_is_pinned_too);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
