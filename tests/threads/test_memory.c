/*
 * Shortage of memory: for each act the first allocation fails, then the second, and so on, until
 * none is left to fail. Every failure says CKR_HOST_MEMORY and leaves things as they were, and
 * nothing leaks.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "include/indexkey.h"
#include "tests/support/api_fixture.h"

#define ALLOCATIONS_MAX 3000

static struct api api;
static CK_OBJECT_HANDLE made;    /* by the act */
static CK_OBJECT_HANDLE subject; /* an AES key of the session */
static CK_OBJECT_HANDLE index_key;
static CK_OBJECT_HANDLE payload_key;
static CK_OBJECT_HANDLE token_key;

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

static CK_RV initialize(void)
{
    return api.p11->C_Initialize(NULL);
}

static void finalize(void)
{
    OK(api.p11->C_Finalize(NULL));
}

static CK_RV init_token(void)
{
    CK_UTF8CHAR label[33] = "test                            ";

    return api.p11->C_InitToken(api.slot, (CK_UTF8CHAR *) API_SO_PIN, strlen(API_SO_PIN), label);
}

static CK_RV log_in(void)
{
    return api.p11->C_Login(api.session, CKU_USER, (CK_UTF8CHAR *) API_USER_PIN,
                            strlen(API_USER_PIN));
}

static void log_out(void)
{
    OK(api.p11->C_Logout(api.session));
}

static CK_RV open_session(void)
{
    return api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION, NULL, NULL, &made);
}

static void close_session(void)
{
    OK(api.p11->C_CloseSession(made));
}

static void destroy(void)
{
    OK(api.p11->C_DestroyObject(api.session, made));
}

static CK_RV generate(CK_BBOOL *token)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_MECHANISM_TYPE gcm = CKM_AES_GCM;
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, token, sizeof(*token)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_LABEL, "generated", 9},
        {CKA_ENCRYPT, &yes, sizeof(yes)},
        {CKA_ALLOWED_MECHANISMS, &gcm, sizeof(gcm)},
    };

    return api.p11->C_GenerateKey(api.session, &mechanism, template, 5, &made);
}

static CK_RV generate_token_key(void)
{
    return generate(&yes);
}

static CK_RV generate_session_key(void)
{
    return generate(&no);
}

static CK_RV create(void)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_PRIVATE, &yes, sizeof(yes)},   {CKA_LABEL, "created", 7},
        {CKA_VALUE, "some data", 9},
    };

    return api.p11->C_CreateObject(api.session, template, 5, &made);
}

static CK_RV copy(void)
{
    CK_ATTRIBUTE template = {CKA_LABEL, "copied", 6};

    return api.p11->C_CopyObject(api.session, subject, &template, 1, &made);
}

static CK_RV find(void)
{
    CK_ATTRIBUTE template = {CKA_TOKEN, &yes, sizeof(yes)};
    CK_OBJECT_HANDLE handles[64];
    CK_ULONG count;

    CK_RV rv = api.p11->C_FindObjectsInit(api.session, &template, 1);
    if (rv != CKR_OK)
        return rv;
    OK(api.p11->C_FindObjects(api.session, handles, 64, &count));
    ck_assert_uint_ge(count, 6);
    return api.p11->C_FindObjectsFinal(api.session);
}

static CK_RV find_subkey(void)
{
    CK_ATTRIBUTE template = {CKA_LABEL, "index/payload", 13};
    CK_ULONG count;

    CK_RV rv = api.p11->C_FindObjectsInit(api.session, &template, 1);
    if (rv != CKR_OK)
        return rv;
    OK(api.p11->C_FindObjects(api.session, &made, 1, &count));
    ck_assert_uint_eq(count, 1);
    return api.p11->C_FindObjectsFinal(api.session);
}

static CK_RV set_label(void)
{
    CK_ATTRIBUTE template = {CKA_ID, "an id", 5};

    return api.p11->C_SetAttributeValue(api.session, index_key, &template, 1);
}

static CK_RV get_label(void)
{
    char label[32];
    CK_ATTRIBUTE template = {CKA_LABEL, label, sizeof(label)};

    return api.p11->C_GetAttributeValue(api.session, index_key, &template, 1);
}

static CK_RV derive(void)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},   {CKA_EXTRACTABLE, &no, sizeof(no)},
    };
    struct indexkey_kdf kdf;

    OK(indexkey_kdf_make(INDEXKEY_PURPOSE_PAYLOAD, &kdf));
    return api.p11->C_DeriveKey(api.session, &kdf.mechanism, index_key, template, 6, &made);
}

