/* `source = hsm` as it is meant to be used: configuration, mechanisms, keys, logins. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/contract/direct_login.h"
#include "tests/contract/hsm_fixture.h"

#define CONTEXT "context"
#define MECHANISM_AT 5 /* of a wrapped key, behind magic and format */
#define KWP "wrap_mechanism = aes-key-wrap-pad"
#define UNWRAP_MAX 100

static const struct hsm_settings plain;

static CK_RV make(struct source *source, const char *context, struct blob *ret_wrapped)
{
    return kms_make(source, hsm_call(&plain, view_text(context)), ret_wrapped);
}

static CK_RV unwrap(struct source *source, const char *context, const struct blob *wrapped)
{
    return kms_unwrap(source, hsm_call(&plain, view_text(context)), blob_view(wrapped));
}

/* ---- configuration ---- */

#define URI "key_uri = pkcs11:token=t;object=k?module-path=/m.so"

static const struct {
    const char *lines;
    const char *says;
} bad_lines[] = {
    {"pin_file = /p", "key_uri"},
    {"key_uri = softhsm", "pkcs11: URI"},
    {"key_uri = pkcs11:token=t;object=k?module-path=/m.so&pin-value=secret@1", "without pin-value"},
    {"key_uri = pkcs11:token=t;object=k?module-path=/m.so&pin-source=|cat", "pin-source is a file"},
    {"key_uri = pkcs11:token=t;object=k?module-path=/m.so&pin-source=http://h/p",
     "pin-source is a file"},
    {"key_uri = pkcs11:token=t;object=k?module-path=/m.so&pin-source=file://h/p",
     "pin-source is a file"},
    {"key_uri = pkcs11:token=t;object=k", "module-path"},
    {"key_uri = pkcs11:token=t;object=k?module-path=m.so", "absolute module-path"},
    {"key_uri = pkcs11:token=t;object=k?module-name=../m", "module-name is a name"},
    {"key_uri = pkcs11:token=t?module-path=/m.so", "object= or id="},
    {"key_uri = pkcs11:token=t;object=?module-path=/m.so", "object= or id="},
    {"key_uri = pkcs11:token=t;object=%zz?module-path=/m.so", "can be parsed"},
    {"key_uri = pkcs11:token=t;object=k;colour=red?module-path=/m.so", "RFC 7512 only"},
    {URI "\nwrap_mechanism = rot13", "wrap_mechanism must be one of"},
    {URI "\npin_file = p", "pin_file must be"},
    {URI "&pin-source=file:/a\npin_file = /b", "keep one of them"},
    {URI "\npin_fil = /b", "pin_file"},
};

START_TEST(a_bad_configuration_is_refused)
{
    kms_assert_refused("hsm", bad_lines[_i].lines, bad_lines[_i].says);
}
END_TEST

static const char *const pin_sources[] = {"file:%s", "file://%s", "%s"};

