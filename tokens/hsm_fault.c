#include "tokens/hsm_fault.h"

#include <stdio.h>

#include "base/cause.h"

#define ANY_STEP (-1)

CK_RV hsm_fault_set(struct hsm_fault *fault, enum hsm_trouble trouble)
{
    if (fault->trouble == HSM_NO_TROUBLE)
        fault->trouble = trouble;
    return CKR_FUNCTION_FAILED;
}

CK_RV hsm_fault_refused(struct hsm_fault *fault, CK_RV rv)
{
    if (fault->trouble == HSM_NO_TROUBLE)
        fault->rv = rv;
    return hsm_fault_set(fault, HSM_REFUSED);
}

/* ---- what is wrong, but for a CK_RV ---- */

struct meaning {
    enum indexkey_cause cause;
    const char *why;
    const char *remedy;
};

static const struct meaning troubles[] = {
    [HSM_NOT_LOADED] = {INDEXKEY_CAUSE_CONFIG, "it cannot be loaded",
                        "correct module-path in key_uri"},
    [HSM_IS_OURSELVES] = {INDEXKEY_CAUSE_CONFIG, "key_uri leads back to this very module",
                          "name the module of the HSM in module-path"},
    [HSM_IS_PROXY] = {INDEXKEY_CAUSE_CONFIG,
                      "it is p11-kit's proxy, which leads back to this module",
                      "name the module of the HSM itself in module-path"},
    [HSM_NO_TOKEN] = {INDEXKEY_CAUSE_UNREACHABLE, "it has no token that key_uri fits",
                      "check that the HSM is connected, its module's configuration, and key_uri"},
    [HSM_SEVERAL_TOKENS] = {INDEXKEY_CAUSE_CONFIG, "key_uri fits several of its tokens",
                            "add serial= to key_uri"},
    [HSM_NO_PIN] = {INDEXKEY_CAUSE_CONFIG, "its token asks for a PIN, and none is configured",
                    "set pin_file, or pin-source in key_uri"},
    [HSM_NO_KEY] = {INDEXKEY_CAUSE_DELETED, "its token has no wrapping key that key_uri fits",
                    "restore the key from a backup, or correct key_uri"},
    [HSM_SEVERAL_KEYS] = {INDEXKEY_CAUSE_CONFIG, "key_uri fits several keys", "add id= to key_uri"},
    [HSM_OTHER_KEY] = {INDEXKEY_CAUSE_CONTEXT,
                       "the data key was wrapped by another key than key_uri names",
                       "set the former id in key_uri"},
    [HSM_NO_MECHANISM] = {INDEXKEY_CAUSE_CONFIG,
                          "it wraps by none of the mechanisms that serve with this key",
                          "make a key that may encrypt and decrypt, or wrap and unwrap"},
    [HSM_CHANGED] = {INDEXKEY_CAUSE_TAMPERED,
                     "the wrapped data key was changed, or was wrapped by another key or under "
                     "another context",
                     "restore the store from a backup, or set the former context.* and key_uri"},
    [HSM_NO_FORM] = {INDEXKEY_CAUSE_TAMPERED, "what should be a wrapped key is none",
                     "restore the store from a backup; for a direct key set wrap_mechanism to what "
                     "made it"},
    [HSM_ODD_ANSWER] = {INDEXKEY_CAUSE_SERVER, "its answer makes no sense",
                        "look into the HSM's own log"},
    [HSM_NOT_SHOWN] = {INDEXKEY_CAUSE_CONFIG, "it unwraps no key whose value may be read",
                       "use a key and a wrap_mechanism of aes-gcm"},
    [HSM_TIMEOUT] = {INDEXKEY_CAUSE_TIMEOUT, "timeout: it did not come back in time",
                     "check the HSM and its load, or raise deadline"},
    [HSM_STUCK] = {INDEXKEY_CAUSE_TIMEOUT, "timeout: too many calls to it have not come back yet",
                   "check the HSM, and start this process anew"},
    [HSM_CANCELLED] = {INDEXKEY_CAUSE_CANCELLED, "the call was ended by C_Finalize",
                       "nothing is wrong"},
    [HSM_NO_THREAD] = {INDEXKEY_CAUSE_SERVER, "no thread can be had to call it",
                       "raise this process's limit of threads"},
};

/* ---- what a CK_RV means ---- */

