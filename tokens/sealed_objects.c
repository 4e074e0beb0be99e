#include "tokens/sealed_objects.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "tokens/custody_internal.h"
#include "tokens/seal.h"
#include "tokens/summary.h"

/* How long a change goes on against other writers of the store. Each lost round means that one of
 * them has won it. */
#define CHANGE_MAX_MS 30000
#define PAUSE_MAX_MS 32

#define ID_TEXT_LEN (2 * OBJECT_ID_LEN + 1)

static const char *id_text(const struct object_id *id, char text[ID_TEXT_LEN])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < OBJECT_ID_LEN; i++) {
        text[2 * i] = digits[id->bytes[i] >> 4];
        text[2 * i + 1] = digits[id->bytes[i] & 15];
    }
    text[ID_TEXT_LEN - 1] = '\0';
    return text;
}

static CK_RV fail_row(const struct custody *custody, const struct object_id *id)
{
    char text[ID_TEXT_LEN];
    cause_set(INDEXKEY_CAUSE_TAMPERED);
    return FAIL(CKR_DEVICE_ERROR,
                "token '%s': object %s in its store was changed and does not open; restore the "
                "store from a backup, or destroy the object",
                custody->name, id_text(id, text));
}

static CK_RV fail_summary(const struct custody *custody)
{
    cause_set(INDEXKEY_CAUSE_TAMPERED);
    return FAIL(CKR_DEVICE_ERROR,
                "token '%s': the record '%s' in its store was changed; restore the store from a "
                "backup",
                custody->name, RECORD_SUMMARY);
}

struct stored_summary {
    struct summary summary;
    uint64_t version; /* of its row */
};

/* CKR_ENCRYPTED_DATA_INVALID, not logged, when it is missing or does not open. */
static CK_RV read_summary(struct custody *custody, struct stored_summary *ret_summary)
{
    _cleanup_(blob_clear) struct blob bytes = {0};
    struct stored_summary stored;
    CK_RV rv =
        custody->store->ops->read_record(custody->store, RECORD_SUMMARY, &bytes, &stored.version);
    if (rv == STORE_ABSENT)
        return CKR_ENCRYPTED_DATA_INVALID;
    TRY(rv);
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&custody->keyring, &held));
    TRY(summary_open(held, blob_view(&bytes), &stored.summary));
    *ret_summary = stored;
    return CKR_OK;
}

struct load {
    struct custody *custody;
    sealed_object_fn *each;
    void *context;
    struct hmac *set_key; /* keyed once for all rows; of this load alone */
    struct summary found;
};

static CK_RV load_begin(struct load *load)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&load->custody->keyring, &held));
    return hmac_new(&held->set_key, &load->set_key);
}

static void load_end(struct load *load)
{
    hmac_free(&load->set_key);
}

static void discard_attributes(struct blob *attributes)
{
    /* Not secret to whom has logged in, but still none of the heap's business afterwards. */
    if (attributes->bytes != NULL)
        secret_wipe(attributes->bytes, attributes->len);
    blob_clear(attributes);
}

/* The keyring is let go before the module sees the object: it has locks of its own. */
static CK_RV open_row(struct load *load, const struct store_row *row, struct blob *ret_attributes)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&load->custody->keyring, &held));
    unsigned char mac[SHA256_LEN];
    TRY(seal_set_mac_of(load->set_key, row, mac));
    summary_add(&load->found, mac);
    return seal_open_attributes(held, row, ret_attributes);
}

static CK_RV load_row(void *context, const struct store_row *row)
{
    struct load *load = context;
    _cleanup_(discard_attributes) struct blob attributes = {0};
    CK_RV rv = open_row(load, row, &attributes);
    if (rv == CKR_ENCRYPTED_DATA_INVALID) {
        (void) fail_row(load->custody, &row->id);
        return CKR_OK;
    }
    TRY(rv);
    struct sealed_object object = {
        .id = row->id,
        .version = row->version,
        .attributes = blob_view(&attributes),
        .value_len = seal_value_len(row),
    };
    return load->each(load->context, &object);
}

static void report_difference(const struct custody *custody, const struct summary *expected,
                              const struct summary *found)
{
    const char *what = "objects were replaced or put back to an older version";
    if (found->count < expected->count)
        what = "objects are missing";
    if (found->count > expected->count)
        what = "objects were added or put back";
    log_line(LOG_LEVEL_ERROR,
             "token '%s': its store holds %llu objects where %llu were recorded: %s behind the "
             "token's back; restore the store from a backup if they matter",
             custody->name, (unsigned long long) found->count, (unsigned long long) expected->count,
             what);
}

