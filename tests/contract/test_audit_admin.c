/*
 * What the administrators' acts leave in the audit log, that the public key from before a token key
 * rotation verifies all of it, and what they do when the log cannot be written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "module/admin.h"
#include "module/admin_audit.h"
#include "module/admin_export.h"
#include "module/admin_reset.h"
#include "tests/support/api_fixture.h"
#include "tests/support/backup_buffer.h"
#include "tokens/row_changes.h"

#define TOKEN_LABEL "test                            "
#define HOUR_MS (INT64_C(3600) * 1000)

static struct api api;
static char log_path[96];
static char anchor_path[96];
static CK_BYTE modulus[256];
static const CK_BYTE exponent[] = {1, 0, 1};
static size_t wrong_count;

/* A modulus nobody knows the primes of: what is wrapped to it is not opened here. */
static struct rsa_public rsa(void)
{
    memset(modulus, 0xc5, sizeof(modulus));
    return (struct rsa_public){{modulus, sizeof(modulus)}, {exponent, sizeof(exponent)}};
}

static void open_token(void)
{
    const struct rsa_public to = rsa();
    unsigned char digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];
    char lines[512];

    OK(crypto_init());
    OK(crypto_rsa_fingerprint(&to, digest));
    crypto_finish();
    for (size_t i = 0; i < sizeof(digest); i++)
        (void) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    (void) snprintf(log_path, sizeof(log_path), "/tmp/indexkey-audit-admin-%ld.jsonl",
                    (long) getpid());
    (void) snprintf(anchor_path, sizeof(anchor_path), "/tmp/indexkey-audit-admin-%ld.anchor",
                    (long) getpid());
    (void) snprintf(lines, sizeof(lines),
                    "audit = file:%s\nanchor = file:%s\nundo_window = 1h\nmigrate_to = sha256:%s\n",
                    log_path, anchor_path, hex);
    api_open(&api, NULL, lines);
}

static void close_token(void)
{
    clock_shift(0);
    api_close(&api);
    (void) unlink(log_path);
    (void) unlink(anchor_path);
}

/* Freed with free. */
static char *read_log(void)
{
    FILE *file = fopen(log_path, "r");
    char *text = calloc(1, 1 << 20);

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_lt(fread(text, 1, 1 << 20, file), 1 << 20);
    (void) fclose(file);
    return text;
}

/* Returns what stands behind the line, or NULL. */
static const char *find_line(const char *at, const char *event, const char *first, const char *more)
{
    while (*at != '\0') {
        const char *end = strchr(at, '\n');
        char *line = strndup(at, (size_t) (end - at));
        const char *found = strstr(line, event);
        found = found == NULL ? NULL : strstr(found, first);
        found = found == NULL ? NULL : strstr(found, more);
        free(line);
        at = end + 1;
        if (found != NULL)
            return at;
    }
    return NULL;
}

/* The event's intent and then its outcome, with the key's label ("": no key). */
static void expect_pair(const char *event, const char *label, const char *result)
{
    char *log = read_log();
    char word[64];
    char named[64] = "";
    char ended[64];

    (void) snprintf(word, sizeof(word), "\"event\":\"%s\",", event);
    (void) snprintf(ended, sizeof(ended), "\"result\":\"%s\"", result);
    if (label[0] != '\0')
        (void) snprintf(named, sizeof(named), "\"label\":\"%s\"", label);
    const char *at = find_line(log, word, "\"phase\":\"intent\"", named);
    ck_assert_msg(at != NULL, "no intent of %s %s in:\n%s", event, label, log);
    at = find_line(at, word, named, ended);
    ck_assert_msg(at != NULL, "no outcome of %s %s in:\n%s", event, label, log);
    free(log);
}

/* An outcome alone. */
static void expect_refusal(const char *event, const char *label, const char *result)
{
    char *log = read_log();
    char word[64];
    char named[64];
    char ended[64];

    (void) snprintf(word, sizeof(word), "\"event\":\"%s\",", event);
    (void) snprintf(named, sizeof(named), "\"label\":\"%s\"", label);
    (void) snprintf(ended, sizeof(ended), "\"result\":\"%s\"", result);
    ck_assert_msg(find_line(log, word, named, ended) != NULL, "no %s %s in:\n%s", event, label,
                  log);
    free(log);
}

