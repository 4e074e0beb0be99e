/* What `source = gcp` is made of: names of keys, checksums, forms, credentials files and their
 * order, what refusals mean. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "tests/support/token_fixture.h"
#include "tokens/gcp_credential.h"
#include "tokens/gcp_key.h"
#include "tokens/gcp_refusal.h"
#include "tokens/http_form.h"

#define KEY "projects/p/locations/global/keyRings/r/cryptoKeys/k"
#define NAME_OF_64 "a123456789012345678901234567890123456789012345678901234567890123"
#define CANARY "CanarySecret"
#define ACCOUNT(more)                                                                              \
    "{\"type\": \"service_account\", \"private_key\": \"" CANARY                                   \
    "\\nline\", \"private_key_id\": \"id\", \"client_email\": \"a@b\"" more "}"
#define USER(more)                                                                                 \
    "{\"refresh_token\": \"" CANARY "\", \"type\": \"authorized_user\", \"client_id\": \"c\", "    \
    "\"client_secret\": \"" CANARY "2\"" more "}"
#define FEDERATION(more)                                                                           \
    "{\"type\": \"external_account\", \"audience\": \"//iam\", \"subject_token_type\": \"jwt\", "  \
    "\"token_url\": \"https://sts.googleapis.com/v1/token\"" more "}"
#define FILE_NAME "application_default_credentials.json"

/* ---- checksums ---- */

static const struct {
    const char *hex;
    uint32_t crc;
} checksums[] = {
    {"", 0},
    {"313233343536373839", 0xe3069283},
    /* RFC 3720, B.4. */
    {"0000000000000000000000000000000000000000000000000000000000000000", 0x8a9136aa},
    {"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", 0x62a8ab43},
    {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0x46dd794e},
    {"1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100", 0x113fdb5c},
};

START_TEST(checksums_are_those_of_rfc_3720)
{
    unsigned char bytes[64];
    size_t len = strlen(checksums[_i].hex) / 2;
    for (size_t i = 0; i < len; i++) {
        char digits[3] = {checksums[_i].hex[2 * i], checksums[_i].hex[2 * i + 1], '\0'};
        bytes[i] = (unsigned char) strtoul(digits, NULL, 16);
    }
    ck_assert_uint_eq(crc32c((struct view){bytes, len}), checksums[_i].crc);
}
END_TEST

/* ---- names ---- */

START_TEST(names_are_checked)
{
    static const char *const projects[] = {"good-project", "p", "example.com:project-1"};
    static const char *const no_projects[] = {"", "123456", "Upper", "a/b", "a b", "-a", "a?b"};
    static const char *const locations[] = {"global", "europe-west3", "eur5"};
    static const char *const no_locations[] = {"", "Europe", "a/b", "a.b", "a b"};
    static const char *const names[] = {"k", "Index_Keys-1"};
    static const char *const no_names[] = {"", "a.b", "a/b", "a:b", "schl\xc3\xbcssel", NAME_OF_64};
    for (size_t i = 0; i < COUNT_OF(projects); i++)
        ck_assert_ptr_null(gcp_key_project_fault(projects[i]));
    for (size_t i = 0; i < COUNT_OF(no_projects); i++)
        ck_assert_ptr_nonnull(gcp_key_project_fault(no_projects[i]));
    for (size_t i = 0; i < COUNT_OF(locations); i++)
        ck_assert_ptr_null(gcp_key_location_fault(locations[i]));
    for (size_t i = 0; i < COUNT_OF(no_locations); i++)
        ck_assert_ptr_nonnull(gcp_key_location_fault(no_locations[i]));
    for (size_t i = 0; i < COUNT_OF(names); i++)
        ck_assert_ptr_null(gcp_key_name_fault(names[i]));
    for (size_t i = 0; i < COUNT_OF(no_names); i++)
        ck_assert_ptr_nonnull(gcp_key_name_fault(no_names[i]));
}
END_TEST

