/*
 * Direct keys through C_* functions: the objects and their subkeys, what may not be done to them,
 * and how they come and go. Ciphertexts are made here, by docs/formats.md, with OpenSSL alone.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ROOT_LABEL "indexkey/1/root/wrap"

static const CK_BYTE value[32] = {0x10, 0x21, 0x32, 0x43, 0x54, 0x65, 0x76, 0x87, 0x98, 0xa9, 0xba,
                                  0xcb, 0xdc, 0xed, 0xfe, 0x0f, 0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5,
                                  0x96, 0x87, 0x78, 0x69, 0x5a, 0x4b, 0x3c, 0x2d, 0x1e, 0x0f};
static const CK_BYTE other_value[32] = "another value of exactly 32 byte";

/* ---- ciphertexts ---- */

static void hkdf(const CK_BYTE root[32], const char *info, CK_BYTE *out, size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *) "SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *) root, 32),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *) info, strlen(info)),
        OSSL_PARAM_construct_end(),
    };

    ck_assert_int_eq(EVP_KDF_derive(context, out, len, params), 1);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
}

/* What `source = file` unwraps, in base64, without a context. The root key is the fixture's. */
static void wrap(const CK_BYTE *key, size_t len, char *ret_text)
{
    CK_BYTE root[32];
    CK_BYTE wrapping[32];
    CK_BYTE aad[64] = {0, 0, 0, sizeof(ROOT_LABEL) - 1};
    CK_BYTE blob[128] = {1};
    size_t aad_len = 4 + strlen(ROOT_LABEL) + 1 + 4;
    CK_BYTE *iv = blob + 9;
    int written;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

    for (size_t i = 0; i < sizeof(root); i++)
        root[i] = (CK_BYTE) (i + 1);
    hkdf(root, "indexkey/1/root/id", blob + 1, 8);
    hkdf(root, ROOT_LABEL, wrapping, sizeof(wrapping));
    memcpy(aad + 4, ROOT_LABEL, strlen(ROOT_LABEL));
    aad[4 + strlen(ROOT_LABEL)] = 1;
    memset(iv, 0x5a, 12);
    ck_assert_int_eq(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, wrapping, iv), 1);
    ck_assert_int_eq(EVP_EncryptUpdate(context, NULL, &written, aad, (int) aad_len), 1);
    ck_assert_int_eq(EVP_EncryptUpdate(context, iv + 12, &written, key, (int) len), 1);
    ck_assert_int_eq(EVP_EncryptFinal_ex(context, iv + 12 + len, &written), 1);
    ck_assert_int_eq(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, iv + 12 + len), 1);
    EVP_CIPHER_CTX_free(context);
    EVP_EncodeBlock((unsigned char *) ret_text, blob, (int) (9 + 12 + len + 16));
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

/* ---- what they are ---- */

static const char *const purposes[] = {"token", "centroid", "payload", "item", "query"};

/* What the subkey makes of a message: HMAC-SHA-256, or AES-256-GCM. */
static void use(struct api *api, const char *parent, size_t purpose, CK_BYTE ret_out[64])
{
    CK_BYTE message[] = "a message";
    CK_BYTE iv[12] = "a fixed iv..";
    CK_GCM_PARAMS gcm = {iv, sizeof(iv), 96, NULL, 0, 128};
    CK_MECHANISM sign = {CKM_SHA3_256_HMAC, NULL, 0};
    CK_MECHANISM encrypt = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    CK_ULONG len = 64;
    char label[64];

    snprintf(label, sizeof(label), "%s/%s", parent, purposes[purpose]);
    CK_OBJECT_HANDLE key = api_find(api, label);
    memset(ret_out, 0, 64);
    if (purpose == 2 || purpose == 3) {
        OK(api->p11->C_EncryptInit(api->session, &encrypt, key));
        OK(api->p11->C_Encrypt(api->session, message, sizeof(message), ret_out, &len));
    } else {
        OK(api->p11->C_SignInit(api->session, &sign, key));
        OK(api->p11->C_Sign(api->session, message, sizeof(message), ret_out, &len));
    }
}