#define SEVERAL 3

static CK_OBJECT_HANDLE several[SEVERAL];

/* A session key, a token key and a session key in one call. */
static CK_RV derive_several(void)
{
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ULONG len = 48;
    CK_BYTE data[] = "data";
    CK_ATTRIBUTE template[] = {
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_TOKEN, &yes, sizeof(yes)},
    };
    CK_SP800_108_COUNTER_FORMAT counter = {CK_FALSE, 32};
    CK_PRF_DATA_PARAM params[] = {
        {CK_SP800_108_ITERATION_VARIABLE, &counter, sizeof(counter)},
        {CK_SP800_108_BYTE_ARRAY, data, sizeof(data)},
        {CK_SP800_108_KEY_HANDLE, &index_key, sizeof(index_key)},
    };
    CK_DERIVED_KEY additional[] = {{template, 3, &several[1]}, {template, 2, &several[2]}};
    CK_SP800_108_KDF_PARAMS kdf = {CKM_SHA256_HMAC, 3, params, 2, additional};
    CK_MECHANISM mechanism = {CKM_SP800_108_COUNTER_KDF, &kdf, sizeof(kdf)};

    return api.p11->C_DeriveKey(api.session, &mechanism, index_key, template, 2, &several[0]);
}

static void destroy_several(void)
{
    for (size_t i = 0; i < SEVERAL; i++)
        OK(api.p11->C_DestroyObject(api.session, several[i]));
}

static CK_RV encrypt(void)
{
    CK_BYTE iv[12] = {2};
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_BYTE out[64];
    CK_ULONG len = sizeof(out);

    CK_RV rv = api.p11->C_EncryptInit(api.session, &mechanism, payload_key);
    if (rv == CKR_OK)
        rv = api.p11->C_Encrypt(api.session, (CK_BYTE *) "text", 4, out, &len);
    return rv;
}

static CK_RV decrypt_in_parts(void)
{
    CK_BYTE iv[12] = {3};
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_BYTE sealed[64];
    CK_BYTE out[64];
    CK_ULONG sealed_len = sizeof(sealed);
    CK_ULONG len = sizeof(out);

    CK_RV rv = api.p11->C_EncryptInit(api.session, &mechanism, subject);
    if (rv == CKR_OK)
        rv = api.p11->C_Encrypt(api.session, (CK_BYTE *) "text", 4, sealed, &sealed_len);
    if (rv == CKR_OK)
        rv = api.p11->C_DecryptInit(api.session, &mechanism, subject);
    if (rv == CKR_OK)
        rv = api.p11->C_DecryptUpdate(api.session, sealed, sealed_len, out, &len);
    len = sizeof(out);
    if (rv == CKR_OK)
        rv = api.p11->C_DecryptFinal(api.session, out, &len);
    return rv;
}

static CK_RV sign(void)
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE out[64];
    CK_ULONG len = sizeof(out);

    CK_RV rv = api.p11->C_SignInit(api.session, &mechanism, token_key);
    return rv == CKR_OK ? api.p11->C_Sign(api.session, (CK_BYTE *) "text", 4, out, &len) : rv;
}

static CK_RV digest(void)
{
    CK_MECHANISM mechanism = {CKM_SHA256, NULL, 0};
    CK_BYTE out[64];
    CK_ULONG len = sizeof(out);

    CK_RV rv = api.p11->C_DigestInit(api.session, &mechanism);
    return rv == CKR_OK ? api.p11->C_Digest(api.session, (CK_BYTE *) "text", 4, out, &len) : rv;
}

static CK_RV token_info(void)
{
    CK_TOKEN_INFO info;

    return api.p11->C_GetTokenInfo(api.slot, &info);
}

enum stage { STAGE_DOWN, STAGE_UNUSED, STAGE_PUBLIC, STAGE_USER };