START_TEST(versions_belong_to_their_key)
{
    static const char *const others[] = {"",
                                         KEY,
                                         KEY "/cryptoKeyVersions/",
                                         KEY "/cryptoKeyVersions/1x",
                                         KEY "/cryptoKeyVersions/1/2",
                                         KEY "2/cryptoKeyVersions/1",
                                         KEY "/cryptoKeyVersions/1234567890123456789"};
    ck_assert(gcp_key_has_version(KEY, view_text(KEY "/cryptoKeyVersions/12")));
    ck_assert(gcp_key_is_version(view_text(KEY "/cryptoKeyVersions/12")));
    for (size_t i = 0; i < COUNT_OF(others); i++)
        ck_assert(!gcp_key_has_version(KEY, view_text(others[i])));
    ck_assert(gcp_key_is_version(view_text(KEY "2/cryptoKeyVersions/1")));
    ck_assert(!gcp_key_is_version(view_text("")));
    ck_assert(!gcp_key_is_version(view_text(KEY)));
    ck_assert(!gcp_key_is_version(view_text("a\nb/cryptoKeyVersions/1")));
}
END_TEST

/* ---- forms ---- */

START_TEST(forms_are_encoded)
{
    static const unsigned char bytes[] = {'a', 0, 0xff, '+', ' ', '~'};
    struct http_form_field fields[] = {{"grant_type", view_text("urn:a&b=c")},
                                       {"empty", view_text("")},
                                       {"b", {bytes, sizeof(bytes)}}};
    struct secret form = {0};
    ck_assert_uint_eq(http_form_encode(fields, 3, &form), CKR_OK);
    ck_assert(view_equal((struct view){form.bytes, form.len},
                         view_text("grant_type=urn%3Aa%26b%3Dc&empty=&b=a%00%FF%2B%20~")));
    secret_clear(&form);
}
END_TEST

/* ---- credentials ---- */

static void clear_environment(void)
{
    (void) unsetenv("GOOGLE_APPLICATION_CREDENTIALS");
    (void) unsetenv("CLOUDSDK_CONFIG");
    ck_assert_int_eq(setenv("HOME", fixture_path("."), 1), 0);
}

static CK_RV find(const char *file, struct gcp_credential *ret_credential)
{
    fixture_forget_log();
    cause_clear();
    return gcp_credential_find("t", file, ret_credential);
}

static void assert_refused(CK_RV rv, const char *says)
{
    ck_assert_uint_eq(rv, CKR_FUNCTION_FAILED);
    ck_assert_int_eq((int) cause_last(), INDEXKEY_CAUSE_CONFIG);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_msg(strstr(fixture_log(), says) != NULL, "no %s in %s", says, fixture_log());
    ck_assert_ptr_null(strstr(fixture_log(), CANARY));
    ck_assert_uint_eq(secrets_in_use(), 0);
}

static const struct {
    const char *text;
    const char *fault; /* NULL: good */
} files[] = {
    {ACCOUNT(""), NULL},
    {ACCOUNT(", \"token_uri\": \"https://oauth2.googleapis.com/token\""), NULL},
    {USER(""), NULL},
    {USER(", \"quota_project_id\": \"q\""), NULL},
    {FEDERATION(""), NULL},
    {FEDERATION(", \"client_secret\": \"" CANARY "\""), NULL},
    {"", "type"},
    {"[]", "type"},
    {"no JSON " CANARY, "type"},
    {"{\"type\": \"" CANARY "\"}", "type"},
    {"{\"type\": \"gdch_service_account\"}", "type"},
    {"{\"type\": \"impersonated_service_account\"}", "type"},
    {"{\"type\": \"service_account\", \"client_email\": \"a@b\"}", "private_key"},
    {"{\"type\": \"service_account\", \"private_key\": \"" CANARY "\"}", "client_email"},
    {"{\"type\": \"service_account\", \"private_key\": 7, \"client_email\": \"a@b\"}",
     "private_key"},
    {ACCOUNT(", \"private_key\": \"" CANARY "3\""), "JSON"},
    {ACCOUNT(", \"token_uri\": \"http://" CANARY "\""), "token_uri"},
    {ACCOUNT(", \"token_uri\": 7"), "token_uri"},
    {"{\"type\": \"authorized_user\", \"refresh_token\": \"" CANARY "\", \"client_id\": \"c\"}",
     "refresh_token"},
    {"{\"type\": \"external_account\", \"audience\": \"a\"}", "subject_token_type"},
    {FEDERATION(", \"service_account_impersonation_url\": \"ftp://" CANARY "\""),
     "service_account_impersonation_url"},
};

