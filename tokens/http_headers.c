#include "tokens/http_headers.h"

#include <ctype.h>
#include <string.h>

#include "base/rv.h"

#define LINE_OVERHEAD 3 /* colon, blank, NUL */

/* RFC 9110, 5.6.2. */
static bool name_is_token(const char *name)
{
    for (const char *at = name; *at != '\0'; at++) {
        if (!isalnum((unsigned char) *at) && strchr("!#$%&'*+-.^_`|~", *at) == NULL)
            return false;
    }
    return name[0] != '\0';
}

/* A line break in a value would be another header, chosen by whoever chose the value. An empty one
 * would make libcurl leave the header out. */
static bool value_is_text(struct view value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (iscntrl(value.bytes[i]) && value.bytes[i] != '\t')
            return false;
    }
    return value.len > 0;
}

static CK_RV check(const struct http_request *request, size_t *ret_len)
{
    size_t len = 0;
    if (request->header_count > HTTP_HEADER_COUNT_MAX)
        return FAIL(CKR_ARGUMENTS_BAD, "a request with %zu headers; at most %d are sent",
                    request->header_count, HTTP_HEADER_COUNT_MAX);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (!name_is_token(header->name) || !value_is_text(header->value))
            return FAIL(CKR_ARGUMENTS_BAD,
                        "the value of request header %zu (%s) is empty or has control characters",
                        i + 1, header->name);
        len += strlen(header->name) + header->value.len + LINE_OVERHEAD;
    }
    *ret_len = len;
    return CKR_OK;
}

static unsigned char *put(unsigned char *at, const void *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return at + len;
}

CK_RV http_headers_make(const struct http_request *request, struct http_headers *ret_headers)
{
    size_t len;
    TRY(check(request, &len));
    TRY(secret_new(len, &ret_headers->text));
    unsigned char *at = ret_headers->text.bytes;
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        struct curl_slist *node = &ret_headers->nodes[i];
        node->data = (char *) at;
        node->next = i + 1 < request->header_count ? node + 1 : NULL;
        at = put(at, header->name, strlen(header->name));
        at = put(at, ": ", 2);
        at = put(at, header->value.bytes, header->value.len);
        *at++ = '\0';
    }
    ret_headers->count = request->header_count;
    return CKR_OK;
}

void http_headers_clear(struct http_headers *headers)
{
    secret_clear(&headers->text);
    headers->count = 0;
}

struct curl_slist *http_headers_list(struct http_headers *headers)
{
    return headers->count > 0 ? &headers->nodes[0] : NULL;
}
