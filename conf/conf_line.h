/*
 * One line of the configuration: blank or comment, [section], or key = value.
 *
 * Not inih's: as a shared library its limits and syntax are global variables that belong to the
 * whole process (lines of 200 bytes unless somebody changes them), so a host that uses it too would
 * change how this file is read, or find its own changed (design, section 9). It also cuts long
 * section names in silence and passes over empty sections.
 */
#pragma once

#include <stddef.h>

#include "include/cryptoki.h"

#define CONF_LINE_MAX 4096u /* bytes, without the line end */
#define CONF_NAME_MAX 32u   /* bytes of a token's or key's name */
#define CONF_KEY_MAX 64u    /* bytes of a key's name before the `=` */

/* Where a message points. */
struct conf_place {
    const char *path;
    size_t line;
};

enum conf_line_type {
    CONF_LINE_BLANK,
    CONF_LINE_SECTION,
    CONF_LINE_ENTRY,
};

/* Pointers into the caller's text. */
struct conf_line {
    enum conf_line_type type;
    char *word;  /* `token` of [token NAME]; the key of an entry */
    char *value; /* NAME, "" if there is none; the value of an entry, never empty */
};

/* Splits in place: writes NULs into `text`, which must have one more byte than `len`. Bytes that
 * are not printable UTF-8 and lines of no known form are refused (CKR_FUNCTION_FAILED, logged). */
CK_RV conf_line_parse(const struct conf_place *place, char *text, size_t len,
                      struct conf_line *ret_line);
