/*
 * The text of a log line, made safe to print. For base/log.c.
 */
#pragma once

#include <stddef.h>

/* Replaces, in place, each byte that is not part of a printable UTF-8 character: white space by a
 * space, all else by a question mark. `text` ends in NUL; its length stays the same. */
void log_text_clean(char *text);