static void expect_same_subkeys(struct api *api, const char *a, const char *b)
{
    for (size_t i = 0; i < COUNT(purposes); i++) {
        CK_BYTE of_a[64];
        CK_BYTE of_b[64];
        use(api, a, i, of_a);
        use(api, b, i, of_b);
        ck_assert_msg(memcmp(of_a, of_b, 64) == 0, "%s and %s: %s", a, b, purposes[i]);
    }
}

/* Three keys with one value (inline, variable, file), a bad one and an AES key. */
static void open_five(struct api *api)
{
    char text[256];
    char aes[256];
    char lines[2048];
    char path[64];

    wrap(value, sizeof(value), text);
    wrap(other_value, sizeof(other_value), aes);
    snprintf(path, sizeof(path), "/tmp/indexkey-direct-%ld", (long) getpid());
    write_text(path, text);
    ck_assert_int_eq(setenv("DIRECT_KEY", text, 1), 0);
    snprintf(lines, sizeof(lines),
             "[key inline]\ntoken = test\nciphertext = base64:%s\nid = 0a0b\n"
             "[key variable]\ntoken = test\nciphertext = env:DIRECT_KEY\n"
             "[key file]\ntoken = test\nciphertext = file:%s\n"
             "[key bad]\ntoken = test\nciphertext = base64:AAAA\n"
             "[key cipher]\ntoken = test\nciphertext = base64:%s\ntype = aes\n",
             text, path, aes);
    api_open(api, NULL, lines);
    ck_assert_int_eq(unlink(path), 0);
}

START_TEST(they_are_index_keys_with_the_subkeys_of_the_imported_one)
{
    struct api api;

    open_five(&api);
    api_import_index_key(&api, "imported", value);
    expect_same_subkeys(&api, "inline", "imported");
    expect_same_subkeys(&api, "variable", "imported");
    expect_same_subkeys(&api, "file", "imported");
    CK_ATTRIBUTE bad = {CKA_LABEL, "bad", 3};
    ck_assert_uint_eq(api_count(&api, &bad, 1), 0);
    char *log = api_log(&api);
    const char *line = strstr(log, "error: ");
    ck_assert_ptr_nonnull(line);
    ck_assert_ptr_nonnull(strstr(line, "[key bad] is not shown"));
    ck_assert_ptr_null(strstr(line + 1, "error: "));
    free(log);
    api_close(&api);
}
END_TEST

static const struct {
    CK_ATTRIBUTE_TYPE type;
    CK_BBOOL wanted;
} booleans[] = {
    {CKA_TOKEN, CK_TRUE},
    {CKA_PRIVATE, CK_TRUE},
    {CKA_SENSITIVE, CK_TRUE},
    {CKA_EXTRACTABLE, CK_FALSE},
    {CKA_MODIFIABLE, CK_FALSE},
    {CKA_COPYABLE, CK_FALSE},
    {CKA_DESTROYABLE, CK_FALSE},
    {CKA_LOCAL, CK_FALSE},
    {CKA_ALWAYS_SENSITIVE, CK_FALSE},
    {CKA_NEVER_EXTRACTABLE, CK_FALSE},
    {CKA_DERIVE, CK_TRUE},
    {CKA_SIGN, CK_FALSE},
    {CKA_ENCRYPT, CK_FALSE},
    {CKA_WRAP, CK_FALSE},
};

