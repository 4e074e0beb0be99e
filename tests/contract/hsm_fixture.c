#include "tests/contract/hsm_fixture.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define PIN_FILE "parent.pin"
#define WAIT_MS 5000
#define RSA_BITS 2048

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

/* ---- the parent ---- */

const CK_FUNCTION_LIST *hsm_real(void)
{
    static CK_FUNCTION_LIST *functions;
    if (functions != NULL)
        return functions;
    const char *path = getenv("SOFTHSM_MODULE");
    ck_assert_msg(path != NULL, "SOFTHSM_MODULE must name SoftHSM's library");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
    CK_C_GetFunctionList get = (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList");
    ck_assert_ptr_nonnull(get);
    ck_assert_uint_eq(get(&functions), CKR_OK);
    return functions;
}

static CK_SLOT_ID slot_of(const char *label)
{
    CK_SLOT_ID slots[16];
    CK_ULONG count = COUNT_OF(slots);
    CK_TOKEN_INFO info;
    ck_assert_uint_eq(hsm_real()->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    for (CK_ULONG i = 0; i < count; i++) {
        ck_assert_uint_eq(hsm_real()->C_GetTokenInfo(slots[i], &info), CKR_OK);
        if (memcmp(info.label, label, strlen(label)) == 0)
            return slots[i];
    }
    ck_abort_msg("the parent has no token %s", label);
    return 0;
}

CK_SESSION_HANDLE hsm_real_session(void)
{
    const CK_FUNCTION_LIST *p11 = hsm_real();
    CK_SESSION_HANDLE session;
    CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    ck_assert_uint_eq(p11->C_OpenSession(slot_of(HSM_TOKEN " "), flags, NULL, NULL, &session),
                      CKR_OK);
    CK_RV rv = p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *) HSM_PIN, strlen(HSM_PIN));
    ck_assert(rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN);
    return session;
}

CK_SESSION_HANDLE hsm_other_user(void)
{
    CK_RV rv = hsm_real()->C_Initialize(NULL);
    ck_assert(rv == CKR_OK || rv == CKR_CRYPTOKI_ALREADY_INITIALIZED);
    return hsm_real_session();
}

CK_OBJECT_HANDLE hsm_make_aes(CK_SESSION_HANDLE session, const char *label, CK_BYTE id,
                              bool encrypts, bool wraps)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG len = 32;
    CK_BBOOL *may_encrypt = encrypts ? &yes : &no;
    CK_BBOOL *may_wrap = wraps ? &yes : &no;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, 1},
        {CKA_PRIVATE, &yes, 1},
        {CKA_SENSITIVE, &yes, 1},
        {CKA_LABEL, (char *) label, strlen(label)},
        {CKA_ID, &id, 1},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_ENCRYPT, may_encrypt, 1},
        {CKA_DECRYPT, may_encrypt, 1},
        {CKA_WRAP, may_wrap, 1},
        {CKA_UNWRAP, may_wrap, 1},
    };
    CK_OBJECT_HANDLE key;
    CK_RV rv = hsm_real()->C_GenerateKey(session, &mechanism, template, COUNT_OF(template), &key);
    ck_assert_uint_eq(rv, CKR_OK);
    return key;
}

static void make_rsa(CK_SESSION_HANDLE session, const char *label, CK_BYTE id)
{
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ULONG bits = RSA_BITS;
    CK_BYTE exponent[] = {1, 0, 1};
    CK_ATTRIBUTE public[] = {
        {CKA_TOKEN, &yes, 1}, {CKA_LABEL, (char *) label, strlen(label)},
        {CKA_ID, &id, 1},     {CKA_MODULUS_BITS, &bits, sizeof(bits)},
        {CKA_WRAP, &yes, 1},  {CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent)},
    };
    CK_ATTRIBUTE private[] = {
        {CKA_TOKEN, &yes, 1},
        {CKA_PRIVATE, &yes, 1},
        {CKA_LABEL, (char *) label, strlen(label)},
        {CKA_SENSITIVE, &yes, 1},
        {CKA_ID, &id, 1},
        {CKA_UNWRAP, &yes, 1},
    };
    CK_OBJECT_HANDLE keys[2];
    CK_RV rv = hsm_real()->C_GenerateKeyPair(session, &mechanism, public, COUNT_OF(public), private,
                                             COUNT_OF(private), &keys[0], &keys[1]);
    ck_assert_uint_eq(rv, CKR_OK);
}

