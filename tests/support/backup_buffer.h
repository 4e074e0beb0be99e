/* A backup that stands in memory: what admin_backup writes and admin_restore reads. */
#pragma once

#include "base/bytes.h"

/* Begins with zeros. A backup that is longer ends the test. */
struct backup_buffer {
    unsigned char bytes[65536];
    size_t len;
    size_t at; /* of the next read */
};

/* An admin_write_fn and an admin_read_fn; the context is a struct backup_buffer. */
CK_RV backup_buffer_write(void *context, struct view bytes);
CK_RV backup_buffer_read(void *context, unsigned char *bytes, size_t len, size_t *ret_len);
