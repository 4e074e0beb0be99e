/*
 * Loading a token's objects: all of them, or what changed since the last load.
 *
 * What the store tells of changes decides what is read, and nothing else: the sum over all rows,
 * of which those that did not come count as they were, must be what the summary says. Where it is
 * not, everything is read again. A row that is put back behind the token's back without a word of
 * it would not be looked at; so everything is read once in a while, too.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "tokens/custody_anchor.h"
#include "tokens/row_macs.h"
#include "tokens/seal.h"
#include "tokens/sealed_internal.h"

/* Never leaves this file: the store does not know what changed. */
#define LOOK_IS_WHOLE ((CK_RV) (CKR_VENDOR_DEFINED | 0x1D0004UL))

/* What the last load found. */
struct sealed_look {
    struct row_macs macs;
    uint64_t turn;    /* of the store */
    int64_t whole_ms; /* when all rows were read (clock_boot_ms) */
};

static void look_free(struct sealed_look **look)
{
    if (*look != NULL) {
        row_macs_clear(&(*look)->macs);
        mem_free(*look);
    }
    *look = NULL;
}

void sealed_objects_forget(struct custody *custody)
{
    (void) pthread_mutex_lock(&custody->look_lock);
    struct sealed_look *forgotten = TAKE(custody->look);
    custody->look_number++;
    (void) pthread_mutex_unlock(&custody->look_lock);
    look_free(&forgotten);
}

/* One load. It has the look for itself: a logout need not wait for it. */
struct load {
    struct custody *custody;
    const struct sealed_reader *reader;
    bool is_whole;
    struct sealed_look *look;
    uint64_t number;      /* the custody's look_number as it began */
    struct hmac *set_key; /* keyed once for all rows; of this load alone */
    struct store_look rows;
    struct summary found; /* of the rows that came */
    struct summary expected;
};

static void load_end(struct load *load)
{
    hmac_free(&load->set_key);
    look_free(&load->look);
}

static void take_look(struct load *load)
{
    struct custody *custody = load->custody;
    (void) pthread_mutex_lock(&custody->look_lock);
    load->look = TAKE(custody->look);
    load->number = custody->look_number;
    (void) pthread_mutex_unlock(&custody->look_lock);
}

/* Of a login that is over, it is of no use. */
static void keep_look(struct load *load)
{
    struct custody *custody = load->custody;
    load->look->turn = load->rows.turn;
    (void) pthread_mutex_lock(&custody->look_lock);
    if (load->number == custody->look_number) {
        struct sealed_look *former = custody->look;
        custody->look = load->look;
        load->look = former;
    }
    (void) pthread_mutex_unlock(&custody->look_lock);
}

static CK_RV add_mac(struct load *load, const struct store_row *row)
{
    struct row_macs *macs = &load->look->macs;
    unsigned char mac[SHA256_LEN];
    CK_RV rv = seal_set_mac_of(load->set_key, row, mac);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        row_macs_remove(macs, &row->id);
    TRY(rv);
    summary_add(&load->found, mac);
    return row_macs_put(macs, &row->id, mac);
}

/* The keyring is let go before the module sees the object: it has locks of its own. */
static CK_RV open_row(struct load *load, const struct store_row *row, struct blob *ret_attributes)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&load->custody->keyring, &held));
    TRY(add_mac(load, row));
    return seal_open_attributes(held, row, ret_attributes);
}

/* It is left out, and what was known of it is no longer so. */
static CK_RV leave_out(struct load *load, const struct store_row *row)
{
    if (seal_is_newer(row))
        (void) sealed_objects_fail_newer_row(load->custody, &row->id);
    else
        (void) sealed_objects_fail_row(load->custody, &row->id);
    return load->is_whole ? CKR_OK : load->reader->gone(load->reader->context, &row->id);
}

static CK_RV load_row(void *context, const struct store_row *row)
{
    struct load *load = context;
    _cleanup_(blob_discard) struct blob attributes = {0};
    if (!load->is_whole && load->rows.is_whole)
        return LOOK_IS_WHOLE;
    CK_RV rv = open_row(load, row, &attributes);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return leave_out(load, row);
    TRY(rv);
    struct sealed_object object = {
        .id = row->id,
        .version = row->version,
        .attributes = blob_view(&attributes),
        .value_len = seal_value_len(row),
    };
    return load->reader->each(load->reader->context, &object);
}

