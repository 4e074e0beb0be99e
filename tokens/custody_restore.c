/*
 * A backup into a store: read to its authenticated end and opened as far as its summary before the
 * store is touched, then one commit.
 */
#include <string.h>

#include "tokens/backup.h"
#include "tokens/roles.h"
#include "tokens/row_changes.h"
#include "tokens/sealed_internal.h"

#define RECORDS_MAX 16

struct restored_record {
    char name[STORE_NAME_MAX + 1];
    struct blob bytes;
};

struct restore {
    struct custody *custody;
    struct backup_reader reader;
    struct token_record record;
    struct secret token_key;
    struct restored_record records[RECORDS_MAX];
    size_t record_count;
    struct row_changes rows;
};

static void restore_clear(struct restore *restore)
{
    backup_reader_clear(&restore->reader);
    token_record_clear(&restore->record);
    secret_clear(&restore->token_key);
    for (size_t i = 0; i < restore->record_count; i++)
        blob_clear(&restore->records[i].bytes);
    row_changes_clear(&restore->rows);
}

static CK_RV fail_backup(const struct custody *custody)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED,
                      "token '%s': the backup was changed or cut short, or is none of this "
                      "version's; nothing was restored; take another copy of it",
                      custody->name);
}

/* ---- reading ---- */

static CK_RV keep_record(void *context, const char *name, struct view bytes)
{
    struct restore *restore = context;
    if (restore->record_count == RECORDS_MAX - 1)
        return CKR_ENCRYPTED_DATA_INVALID;
    struct restored_record *record = &restore->records[restore->record_count];
    TRY(blob_from(bytes.bytes, bytes.len, &record->bytes));
    memcpy(record->name, name, sizeof(record->name));
    restore->record_count++;
    return CKR_OK;
}

static CK_RV keep_row(void *context, const struct store_row *row)
{
    struct restore *restore = context;
    _cleanup_(sealed_row_clear) struct sealed_row copy = {0};
    TRY(blob_from(row->attributes.bytes, row->attributes.len, &copy.attributes));
    TRY(blob_from(row->value.bytes, row->value.len, &copy.value));
    return row_changes_add(&restore->rows, row, &copy);
}

static CK_RV read_head(struct restore *restore)
{
    _cleanup_(blob_clear) struct blob token = {0};
    CK_RV rv = backup_read_head(&restore->reader);
    if (rv == CKR_OK)
        rv =
            blob_from(restore->reader.token_record.bytes, restore->reader.token_record.len, &token);
    if (rv == CKR_OK)
        rv = token_record_parse(&token, &restore->record);
    bool is_bad = rv == CKR_ENCRYPTED_DATA_INVALID || rv == CKR_DATA_INVALID;
    return is_bad ? fail_backup(restore->custody) : rv;
}

/* The source, and the PIN unless there is none. No attempt is counted: who has the backup and the
 * source can try without us. */
static CK_RV prove(struct restore *restore, const struct custody_restore *what)
{
    struct custody *custody = restore->custody;
    const struct role_record *role = &restore->record.roles[what->role];
    _cleanup_(secret_clear) struct secret data_key = {0};
    bool is_credential = what->role == CUSTODY_USER && custody->login == CUSTODY_LOGIN_CREDENTIAL;
    TRY(custody_unwrap(custody, &restore->record, is_credential ? what->pin : (struct view){0},
                       &data_key));
    struct role_context context = {what->role, restore->record.serial, &data_key};
    CK_RV rv = role->state == ROLE_UNSET
                   ? CKR_ENCRYPTED_DATA_INVALID
                   : role_open(&context, role, what->pin, &restore->token_key);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_PIN,
                          "token '%s': wrong PIN of the backup; give the one of the day when it "
                          "was made",
                          custody->name);
    return rv;
}

