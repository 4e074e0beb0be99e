/*
 * What goes wrong between a token and its parent HSM: a table of faults, each tried twice, by the
 * source alone and by C_Login. Prints a line for each.
 */
#include <string.h>

#include "base/clock.h"
#include "tests/contract/hsm_fixture.h"

#define PATIENCE_MS 250
#define SHORT_MS 400
#define CONTEXT "context"

enum { SOURCE_ONLY = 1, LOGIN_ONLY = 2 };

struct fault {
    const char *name;
    const char *function;
    CK_RV rv;
    enum indexkey_cause cause;
    const char *says;
    enum hsm_shim_twist twist;
    int times; /* 0: always */
    bool hangs;
    const char *also;
    CK_RV also_rv;
    struct hsm_settings with;
    const char *context; /* of the call */
    int changed;         /* this byte of the wrapped key, from its end; negative: from its begin */
    unsigned int only;
    /* The mechanism by which the data key was wrapped. */
    const char *mechanism;
};

#define REFUSES(function, rv, cause, says)                                                         \
    {                                                                                              \
        function " " #rv, function, rv, INDEXKEY_CAUSE_##cause, says                               \
    }
#define KWP "aes-key-wrap-pad"

static const struct fault faults[] = {
    {"no fault", NULL, CKR_OK, INDEXKEY_CAUSE_NONE, ""},

    /* The module. */
    {"no module", NULL, CKR_OK, INDEXKEY_CAUSE_CONFIG, "module-path",
     .with = {.module = "/nonexistent.so"}},
    {"no library", NULL, CKR_OK, INDEXKEY_CAUSE_CONFIG, "module-path",
     .with = {.module = "/etc/passwd"}},
    {"no PKCS #11 module", NULL, CKR_OK, INDEXKEY_CAUSE_CONFIG, "no C_GetFunctionList",
     .with = {.module = HSM_NO_MODULE}},
    {"p11-kit's proxy", NULL, CKR_OK, INDEXKEY_CAUSE_CONFIG, "p11-kit's proxy",
     .with = {.module = HSM_PROXY}},
    {"this module", NULL, CKR_OK, INDEXKEY_CAUSE_CONFIG, "this very module",
     .with = {.module = HSM_OURSELVES}},
    REFUSES("C_GetFunctionList", CKR_GENERAL_ERROR, CONFIG, "cannot be loaded"),
    REFUSES("C_Initialize", CKR_GENERAL_ERROR, SERVER, "C_Initialize: CKR_GENERAL_ERROR"),
    REFUSES("C_Initialize", CKR_HOST_MEMORY, SERVER, "C_Initialize: CKR_HOST_MEMORY"),
    REFUSES("C_GetInfo", CKR_FUNCTION_FAILED, SERVER, "CKR_FUNCTION_FAILED"),

    /* The token. */
    {"another token", NULL, CKR_OK, INDEXKEY_CAUSE_UNREACHABLE, "no token that key_uri fits",
     .with = {.token = "token=other"}},
    {"another serial", NULL, CKR_OK, INDEXKEY_CAUSE_UNREACHABLE, "no token that key_uri fits",
     .with = {.token = "token=" HSM_TOKEN ";serial=0000"}},
    {"no slots", "C_GetSlotList", CKR_OK, INDEXKEY_CAUSE_UNREACHABLE, "no token that key_uri fits",
     SHIM_EMPTY},
    {"endless slots", "C_GetSlotList", CKR_OK, INDEXKEY_CAUSE_SERVER, "makes no sense",
     SHIM_ENDLESS},
    REFUSES("C_GetSlotList", CKR_FUNCTION_FAILED, SERVER, "slots: CKR_FUNCTION_FAILED"),
    REFUSES("C_GetTokenInfo", CKR_TOKEN_NOT_PRESENT, UNREACHABLE, "no token that key_uri fits"),
    REFUSES("C_OpenSession", CKR_DEVICE_REMOVED, UNREACHABLE, "its token is gone"),
    REFUSES("C_OpenSession", CKR_TOKEN_NOT_PRESENT, UNREACHABLE, "its token is gone"),
    REFUSES("C_OpenSession", CKR_TOKEN_NOT_RECOGNIZED, UNREACHABLE, "not known"),
    REFUSES("C_OpenSession", CKR_SLOT_ID_INVALID, UNREACHABLE, "its token is gone"),
    REFUSES("C_OpenSession", CKR_SESSION_COUNT, THROTTLED, "no session left"),
    REFUSES("C_OpenSession", CKR_DEVICE_ERROR, SERVER, "the HSM has failed"),

    /* The login. */
    {"wrong PIN", NULL, CKR_OK, INDEXKEY_CAUSE_CREDENTIAL, "refuses the PIN",
     .with = {.pin = "canary-pin"}},
    {"no PIN", NULL, CKR_OK, INDEXKEY_CAUSE_CONFIG, "asks for a PIN", .with = {.pin = ""}},
    {"empty PIN file", NULL, CKR_OK, INDEXKEY_CAUSE_CONFIG, "does not hold one line",
     .with = {.pin = "\n"}},
    REFUSES("C_Login", CKR_PIN_INCORRECT, CREDENTIAL, "refuses the PIN"),
    REFUSES("C_Login", CKR_PIN_LEN_RANGE, CREDENTIAL, "refuses the PIN"),
    {"C_Login CKR_PIN_LOCKED", "C_Login", CKR_PIN_LOCKED, INDEXKEY_CAUSE_CREDENTIAL,
     "its PIN is locked", .only = LOGIN_ONLY},
    REFUSES("C_Login", CKR_PIN_EXPIRED, CREDENTIAL, "expired"),
    REFUSES("C_Login", CKR_USER_PIN_NOT_INITIALIZED, CREDENTIAL, "no user PIN yet"),
    REFUSES("C_Login", CKR_USER_ANOTHER_ALREADY_LOGGED_IN, SERVER, "as another user"),
    REFUSES("C_Login", CKR_DEVICE_REMOVED, UNREACHABLE, "its token is gone"),
    REFUSES("C_Login", CKR_FUNCTION_FAILED, SERVER, "C_Login: CKR_FUNCTION_FAILED"),
    {"session closed by the application, once", "C_Login", CKR_SESSION_HANDLE_INVALID,
     INDEXKEY_CAUSE_NONE, "", .times = 1},
    {"session closed by the application, always", "C_Login", CKR_SESSION_HANDLE_INVALID,
     INDEXKEY_CAUSE_SERVER, "closed meanwhile"},
    {"finalised by the application, once", "C_OpenSession", CKR_CRYPTOKI_NOT_INITIALIZED,
     INDEXKEY_CAUSE_NONE, "", .times = 1},
    {"finalised by the application, always", "C_OpenSession", CKR_CRYPTOKI_NOT_INITIALIZED,
     INDEXKEY_CAUSE_SERVER, "finalised it"},

    /* The key. */
    {"key deleted", "C_FindObjects", CKR_OK, INDEXKEY_CAUSE_DELETED, "no wrapping key", SHIM_EMPTY},
    {"two keys", "C_FindObjects", CKR_OK, INDEXKEY_CAUSE_CONFIG, "several keys", SHIM_LONGER},
    {"endless keys", "C_FindObjects", CKR_OK, INDEXKEY_CAUSE_SERVER, "makes no sense",
     SHIM_ENDLESS},
    {"key of another label", NULL, CKR_OK, INDEXKEY_CAUSE_DELETED, "no wrapping key",
     .with = {.key = "object=other"}},
    {"key of another id", NULL, CKR_OK, INDEXKEY_CAUSE_CONTEXT, "another key",
     .with = {.key = "id=%11"}},
    {"key of another type", NULL, CKR_OK, INDEXKEY_CAUSE_DELETED, "no wrapping key",
     .with = {.key = "object=" HSM_RSA ";type=public"}},
    REFUSES("C_FindObjectsInit", CKR_USER_NOT_LOGGED_IN, SERVER, "logged out meanwhile"),
    REFUSES("C_FindObjects", CKR_DEVICE_ERROR, SERVER, "search for the key"),
    REFUSES("C_FindObjectsFinal", CKR_GENERAL_ERROR, SERVER, "search for the key"),
    REFUSES("C_DecryptInit", CKR_KEY_HANDLE_INVALID, DELETED, "is gone"),
    REFUSES("C_DecryptInit", CKR_KEY_FUNCTION_NOT_PERMITTED, DISABLED, "not permitted"),
    REFUSES("C_DecryptInit", CKR_ACTION_PROHIBITED, DENIED, "denies"),
    REFUSES("C_DecryptInit", CKR_FUNCTION_REJECTED, DENIED, "rejected"),
    REFUSES("C_DecryptInit", CKR_MECHANISM_INVALID, CONFIG, "wrap_mechanism"),
    REFUSES("C_DecryptInit", CKR_MECHANISM_PARAM_INVALID, CONFIG, "wrap_mechanism"),
    REFUSES("C_DecryptInit", CKR_KEY_TYPE_INCONSISTENT, CONFIG, "wrap_mechanism"),
    REFUSES("C_DecryptInit", CKR_FUNCTION_NOT_SUPPORTED, CONFIG, "wrap_mechanism"),
    REFUSES("C_DecryptInit", CKR_DEVICE_REMOVED, UNREACHABLE, "its token is gone"),

    /* The wrapped key. */
    {"tampered tag", NULL, CKR_OK, INDEXKEY_CAUSE_TAMPERED, "was changed", .changed = 1,
     .only = SOURCE_ONLY},
    {"tampered ciphertext", NULL, CKR_OK, INDEXKEY_CAUSE_TAMPERED, "was changed", .changed = 40,
     .only = SOURCE_ONLY},
    {"tampered IV", NULL, CKR_OK, INDEXKEY_CAUSE_TAMPERED, "was changed", .changed = 60,
     .only = SOURCE_ONLY},
    {"tampered mechanism", NULL, CKR_OK, INDEXKEY_CAUSE_TAMPERED, "none", .changed = -6,
     .only = SOURCE_ONLY},
    {"tampered format", NULL, CKR_OK, INDEXKEY_CAUSE_TAMPERED, "none", .changed = -5,
     .only = SOURCE_ONLY},
    {"tampered begin", NULL, CKR_OK, INDEXKEY_CAUSE_TAMPERED, "none", .changed = -1,
     .only = SOURCE_ONLY},
    {"tampered key id", NULL, CKR_OK, INDEXKEY_CAUSE_DELETED, "no wrapping key", .changed = -11,
     .only = SOURCE_ONLY},
    {"wrong context", NULL, CKR_OK, INDEXKEY_CAUSE_TAMPERED, "another context", .context = "other",
     .only = SOURCE_ONLY},
    {"tampered, wrapped by KWP", NULL, CKR_OK, INDEXKEY_CAUSE_TAMPERED, "was changed", .changed = 1,
     .only = SOURCE_ONLY, .mechanism = KWP},
    {"tampered, wrapped by RSA", NULL, CKR_OK, INDEXKEY_CAUSE_TAMPERED, "was changed", .changed = 1,
     .with = {.key = "object=" HSM_RSA}, .only = SOURCE_ONLY, .mechanism = "rsa-oaep-sha1"},
    REFUSES("C_Decrypt", CKR_ENCRYPTED_DATA_INVALID, TAMPERED, "was changed"),
    REFUSES("C_Decrypt", CKR_ENCRYPTED_DATA_LEN_RANGE, TAMPERED, "was changed"),
    REFUSES("C_Decrypt", CKR_AEAD_DECRYPT_FAILED, TAMPERED, "was changed"),
    REFUSES("C_Decrypt", CKR_GENERAL_ERROR, TAMPERED, "was changed"),
    {"general error of a device that has failed", "C_Decrypt", CKR_GENERAL_ERROR,
     INDEXKEY_CAUSE_SERVER, "its module has failed", .also = "C_GetSessionInfo",
     .also_rv = CKR_DEVICE_ERROR},
    REFUSES("C_Decrypt", CKR_DEVICE_REMOVED, UNREACHABLE, "its token is gone"),
    REFUSES("C_Decrypt", CKR_DEVICE_ERROR, SERVER, "the HSM has failed"),
    REFUSES("C_Decrypt", CKR_DEVICE_MEMORY, SERVER, "lacks memory"),
    REFUSES("C_Decrypt", CKR_VENDOR_DEFINED + 7, SERVER, "CKR 0x80000007"),
    {"empty key", "C_Decrypt", CKR_OK, INDEXKEY_CAUSE_SERVER, "makes no sense", SHIM_EMPTY},
    {"key of 31 bytes", "C_Decrypt", CKR_OK, INDEXKEY_CAUSE_TAMPERED, "instead of 32",
     SHIM_SHORTER},
    {"key of 33 bytes", "C_Decrypt", CKR_OK, INDEXKEY_CAUSE_TAMPERED, "instead of 32", SHIM_LONGER},
    {"endless key", "C_Decrypt", CKR_OK, INDEXKEY_CAUSE_SERVER, "makes no sense", SHIM_ENDLESS},
    {"another key", "C_Decrypt", CKR_OK, INDEXKEY_CAUSE_TAMPERED, "was changed", SHIM_CHANGED,
     .only = LOGIN_ONLY},

    /* By C_UnwrapKey. */
    {"C_UnwrapKey CKR_WRAPPED_KEY_INVALID", "C_UnwrapKey", CKR_WRAPPED_KEY_INVALID,
     INDEXKEY_CAUSE_TAMPERED, "was changed", .only = SOURCE_ONLY, .mechanism = KWP},
    {"C_UnwrapKey CKR_TEMPLATE_INCONSISTENT", "C_UnwrapKey", CKR_TEMPLATE_INCONSISTENT,
     INDEXKEY_CAUSE_CONFIG, "template", .only = SOURCE_ONLY, .mechanism = KWP},
    {"C_UnwrapKey CKR_UNWRAPPING_KEY_HANDLE_INVALID", "C_UnwrapKey",
     CKR_UNWRAPPING_KEY_HANDLE_INVALID, INDEXKEY_CAUSE_DELETED, "is gone", .only = SOURCE_ONLY,
     .mechanism = KWP},
    {"value not shown", "C_GetAttributeValue", CKR_ATTRIBUTE_SENSITIVE, INDEXKEY_CAUSE_CONFIG,
     "may be read", .only = SOURCE_ONLY, .mechanism = KWP},
    {"value of no length", "C_GetAttributeValue", CKR_OK, INDEXKEY_CAUSE_SERVER, "makes no sense",
     SHIM_ENDLESS, .only = SOURCE_ONLY, .mechanism = KWP},
    {"value of 31 bytes", "C_GetAttributeValue", CKR_OK, INDEXKEY_CAUSE_TAMPERED, "instead of 32",
     SHIM_SHORTER, .only = SOURCE_ONLY, .mechanism = KWP},

/* What hangs. */
#define HANGS(function)                                                                            \
    {                                                                                              \
        function " hangs", function, CKR_OK, INDEXKEY_CAUSE_TIMEOUT,                               \
            "one of its calls): timeout: it did not come back", .hangs = true, .with = {           \
                .deadline_ms = SHORT_MS                                                            \
            }                                                                                      \
    }
    HANGS("C_GetFunctionList"),
    HANGS("C_Initialize"),
    HANGS("C_GetSlotList"),
    HANGS("C_OpenSession"),
    HANGS("C_Login"),
    HANGS("C_FindObjects"),
    HANGS("C_Decrypt"),
    HANGS("C_CloseSession"),
};

