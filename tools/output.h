/*
 * What a command found, as one document: printed as text for people, or as JSON.
 *
 * The document is an object with values and lists of records, written in order. Text shows the
 * values as `name: value`, and a list as a table of the columns that it names, or one block a
 * record. Strings are made safe to print. A failure (memory) is remembered and told by
 * output_print.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct output;
struct failure;

/* Freed with output_free. CKR_HOST_MEMORY. */
CK_RV output_new(bool json, struct output **ret_output);
/* Takes the pointer and sets it to NULL, so that _cleanup_(output_free) works. */
void output_free(struct output **output);

/* A list of records in the document. `columns` are names of their values, separated by blanks, for
 * the table; NULL: blocks. Both live as long as the output. */
void output_list(struct output *output, const char *name, const char *columns);
void output_end_list(struct output *output);
void output_record(struct output *output);
void output_end_record(struct output *output);

/* Values of the open record, or of the document. Text NULL is the absence of a value. */
void output_text(struct output *output, const char *name, const char *text);
/* Bytes that need not be text nor end in NUL. */
void output_view(struct output *output, const char *name, struct view text);
void output_number(struct output *output, const char *name, uint64_t number);
void output_flag(struct output *output, const char *name, bool flag);
void output_hex(struct output *output, const char *name, struct view bytes);
/* Seconds since 1970, as ISO 8601 in UTC. */
void output_time(struct output *output, const char *name, uint64_t seconds);
/* A list of words: each call adds one to the list of that name; NULL makes an empty one. */
void output_word(struct output *output, const char *name, const char *word);

/* The document to stdout. CKR_HOST_MEMORY, CKR_DEVICE_ERROR (it could not be written). */
CK_RV output_print(const struct output *output);
/* A failure in place of the document: with JSON to stdout; always one line to stderr. */
void output_print_failure(bool json, const struct failure *failure);
