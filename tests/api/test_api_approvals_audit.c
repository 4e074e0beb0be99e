/*
 * Approvals and the audit log: what has happened has used its approval though its line is not on
 * disk, what has not happened gives it back, and what a pinned policy leaves in the log.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "module/admin.h"
#include "tests/api/people_fixture.h"
#include "tokens/audit.h"
#include "tokens/custody.h"

/* Which lines are not written, as on a full disk; by --wrap. */
static enum { FAULT_NONE, FAULT_INTENT, FAULT_OUTCOME } audit_fault;
static bool backup_fails;

CK_RV __real_audit_write(struct audit *audit, const struct audit_event *event);
CK_RV __wrap_audit_write(struct audit *audit, const struct audit_event *event);
CK_RV __real_custody_backup(struct custody *custody, custody_write_fn *write, void *context);
CK_RV __wrap_custody_backup(struct custody *custody, custody_write_fn *write, void *context);

CK_RV __wrap_audit_write(struct audit *audit, const struct audit_event *event)
{
    bool fails = audit_fault == (event->is_intent ? FAULT_INTENT : FAULT_OUTCOME);

    return fails ? CKR_DEVICE_ERROR : __real_audit_write(audit, event);
}

CK_RV __wrap_custody_backup(struct custody *custody, custody_write_fn *write, void *context)
{
    return backup_fails ? CKR_DEVICE_ERROR : __real_custody_backup(custody, write, context);
}

static void open_audited(const char *lines)
{
    char text[768];

    audit_fault = FAULT_NONE;
    snprintf(text, sizeof(text), "audit = file:%s/audit.jsonl\n%s", people_folder, lines);
    api_open(&api, NULL, text);
}

static CK_RV login_audited(const char *lines)
{
    char text[512];

    snprintf(text, sizeof(text), "audit = file:%s/audit.jsonl\n%s", people_folder, lines);
    return people_login_with(text);
}

static void open_with_window(void)
{
    char lines[512];

    snprintf(lines, sizeof(lines),
             "two_person = destroy\napprovers = file:%s/people.pem\napprovals = %s\n"
             "undo_window = 1h\n",
             people_folder, people_folder);
    open_audited(lines);
}

static void keep_pending(void *context, const struct admin_pending *pending)
{
    ck_assert_uint_eq(pending->unique_id.len, 16);
    memcpy(context, pending->unique_id.bytes, 16);
}

static CK_OBJECT_HANDLE undelete(void)
{
    unsigned char id[16];
    CK_OBJECT_HANDLE key;

    OK(admin_keys_pending(api.session, keep_pending, id));
    OK(admin_key_undelete(api.session, (struct view){id, sizeof(id)}, &key));
    return key;
}

START_TEST(a_key_that_went_has_used_its_approval)
{
    char id[40];

    open_with_window();
    CK_OBJECT_HANDLE key = api_make_index_key(&api, "customers", 1);
    people_unique_id(key, id);
    people_approve(1, id, 1);
    audit_fault = FAULT_OUTCOME;
    EXPECT(CKR_DEVICE_ERROR, api.p11->C_DestroyObject(api.session, key));
    audit_fault = FAULT_NONE;
    EXPECT(CKR_OBJECT_HANDLE_INVALID, api.p11->C_DestroyObject(api.session, key));
    key = undelete();
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, key));
    api_close(&api);
}
END_TEST

START_TEST(a_key_that_stayed_gives_its_approval_back)
{
    char id[40];

    open_with_window();
    CK_OBJECT_HANDLE key = api_make_index_key(&api, "customers", 1);
    people_unique_id(key, id);
    people_approve(1, id, 1);
    audit_fault = FAULT_INTENT;
    EXPECT(CKR_DEVICE_ERROR, api.p11->C_DestroyObject(api.session, key));
    audit_fault = FAULT_NONE;
    OK(api.p11->C_DestroyObject(api.session, key));
    api_close(&api);
}
END_TEST

/* The session has begun to use it, and the key goes all the same. */
START_TEST(a_key_that_went_is_of_no_more_use)
{
    CK_BYTE iv[12] = {0};
    CK_BYTE data[16] = {0};
    CK_BYTE out[16];
    CK_ULONG len = sizeof(out);
    CK_GCM_PARAMS params = {iv, sizeof(iv), 96, NULL, 0, 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};

    open_audited("");
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "aes");
    OK(api.p11->C_EncryptInit(api.session, &mechanism, key));
    audit_fault = FAULT_OUTCOME;
    EXPECT(CKR_DEVICE_ERROR, api.p11->C_DestroyObject(api.session, key));
    audit_fault = FAULT_NONE;
    EXPECT(CKR_OPERATION_NOT_INITIALIZED,
           api.p11->C_EncryptUpdate(api.session, data, sizeof(data), out, &len));
    api_close(&api);
}
END_TEST

struct written {
    size_t len;
    bool fails;
};

static CK_RV count_written(void *context, struct view bytes)
{
    struct written *written = context;

    written->len += bytes.len;
    return written->fails ? CKR_DEVICE_ERROR : CKR_OK;
}