START_TEST(the_pin_comes_from_pin_source)
{
    char query[600];
    char place[512];
    struct blob wrapped = {0};
    fixture_write("source.pin", HSM_PIN "\n", 0600);
    const char *form = pin_sources[_i];
    int prefix_len = (int) strcspn(form, "%");
    (void) snprintf(place, sizeof(place), "%.*s%s", prefix_len, form, fixture_path("source.pin"));
    (void) snprintf(query, sizeof(query), "&pin-source=%s", place);
    struct hsm_settings settings = {.query = query, .pin = ""};
    struct source *source = hsm_open(&settings);
    kms_assert_ok(make(source, CONTEXT, &wrapped));
    fixture_write("source.pin", HSM_PIN "\n", 0640);
    kms_assert_failed(unwrap(source, CONTEXT, &wrapped), INDEXKEY_CAUSE_CONFIG, "open to others");
    fixture_remove("source.pin");
    kms_assert_failed(unwrap(source, CONTEXT, &wrapped), INDEXKEY_CAUSE_CONFIG, "does not exist");
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* A folder in module-path, the module's name without what the system puts around it. */
START_TEST(a_module_is_found_by_its_name)
{
    char lines[1024];
    struct source *source = NULL;
    struct blob wrapped = {0};
    char *folder = mem_strdup(HSM_SHIM);
    *strrchr(folder, '/') = '\0';
    fixture_write("name.pin", HSM_PIN, 0600);
    (void) snprintf(lines, sizeof(lines),
                    "key_uri = pkcs11:object=" HSM_AES "?module-path=%s&module-name=hsm-shim\n"
                    "pin_file = %s",
                    folder, fixture_path("name.pin"));
    kms_write_conf("hsm", "memory:", lines);
    ck_assert_uint_eq(kms_try_open(&source), CKR_OK);
    kms_assert_ok(make(source, CONTEXT, &wrapped));
    mem_free(folder);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* ---- mechanisms ---- */

static const struct {
    const char *key;
    const char *more;
    int mechanism;    /* in the wrapped key */
    const char *says; /* NULL: it serves */
} mechanisms[] = {
    {"object=" HSM_AES, "", 1},
    {"object=" HSM_AES ";id=%10", "", 1},
    {"id=%10;type=secret-key", "", 1},
    {"object=" HSM_GCM_ONLY, "", 1},
    {"object=" HSM_WRAP_ONLY, "", 3},
    {"object=" HSM_RSA, "", 5},
    {"object=" HSM_RSA ";type=private", "", 5},
    {"object=" HSM_AES, "wrap_mechanism = auto", 1},
    {"object=" HSM_AES, "wrap_mechanism = aes-gcm", 1},
    {"object=" HSM_AES, KWP, 3},
    {"object=" HSM_RSA, "wrap_mechanism = rsa-oaep-sha1", 5},
    {"object=" HSM_USELESS, "", 0, "by none of the mechanisms"},
    {"object=" HSM_AES, "wrap_mechanism = aes-kwp", 0, "CKR_MECHANISM_INVALID"},
    {"object=" HSM_RSA, "wrap_mechanism = rsa-oaep-sha256", 0, "wrapping: CKR"},
};

START_TEST(the_parent_wraps_by_what_it_has)
{
    struct hsm_settings settings = {.key = mechanisms[_i].key, .more = mechanisms[_i].more};
    struct source *source = hsm_open(&settings);
    struct blob wrapped = {0};
    CK_RV rv = make(source, CONTEXT, &wrapped);
    if (mechanisms[_i].says == NULL) {
        kms_assert_ok(rv);
        ck_assert_int_eq(memcmp(wrapped.bytes, "IKHS\1", MECHANISM_AT), 0);
        ck_assert_int_eq(wrapped.bytes[MECHANISM_AT], mechanisms[_i].mechanism);
        kms_assert_ok(unwrap(source, CONTEXT, &wrapped));
    } else {
        ck_assert_uint_ne(rv, CKR_OK);
        ck_assert_msg(strstr(fixture_log(), mechanisms[_i].says) != NULL, "%s", fixture_log());
        ck_assert_uint_eq(fixture_log_count(), 1);
    }
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

static const struct {
    const char *key;
    const char *more;
    int mechanism;
} more_mechanisms[] = {
    {"object=" HSM_AES, "", 1},
    {"object=" HSM_AES, "wrap_mechanism = aes-kwp", 2},
    {"object=" HSM_WRAP_ONLY, "", 2},
    {"object=" HSM_RSA, "", 4},
    {"object=" HSM_RSA, "wrap_mechanism = rsa-oaep-sha256", 4},
};

START_TEST(a_parent_that_has_more_is_asked_for_more)
{
    static const unsigned char own_iv[] = {SHIM_IV_BYTE, SHIM_IV_BYTE, SHIM_IV_BYTE};
    struct hsm_settings settings = {.key = more_mechanisms[_i].key,
                                    .more = more_mechanisms[_i].more};
    struct source *source = hsm_open(&settings);
    struct blob wrapped = {0};
    hsm_shim_reset();
    hsm_shim_get()->has_more = true;
    kms_assert_ok(make(source, CONTEXT, &wrapped));
    ck_assert_int_eq(wrapped.bytes[MECHANISM_AT], more_mechanisms[_i].mechanism);
    /* Behind an id of one byte: the IV that the parent has made is the one that is kept. */
    if (more_mechanisms[_i].mechanism == 1)
        ck_assert_mem_eq(wrapped.bytes + MECHANISM_AT + 6, own_iv, sizeof(own_iv));
    kms_assert_ok(unwrap(source, CONTEXT, &wrapped));
    hsm_shim_reset();
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(gcm_binds_the_context)
{
    struct source *source = hsm_open(&plain);
    struct blob wrapped = {0};
    kms_assert_ok(make(source, CONTEXT, &wrapped));
    kms_assert_ok(unwrap(source, CONTEXT, &wrapped));
    kms_assert_failed(unwrap(source, "", &wrapped), INDEXKEY_CAUSE_TAMPERED, "another context");
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* KWP binds none: the token's record does. */
START_TEST(the_token_binds_what_the_parent_does_not)
{
    struct hsm_settings settings = {.more = KWP "\ncontext.tenant = acme"};
    enum indexkey_cause cause;
    hsm_configure(&settings);
    kms_init_token();
    kms_assert_ok(kms_login(FIXTURE_PIN, &cause));
    settings.more = KWP "\ncontext.tenant = other";
    hsm_configure(&settings);
    ck_assert_uint_eq(kms_login(FIXTURE_PIN, &cause), CKR_FUNCTION_FAILED);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_CONTEXT);
}
END_TEST

/* ---- keys come and go ---- */

START_TEST(after_a_rotation_old_keys_open)
{
    struct hsm_settings settings = {.key = "object=rotated"};
    struct blob wrapped[2] = {{0}};
    CK_SESSION_HANDLE session = hsm_other_user();
    (void) hsm_make_aes(session, "rotated", 0x21, true, true);
    struct source *source = hsm_open(&settings);
    kms_assert_ok(make(source, CONTEXT, &wrapped[0]));
    CK_OBJECT_HANDLE former = hsm_find_aes(session, "rotated", 0x21);
    (void) hsm_make_aes(session, "rotated", 0x22, true, true);
    /* Which of the two is to wrap must be told. */
    kms_assert_failed(make(source, CONTEXT, &wrapped[1]), INDEXKEY_CAUSE_CONFIG, "add id=");
    source_close(&source);
    settings.key = "object=rotated;id=%22";
    source = hsm_open(&settings);
    kms_assert_ok(make(source, CONTEXT, &wrapped[1]));
    kms_assert_ok(unwrap(source, CONTEXT, &wrapped[0]));
    kms_assert_ok(unwrap(source, CONTEXT, &wrapped[1]));
    ck_assert_uint_eq(hsm_real()->C_DestroyObject(session, former), CKR_OK);
    kms_assert_failed(unwrap(source, CONTEXT, &wrapped[0]), INDEXKEY_CAUSE_DELETED, "no wrapping");
    kms_assert_ok(unwrap(source, CONTEXT, &wrapped[1]));
    source_close(&source);
    blob_clear(&wrapped[0]);
    blob_clear(&wrapped[1]);
}
END_TEST

START_TEST(a_key_that_is_disabled_refuses)
{
    static CK_BBOOL no = CK_FALSE;
    struct hsm_settings settings = {.key = "object=disabled"};
    CK_ATTRIBUTE change = {CKA_DECRYPT, &no, 1};
    struct blob wrapped = {0};
    CK_SESSION_HANDLE session = hsm_other_user();
    CK_OBJECT_HANDLE key = hsm_make_aes(session, "disabled", 0x23, true, true);
    struct source *source = hsm_open(&settings);
    kms_assert_ok(make(source, CONTEXT, &wrapped));
    ck_assert_uint_eq(hsm_real()->C_SetAttributeValue(session, key, &change, 1), CKR_OK);
    kms_assert_failed(unwrap(source, CONTEXT, &wrapped), INDEXKEY_CAUSE_DISABLED, "CKA_DECRYPT");
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* ---- direct keys: what the parent made for somebody else ---- */

static CK_RV unwrap_bare(const struct hsm_settings *settings, const char *context,
                         struct view bytes)
{
    struct source *source = hsm_open(settings);
    CK_RV rv = kms_unwrap(source, hsm_call(&plain, view_text(context)), bytes);
    source_close(&source);
    return rv;
}

START_TEST(a_bare_kwp_ciphertext_opens)
{
    static CK_BBOOL yes = CK_TRUE;
    static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
    static CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
    CK_BYTE value[32] = "thirty-two bytes of a direct key";
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                               {CKA_KEY_TYPE, &generic, sizeof(generic)},
                               {CKA_EXTRACTABLE, &yes, 1},
                               {CKA_VALUE, value, sizeof(value)}};
    CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP_PAD, NULL, 0};
    CK_BYTE bytes[64];
    CK_ULONG len = sizeof(bytes);
    CK_OBJECT_HANDLE key;
    const CK_FUNCTION_LIST *p11 = hsm_real();
    CK_SESSION_HANDLE session = hsm_other_user();
    ck_assert_uint_eq(p11->C_CreateObject(session, template, COUNT_OF(template), &key), CKR_OK);
    CK_OBJECT_HANDLE kek = hsm_find_aes(session, HSM_AES, 0x10);
    ck_assert_uint_eq(p11->C_WrapKey(session, &mechanism, kek, key, bytes, &len), CKR_OK);
    struct hsm_settings settings = {.more = KWP};
    kms_assert_ok(unwrap_bare(&settings, "", (struct view){bytes, len}));
    kms_assert_failed(unwrap_bare(&plain, "", (struct view){bytes, len}), INDEXKEY_CAUSE_TAMPERED,
                      "set wrap_mechanism");
    bytes[3] ^= 1;
    kms_assert_failed(unwrap_bare(&settings, "", (struct view){bytes, len}),
                      INDEXKEY_CAUSE_TAMPERED, "was changed");
}
END_TEST

#define BARE_LEN (12 + 32 + 16)

/* IV, ciphertext and tag, by the parent. */
static void make_bare_gcm(CK_BYTE bytes[BARE_LEN])
{
    CK_BYTE value[32] = DIRECT_LOGIN_KEY;
    CK_GCM_PARAMS gcm = {.pIv = bytes, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    CK_ULONG len = 48;
    const CK_FUNCTION_LIST *p11 = hsm_real();
    CK_SESSION_HANDLE session = hsm_other_user();
    CK_OBJECT_HANDLE key = hsm_find_aes(session, HSM_AES, 0x10);
    memcpy(bytes, "an IV of 12.", 12);
    ck_assert_uint_eq(p11->C_EncryptInit(session, &mechanism, key), CKR_OK);
    ck_assert_uint_eq(p11->C_Encrypt(session, value, 32, bytes + 12, &len), CKR_OK);
}

START_TEST(a_bare_gcm_ciphertext_opens)
{
    CK_BYTE bytes[BARE_LEN];
    make_bare_gcm(bytes);
    struct hsm_settings settings = {.more = "wrap_mechanism = aes-gcm"};
    kms_assert_ok(unwrap_bare(&settings, "", (struct view){bytes, sizeof(bytes)}));
    kms_assert_failed(unwrap_bare(&settings, CONTEXT, (struct view){bytes, sizeof(bytes)}),
                      INDEXKEY_CAUSE_TAMPERED, "was changed");
    kms_assert_failed(unwrap_bare(&settings, "", (struct view){bytes, 12}), INDEXKEY_CAUSE_TAMPERED,
                      "is none");
}
END_TEST

static void configure_with(const char *more)
{
    char lines[8192];
    (void) snprintf(lines, sizeof(lines), "wrap_mechanism = aes-gcm\n%s", more);
    const struct hsm_settings settings = {.more = lines};
    hsm_configure(&settings);
}

START_TEST(direct_keys_open_at_a_login)
{
    CK_BYTE bytes[BARE_LEN];
    make_bare_gcm(bytes);
    struct source *source = hsm_open(&plain);
    direct_login_check(source, (struct view){bytes, sizeof(bytes)}, configure_with);
    source_close(&source);
}
END_TEST

/* ---- login = credential and ambient, by the C_* functions ---- */

static const struct {
    const char *login;
    const char *pin;
    const char *function; /* of the parent, that answers `refusal` */
    CK_RV refusal;
    CK_RV rv;
    enum indexkey_cause cause;
} logins[] = {
    {"credential", HSM_PIN, NULL, CKR_OK, CKR_OK, INDEXKEY_CAUSE_NONE},
    {"credential", "canary-wrong", NULL, CKR_OK, CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL},
    {"credential", "", NULL, CKR_OK, CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL},
    {"credential", HSM_PIN, "C_Login", CKR_PIN_LOCKED, CKR_PIN_LOCKED, INDEXKEY_CAUSE_CREDENTIAL},
    {"credential", HSM_PIN, "C_DecryptInit", CKR_ACTION_PROHIBITED, CKR_FUNCTION_FAILED,
     INDEXKEY_CAUSE_DENIED},
    {"credential", HSM_PIN, "C_OpenSession", CKR_DEVICE_REMOVED, CKR_DEVICE_ERROR,
     INDEXKEY_CAUSE_UNREACHABLE},
    {"ambient", NULL, NULL, CKR_OK, CKR_OK, INDEXKEY_CAUSE_NONE},
    {"ambient", NULL, "C_Login", CKR_PIN_INCORRECT, CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL},
    {"ambient", NULL, "C_Login", CKR_PIN_LOCKED, CKR_PIN_LOCKED, INDEXKEY_CAUSE_CREDENTIAL},
    {"ambient", NULL, "C_OpenSession", CKR_DEVICE_REMOVED, CKR_DEVICE_ERROR,
     INDEXKEY_CAUSE_UNREACHABLE},
    {"pin", FIXTURE_PIN, "C_Login", CKR_PIN_LOCKED, CKR_FUNCTION_FAILED, INDEXKEY_CAUSE_CREDENTIAL},
};

START_TEST(a_login_of_each_mode)
{
    char more[64];
    enum indexkey_cause cause;
    struct hsm_shim *shim = hsm_shim_get();
    hsm_shim_reset();
    (void) snprintf(more, sizeof(more), "login = %s", logins[_i].login);
    struct hsm_settings settings = {.more = more};
    hsm_configure(&settings);
    kms_init_token();
    shim->rv = logins[_i].refusal;
    shim->times = -1;
    shim->function = logins[_i].function;
    CK_RV rv = kms_login(logins[_i].pin, &cause);
    ck_assert_msg(rv == logins[_i].rv && cause == logins[_i].cause, "%lx %s %s", rv,
                  cause_name(cause), fixture_log());
    ck_assert_ptr_null(strstr(fixture_log(), "canary"));
    ck_assert_ptr_null(strstr(fixture_log(), HSM_PIN));
    hsm_shim_reset();
}
END_TEST

/* ---- what was written before ---- */

static CK_SESSION_HANDLE log_in(void)
{
    CK_SESSION_HANDLE session;
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_OpenSession(0, flags, NULL, NULL, &session), CKR_OK);
    ck_assert_uint_eq(C_Login(session, CKU_USER, pin, sizeof(pin) - 1), CKR_OK);
    return session;
}

START_TEST(old_data_decrypts_after_a_restart)
{
    static CK_BBOOL yes = CK_TRUE;
    CK_ULONG key_len = 32;
    CK_BYTE iv[12] = "once and no";
    CK_BYTE text[16] = "a query's terms";
    CK_BYTE sealed[32];
    CK_BYTE opened[32];
    CK_ULONG len = sizeof(sealed);
    CK_ULONG opened_len = sizeof(opened);
    CK_ULONG count = 0;
    CK_OBJECT_HANDLE key;
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_GCM_PARAMS gcm = {.pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    CK_ATTRIBUTE template[] = {
        {CKA_LABEL, "old", 3},    {CKA_TOKEN, &yes, 1},
        {CKA_ENCRYPT, &yes, 1},   {CKA_DECRYPT, &yes, 1},
        {CKA_SENSITIVE, &yes, 1}, {CKA_VALUE_LEN, &key_len, sizeof(key_len)}};
    hsm_configure(&plain);
    kms_init_token();
    CK_SESSION_HANDLE session = log_in();
    ck_assert_uint_eq(C_GenerateKey(session, &generate, template, COUNT_OF(template), &key),
                      CKR_OK);
    ck_assert_uint_eq(C_EncryptInit(session, &mechanism, key), CKR_OK);
    ck_assert_uint_eq(C_Encrypt(session, text, sizeof(text), sealed, &len), CKR_OK);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
    session = log_in();
    ck_assert_uint_eq(C_FindObjectsInit(session, template, 1), CKR_OK);
    ck_assert_uint_eq(C_FindObjects(session, &key, 1, &count), CKR_OK);
    ck_assert_uint_eq(C_FindObjectsFinal(session), CKR_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(C_DecryptInit(session, &mechanism, key), CKR_OK);
    ck_assert_uint_eq(C_Decrypt(session, sealed, len, opened, &opened_len), CKR_OK);
    ck_assert_uint_eq(opened_len, sizeof(text));
    ck_assert_mem_eq(opened, text, sizeof(text));
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

/* ---- memory ---- */

START_TEST(no_allocation_that_fails_is_forgotten)
{
    struct blob wrapped = {0};
    struct source *source = hsm_open(&plain);
    kms_assert_ok(make(source, CONTEXT, &wrapped));
    size_t in_use = secrets_in_use();
    long live = mem_live();
    CK_RV rv = CKR_HOST_MEMORY;
    unsigned long nth = 1;
    for (; rv != CKR_OK && nth < UNWRAP_MAX; nth++) {
        mem_fail_at(nth, false);
        rv = unwrap(source, CONTEXT, &wrapped);
        ck_assert_msg(rv == CKR_OK || rv == CKR_HOST_MEMORY, "allocation %lu: %lx %s", nth, rv,
                      fixture_log());
        /* The thread may be about to end. */
        for (int i = 0; i < 1000 && mem_live() != live; i++)
            (void) usleep(1000);
        ck_assert_uint_eq(secrets_in_use(), in_use);
        ck_assert_int_eq(mem_live(), live);
    }
    mem_fail_at(0, false);
    ck_assert_uint_gt(nth, 4);
    ck_assert_uint_lt(nth, UNWRAP_MAX);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("use");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, hsm_start, NULL);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_bad_configuration_is_refused, 0, (int) COUNT_OF(bad_lines));
    tcase_add_loop_test(cases, the_pin_comes_from_pin_source, 0, (int) COUNT_OF(pin_sources));
    tcase_add_test(cases, a_module_is_found_by_its_name);
    tcase_add_loop_test(cases, the_parent_wraps_by_what_it_has, 0, (int) COUNT_OF(mechanisms));
    tcase_add_loop_test(cases, a_parent_that_has_more_is_asked_for_more, 0,
                        (int) COUNT_OF(more_mechanisms));
    tcase_add_test(cases, gcm_binds_the_context);
    tcase_add_test(cases, the_token_binds_what_the_parent_does_not);
    tcase_add_test(cases, after_a_rotation_old_keys_open);
    tcase_add_test(cases, a_key_that_is_disabled_refuses);
    tcase_add_test(cases, a_bare_kwp_ciphertext_opens);
    tcase_add_test(cases, a_bare_gcm_ciphertext_opens);
    tcase_add_test(cases, direct_keys_open_at_a_login);
    tcase_add_loop_test(cases, a_login_of_each_mode, 0, (int) COUNT_OF(logins));
    tcase_add_test(cases, old_data_decrypts_after_a_restart);
    tcase_add_test(cases, no_allocation_that_fails_is_forgotten);
    return fixture_run("source hsm: use", cases);
}
