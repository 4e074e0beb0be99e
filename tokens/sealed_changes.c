/*
 * Objects that are created, changed and destroyed.
 *
 * Requests that come at once become one commit, with one new summary: one of their threads finds
 * the rows they meet, seals and commits for all. A request is one change or several, which happen
 * as one; where one of them meets another version the request fails alone, and the others are done
 * again without it.
 */
#include <string.h>

#include "base/alloc.h"
#include "tokens/custody_anchor.h"
#include "tokens/seal.h"
#include "tokens/sealed_internal.h"

/* Each of them has lost a connection, or has settled a request that failed. */
#define TRIES_MAX (4 + GROUP_MAX)

/* What a caller asks for, and what became of it. */
struct request {
    struct group_member member; /* first */
    const struct sealed_change *changes;
    size_t count;
    CK_RV rv;
    enum indexkey_cause cause;
};

/* One commit in the making. */
struct batch {
    struct custody *custody;
    struct group_member *const *members;
    size_t member_count;
    struct request *failed; /* what ended the plan, if it was one of the requests */
    bool is_told;           /* to custody_tick, that its generation is an own one */
    struct stored_summary stored;
    struct request *requests[GROUP_MAX]; /* those that go into it */
    size_t request_count;
    struct sealed_row *rows;    /* of their changes */
    struct store_change *steps; /* one for each row, and the summary's */
    size_t count;               /* rows so far */
    struct blob summary;
};

static void batch_clear(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        sealed_row_clear(&batch->rows[i]);
    mem_free(batch->rows);
    mem_free(batch->steps);
    blob_clear(&batch->summary);
}

/* Room for the changes of all who wait. */
static CK_RV batch_reserve(struct batch *batch)
{
    size_t most = 0;
    for (size_t i = 0; i < batch->member_count; i++)
        most += ((struct request *) batch->members[i])->count;
    batch->rows = mem_calloc(most, sizeof(*batch->rows));
    batch->steps = mem_calloc(most + 1, sizeof(*batch->steps));
    return batch->rows == NULL || batch->steps == NULL ? CKR_HOST_MEMORY : CKR_OK;
}

/* What the row being replaced contributes. */
struct former_row {
    const struct sealed_change *change;
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

/* The object's new row, and what it adds to the sum. */
static CK_RV seal_new_row(struct keyring *held, const struct seal_content *content,
                          struct sealed_row *ret_row, unsigned char ret_mac[SHA256_LEN])
{
    _cleanup_(sealed_row_clear) struct sealed_row sealed = {0};
    TRY(seal_row(held, content, &sealed));
    struct store_row row = {
        .id = *content->id,
        .version = content->version,
        .attributes = blob_view(&sealed.attributes),
    };
    TRY(seal_set_mac(held, &row, ret_mac));
    ret_row->attributes = blob_move(&sealed.attributes);
    ret_row->value = blob_move(&sealed.value);
    return CKR_OK;
}

/* Seals the change's row into the batch. */
static CK_RV add_change(struct batch *batch, const struct sealed_change *change)
{
    struct custody *custody = batch->custody;
    struct summary *summary = &batch->stored.summary;
    _cleanup_(former_row_clear) struct former_row former = {change, custody, {0}, {0}};
    TRY(change->version == 0
            ? check_is_new(custody, change->id)
            : sealed_objects_read_row(custody, change->id, read_former_row, &former));
    struct sealed_row row = {0};
    unsigned char mac[SHA256_LEN];
    if (!change->remove) {
        const struct seal_content content = {
            .id = change->id,
            .version = change->version + 1,
            .attribute_key = summary_attribute_key(summary),
            .attributes = change->attributes,
            .value = change->version > 0 ? &former.value : change->value,
        };
        _cleanup_(keyring_release) struct keyring *held = NULL;
        TRY(keyring_hold(&custody->keyring, &held));
        TRY(seal_new_row(held, &content, &row, mac));
        summary_add(summary, mac);
    }
    if (change->version > 0)
        summary_remove(summary, former.mac);
    summary->generation++;
    batch->steps[batch->count] = (struct store_change){
        .object = change->id,
        .expected = change->version,
        .remove = change->remove,
        .attributes = blob_view(&row.attributes),
        .value = blob_view(&row.value),
    };
    batch->rows[batch->count++] = row;
    return CKR_OK;
}

static CK_RV add_summary(struct batch *batch)
{
    struct custody *custody = batch->custody;
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&custody->keyring, &held));
    TRY(summary_seal(held, &batch->stored.summary, &batch->summary));
    batch->steps[batch->count] = (struct store_change){
        .record = RECORD_SUMMARY,
        .expected = batch->stored.version,
        .attributes = blob_view(&batch->summary),
    };
    return CKR_OK;
}

/* A second change of one row belongs to the next commit, where it meets what the first one made. */
static bool meets_another(const struct batch *batch, const struct request *request)
{
    for (size_t i = 0; i < batch->count; i++) {
        const unsigned char *taken = batch->steps[i].object->bytes;
        for (size_t j = 0; j < request->count; j++) {
            if (memcmp(taken, request->changes[j].id->bytes, OBJECT_ID_LEN) == 0)
                return true;
        }
    }
    return false;
}

