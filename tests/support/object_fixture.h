/*
 * For the tests of a token's objects: making them, loading them, looking at them.
 */
#pragma once

#include "tests/support/token_fixture.h"
#include "tokens/sealed_objects.h"

#define OBJECTS_MAX 512

struct objects_entry {
    struct object_id id;
    uint64_t version;
    size_t value_len;
    char attributes[32];
};

/* What the last objects_load found. */
extern struct objects_entry objects_loaded[OBJECTS_MAX];
extern size_t objects_count;

/* A sealed_object_fn that adds to the two above. */
CK_RV objects_keep(void *context, const struct sealed_object *object);
/* Returns objects_count. */
size_t objects_load(struct custody *custody);

/* Any thread. */
struct object_id objects_create(struct custody *custody, const char *attributes, const char *value);
void objects_assert_value(struct custody *custody, const struct object_id *id, uint64_t version,
                          const char *expected);

/* A token whose user is logged in, with an empty log. */
struct custody *objects_token(const char *store);
