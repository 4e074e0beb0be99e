/*
 * What a token's calls leave in its audit log and metrics, and what they answer when the log cannot
 * be written. The log is checked by this module's verification and by an independent one.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "module/admin_audit.h"
#include "tests/support/api_fixture.h"
#include "tokens/audit_usage.h"

static struct api api;
static char log_path[96];
static char metrics_path[96];
static char *log_text;
static size_t wrong_count;

/* The folder's name is made by api_load: the log stands beside it. */
static void open_token(const char *more)
{
    char lines[512];

    (void) snprintf(log_path, sizeof(log_path), "/tmp/indexkey-audit-%ld.jsonl", (long) getpid());
    (void) snprintf(metrics_path, sizeof(metrics_path), "/tmp/indexkey-audit-%ld.prom",
                    (long) getpid());
    (void) snprintf(lines, sizeof(lines), "audit = file:%s\nmetrics = file:%s\n%s", log_path,
                    metrics_path, more);
    api_open(&api, "memory:", lines);
}

static void close_token(void)
{
    api_close(&api);
    (void) unlink(log_path);
    (void) unlink(metrics_path);
    free(log_text);
    log_text = NULL;
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 20);

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_lt(fread(text, 1, 1 << 20, file), 1 << 20);
    (void) fclose(file);
    return text;
}

static const char *read_log(void)
{
    free(log_text);
    log_text = read_file(log_path);
    return log_text;
}

