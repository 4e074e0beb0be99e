#include "tokens/json_scan.h"

#include <string.h>

#include "tokens/json.h"

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_blanks(struct reader *scan)
{
    while (scan->at < scan->end && is_blank(*scan->at))
        scan->at++;
}

/* Blanks, then this character. */
static bool take(struct reader *scan, unsigned char wanted)
{
    skip_blanks(scan);
    if (scan->at == scan->end || *scan->at != wanted)
        return false;
    scan->at++;
    return true;
}

bool json_scan_string(struct reader *scan, struct view *ret_raw)
{
    if (!take(scan, '"'))
        return false;
    const unsigned char *start = scan->at;
    while (scan->at < scan->end && *scan->at != '"') {
        bool escapes = *scan->at == '\\';
        if (escapes && scan->end - scan->at < 2)
            return false;
        scan->at += escapes ? 2 : 1;
    }
    if (scan->at == scan->end)
        return false;
    *ret_raw = (struct view){start, (size_t) (scan->at - start)};
    scan->at++;
    return true;
}

/* One string, bracket or other character. `depth` counts the containers that are open. */
static bool skip_token(struct reader *scan, size_t *depth)
{
    struct view raw;
    switch (*scan->at) {
    case '"':
        return json_scan_string(scan, &raw);
    case '{':
    case '[':
        scan->at++;
        return ++*depth <= JSON_DEPTH_MAX;
    case '}':
    case ']':
        scan->at++;
        return (*depth)-- > 0;
    default:
        scan->at++;
        return true;
    }
}

static bool ends_scalar(unsigned char c)
{
    return is_blank(c) || c == ',' || c == '}' || c == ']';
}

static bool skip_value(struct reader *scan)
{
    size_t depth = 0;
    skip_blanks(scan);
    if (scan->at == scan->end)
        return false;
    bool is_scalar = strchr("\"{[", *scan->at) == NULL || *scan->at == '\0';
    while (is_scalar && scan->at < scan->end && !ends_scalar(*scan->at))
        scan->at++;
    if (is_scalar)
        return true;
    do {
        if (!skip_token(scan, &depth))
            return false;
    } while (depth > 0 && scan->at < scan->end);
    return depth == 0;
}

/* From before an object to the value of its member `name`. */
static bool enter_member(struct reader *scan, struct view name)
{
    if (!take(scan, '{'))
        return false;
    do {
        struct view member;
        if (!json_scan_string(scan, &member) || !take(scan, ':'))
            return false;
        if (view_equal(member, name))
            return true;
        if (!skip_value(scan))
            return false;
    } while (take(scan, ','));
    return false;
}

/* From before an array to its item; `digits` counts them from 0. */
static bool enter_item(struct reader *scan, struct view digits)
{
    size_t position = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.bytes[i] < '0' || digits.bytes[i] > '9' || position > JSON_LEN_MAX)
            return false;
        position = position * 10 + (size_t) (digits.bytes[i] - '0');
    }
    if (digits.len == 0 || !take(scan, '['))
        return false;
    for (; position > 0; position--) {
        if (!skip_value(scan) || !take(scan, ','))
            return false;
    }
    return true;
}

static bool is_array(struct reader *scan)
{
    skip_blanks(scan);
    return scan->at < scan->end && *scan->at == '[';
}

bool json_scan_to(struct reader *scan, const char *path)
{
    for (const char *at = path;; at++) {
        size_t len = strcspn(at, ".");
        struct view name = {(const unsigned char *) at, len};
        if (!(is_array(scan) ? enter_item(scan, name) : enter_member(scan, name)))
            return false;
        at += len;
        if (*at == '\0') {
            skip_blanks(scan);
            return true;
        }
    }
}

bool json_scan_is_shallow(struct view text)
{
    struct reader scan = reader_of(text);
    size_t depth = 0;
    while (scan.at < scan.end) {
        if (!skip_token(&scan, &depth))
            return false;
    }
    return true;
}
