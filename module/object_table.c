#include "module/object_table.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "module/place_index.h"
#include "module/subkeys.h"

#define PURPOSE_BITS 3
#define PLACE_BITS 29
#define PLACES_MAX ((size_t) 1 << (PLACE_BITS - 1))
#define PLACES_MIN 64
#define SERIAL_MAX ((uint32_t) 0x7fffffff)

struct object_table {
    pthread_rwlock_t lock;
    struct place *places;
    size_t place_count; /* places ever used */
    size_t place_capacity;
    uint32_t first_free;
    size_t object_count;
    size_t owned_count; /* of them, session objects */
    struct place_index indexes[INDEX_COUNT];
};

static CK_OBJECT_HANDLE handle_of(size_t place, uint32_t serial)
{
    return ((CK_OBJECT_HANDLE) serial << (PLACE_BITS + PURPOSE_BITS)) |
           ((CK_OBJECT_HANDLE) (place + 1) << PURPOSE_BITS);
}

static bool find_place(const struct object_table *table, CK_OBJECT_HANDLE handle, size_t *ret_place)
{
    size_t number = (handle >> PURPOSE_BITS) & (((size_t) 1 << PLACE_BITS) - 1);
    uint32_t serial = (uint32_t) (handle >> (PLACE_BITS + PURPOSE_BITS));

    if (number == 0 || number > table->place_count)
        return false;
    if (table->places[number - 1].object == NULL || table->places[number - 1].serial != serial)
        return false;
    *ret_place = number - 1;
    return true;
}

/* An object without a label or id is not found by it; except an index key, whose subkeys are. */
static bool index_key(const struct object *object, enum object_index index, struct view *ret_key)
{
    if (index == INDEX_UNIQUE_ID) {
        *ret_key = (struct view){object->id.bytes, OBJECT_ID_LEN};
        return true;
    }
    *ret_key = (struct view){NULL, 0};
    attributes_bytes(&object->attributes, index == INDEX_LABEL ? CKA_LABEL : CKA_ID, ret_key);
    return ret_key->len > 0 || attributes_are_index_key(&object->attributes);
}

static void index_all(struct object_table *table, size_t place)
{
    for (int which = 0; which < INDEX_COUNT; which++) {
        struct view key;
        if (index_key(table->places[place].object, (enum object_index) which, &key))
            place_index_add(&table->indexes[which], table->places, (uint32_t) place,
                            place_index_hash(key));
    }
}

static void unindex_all(struct object_table *table, size_t place)
{
    for (int which = 0; which < INDEX_COUNT; which++) {
        struct view key;
        if (index_key(table->places[place].object, (enum object_index) which, &key))
            place_index_remove(&table->indexes[which], table->places, (uint32_t) place,
                               place_index_hash(key));
    }
}

CK_RV object_table_new(struct object_table **ret_table)
{
    struct object_table *table = mem_calloc(1, sizeof(*table));

    if (table == NULL)
        return CKR_HOST_MEMORY;
    pthread_rwlock_init(&table->lock, NULL);
    table->first_free = NO_PLACE;
    for (int which = 0; which < INDEX_COUNT; which++) {
        if (place_index_init(&table->indexes[which], (enum object_index) which) != CKR_OK) {
            object_table_free(&table);
            return CKR_HOST_MEMORY;
        }
    }
    *ret_table = table;
    return CKR_OK;
}

static void retire(struct object *object)
{
    atomic_store_explicit(&object->retired, true, memory_order_release);
    subkeys_drop(object);
}

void object_table_free(struct object_table **table)
{
    if (*table == NULL)
        return;
    for (size_t i = 0; i < (*table)->place_count; i++) {
        struct object *object = (*table)->places[i].object;
        if (object == NULL)
            continue;
        retire(object);
        object_release(&object);
    }
    for (int which = 0; which < INDEX_COUNT; which++)
        place_index_clear(&(*table)->indexes[which]);
    mem_free((*table)->places);
    pthread_rwlock_destroy(&(*table)->lock);
    mem_free(*table);
    *table = NULL;
}

static CK_RV take_place_locked(struct object_table *table, size_t *ret_place)
{
    if (table->first_free != NO_PLACE) {
        *ret_place = table->first_free;
        table->first_free = table->places[*ret_place].next_free;
        return CKR_OK;
    }
    if (table->place_count == PLACES_MAX)
        return FAIL(CKR_DEVICE_MEMORY, "a token holds at most %zu objects", PLACES_MAX);
    if (table->place_count == table->place_capacity) {
        size_t capacity = table->place_capacity == 0 ? PLACES_MIN : table->place_capacity * 2;
        struct place *places = mem_resize(table->places, capacity, sizeof(*places));
        if (places == NULL)
            return CKR_HOST_MEMORY;
        table->places = places;
        table->place_capacity = capacity;
    }
    *ret_place = table->place_count;
    table->places[table->place_count++] = (struct place){.serial = 1};
    return CKR_OK;
}

static CK_RV reserve_locked(struct object_table *table)
{
    for (int which = 0; which < INDEX_COUNT; which++)
        TRY(place_index_reserve(&table->indexes[which], table->object_count + 1));
    return CKR_OK;
}

static void put_locked(struct object_table *table, size_t place, struct object *object)
{
    table->places[place].object = object;
    table->owned_count += object->owner != 0;
    object->handle = handle_of(place, table->places[place].serial);
    index_all(table, place);
}

static CK_RV add_locked(struct object_table *table, struct object *object)
{
    size_t place;

    TRY(reserve_locked(table));
    TRY(take_place_locked(table, &place));
    put_locked(table, place, object);
    table->object_count++;
    return CKR_OK;
}

