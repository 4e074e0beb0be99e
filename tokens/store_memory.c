/*
 * A store in memory, for tests and throw-away tokens: it ends with store_close.
 *
 * One mutex, held while read_objects hands rows over: a callback must not call its own store. It is
 * held while an update's plan runs too, and is recursive, because a plan reads.
 * A child of a fork must not use the parent's store, nor close it: the mutex may be held for ever.
 */
#include "tokens/stores.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cause.h"

/* Records sort before objects; a name is padded with zeros (it holds none itself). */
struct row_key {
    unsigned char bytes[1 + OBJECT_ID_LEN];
};
_Static_assert(STORE_NAME_MAX <= OBJECT_ID_LEN, "a record's name fits a key");

enum row_kind { ROW_RECORD, ROW_OBJECT };

struct row {
    struct row_key key;
    uint64_t version;
    uint64_t turn; /* the commit that made it so */
    struct blob attributes;
    struct blob value;
};

/* Sorted by key. */
struct table {
    struct row **rows;
    size_t count;
    size_t capacity;
};

struct removal {
    uint64_t turn;
    struct object_id id;
};

/* The oldest first. */
struct removal_list {
    struct removal *removals;
    size_t count;
    size_t capacity;
};

struct store_memory {
    struct store base;
    pthread_mutex_t mutex;
    struct table table;
    struct removal_list removed;
    uint64_t turn;   /* how many commits there were */
    uint64_t begins; /* the first turn whose removals are known */
};

static struct row_key record_key(const char *name)
{
    struct row_key key = {{ROW_RECORD}};
    memcpy(key.bytes + 1, name, strnlen(name, STORE_NAME_MAX));
    return key;
}

static struct row_key object_key(const struct object_id *id)
{
    struct row_key key = {{ROW_OBJECT}};
    memcpy(key.bytes + 1, id->bytes, OBJECT_ID_LEN);
    return key;
}

static struct row_key change_key(const struct store_change *change)
{
    return change->record != NULL ? record_key(change->record) : object_key(change->object);
}

static void row_free(struct row *row)
{
    if (row != NULL) {
        blob_clear(&row->attributes);
        blob_clear(&row->value);
        mem_free(row);
    }
}

static void row_free_pointer(struct row **row)
{
    row_free(*row);
}

/* `former` is what the row replaces, where it keeps something of that; else NULL. */
static CK_RV row_new(const struct store_change *change, const struct row *former, uint64_t turn,
                     struct row **ret_row)
{
    _cleanup_(row_free_pointer) struct row *row = mem_calloc(1, sizeof(*row));
    struct view attributes = former == NULL ? change->attributes : blob_view(&former->attributes);
    if (row == NULL)
        return CKR_HOST_MEMORY;
    row->key = change_key(change);
    row->turn = turn;
    row->version = former == NULL ? store_change_base(change) + 1 : former->version;
    TRY(blob_from(attributes.bytes, attributes.len, &row->attributes));
    if (change->record == NULL)
        TRY(blob_from(change->value.bytes, change->value.len, &row->value));
    *ret_row = TAKE(row);
    return CKR_OK;
}

/* Where the key is, or would be. */
static size_t table_position(const struct table *table, const struct row_key *key, bool *ret_found)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(table->rows[middle]->key.bytes, key->bytes, sizeof(key->bytes));
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *ret_found = false;
    return low;
}

static struct row *table_find(const struct table *table, const struct row_key *key)
{
    bool found;
    size_t position = table_position(table, key, &found);
    return found ? table->rows[position] : NULL;
}

static CK_RV table_reserve(struct table *table, size_t extra_count)
{
    if (extra_count <= table->capacity - table->count)
        return CKR_OK;
    size_t capacity = 2 * (table->count + extra_count);
    struct row **rows = mem_resize(table->rows, capacity, sizeof(struct row *));
    if (rows == NULL)
        return CKR_HOST_MEMORY;
    table->rows = rows;
    table->capacity = capacity;
    return CKR_OK;
}

/* Puts `row` (NULL: nothing) under the key and returns what was there. Room is reserved: applying
 * and undoing a commit cannot fail. */
static struct row *table_exchange(struct table *table, const struct row_key *key, struct row *row)
{
    bool found;
    size_t position = table_position(table, key, &found);
    struct row **place = table->rows + position;
    struct row *old = found ? *place : NULL;
    if (row != NULL && !found) {
        memmove(place + 1, place, (table->count - position) * sizeof(struct row *));
        table->count++;
    }
    if (row != NULL) {
        *place = row;
    } else if (found) {
        table->count--;
        memmove(place, place + 1, (table->count - position) * sizeof(struct row *));
    }
    return old;
}