static void count_wrong(void *context, const struct audit_finding *finding)
{
    (void) context;
    if (finding->kind >= AUDIT_TORN)
        return;
    wrong_count++;
    (void) fprintf(stderr, "%s:%zu %s: %s\n", finding->file, finding->line,
                   audit_found_name(finding->kind), finding->text);
}

/* By these keys alone, or (NULL) as the token that is logged in does it, MACs and all. */
static struct audit_verdict verify(unsigned char public_key[1][ED25519_PUBLIC_LEN])
{
    char *log = read_log();
    const struct audit_input file = {log_path, view_text(log)};
    const struct audit_verification asked = {
        .files = &file,
        .file_count = 1,
        .public_keys = public_key,
        .public_key_count = public_key == NULL ? 0 : 1,
        .found = count_wrong,
    };
    struct audit_verdict verdict;

    wrong_count = 0;
    OK(public_key == NULL ? admin_audit_verify(api.session, &asked, &verdict)
                          : audit_verify(&asked, &verdict));
    free(log);
    ck_assert_uint_eq(verdict.wrong, wrong_count);
    return verdict;
}

static size_t count_findings(unsigned char public_key[1][ED25519_PUBLIC_LEN])
{
    return verify(public_key).wrong;
}

static CK_RV login(void)
{
    return api.p11->C_Login(api.session, CKU_USER, (CK_UTF8CHAR_PTR) API_USER_PIN,
                            strlen(API_USER_PIN));
}

START_TEST(acts_on_keys_have_two_lines)
{
    const CK_ULONG later = (CK_ULONG) clock_utc_s() + 7200;
    struct admin_export request = {.to = rsa(), .hash = "SHA256"};
    struct admin_exported exported = {.count = 0};
    CK_BYTE unique_id[INDEXKEY_LINE_LEN];
    CK_ATTRIBUTE line = {CKA_INDEXKEY_LINE, unique_id, sizeof(unique_id)};
    CK_OBJECT_HANDLE other;
    size_t count;

    open_token();
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "key");
    CK_OBJECT_HANDLE index = api_make_index_key(&api, "index", 1);
    OK(admin_key_set_times(api.session, key, NULL, &later));
    expect_pair("set-times", "key", "CKR_OK");
    OK(admin_key_set_state(api.session, key, INDEXKEY_STATE_SUSPENDED));
    expect_pair("suspend", "key", "CKR_OK");
    OK(admin_key_set_state(api.session, key, INDEXKEY_STATE_ACTIVE));
    expect_pair("resume", "key", "CKR_OK");
    OK(admin_key_rotate(api.session, key, &other));
    expect_pair("rotate", "key", "CKR_OK");
    EXPECT(CKR_ACTION_PROHIBITED, admin_key_rotate(api.session, key, &other));
    expect_pair("rotate", "key@1", "CKR_ACTION_PROHIBITED");
    OK(admin_key_set_state(api.session, api_find(&api, "key"), INDEXKEY_STATE_DEACTIVATED));
    expect_pair("deactivate", "key", "CKR_OK");
    OK(admin_key_set_hold(api.session, key, true));
    expect_pair("hold", "key@1", "CKR_OK");
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, key));
    expect_refusal("destroy", "key@1", "CKR_ACTION_PROHIBITED");
    OK(admin_key_set_hold(api.session, key, false));
    expect_pair("release", "key@1", "CKR_OK");
    OK(admin_key_set_state(api.session, key, INDEXKEY_STATE_COMPROMISED));
    expect_pair("compromise", "key@1", "CKR_OK");
    OK(admin_key_export(api.session, index, &request, &exported));
    admin_exported_clear(&exported);
    expect_pair("export", "index", "CKR_OK");
    modulus[0] = 0xc6;
    EXPECT(CKR_KEY_UNEXTRACTABLE, admin_key_export(api.session, index, &request, &exported));
    expect_pair("export", "index", "CKR_KEY_UNEXTRACTABLE");
    /* The first version's line is its CKA_UNIQUE_ID. */
    OK(api.p11->C_GetAttributeValue(api.session, key, &line, 1));
    OK(api.p11->C_DestroyObject(api.session, key));
    expect_pair("destroy", "key@1", "CKR_OK");
    OK(admin_key_undelete(api.session, (struct view){unique_id, sizeof(unique_id)}, &key));
    expect_pair("undelete", "key@1", "CKR_OK");
    OK(api.p11->C_DestroyObject(api.session, key));
    clock_shift(2 * HOUR_MS);
    OK(admin_key_purge(api.session, &count));
    ck_assert_uint_eq(count, 1);
    expect_pair("purge", "key@1", "CKR_OK");
    char *log = read_log();
    ck_assert_ptr_null(strstr(log, "\"event\":\"set-attributes\""));
    free(log);
    close_token();
}
END_TEST