CK_OBJECT_HANDLE hsm_find_aes(CK_SESSION_HANDLE session, const char *label, CK_BYTE id)
{
    CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &secret_key, sizeof(secret_key)},
        {CKA_LABEL, (char *) label, strlen(label)},
        {CKA_ID, &id, 1},
    };
    CK_OBJECT_HANDLE key;
    CK_ULONG count = 0;
    const CK_FUNCTION_LIST *p11 = hsm_real();
    ck_assert_uint_eq(p11->C_FindObjectsInit(session, template, COUNT_OF(template)), CKR_OK);
    ck_assert_uint_eq(p11->C_FindObjects(session, &key, 1, &count), CKR_OK);
    ck_assert_uint_eq(p11->C_FindObjectsFinal(session), CKR_OK);
    ck_assert_uint_eq(count, 1);
    return key;
}

void hsm_start(void)
{
    const CK_FUNCTION_LIST *p11 = hsm_real();
    ck_assert_uint_eq(p11->C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = hsm_real_session();
    (void) hsm_make_aes(session, HSM_AES, 0x10, true, true);
    (void) hsm_make_aes(session, HSM_GCM_ONLY, 0x11, true, false);
    (void) hsm_make_aes(session, HSM_WRAP_ONLY, 0x12, false, true);
    (void) hsm_make_aes(session, HSM_USELESS, 0x13, false, false);
    make_rsa(session, HSM_RSA, 0x14);
    ck_assert_uint_eq(p11->C_Finalize(NULL), CKR_OK);
}

/* ---- the shim ---- */

struct hsm_shim *hsm_shim_get(void)
{
    static struct hsm_shim *shim;
    if (shim == NULL) {
        void *library = dlopen(HSM_SHIM, RTLD_NOW | RTLD_LOCAL);
        ck_assert_msg(library != NULL, "%s", dlerror());
        shim = dlsym(library, "hsm_shim");
        ck_assert_ptr_nonnull(shim);
    }
    return shim;
}

void hsm_shim_reset(void)
{
    struct hsm_shim *shim = hsm_shim_get();
    int64_t until_ms = clock_boot_ms() + WAIT_MS;
    atomic_store(&shim->let_go, true);
    while (atomic_load(&shim->hanging) > 0 || atomic_load(&shim->sessions) > 0) {
        ck_assert_int_lt(clock_boot_ms(), until_ms);
        (void) usleep(1000);
    }
    memset(shim, 0, sizeof(*shim));
}

void hsm_shim_settle(size_t secrets)
{
    int64_t until_ms = clock_boot_ms() + WAIT_MS;
    hsm_shim_reset();
    while (secrets_in_use() != secrets) {
        ck_assert_int_lt(clock_boot_ms(), until_ms);
        (void) usleep(1000);
    }
}

/* ---- the token ---- */

static const char *or_default(const char *value, const char *fallback)
{
    return value == NULL ? fallback : value;
}

static int deadline_of(const struct hsm_settings *settings)
{
    return settings->deadline_ms == 0 ? KMS_DEADLINE_MS : settings->deadline_ms;
}

void hsm_configure(const struct hsm_settings *settings)
{
    char lines[2048];
    char pin_line[512] = "";
    const char *pin = or_default(settings->pin, HSM_PIN);
    if (*pin != '\0') {
        fixture_write(PIN_FILE, pin, 0600);
        (void) snprintf(pin_line, sizeof(pin_line), "pin_file = %s\n", fixture_path(PIN_FILE));
    }
    int len = snprintf(lines, sizeof(lines),
                       "key_uri = pkcs11:%s;%s?module-path=%s%s\n%sdeadline = %dms\n%s",
                       or_default(settings->token, "token=" HSM_TOKEN),
                       or_default(settings->key, "object=" HSM_AES),
                       or_default(settings->module, HSM_SHIM), or_default(settings->query, ""),
                       pin_line, deadline_of(settings), or_default(settings->more, ""));
    ck_assert_int_lt(len, (int) sizeof(lines));
    kms_write_conf("hsm", fixture_store(1), lines);
}

struct source *hsm_open(const struct hsm_settings *settings)
{
    hsm_configure(settings);
    return kms_open();
}

struct source_call hsm_call(const struct hsm_settings *settings, struct view context)
{
    const struct kms_settings plain = {.deadline_ms = deadline_of(settings)};
    return kms_call(&plain, context);
}
