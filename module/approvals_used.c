#include "module/approvals_used.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"

#define ROW_KIND 0x82

/* Random ids do not meet it. */
static const struct object_id row_id = {"indexkey/approve"};

bool approvals_used_is_row(struct view attributes)
{
    return attributes.len > 0 && attributes.bytes[0] == ROW_KIND;
}

void approvals_used_clear(struct approvals_used *used)
{
    mem_free(used->uses);
    *used = (struct approvals_used){0};
}

static CK_RV reserve(struct approvals_used *used, size_t count)
{
    struct approval_use *uses = mem_resize(used->uses, count, sizeof(*uses));

    if (uses == NULL)
        return CKR_HOST_MEMORY;
    used->uses = uses;
    return CKR_OK;
}

static CK_RV decode(struct view bytes, struct approvals_used *used)
{
    struct reader reader = reader_of(bytes);
    uint8_t kind = read_u8(&reader);

    used->forgotten = (int64_t) read_u64(&reader);
    used->count = read_u32(&reader);
    if (used->count > APPROVALS_USED_MAX)
        reader.failed = true;
    if (!reader.failed)
        TRY(reserve(used, used->count + 1));
    for (size_t i = 0; !reader.failed && i < used->count; i++) {
        struct view nonce = read_raw(&reader, APPROVAL_NONCE_LEN);
        if (nonce.len == APPROVAL_NONCE_LEN)
            memcpy(used->uses[i].nonce, nonce.bytes, APPROVAL_NONCE_LEN);
        used->uses[i].expires = (int64_t) read_u64(&reader);
    }
    if (kind != ROW_KIND || !reader_done(&reader))
        return FAIL(CKR_DEVICE_ERROR, "the used approvals in the store are of an unknown form "
                                      "(written by a newer version?)");
    return CKR_OK;
}

CK_RV approvals_used_read(struct custody *custody, struct approvals_used *ret_used)
{
    _cleanup_(approvals_used_clear) struct approvals_used used = {0};
    _cleanup_(blob_clear) struct blob bytes = {NULL, 0};
    CK_RV rv = sealed_objects_attributes(custody, &row_id, &used.version, &bytes);

    if (rv == CKR_OK)
        TRY(decode(blob_view(&bytes), &used));
    else if (rv != CKR_OBJECT_HANDLE_INVALID)
        return rv;
    *ret_used = used;
    used = (struct approvals_used){0};
    return CKR_OK;
}

bool approvals_used_has(const struct approvals_used *used, const struct approval_use *use)
{
    for (size_t i = 0; i < used->count; i++)
        if (memcmp(used->uses[i].nonce, use->nonce, APPROVAL_NONCE_LEN) == 0)
            return true;
    return use->expires <= used->forgotten;
}

static void drop_expired(struct approvals_used *used, int64_t now)
{
    size_t kept = 0;

    for (size_t i = 0; i < used->count; i++) {
        if (used->uses[i].expires > now)
            used->uses[kept++] = used->uses[i];
        else if (used->uses[i].expires > used->forgotten)
            used->forgotten = used->uses[i].expires;
    }
    used->count = kept;
}

CK_RV approvals_used_add(struct approvals_used *used, const struct approval_use *use, int64_t now)
{
    drop_expired(used, now);
    if (used->count == APPROVALS_USED_MAX)
        return FAIL(CKR_DEVICE_MEMORY, "more than %u approvals were used and have not expired",
                    APPROVALS_USED_MAX);
    TRY(reserve(used, used->count + 1));
    used->uses[used->count++] = *use;
    return CKR_OK;
}

void approvals_used_remove(struct approvals_used *used, const struct approval_use *use)
{
    for (size_t i = 0; i < used->count; i++) {
        if (memcmp(used->uses[i].nonce, use->nonce, APPROVAL_NONCE_LEN) != 0)
            continue;
        used->uses[i] = used->uses[--used->count];
        return;
    }
}

CK_RV approvals_used_write(struct custody *custody, const struct approvals_used *used)
{
    _cleanup_(writer_clear) struct writer writer = {0};
    uint64_t version;

    write_u8(&writer, ROW_KIND);
    write_u64(&writer, (uint64_t) used->forgotten);
    write_u32(&writer, (uint32_t) used->count);
    for (size_t i = 0; i < used->count; i++) {
        write_raw(&writer, (struct view){used->uses[i].nonce, APPROVAL_NONCE_LEN});
        write_u64(&writer, (uint64_t) used->uses[i].expires);
    }
    if (writer.failed)
        return CKR_HOST_MEMORY;
    if (used->version == 0)
        return sealed_objects_create(custody, &row_id, writer_view(&writer), NULL);
    return sealed_objects_update(custody, &row_id, used->version, writer_view(&writer), &version);
}
