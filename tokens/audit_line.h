/*
 * A line of the audit log: one JSON object in a canonical form, so that its bytes are its meaning.
 *
 * The fields stand in the order of enum audit_field, without white space; those that have nothing
 * to say are left out. Strings are printable ASCII, with \" \\ and \uXXXX (lower-case) for all
 * else; numbers are decimal without leading zeros. Whoever reads refuses anything else. No lock, no
 * allocation.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

#define AUDIT_LINE_MAX 4096 /* without the newline */
#define AUDIT_HASH_LEN 32
#define AUDIT_WRITER_LEN 16
#define AUDIT_TEXT_MAX 256 /* bytes of a string before it is escaped; more are cut off */

enum audit_field {
    AUDIT_VERSION,
    AUDIT_TIME,
    AUDIT_TOKEN,
    AUDIT_WRITER,
    AUDIT_SEQ,
    AUDIT_PREV,  /* hash of the writer's line before */
    AUDIT_ABOVE, /* hash of the line above in the file */
    AUDIT_EVENT,
    AUDIT_PHASE,
    AUDIT_ROLE,
    AUDIT_PID,
    AUDIT_UID,
    AUDIT_PROGRAM,
    AUDIT_KEY,
    AUDIT_LABEL,
    AUDIT_MECHANISM,
    AUDIT_USES, /* reserved, or given back */
    AUDIT_RESULT,
    AUDIT_CAUSE,
    AUDIT_NEXT, /* the next public key */
    AUDIT_MAC,  /* over all before it */
    AUDIT_SIG,  /* over all before it */
    AUDIT_FIELDS
};

/* A line that is being written. */
struct audit_draft {
    char text[AUDIT_LINE_MAX + 1];
    size_t len;
    bool failed; /* too long, or out of order */
    int last;    /* the last field, -1 before the first */
};

void audit_draft_begin(struct audit_draft *draft);
void audit_draft_text(struct audit_draft *draft, enum audit_field field, struct view text);
void audit_draft_number(struct audit_draft *draft, enum audit_field field, uint64_t number);
void audit_draft_hex(struct audit_draft *draft, enum audit_field field, const void *bytes,
                     size_t len);
/* What a MAC or a signature that comes next covers. */
struct view audit_draft_so_far(const struct audit_draft *draft);
/* The whole line, without a newline; CKR_GENERAL_ERROR (logged) when it failed. */
CK_RV audit_draft_end(struct audit_draft *draft, struct view *ret_line);

/* A line that was read: the values as they stand, without the quotes; absent ones have NULL
 * bytes. */
struct audit_line {
    struct view text;
    struct view values[AUDIT_FIELDS];
};

/* False when it is not canonical. Borrows the text. */
bool audit_line_parse(struct view text, struct audit_line *ret_line);
static inline bool audit_line_has(const struct audit_line *line, enum audit_field field)
{
    return line->values[field].bytes != NULL;
}
bool audit_line_is(const struct audit_line *line, enum audit_field field, const char *text);
uint64_t audit_line_number(const struct audit_line *line, enum audit_field field);
/* Bytes of a hexadecimal field, which the parser has measured. */
void audit_line_bytes(const struct audit_line *line, enum audit_field field, unsigned char *bytes);
/* All before this field: what its MAC or signature covers. */
struct view audit_line_before(const struct audit_line *line, enum audit_field field);
