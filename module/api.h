/*
 * What the files of the C_* functions share. They follow the standard's chapters, one file a
 * chapter: each function checks its arguments, enters a session or the library, and hands over to
 * the layer below. Included first, because it marks the functions as exported.
 */
#pragma once

#define CK_API __attribute__((visibility("default")))
#include "include/cryptoki.h"

#include "base/bytes.h"
#include "base/rv.h"
#include "module/session.h"

/* The convention of PKCS #11 5.2 for outputs of variable length, once `needed` is known. True: the
 * caller is done, with `*ret_rv` as result (size query or CKR_BUFFER_TOO_SMALL; the operation stays
 * alive). */
static inline bool api_only_size(CK_BYTE_PTR out, CK_ULONG_PTR out_len, size_t needed,
                                 CK_RV *ret_rv)
{
    bool query = out == NULL;

    if (!query && *out_len >= needed)
        return false;
    *out_len = needed;
    *ret_rv = query ? CKR_OK : CKR_BUFFER_TOO_SMALL;
    return true;
}

static inline struct view api_view(const CK_BYTE *bytes, CK_ULONG len)
{
    return (struct view){bytes, len};
}

/* A byte string from the caller: NULL only when it is empty. */
static inline bool api_bytes_are_bad(const void *bytes, CK_ULONG len)
{
    return bytes == NULL && len > 0;
}