START_TEST(files_are_read)
{
    struct gcp_credential credential = {.place = NULL};
    char path[512];
    clear_environment();
    fixture_write("c.json", files[_i].text, 0600);
    (void) snprintf(path, sizeof(path), "%s", fixture_path("c.json"));
    CK_RV rv = find(path, &credential);
    if (files[_i].fault != NULL) {
        char says[100];
        (void) snprintf(says, sizeof(says), "check its %s", files[_i].fault);
        assert_refused(rv, says);
        return;
    }
    ck_assert_msg(rv == CKR_OK, "%s", fixture_log());
    ck_assert_str_eq(credential.place, path);
    ck_assert_str_eq(gcp_credential_text(&credential, "none", "fallback"), "fallback");
    /* The secrets are not among what jansson keeps. */
    ck_assert_str_eq(gcp_credential_text(&credential, "private_key", ""), "");
    ck_assert_str_eq(gcp_credential_text(&credential, "refresh_token", ""), "");
    ck_assert_str_eq(gcp_credential_text(&credential, "client_secret", ""), "");
    if (credential.type != GCP_EXTERNAL_ACCOUNT)
        ck_assert_int_eq(memcmp(credential.key.bytes, CANARY, strlen(CANARY)), 0);
    if (credential.type == GCP_SERVICE_ACCOUNT)
        ck_assert_int_eq(credential.key.bytes[strlen(CANARY)], '\n');
    gcp_credential_clear(&credential);
    ck_assert_uint_eq(secrets_in_use(), 0);
}
END_TEST

START_TEST(the_first_place_that_has_one_counts)
{
    struct gcp_credential credential = {.place = NULL};
    char named[512];
    char configured[512];
    clear_environment();
    fixture_write("configured.json", ACCOUNT(""), 0600);
    fixture_write("named.json", USER(""), 0600);
    (void) snprintf(configured, sizeof(configured), "%s", fixture_path("configured.json"));
    (void) snprintf(named, sizeof(named), "%s", fixture_path("named.json"));
    ck_assert_uint_eq(find(NULL, &credential), CKR_OK);
    ck_assert_int_eq((int) credential.type, GCP_METADATA_SERVER);
    gcp_credential_clear(&credential);
    /* gcloud's own. */
    ck_assert_int_eq(mkdir(fixture_path(".config"), 0700), 0);
    ck_assert_int_eq(mkdir(fixture_path(".config/gcloud"), 0700), 0);
    fixture_write(".config/gcloud/" FILE_NAME, FEDERATION(""), 0644);
    ck_assert_uint_eq(find(NULL, &credential), CKR_OK);
    ck_assert_int_eq((int) credential.type, GCP_EXTERNAL_ACCOUNT);
    gcp_credential_clear(&credential);
    ck_assert_int_eq(setenv("CLOUDSDK_CONFIG", fixture_path("nothing"), 1), 0);
    ck_assert_uint_eq(find(NULL, &credential), CKR_OK);
    ck_assert_int_eq((int) credential.type, GCP_METADATA_SERVER);
    gcp_credential_clear(&credential);
    ck_assert_int_eq(setenv("GOOGLE_APPLICATION_CREDENTIALS", named, 1), 0);
    ck_assert_uint_eq(find(NULL, &credential), CKR_OK);
    ck_assert_int_eq((int) credential.type, GCP_AUTHORIZED_USER);
    gcp_credential_clear(&credential);
    ck_assert_uint_eq(find(configured, &credential), CKR_OK);
    ck_assert_int_eq((int) credential.type, GCP_SERVICE_ACCOUNT);
    gcp_credential_clear(&credential);
    /* A name leads nowhere else. */
    fixture_remove("named.json");
    assert_refused(find(NULL, &credential), "GOOGLE_APPLICATION_CREDENTIALS names, does not exist");
    fixture_remove("configured.json");
    assert_refused(find(configured, &credential), "credentials_file names, does not exist");
    fixture_remove(".config/gcloud/" FILE_NAME);
    ck_assert_int_eq(rmdir(fixture_path(".config/gcloud")), 0);
    ck_assert_int_eq(rmdir(fixture_path(".config")), 0);
}
END_TEST

