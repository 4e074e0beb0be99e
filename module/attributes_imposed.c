#include "module/attributes.h"

#include "base/alloc.h"
#include "base/rv.h"
#include "module/attributes_entries.h"
#include "module/attributes_values.h"

/* A template with the imposed entries before the caller's. */
struct joined {
    CK_ATTRIBUTE *entries;
    struct attribute_room *rooms; /* one for each imposed entry: what the entry points to */
    CK_ULONG count;
};

static void joined_clear(struct joined *joined)
{
    mem_free(joined->entries);
    mem_free(joined->rooms);
}

static size_t count_entries(struct view imposed)
{
    struct reader reader = reader_of(imposed);
    struct entry entry;
    size_t count = 0;
    while (attributes_entries_next(&reader, &entry))
        count++;
    return count;
}

/* CKA_LOCAL and the like are in no caller's template: they are compared afterwards. */
static bool may_be_given(enum attribute_origin origin, const struct attribute_row *row)
{
    return row != NULL && (row->given & ORIGIN_BIT(origin)) != 0;
}

static void join_imposed(enum attribute_origin origin, struct view imposed, struct joined *joined)
{
    struct reader reader = reader_of(imposed);
    struct entry entry;
    for (size_t i = 0; attributes_entries_next(&reader, &entry); i++) {
        const struct attribute_row *row = attributes_table_by_tag(entry.tag);
        if (!may_be_given(origin, row))
            continue;
        struct view shown = attributes_values_show(row, entry.value, &joined->rooms[i]);
        joined->entries[joined->count++] = (CK_ATTRIBUTE){
            .type = row->type,
            .pValue = (void *) (uintptr_t) shown.bytes,
            .ulValueLen = shown.len,
        };
    }
}

static CK_RV join(enum attribute_origin origin, const struct template_source *source,
                  struct joined *joined)
{
    size_t imposed_count = count_entries(source->imposed);
    if (source->count > TEMPLATE_COUNT_MAX || (source->template == NULL && source->count > 0))
        return FAIL(CKR_ARGUMENTS_BAD, "a template of %lu attributes cannot be read",
                    source->count);
    joined->entries = mem_calloc(imposed_count + source->count, sizeof(*joined->entries));
    joined->rooms = mem_calloc(imposed_count, sizeof(*joined->rooms));
    if (joined->entries == NULL || joined->rooms == NULL)
        return CKR_HOST_MEMORY;
    join_imposed(origin, source->imposed, joined);
    for (CK_ULONG i = 0; i < source->count; i++)
        joined->entries[joined->count++] = source->template[i];
    return CKR_OK;
}

CK_RV attributes_from_templates(enum attribute_origin origin, const struct template_source *source,
                                CK_KEY_TYPE implied_type, struct template_result *ret_result)
{
    _cleanup_(template_result_clear) struct template_result result = {0};
    _cleanup_(joined_clear) struct joined joined = {0};
    if (source->imposed.len == 0)
        return attributes_from_template(origin, source->template, source->count, implied_type,
                                        ret_result);
    TRY(join(origin, source, &joined));
    /* An entry twice with two values is refused there. */
    TRY(attributes_from_template(origin, joined.entries, joined.count, implied_type, &result));
    if (!attributes_satisfy(&result.attributes, source->imposed))
        return FAIL(CKR_TEMPLATE_INCONSISTENT,
                    "the new key would differ from the template that its base or unwrapping key "
                    "imposes");
    *ret_result = result;
    result = (struct template_result){0};
    return CKR_OK;
}