/* The next line that has all of the words, in their order; *at moves behind it. */
static void expect_line(const char **at, const char *event, const char *more)
{
    for (const char *line = *at; *line != '\0'; line = strchr(line, '\n') + 1) {
        size_t len = (size_t) (strchr(line, '\n') - line);
        char *copy = strndup(line, len);
        const char *found = strstr(copy, event);
        bool fits = found != NULL && strstr(found, more) != NULL;
        free(copy);
        if (!fits)
            continue;
        *at = line + len + 1;
        return;
    }
    ck_abort_msg("no line with %s and %s in:\n%s", event, more, *at);
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

static void expect_clean(struct audit_verdict *ret_verdict)
{
    const struct audit_input file = {log_path, view_text(read_log())};
    const struct audit_verification asked = {.files = &file, .file_count = 1, .found = count_wrong};

    wrong_count = 0;
    OK(admin_audit_verify(api.session, &asked, ret_verdict));
    ck_assert_uint_eq(wrong_count, 0);
}

static CK_RV set_label(CK_OBJECT_HANDLE key, const char *label)
{
    CK_ATTRIBUTE attribute = {CKA_LABEL, (void *) (uintptr_t) label, strlen(label)};

    return api.p11->C_SetAttributeValue(api.session, key, &attribute, 1);
}

static CK_RV encrypt(CK_OBJECT_HANDLE key)
{
    CK_BYTE iv[12] = {0};
    CK_GCM_PARAMS params = {iv, sizeof(iv), 96, NULL, 0, 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_BYTE out[64];
    CK_ULONG len = sizeof(out);
    CK_RV rv = api.p11->C_EncryptInit(api.session, &mechanism, key);

    return rv != CKR_OK ? rv : api.p11->C_Encrypt(api.session, iv, sizeof(iv), out, &len);
}

static CK_RV sign(CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE mac[32];
    CK_ULONG len = sizeof(mac);
    CK_RV rv = api.p11->C_SignInit(api.session, &mechanism, key);

    return rv != CKR_OK ? rv : api.p11->C_Sign(api.session, mac, sizeof(mac), mac, &len);
}

static CK_RV set_pin(const char *old_pin, const char *new_pin)
{
    return api.p11->C_SetPIN(api.session, (CK_UTF8CHAR *) (uintptr_t) old_pin, strlen(old_pin),
                             (CK_UTF8CHAR *) (uintptr_t) new_pin, strlen(new_pin));
}

static CK_RV login(const char *pin)
{
    return api.p11->C_Login(api.session, CKU_USER, (CK_UTF8CHAR *) (uintptr_t) pin, strlen(pin));
}

START_TEST(test_every_act_has_its_lines)
{
    struct audit_verdict verdict;
    static const char value[] = "key-value-of-32-bytes-key-value-";

    open_token("");
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "first");
    (void) api_import_index_key(&api, "imported", (const CK_BYTE *) value);
    OK(set_label(key, "second"));
    EXPECT(CKR_KEY_TYPE_INCONSISTENT, sign(key));
    OK(api.p11->C_DestroyObject(api.session, key));
    OK(set_pin(API_USER_PIN, "another-pin-77"));
    OK(api.p11->C_Logout(api.session));
    EXPECT(CKR_PIN_INCORRECT, login("wrong-pin-88"));
    OK(login("another-pin-77"));
    expect_clean(&verdict);
    ck_assert_uint_ge(verdict.good_signatures, 5);
    ck_assert_uint_eq(verdict.unproved, 0);

    const char *at = log_text;
    expect_line(&at, "\"event\":\"init-token\",\"phase\":\"intent\"", "");
    expect_line(&at, "\"event\":\"init-token\"", "\"result\":\"CKR_OK\"");
    expect_line(&at, "\"event\":\"login\",\"role\":\"so\"", "\"result\":\"CKR_OK\"");
    expect_line(&at, "\"event\":\"init-pin\",\"phase\":\"intent\"", "");
    expect_line(&at, "\"event\":\"init-pin\"", "\"result\":\"CKR_OK\"");
    expect_line(&at, "\"event\":\"logout\"", "\"sig\":");
    expect_line(&at, "\"event\":\"login\",\"role\":\"user\"", "\"next\":");
    expect_line(&at, "\"event\":\"create\",\"phase\":\"intent\"", "\"label\":\"first\"");
    expect_line(&at, "\"event\":\"create\"", "\"result\":\"CKR_OK\"");
    expect_line(&at, "\"event\":\"create\"", "\"label\":\"imported\"");
    expect_line(&at, "\"event\":\"set-attributes\",\"phase\":\"intent\"", "\"label\":\"first\"");
    expect_line(&at, "\"event\":\"set-attributes\"", "\"result\":\"CKR_OK\"");
    expect_line(&at, "\"event\":\"refused\"", "\"result\":\"CKR_KEY_TYPE_INCONSISTENT\"");
    expect_line(&at, "\"event\":\"destroy\",\"phase\":\"intent\"", "\"label\":\"second\"");
    expect_line(&at, "\"event\":\"destroy\"", "\"result\":\"CKR_OK\"");
    expect_line(&at, "\"event\":\"set-pin\",\"phase\":\"intent\"", "");
    expect_line(&at, "\"event\":\"set-pin\"", "\"result\":\"CKR_OK\"");
    expect_line(&at, "\"event\":\"logout\"", "\"sig\":");
    expect_line(&at, "\"event\":\"login\"", "\"result\":\"CKR_PIN_INCORRECT\",\"cause\":\"pin\"");
    expect_line(&at, "\"event\":\"login\"", "\"result\":\"CKR_OK\"");
    ck_assert_ptr_null(strstr(log_text, API_USER_PIN));
    ck_assert_ptr_null(strstr(log_text, API_SO_PIN));
    ck_assert_ptr_null(strstr(log_text, "another-pin-77"));
    ck_assert_ptr_null(strstr(log_text, "wrong-pin-88"));
    ck_assert_ptr_null(strstr(log_text, value));
    ck_assert_ptr_null(strstr(log_text, "6b65792d76616c7565"));
    close_token();
}
END_TEST

static uint64_t uses_of(const char *mechanism)
{
    const struct audit_input file = {log_path, view_text(read_log())};
    struct audit_usage usage;
    uint64_t uses = 0;

    OK(audit_usage(&file, 1, &usage));
    for (size_t i = 0; i < usage.count; i++)
        if (view_equal(usage.rows[i].mechanism, view_text(mechanism)))
            uses += usage.rows[i].uses;
    audit_usage_clear(&usage);
    return uses;
}

START_TEST(test_uses_are_counted)
{
    open_token("");
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "counted");
    (void) api_make_index_key(&api, "index", 1);
    CK_OBJECT_HANDLE subkey = api_find(&api, "index/token");

    for (int i = 0; i < 300; i++)
        OK(encrypt(key));
    for (int i = 0; i < 70; i++)
        OK(sign(subkey));
    ck_assert_uint_ge(uses_of("CKM_AES_GCM"), 300);
    ck_assert_uint_ge(uses_of("CKM_SHA256_HMAC"), 70);
    OK(api.p11->C_Logout(api.session));
    ck_assert_uint_eq(uses_of("CKM_AES_GCM"), 300);
    ck_assert_uint_eq(uses_of("CKM_SHA256_HMAC"), 70);
    OK(api.p11->C_Finalize(NULL));
    char *metrics = read_file(metrics_path);
    ck_assert_ptr_nonnull(strstr(
        metrics, "indexkey_operations_total{token=\"test\",mechanism=\"CKM_AES_GCM\"} 300\n"));
    ck_assert_ptr_nonnull(
        strstr(metrics, "indexkey_logins_total{token=\"test\",result=\"CKR_OK\"} 2\n"));
    ck_assert_ptr_nonnull(strstr(metrics, "indexkey_kms_call_seconds_count{token=\"test\"} "));
    ck_assert_ptr_nonnull(strstr(metrics, "# TYPE indexkey_objects gauge\n"));
    free(metrics);
    close_token();
}
END_TEST

