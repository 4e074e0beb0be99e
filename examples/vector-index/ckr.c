#include "ckr.h"

#include <stddef.h>

#include "util.h"

struct ckr_entry {
    CK_RV rv;
    const char *name;
    const char *remedy;
};

#define MODULE_LOG "look at the module's own log for the cause"
#define KEY_USAGE "an administrator must make this key with the right type and usage (see README)"
#define KEY_LOST "the session or key is gone: run the command again"
#define FIX_PIN "check --pin-file, --pin-fd or VECTOR_INDEX_PIN; mind that tries are counted"

static const struct ckr_entry entries[] = {
    { CKR_HOST_MEMORY, "CKR_HOST_MEMORY", "free some memory on this host" },
    { CKR_SLOT_ID_INVALID, "CKR_SLOT_ID_INVALID", "the token was removed: run the command again" },
    { CKR_GENERAL_ERROR, "CKR_GENERAL_ERROR", MODULE_LOG },
    { CKR_FUNCTION_FAILED, "CKR_FUNCTION_FAILED", MODULE_LOG },
    { CKR_ARGUMENTS_BAD, "CKR_ARGUMENTS_BAD", "the module refuses this kind of call" },
    { CKR_CANT_LOCK, "CKR_CANT_LOCK", MODULE_LOG },
    { CKR_ATTRIBUTE_TYPE_INVALID, "CKR_ATTRIBUTE_TYPE_INVALID", MODULE_LOG },
    { CKR_ATTRIBUTE_VALUE_INVALID, "CKR_ATTRIBUTE_VALUE_INVALID", MODULE_LOG },
    { CKR_DATA_INVALID, "CKR_DATA_INVALID", MODULE_LOG },
    { CKR_DATA_LEN_RANGE, "CKR_DATA_LEN_RANGE", "the token refuses records of this size" },
    { CKR_DEVICE_ERROR, "CKR_DEVICE_ERROR", MODULE_LOG },
    { CKR_DEVICE_MEMORY, "CKR_DEVICE_MEMORY", "the token is full or busy: close other sessions" },
    { CKR_DEVICE_REMOVED, "CKR_DEVICE_REMOVED", "the token was removed: run the command again" },
    { CKR_ENCRYPTED_DATA_INVALID, "CKR_ENCRYPTED_DATA_INVALID", NULL },
    { CKR_ENCRYPTED_DATA_LEN_RANGE, "CKR_ENCRYPTED_DATA_LEN_RANGE", NULL },
    { CKR_FUNCTION_CANCELED, "CKR_FUNCTION_CANCELED", "run the command again" },
    { CKR_FUNCTION_NOT_SUPPORTED, "CKR_FUNCTION_NOT_SUPPORTED",
      "the module lacks what is needed" },
    { CKR_KEY_HANDLE_INVALID, "CKR_KEY_HANDLE_INVALID", KEY_LOST },
    { CKR_KEY_SIZE_RANGE, "CKR_KEY_SIZE_RANGE", KEY_USAGE },
    { CKR_KEY_TYPE_INCONSISTENT, "CKR_KEY_TYPE_INCONSISTENT", KEY_USAGE },
    { CKR_KEY_FUNCTION_NOT_PERMITTED, "CKR_KEY_FUNCTION_NOT_PERMITTED", KEY_USAGE },
    { CKR_MECHANISM_INVALID, "CKR_MECHANISM_INVALID",
      "the token lacks AES-GCM or SHA-256 HMAC, or this key does not allow it" },
    { CKR_MECHANISM_PARAM_INVALID, "CKR_MECHANISM_PARAM_INVALID",
      "the token refuses these AES-GCM parameters" },
    { CKR_OPERATION_ACTIVE, "CKR_OPERATION_ACTIVE", MODULE_LOG },
    { CKR_OPERATION_NOT_INITIALIZED, "CKR_OPERATION_NOT_INITIALIZED", MODULE_LOG },
    { CKR_PIN_INCORRECT, "CKR_PIN_INCORRECT", FIX_PIN },
    { CKR_PIN_INVALID, "CKR_PIN_INVALID", FIX_PIN },
    { CKR_PIN_LEN_RANGE, "CKR_PIN_LEN_RANGE", FIX_PIN },
    { CKR_PIN_EXPIRED, "CKR_PIN_EXPIRED", "set a new user PIN" },
    { CKR_PIN_LOCKED, "CKR_PIN_LOCKED",
      "too many wrong PINs: the security officer must unlock it" },
    { CKR_SESSION_CLOSED, "CKR_SESSION_CLOSED", KEY_LOST },
    { CKR_SESSION_COUNT, "CKR_SESSION_COUNT", "too many sessions are open on this token" },
    { CKR_SESSION_HANDLE_INVALID, "CKR_SESSION_HANDLE_INVALID", KEY_LOST },
    { CKR_TOKEN_NOT_PRESENT, "CKR_TOKEN_NOT_PRESENT", "insert or configure the token" },
    { CKR_TOKEN_NOT_RECOGNIZED, "CKR_TOKEN_NOT_RECOGNIZED", "initialise the token first" },
    { CKR_USER_NOT_LOGGED_IN, "CKR_USER_NOT_LOGGED_IN", KEY_LOST },
    { CKR_USER_PIN_NOT_INITIALIZED, "CKR_USER_PIN_NOT_INITIALIZED",
      "the security officer must set a user PIN first" },
    { CKR_USER_TYPE_INVALID, "CKR_USER_TYPE_INVALID", MODULE_LOG },
    { CKR_USER_ANOTHER_ALREADY_LOGGED_IN, "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", MODULE_LOG },
    { CKR_RANDOM_NO_RNG, "CKR_RANDOM_NO_RNG", "the token makes no random numbers" },
    { CKR_BUFFER_TOO_SMALL, "CKR_BUFFER_TOO_SMALL", NULL },
    { CKR_CRYPTOKI_NOT_INITIALIZED, "CKR_CRYPTOKI_NOT_INITIALIZED", KEY_LOST },
    { CKR_AEAD_DECRYPT_FAILED, "CKR_AEAD_DECRYPT_FAILED", NULL },
    { CKR_KEY_EXHAUSTED, "CKR_KEY_EXHAUSTED", "this key has sealed all it may: make a new index" },
};

static const struct ckr_entry *ckr_find(CK_RV rv)
{
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        if (entries[i].rv == rv) {
            return &entries[i];
        }
    }
    return NULL;
}

const char *ckr_name(CK_RV rv)
{
    const struct ckr_entry *entry = ckr_find(rv);

    return entry != NULL ? entry->name : rv >= CKR_VENDOR_DEFINED ? "a vendor's code" : "unnamed";
}

bool ckr_fail(CK_RV rv, const char *function, const char *where)
{
    const struct ckr_entry *entry = ckr_find(rv);
    const char *remedy = entry != NULL && entry->remedy != NULL ? entry->remedy : MODULE_LOG;

    return fail("%s failed on %s: %s (0x%lx): %s", function, where, ckr_name(rv),
                (unsigned long)rv, remedy);
}

bool ckr_check(CK_RV rv, const char *function, const char *where)
{
    return rv == CKR_OK || ckr_fail(rv, function, where);
}