static const struct row {
    int step;
    CK_RV rv;
    const char *name;
    struct meaning means;
} rows[] = {
#define ROW(step, rv, cause, why, remedy)                                                          \
    {                                                                                              \
        step, rv, #rv,                                                                             \
        {                                                                                          \
            INDEXKEY_CAUSE_##cause, why, remedy                                                    \
        }                                                                                          \
    }
#define NEW_PIN "give it the right PIN"
    ROW(HSM_LOGIN, CKR_PIN_INCORRECT, CREDENTIAL, "it refuses the PIN", NEW_PIN),
    ROW(HSM_LOGIN, CKR_PIN_INVALID, CREDENTIAL, "it refuses the PIN", NEW_PIN),
    ROW(HSM_LOGIN, CKR_PIN_LEN_RANGE, CREDENTIAL, "it refuses the PIN", NEW_PIN),
    ROW(HSM_LOGIN, CKR_ARGUMENTS_BAD, CREDENTIAL, "it refuses the PIN", NEW_PIN),
    ROW(HSM_LOGIN, CKR_PIN_EXPIRED, CREDENTIAL, "its PIN has expired", "set a new PIN at the HSM"),
    ROW(HSM_LOGIN, CKR_PIN_LOCKED, CREDENTIAL, "its PIN is locked",
        "have the HSM's security officer unlock it"),
    ROW(HSM_LOGIN, CKR_USER_PIN_NOT_INITIALIZED, CREDENTIAL, "its token has no user PIN yet",
        "have the HSM's security officer set one"),
    ROW(HSM_LOGIN, CKR_USER_ANOTHER_ALREADY_LOGGED_IN, SERVER,
        "the application has logged in to it as another user", "log that user out"),
    ROW(HSM_LOGIN, CKR_USER_TOO_MANY_TYPES, SERVER,
        "the application has logged in to it as another user", "log that user out"),
#define REMOVED "check that the HSM is connected"
    ROW(ANY_STEP, CKR_DEVICE_REMOVED, UNREACHABLE, "unreachable: its token is gone", REMOVED),
    ROW(ANY_STEP, CKR_TOKEN_NOT_PRESENT, UNREACHABLE, "unreachable: its token is gone", REMOVED),
    ROW(ANY_STEP, CKR_TOKEN_NOT_RECOGNIZED, UNREACHABLE, "unreachable: its token is not known",
        REMOVED),
    ROW(ANY_STEP, CKR_SLOT_ID_INVALID, UNREACHABLE, "unreachable: its token is gone", REMOVED),
#define KEY_GONE "restore the key from a backup"
    ROW(ANY_STEP, CKR_KEY_HANDLE_INVALID, DELETED, "its wrapping key is gone", KEY_GONE),
    ROW(ANY_STEP, CKR_OBJECT_HANDLE_INVALID, DELETED, "its wrapping key is gone", KEY_GONE),
    ROW(ANY_STEP, CKR_WRAPPING_KEY_HANDLE_INVALID, DELETED, "its wrapping key is gone", KEY_GONE),
    ROW(ANY_STEP, CKR_UNWRAPPING_KEY_HANDLE_INVALID, DELETED, "its wrapping key is gone", KEY_GONE),
    ROW(ANY_STEP, CKR_KEY_FUNCTION_NOT_PERMITTED, DISABLED,
        "its wrapping key is not permitted to do that",
        "set CKA_DECRYPT or CKA_UNWRAP of the key again"),
    ROW(ANY_STEP, CKR_ACTION_PROHIBITED, DENIED, "it denies that", "give the user the permission"),
    ROW(ANY_STEP, CKR_FUNCTION_REJECTED, DENIED, "its operator rejected that",
        "have the request approved"),
    ROW(ANY_STEP, CKR_SESSION_COUNT, THROTTLED, "throttled: it has no session left",
        "close sessions of other processes, or try later"),
#define MECHANISM "set wrap_mechanism to one that the HSM has for this key"
    ROW(ANY_STEP, CKR_MECHANISM_INVALID, CONFIG, "it has not that mechanism", MECHANISM),
    ROW(ANY_STEP, CKR_MECHANISM_PARAM_INVALID, CONFIG, "it has not that mechanism", MECHANISM),
    ROW(ANY_STEP, CKR_FUNCTION_NOT_SUPPORTED, CONFIG, "it has not that function", MECHANISM),
    ROW(ANY_STEP, CKR_KEY_TYPE_INCONSISTENT, CONFIG, "its key is not for that mechanism",
        MECHANISM),
    ROW(ANY_STEP, CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, CONFIG, "its key is not for that mechanism",
        MECHANISM),
    ROW(ANY_STEP, CKR_WRAPPING_KEY_TYPE_INCONSISTENT, CONFIG, "its key is not for that mechanism",
        MECHANISM),
    ROW(ANY_STEP, CKR_UNWRAPPING_KEY_SIZE_RANGE, CONFIG, "its key is not for that mechanism",
        MECHANISM),
    ROW(ANY_STEP, CKR_KEY_SIZE_RANGE, CONFIG, "its key is not for that mechanism", MECHANISM),
    ROW(ANY_STEP, CKR_TEMPLATE_INCONSISTENT, CONFIG, "it refuses the template", MECHANISM),
    ROW(ANY_STEP, CKR_ATTRIBUTE_VALUE_INVALID, CONFIG, "it refuses the template", MECHANISM),
#define AGAIN "try again"
    ROW(ANY_STEP, CKR_USER_NOT_LOGGED_IN, SERVER, "it was logged out meanwhile", AGAIN),
    ROW(ANY_STEP, CKR_SESSION_HANDLE_INVALID, SERVER, "its session was closed meanwhile", AGAIN),
    ROW(ANY_STEP, CKR_SESSION_CLOSED, SERVER, "its session was closed meanwhile", AGAIN),
    ROW(ANY_STEP, CKR_CRYPTOKI_NOT_INITIALIZED, SERVER, "the application finalised it", AGAIN),
#define LOOK "look into the HSM's own log"
    ROW(ANY_STEP, CKR_DEVICE_ERROR, SERVER, "the HSM has failed", LOOK),
    ROW(ANY_STEP, CKR_DEVICE_MEMORY, SERVER, "the HSM lacks memory", LOOK),
    ROW(ANY_STEP, CKR_HOST_MEMORY, SERVER, "its module lacks memory", LOOK),
    ROW(ANY_STEP, CKR_GENERAL_ERROR, SERVER, "its module has failed", LOOK),
    ROW(ANY_STEP, CKR_FUNCTION_FAILED, SERVER, "the HSM has failed", LOOK),
};