START_TEST(acts_on_the_token_have_two_lines)
{
    static struct backup_buffer backup;
    struct admin_restore what = {.read = backup_buffer_read,
                                 .context = &backup,
                                 .pin = view_text(API_USER_PIN),
                                 .force = true};
    struct admin_rewrap report;
    uint64_t generation;

    open_token();
    (void) api_make_aes_key(&api, true, "key");
    OK(admin_backup(api.session, backup_buffer_write, &backup));
    expect_pair("backup", "", "CKR_OK");
    OK(admin_token_shred(api.session));
    expect_pair("shred", "", "CKR_OK");
    OK(admin_token_rewrap(api.session, &report));
    expect_pair("rewrap", "", "CKR_OK");
    OK(api.p11->C_Logout(api.session));
    OK(admin_restore(api.slot, &what));
    expect_pair("restore", "", "CKR_OK");
    EXPECT(CKR_PIN_INCORRECT, admin_anchor_accept(api.slot, view_text("wrong"), &generation));
    expect_pair("anchor-accept", "", "CKR_PIN_INCORRECT");
    OK(admin_anchor_accept(api.slot, view_text(API_SO_PIN), &generation));
    expect_pair("anchor-accept", "", "CKR_OK");
    OK(login());
    (void) api_find(&api, "key");
    OK(api.p11->C_CloseAllSessions(api.slot));
    OK(admin_token_reset(api.slot, view_text(API_SO_PIN), (const unsigned char *) TOKEN_LABEL));
    expect_pair("reset-token", "", "CKR_OK");
    close_token();
}
END_TEST

static CK_RV rotate_token_key(const char *user_pin)
{
    return admin_token_rotate_key(api.slot, view_text(API_SO_PIN), view_text(user_pin));
}

static size_t count_successors(void)
{
    char *log = read_log();
    size_t count = 0;

    for (const char *at = log; (at = strstr(at, "\"event\":\"audit-key\"")) != NULL; at++)
        count++;
    free(log);
    return count;
}

/* Twice: while somebody is logged in, and while nobody is. */
START_TEST(the_former_public_key_verifies_on)
{
    unsigned char former[1][ED25519_PUBLIC_LEN];
    unsigned char newest[1][ED25519_PUBLIC_LEN];

    open_token();
    OK(admin_audit_public_key(api.session, former[0]));
    EXPECT(CKR_PIN_INCORRECT, rotate_token_key("wrong"));
    expect_pair("rotate-token-key", "", "CKR_PIN_INCORRECT");
    ck_assert_uint_eq(count_successors(), 0);
    OK(rotate_token_key(API_USER_PIN));
    expect_pair("rotate-token-key", "", "CKR_OK");
    OK(rotate_token_key(API_USER_PIN));
    ck_assert_uint_eq(count_successors(), 2);
    OK(login());
    (void) api_make_aes_key(&api, true, "key");
    OK(admin_audit_public_key(api.session, newest[0]));
    ck_assert_mem_ne(former[0], newest[0], sizeof(newest[0]));
    api_restart(&api);
    ck_assert_uint_eq(count_findings(former), 0);
    /* Former keys' signatures are not proved by the newest, and not called wrong either; its own
     * cover the lines all the same. */
    struct audit_verdict by_newest = verify(newest);
    ck_assert_uint_eq(by_newest.wrong, 0);
    ck_assert_uint_gt(by_newest.good_signatures, 0);
    ck_assert_uint_eq(verify(NULL).wrong, 0);
    former[0][0] ^= 1;
    ck_assert_uint_gt(count_findings(former), 0);
    close_token();
}
END_TEST