START_TEST(nobody_can_read_or_change_one)
{
    struct api api;
    CK_BYTE bytes[64];
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE label = {CKA_LABEL, "new", 3};
    CK_ATTRIBUTE session = {CKA_TOKEN, &no, sizeof(no)};
    CK_ATTRIBUTE secret = {CKA_VALUE, bytes, sizeof(bytes)};
    CK_ATTRIBUTE id = {CKA_ID, bytes, sizeof(bytes)};
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    CK_OBJECT_HANDLE copy;

    open_five(&api);
    CK_OBJECT_HANDLE key = api_find(&api, "inline");
    for (size_t i = 0; i < COUNT(booleans); i++) {
        CK_BBOOL got = 2;
        CK_ATTRIBUTE attribute = {booleans[i].type, &got, sizeof(got)};
        OK(api.p11->C_GetAttributeValue(api.session, key, &attribute, 1));
        ck_assert_msg(got == booleans[i].wanted, "0x%lx", booleans[i].type);
    }
    EXPECT(CKR_ATTRIBUTE_SENSITIVE, api.p11->C_GetAttributeValue(api.session, key, &secret, 1));
    OK(api.p11->C_GetAttributeValue(api.session, key, &id, 1));
    ck_assert_uint_eq(id.ulValueLen, 2);
    ck_assert_int_eq(memcmp(bytes, "\x0a\x0b", 2), 0);
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_SetAttributeValue(api.session, key, &label, 1));
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, key));
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_CopyObject(api.session, key, &session, 1, &copy));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, api.p11->C_SignInit(api.session, &hmac, key));
    api_close(&api);
}
END_TEST

START_TEST(an_aes_key_encrypts_by_gcm_and_nothing_else)
{
    struct api api;
    CK_BYTE iv[12] = {0};
    CK_BYTE out[64];
    CK_BYTE wanted[64];
    CK_ULONG len = sizeof(out);
    int written;
    CK_GCM_PARAMS gcm = {iv, sizeof(iv), 96, NULL, 0, 128};
    CK_MECHANISM encrypt = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

    open_five(&api);
    CK_OBJECT_HANDLE key = api_find(&api, "cipher");
    OK(api.p11->C_EncryptInit(api.session, &encrypt, key));
    OK(api.p11->C_Encrypt(api.session, (CK_BYTE *) "message", 7, out, &len));
    ck_assert_int_eq(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, other_value, iv), 1);
    ck_assert_int_eq(EVP_EncryptUpdate(context, wanted, &written, (CK_BYTE *) "message", 7), 1);
    EVP_CIPHER_CTX_free(context);
    ck_assert_int_eq(memcmp(out, wanted, 7), 0);
    EXPECT(CKR_MECHANISM_INVALID, api.p11->C_EncryptInit(api.session, &ecb, key));
    api_close(&api);
}
END_TEST

/* ---- how they come and go ---- */

static void unique_id(struct api *api, const char *label, CK_BYTE ret_id[64])
{
    CK_ATTRIBUTE attribute = {CKA_UNIQUE_ID, ret_id, 64};

    memset(ret_id, 0, 64);
    OK(api->p11->C_GetAttributeValue(api->session, api_find(api, label), &attribute, 1));
}

START_TEST(they_go_at_logout_and_come_back_the_same)
{
    struct api api;
    CK_BYTE before[64];
    CK_BYTE after[64];
    CK_BYTE other[64];
    CK_ATTRIBUTE label = {CKA_LABEL, "file", 4};
    CK_C_INITIALIZE_ARGS no_threads = {.flags =
                                           CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS};

    open_five(&api);
    unique_id(&api, "variable", before);
    unique_id(&api, "inline", other);
    ck_assert_int_ne(memcmp(before, other, 64), 0);
    CK_OBJECT_HANDLE key = api_find(&api, "variable");
    OK(api.p11->C_Logout(api.session));
    EXPECT(CKR_OBJECT_HANDLE_INVALID, api.p11->C_GetAttributeValue(api.session, key, &label, 1));
    OK(api.p11->C_Login(api.session, CKU_USER, (CK_UTF8CHAR *) API_USER_PIN, strlen(API_USER_PIN)));
    unique_id(&api, "variable", after);
    ck_assert_int_eq(memcmp(before, after, 64), 0);
    /* Its file is gone since the first login. */
    ck_assert_uint_eq(api_count(&api, &label, 1), 0);
    OK(api.p11->C_Finalize(NULL));
    OK(api.p11->C_Initialize(&no_threads));
    api_login(&api);
    unique_id(&api, "variable", after);
    ck_assert_int_eq(memcmp(before, after, 64), 0);
    api_close(&api);
}
END_TEST

/* Another process creates a key: what this one then loads from the store has no direct keys in it.
 */
