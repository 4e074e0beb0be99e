#include "tests/support/backup_buffer.h"

#include <check.h>
#include <string.h>

CK_RV backup_buffer_write(void *context, struct view bytes)
{
    struct backup_buffer *buffer = context;

    ck_assert_uint_le(bytes.len, sizeof(buffer->bytes) - buffer->len);
    memcpy(buffer->bytes + buffer->len, bytes.bytes, bytes.len);
    buffer->len += bytes.len;
    return CKR_OK;
}

CK_RV backup_buffer_read(void *context, unsigned char *bytes, size_t len, size_t *ret_len)
{
    struct backup_buffer *buffer = context;

    *ret_len = len < buffer->len - buffer->at ? len : buffer->len - buffer->at;
    memcpy(bytes, buffer->bytes + buffer->at, *ret_len);
    buffer->at += *ret_len;
    return CKR_OK;
}
