/*
 * JSON of services: replies read with caps, secrets taken out before, requests written.
 *
 * A reply holds secrets (a plaintext data key), and jansson keeps what it parses on the heap. So a
 * reply is read in this order: json_secret_take (or json_base64_take) finds the secret's string in
 * the raw bytes, moves it to a secret of its own and empties it in place; json_parse then reads the
 * rest, and refuses duplicate names, so that what was taken is what the path means.
 *
 * Paths are names and array positions joined by dots: "data.plaintext", "errors.0".
 * Failures are not logged here: the source knows whose reply it was.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/secret.h"

#define JSON_LEN_MAX ((size_t) 1 << 20)
#define JSON_DEPTH_MAX 16

struct json;

/* Freed with json_free. CKR_DATA_INVALID: not JSON (RFC 8259), no object or array, duplicate names,
 * too long, too deep, a NUL in a string. */
CK_RV json_parse(struct view text, struct json **ret_json);
/* Sets NULL. NULL is nothing. */
void json_free(struct json **json);

/* NULL when there is nothing at the path, or it is no string. Lives as long as the json. */
const char *json_text(const struct json *json, const char *path);
/* False, and *ret_value untouched, when there is nothing at the path or it is of another type. */
bool json_number(const struct json *json, const char *path, int64_t *ret_value);
/* A time in seconds since 1970, perhaps with a fraction, which is dropped; not after 9999. */
bool json_seconds(const struct json *json, const char *path, int64_t *ret_value);
bool json_flag(const struct json *json, const char *path, bool *ret_value);
/* Something other than null is there. */
bool json_has(const struct json *json, const char *path);
/* Items of an array or members of an object; 0 for anything else. */
size_t json_count(const struct json *json, const char *path);
/* A member of the object at the path, in the text's order. False when there are not so many, or its
 * value is no string. */
bool json_member(const struct json *json, const char *path, size_t index, const char **ret_name,
                 const char **ret_text);

/* The string at the path, unescaped, as a secret; in `body` it becomes "" and blanks.
 * CKR_DATA_INVALID: not there, no string, an empty
 * one, not ASCII, or the text before it is malformed; `body` is then as it was, and must not go to
 * json_parse. */
CK_RV json_secret_take(struct secret *body, const char *path, struct secret *ret_text);
/* The same for base64 (RFC 4648, standard alphabet) of min_len to max_len bytes. */
CK_RV json_base64_take(struct secret *body, const char *path, size_t min_len, size_t max_len,
                       struct secret *ret_bytes);

/* Base64 of min_len to max_len bytes, as crypto_base64_secret. */
CK_RV json_base64_decode(struct view text, size_t min_len, size_t max_len,
                         struct secret *ret_bytes);

/* Writes one JSON text in secret memory; begins with zeros, freed with json_writer_clear. The first
 * failure is remembered and told by json_write_finish. A name is NULL for an array's item, and for
 * the whole text. */
struct json_writer {
    struct secret text;
    size_t len;
    CK_RV failure;
    bool follows; /* a comma is due */
};

void json_write_object(struct json_writer *writer, const char *name);
void json_write_array(struct json_writer *writer, const char *name);
void json_write_end_object(struct json_writer *writer);
void json_write_end_array(struct json_writer *writer);
void json_write_text(struct json_writer *writer, const char *name, const char *value);
/* A string of bytes that must be UTF-8 (a secret text, say). */
void json_write_view(struct json_writer *writer, const char *name, struct view value);
void json_write_number(struct json_writer *writer, const char *name, int64_t value);
void json_write_flag(struct json_writer *writer, const char *name, bool value);
void json_write_base64(struct json_writer *writer, const char *name, struct view bytes);
/* Takes the pointer so that _cleanup_(json_writer_clear) works. */
void json_writer_clear(struct json_writer *writer);
/* The text changes hands. CKR_HOST_MEMORY, CKR_DATA_INVALID (no UTF-8). */
CK_RV json_write_finish(struct json_writer *writer, struct secret *ret_text);
