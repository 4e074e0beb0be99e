#include "tests/support/object_fixture.h"

#include <stdio.h>
#include <string.h>

struct objects_entry objects_loaded[OBJECTS_MAX];
size_t objects_count;

CK_RV objects_keep(void *context, const struct sealed_object *object)
{
    (void) context;
    ck_assert_uint_lt(objects_count, OBJECTS_MAX);
    struct objects_entry *entry = &objects_loaded[objects_count++];
    entry->id = object->id;
    entry->version = object->version;
    entry->value_len = object->value_len;
    (void) snprintf(entry->attributes, sizeof(entry->attributes), "%.*s",
                    (int) object->attributes.len, (const char *) object->attributes.bytes);
    return CKR_OK;
}

size_t objects_load(struct custody *custody)
{
    objects_count = 0;
    ck_assert_uint_eq(sealed_objects_load(custody, objects_keep, NULL), CKR_OK);
    return objects_count;
}

struct object_id objects_create(struct custody *custody, const char *attributes, const char *value)
{
    struct object_id id;
    struct secret secret = {0};
    ck_assert_uint_eq(sealed_objects_new_id(&id), CKR_OK);
    ck_assert_uint_eq(secret_from(value, strlen(value), &secret), CKR_OK);
    CK_RV rv = sealed_objects_create(custody, &id, view_text(attributes), &secret);
    ck_assert_msg(rv == CKR_OK, "%lx %s", rv, fixture_log());
    secret_clear(&secret);
    return id;
}

void objects_assert_value(struct custody *custody, const struct object_id *id, uint64_t version,
                          const char *expected)
{
    struct secret value = {0};
    CK_RV rv = sealed_objects_value(custody, id, version, &value);
    ck_assert_msg(rv == CKR_OK, "%lx %s", rv, fixture_log());
    ck_assert_uint_eq(value.len, strlen(expected));
    ck_assert(value.len == 0 || memcmp(value.bytes, expected, value.len) == 0);
    secret_clear(&value);
}

struct custody *objects_token(const char *store)
{
    struct custody *custody = fixture_token(store, "");
    fixture_login_user(custody);
    fixture_forget_log();
    return custody;
}
