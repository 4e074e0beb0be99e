/*
 * Index keys that go to another module, SoftHSM, as `indexkey provision` moves them: the subkeys,
 * wrapped to its RSA key; and the example, which reads there what it wrote here. This module is
 * part of the program. SOFTHSM_MODULE and SOFTHSM2_CONF lead to SoftHSM's token (on_softhsm.sh).
 */
#include <check.h>
#include <dlfcn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/rv.h"
#include "module/admin_export.h"
#include "tests/examples/vector_index_driver.h"
#include "tests/support/api_fixture.h"
#include "tests/support/approval_fixture.h"
#include "tools/migrate.h"
#include "tools/provision.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SOFTHSM_PIN "123456"
#define SOFTHSM_LABEL "vectors "
#define RSA_LABEL "import"
#define FINGERPRINT_TEXT_LEN 65

/* Past the wrap that leads api_fixture.c to the module in this program. */
void *__real_dlopen(const char *path, int flags);
void *__real_dlsym(void *library, const char *name);

static struct api api;
static const CK_FUNCTION_LIST *softhsm;
static CK_SESSION_HANDLE softhsm_session;
static CK_OBJECT_HANDLE rsa_keys[2];
static char fingerprint[FINGERPRINT_TEXT_LEN];

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

/* ---- SoftHSM ---- */

static CK_SLOT_ID softhsm_slot(void)
{
    CK_SLOT_ID slots[8];
    CK_ULONG count = COUNT(slots);
    CK_TOKEN_INFO info;

    OK(softhsm->C_GetSlotList(CK_TRUE, slots, &count));
    for (CK_ULONG i = 0; i < count; i++) {
        OK(softhsm->C_GetTokenInfo(slots[i], &info));
        if (memcmp(info.label, SOFTHSM_LABEL, strlen(SOFTHSM_LABEL)) == 0)
            return slots[i];
    }
    ck_abort_msg("SoftHSM has no token " SOFTHSM_LABEL);
    return 0;
}

static void make_rsa(void)
{
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ULONG bits = 2048;
    CK_BYTE exponent[] = {1, 0, 1};
    CK_ATTRIBUTE public[] = {
        {CKA_TOKEN, &no, 1},
        {CKA_LABEL, RSA_LABEL, strlen(RSA_LABEL)},
        {CKA_MODULUS_BITS, &bits, sizeof(bits)},
        {CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent)},
    };
    CK_ATTRIBUTE private[] = {
        {CKA_TOKEN, &no, 1},      {CKA_PRIVATE, &yes, 1},
        {CKA_SENSITIVE, &yes, 1}, {CKA_LABEL, RSA_LABEL, strlen(RSA_LABEL)},
        {CKA_UNWRAP, &yes, 1},
    };

    OK(softhsm->C_GenerateKeyPair(softhsm_session, &mechanism, public, COUNT(public), private,
                                  COUNT(private), &rsa_keys[0], &rsa_keys[1]));
}

