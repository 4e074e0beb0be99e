/* What the source `azure` reads and writes, without a network: names, challenges, wrapped keys,
 * forms, certificates, and who logs in. */
#include <stdlib.h>
#include <string.h>

#include "tests/support/token_fixture.h"
#include "tokens/azure_assertion.h"
#include "tokens/azure_challenge.h"
#include "tokens/azure_identity.h"
#include "tokens/azure_wrapped.h"
#include "tokens/base64url.h"
#include "tokens/http_form.h"
#include "tokens/jwt_assertion.h"

#define VAULT "https://vectors.vault.azure.net"
#define TENANT "72f988bf-86f1-41af-91ab-2d7cd011db47"
#define AUTHORITY "authorization=\"https://login.windows.net/" TENANT "\""
#define RESOURCE "resource=\"https://vault.azure.net\""

/* ---- names ---- */

static const struct {
    const char *text;
    const char *name; /* NULL: refused */
    const char *version;
} key_ids[] = {
    {VAULT "/keys/index-keys/0123abcd", "index-keys", "0123abcd"},
    {VAULT ":443/keys/k/v", "k", "v"},
    {"https://VECTORS.vault.azure.net/keys/k/v", "k", "v"},
    {VAULT "/keys/k/", NULL, NULL},
    {VAULT "/keys/k", NULL, NULL},
    {VAULT "/keys//v", NULL, NULL},
    {VAULT "/keys/k/v/w", NULL, NULL},
    {VAULT "/keys/k/v?x", NULL, NULL},
    {VAULT "/keys/a_b/v", NULL, NULL},
    {VAULT "/keys/../v", NULL, NULL},
    {VAULT "/secrets/k/v", NULL, NULL},
    {VAULT, NULL, NULL},
    {"http://vectors.vault.azure.net/keys/k/v", NULL, NULL},
    {"https://vectors.vault.azure.net:444/keys/k/v", NULL, NULL},
    {"https://other.vault.azure.net/keys/k/v", NULL, NULL},
    {"https://vectors.vault.azure.net.evil.example/keys/k/v", NULL, NULL},
    {"https://user@vectors.vault.azure.net/keys/k/v", NULL, NULL},
    {"keys/k/v", NULL, NULL},
    {"", NULL, NULL},
};

START_TEST(a_key_id_is_of_its_vault)
{
    struct azure_key_id id = {.name = {NULL, 0}};
    bool good = azure_key_id_read(key_ids[_i].text, VAULT, &id);
    ck_assert_msg(good == (key_ids[_i].name != NULL), "%s", key_ids[_i].text);
    if (good) {
        ck_assert(view_equal(id.name, view_text(key_ids[_i].name)));
        ck_assert(view_equal(id.version, view_text(key_ids[_i].version)));
    }
}
END_TEST

