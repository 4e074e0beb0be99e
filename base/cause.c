#include "base/cause.h"

#include <stddef.h>

/* Whether somebody said no. TLS failures are transient for the lease, since a wrong certificate
 * says nothing about the key; the HTTP client never retries them within a call. */
enum verdict { VERDICT_NEITHER, VERDICT_DENIAL, VERDICT_TRANSIENT };

struct cause_row {
    const char *name;
    CK_RV rv;
    enum verdict verdict;
};

static const struct cause_row rows[] = {
    [INDEXKEY_CAUSE_NONE] = {"none", CKR_OK, VERDICT_NEITHER},
    [INDEXKEY_CAUSE_DENIED] = {"denied", CKR_FUNCTION_FAILED, VERDICT_DENIAL},
    [INDEXKEY_CAUSE_DISABLED] = {"disabled", CKR_FUNCTION_FAILED, VERDICT_DENIAL},
    [INDEXKEY_CAUSE_DELETED] = {"deleted", CKR_FUNCTION_FAILED, VERDICT_DENIAL},
    [INDEXKEY_CAUSE_TAMPERED] = {"tampered", CKR_FUNCTION_FAILED, VERDICT_DENIAL},
    [INDEXKEY_CAUSE_CONTEXT] = {"context", CKR_FUNCTION_FAILED, VERDICT_DENIAL},
    /* Under `credential` and `ambient` C_Login answers CKR_PIN_INCORRECT instead: it knows the
     * mode. */
    [INDEXKEY_CAUSE_CREDENTIAL] = {"credential", CKR_FUNCTION_FAILED, VERDICT_DENIAL},
    [INDEXKEY_CAUSE_THROTTLED] = {"throttled", CKR_DEVICE_ERROR, VERDICT_TRANSIENT},
    [INDEXKEY_CAUSE_TIMEOUT] = {"timeout", CKR_DEVICE_ERROR, VERDICT_TRANSIENT},
    [INDEXKEY_CAUSE_UNREACHABLE] = {"unreachable", CKR_DEVICE_ERROR, VERDICT_TRANSIENT},
    [INDEXKEY_CAUSE_DNS] = {"dns", CKR_DEVICE_ERROR, VERDICT_TRANSIENT},
    [INDEXKEY_CAUSE_TLS] = {"tls", CKR_DEVICE_ERROR, VERDICT_TRANSIENT},
    [INDEXKEY_CAUSE_SERVER] = {"server", CKR_DEVICE_ERROR, VERDICT_TRANSIENT},
    [INDEXKEY_CAUSE_STORE] = {"store", CKR_DEVICE_ERROR, VERDICT_TRANSIENT},
    [INDEXKEY_CAUSE_STORE_FULL] = {"store full", CKR_DEVICE_MEMORY, VERDICT_NEITHER},
    [INDEXKEY_CAUSE_PIN] = {"pin", CKR_PIN_INCORRECT, VERDICT_NEITHER},
    [INDEXKEY_CAUSE_CONFIG] = {"config", CKR_FUNCTION_FAILED, VERDICT_NEITHER},
    [INDEXKEY_CAUSE_CANCELLED] = {"cancelled", CKR_DEVICE_ERROR, VERDICT_TRANSIENT},
    [INDEXKEY_CAUSE_INTERNAL] = {"internal", CKR_GENERAL_ERROR, VERDICT_NEITHER},
    [INDEXKEY_CAUSE_AUDIT] = {"audit", CKR_DEVICE_ERROR, VERDICT_NEITHER},
};

static _Thread_local enum indexkey_cause thread_cause;

static const struct cause_row *row_of(enum indexkey_cause cause)
{
    size_t index = (size_t) cause;
    if (index >= sizeof rows / sizeof rows[0] || rows[index].name == NULL)
        index = INDEXKEY_CAUSE_INTERNAL;
    return &rows[index];
}

const char *cause_name(enum indexkey_cause cause)
{
    return row_of(cause)->name;
}

CK_RV cause_rv(enum indexkey_cause cause)
{
    return row_of(cause)->rv;
}

bool cause_is_denial(enum indexkey_cause cause)
{
    return row_of(cause)->verdict == VERDICT_DENIAL;
}

bool cause_is_transient(enum indexkey_cause cause)
{
    return row_of(cause)->verdict == VERDICT_TRANSIENT;
}

void cause_set(enum indexkey_cause cause)
{
    thread_cause = cause;
}

void cause_clear(void)
{
    thread_cause = INDEXKEY_CAUSE_NONE;
}

enum indexkey_cause cause_last(void)
{
    return thread_cause;
}