/* By OpenSSL's own DER. */
static void take_fingerprint(void)
{
    CK_BYTE modulus[512];
    CK_BYTE digest[32];
    CK_ATTRIBUTE attribute = {CKA_MODULUS, modulus, sizeof(modulus)};
    unsigned char *der = NULL;
    EVP_PKEY *key = NULL;

    OK(softhsm->C_GetAttributeValue(softhsm_session, rsa_keys[0], &attribute, 1));
    BIGNUM *n = BN_bin2bn(modulus, (int) attribute.ulValueLen, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    ck_assert_int_eq(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n), 1);
    ck_assert_int_eq(OSSL_PARAM_BLD_push_ulong(builder, OSSL_PKEY_PARAM_RSA_E, 65537), 1);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    ck_assert_int_eq(EVP_PKEY_fromdata_init(context), 1);
    ck_assert_int_eq(EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
    int len = i2d_PUBKEY(key, &der);
    ck_assert_int_gt(len, 0);
    ck_assert_int_eq(EVP_Digest(der, (size_t) len, digest, NULL, EVP_sha256(), NULL), 1);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(fingerprint + 2 * i, 3, "%02x", digest[i]);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    BN_free(n);
}

static void open_softhsm(void)
{
    const char *path = getenv("SOFTHSM_MODULE");
    CK_FUNCTION_LIST *functions;

    ck_assert_msg(path != NULL, "SOFTHSM_MODULE must name SoftHSM's library");
    void *library = __real_dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
    CK_C_GetFunctionList get = (CK_C_GetFunctionList) __real_dlsym(library, "C_GetFunctionList");
    ck_assert_ptr_nonnull(get);
    OK(get(&functions));
    softhsm = functions;
    OK(softhsm->C_Initialize(NULL));
    OK(softhsm->C_OpenSession(softhsm_slot(), CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                              &softhsm_session));
    OK(softhsm->C_Login(softhsm_session, CKU_USER, (CK_UTF8CHAR *) SOFTHSM_PIN,
                        strlen(SOFTHSM_PIN)));
    make_rsa();
    take_fingerprint();
}

static void close_softhsm(void)
{
    OK(softhsm->C_Finalize(NULL));
}

static CK_OBJECT_HANDLE softhsm_find(const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;

    OK(softhsm->C_FindObjectsInit(softhsm_session, &template, 1));
    OK(softhsm->C_FindObjects(softhsm_session, found, 2, &count));
    OK(softhsm->C_FindObjectsFinal(softhsm_session));
    ck_assert_uint_le(count, 1);
    return count == 0 ? CK_INVALID_HANDLE : found[0];
}

/* ---- jobs ---- */

/* A token whose migrate_to is this text (NULL: it is not set), with an index key of that label. */
static void open_token(const char *migrate_to, const char *more, const char *label)
{
    char lines[1024] = "";

    if (migrate_to != NULL)
        snprintf(lines, sizeof(lines), "migrate_to = sha256:%s\n%s", migrate_to, more);
    api_open(&api, NULL, lines);
    (void) api_make_index_key(&api, label, 0x42);
}

static struct provision_job job_for(const char *label)
{
    return (struct provision_job){
        /* The first members of the 3.2 table are the 2.40 table. */
        .from = {"this token", (const CK_FUNCTION_LIST *) api.p11, api.session},
        .to = {"SoftHSM", softhsm, softhsm_session},
        .label = label,
        .rsa_label = RSA_LABEL,
    };
}

static void expect_log(const char *words)
{
    char *log = api_log(&api);

    ck_assert_msg(strstr(log, words) != NULL, "no '%s' in the log:\n%s", words, log);
    free(log);
}

static void expect_nothing_there(const char *label)
{
    char text[64];

    for (int purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++) {
        snprintf(text, sizeof(text), "%s/%s", label,
                 indexkey_purpose_name((enum indexkey_purpose) purpose));
        ck_assert_uint_eq(softhsm_find(text), CK_INVALID_HANDLE);
    }
}

START_TEST(subkeys_move)
{
    static const char *const labels[] = {"moves/token", "moves/centroid", "moves/payload",
                                         "moves/item", "moves/query"};

    open_token(fingerprint, "", "moves");
    struct provision_job job = job_for("moves");
    OK(provision_transfer(&job));
    OK(provision_check(&job));
    for (size_t i = 0; i < COUNT(labels); i++) {
        CK_BBOOL sensitive = CK_FALSE;
        CK_BBOOL extractable = CK_TRUE;
        CK_BBOOL token = CK_FALSE;
        CK_BYTE id[8];
        CK_ATTRIBUTE template[] = {
            {CKA_SENSITIVE, &sensitive, 1},
            {CKA_EXTRACTABLE, &extractable, 1},
            {CKA_TOKEN, &token, 1},
            {CKA_ID, id, sizeof(id)},
        };
        OK(softhsm->C_GetAttributeValue(softhsm_session, softhsm_find(labels[i]), template,
                                        COUNT(template)));
        ck_assert(sensitive && !extractable && token);
        ck_assert_uint_eq(template[3].ulValueLen, 2);
        ck_assert_uint_eq(id[0], 0x42);
        ck_assert_uint_eq(id[1], i + 1);
    }
    expect_log("the subkeys of an index key were wrapped");
    /* What is there is not written over. */
    EXPECT(CKR_FUNCTION_REJECTED, provision_transfer(&job));
    api_close(&api);
}
END_TEST

/* The check tells another key of the same name. */
START_TEST(another_key_is_noticed)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, 1},   {CKA_LABEL, "differs/item", 12}, {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_ENCRYPT, &yes, 1}, {CKA_DECRYPT, &yes, 1},
    };
    CK_OBJECT_HANDLE other;

    open_token(fingerprint, "", "differs");
    struct provision_job job = job_for("differs");
    OK(provision_transfer(&job));
    OK(provision_check(&job));
    OK(softhsm->C_DestroyObject(softhsm_session, softhsm_find("differs/item")));
    EXPECT(CKR_OBJECT_HANDLE_INVALID, provision_check(&job));
    OK(softhsm->C_GenerateKey(softhsm_session, &mechanism, template, COUNT(template), &other));
    EXPECT(CKR_FUNCTION_FAILED, provision_check(&job));
    expect_log("'differs/item' on the other module is not the key that it is here");
    api_close(&api);
}
END_TEST