static void table_clear(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        row_free(table->rows[i]);
    mem_free(table->rows);
    *table = (struct table){0};
}

/* Rows that wait to go in, then rows that went out; freed as a whole at the end, whichever they
 * are. */
struct row_list {
    struct row **rows;
    size_t count;
};

static void row_list_clear(struct row_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        row_free(list->rows[i]);
    mem_free(list->rows);
}

static CK_RV row_list_fill(struct row_list *list, const struct table *table, uint64_t turn,
                           const struct store_change *changes, size_t change_count)
{
    list->rows = mem_calloc(change_count > 0 ? change_count : 1, sizeof(struct row *));
    if (list->rows == NULL)
        return CKR_HOST_MEMORY;
    list->count = change_count;
    for (size_t i = 0; i < change_count; i++) {
        struct row_key key = change_key(&changes[i]);
        const struct row *former = changes[i].value_only ? table_find(table, &key) : NULL;
        if (changes[i].value_only && former == NULL)
            return STORE_CONFLICT;
        if (!changes[i].remove)
            TRY(row_new(&changes[i], former, turn, &list->rows[i]));
    }
    return CKR_OK;
}

static uint64_t table_version(const struct table *table, const struct row_key *key)
{
    const struct row *row = table_find(table, key);
    return row != NULL ? row->version : 0;
}

static CK_RV table_apply(struct table *table, uint64_t turn, const struct store_change *changes,
                         size_t change_count)
{
    _cleanup_(row_list_clear) struct row_list list = {0};
    TRY(row_list_fill(&list, table, turn, changes, change_count));
    TRY(table_reserve(table, change_count));

    for (size_t i = 0; i < change_count; i++) {
        struct row_key key = change_key(&changes[i]);
        if (table_version(table, &key) == changes[i].expected) {
            list.rows[i] = table_exchange(table, &key, list.rows[i]);
            continue;
        }
        while (i-- > 0) {
            key = change_key(&changes[i]);
            list.rows[i] = table_exchange(table, &key, list.rows[i]);
        }
        return STORE_CONFLICT;
    }
    return CKR_OK;
}

/* Room for what the changes remove. */
static CK_RV removal_list_reserve(struct removal_list *list, const struct store_change *changes,
                                  size_t change_count)
{
    size_t count = list->count;
    for (size_t i = 0; i < change_count; i++)
        count += changes[i].remove && changes[i].record == NULL;
    if (count <= list->capacity)
        return CKR_OK;
    struct removal *removals = mem_resize(list->removals, 2 * count, sizeof(*removals));
    if (removals == NULL)
        return CKR_HOST_MEMORY;
    list->removals = removals;
    list->capacity = 2 * count;
    return CKR_OK;
}

static void removal_list_add(struct removal_list *list, uint64_t turn,
                             const struct store_change *changes, size_t change_count)
{
    size_t old_count = 0;
    while (old_count < list->count && turn - list->removals[old_count].turn >= STORE_TURNS_KEPT)
        old_count++;
    list->count -= old_count;
    if (old_count > 0)
        memmove(list->removals, list->removals + old_count, list->count * sizeof(*list->removals));
    for (size_t i = 0; i < change_count; i++) {
        if (changes[i].remove && changes[i].record == NULL)
            list->removals[list->count++] = (struct removal){turn, *changes[i].object};
    }
}

static void removal_list_clear(struct removal_list *list)
{
    mem_free(list->removals);
    *list = (struct removal_list){0};
}

static struct store_memory *enter(struct store *base)
{
    struct store_memory *store = (struct store_memory *) base;
    (void) pthread_mutex_lock(&store->mutex);
    return store;
}

static void leave(struct store_memory **store)
{
    (void) pthread_mutex_unlock(&(*store)->mutex);
}

static CK_RV memory_open(const char *location, struct store **ret_store)
{
    if (location[0] != '\0')
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "store memory:%s: nothing may follow the colon; write `store = memory:`",
                          location);
    struct store_memory *store = mem_calloc(1, sizeof(*store));
    if (store == NULL)
        return CKR_HOST_MEMORY;
    store->base.ops = &store_memory_ops;
    store_mutex_init(&store->mutex);
    *ret_store = &store->base;
    return CKR_OK;
}

static void memory_close(struct store *base)
{
    struct store_memory *store = (struct store_memory *) base;
    table_clear(&store->table);
    removal_list_clear(&store->removed);
    (void) pthread_mutex_destroy(&store->mutex);
    mem_free(store);
}

