#include "tests/contract/direct_login.h"

#include <string.h>

#include "base/crypto.h"

#define TEXT "a query's terms"
#define BLOB_MAX 1024
#define SECTIONS_MAX 8192

static void wrap(struct source *source, struct blob *ret_wrapped)
{
    static const struct kms_settings settings;
    struct source_call call = kms_call(&settings, (struct view){0});
    struct secret value = {0};
    ck_assert_uint_eq(secret_from(DIRECT_LOGIN_KEY, strlen(DIRECT_LOGIN_KEY), &value), CKR_OK);
    kms_assert_ok(source->ops->wrap(source, &call, &value, ret_wrapped));
    secret_clear(&value);
}

static void add_section(char *sections, const char *name, struct view ciphertext)
{
    unsigned char text[BLOB_MAX * 2];
    size_t len = strlen(sections);
    ck_assert_uint_le(ciphertext.len, BLOB_MAX);
    (void) EVP_EncodeBlock(text, ciphertext.bytes, (int) ciphertext.len);
    (void) snprintf(sections + len, SECTIONS_MAX - len,
                    "[key %s]\ntoken = vectors\ntype = aes\nciphertext = base64:%s\n", name, text);
}

static void seal(struct blob *ret_sealed)
{
    struct secret key = {0};
    ck_assert_uint_eq(secret_from(DIRECT_LOGIN_KEY, strlen(DIRECT_LOGIN_KEY), &key), CKR_OK);
    ck_assert_uint_eq(crypto_seal(&key, view_text(""), view_text(TEXT), ret_sealed), CKR_OK);
    secret_clear(&key);
}

static CK_SESSION_HANDLE log_in(void)
{
    CK_SESSION_HANDLE session;
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    fixture_forget_log();
    ck_assert_uint_eq(C_Login(session, CKU_USER, pin, sizeof(pin) - 1), CKR_OK);
    return session;
}

static CK_ULONG find(CK_SESSION_HANDLE session, const char *label, CK_OBJECT_HANDLE *ret_object)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};
    CK_ULONG count;
    ck_assert_uint_eq(C_FindObjectsInit(session, &template, 1), CKR_OK);
    ck_assert_uint_eq(C_FindObjects(session, ret_object, 1, &count), CKR_OK);
    ck_assert_uint_eq(C_FindObjectsFinal(session), CKR_OK);
    return count;
}

/* IV, ciphertext and tag. */
static void assert_opens(CK_SESSION_HANDLE session, const char *label, const struct blob *sealed)
{
    CK_BYTE opened[BLOB_MAX];
    CK_ULONG len = sizeof(opened);
    CK_OBJECT_HANDLE key;
    CK_GCM_PARAMS gcm = {.pIv = sealed->bytes,
                         .ulIvLen = AEAD_IV_LEN,
                         .ulIvBits = AEAD_IV_LEN * 8,
                         .ulTagBits = AEAD_TAG_LEN * 8};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    ck_assert_msg(find(session, label, &key) == 1, "%s: %s", label, fixture_log());
    ck_assert_uint_eq(C_DecryptInit(session, &mechanism, key), CKR_OK);
    ck_assert_uint_eq(
        C_Decrypt(session, sealed->bytes + AEAD_IV_LEN, sealed->len - AEAD_IV_LEN, opened, &len),
        CKR_OK);
    ck_assert_uint_eq(len, strlen(TEXT));
    ck_assert_mem_eq(opened, TEXT, len);
}

static void assert_logins(bool has_bare, const struct blob *sealed)
{
    CK_OBJECT_HANDLE none;
    for (int i = 0; i < 2; i++) {
        CK_SESSION_HANDLE session = log_in();
        assert_opens(session, "own", sealed);
        if (has_bare)
            assert_opens(session, "bare", sealed);
        ck_assert_uint_eq(find(session, "changed", &none), 0);
        ck_assert_msg(strstr(fixture_log(), "[key changed] is not shown until the next C_Login "
                                            "(tampered)") != NULL,
                      "%s", fixture_log());
        ck_assert_ptr_null(strstr(fixture_log(), DIRECT_LOGIN_KEY));
        ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
    }
}

void direct_login_check(struct source *source, struct view bare, direct_login_configure *configure)
{
    static char sections[SECTIONS_MAX];
    struct blob wrapped = {0};
    struct blob sealed = {0};
    wrap(source, &wrapped);
    seal(&sealed);
    (void) snprintf(sections, sizeof(sections), "%s", "\n");
    add_section(sections, "own", blob_view(&wrapped));
    if (bare.len > 0)
        add_section(sections, "bare", bare);
    wrapped.bytes[wrapped.len - 1] ^= 1;
    add_section(sections, "changed", blob_view(&wrapped));
    configure(sections);
    kms_init_token();
    assert_logins(bare.len > 0, &sealed);
    blob_clear(&wrapped);
    blob_clear(&sealed);
}