START_TEST(only_the_pinned_key_gets_them)
{
    static const char other_pin[] =
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    open_token(NULL, "", "stays");
    struct provision_job job = job_for("stays");
    EXPECT(CKR_KEY_UNEXTRACTABLE, provision_transfer(&job));
    expect_log("keys-migrate-to-a-pinned-key");
    api_close(&api);
    open_token(other_pin, "", "stays");
    job = job_for("stays");
    EXPECT(CKR_KEY_UNEXTRACTABLE, provision_transfer(&job));
    expect_log("fingerprint of another RSA key");
    expect_nothing_there("stays");
    api_close(&api);
}
END_TEST

START_TEST(only_index_keys_leave)
{
    struct admin_exported exported;
    CK_BYTE modulus[256] = {0x80, [255] = 1};
    CK_BYTE exponent[] = {1, 0, 1};
    const struct admin_export request = {
        .to = {{modulus, sizeof(modulus)}, {exponent, sizeof(exponent)}},
        .hash = "SHA256",
    };

    open_token(fingerprint, "", "idx");
    CK_OBJECT_HANDLE aes = api_make_aes_key(&api, true, "aes");
    EXPECT(CKR_KEY_HANDLE_INVALID, admin_key_export(api.session, aes, &request, &exported));
    EXPECT(CKR_KEY_HANDLE_INVALID,
           admin_key_export(api.session, api_find(&api, "idx/item"), &request, &exported));
    EXPECT(CKR_KEY_HANDLE_INVALID, admin_key_export(api.session, 12345, &request, &exported));
    EXPECT(CKR_KEY_UNEXTRACTABLE,
           admin_key_export(api.session, api_find(&api, "idx"), &request, &exported));
    OK(api.p11->C_Logout(api.session));
    EXPECT(CKR_KEY_HANDLE_INVALID, admin_key_export(api.session, aes, &request, &exported));
    api_close(&api);
}
END_TEST

/* SoftHSM cannot derive. */
START_TEST(an_index_key_goes_where_it_derives)
{
    open_token(fingerprint, "", "whole");
    struct provision_job job = job_for("whole");
    EXPECT(CKR_MECHANISM_INVALID, migrate_transfer(&job));
    ck_assert_uint_eq(softhsm_find("whole"), CK_INVALID_HANDLE);
    expect_log("SoftHSM has no CKM_SP800_108_COUNTER_KDF");
    api_close(&api);
}
END_TEST

START_TEST(purposes_that_are_not_allowed_stay)
{
    struct admin_exported exported;
    CK_BYTE exponent[] = {1, 0, 1};
    CK_BYTE modulus[512];
    CK_ATTRIBUTE attribute = {CKA_MODULUS, modulus, sizeof(modulus)};

    open_token(fingerprint, "allowed_purposes = token query\n", "few");
    struct provision_job job = job_for("few");
    OK(provision_transfer(&job));
    OK(provision_check(&job));
    ck_assert_uint_ne(softhsm_find("few/query"), CK_INVALID_HANDLE);
    ck_assert_uint_eq(softhsm_find("few/payload"), CK_INVALID_HANDLE);
    OK(softhsm->C_GetAttributeValue(softhsm_session, rsa_keys[0], &attribute, 1));
    const struct admin_export request = {
        .form = ADMIN_EXPORT_INDEX_KEY,
        .to = {{modulus, attribute.ulValueLen}, {exponent, sizeof(exponent)}},
        .hash = "SHA1",
    };
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED,
           admin_key_export(api.session, api_find(&api, "few"), &request, &exported));
    api_close(&api);
}
END_TEST