static struct blob wrapped[3];
static const char *const mechanisms[] = {"aes-gcm", KWP, "rsa-oaep-sha1"};
static const char *const mechanism_keys[] = {"object=" HSM_AES, "object=" HSM_AES,
                                             "object=" HSM_RSA};

static const struct blob *wrapped_by(const char *mechanism)
{
    for (size_t i = 0; mechanism != NULL && i < COUNT_OF(mechanisms); i++) {
        if (strcmp(mechanisms[i], mechanism) == 0)
            return &wrapped[i];
    }
    return &wrapped[0];
}

struct outcome {
    CK_RV rv;
    enum indexkey_cause cause;
    int64_t late_ms;
    bool log_ok;
};

static bool log_is_right(const struct fault *fault)
{
    const char *log = fixture_log();
    size_t lines = fault->cause == INDEXKEY_CAUSE_NONE ? 0u : 1u;
    return strstr(log, "canary") == NULL && strstr(log, HSM_PIN) == NULL &&
           fixture_log_count() == lines &&
           (lines == 0 || strstr(log, "token 'vectors'") != NULL || strstr(log, "source hsm")) &&
           strstr(log, fault->says) != NULL;
}

static void begin(const struct fault *fault)
{
    struct hsm_shim *shim = hsm_shim_get();
    hsm_configure(&fault->with);
    shim->rv = fault->rv;
    shim->twist = fault->twist;
    shim->hangs = fault->hangs;
    shim->times = fault->times == 0 ? -1 : fault->times;
    shim->also = fault->also;
    shim->also_rv = fault->also_rv;
    shim->function = fault->function;
}

