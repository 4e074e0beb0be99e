#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "conf/conf.h"

#define SYSTEM_PATH "/etc/indexkey/indexkey.conf"

static CK_RV copy_path(const char *path, char **ret_path)
{
    char *copy = mem_strdup(path);
    if (copy == NULL)
        return FAIL(CKR_HOST_MEMORY, "out of memory for the configuration's path");
    *ret_path = copy;
    return CKR_OK;
}

static bool has_control_byte(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char) *text < 0x20 || *text == 0x7f)
            return true;
    }
    return false;
}

/* pReserved is whatever the application left there: it is believed to be text only within bounds.
 */
static CK_RV check_reserved(const char *reserved)
{
    size_t len = strnlen(reserved, CONF_PATH_MAX);
    if (len == 0 || len == CONF_PATH_MAX || has_control_byte(reserved))
        return FAIL(
            CKR_ARGUMENTS_BAD,
            "C_Initialize: pReserved must be NULL or the configuration's path, 1 to %d bytes "
            "and a NUL",
            CONF_PATH_MAX - 1);
    return CKR_OK;
}

static bool is_present(const char *path)
{
    /* A file that is there but cannot be reached must be reported, not passed over. */
    return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
           (errno != ENOENT && errno != ENOTDIR);
}

static CK_RV locate_default(char **ret_path)
{
    const char *home = secure_getenv("XDG_CONFIG_HOME");
    /* The XDG base directory specification: a relative path is to be ignored. */
    if (home != NULL && home[0] == '/') {
        _cleanup_(mem_free_pointer) char *path = mem_format("%s/indexkey/indexkey.conf", home);
        if (path == NULL)
            return FAIL(CKR_HOST_MEMORY, "out of memory for the configuration's path");
        if (is_present(path)) {
            *ret_path = TAKE(path);
            return CKR_OK;
        }
    }
    if (is_present(SYSTEM_PATH))
        return copy_path(SYSTEM_PATH, ret_path);
    log_line(LOG_LEVEL_WARNING,
             "no configuration: there is no " SYSTEM_PATH ", so there are no tokens; write it or "
             "set INDEXKEY_CONF");
    *ret_path = NULL;
    return CKR_OK;
}

CK_RV conf_locate(const char *reserved, char **ret_path)
{
    if (reserved != NULL) {
        TRY(check_reserved(reserved));
        return copy_path(reserved, ret_path);
    }
    const char *named = secure_getenv("INDEXKEY_CONF");
    if (named == NULL || *named == '\0')
        return locate_default(ret_path);
    if (strlen(named) >= CONF_PATH_MAX)
        return FAIL(CKR_FUNCTION_FAILED, "INDEXKEY_CONF is longer than %d bytes",
                    CONF_PATH_MAX - 1);
    return copy_path(named, ret_path);
}