START_TEST(names_are_what_azure_takes)
{
    char longest[AZURE_NAME_LEN_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[AZURE_NAME_LEN_MAX + 1] = '\0';
    ck_assert_ptr_nonnull(azure_key_name_fault(longest));
    longest[AZURE_NAME_LEN_MAX] = '\0';
    ck_assert_ptr_null(azure_key_name_fault(longest));
    ck_assert_ptr_nonnull(azure_key_name_fault(""));
    ck_assert_ptr_nonnull(azure_key_name_fault("a%2f"));
    ck_assert_ptr_nonnull(azure_key_name_fault("\xc3\xa4"));
    ck_assert_ptr_null(azure_tenant_fault("contoso.onmicrosoft.com"));
    ck_assert_ptr_nonnull(azure_tenant_fault("../other"));
    ck_assert_ptr_nonnull(azure_tenant_fault("a/b"));
    ck_assert(azure_tenants_differ(TENANT, "00000000-0000-0000-0000-000000000000"));
    ck_assert(!azure_tenants_differ(TENANT, "72F988BF-86F1-41AF-91AB-2D7CD011DB47"));
    ck_assert(!azure_tenants_differ(TENANT, "contoso.onmicrosoft.com"));
}
END_TEST

/* ---- challenges ---- */

static const struct {
    const char *header;
    const char *vault;
    const char *resource; /* NULL: refused */
} challenges[] = {
    {"Bearer " AUTHORITY ", " RESOURCE, VAULT, "https://vault.azure.net"},
    {"bearer " RESOURCE "," AUTHORITY, VAULT, "https://vault.azure.net"},
    {"Bearer error=\"invalid_token\", claims=\"a=,b\", " AUTHORITY " " RESOURCE, VAULT,
     "https://vault.azure.net"},
    {"Bearer authorization_uri=\"https://login.windows.net/" TENANT "/x\", "
     "scope=\"https://vault.azure.net/.default\"",
     VAULT, "https://vault.azure.net"},
    {"Bearer " AUTHORITY ", resource=\"https://managedhsm.azure.net/\"",
     "https://vectors.managedhsm.azure.net", "https://managedhsm.azure.net"},
    {"Bearer " AUTHORITY ", resource=https://vault.azure.net", VAULT, "https://vault.azure.net"},
    {"Bearer " AUTHORITY ", resource=\"https://VAULT.azure.NET\"", VAULT,
     "https://VAULT.azure.NET"},
    {"Bearer " AUTHORITY ", resource=\"https://management.azure.com\"", VAULT, NULL},
    {"Bearer " AUTHORITY ", resource=\"https://ult.azure.net\"", VAULT, NULL},
    {"Bearer " AUTHORITY ", resource=\"" VAULT "\"", VAULT, NULL},
    {"Bearer " AUTHORITY ", resource=\"https://a.vectors.vault.azure.net\"", VAULT, NULL},
    {"Bearer " AUTHORITY ", resource=\"http://vault.azure.net\"", VAULT, NULL},
    {"Bearer " AUTHORITY ", resource=\"https://vault.azure.net/x\"", VAULT, NULL},
    {"Bearer " AUTHORITY ", resource=\"https://vault.azure.net#\"", VAULT, NULL},
    {"Bearer " AUTHORITY ", resource=\"https://a@vault.azure.net\"", VAULT, NULL},
    {"Bearer " AUTHORITY ", resource=\"vault.azure.net\"", VAULT, NULL},
    {"Bearer " AUTHORITY ", resource=\"\"", VAULT, NULL},
    {"Bearer " AUTHORITY ", resource=\"https://0.0.1\"", "https://127.0.0.1:8200", NULL},
    {"Bearer " AUTHORITY, VAULT, NULL},
    {"Bearer " RESOURCE, VAULT, NULL},
    {"Bearer authorization=\"http://login.windows.net/" TENANT "\", " RESOURCE, VAULT, NULL},
    {"Bearer authorization=\"https://login.windows.net\", " RESOURCE, VAULT, NULL},
    {"Bearer authorization=\"https://login.windows.net/..%2f\", " RESOURCE, VAULT, NULL},
    {"Bearer authorization=\"https://login.windows.net/../x\", " RESOURCE, VAULT, NULL},
    {"Basic " AUTHORITY ", " RESOURCE, VAULT, NULL},
    {"Bearer", VAULT, NULL},
    {"Bearer =", VAULT, NULL},
    {"Bearer authorization=\"", VAULT, NULL},
    {"", VAULT, NULL},
};

START_TEST(a_challenge_names_tenant_and_resource)
{
    struct azure_challenge challenge;
    const char *fault =
        azure_challenge_read(challenges[_i].header, challenges[_i].vault, &challenge);
    if (challenges[_i].resource == NULL) {
        ck_assert_msg(fault != NULL, "%s", challenges[_i].header);
        return;
    }
    ck_assert_msg(fault == NULL, "%s: %s", challenges[_i].header, fault);
    ck_assert_str_eq(challenge.tenant, TENANT);
    ck_assert_str_eq(challenge.resource, challenges[_i].resource);
}
END_TEST

/* ---- base64url ---- */

static const struct {
    const char *text;
    const char *bytes; /* NULL: refused */
    size_t len;
} codes[] = {
    {"AA", "\0", 1},       {"_-8", "\xff\xef", 2}, {"_-8=", "\xff\xef", 2}, {"/+8=", "\xff\xef", 2},
    {"AAAA", "\0\0\0", 3}, {"", NULL, 0},          {"A", NULL, 0},          {"AAAAA", NULL, 0},
    {"AB", NULL, 0},       {"A A", NULL, 0},       {"AA===", NULL, 0},      {"A=A", NULL, 0},
    {"====", NULL, 0},     {"AAAAAAAA", NULL, 0},
};

START_TEST(base64url_is_decoded)
{
    struct secret bytes = {0};
    CK_RV rv = base64url_decode(view_text(codes[_i].text), 1, 3, &bytes);
    ck_assert_uint_eq(rv, codes[_i].bytes == NULL ? CKR_DATA_INVALID : CKR_OK);
    ck_assert_uint_eq(bytes.len, codes[_i].len);
    if (codes[_i].bytes != NULL)
        ck_assert_int_eq(memcmp(bytes.bytes, codes[_i].bytes, bytes.len), 0);
    secret_clear(&bytes);
}
END_TEST

START_TEST(base64url_goes_there_and_back)
{
    unsigned char bytes[256];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char) (i * 37);
    for (size_t len = 1; len <= sizeof(bytes); len++) {
        struct secret text = {0};
        struct secret back = {0};
        ck_assert_uint_eq(jwt_assertion_base64url((struct view){bytes, len}, &text), CKR_OK);
        ck_assert_uint_eq(base64url_decode((struct view){text.bytes, text.len}, len, len, &back),
                          CKR_OK);
        ck_assert_int_eq(memcmp(back.bytes, bytes, len), 0);
        secret_clear(&text);
        secret_clear(&back);
    }
}
END_TEST