static void end(const struct fault *fault, int64_t begin_ms, struct outcome *outcome)
{
    int deadline_ms = fault->with.deadline_ms == 0 ? KMS_DEADLINE_MS : fault->with.deadline_ms;
    outcome->late_ms = clock_boot_ms() - begin_ms - deadline_ms;
    outcome->log_ok = log_is_right(fault);
}

static void change(struct blob *sent, int where)
{
    size_t at = where > 0 ? sent->len - (size_t) where : (size_t) -where - 1;
    /* No neighbour of a mechanism's number, nor of the key's id. */
    sent->bytes[at] ^= 0x40;
}

static void by_source(const struct fault *fault, struct outcome *outcome)
{
    struct source *source = NULL;
    struct blob sent = {0};
    size_t in_use = secrets_in_use();
    const struct blob *stored = wrapped_by(fault->mechanism);
    begin(fault);
    ck_assert_uint_eq(kms_try_open(&source), CKR_OK);
    ck_assert_uint_eq(blob_from(stored->bytes, stored->len, &sent), CKR_OK);
    if (fault->changed != 0)
        change(&sent, fault->changed);
    const char *context = fault->context == NULL ? CONTEXT : fault->context;
    int64_t begin_ms = clock_boot_ms();
    outcome->rv = kms_unwrap(source, hsm_call(&fault->with, view_text(context)), blob_view(&sent));
    outcome->cause = cause_last();
    end(fault, begin_ms, outcome);
    blob_clear(&sent);
    source_close(&source);
    hsm_shim_settle(in_use);
}