START_TEST(files_of_others_are_refused)
{
    struct gcp_credential credential = {.place = NULL};
    char path[512];
    char link[512];
    clear_environment();
    (void) snprintf(path, sizeof(path), "%s", fixture_path("c.json"));
    (void) snprintf(link, sizeof(link), "%s", fixture_path("link.json"));
    fixture_write("c.json", FEDERATION(""), 0644);
    ck_assert_int_eq(symlink(path, link), 0);
    ck_assert_uint_eq(find(link, &credential), CKR_OK);
    gcp_credential_clear(&credential);
    ck_assert_int_eq(chmod(path, 0646), 0);
    assert_refused(find(link, &credential), "open to others");
    fixture_remove("c.json");
    fixture_write("c.json", FEDERATION(", \"client_secret\": \"" CANARY "\""), 0644);
    assert_refused(find(path, &credential), "holds a secret");
    fixture_remove("c.json");
    fixture_write("c.json", ACCOUNT(""), 0604);
    assert_refused(find(link, &credential), "chmod 600");
}
END_TEST

START_TEST(a_pin_may_be_a_credential)
{
    struct gcp_credential credential = {.place = NULL};
    static const char *const others[] = {FEDERATION(""), "{}", "{", "{\"type\": \"" CANARY "\"}"};
    ck_assert(gcp_credential_is_json(view_text(ACCOUNT(""))));
    ck_assert(!gcp_credential_is_json(view_text("ya29.a")));
    ck_assert(!gcp_credential_is_json(view_text("")));
    ck_assert_uint_eq(gcp_credential_from_pin("t", view_text(ACCOUNT("")), &credential), CKR_OK);
    ck_assert(credential.is_pin);
    gcp_credential_clear(&credential);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        fixture_forget_log();
        ck_assert_uint_ne(gcp_credential_from_pin("t", view_text(others[i]), &credential), CKR_OK);
        ck_assert_int_eq((int) cause_last(), INDEXKEY_CAUSE_CREDENTIAL);
        ck_assert_ptr_null(strstr(fixture_log(), CANARY));
        ck_assert_uint_eq(secrets_in_use(), 0);
    }
}
END_TEST

/* ---- refusals ---- */

#define SAYS(status, message)                                                                      \
    "{\"error\": {\"status\": \"" status "\", \"message\": \"" message "\"}}"

