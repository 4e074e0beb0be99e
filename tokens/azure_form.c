#include "tokens/azure_form.h"

#include <ctype.h>
#include <string.h>

#include "base/rv.h"

#define PERCENT_LEN 3

static unsigned char *put(unsigned char *at, const char *text)
{
    size_t len = strlen(text);
    memcpy(at, text, len);
    return at + len;
}

static unsigned char *put_escaped(unsigned char *at, struct view value)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = value.bytes[i];
        if ((c < 0x80 && isalnum(c)) || (c != '\0' && strchr("-._~", c) != NULL)) {
            *at++ = c;
        } else {
            *at++ = '%';
            *at++ = (unsigned char) digits[c >> 4];
            *at++ = (unsigned char) digits[c & 0x0f];
        }
    }
    return at;
}

CK_RV azure_form_make(const struct azure_form_field *fields, size_t count, struct secret *ret_form)
{
    _cleanup_(secret_clear) struct secret form = {0};
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += strlen(fields[i].name) + 2 + fields[i].value.len * PERCENT_LEN;
    TRY(secret_new(size, &form));
    unsigned char *at = form.bytes;
    for (size_t i = 0; i < count; i++) {
        at = i == 0 ? at : put(at, "&");
        at = put(at, fields[i].name);
        at = put(at, "=");
        at = put_escaped(at, fields[i].value);
    }
    form.len = (size_t) (at - form.bytes);
    *ret_form = secret_move(&form);
    return CKR_OK;
}