static CK_RV load_gone(void *context, const struct object_id *id)
{
    struct load *load = context;
    row_macs_remove(&load->look->macs, id);
    return load->reader->gone(load->reader->context, id);
}

static CK_RV begin_rows(struct load *load)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&load->custody->keyring, &held));
    return hmac_new(&held->set_key, &load->set_key);
}

static CK_RV read_rows(struct load *load)
{
    struct store *store = load->custody->store;
    TRY(begin_rows(load));
    load->rows = (struct store_look){
        .since = load->is_whole ? 0 : load->look->turn,
        .gone = load_gone,
        .each = load_row,
        .context = load,
    };
    TRY(store->ops->read_changes(store, &load->rows));
    return load->rows.is_whole && !load->is_whole ? LOOK_IS_WHOLE : CKR_OK;
}

/* Reads the rows, and holds them against the summary. With a commit in between they belong to
 * neither summary, and nothing can be said: custody_tick will call for another load, which is
 * compared again. CKR_ENCRYPTED_DATA_INVALID, not logged, when the summary does not open. */
static CK_RV load_and_compare(struct load *load, bool *ret_differs)
{
    struct custody *custody = load->custody;
    struct stored_summary before;
    struct stored_summary after;
    CK_RV opened = sealed_objects_read_summary(custody, &custody->keyring, &before);
    if (opened != CKR_OK && opened != CKR_ENCRYPTED_DATA_INVALID)
        return opened;
    TRY(read_rows(load));
    TRY(opened);
    atomic_store(&custody->objects_generation, before.summary.generation);
    custody_generation_follow(custody, &custody->keyring, before.summary.generation);
    CK_RV rv = sealed_objects_read_summary(custody, &custody->keyring, &after);
    load->expected = before.summary;
    bool is_same = load->is_whole ? summary_same_set(&load->expected, &load->found)
                                  : row_macs_match(&load->look->macs, &load->expected);
    *ret_differs = rv == CKR_OK && before.version == after.version && !is_same;
    return CKR_OK;
}

static void report_difference(const struct load *load)
{
    const struct summary *expected = &load->expected;
    const struct summary *found = &load->found;
    const char *what = "objects were replaced or put back to an older version";
    if (found->count < expected->count)
        what = "objects are missing";
    if (found->count > expected->count)
        what = "objects were added or put back";
    log_line(LOG_LEVEL_ERROR,
             "token '%s': its store holds %llu objects where %llu were recorded: %s behind the "
             "token's back; restore the store from a backup if they matter",
             load->custody->name, (unsigned long long) found->count,
             (unsigned long long) expected->count, what);
}

CK_RV sealed_objects_load(struct custody *custody, sealed_object_fn *each, void *context)
{
    const struct sealed_reader reader = {.each = each, .context = context};
    _cleanup_(load_end) struct load load = {
        .custody = custody,
        .reader = &reader,
        .is_whole = true,
    };
    bool differs = false;
    take_look(&load);
    look_free(&load.look);
    load.look = mem_calloc(1, sizeof(*load.look));
    if (load.look == NULL)
        return CKR_HOST_MEMORY;
    load.look->whole_ms = clock_boot_ms();
    CK_RV rv = load_and_compare(&load, &differs);
    if (rv == CKR_ENCRYPTED_DATA_INVALID) {
        (void) sealed_objects_fail_summary(custody);
        return CKR_OK;
    }
    TRY(rv);
    if (differs)
        report_difference(&load);
    else
        keep_look(&load);
    return CKR_OK;
}

CK_RV sealed_objects_load_changes(struct custody *custody, const struct sealed_reader *reader,
                                  bool *ret_is_known)
{
    _cleanup_(load_end) struct load load = {.custody = custody, .reader = reader};
    bool differs = false;
    take_look(&load);
    bool is_known =
        load.look != NULL && clock_boot_ms() - load.look->whole_ms < SEALED_WHOLE_EVERY_MS;
    CK_RV rv = is_known ? load_and_compare(&load, &differs) : CKR_OK;
    if (rv == LOOK_IS_WHOLE || rv == CKR_ENCRYPTED_DATA_INVALID || differs) {
        rv = CKR_OK;
        is_known = false;
    }
    TRY(rv);
    if (is_known)
        keep_look(&load);
    *ret_is_known = is_known;
    return CKR_OK;
}