/* ---- wrapped keys ---- */

static const struct azure_wrapped good_gcm = {
    .algorithm = AZURE_A256GCM,
    .name = {(const unsigned char *) "index-keys", 10},
    .version = {(const unsigned char *) "0123abcd", 8},
    .iv = {(const unsigned char *) "0123456789ab", AZURE_IV_LEN},
    .tag = {(const unsigned char *) "0123456789abcdef", AZURE_TAG_LEN},
    .ciphertext = {(const unsigned char *) "ciphertext", 10},
};
static const struct view context = {(const unsigned char *) "context", 7};

static void make_wrapped(struct secret *data_key, struct blob *wrapped)
{
    ck_assert_uint_eq(secret_from("0123456789abcdef0123456789abcdef", 32, data_key), CKR_OK);
    ck_assert_uint_eq(azure_wrapped_write(&good_gcm, data_key, context, wrapped), CKR_OK);
}

START_TEST(a_wrapped_key_goes_there_and_back)
{
    struct secret data_key = {0};
    struct blob bytes = {0};
    struct azure_wrapped wrapped = {.json = NULL};
    make_wrapped(&data_key, &bytes);
    ck_assert_uint_eq(azure_wrapped_read(blob_view(&bytes), AZURE_RSA_OAEP_256, &wrapped), CKR_OK);
    ck_assert_int_eq(wrapped.algorithm, AZURE_A256GCM);
    ck_assert(view_equal(wrapped.name, good_gcm.name));
    ck_assert(view_equal(wrapped.version, good_gcm.version));
    ck_assert(view_equal(wrapped.iv, good_gcm.iv));
    ck_assert(view_equal(wrapped.tag, good_gcm.tag));
    ck_assert(view_equal(wrapped.ciphertext, good_gcm.ciphertext));
    ck_assert_uint_eq(azure_wrapped_verify(&wrapped, &data_key, context), CKR_OK);
    ck_assert_uint_eq(azure_wrapped_verify(&wrapped, &data_key, view_text("other")),
                      CKR_ENCRYPTED_DATA_INVALID);
    ck_assert_uint_eq(azure_wrapped_verify(&wrapped, &data_key, view_text("")),
                      CKR_ENCRYPTED_DATA_INVALID);
    data_key.bytes[31] ^= 1;
    ck_assert_uint_eq(azure_wrapped_verify(&wrapped, &data_key, context),
                      CKR_ENCRYPTED_DATA_INVALID);
    azure_wrapped_clear(&wrapped);
    blob_clear(&bytes);
    secret_clear(&data_key);
}
END_TEST

/* By the bytes as they are written down in docs/formats.md. */
START_TEST(a_wrapped_key_has_the_documented_form)
{
    static const char head[] = "IKAZ\1\0\0\0\7A256GCM\0\0\0\12index-keys\0\0\0\0100123abcd"
                               "\0\0\0\0140123456789ab\0\0\0\0200123456789abcdef"
                               "\0\0\0\12ciphertext";
    struct secret data_key = {0};
    struct blob bytes = {0};
    make_wrapped(&data_key, &bytes);
    ck_assert_uint_eq(bytes.len, sizeof(head) - 1 + 32);
    ck_assert_int_eq(memcmp(bytes.bytes, head, sizeof(head) - 1), 0);
    blob_clear(&bytes);
    secret_clear(&data_key);
}
END_TEST

