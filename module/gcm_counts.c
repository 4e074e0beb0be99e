#include "module/gcm_counts.h"

#include "base/rv.h"
#include "module/key_ledger.h"
#include "module/key_policy.h"
#include "module/lineage.h"
#include "module/row_kinds.h"
#include "module/slot.h"
#include "module/subkeys.h"
#include "tokens/sealed_objects.h"

#define INVOCATIONS_MAX ((uint64_t) 1 << 32)
#define BLOCK_FIRST 64
#define BLOCK_MAX ((uint64_t) 1 << 28)
#define SHARE_MAX 256
/* A session takes this part of what is left, so that a short-lived process with many sessions stays
 * within its block. */
#define SHARE_PART 16

struct row {
    bool is_new;      /* not in the store yet */
    uint64_t count;   /* taken by all processes */
    uint32_t holders; /* token objects that are copies of one another */
};

#ifdef INDEXKEY_TEST_HOOKS
static _Atomic uint64_t test_limit;

void gcm_counts_test_limit(uint64_t limit)
{
    atomic_store(&test_limit, limit);
}

static uint64_t invocations_max(void)
{
    uint64_t limit = atomic_load(&test_limit);

    return limit == 0 ? INVOCATIONS_MAX : limit;
}
#else
static uint64_t invocations_max(void)
{
    return INVOCATIONS_MAX;
}
#endif

static CK_RV row_encode(const struct row *row, struct blob *ret_bytes)
{
    _cleanup_(writer_clear) struct writer writer = {0};

    write_u8(&writer, ROW_KIND_GCM_COUNT);
    write_u64(&writer, row->count);
    write_u32(&writer, row->holders);
    return writer_finish(&writer, ret_bytes);
}

static CK_RV row_decode(struct view bytes, struct row *ret_row)
{
    struct reader reader = reader_of(bytes);
    uint8_t kind = read_u8(&reader);
    struct row row = {.count = read_u64(&reader)};

    row.holders = read_u32(&reader);
    if (kind != ROW_KIND_GCM_COUNT || row.holders == 0 || !reader_done(&reader))
        return FAIL(CKR_DEVICE_ERROR, "a count of AES-GCM invocations in the store is of an "
                                      "unknown form (written by a newer version?)");
    *ret_row = row;
    return CKR_OK;
}

typedef CK_RV row_fn(void *context, struct row *row);

/* In place of `version`, or of no row. */
static CK_RV row_write(struct custody *custody, const struct object_id *id, uint64_t version,
                       const struct row *row)
{
    _cleanup_(blob_clear) struct blob bytes = {NULL, 0};
    uint64_t new_version;

    if (row->holders == 0)
        return row->is_new ? CKR_OK : sealed_objects_destroy(custody, id, version);
    TRY(row_encode(row, &bytes));
    return row->is_new
               ? sealed_objects_create(custody, id, blob_view(&bytes), NULL)
               : sealed_objects_update(custody, id, version, blob_view(&bytes), &new_version);
}

/* Reads, changes, writes, until no other process comes in between. A row that is not there counts
 * nothing and has one holder. */
static CK_RV row_change(struct custody *custody, const struct object_id *id, row_fn *change,
                        void *context)
{
    for (;;) {
        _cleanup_(blob_clear) struct blob bytes = {NULL, 0};
        struct row row = {.is_new = true, .holders = 1};
        uint64_t version = 0;
        CK_RV rv = sealed_objects_attributes(custody, id, &version, &bytes);
        if (rv == CKR_OK)
            TRY(row_decode(blob_view(&bytes), &row));
        else if (rv != CKR_OBJECT_HANDLE_INVALID)
            return rv;
        TRY(change(context, &row));
        rv = row_write(custody, id, version, &row);
        if (rv != CKR_OBJECT_HANDLE_INVALID)
            return rv;
    }
}

static bool is_durable(const struct object *key)
{
    return object_has(key, FLAG_TOKEN) || key->attributes.counts_in_store;
}

static CK_RV count_find(struct object *key, struct gcm_count **ret_count)
{
    const struct secret *value;
    struct object_id id;

    if (is_durable(key)) {
        TRY(object_value(key, &value));
        TRY(sealed_objects_value_id(key->slot->custody, value, &id));
        return gcm_registry_get(&key->slot->gcm_counts, &id, ret_count);
    }
    *ret_count = gcm_count_new(NULL);
    return *ret_count == NULL ? CKR_HOST_MEMORY : CKR_OK;
}

/* Of all the objects that have the value, the strictest policy holds. */
static void lower_limit(struct gcm_count *count, uint64_t limit)
{
    uint64_t known = atomic_load(&count->limit);

    while (limit < known && !atomic_compare_exchange_weak(&count->limit, &known, limit))
        ;
}