static const struct meaning other = {INDEXKEY_CAUSE_SERVER, "it failed", LOOK};

static const struct row *row_of(const struct hsm_fault *fault)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].rv == fault->rv &&
            (rows[i].step == ANY_STEP || rows[i].step == (int) fault->step))
            return &rows[i];
    }
    return NULL;
}

static const char *step_name(enum hsm_step step)
{
    static const char *const names[] = {
        [HSM_LOAD] = "loading",
        [HSM_INITIALIZE] = "C_Initialize",
        [HSM_FIND_TOKEN] = "slots",
        [HSM_OPEN_SESSION] = "C_OpenSession",
        [HSM_LOGIN] = "C_Login",
        [HSM_FIND_KEY] = "search for the key",
        [HSM_WRAP] = "wrapping",
        [HSM_UNWRAP] = "unwrapping",
        [HSM_SOME_STEP] = "one of its calls",
    };
    return names[step];
}

static CK_RV tell(const char *token, const char *what, const char *module, const char *detail,
                  const struct meaning *means)
{
    return FAIL_CAUSE(means->cause, "token '%s': cannot %s by its parent HSM (%s, %s): %s; %s",
                      token, what, module, detail, means->why, means->remedy);
}

CK_RV hsm_fault_tell(const char *token, const char *what, const char *module,
                     const struct hsm_fault *fault)
{
    char detail[HSM_DETAIL_MAX + 64];
    if (fault->trouble == HSM_NO_MEMORY)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to %s by its parent HSM", token, what);
    if (fault->trouble != HSM_REFUSED) {
        (void) snprintf(detail, sizeof(detail), "%s%s%s", step_name(fault->step),
                        fault->detail[0] == '\0' ? "" : ": ", fault->detail);
        return tell(token, what, module, detail, &troubles[fault->trouble]);
    }
    const struct row *row = row_of(fault);
    if (row != NULL)
        (void) snprintf(detail, sizeof(detail), "%s: %s", step_name(fault->step), row->name);
    else
        (void) snprintf(detail, sizeof(detail), "%s: CKR 0x%lx", step_name(fault->step), fault->rv);
    CK_RV rv = tell(token, what, module, detail, row != NULL ? &row->means : &other);
    return fault->rv == CKR_PIN_LOCKED ? CKR_PIN_LOCKED : rv;
}