/* No flipped bit is overlooked, and no prefix is read. */
START_TEST(a_changed_wrapped_key_is_noticed)
{
    struct secret data_key = {0};
    struct blob bytes = {0};
    make_wrapped(&data_key, &bytes);
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        struct azure_wrapped wrapped = {.json = NULL};
        bytes.bytes[bit / 8] ^= (unsigned char) (1 << bit % 8);
        bool opens = azure_wrapped_read(blob_view(&bytes), AZURE_A256GCM, &wrapped) == CKR_OK &&
                     azure_wrapped_verify(&wrapped, &data_key, context) == CKR_OK;
        ck_assert_msg(!opens, "bit %zu", bit);
        azure_wrapped_clear(&wrapped);
        bytes.bytes[bit / 8] ^= (unsigned char) (1 << bit % 8);
    }
    for (size_t len = 0; len < bytes.len; len++) {
        struct azure_wrapped wrapped = {.json = NULL};
        ck_assert_uint_eq(
            azure_wrapped_read((struct view){bytes.bytes, len}, AZURE_A256GCM, &wrapped),
            CKR_DATA_INVALID);
    }
    blob_clear(&bytes);
    secret_clear(&data_key);
}
END_TEST

/* A bare ciphertext may begin as a JSON does. */
START_TEST(a_bare_ciphertext_is_taken_whole)
{
    struct azure_wrapped wrapped = {.json = NULL};
    struct view bytes = view_text("{\"kid no JSON");
    ck_assert_uint_eq(azure_wrapped_read(bytes, AZURE_A256KW, &wrapped), CKR_OK);
    ck_assert(view_equal(wrapped.ciphertext, bytes));
    ck_assert_uint_eq(wrapped.head.len, 0);
    ck_assert_ptr_null(wrapped.key_id);
    azure_wrapped_clear(&wrapped);
    /* It has neither iv nor tag. */
    ck_assert_uint_eq(azure_wrapped_read(bytes, AZURE_A256GCM, &wrapped), CKR_DATA_INVALID);
}
END_TEST

/* ---- forms and certificates ---- */

START_TEST(a_form_is_percent_encoded)
{
    const struct http_form_field fields[] = {
        {"client_secret", view_text("a~B+/ =&%\xff")},
        {"empty", {NULL, 0}},
        {"zero", {(const unsigned char *) "\0", 1}},
    };
    static const char wanted[] = "client_secret=a~B%2B%2F%20%3D%26%25%FF&empty=&zero=%00";
    struct secret form = {0};
    ck_assert_uint_eq(http_form_encode(fields, COUNT_OF(fields), &form), CKR_OK);
    ck_assert_uint_eq(form.len, strlen(wanted));
    ck_assert_int_eq(memcmp(form.bytes, wanted, form.len), 0);
    secret_clear(&form);
}
END_TEST

#define CERTIFICATE_BLOCK "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
#define KEY_BLOCK "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"

static const char *const bad_pems[] = {
    "",
    "-----BEGIN ",
    "-----BEGIN CERTIFICATE",
    "-----BEGIN CERTIFICATE-----",
    CERTIFICATE_BLOCK,
    KEY_BLOCK,
    CERTIFICATE_BLOCK KEY_BLOCK,
    "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n" KEY_BLOCK,
    CERTIFICATE_BLOCK "-----BEGIN PRIVATE KEY-----\nAAAA",
    "-----BEGIN -----END -----",
    "----------------------------------------",
};

START_TEST(a_file_without_certificate_and_key_is_refused)
{
    struct secret assertion = {0};
    ck_assert_uint_eq(
        azure_assertion_make(view_text(bad_pems[_i]), "client", "https://a", &assertion),
        CKR_DATA_INVALID);
    ck_assert_uint_eq(assertion.len, 0);
}
END_TEST

/* ---- who logs in ---- */

