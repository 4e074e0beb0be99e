/*
 * Keys between SoftHSM and this module: what one wraps the other unwraps, under a wrapping key that
 * both have. SOFTHSM_MODULE and SOFTHSM2_CONF lead to SoftHSM's token (on_softhsm.sh). It has KWP
 * under the name of CKM_AES_KEY_WRAP_PAD, no CKM_AES_KEY_WRAP_KWP, pads keys with zeros before it
 * wraps them, and shows unwrapped keys with a CKA_VALUE_LEN of 0.
 */
#include <check.h>
#include <dlfcn.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SOFTHSM_PIN "123456"
#define SOFTHSM_LABEL "vectors "
#define KEY_LEN_MAX 64

static struct api api;
static CK_FUNCTION_LIST *softhsm;
static CK_SESSION_HANDLE softhsm_session;
static CK_OBJECT_HANDLE our_kek;
static CK_OBJECT_HANDLE softhsm_kek;

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;
static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
static CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
static CK_KEY_TYPE aes = CKK_AES;
static CK_BYTE kek[32] = "a wrapping key that both sides k";
static CK_BYTE value[KEY_LEN_MAX] =
    "the bytes of the key that goes from one token to the other, all";

/* One table of functions for both, since all that this test calls is in the oldest. */
struct side {
    const CK_FUNCTION_LIST *p11;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE kek;
};

static CK_OBJECT_HANDLE create(const struct side *side, CK_KEY_TYPE *type, CK_BYTE *bytes,
                               CK_ULONG len, const CK_ATTRIBUTE uses[2])
{
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &secret_key, sizeof(secret_key)},
        {CKA_KEY_TYPE, type, sizeof(*type)},
        {CKA_TOKEN, &no, 1},
        {CKA_PRIVATE, &yes, 1},
        {CKA_SENSITIVE, &yes, 1},
        {CKA_VALUE, bytes, len},
        uses[0],
        uses[1],
    };
    CK_OBJECT_HANDLE key;

    OK(side->p11->C_CreateObject(side->session, template, COUNT(template), &key));
    return key;
}

static CK_OBJECT_HANDLE create_kek(const struct side *side)
{
    const CK_ATTRIBUTE uses[2] = {{CKA_WRAP, &yes, 1}, {CKA_UNWRAP, &yes, 1}};

    return create(side, &aes, kek, sizeof(kek), uses);
}

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

static struct side our_side(void)
{
    /* The first members of the 3.2 table are the 2.40 table. */
    return (struct side){(const CK_FUNCTION_LIST *) api.p11, api.session, our_kek};
}

static struct side softhsm_side(void)
{
    return (struct side){softhsm, softhsm_session, softhsm_kek};
}

static void open_both(void)
{
    const char *path = getenv("SOFTHSM_MODULE");

    api_open(&api, "memory:", "relax = known-keys-do-not-wrap");
    ck_assert_msg(path != NULL, "SOFTHSM_MODULE must name SoftHSM's library");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
    CK_C_GetFunctionList get = (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList");
    ck_assert_ptr_nonnull(get);
    OK(get(&softhsm));
    OK(softhsm->C_Initialize(NULL));
    OK(softhsm->C_OpenSession(softhsm_slot(), CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                              &softhsm_session));
    OK(softhsm->C_Login(softhsm_session, CKU_USER, (CK_UTF8CHAR *) SOFTHSM_PIN,
                        strlen(SOFTHSM_PIN)));
    struct side side = our_side();
    our_kek = create_kek(&side);
    side = softhsm_side();
    softhsm_kek = create_kek(&side);
}

static void close_both(void)
{
    OK(softhsm->C_Finalize(NULL));
    api_close(&api);
}

static const struct {
    CK_MECHANISM_TYPE ours;
    CK_MECHANISM_TYPE softhsms;
    CK_ULONG key_len;
} rows[] = {
    {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP, 16},
    {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP, 24},
    {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP, 32},
    {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP, 64},
    {CKM_AES_KEY_WRAP_PAD, CKM_AES_KEY_WRAP_PAD, 16},
    {CKM_AES_KEY_WRAP_PAD, CKM_AES_KEY_WRAP_PAD, 20},
    {CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD, 1},
    {CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD, 7},
    {CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD, 8},
    {CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD, 9},
    {CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD, 17},
    {CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD, 32},
    {CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD, 63},
};

/* `value` as a key of that side, wrapped. */
static void wrap(const struct side *side, CK_MECHANISM_TYPE type, CK_ULONG key_len, CK_BYTE *blob,
                 CK_ULONG *len)
{
    const CK_ATTRIBUTE uses[2] = {{CKA_SIGN, &yes, 1}, {CKA_EXTRACTABLE, &yes, 1}};
    CK_OBJECT_HANDLE key = create(side, &generic, value, key_len, uses);
    CK_MECHANISM mechanism = {type, NULL, 0};

    OK(side->p11->C_WrapKey(side->session, &mechanism, side->kek, key, blob, len));
}

/* This module makes sensitive keys only; SoftHSM's can be read. */
static CK_RV unwrap(const struct side *side, CK_MECHANISM_TYPE type, CK_BYTE *blob, CK_ULONG len,
                    CK_OBJECT_HANDLE *ret_key)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &secret_key, sizeof(secret_key)},
        {CKA_KEY_TYPE, &generic, sizeof(generic)},
        {CKA_TOKEN, &no, 1},
        {CKA_SIGN, &yes, 1},
        {CKA_EXTRACTABLE, &yes, 1},
        {CKA_SENSITIVE, side->p11 == softhsm ? &no : &yes, 1},
    };

    return side->p11->C_UnwrapKey(side->session, &mechanism, side->kek, blob, len, template,
                                  COUNT(template), ret_key);
}

