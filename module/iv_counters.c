#include "module/iv_counters.h"

#include <string.h>

#include "base/rv.h"
#include "module/gcm_counts.h"
#include "module/row_kinds.h"
#include "module/slot.h"

#define BLOCK_FIRST 64
#define BLOCK_MAX ((uint64_t) 1 << 20)

/* The row of a key value's counter. */
struct row {
    unsigned char anchor_id[CUSTODY_ANCHOR_ID_LEN];
    struct iv_form form;
    uint64_t next;
};

static bool same_form(const struct iv_form *a, const struct iv_form *b)
{
    return a->generator == b->generator && a->iv_len == b->iv_len &&
           a->fixed_bits == b->fixed_bits && memcmp(a->base, b->base, sizeof(a->base)) == 0;
}

static CK_RV row_encode(const struct row *row, struct blob *ret_bytes)
{
    _cleanup_(writer_clear) struct writer writer = {0};

    write_u8(&writer, ROW_KIND_IV_COUNTER);
    write_raw(&writer, (struct view){row->anchor_id, sizeof(row->anchor_id)});
    write_u64(&writer, row->next);
    write_u32(&writer, (uint32_t) row->form.generator);
    write_u32(&writer, (uint32_t) row->form.iv_len);
    write_u32(&writer, (uint32_t) row->form.fixed_bits);
    write_raw(&writer, (struct view){row->form.base, sizeof(row->form.base)});
    return writer_finish(&writer, ret_bytes);
}

static CK_RV row_decode(struct view bytes, struct row *ret_row)
{
    struct reader reader = reader_of(bytes);
    struct row row = {.next = 0};
    uint8_t kind = read_u8(&reader);
    struct view anchor_id = read_raw(&reader, sizeof(row.anchor_id));

    row.next = read_u64(&reader);
    row.form.generator = read_u32(&reader);
    row.form.iv_len = read_u32(&reader);
    row.form.fixed_bits = read_u32(&reader);
    struct view base = read_raw(&reader, sizeof(row.form.base));
    if (kind != ROW_KIND_IV_COUNTER || !reader_done(&reader))
        return FAIL(CKR_DEVICE_ERROR, "a counter for IVs in the store is of an unknown form "
                                      "(written by a newer version?)");
    memcpy(row.anchor_id, anchor_id.bytes, sizeof(row.anchor_id));
    memcpy(row.form.base, base.bytes, sizeof(row.form.base));
    *ret_row = row;
    return CKR_OK;
}

static CK_RV check_row(const struct slot *slot, const struct row *row, const struct row *wanted)
{
    if (!same_form(&row->form, &wanted->form)) {
        log_line(LOG_LEVEL_WARNING,
                 "token %s: a key's counter has made IVs of another form; use that one",
                 slot->name);
        return CKR_MECHANISM_PARAM_INVALID;
    }
    if (memcmp(row->anchor_id, wanted->anchor_id, sizeof(row->anchor_id)) != 0) {
        log_line(LOG_LEVEL_WARNING,
                 "token %s: no IV from a counter for this key any more: it counted under another "
                 "anchor, or before indexkey anchor --accept, and might give the same ones again; "
                 "use CKG_GENERATE_RANDOM or a new key",
                 slot->name);
        return CKR_MECHANISM_PARAM_INVALID;
    }
    return CKR_OK;
}

/* From `next` on, without `end`. */
struct values {
    uint64_t next;
    uint64_t end;
};

/* CKR_OBJECT_HANDLE_INVALID when another process came first. */
static CK_RV take_once(const struct iv_filling *filling, const struct object_id *id, uint64_t len,
                       struct values *ret_values)
{
    struct custody *custody = filling->slot->custody;
    _cleanup_(blob_clear) struct blob bytes = {NULL, 0};
    _cleanup_(blob_clear) struct blob encoded = {NULL, 0};
    struct row wanted = {.form = filling->form};
    struct row row;
    uint64_t version = 0;

    /* Before the store is looked through: an anchor that is accepted later has another id. */
    TRY(custody_anchor_id(custody, wanted.anchor_id));
    CK_RV rv = sealed_objects_verified_attributes(custody, id, &version, &bytes);
    bool is_new = rv == CKR_OBJECT_HANDLE_INVALID;
    if (!is_new)
        TRY(rv);
    row = wanted;
    if (!is_new) {
        TRY(row_decode(blob_view(&bytes), &row));
        TRY(check_row(filling->slot, &row, &wanted));
    }
    uint64_t from = row.next > filling->least ? row.next : filling->least;
    if (from >= filling->limit)
        return CKR_KEY_EXHAUSTED;
    row.next = filling->limit - from < len ? filling->limit : from + len;
    TRY(row_encode(&row, &encoded));
    TRY(is_new ? sealed_objects_create(custody, id, blob_view(&encoded), NULL)
               : sealed_objects_update(custody, id, version, blob_view(&encoded), &version));
    *ret_values = (struct values){from, row.next};
    return CKR_OK;
}

