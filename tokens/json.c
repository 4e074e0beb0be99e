#include "tokens/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "tokens/json_scan.h"

#define SEGMENT_LEN_MAX 127
#define SECONDS_MAX 253402300799.0 /* the last of the year 9999 */

struct json {
    json_t *root;
};

/* jansson's allocator is the process's: json_set_alloc_funcs would change it for the host too. */
CK_RV json_parse(struct view text, struct json **ret_json)
{
    json_error_t error;
    if (text.len == 0 || text.len > JSON_LEN_MAX || !json_scan_is_shallow(text))
        return CKR_DATA_INVALID;
    struct json *json = mem_calloc(1, sizeof *json);
    if (json == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for a reply");
    json->root = json_loadb((const char *) text.bytes, text.len, JSON_REJECT_DUPLICATES, &error);
    if (json->root == NULL) {
        mem_free(json);
        return json_error_code(&error) == json_error_out_of_memory
                   ? FAIL(CKR_HOST_MEMORY, "no memory for a reply")
                   : CKR_DATA_INVALID;
    }
    *ret_json = json;
    return CKR_OK;
}

void json_free(struct json **json)
{
    if (*json != NULL)
        json_decref((*json)->root);
    mem_free(*json);
    *json = NULL;
}

static json_t *item_of(json_t *array, const char *position)
{
    char *end;
    errno = 0;
    unsigned long index = strtoul(position, &end, 10);
    bool is_number = position[0] >= '0' && position[0] <= '9' && *end == '\0' && errno == 0;
    return is_number ? json_array_get(array, index) : NULL;
}

static json_t *find(const struct json *json, const char *path)
{
    json_t *value = json->root;
    for (const char *at = path; value != NULL;) {
        char segment[SEGMENT_LEN_MAX + 1];
        size_t len = strcspn(at, ".");
        if (len > SEGMENT_LEN_MAX)
            return NULL;
        memcpy(segment, at, len);
        segment[len] = '\0';
        /* Answers NULL for what is no object. */
        value = json_is_array(value) ? item_of(value, segment) : json_object_get(value, segment);
        at += len;
        if (*at == '\0')
            return value;
        at++;
    }
    return NULL;
}

const char *json_text(const struct json *json, const char *path)
{
    return json_string_value(find(json, path));
}

bool json_number(const struct json *json, const char *path, int64_t *ret_value)
{
    const json_t *found = find(json, path);
    if (!json_is_integer(found))
        return false;
    *ret_value = json_integer_value(found);
    return true;
}

bool json_seconds(const struct json *json, const char *path, int64_t *ret_value)
{
    const json_t *found = find(json, path);
    double value = json_number_value(found);
    if (!json_is_number(found) || !(value >= 0 && value <= SECONDS_MAX))
        return false;
    *ret_value = (int64_t) value;
    return true;
}

bool json_flag(const struct json *json, const char *path, bool *ret_value)
{
    const json_t *found = find(json, path);
    if (!json_is_boolean(found))
        return false;
    *ret_value = json_is_true(found);
    return true;
}

bool json_has(const struct json *json, const char *path)
{
    const json_t *found = find(json, path);
    return found != NULL && !json_is_null(found);
}

size_t json_count(const struct json *json, const char *path)
{
    const json_t *found = find(json, path);
    /* Each answers 0 for what is not of its type. */
    return json_array_size(found) + json_object_size(found);
}

bool json_member(const struct json *json, const char *path, size_t index, const char **ret_name,
                 const char **ret_text)
{
    json_t *object = find(json, path);
    void *member = json_object_iter(object);
    for (size_t i = 0; i < index && member != NULL; i++)
        member = json_object_iter_next(object, member);
    const char *text = member == NULL ? NULL : json_string_value(json_object_iter_value(member));
    if (text == NULL)
        return false;
    *ret_name = json_object_iter_key(member);
    *ret_text = text;
    return true;
}
