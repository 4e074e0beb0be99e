/*
 * The changes of one commit that meets all objects of a token: each row as it is sealed anew, then
 * the list that the store takes.
 */
#pragma once

#include "tokens/seal.h"

struct row_change;

/* Begins as zeros, ends with row_changes_clear. */
struct row_changes {
    struct row_change *rows;
    size_t count;
    size_t capacity;
    bool are_new; /* rows of a backup, for a store that has none */
    struct store_change *changes;
};

void row_changes_clear(struct row_changes *list);

/* `fresh` takes the place of `row`, and is taken over in every case. Without attributes the row
 * keeps its own, and its version. */
CK_RV row_changes_add(struct row_changes *list, const struct store_row *row,
                      struct sealed_row *fresh);

/* The row goes. */
CK_RV row_changes_remove(struct row_changes *list, const struct store_row *row);

/* The changes of the records first. What is handed out is the list's. */
CK_RV row_changes_list(struct row_changes *list, const struct store_change *records,
                       size_t record_count, const struct store_change **ret_changes,
                       size_t *ret_count);