CK_RV sealed_objects_load(struct custody *custody, sealed_object_fn *each, void *context)
{
    struct stored_summary before;
    struct stored_summary after;
    CK_RV rv = read_summary(custody, &before);
    bool verifiable = rv == CKR_OK;
    if (rv != CKR_OK && rv != CKR_ENCRYPTED_DATA_INVALID)
        return rv;
    _cleanup_(load_end) struct load load = {.custody = custody, .each = each, .context = context};
    TRY(load_begin(&load));
    TRY(custody->store->ops->read_objects(custody->store, load_row, &load));
    if (!verifiable) {
        (void) fail_summary(custody);
        return CKR_OK;
    }
    atomic_store(&custody->objects_generation, before.summary.generation);
    rv = read_summary(custody, &after);
    /* With a commit in between the rows belong to neither summary; custody_tick will call for
     * another load, which is compared again. */
    if (rv == CKR_OK && before.version == after.version &&
        !summary_same_set(&before.summary, &load.found))
        report_difference(custody, &before.summary, &load.found);
    return CKR_OK;
}

/* CKR_OBJECT_HANDLE_INVALID when there is no such row. */
static CK_RV read_row(struct custody *custody, const struct object_id *id, store_row_fn *each,
                      void *context)
{
    CK_RV rv = custody->store->ops->read_object(custody->store, id, each, context);
    if (rv == STORE_ABSENT)
        return CKR_OBJECT_HANDLE_INVALID;
    return rv == CKR_ENCRYPTED_DATA_INVALID ? fail_row(custody, id) : rv;
}

struct value_request {
    struct custody *custody;
    uint64_t version;
    struct secret *value;
};

static CK_RV open_value(void *context, const struct store_row *row)
{
    struct value_request *request = context;
    /* A newer version has other attributes and the same value. */
    if (row->version < request->version)
        return CKR_OBJECT_HANDLE_INVALID;
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&request->custody->keyring, &held));
    return seal_open_value(held, row, request->value);
}

CK_RV sealed_objects_value(struct custody *custody, const struct object_id *id, uint64_t version,
                           struct secret *ret_value)
{
    _cleanup_(secret_clear) struct secret value = {0};
    struct value_request request = {custody, version, &value};
    TRY(read_row(custody, id, open_value, &request));
    *ret_value = secret_move(&value);
    return CKR_OK;
}

struct attributes_request {
    struct custody *custody;
    uint64_t version;
    struct blob attributes;
};

static CK_RV open_attributes(void *context, const struct store_row *row)
{
    struct attributes_request *request = context;
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&request->custody->keyring, &held));
    request->version = row->version;
    return seal_open_attributes(held, row, &request->attributes);
}

CK_RV sealed_objects_attributes(struct custody *custody, const struct object_id *id,
                                uint64_t *ret_version, struct blob *ret_attributes)
{
    struct attributes_request request = {.custody = custody};
    TRY(read_row(custody, id, open_attributes, &request));
    *ret_version = request.version;
    *ret_attributes = request.attributes;
    return CKR_OK;
}

CK_RV sealed_objects_new_id(struct object_id *ret_id)
{
    return crypto_random(ret_id->bytes, OBJECT_ID_LEN);
}

CK_RV sealed_objects_value_id(struct custody *custody, const struct secret *value,
                              struct object_id *ret_id)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    unsigned char mac[SHA256_LEN];
    TRY(keyring_hold(&custody->keyring, &held));
    TRY(crypto_hmac_sha256(&held->value_id_key, (struct view){value->bytes, value->len}, mac));
    memcpy(ret_id->bytes, mac, OBJECT_ID_LEN);
    return CKR_OK;
}

/* One object change as it is asked for. */
struct change {
    const struct object_id *id;
    uint64_t version; /* as it must be now; 0: a new object */
    bool remove;
    struct view attributes;
    const struct secret *value; /* of a new object */
};

/* What the row being replaced contributes. */
struct former_row {
    const struct change *change;
    struct custody *custody;
    unsigned char mac[SHA256_LEN];
    struct secret value;
};

static void former_row_clear(struct former_row *former)
{
    secret_clear(&former->value);
}

static CK_RV read_former_row(void *context, const struct store_row *row)
{
    struct former_row *former = context;
    if (row->version != former->change->version)
        return CKR_OBJECT_HANDLE_INVALID;
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&former->custody->keyring, &held));
    TRY(seal_set_mac(held, row, former->mac));
    return former->change->remove ? CKR_OK : seal_open_value(held, row, &former->value);
}

/* The object's new row and the summary with it. */
struct sealed_change {
    struct sealed_row row;
    struct blob summary;
};

static void sealed_change_clear(struct sealed_change *sealed)
{
    sealed_row_clear(&sealed->row);
    blob_clear(&sealed->summary);
}