/* The key's, borrowed from its lineage. */
static CK_RV count_of(struct object *key, struct gcm_count **ret_count)
{
    struct gcm_count *known = NULL;
    struct gcm_count *found;
    struct lineage *lineage;

    TRY(lineage_of(key, &lineage));
    known = atomic_load_explicit(&lineage->gcm, memory_order_acquire);
    if (known == NULL) {
        TRY(count_find(key, &found));
        if (atomic_compare_exchange_strong(&lineage->gcm, &known, found))
            known = found;
        else
            gcm_count_release(found);
    }
    if (key->attributes.policy != NULL)
        lower_limit(known, key->attributes.policy->usage_limit);
    *ret_count = known;
    return CKR_OK;
}

/* What a process asks of a row. */
struct wish {
    uint64_t limit;
    uint64_t wanted;
    uint64_t granted;
};

static CK_RV take_from_row(void *context, struct row *row)
{
    struct wish *wish = context;
    uint64_t left = row->count < wish->limit ? wish->limit - row->count : 0;

    wish->granted = wish->wanted < left ? wish->wanted : left;
    row->count += wish->granted;
    return wish->granted > 0 ? CKR_OK : CKR_KEY_EXHAUSTED;
}

static uint64_t limit_of(const struct gcm_count *count)
{
    uint64_t limit = atomic_load(&count->limit);

    return limit < invocations_max() ? limit : invocations_max();
}

static CK_RV take_block(const struct slot *slot, const struct gcm_count *count, uint64_t taken,
                        uint64_t *ret_granted)
{
    struct row in_memory = {.count = taken, .holders = 1};
    struct wish wish = {.limit = limit_of(count),
                        .wanted = taken < BLOCK_FIRST ? BLOCK_FIRST : taken};

    if (wish.wanted > BLOCK_MAX)
        wish.wanted = BLOCK_MAX;
    CK_RV rv = count->is_durable ? row_change(slot->custody, &count->id, take_from_row, &wish)
                                 : take_from_row(&wish, &in_memory);
    TRY(rv);
    *ret_granted = wish.granted;
    return CKR_OK;
}

/* Once: the application goes on asking. */
static void say_exhausted_locked(const struct slot *slot, struct gcm_count *count)
{
    if (!count->was_said)
        log_line(LOG_LEVEL_ERROR,
                 "token %s: a key has made all its %llu AES-GCM encryptions (usage_limit, or what "
                 "is safe with random IVs, NIST SP 800-38D): it still decrypts; make a new key",
                 slot->name, (unsigned long long) limit_of(count));
    count->was_said = true;
}

/* One thread asks the store, the others wait for what it brings. */
static CK_RV refill_locked(const struct slot *slot, struct gcm_count *count)
{
    uint64_t granted = 0;

    if (count->is_refilling) {
        gcm_count_wait(&count->refilled, &count->lock);
        return CKR_OK;
    }
    count->is_refilling = true;
    uint64_t taken = count->taken;
    pthread_mutex_unlock(&count->lock);
    CK_RV rv = take_block(slot, count, taken, &granted);
    pthread_mutex_lock(&count->lock);
    count->is_refilling = false;
    if (rv == CKR_KEY_EXHAUSTED)
        say_exhausted_locked(slot, count);
    count->left += granted;
    count->taken += granted;
    pthread_cond_broadcast(&count->refilled);
    return rv;
}

static void hand_out_locked(struct gcm_count *count, struct gcm_share *share)
{
    uint64_t part = count->left / SHARE_PART;

    if (part > SHARE_MAX)
        part = SHARE_MAX;
    if (part == 0 && count->left > 0)
        part = 1;
    count->left -= part;
    share->left = (uint32_t) part;
}

CK_RV gcm_counts_bind(struct object *key, struct gcm_share *share)
{
    struct gcm_count *count;

    if (share->count != NULL)
        return CKR_OK;
    TRY(count_of(key, &count));
    share->count = gcm_count_reference(count);
    return CKR_OK;
}

CK_RV gcm_counts_fill(const struct slot *slot, struct gcm_share *share)
{
    struct gcm_count *count = share->count;
    CK_RV rv = CKR_OK;

    pthread_mutex_lock(&count->lock);
    if (count->left == 0)
        rv = refill_locked(slot, count);
    hand_out_locked(count, share);
    pthread_mutex_unlock(&count->lock);
    return rv;
}

CK_RV gcm_counts_await(struct object *key, struct gcm_share *share)
{
    TRY(gcm_counts_bind(key, share));
    while (share->left == 0)
        TRY(gcm_counts_fill(key->slot, share));
    return CKR_OK;
}

void gcm_counts_give_back(struct gcm_share *share)
{
    if (share->count == NULL)
        return;
    /* In the child of a fork another thread may hold it for ever. What is not given back has been
     * counted without being used. */
    if (pthread_mutex_trylock(&share->count->lock) == 0) {
        share->count->left += share->left;
        pthread_mutex_unlock(&share->count->lock);
    }
    gcm_count_release(share->count);
    *share = (struct gcm_share){NULL, 0};
}

CK_RV gcm_counts_durable(struct object *key, struct gcm_count **ret_count)
{
    if (is_durable(key))
        return count_of(key, ret_count);
    *ret_count = NULL;
    return CKR_OK;
}