static CK_RV add_request(struct batch *batch, struct request *request)
{
    for (size_t i = 0; i < request->count; i++)
        TRY(add_change(batch, &request->changes[i]));
    batch->requests[batch->request_count++] = request;
    return CKR_OK;
}

static CK_RV add_requests(struct batch *batch)
{
    for (size_t i = 0; i < batch->member_count; i++) {
        struct request *request = (struct request *) batch->members[i];
        if (request->member.is_settled || meets_another(batch, request))
            continue;
        CK_RV rv = add_request(batch, request);
        if (rv != CKR_OK) {
            batch->failed = request;
            return rv;
        }
    }
    return CKR_OK;
}

static CK_RV plan(void *context, const struct store_change **ret_changes, size_t *ret_change_count)
{
    struct batch *batch = context;
    struct custody *custody = batch->custody;
    /* What is sealed under the key of a former epoch would be lost. */
    CK_RV rv = custody_confirm_keys(custody);
    if (sealed_objects_is_gone(rv))
        return custody_fail_gone(custody);
    TRY(rv);
    rv = custody_read_summary(custody, &custody->keyring, &batch->stored);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return sealed_objects_fail_summary(custody);
    TRY(rv);
    uint64_t known = batch->stored.summary.generation;
    TRY(batch_reserve(batch));
    TRY(add_requests(batch));
    TRY(add_summary(batch));
    /* The module knows of its own changes; if it missed another's before, it still has to learn it.
     * Said before the commit: custody_tick cannot read in between, and would take it for news. */
    (void) atomic_compare_exchange_strong(&custody->objects_generation, &known,
                                          batch->stored.summary.generation);
    batch->is_told = true;
    *ret_changes = batch->steps;
    *ret_change_count = batch->count + 1;
    return CKR_OK;
}

static void settle(struct request *request, CK_RV rv)
{
    request->rv = rv;
    request->cause = cause_last();
    request->member.is_settled = true;
}

/* What was told of the generation is not so. */
static void take_back(const struct batch *batch)
{
    if (batch->is_told)
        sealed_objects_look_again(batch->custody);
}

/* All fail alike. */
static void settle_failed(struct batch *batch, CK_RV rv)
{
    take_back(batch);
    for (size_t i = 0; i < batch->member_count; i++) {
        if (!batch->members[i]->is_settled)
            settle((struct request *) batch->members[i], rv);
    }
}

/* True when it is to be done again: without the request that failed, or, while `may_repeat`, as it
 * is, because the turn was lost with the store's connection. */
static bool commit_once(struct custody *custody, struct group_member *const *members, size_t count,
                        bool may_repeat)
{
    _cleanup_(batch_clear) struct batch batch = {
        .custody = custody,
        .members = members,
        .member_count = count,
    };
    cause_clear();
    CK_RV rv = custody_anchor_ready(custody, &custody->keyring);
    if (rv == CKR_OK)
        rv = custody->store->ops->update(custody->store, plan, &batch);
    if (rv == STORE_ABSENT)
        rv = sealed_objects_fail_summary(custody);
    if (rv == STORE_CONFLICT && may_repeat) {
        take_back(&batch);
        return true;
    }
    if (rv == STORE_CONFLICT)
        rv = FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                        "token '%s': the connection to its store is lost again and again; try "
                        "again",
                        custody->name);
    if (batch.failed != NULL) {
        settle(batch.failed, rv);
        return true;
    }
    if (rv == CKR_OK)
        custody_generation_follow(custody, &custody->keyring, batch.stored.summary.generation);
    else
        settle_failed(&batch, rv);
    for (size_t i = 0; rv == CKR_OK && i < batch.request_count; i++)
        settle(batch.requests[i], rv);
    return false;
}

static bool is_unsettled(struct group_member *const *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!members[i]->is_settled)
            return true;
    }
    return false;
}

void sealed_changes_apply(void *context, struct group_member *const *members, size_t count)
{
    bool again = true;
    for (size_t tries = 0; again && is_unsettled(members, count); tries++)
        again = commit_once(context, members, count, tries < TRIES_MAX);
}

/* Another thread may have done it: its cause is told in this one. */
CK_RV sealed_objects_commit(struct custody *custody, const struct sealed_change *changes,
                            size_t count)
{
    struct request request = {.changes = changes, .count = count};
    enum indexkey_cause before = cause_last();
    if (count == 0)
        return CKR_OK;
    group_do(&custody->changes, &request.member);
    cause_set(request.rv == CKR_OK ? before : request.cause);
    return request.rv;
}

CK_RV sealed_objects_create(struct custody *custody, const struct object_id *id,
                            struct view attributes, const struct secret *value)
{
    const struct sealed_change change = {.id = id, .attributes = attributes, .value = value};
    return sealed_objects_commit(custody, &change, 1);
}

CK_RV sealed_objects_update(struct custody *custody, const struct object_id *id, uint64_t version,
                            struct view attributes, uint64_t *ret_version)
{
    const struct sealed_change change = {.id = id, .version = version, .attributes = attributes};
    TRY(sealed_objects_commit(custody, &change, 1));
    *ret_version = version + 1;
    return CKR_OK;
}

CK_RV sealed_objects_destroy(struct custody *custody, const struct object_id *id, uint64_t version)
{
    const struct sealed_change change = {.id = id, .version = version, .remove = true};
    return sealed_objects_commit(custody, &change, 1);
}