static void approve_backup(unsigned int number)
{
    char document[APPROVAL_TEXT_MAX];
    char object[65];
    char serial[17];

    people_wanted_object(object);
    people_token_serial(serial);
    struct approval_text text = {serial, "backup", object, number, time(NULL) + 600};
    people_write("backup.approval", document, approval_sign(1, &text, document));
}

/* Whoever is handed one may say that it was not. */
START_TEST(a_backup_that_is_out_has_used_its_approval)
{
    struct written written = {0, false};

    people_open_token("export", 1);
    EXPECT(CKR_ACTION_PROHIBITED, admin_backup(api.session, count_written, &written));
    approve_backup(1);
    backup_fails = true;
    EXPECT(CKR_DEVICE_ERROR, admin_backup(api.session, count_written, &written));
    ck_assert_uint_eq(written.len, 0);
    backup_fails = false;
    written.fails = true;
    EXPECT(CKR_DEVICE_ERROR, admin_backup(api.session, count_written, &written));
    ck_assert_uint_gt(written.len, 0);
    EXPECT(CKR_ACTION_PROHIBITED, admin_backup(api.session, count_written, &written));
    api_close(&api);
}
END_TEST

/* ---- the policy ---- */

static void policy_lines(char ret_first[192], char ret_second[256])
{
    snprintf(ret_first, 192, "two_person = policy\napprovers = file:%s/people.pem\n",
             people_folder);
    snprintf(ret_second, 256, "%.190sallowed_purposes = token\n", ret_first);
}

START_TEST(a_policy_that_is_pinned_has_used_its_approval)
{
    char first[192];
    char second[256];

    policy_lines(first, second);
    open_audited(first);
    EXPECT(CKR_FUNCTION_FAILED, login_audited(second));
    people_approve_policy(1, 1);
    audit_fault = FAULT_OUTCOME;
    EXPECT(CKR_DEVICE_ERROR, login_audited(second));
    audit_fault = FAULT_NONE;
    OK(login_audited(second));
    EXPECT(CKR_FUNCTION_FAILED, login_audited(first));
    people_approve_policy(1, 2);
    OK(login_audited(first));
    EXPECT(CKR_FUNCTION_FAILED, login_audited(second));
    api_close(&api);
}
END_TEST

START_TEST(a_policy_that_is_not_pinned_gives_its_approval_back)
{
    char first[192];
    char second[256];

    policy_lines(first, second);
    open_audited(first);
    EXPECT(CKR_FUNCTION_FAILED, login_audited(second));
    people_approve_policy(1, 1);
    audit_fault = FAULT_INTENT;
    EXPECT(CKR_DEVICE_ERROR, login_audited(second));
    audit_fault = FAULT_NONE;
    OK(login_audited(second));
    api_close(&api);
}
END_TEST

/* Lines of the log about the pin. */
struct pin_lines {
    size_t intents;
    size_t done;
    size_t with_mac;
};

static struct pin_lines read_pin_lines(void)
{
    struct pin_lines lines = {0, 0, 0};
    char path[96];
    char *line = NULL;
    size_t size = 0;

    snprintf(path, sizeof(path), "%s/audit.jsonl", people_folder);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    while (getline(&line, &size, file) > 0) {
        if (strstr(line, "\"event\":\"pin-policy\"") == NULL)
            continue;
        bool is_intent = strstr(line, "\"phase\":\"intent\"") != NULL;
        ck_assert_msg(is_intent || strstr(line, "\"result\":\"CKR_OK\"") != NULL, "%s", line);
        lines.intents += is_intent;
        lines.done += !is_intent;
        lines.with_mac += strstr(line, "\"mac\":") != NULL;
        ck_assert_uint_eq(lines.intents, is_intent ? lines.done + 1 : lines.done);
    }
    free(line);
    ck_assert_int_eq(fclose(file), 0);
    return lines;
}

START_TEST(pinning_a_policy_has_its_lines)
{
    char first[192];
    char second[256];

    policy_lines(first, second);
    open_audited(first);
    size_t begun = read_pin_lines().done;
    ck_assert_uint_eq(begun, 1);
    OK(login_audited(first)); /* as it is */
    EXPECT(CKR_FUNCTION_FAILED, login_audited(second));
    ck_assert_uint_eq(read_pin_lines().done, 1);
    people_approve_policy(1, 1);
    OK(login_audited(second));
    struct pin_lines lines = read_pin_lines();
    ck_assert_uint_eq(lines.done, 2);
    ck_assert_uint_eq(lines.intents, 2);
    ck_assert_uint_eq(lines.with_mac, 0); /* the login is not over */
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("approvals and audit");
    TCase *cases = tcase_create("approvals and audit");

    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, people_setup, people_teardown);
    tcase_add_test(cases, a_key_that_went_has_used_its_approval);
    tcase_add_test(cases, a_key_that_stayed_gives_its_approval_back);
    tcase_add_test(cases, a_key_that_went_is_of_no_more_use);
    tcase_add_test(cases, a_backup_that_is_out_has_used_its_approval);
    tcase_add_test(cases, a_policy_that_is_pinned_has_used_its_approval);
    tcase_add_test(cases, a_policy_that_is_not_pinned_gives_its_approval_back);
    tcase_add_test(cases, pinning_a_policy_has_its_lines);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