static bool fails_to_commit;

CK_RV __real_row_changes_list(struct row_changes *changes, const struct store_change *records,
                              size_t record_count, const struct store_change **ret_changes,
                              size_t *ret_count);
CK_RV __wrap_row_changes_list(struct row_changes *changes, const struct store_change *records,
                              size_t record_count, const struct store_change **ret_changes,
                              size_t *ret_count);

CK_RV __wrap_row_changes_list(struct row_changes *changes, const struct store_change *records,
                              size_t record_count, const struct store_change **ret_changes,
                              size_t *ret_count)
{
    return fails_to_commit
               ? CKR_DEVICE_ERROR
               : __real_row_changes_list(changes, records, record_count, ret_changes, ret_count);
}

/* As a kill between them leaves it: the former audit key goes on, and the next rotation too. */
START_TEST(a_successor_that_was_named_in_vain)
{
    unsigned char former[1][ED25519_PUBLIC_LEN];

    open_token();
    OK(admin_audit_public_key(api.session, former[0]));
    fails_to_commit = true;
    EXPECT(CKR_DEVICE_ERROR, rotate_token_key(API_USER_PIN));
    fails_to_commit = false;
    ck_assert_uint_eq(count_successors(), 1);
    OK(api.p11->C_Logout(api.session));
    OK(login());
    ck_assert_uint_eq(count_findings(former), 0);
    OK(rotate_token_key(API_USER_PIN));
    ck_assert_uint_eq(count_successors(), 2);
    OK(login());
    ck_assert_uint_eq(count_findings(former), 0);
    close_token();
}
END_TEST

static struct admin_status status_of(void)
{
    struct admin_status status;

    OK(admin_token_status(api.slot, &status));
    return status;
}

/* A symbolic link in its place, which is no log: nothing else fails by that. */
START_TEST(what_cannot_be_recorded_is_not_done)
{
    static struct backup_buffer backup;
    char moved[128];
    CK_OBJECT_HANDLE other;

    open_token();
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "key");
    struct admin_status before = status_of();
    (void) snprintf(moved, sizeof(moved), "%s.away", log_path);
    ck_assert_int_eq(rename(log_path, moved), 0);
    ck_assert_int_eq(symlink(moved, log_path), 0);
    EXPECT(CKR_DEVICE_ERROR, admin_key_rotate(api.session, key, &other));
    EXPECT(CKR_DEVICE_ERROR, admin_key_set_hold(api.session, key, true));
    EXPECT(CKR_DEVICE_ERROR, admin_key_set_state(api.session, key, INDEXKEY_STATE_DEACTIVATED));
    EXPECT(CKR_DEVICE_ERROR, api.p11->C_DestroyObject(api.session, key));
    EXPECT(CKR_DEVICE_ERROR, admin_token_shred(api.session));
    EXPECT(CKR_DEVICE_ERROR, admin_backup(api.session, backup_buffer_write, &backup));
    EXPECT(CKR_DEVICE_ERROR, rotate_token_key(API_USER_PIN));
    struct admin_status after = status_of();
    ck_assert_uint_eq(backup.len, 0);
    ck_assert(after.is_open);
    ck_assert_uint_eq(after.epoch, before.epoch);
    ck_assert_uint_eq(after.generation, before.generation);
    ck_assert_uint_eq(api_find(&api, "key"), key);
    ck_assert_int_eq(unlink(log_path), 0);
    ck_assert_int_eq(rename(moved, log_path), 0);
    OK(admin_key_rotate(api.session, key, &other));
    OK(admin_token_shred(api.session));
    OK(rotate_token_key(API_USER_PIN));
    close_token();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("audit_admin");
    TCase *cases = tcase_create("audit admin");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, cases);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, acts_on_keys_have_two_lines);
    tcase_add_test(cases, acts_on_the_token_have_two_lines);
    tcase_add_test(cases, the_former_public_key_verifies_on);
    tcase_add_test(cases, a_successor_that_was_named_in_vain);
    tcase_add_test(cases, what_cannot_be_recorded_is_not_done);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