static void create_elsewhere(struct api *api)
{
    int status = 0;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        bool done = api->p11->C_Initialize(NULL) == CKR_OK;
        if (done) {
            api_login(api);
            api_make_index_key(api, "elsewhere", 7);
        }
        _exit(done ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

START_TEST(they_survive_a_change_of_the_store)
{
    struct api api;

    open_five(&api);
    CK_OBJECT_HANDLE key = api_find(&api, "inline");
    create_elsewhere(&api);
    pause_ms(120);
    api_find(&api, "elsewhere");
    ck_assert_uint_eq(api_find(&api, "inline"), key);
    api_close(&api);
}
END_TEST

START_TEST(a_label_that_is_taken_is_warned_of)
{
    struct api api;
    CK_ATTRIBUTE label = {CKA_LABEL, "variable", 8};

    open_five(&api);
    api_make_index_key(&api, "variable", 7);
    api_restart(&api);
    ck_assert_uint_eq(api_count(&api, &label, 1), 2);
    char *log = api_log(&api);
    ck_assert_ptr_nonnull(strstr(log, "a stored object has the label 'variable' of a direct key"));
    free(log);
    api_close(&api);
}
END_TEST

/* The file of one key is changed under a lease of a second: to a ciphertext that does not open, or
 * to another key's. */
START_TEST(a_key_that_is_refused_at_its_lease_goes_alone)
{
    struct api api;
    CK_BYTE out[64];
    CK_BYTE same[64];
    CK_BYTE message[] = "a message";
    CK_MECHANISM sign = {CKM_SHA256_HMAC, NULL, 0};
    CK_ATTRIBUTE label = {CKA_LABEL, "going", 5};
    char text[256];
    char lines[1024];
    char path[64];
    bool is_replaced = _i == 1;

    wrap(value, sizeof(value), text);
    snprintf(path, sizeof(path), "/tmp/indexkey-direct-%ld", (long) getpid());
    write_text(path, text);
    snprintf(lines, sizeof(lines),
             "lease = 1s\n[key going]\ntoken = test\nciphertext = file:%s\n"
             "[key staying]\ntoken = test\nciphertext = base64:%s\n",
             path, text);
    api_open(&api, NULL, lines);
    use(&api, "going", 4, out);
    CK_OBJECT_HANDLE key = api_find(&api, "going");
    OK(api.p11->C_SignInit(api.session, &sign, api_find(&api, "going/query")));
    OK(api.p11->C_SignUpdate(api.session, message, sizeof(message)));
    if (is_replaced)
        wrap(other_value, sizeof(other_value), text);
    else
        memset(text, 'B', 40);
    write_text(path, text);
    pause_ms(1200);
    CK_ULONG len = sizeof(out);
    EXPECT(CKR_OPERATION_NOT_INITIALIZED,
           api.p11->C_SignUpdate(api.session, message, sizeof(message)));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_SignFinal(api.session, out, &len));
    ck_assert_uint_eq(api_count(&api, &label, 1), is_replaced ? 1 : 0);
    api_find(&api, "staying");
    if (is_replaced) {
        ck_assert_uint_eq(api_find(&api, "going"), key);
        use(&api, "going", 4, same);
        ck_assert_int_ne(memcmp(out, same, 32), 0);
        api_import_index_key(&api, "imported", other_value);
        expect_same_subkeys(&api, "going", "imported");
    }
    ck_assert_int_eq(unlink(path), 0);
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api_direct_keys");
    TCase *cases = tcase_create("api_direct_keys");

    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, they_are_index_keys_with_the_subkeys_of_the_imported_one);
    tcase_add_test(cases, nobody_can_read_or_change_one);
    tcase_add_test(cases, an_aes_key_encrypts_by_gcm_and_nothing_else);
    tcase_add_test(cases, they_go_at_logout_and_come_back_the_same);
    tcase_add_test(cases, they_survive_a_change_of_the_store);
    tcase_add_test(cases, a_label_that_is_taken_is_warned_of);
    tcase_add_loop_test(cases, a_key_that_is_refused_at_its_lease_goes_alone, 0, 2);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
