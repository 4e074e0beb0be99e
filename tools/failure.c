#include "tools/failure.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/ckr.h"
#include "base/log_text.h"

static char kept[LOG_LINE_MAX];
static char text[LOG_LINE_MAX];
static struct failure last = {.exit = EXIT_CODE_FAILED, .text = text};

void failure_show_warnings(void)
{
    if (kept[0] != '\0')
        (void) fprintf(stderr, "indexkey: warning: %s\n", kept);
    kept[0] = '\0';
}

static void keep(void *context, enum log_level level, const char *line)
{
    (void) context;
    (void) level;
    failure_show_warnings();
    (void) snprintf(kept, sizeof(kept), "%s", line);
}

void failure_watch(void)
{
    log_collect(keep, NULL);
}

void failure_drop_line(void *context, enum log_level level, const char *line)
{
    (void) context;
    (void) level;
    (void) line;
}

void failure_divert(log_take_fn *take, void *context)
{
    log_collect(take == NULL ? keep : take, context);
}

void failure_set(enum exit_code exit, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void) vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    log_text_clean(text);
    last.exit = exit;
    last.rv = CKR_OK;
    last.cause = INDEXKEY_CAUSE_NONE;
}

static enum exit_code exit_of_cause(enum indexkey_cause cause)
{
    switch (cause) {
    case INDEXKEY_CAUSE_DENIED:
    case INDEXKEY_CAUSE_DISABLED:
    case INDEXKEY_CAUSE_DELETED:
    case INDEXKEY_CAUSE_CREDENTIAL:
    case INDEXKEY_CAUSE_PIN:
        return EXIT_CODE_REFUSED;
    case INDEXKEY_CAUSE_TAMPERED:
        return EXIT_CODE_TAMPERED;
    case INDEXKEY_CAUSE_CONTEXT:
    case INDEXKEY_CAUSE_CONFIG:
        return EXIT_CODE_CONFIG;
    case INDEXKEY_CAUSE_THROTTLED:
    case INDEXKEY_CAUSE_TIMEOUT:
    case INDEXKEY_CAUSE_UNREACHABLE:
    case INDEXKEY_CAUSE_DNS:
    case INDEXKEY_CAUSE_TLS:
    case INDEXKEY_CAUSE_SERVER:
    case INDEXKEY_CAUSE_STORE:
        return EXIT_CODE_UNREACHABLE;
    default:
        return EXIT_CODE_FAILED;
    }
}

enum exit_code failure_exit_code(CK_RV rv, enum indexkey_cause cause)
{
    if (cause != INDEXKEY_CAUSE_NONE)
        return exit_of_cause(cause);
    switch (rv) {
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
    case CKR_PIN_LOCKED:
    case CKR_PIN_EXPIRED:
    case CKR_USER_PIN_NOT_INITIALIZED:
    case CKR_USER_NOT_LOGGED_IN:
    case CKR_ACTION_PROHIBITED:
    case CKR_ATTRIBUTE_READ_ONLY:
    case CKR_KEY_FUNCTION_NOT_PERMITTED:
    case CKR_KEY_UNEXTRACTABLE:
    case CKR_TEMPLATE_INCONSISTENT:
        return EXIT_CODE_REFUSED;
    case CKR_DEVICE_ERROR:
        return EXIT_CODE_UNREACHABLE;
    case CKR_ENCRYPTED_DATA_INVALID:
        return EXIT_CODE_TAMPERED;
    case CKR_KEY_HANDLE_INVALID:
    case CKR_OBJECT_HANDLE_INVALID:
        return EXIT_CODE_NOT_FOUND;
    case CKR_TOKEN_NOT_PRESENT:
        return EXIT_CODE_CONFIG;
    default:
        return EXIT_CODE_FAILED;
    }
}

const char *failure_rv_name(CK_RV rv, char buffer[32])
{
    const char *name = ckr_name(rv);
    if (name != NULL)
        return name;
    (void) snprintf(buffer, 32, "0x%lx", (unsigned long) rv);
    return buffer;
}

/* What to do where the module has logged nothing. */
static const char *remedy_of(CK_RV rv)
{
    switch (rv) {
    case CKR_ACTION_PROHIBITED:
        return "; a legal hold, the key's state or what kind of key it is forbids it: see indexkey "
               "keys";
    case CKR_OBJECT_HANDLE_INVALID:
        return "; the key is gone, or another process has changed it: see indexkey keys";
    case CKR_USER_NOT_LOGGED_IN:
        return "; the login is over, as the lease ran out or another process renewed the token: "
               "run the command again";
    default:
        return "";
    }
}

CK_RV failure_of(CK_RV rv, enum indexkey_cause cause, const char *call)
{
    char name[32];
    if (rv == CKR_OK)
        return CKR_OK;
    if (kept[0] != '\0')
        (void) snprintf(text, sizeof(text), "%s", kept);
    else
        (void) snprintf(text, sizeof(text), "%s: %s%s", call, failure_rv_name(rv, name),
                        remedy_of(rv));
    kept[0] = '\0';
    last.exit = failure_exit_code(rv, cause);
    last.rv = rv;
    last.cause = cause;
    return rv;
}

const struct failure *failure_last(void)
{
    return &last;
}