static CK_RV memory_read_record(struct store *base, const char *name, struct blob *ret_bytes,
                                uint64_t *ret_version)
{
    if (!store_name_is_valid(name))
        return STORE_ABSENT;
    _cleanup_(leave) struct store_memory *store = enter(base);
    struct row_key key = record_key(name);
    const struct row *row = table_find(&store->table, &key);
    if (row == NULL)
        return STORE_ABSENT;
    TRY(blob_from(row->attributes.bytes, row->attributes.len, ret_bytes));
    *ret_version = row->version;
    return CKR_OK;
}

static CK_RV hand_over(const struct row *row, store_row_fn *each, void *context)
{
    struct store_row out = {
        .version = row->version,
        .attributes = blob_view(&row->attributes),
        .value = blob_view(&row->value),
    };
    memcpy(out.id.bytes, row->key.bytes + 1, OBJECT_ID_LEN);
    return each(context, &out);
}

static CK_RV memory_read_objects(struct store *base, store_row_fn *each, void *context)
{
    _cleanup_(leave) struct store_memory *store = enter(base);
    for (size_t i = 0; i < store->table.count; i++) {
        const struct row *row = store->table.rows[i];
        if (row->key.bytes[0] == ROW_OBJECT)
            TRY(hand_over(row, each, context));
    }
    return CKR_OK;
}

static CK_RV memory_read_changes(struct store *base, struct store_look *look)
{
    _cleanup_(leave) struct store_memory *store = enter(base);
    look->is_whole = look->since < store->begins || look->since == 0 || look->since > store->turn ||
                     store->turn - look->since > STORE_TURNS_KEPT;
    look->turn = store->turn;
    for (size_t i = 0; !look->is_whole && i < store->removed.count; i++) {
        if (store->removed.removals[i].turn > look->since)
            TRY(look->gone(look->context, &store->removed.removals[i].id));
    }
    for (size_t i = 0; i < store->table.count; i++) {
        const struct row *row = store->table.rows[i];
        if (row->key.bytes[0] == ROW_OBJECT && (look->is_whole || row->turn > look->since))
            TRY(hand_over(row, look->each, look->context));
    }
    return CKR_OK;
}

static CK_RV memory_read_object(struct store *base, const struct object_id *id, store_row_fn *each,
                                void *context)
{
    _cleanup_(leave) struct store_memory *store = enter(base);
    struct row_key key = object_key(id);
    const struct row *row = table_find(&store->table, &key);
    return row != NULL ? hand_over(row, each, context) : STORE_ABSENT;
}

static CK_RV memory_commit(struct store *base, const struct store_change *changes,
                           size_t change_count)
{
    TRY(store_changes_check(changes, change_count));
    _cleanup_(leave) struct store_memory *store = enter(base);
    TRY(removal_list_reserve(&store->removed, changes, change_count));
    TRY(table_apply(&store->table, store->turn + 1, changes, change_count));
    store->turn++;
    removal_list_add(&store->removed, store->turn, changes, change_count);
    return CKR_OK;
}

static CK_RV memory_update(struct store *base, store_plan_fn *plan, void *context)
{
    const struct store_change *changes;
    size_t change_count;
    _cleanup_(leave) struct store_memory *store = enter(base);
    TRY(plan(context, &changes, &change_count));
    return memory_commit(&store->base, changes, change_count);
}

static CK_RV memory_reset(struct store *base, const char *guard, uint64_t guard_version,
                          const struct store_change *changes, size_t change_count)
{
    TRY(store_changes_check(changes, change_count));
    _cleanup_(leave) struct store_memory *store = enter(base);
    struct row_key key = record_key(guard);
    if (table_version(&store->table, &key) != guard_version)
        return STORE_CONFLICT;
    _cleanup_(table_clear) struct table other = {0};
    TRY(table_apply(&other, store->turn + 1, changes, change_count));
    struct table fresh = other;
    other = store->table;
    store->table = fresh;
    removal_list_clear(&store->removed);
    store->turn++;
    store->begins = store->turn;
    return CKR_OK;
}

static CK_RV memory_change_count(struct store *base, uint64_t *ret_count)
{
    _cleanup_(leave) struct store_memory *store = enter(base);
    *ret_count = store->turn;
    return CKR_OK;
}

const struct store_ops store_memory_ops = {
    .scheme = "memory",
    .open = memory_open,
    .close = memory_close,
    .read_record = memory_read_record,
    .read_objects = memory_read_objects,
    .read_object = memory_read_object,
    .read_changes = memory_read_changes,
    .commit = memory_commit,
    .update = memory_update,
    .reset = memory_reset,
    .change_count = memory_change_count,
};