static void fill_disk(struct rlimit *former)
{
    struct stat status;

    (void) signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(stat(log_path, &status), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, former), 0);
    const struct rlimit limit = {(rlim_t) status.st_size + 10, former->rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

START_TEST(test_a_full_disk_refuses_what_must_be_recorded)
{
    struct audit_verdict verdict;
    struct rlimit former;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    const CK_ATTRIBUTE keys[] = {{CKA_CLASS, &class, sizeof(class)}};

    open_token("subkeys = none\n");
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "stays");
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {{CKA_TOKEN, &yes, sizeof(yes)}, {CKA_VALUE_LEN, &len, sizeof(len)}};
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;

    fill_disk(&former);
    EXPECT(CKR_DEVICE_ERROR, api.p11->C_GenerateKey(api.session, &generate, template, 2, &made));
    EXPECT(CKR_DEVICE_ERROR, set_label(key, "changed"));
    EXPECT(CKR_DEVICE_ERROR, api.p11->C_DestroyObject(api.session, key));
    EXPECT(CKR_DEVICE_ERROR, set_pin(API_USER_PIN, "another-pin-77"));
    EXPECT(CKR_DEVICE_ERROR, encrypt(key));
    ck_assert_uint_eq(api_count(&api, keys, 1), 1);
    ck_assert_uint_eq(api_find(&api, "stays"), key);
    OK(api.p11->C_Logout(api.session));
    EXPECT(CKR_DEVICE_ERROR, login(API_USER_PIN));
    ck_assert_uint_eq(api_count(&api, keys, 1), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &former), 0);
    OK(login(API_USER_PIN));
    OK(encrypt(api_find(&api, "stays")));
    expect_clean(&verdict);
    close_token();
}
END_TEST

/* The KMS is gone for longer than the grace. */
START_TEST(test_the_end_of_a_lease_is_signed)
{
    struct audit_verdict verdict;
    char root_key[96];
    char moved[128];

    open_token("lease = 1m\ngrace = 1m\n");
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "key");
    (void) snprintf(root_key, sizeof(root_key), "%s/root.key", api.folder);
    (void) snprintf(moved, sizeof(moved), "%s.away", root_key);
    ck_assert_int_eq(rename(root_key, moved), 0);
    clock_shift(10 * 60 * 1000);
    ck_assert_uint_ne(encrypt(key), CKR_OK);
    ck_assert_int_eq(rename(moved, root_key), 0);
    OK(login(API_USER_PIN));
    expect_clean(&verdict);
    const char *at = log_text;
    expect_line(&at, "\"event\":\"lease-over\"", "\"sig\":");
    expect_line(&at, "\"event\":\"login\"", "\"sig\":");
    clock_shift(0);
    close_token();
}
END_TEST

/* The format as docs/audit.md tells it to others. */
START_TEST(test_a_third_party_verifies)
{
    unsigned char public_key[ED25519_PUBLIC_LEN];
    char command[1024];
    char hex[2 * ED25519_PUBLIC_LEN + 1];

    open_token("");
    for (int i = 0; i < 40; i++)
        OK(api.p11->C_DestroyObject(api.session,
                                    api_make_aes_key(&api, true, "\xc3\xbc\n\"\\\x01")));
    OK(admin_audit_public_key(api.session, public_key));
    for (size_t i = 0; i < sizeof(public_key); i++)
        (void) snprintf(hex + 2 * i, 3, "%02x", public_key[i]);
    OK(api.p11->C_Finalize(NULL));
    (void) snprintf(command, sizeof(command), "python3 %s %s %s", AUDIT_VERIFIER, hex, log_path);
    ck_assert_int_eq(system(command), 0);
    (void) snprintf(
        command, sizeof(command),
        "sed '60s/CKM_AES/CKM_DES/;60s/create/creatf/;60s/destroy/destroz/' %s > %s.x && "
        "python3 %s %s %s.x; code=$?; rm %s.x; exit $code",
        log_path, log_path, AUDIT_VERIFIER, hex, log_path, log_path);
    ck_assert_int_eq(system(command), 256);
    hex[0] = hex[0] == '1' ? '2' : '1';
    (void) snprintf(command, sizeof(command), "python3 %s %s %s", AUDIT_VERIFIER, hex, log_path);
    ck_assert_int_eq(system(command), 256);
    close_token();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("audit_token");
    TCase *cases = tcase_create("audit token");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, test_every_act_has_its_lines);
    tcase_add_test(cases, test_uses_are_counted);
    tcase_add_test(cases, test_a_full_disk_refuses_what_must_be_recorded);
    tcase_add_test(cases, test_the_end_of_a_lease_is_signed);
    tcase_add_test(cases, test_a_third_party_verifies);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