/* What the last refusal in the log says has to be signed. */
static void wanted(const char *name, char *ret_text, size_t digits)
{
    char *log = api_log(&api);
    const char *last = NULL;

    for (const char *at = log; (at = strstr(at, name)) != NULL; at++)
        last = at;
    ck_assert_ptr_nonnull(last);
    memcpy(ret_text, last + strlen(name), digits);
    ret_text[digits] = '\0';
    free(log);
}

START_TEST(leaving_takes_two)
{
    char people[512] = "";
    char lines[256];
    char document[APPROVAL_TEXT_MAX];
    char serial[17];
    char object[65];

    driver_make_folder();
    approval_add_person(1, "Alice", people, sizeof(people));
    driver_write_file(driver_path("people.pem"), people, strlen(people));
    snprintf(lines, sizeof(lines), "two_person = export\napprovers = file:%s\n",
             driver_path("people.pem"));
    open_token(fingerprint, lines, "guarded");
    struct provision_job job = job_for("guarded");
    EXPECT(CKR_ACTION_PROHIBITED, provision_transfer(&job));
    expect_nothing_there("guarded");
    wanted("sign 'token ", serial, 16);
    wanted("'object ", object, 64);
    struct approval_text text = {serial, "export", object, 1, time(NULL) + 60};
    size_t len = approval_sign(1, &text, document);
    job.approvals = (struct view){(const unsigned char *) document, len};
    OK(provision_transfer(&job));
    OK(provision_check(&job));
    expect_log("export approved by Alice");
    api_close(&api);
    driver_remove_folder();
}
END_TEST

/* ---- the example ---- */

static void use_module(const char *path, const char *token, const char *pin)
{
    driver_write_file(driver_path("pin"), pin, strlen(pin));
    ck_assert_int_eq(chmod(driver_path("pin"), 0600), 0);
    ck_assert_int_eq(setenv("VECTOR_INDEX_MODULE", path, 1), 0);
    ck_assert_int_eq(setenv("VECTOR_INDEX_TOKEN", token, 1), 0);
    ck_assert_int_eq(setenv("VECTOR_INDEX_PIN_FILE", driver_path("pin"), 1), 0);
    ck_assert_int_eq(setenv("VECTOR_INDEX_NAME", "packages", 1), 0);
}

static struct driver_result search(void)
{
    return driver_run("search", "--db", driver_path("index.db"), "--query",
                      driver_package_path("queries.fvecs"), "--query-text",
                      driver_package_path("queries.tsv"), "--probe", "all", "--tsv", NULL);
}

START_TEST(the_example_reads_there_what_it_wrote_here)
{
    char *expected = driver_read_file(driver_package_path("expected-top10.tsv"), NULL);

    driver_make_folder();
    open_token(fingerprint, "", "packages");
    use_module(getenv("INDEXKEY_MODULE"), "test", API_USER_PIN "\n");
    driver_build(driver_path("index.db"), driver_package_path("packages.fvecs"),
                 driver_package_path("packages.tsv"));
    use_module(getenv("SOFTHSM_MODULE"), "vectors", SOFTHSM_PIN "\n");
    struct driver_result before = search();
    ck_assert_int_ne(before.status, 0); /* the keys are not there yet */
    driver_result_clear(&before);
    struct provision_job job = job_for("packages");
    OK(provision_transfer(&job));
    OK(provision_check(&job));
    struct driver_result after = search();
    ck_assert_msg(after.status == 0, "exit %d: %s", after.status, after.err);
    ck_assert_str_eq(after.out, expected);
    driver_result_clear(&after);
    free(expected);
    api_close(&api);
    driver_remove_folder();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("provision");
    TCase *cases = tcase_create("provision");

    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, open_softhsm, close_softhsm);
    tcase_add_test(cases, subkeys_move);
    tcase_add_test(cases, another_key_is_noticed);
    tcase_add_test(cases, only_the_pinned_key_gets_them);
    tcase_add_test(cases, only_index_keys_leave);
    tcase_add_test(cases, an_index_key_goes_where_it_derives);
    tcase_add_test(cases, purposes_that_are_not_allowed_stay);
    tcase_add_test(cases, leaving_takes_two);
    tcase_add_test(cases, the_example_reads_there_what_it_wrote_here);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
