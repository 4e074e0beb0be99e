#include "tokens/http_reply.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#define FIRST_CAPACITY ((size_t) 4096)
#define HEADERS_LEN_MAX ((size_t) 32 << 10)
#define DATE_LEN_MAX 40

static const char *const id_headers[] = {
    "x-amzn-requestid", "x-amz-request-id", "x-vault-request-id",
    "x-ms-request-id",  "x-request-id",     "request-id",
};
#define ID_HEADER_COUNT (sizeof id_headers / sizeof id_headers[0])

static void forget_headers(struct http_reply *reply)
{
    reply->request_id[0] = '\0';
    reply->is_google_metadata = false;
    reply->date_s = 0;
    reply->has_headers = false;
}

void http_reply_reset(struct http_reply *reply)
{
    if (reply->len > 0)
        explicit_bzero(reply->body.bytes, reply->len);
    reply->len = 0;
    reply->headers_len = 0;
    reply->is_too_big = false;
    forget_headers(reply);
}

void http_reply_clear(struct http_reply *reply)
{
    secret_clear(&reply->body);
}

struct secret http_reply_take_body(struct http_reply *reply)
{
    if (reply->len == 0)
        secret_clear(&reply->body);
    reply->body.len = reply->len;
    reply->len = 0;
    return secret_move(&reply->body);
}

static bool make_room(struct http_reply *reply, size_t len)
{
    if (len <= reply->body.len - reply->len)
        return true;
    size_t capacity = reply->body.len == 0 ? FIRST_CAPACITY : reply->body.len * 2;
    while (capacity < reply->len + len)
        capacity *= 2;
    struct secret bigger;
    if (secret_new(capacity, &bigger) != CKR_OK)
        return false;
    if (reply->len > 0)
        memcpy(bigger.bytes, reply->body.bytes, reply->len);
    secret_clear(&reply->body);
    reply->body = bigger;
    return true;
}

size_t http_reply_on_body(char *bytes, size_t size, size_t count, void *reply)
{
    struct http_reply *into = reply;
    size_t len = size * count;
    if (len > into->body_max - into->len) {
        into->is_too_big = true;
    } else if (!make_room(into, len)) {
        into->lacks_memory = true;
    } else {
        memcpy(into->body.bytes + into->len, bytes, len);
        into->len += len;
    }
    explicit_bzero(bytes, len);
    bool taken = !into->is_too_big && !into->lacks_memory;
    /* Any other number than len ends the transfer. */
    return taken ? len : len + 1;
}

/* The value when the line is of this header, without the blanks around it. */
static bool value_of(struct view line, const char *name, struct view *ret_value)
{
    size_t name_len = strlen(name);
    if (line.len <= name_len || line.bytes[name_len] != ':' ||
        strncasecmp((const char *) line.bytes, name, name_len) != 0)
        return false;
    struct view value = {line.bytes + name_len + 1, line.len - name_len - 1};
    while (value.len > 0 && isspace(value.bytes[0])) {
        value.bytes++;
        value.len--;
    }
    while (value.len > 0 && isspace(value.bytes[value.len - 1]))
        value.len--;
    *ret_value = value;
    return true;
}

static void keep_request_id(struct http_reply *reply, struct view value)
{
    if (reply->request_id[0] != '\0' || value.len > HTTP_ID_LEN_MAX)
        return;
    /* It goes to log lines: no blank may make two words of it. */
    for (size_t i = 0; i < value.len; i++) {
        if (!isgraph(value.bytes[i]))
            return;
    }
    memcpy(reply->request_id, value.bytes, value.len);
    reply->request_id[value.len] = '\0';
}

static void keep_date(struct http_reply *reply, struct view value)
{
    char text[DATE_LEN_MAX + 1];
    if (value.len > DATE_LEN_MAX)
        return;
    memcpy(text, value.bytes, value.len);
    text[value.len] = '\0';
    time_t seconds = curl_getdate(text, NULL);
    reply->date_s = seconds > 0 ? seconds : 0;
}

size_t http_reply_on_header(char *bytes, size_t size, size_t count, void *reply)
{
    struct http_reply *into = reply;
    struct view line = {(const unsigned char *) bytes, size * count};
    struct view value;
    if (line.len > HEADERS_LEN_MAX - into->headers_len) {
        into->is_too_big = true;
        return 0;
    }
    into->headers_len += line.len;
    /* A status line: what a "100 Continue" said before is not of the reply. */
    if (line.len >= 5 && memcmp(line.bytes, "HTTP/", 5) == 0)
        forget_headers(into);
    if (line.len > 0 && (line.bytes[0] == '\r' || line.bytes[0] == '\n'))
        into->has_headers = true;
    for (size_t i = 0; i < ID_HEADER_COUNT; i++) {
        if (value_of(line, id_headers[i], &value))
            keep_request_id(into, value);
    }
    if (value_of(line, "metadata-flavor", &value))
        into->is_google_metadata = view_equal(value, view_text("Google"));
    if (value_of(line, "date", &value))
        keep_date(into, value);
    return line.len;
}