/* C_Finalize, which waits for the parent a moment, is within it. */
static void by_login(const struct fault *fault, struct outcome *outcome)
{
    size_t in_use = secrets_in_use();
    begin(fault);
    int64_t begin_ms = clock_boot_ms();
    outcome->rv = kms_login(FIXTURE_PIN, &outcome->cause);
    end(fault, begin_ms, outcome);
    if (fault->hangs)
        outcome->late_ms -= 500;
    hsm_shim_settle(in_use);
}

static int report(const struct fault *fault, const char *by, const struct outcome *outcome)
{
    bool right = outcome->rv == cause_rv(fault->cause) && outcome->cause == fault->cause &&
                 outcome->late_ms <= PATIENCE_MS && outcome->log_ok;
    printf("%-7s| %-46s | %-11s | %s%s\n", by, fault->name, cause_name(outcome->cause),
           outcome->log_ok ? "log ok" : "LOG WRONG", right ? "" : "  <-- WRONG");
    if (!right)
        printf("        wanted %s, got %lx; %ld ms late; log: %s\n", cause_name(fault->cause),
               outcome->rv, (long) outcome->late_ms, fixture_log());
    (void) fflush(stdout);
    return right ? 0 : 1;
}

static void try_all(unsigned int kind)
{
    int wrong = 0;
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        struct outcome outcome = {0};
        if (faults[i].only != 0 && faults[i].only != kind)
            continue;
        if (kind == SOURCE_ONLY)
            by_source(&faults[i], &outcome);
        else
            by_login(&faults[i], &outcome);
        wrong += report(&faults[i], kind == SOURCE_ONLY ? "source" : "C_Login", &outcome);
    }
    ck_assert_int_eq(wrong, 0);
}

START_TEST(every_fault_by_the_source)
{
    hsm_shim_reset();
    for (size_t i = 0; i < COUNT_OF(mechanisms); i++) {
        char more[64];
        (void) snprintf(more, sizeof(more), "wrap_mechanism = %s", mechanisms[i]);
        struct hsm_settings settings = {.key = mechanism_keys[i], .more = more};
        struct source *source = hsm_open(&settings);
        kms_assert_ok(kms_make(source, hsm_call(&settings, view_text(CONTEXT)), &wrapped[i]));
        source_close(&source);
    }
    try_all(SOURCE_ONLY);
    for (size_t i = 0; i < COUNT_OF(mechanisms); i++)
        blob_clear(&wrapped[i]);
}
END_TEST

START_TEST(every_fault_by_c_login)
{
    static const struct hsm_settings settings;
    hsm_shim_reset();
    hsm_configure(&settings);
    kms_init_token();
    try_all(LOGIN_ONLY);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("faults");
    tcase_set_timeout(cases, 300);
    tcase_add_unchecked_fixture(cases, hsm_start, NULL);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_test(cases, every_fault_by_the_source);
    tcase_add_test(cases, every_fault_by_c_login);
    return fixture_run("source hsm", cases);
}