static const struct {
    const char *body;
    enum indexkey_cause cause; /* NONE: no row */
    enum http_verdict verdict; /* of status 400 */
} refusals[] = {
    {SAYS("PERMISSION_DENIED", "x"), INDEXKEY_CAUSE_DENIED, HTTP_FINAL},
    {SAYS("UNAUTHENTICATED", "x"), INDEXKEY_CAUSE_CREDENTIAL, HTTP_FINAL},
    {SAYS("NOT_FOUND", "x"), INDEXKEY_CAUSE_DELETED, HTTP_FINAL},
    {SAYS("RESOURCE_EXHAUSTED", "x"), INDEXKEY_CAUSE_THROTTLED, HTTP_THROTTLED},
    {SAYS("UNAVAILABLE", "x"), INDEXKEY_CAUSE_SERVER, HTTP_TRANSIENT},
    {SAYS("FAILED_PRECONDITION", "… current state is: DISABLED."), INDEXKEY_CAUSE_DISABLED,
     HTTP_FINAL},
    {SAYS("FAILED_PRECONDITION", "… has value DESTROYED in field crypto_key_version.state."),
     INDEXKEY_CAUSE_DELETED, HTTP_FINAL},
    {SAYS("INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid."),
     INDEXKEY_CAUSE_TAMPERED, HTTP_FINAL},
    {SAYS("INVALID_ARGUMENT", "The checksum in field"), INDEXKEY_CAUSE_SERVER, HTTP_TRANSIENT},
    {SAYS("FAILED_PRECONDITION", "x"), INDEXKEY_CAUSE_NONE, HTTP_FINAL},
    {SAYS("BRAND_NEW", "x"), INDEXKEY_CAUSE_NONE, HTTP_FINAL},
    {"{\"error\": \"PERMISSION_DENIED\"}", INDEXKEY_CAUSE_NONE, HTTP_FINAL},
    {"{\"error\": {\"status\": 7}}", INDEXKEY_CAUSE_NONE, HTTP_FINAL},
    {"PERMISSION_DENIED", INDEXKEY_CAUSE_NONE, HTTP_FINAL},
    {"", INDEXKEY_CAUSE_NONE, HTTP_FINAL},
};

START_TEST(refusals_are_told_apart)
{
    _cleanup_(json_free) struct json *reply = NULL;
    (void) json_parse(view_text(refusals[_i].body), &reply);
    const struct gcp_refusal *refusal = gcp_refusal_find(reply);
    enum indexkey_cause cause = refusal == NULL ? INDEXKEY_CAUSE_NONE : refusal->cause;
    ck_assert_int_eq((int) cause, (int) refusals[_i].cause);
    ck_assert_int_eq((int) gcp_refusal_verdict(400, view_text(refusals[_i].body)),
                     (int) refusals[_i].verdict);
    ck_assert_int_eq((int) gcp_refusal_verdict(200, view_text(refusals[_i].body)), HTTP_FINAL);
}
END_TEST

START_TEST(states_are_told_apart)
{
    ck_assert_int_eq((int) gcp_refusal_of_state("DISABLED")->cause, INDEXKEY_CAUSE_DISABLED);
    ck_assert_int_eq((int) gcp_refusal_of_state("DESTROYED")->cause, INDEXKEY_CAUSE_DELETED);
    ck_assert_int_eq((int) gcp_refusal_of_state("DESTROY_SCHEDULED")->cause,
                     INDEXKEY_CAUSE_DELETED);
    ck_assert_ptr_null(gcp_refusal_of_state("ENABLED"));
    ck_assert_ptr_null(gcp_refusal_of_state(""));
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("gcp");
    tcase_add_loop_test(cases, checksums_are_those_of_rfc_3720, 0, (int) COUNT_OF(checksums));
    tcase_add_test(cases, names_are_checked);
    tcase_add_test(cases, versions_belong_to_their_key);
    tcase_add_test(cases, forms_are_encoded);
    tcase_add_loop_test(cases, files_are_read, 0, (int) COUNT_OF(files));
    tcase_add_test(cases, the_first_place_that_has_one_counts);
    tcase_add_test(cases, files_of_others_are_refused);
    tcase_add_test(cases, a_pin_may_be_a_credential);
    tcase_add_loop_test(cases, refusals_are_told_apart, 0, (int) COUNT_OF(refusals));
    tcase_add_test(cases, states_are_told_apart);
    return fixture_run("gcp", cases);
}