static CK_RV seal_change(const struct former_row *former, struct summary *summary,
                         struct sealed_change *ret_sealed)
{
    const struct change *change = former->change;
    _cleanup_(sealed_change_clear) struct sealed_change sealed = {0};
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&former->custody->keyring, &held));
    summary->generation++;
    if (change->version > 0)
        summary_remove(summary, former->mac);
    if (!change->remove) {
        struct seal_content content = {
            .id = change->id,
            .version = change->version + 1,
            .attribute_key = summary_attribute_key(summary),
            .attributes = change->attributes,
            .value = change->version > 0 ? &former->value : change->value,
        };
        TRY(seal_row(held, &content, &sealed.row));
        struct store_row row = {
            .id = *change->id,
            .version = content.version,
            .attributes = blob_view(&sealed.row.attributes),
        };
        unsigned char mac[SHA256_LEN];
        TRY(seal_set_mac(held, &row, mac));
        summary_add(summary, mac);
    }
    TRY(summary_seal(held, summary, &sealed.summary));
    ret_sealed->row.attributes = blob_move(&sealed.row.attributes);
    ret_sealed->row.value = blob_move(&sealed.row.value);
    ret_sealed->summary = blob_move(&sealed.summary);
    return CKR_OK;
}

static CK_RV refuse_row(void *context, const struct store_row *row)
{
    (void) context;
    (void) row;
    return CKR_OBJECT_HANDLE_INVALID;
}

/* An id that belongs to a value may be another process's row by now. */
static CK_RV check_is_new(struct custody *custody, const struct object_id *id)
{
    CK_RV rv = custody->store->ops->read_object(custody->store, id, refuse_row, NULL);
    return rv == STORE_ABSENT ? CKR_OK : rv;
}

/* STORE_CONFLICT when another process was faster. */
static CK_RV apply_once(struct custody *custody, const struct change *change)
{
    _cleanup_(former_row_clear) struct former_row former = {change, custody, {0}, {0}};
    _cleanup_(sealed_change_clear) struct sealed_change sealed = {0};
    struct stored_summary stored;
    CK_RV rv = read_summary(custody, &stored);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return fail_summary(custody);
    TRY(rv);
    if (change->version > 0)
        TRY(read_row(custody, change->id, read_former_row, &former));
    uint64_t known = stored.summary.generation;
    TRY(seal_change(&former, &stored.summary, &sealed));
    struct store_change changes[] = {
        {.object = change->id,
         .expected = change->version,
         .remove = change->remove,
         .attributes = blob_view(&sealed.row.attributes),
         .value = blob_view(&sealed.row.value)},
        {.record = RECORD_SUMMARY,
         .expected = stored.version,
         .attributes = blob_view(&sealed.summary)},
    };
    rv = custody->store->ops->commit(custody->store, changes, 2);
    if (rv == STORE_CONFLICT && change->version == 0)
        TRY(check_is_new(custody, change->id));
    TRY(rv);
    /* The module knows of its own change; if it missed another's before, it still has to learn it.
     * */
    (void) atomic_compare_exchange_strong(&custody->objects_generation, &known, known + 1);
    return CKR_OK;
}

/* Random, and longer with each round lost. */
static void pause_after(size_t lost_count)
{
    uint8_t random = 0;
    (void) crypto_random(&random, sizeof(random));
    long most_ms = lost_count < 5 ? 1L << lost_count : PAUSE_MAX_MS;
    struct timespec pause = {.tv_nsec = most_ms * random / UINT8_MAX * 1000000L};
    (void) nanosleep(&pause, NULL);
}

static CK_RV apply(struct custody *custody, const struct change *change)
{
    _cleanup_(custody_unlock) pthread_mutex_t *held = &custody->write_lock;
    (void) pthread_mutex_lock(held);
    int64_t end_ms = clock_boot_ms() + CHANGE_MAX_MS;
    for (size_t i = 0; clock_boot_ms() < end_ms; i++) {
        CK_RV rv = apply_once(custody, change);
        if (rv != STORE_CONFLICT)
            return rv;
        pause_after(i);
    }
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "token '%s': other processes keep changing its store; try again",
                      custody->name);
}

CK_RV sealed_objects_create(struct custody *custody, const struct object_id *id,
                            struct view attributes, const struct secret *value)
{
    struct change change = {.id = id, .attributes = attributes, .value = value};
    return apply(custody, &change);
}

CK_RV sealed_objects_update(struct custody *custody, const struct object_id *id, uint64_t version,
                            struct view attributes, uint64_t *ret_version)
{
    struct change change = {.id = id, .version = version, .attributes = attributes};
    TRY(apply(custody, &change));
    *ret_version = version + 1;
    return CKR_OK;
}

CK_RV sealed_objects_destroy(struct custody *custody, const struct object_id *id, uint64_t version)
{
    struct change change = {.id = id, .version = version, .remove = true};
    return apply(custody, &change);
}
