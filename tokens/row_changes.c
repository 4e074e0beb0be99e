#include "tokens/row_changes.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"

#define CAPACITY_FIRST 64

struct row_change {
    struct object_id id;
    uint64_t version; /* of the row that it meets */
    bool remove;
    struct sealed_row fresh;
};

void row_changes_clear(struct row_changes *list)
{
    for (size_t i = 0; i < list->count; i++)
        sealed_row_clear(&list->rows[i].fresh);
    mem_free(list->rows);
    mem_free(list->changes);
    *list = (struct row_changes){0};
}

static CK_RV fail_memory(const struct row_changes *list)
{
    return FAIL(CKR_HOST_MEMORY, "no memory to change more than %zu rows at once", list->count);
}

static CK_RV reserve(struct row_changes *list)
{
    if (list->count < list->capacity)
        return CKR_OK;
    size_t capacity = list->capacity == 0 ? CAPACITY_FIRST : 2 * list->capacity;
    struct row_change *rows = mem_resize(list->rows, capacity, sizeof(*rows));
    if (rows == NULL)
        return fail_memory(list);
    list->rows = rows;
    list->capacity = capacity;
    return CKR_OK;
}

CK_RV row_changes_add(struct row_changes *list, const struct store_row *row,
                      struct sealed_row *fresh)
{
    CK_RV rv = reserve(list);
    if (rv != CKR_OK) {
        sealed_row_clear(fresh);
        return rv;
    }
    list->rows[list->count++] = (struct row_change){row->id, row->version, false, *fresh};
    *fresh = (struct sealed_row){0};
    return CKR_OK;
}

CK_RV row_changes_remove(struct row_changes *list, const struct store_row *row)
{
    TRY(reserve(list));
    list->rows[list->count++] = (struct row_change){row->id, row->version, true, {{0}, {0}}};
    return CKR_OK;
}

CK_RV row_changes_list(struct row_changes *list, const struct store_change *records,
                       size_t record_count, const struct store_change **ret_changes,
                       size_t *ret_count)
{
    list->changes = mem_calloc(record_count + list->count, sizeof(*list->changes));
    if (list->changes == NULL)
        return fail_memory(list);
    memcpy(list->changes, records, record_count * sizeof(*records));
    for (size_t i = 0; i < list->count; i++) {
        const struct row_change *row = &list->rows[i];
        list->changes[record_count + i] = (struct store_change){
            .object = &row->id,
            .expected = list->are_new ? 0 : row->version,
            .begins_at = list->are_new ? row->version : 0,
            .remove = row->remove,
            .value_only = !list->are_new && !row->remove && row->fresh.attributes.len == 0,
            .attributes = blob_view(&row->fresh.attributes),
            .value = blob_view(&row->fresh.value),
        };
    }
    *ret_changes = list->changes;
    *ret_count = record_count + list->count;
    return CKR_OK;
}