/* The rest is in the contract tests, whose fake does not listen at this address. */
START_TEST(a_machine_asks_its_metadata_service)
{
    static char variable[] = AZURE_SECRET_VARIABLE;
    static const char *const others[] = {AZURE_SECRET_VARIABLE,
                                         "AZURE_CLIENT_ID",
                                         "AZURE_CLIENT_CERTIFICATE_PATH",
                                         "AZURE_FEDERATED_TOKEN_FILE",
                                         "IDENTITY_ENDPOINT",
                                         "IDENTITY_HEADER",
                                         "AZURE_POD_IDENTITY_AUTHORITY_HOST"};
    const struct azure_identity identity = {.secret_variable = variable};
    const struct azure_challenge challenge = {TENANT, "https://vault.azure.net"};
    const struct source_call call = {.deadline_ms = 0};
    struct azure_proof proof = {.url = NULL};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        ck_assert_int_eq(unsetenv(others[i]), 0);
    ck_assert_uint_eq(azure_identity_prove("vectors", &identity, &call, &challenge, &proof),
                      CKR_OK);
    ck_assert_int_eq(proof.way, AZURE_BY_IMDS);
    ck_assert_str_eq(proof.url, "http://169.254.169.254/metadata/identity/oauth2/token");
    ck_assert_ptr_null(proof.client);
    azure_proof_clear(&proof);
}
END_TEST

START_TEST(entra_id_is_microsofts_by_default)
{
    static char variable[] = AZURE_SECRET_VARIABLE;
    static char client[] = "c";
    const struct azure_identity identity = {.secret_variable = variable, .client = client};
    const struct azure_challenge challenge = {TENANT, "https://vault.azure.net"};
    const struct source_call call = {.credential = view_text("pin")};
    struct azure_proof proof = {.url = NULL};
    ck_assert_int_eq(unsetenv("AZURE_AUTHORITY_HOST"), 0);
    ck_assert_int_eq(unsetenv("AZURE_TENANT_ID"), 0);
    ck_assert_uint_eq(azure_identity_prove("vectors", &identity, &call, &challenge, &proof),
                      CKR_OK);
    ck_assert_str_eq(proof.url, "https://login.microsoftonline.com/" TENANT "/oauth2/v2.0/token");
    ck_assert_uint_eq(proof.secret.len, 3);
    azure_proof_clear(&proof);
    ck_assert_int_eq(setenv("AZURE_AUTHORITY_HOST", "https://login.chinacloudapi.cn/", 1), 0);
    ck_assert_int_eq(setenv("AZURE_TENANT_ID", "contoso.example", 1), 0);
    ck_assert_uint_eq(azure_identity_prove("vectors", &identity, &call, &challenge, &proof),
                      CKR_OK);
    ck_assert_str_eq(proof.url, "https://login.chinacloudapi.cn/contoso.example/oauth2/v2.0/token");
    azure_proof_clear(&proof);
    ck_assert_int_eq(setenv("AZURE_AUTHORITY_HOST", "http://login.example", 1), 0);
    ck_assert_uint_eq(azure_identity_prove("vectors", &identity, &call, &challenge, &proof),
                      CKR_FUNCTION_FAILED);
    ck_assert_int_eq(setenv("AZURE_AUTHORITY_HOST", "", 1), 0);
    ck_assert_int_eq(setenv("AZURE_TENANT_ID", "../x", 1), 0);
    ck_assert_uint_eq(azure_identity_prove("vectors", &identity, &call, &challenge, &proof),
                      CKR_FUNCTION_FAILED);
    ck_assert_int_eq(unsetenv("AZURE_TENANT_ID"), 0);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("azure");
    tcase_add_loop_test(cases, a_key_id_is_of_its_vault, 0, (int) COUNT_OF(key_ids));
    tcase_add_test(cases, names_are_what_azure_takes);
    tcase_add_loop_test(cases, a_challenge_names_tenant_and_resource, 0,
                        (int) COUNT_OF(challenges));
    tcase_add_loop_test(cases, base64url_is_decoded, 0, (int) COUNT_OF(codes));
    tcase_add_test(cases, base64url_goes_there_and_back);
    tcase_add_test(cases, a_wrapped_key_goes_there_and_back);
    tcase_add_test(cases, a_wrapped_key_has_the_documented_form);
    tcase_add_test(cases, a_changed_wrapped_key_is_noticed);
    tcase_add_test(cases, a_bare_ciphertext_is_taken_whole);
    tcase_add_test(cases, a_form_is_percent_encoded);
    tcase_add_loop_test(cases, a_file_without_certificate_and_key_is_refused, 0,
                        (int) COUNT_OF(bad_pems));
    tcase_add_test(cases, a_machine_asks_its_metadata_service);
    tcase_add_test(cases, entra_id_is_microsofts_by_default);
    return fixture_run("azure", cases);
}