static CK_RV take_block(const struct iv_filling *filling, uint64_t len, struct values *ret_values)
{
    struct object_id id = filling->count->id;
    CK_RV rv;

    /* A row of its own, which outlives the key: a value that is imported again counts on. */
    id.bytes[OBJECT_ID_LEN - 1] ^= 1;
    do
        rv = take_once(filling, &id, len, ret_values);
    while (rv == CKR_OBJECT_HANDLE_INVALID);
    return rv == CKR_FUNCTION_NOT_SUPPORTED ? gcm_counts_refuse_counter(filling->slot) : rv;
}

static uint64_t first_value(const struct iv_block *block, uint64_t known)
{
    return known > block->next ? known : block->next;
}

/* One thread asks the store, the others wait for what it brings. */
static CK_RV fill_locked(const struct iv_filling *filling)
{
    struct iv_block *block = &filling->count->iv;
    struct values taken = {0, 0};

    if (block->is_refilling) {
        gcm_count_wait(&block->refilled, &block->lock);
        return CKR_OK;
    }
    if (first_value(block, filling->least) < block->end)
        return CKR_OK;
    uint64_t len = block->len == 0 ? BLOCK_FIRST : 2 * block->len;
    if (len > BLOCK_MAX)
        len = BLOCK_MAX;
    block->is_refilling = true;
    pthread_mutex_unlock(&block->lock);
    CK_RV rv = take_block(filling, len, &taken);
    pthread_mutex_lock(&block->lock);
    block->is_refilling = false;
    pthread_cond_broadcast(&block->refilled);
    if (rv != CKR_OK)
        return rv;
    block->next = taken.next;
    block->end = taken.end;
    block->has_form = true;
    block->form = filling->form;
    block->len = len;
    return CKR_OK;
}

CK_RV iv_counters_fill(const struct iv_filling *filling)
{
    struct iv_block *block = &filling->count->iv;

    pthread_mutex_lock(&block->lock);
    CK_RV rv = fill_locked(filling);
    pthread_mutex_unlock(&block->lock);
    return rv;
}

void iv_filling_clear(struct iv_filling *filling)
{
    gcm_count_release(filling->count);
    filling->count = NULL;
}

/* Session keys with the same value count in the ledger: none of theirs is given out again. */
static CK_RV next_locked(struct iv_block *block, struct key_ledger *ledger,
                         const struct iv_form *form, uint64_t *ret_value)
{
    if (block->has_form && !same_form(&block->form, form))
        return CKR_MECHANISM_PARAM_INVALID;
    for (;;) {
        uint64_t known = atomic_load(&ledger->counter);
        uint64_t value = first_value(block, known);
        if (value >= block->end)
            return IV_COUNTERS_EMPTY;
        if (atomic_compare_exchange_strong(&ledger->counter, &known, value + 1)) {
            block->next = value + 1;
            *ret_value = value;
            return CKR_OK;
        }
    }
}

static CK_RV next_in_memory(struct object *key, const struct iv_form *form, unsigned int bits,
                            uint64_t *ret_value)
{
    struct key_ledger *ledger;

    TRY(key_ledger_of(key, &ledger));
    if (!key_ledger_keeps_form(ledger, form)) {
        log_line(LOG_LEVEL_WARNING, "token %s: a key's counter has made IVs of another form",
                 key->slot->name);
        return CKR_MECHANISM_PARAM_INVALID;
    }
    return gcm_counts_next(key, bits, ret_value);
}

CK_RV iv_counters_next(struct object *key, const struct iv_form *form, unsigned int bits,
                       struct iv_filling *filling, uint64_t *ret_value)
{
    struct gcm_count *count;
    struct key_ledger *ledger;

    TRY(gcm_counts_durable(key, &count));
    if (count == NULL)
        return next_in_memory(key, form, bits, ret_value);
    TRY(key_ledger_of(key, &ledger));
    pthread_mutex_lock(&count->iv.lock);
    CK_RV rv = next_locked(&count->iv, ledger, form, ret_value);
    pthread_mutex_unlock(&count->iv.lock);
    if (rv != IV_COUNTERS_EMPTY || filling == NULL)
        return rv;
    iv_filling_clear(filling);
    *filling = (struct iv_filling){
        .slot = key->slot,
        .count = gcm_count_reference(count),
        .form = *form,
        .least = atomic_load(&ledger->counter),
        .limit = bits >= 64 ? UINT64_MAX : (uint64_t) 1 << bits,
    };
    return rv;
}
