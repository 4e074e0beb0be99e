/*
 * A backup of one moment: collected while nobody commits, then written without holding anybody up.
 * It takes about as much memory as the store.
 */
#include "tokens/backup.h"
#include "tokens/sealed_internal.h"

#define PIECE_LEN ((size_t) 64 << 10)
/* A turn may be lost with the store's connection. */
#define CONFLICTS_MAX 20

struct backup {
    struct custody *custody;
    struct backup_writer writer;
    struct view file;
};

static CK_RV add_row(void *context, const struct store_row *row)
{
    struct backup *backup = context;
    return backup_add_object(&backup->writer, row);
}

static CK_RV begin(struct backup *backup)
{
    struct custody *custody = backup->custody;
    _cleanup_(blob_clear) struct blob token = {0};
    uint64_t version;
    TRY(custody_read_record(custody, RECORD_TOKEN, &token, &version));
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&custody->keyring, &held));
    return backup_begin(&backup->writer, &held->token_key, held->serial, blob_view(&token));
}

static CK_RV add_records(struct backup *backup)
{
    static const char *const names[] = {RECORD_ATTEMPTS, RECORD_KEYS, RECORD_SUMMARY};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        _cleanup_(blob_clear) struct blob bytes = {0};
        uint64_t version;
        TRY(custody_read_record(backup->custody, names[i], &bytes, &version));
        TRY(backup_add_record(&backup->writer, names[i], blob_view(&bytes)));
    }
    return CKR_OK;
}

/* An update that changes nothing. */
static CK_RV plan(void *context, const struct store_change **ret_changes, size_t *ret_change_count)
{
    struct backup *backup = context;
    struct custody *custody = backup->custody;
    CK_RV rv = custody_confirm_keys(custody);
    if (sealed_objects_is_gone(rv))
        return custody_fail_gone(custody);
    TRY(rv);
    TRY(begin(backup));
    TRY(add_records(backup));
    TRY(custody->store->ops->read_objects(custody->store, add_row, backup));
    TRY(backup_end(&backup->writer, &backup->file));
    *ret_changes = NULL;
    *ret_change_count = 0;
    return CKR_OK;
}

static void backup_clear(struct backup *backup)
{
    backup_writer_clear(&backup->writer);
}

static CK_RV backup_once(struct custody *custody, custody_write_fn *write, void *context)
{
    _cleanup_(backup_clear) struct backup backup = {.custody = custody};
    CK_RV rv = custody->store->ops->update(custody->store, plan, &backup);
    if (rv == STORE_ABSENT)
        return custody_fail_gone(custody);
    TRY(rv);
    for (size_t at = 0; at < backup.file.len; at += PIECE_LEN) {
        size_t left = backup.file.len - at;
        TRY(write(context,
                  (struct view){backup.file.bytes + at, left < PIECE_LEN ? left : PIECE_LEN}));
    }
    return CKR_OK;
}

CK_RV custody_backup(struct custody *custody, custody_write_fn *write, void *context)
{
    cause_clear();
    if (keyring_epoch(&custody->keyring) == 0)
        return CKR_USER_NOT_LOGGED_IN;
    for (size_t i = 0; i < CONFLICTS_MAX; i++) {
        CK_RV rv = backup_once(custody, write, context);
        if (rv != STORE_CONFLICT)
            return rv;
    }
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "token '%s': its store lost the connection too often; try again",
                      custody->name);
}
