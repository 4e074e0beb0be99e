/*
 * Opens the configuration file and reads it whole, if nobody else can have written it.
 */
#pragma once

#include <stddef.h>

#include "include/cryptoki.h"

#define CONF_FILE_MAX ((size_t) 1 << 20) /* bytes */

/* `*ret_text` is followed by a NUL and freed with mem_free. CKR_FUNCTION_FAILED when the file is
 * missing, too large, not regular, or writable by others; CKR_HOST_MEMORY; both logged. Never
 * blocks on a FIFO or a device. */
CK_RV conf_file_read(const char *path, char **ret_text, size_t *ret_len);

/* The path as messages show it: the end of a long one, so that the cause after it is not cut off.
 */
const char *conf_file_shown(const char *path);