CK_RV object_table_add(struct object_table *table, struct object *object)
{
    pthread_rwlock_wrlock(&table->lock);
    CK_RV rv = add_locked(table, object);
    pthread_rwlock_unlock(&table->lock);
    return rv;
}

static struct object *take_out_locked(struct object_table *table, size_t place)
{
    struct object *object = table->places[place].object;

    unindex_all(table, place);
    table->places[place].object = NULL;
    table->owned_count -= object->owner != 0;
    retire(object);
    return object;
}

static void free_place_locked(struct object_table *table, size_t place)
{
    table->object_count--;
    if (table->places[place].serial == SERIAL_MAX)
        return; /* worn out: its next handle would repeat the first */
    table->places[place].serial++;
    table->places[place].next_free = table->first_free;
    table->first_free = (uint32_t) place;
}

/* The former object, or NULL when it is no longer there. */
static struct object *replace_locked(struct object_table *table, const struct object *old,
                                     struct object *changed)
{
    size_t place;

    if (!find_place(table, old->handle, &place) || table->places[place].object != old)
        return NULL;
    struct object *out = take_out_locked(table, place);
    put_locked(table, place, changed);
    return out;
}

static CK_RV exchange_locked(struct object_table *table, struct object_swap *swaps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (swaps[i].old != NULL)
            continue;
        TRY(add_locked(table, swaps[i].fresh));
        swaps[i].fresh = NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (swaps[i].old == NULL)
            continue;
        struct object *out = replace_locked(table, swaps[i].old, swaps[i].fresh);
        if (out != NULL)
            swaps[i].fresh = NULL;
        object_release(&out);
    }
    return CKR_OK;
}

CK_RV object_table_exchange(struct object_table *table, struct object_swap *swaps, size_t count)
{
    pthread_rwlock_wrlock(&table->lock);
    CK_RV rv = exchange_locked(table, swaps, count);
    pthread_rwlock_unlock(&table->lock);
    return rv;
}

CK_RV object_table_replace(struct object_table *table, const struct object *old,
                           struct object *changed)
{
    pthread_rwlock_wrlock(&table->lock);
    struct object *out = replace_locked(table, old, changed);
    pthread_rwlock_unlock(&table->lock);
    if (out == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    object_release(&out);
    return CKR_OK;
}

CK_RV object_table_remove(struct object_table *table, const struct object *object)
{
    struct object *out = NULL;
    size_t place;

    pthread_rwlock_wrlock(&table->lock);
    if (find_place(table, object->handle, &place) && table->places[place].object == object) {
        out = take_out_locked(table, place);
        free_place_locked(table, place);
    }
    pthread_rwlock_unlock(&table->lock);
    if (out == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    object_release(&out);
    return CKR_OK;
}

static struct object *find_object(struct object_table *table, CK_OBJECT_HANDLE handle)
{
    struct object *object = NULL;
    size_t place;

    pthread_rwlock_rdlock(&table->lock);
    if (find_place(table, handle, &place))
        object = object_reference(table->places[place].object);
    pthread_rwlock_unlock(&table->lock);
    return object;
}

CK_RV object_table_get(struct object_table *table, CK_OBJECT_HANDLE handle,
                       struct object **ret_object)
{
    unsigned char purpose = object_handle_purpose(handle);

    for (;;) {
        _cleanup_(object_release) struct object *object = find_object(table, handle);
        if (object == NULL)
            return CKR_OBJECT_HANDLE_INVALID;
        if (purpose == PURPOSE_NONE) {
            *ret_object = TAKE(object);
            return CKR_OK;
        }
        CK_RV rv = subkeys_get(object, purpose, ret_object);
        /* Changed between the two looks: its successor, if it has one, has the handle now. */
        if (rv != CKR_OBJECT_HANDLE_INVALID || !atomic_load(&object->retired))
            return rv;
    }
}

void object_table_each(struct object_table *table, object_visit_fn *visit, void *context)
{
    pthread_rwlock_rdlock(&table->lock);
    for (size_t i = 0; i < table->place_count; i++)
        if (table->places[i].object != NULL && !visit(context, table->places[i].object))
            break;
    pthread_rwlock_unlock(&table->lock);
}

void object_table_lookup(struct object_table *table, enum object_index index, struct view key,
                         object_visit_fn *visit, void *context)
{
    pthread_rwlock_rdlock(&table->lock);
    uint32_t place = place_index_first(&table->indexes[index], place_index_hash(key));
    for (; place != NO_PLACE; place = table->places[place].links[index].next) {
        struct object *object = table->places[place].object;
        struct view candidate;
        if (index_key(object, index, &candidate) && view_equal(candidate, key) &&
            !visit(context, object))
            break;
    }
    pthread_rwlock_unlock(&table->lock);
}

size_t object_table_count(struct object_table *table)
{
    pthread_rwlock_rdlock(&table->lock);
    size_t count = table->object_count;
    pthread_rwlock_unlock(&table->lock);
    return count;
}

bool object_table_has_owned(struct object_table *table)
{
    pthread_rwlock_rdlock(&table->lock);
    bool has_owned = table->owned_count > 0;
    pthread_rwlock_unlock(&table->lock);
    return has_owned;
}

void object_table_remove_matching(struct object_table *table, object_visit_fn *match, void *context)
{
    pthread_rwlock_wrlock(&table->lock);
    for (size_t i = 0; i < table->place_count; i++) {
        if (table->places[i].object == NULL || !match(context, table->places[i].object))
            continue;
        struct object *out = take_out_locked(table, i);
        free_place_locked(table, i);
        object_release(&out);
    }
    pthread_rwlock_unlock(&table->lock);
}
