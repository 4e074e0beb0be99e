/*
 * A document as text: for tools/output.c alone.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "include/cryptoki.h"

#define OUTPUT_TABLES_MAX 4

struct output_table {
    const char *name;    /* of a list of records in the document */
    const char *columns; /* separated by blanks; NULL: blocks */
};

/* To stdout. CKR_HOST_MEMORY. */
CK_RV output_text_print(const json_t *document, const struct output_table *tables,
                        size_t table_count);