static const struct scenario {
    const char *name;
    CK_RV (*act)(void);
    void (*undo)(void); /* NULL: nothing to undo */
    enum stage stage;
} scenarios[] = {
    {"C_Initialize", initialize, finalize, STAGE_DOWN},
    {"C_InitToken", init_token, NULL, STAGE_UNUSED},
    {"C_OpenSession", open_session, close_session, STAGE_PUBLIC},
    {"C_GetTokenInfo", token_info, NULL, STAGE_PUBLIC},
    {"C_Login", log_in, log_out, STAGE_PUBLIC},
    {"C_GenerateKey of a token key", generate_token_key, destroy, STAGE_USER},
    {"C_GenerateKey of a session key", generate_session_key, destroy, STAGE_USER},
    {"C_CreateObject", create, destroy, STAGE_USER},
    {"C_CopyObject", copy, destroy, STAGE_USER},
    {"C_FindObjects", find, NULL, STAGE_USER},
    {"C_FindObjects of a subkey", find_subkey, NULL, STAGE_USER},
    {"C_SetAttributeValue", set_label, NULL, STAGE_USER},
    {"C_GetAttributeValue", get_label, NULL, STAGE_USER},
    {"C_DeriveKey", derive, destroy, STAGE_USER},
    {"C_DeriveKey of several keys", derive_several, destroy_several, STAGE_USER},
    {"C_Encrypt", encrypt, NULL, STAGE_USER},
    {"C_Decrypt in parts", decrypt_in_parts, NULL, STAGE_USER},
    {"C_Sign", sign, NULL, STAGE_USER},
    {"C_Digest", digest, NULL, STAGE_USER},
};
#define SCENARIO_COUNT (sizeof(scenarios) / sizeof(scenarios[0]))

static void reach(enum stage stage)
{
    api_open(&api, NULL, NULL);
    index_key = api_make_index_key(&api, "index", 1);
    payload_key = api_find(&api, "index/payload");
    token_key = api_find(&api, "index/token");
    subject = api_make_aes_key(&api, false, "subject");
    if (stage == STAGE_PUBLIC)
        OK(api.p11->C_Logout(api.session));
    if (stage == STAGE_UNUSED)
        OK(api.p11->C_CloseSession(api.session));
    if (stage == STAGE_DOWN)
        OK(api.p11->C_Finalize(NULL));
}

static CK_ULONG object_count(enum stage stage)
{
    return stage == STAGE_USER ? api_count(&api, NULL, 0) : 0;
}

/* One round with the n-th allocation failing; false when there was none. */
static bool fail_one(const struct scenario *scenario, unsigned long n, bool forever)
{
    CK_ULONG before = object_count(scenario->stage);

    mem_fail_at(n, forever);
    CK_RV rv = scenario->act();
    bool failed = mem_count() >= n;
    mem_fail_at(0, false);
    if (!failed || rv == CKR_OK) {
        ck_assert_msg(rv == CKR_OK, "%s: 0x%lx though nothing failed", scenario->name, rv);
        if (scenario->undo != NULL)
            scenario->undo();
    } else {
        ck_assert_msg(rv == CKR_HOST_MEMORY, "%s: 0x%lx when allocation %lu fails", scenario->name,
                      rv, n);
    }
    CK_ULONG after = object_count(scenario->stage);
    ck_assert_msg(after == before, "%s: %lu objects instead of %lu after allocation %lu failed",
                  scenario->name, after, before, n);
    return failed;
}

static void fail_each(const struct scenario *scenario, bool forever)
{
    unsigned long n = 1;

    while (fail_one(scenario, n, forever)) {
        n++;
        ck_assert_uint_lt(n, ALLOCATIONS_MAX);
    }
}

/* What is left after C_Finalize; the cycle before it gives back slabs that were kept for reuse. */
static long live_when_down(void)
{
    api.p11->C_Finalize(NULL);
    OK(api.p11->C_Initialize(NULL));
    OK(api.p11->C_Finalize(NULL));
    ck_assert_uint_eq(secrets_in_use(), 0);
    return mem_live();
}

static void run(const struct scenario *scenario, bool forever)
{
    char command[128];

    reach(scenario->stage);
    ck_assert_uint_eq(scenario->act(), CKR_OK);
    if (scenario->undo != NULL)
        scenario->undo();
    snprintf(command, sizeof(command), "rm -rf '%s'", api.folder);
    long live = live_when_down();
    ck_assert_int_eq(system(command), 0);

    reach(scenario->stage);
    fail_each(scenario, forever);
    ck_assert_msg(live_when_down() == live, "%s leaks: %ld blocks, %ld before", scenario->name,
                  mem_live(), live);
    api_close(&api);
}

START_TEST(one_allocation_fails)
{
    run(&scenarios[_i], false);
}
END_TEST

/* Without C_Login: a PIN attempt that began is only taken off the count with memory. */
START_TEST(all_allocations_fail)
{
    if (scenarios[_i].act != log_in)
        run(&scenarios[_i], true);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *tests = tcase_create("memory");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_loop_test(tests, one_allocation_fails, 0, SCENARIO_COUNT);
    tcase_add_loop_test(tests, all_allocations_fail, 0, SCENARIO_COUNT);
    tcase_set_timeout(tests, 200);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