/* The unwrapped key signs as OpenSSL does with the bytes, to which HMAC adds zeros too. */
static void expect_value(const struct side *side, CK_OBJECT_HANDLE key, CK_ULONG key_len)
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE message[] = "is it the same key?";
    CK_BYTE wanted[32];
    CK_BYTE mac[32];
    CK_ULONG len = sizeof(mac);

    ck_assert_ptr_nonnull(
        HMAC(EVP_sha256(), value, (int) key_len, message, sizeof(message), wanted, NULL));
    OK(side->p11->C_SignInit(side->session, &mechanism, key));
    OK(side->p11->C_Sign(side->session, message, sizeof(message), mac, &len));
    ck_assert_mem_eq(mac, wanted, sizeof(wanted));
}

START_TEST(what_this_module_wraps_softhsm_unwraps)
{
    struct side ours = our_side();
    struct side theirs = softhsm_side();
    CK_BYTE blob[KEY_LEN_MAX + 16];
    CK_ULONG len = sizeof(blob);
    CK_BYTE bytes[KEY_LEN_MAX];
    CK_ATTRIBUTE shown = {CKA_VALUE, bytes, sizeof(bytes)};
    CK_OBJECT_HANDLE key;

    wrap(&ours, rows[_i].ours, rows[_i].key_len, blob, &len);
    OK(unwrap(&theirs, rows[_i].softhsms, blob, len, &key));
    OK(softhsm->C_GetAttributeValue(softhsm_session, key, &shown, 1));
    ck_assert_uint_eq(shown.ulValueLen, rows[_i].key_len);
    ck_assert_mem_eq(bytes, value, rows[_i].key_len);
}
END_TEST

START_TEST(what_softhsm_wraps_this_module_unwraps)
{
    struct side ours = our_side();
    struct side theirs = softhsm_side();
    CK_BYTE blob[KEY_LEN_MAX + 16];
    CK_BYTE own[KEY_LEN_MAX + 16];
    CK_ULONG len = sizeof(blob);
    CK_ULONG own_len = sizeof(own);
    CK_OBJECT_HANDLE key;

    wrap(&theirs, rows[_i].softhsms, rows[_i].key_len, blob, &len);
    OK(unwrap(&ours, rows[_i].ours, blob, len, &key));
    expect_value(&ours, key, rows[_i].key_len);
    wrap(&ours, rows[_i].ours, rows[_i].key_len, own, &own_len);
    ck_assert_uint_eq(own_len, len);
    if (rows[_i].key_len % 8 == 0)
        ck_assert_mem_eq(own, blob, len);
    blob[len - 1] ^= 1;
    EXPECT(CKR_WRAPPED_KEY_INVALID, unwrap(&ours, rows[_i].ours, blob, len, &key));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("softhsm");
    TCase *tests = tcase_create("wrapped keys");

    tcase_add_checked_fixture(tests, open_both, close_both);
    tcase_add_loop_test(tests, what_this_module_wraps_softhsm_unwraps, 0, COUNT(rows));
    tcase_add_loop_test(tests, what_softhsm_wraps_this_module_unwraps, 0, COUNT(rows));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
