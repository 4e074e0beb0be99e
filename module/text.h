/* Blank-padded text fields of Cryptoki's info structures. */
#pragma once

#include <stddef.h>
#include <string.h>

#define TEXT_MANUFACTURER "indexkey"

/* `text` is cut at `len` bytes; never NUL-terminated (PKCS #11 3.1). */
static inline void text_pad(unsigned char *field, size_t len, const char *text)
{
    size_t text_len = strlen(text);

    memset(field, ' ', len);
    memcpy(field, text, text_len < len ? text_len : len);
}
