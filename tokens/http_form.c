#include "tokens/http_form.h"

#include <ctype.h>
#include <string.h>

#include "base/rv.h"

#define PERCENT_LEN 3

static size_t put_text(unsigned char *at, const char *text)
{
    size_t len = strlen(text);
    memcpy(at, text, len);
    return len;
}

/* RFC 3986, 2.3: the unreserved characters stand for themselves. */
static size_t put_byte(unsigned char *at, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";
    if ((c < 0x80 && isalnum(c)) || (c != '\0' && strchr("-._~", c) != NULL)) {
        at[0] = c;
        return 1;
    }
    at[0] = '%';
    at[1] = (unsigned char) digits[c >> 4];
    at[2] = (unsigned char) digits[c & 15];
    return PERCENT_LEN;
}

CK_RV http_form_encode(const struct http_form_field *fields, size_t count, struct secret *ret_form)
{
    _cleanup_(secret_clear) struct secret form = {0};
    size_t room = 0;
    for (size_t i = 0; i < count; i++)
        room += strlen("&=") + strlen(fields[i].name) + PERCENT_LEN * fields[i].value.len;
    TRY(secret_new(room, &form));
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += put_text(form.bytes + len, i == 0 ? "" : "&");
        len += put_text(form.bytes + len, fields[i].name);
        len += put_text(form.bytes + len, "=");
        for (size_t j = 0; j < fields[i].value.len; j++)
            len += put_byte(form.bytes + len, fields[i].value.bytes[j]);
    }
    form.len = len;
    *ret_form = secret_move(&form);
    return CKR_OK;
}