/* Also for what is derived from a token key for no purpose: the next process derives it again. */
static bool outlives_process(const struct object *key)
{
    return is_durable(key) || (key->attributes.flags & OF_TOKEN_KEY) != 0;
}

CK_RV gcm_counts_refuse_counter(const struct slot *slot)
{
    log_line(LOG_LEVEL_WARNING,
             "token %s: no IV from a counter for this key: a store that was restored from a "
             "backup, or the next process, would give the same ones again; use CKG_GENERATE or "
             "CKG_GENERATE_RANDOM",
             slot->name);
    return CKR_MECHANISM_PARAM_INVALID;
}

CK_RV gcm_counts_next(struct object *key, unsigned int bits, uint64_t *ret_value)
{
    struct key_ledger *ledger;

    if (outlives_process(key))
        return gcm_counts_refuse_counter(key->slot);
    TRY(key_ledger_of(key, &ledger));
    if (ledger->is_inherited) {
        log_line(LOG_LEVEL_WARNING,
                 "token %s: no IV from a counter for this key: the parent of this process counts "
                 "on with the same key",
                 key->slot->name);
        return CKR_MECHANISM_PARAM_INVALID;
    }
    uint64_t limit = bits >= 64 ? UINT64_MAX : (uint64_t) 1 << bits;
    uint64_t value = atomic_load(&ledger->counter);
    do {
        if (value >= limit)
            return CKR_KEY_EXHAUSTED;
    } while (!atomic_compare_exchange_weak(&ledger->counter, &value, value + 1));
    *ret_value = value;
    return CKR_OK;
}

/* The rows of a token object: its own value's, or those of an index key's two GCM purposes. */
#define ROWS_MAX 2

static CK_RV rows_of(struct object *object, struct object_id ids[ROWS_MAX], size_t *ret_count)
{
    static const unsigned char purposes[ROWS_MAX] = {INDEXKEY_PURPOSE_PAYLOAD,
                                                     INDEXKEY_PURPOSE_ITEM};
    struct custody *custody = object->slot->custody;
    const struct secret *value;

    *ret_count = 0;
    if (object->attributes.object_class != CKO_SECRET_KEY)
        return CKR_OK;
    bool is_index_key = attributes_are_index_key(&object->attributes);
    if (!is_index_key && object->attributes.key_type != CKK_AES)
        return CKR_OK;
    TRY(object_value(object, &value));
    if (!is_index_key) {
        *ret_count = 1;
        return sealed_objects_value_id(custody, value, &ids[0]);
    }
    for (size_t i = 0; i < ROWS_MAX; i++) {
        _cleanup_(secret_clear) struct secret subkey = {NULL, 0};
        TRY(subkeys_derive(value, purposes[i], &subkey));
        TRY(sealed_objects_value_id(custody, &subkey, &ids[i]));
    }
    *ret_count = ROWS_MAX;
    return CKR_OK;
}

/* What a new token object with the value of another one brings. */
struct arrival {
    uint64_t used;       /* by a session key that counted in memory */
    bool has_old_holder; /* its source is a token object or derived from one */
};

static CK_RV add_holder(void *context, struct row *row)
{
    const struct arrival *arrival = context;

    if (row->count < arrival->used)
        row->count = arrival->used;
    if (arrival->has_old_holder || !row->is_new)
        row->holders++;
    return CKR_OK;
}

static CK_RV arrival_of(struct object *source, struct arrival *ret_arrival)
{
    struct gcm_count *count;

    *ret_arrival = (struct arrival){.has_old_holder = is_durable(source)};
    if (ret_arrival->has_old_holder)
        return CKR_OK;
    TRY(count_of(source, &count));
    pthread_mutex_lock(&count->lock);
    ret_arrival->used = count->taken;
    pthread_mutex_unlock(&count->lock);
    return CKR_OK;
}

CK_RV gcm_counts_copied(struct object *source)
{
    struct object_id ids[ROWS_MAX];
    struct arrival arrival;
    size_t count;

    TRY(rows_of(source, ids, &count));
    if (count == 0)
        return CKR_OK;
    TRY(arrival_of(source, &arrival));
    for (size_t i = 0; i < count; i++)
        TRY(row_change(source->slot->custody, &ids[i], add_holder, &arrival));
    return CKR_OK;
}

static CK_RV drop_holder(void *context, struct row *row)
{
    row->holders--;
    *(uint32_t *) context = row->holders;
    return CKR_OK;
}

void gcm_counts_destroyed(struct object *object)
{
    struct object_id ids[ROWS_MAX];
    size_t count;

    if (rows_of(object, ids, &count) != CKR_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        uint32_t left = 0;
        CK_RV rv = row_change(object->slot->custody, &ids[i], drop_holder, &left);
        if (rv == CKR_OK && left == 0)
            gcm_registry_forget(&object->slot->gcm_counts, &ids[i]);
    }
}