static const struct blob *find_record(const struct restore *restore, const char *name)
{
    for (size_t i = 0; i < restore->record_count; i++) {
        if (strcmp(restore->records[i].name, name) == 0)
            return &restore->records[i].bytes;
    }
    return NULL;
}

/* What a login would need is there and opens. */
static CK_RV check_opens(const struct restore *restore)
{
    const struct blob *keys = find_record(restore, RECORD_KEYS);
    const struct blob *summary_bytes = find_record(restore, RECORD_SUMMARY);
    const struct blob *attempts_bytes = find_record(restore, RECORD_ATTEMPTS);
    _cleanup_(keyring_destroy) struct keyring keyring;
    keyring_init(&keyring);
    struct attempts attempts;
    struct summary summary;
    if (keys == NULL || summary_bytes == NULL || attempts_bytes == NULL ||
        attempts_parse(blob_view(attempts_bytes), &attempts) != CKR_OK)
        return CKR_ENCRYPTED_DATA_INVALID;
    const struct keyring_opening opening = {
        .serial = restore->record.serial,
        .token_key = &restore->token_key,
        .keys_record = blob_view(keys),
    };
    TRY(keyring_open(&keyring, &opening));
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&keyring, &held));
    return summary_open(held, blob_view(summary_bytes), &summary);
}

static CK_RV read_rest(struct restore *restore)
{
    const struct backup_each each = {keep_record, keep_row, restore};
    CK_RV rv =
        backup_read_rest(&restore->reader, &restore->token_key, restore->record.serial, &each);
    if (rv == CKR_OK)
        rv = check_opens(restore);
    return rv == CKR_ENCRYPTED_DATA_INVALID ? fail_backup(restore->custody) : rv;
}

/* ---- the store ---- */

/* 0: there is no token in it. */
static CK_RV check_store(const struct restore *restore, bool force, uint64_t *ret_version)
{
    struct custody *custody = restore->custody;
    _cleanup_(token_record_clear) struct token_record there = {0};
    CK_RV rv = custody_read_token(custody, &there);
    *ret_version = there.version;
    if (rv == STORE_ABSENT)
        return CKR_OK;
    TRY(rv);
    if (memcmp(there.serial, restore->record.serial, SERIAL_LEN) != 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its store holds another token than the backup; restore "
                          "into an empty store",
                          custody->name);
    if (!force)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its store holds this token already; restore into an empty "
                          "store, or force it, whereupon all that came since is lost",
                          custody->name);
    return CKR_OK;
}

static CK_RV commit(struct restore *restore, uint64_t guard_version)
{
    struct store *store = restore->custody->store;
    struct store_change records[RECORDS_MAX] = {
        {.record = RECORD_TOKEN,
         .begins_at = guard_version + 1, /* as in custody_init_token */
         .attributes = restore->reader.token_record}};
    const struct store_change *changes;
    size_t count;
    for (size_t i = 0; i < restore->record_count; i++)
        records[1 + i] = (struct store_change){
            .record = restore->records[i].name,
            .attributes = blob_view(&restore->records[i].bytes),
        };
    restore->rows.are_new = true;
    TRY(row_changes_list(&restore->rows, records, 1 + restore->record_count, &changes, &count));
    CK_RV rv = store->ops->reset(store, RECORD_TOKEN, guard_version, changes, count);
    if (rv == STORE_CONFLICT)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "token '%s': another process changed the token while it was restored; "
                          "try again",
                          restore->custody->name);
    return rv;
}

CK_RV custody_restore(struct custody *custody, const struct custody_restore *what)
{
    _cleanup_(restore_clear) struct restore restore = {
        .custody = custody,
        .reader = {.read = what->read, .context = what->context},
    };
    uint64_t guard_version;
    cause_clear();
    TRY(read_head(&restore));
    TRY(check_store(&restore, what->force, &guard_version));
    TRY(prove(&restore, what));
    TRY(read_rest(&restore));
    return commit(&restore, guard_version);
}
