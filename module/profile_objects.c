#include "module/profile_objects.h"

#include <string.h>

#include "base/rv.h"

static const CK_PROFILE_ID profiles[] = {CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER};

/* The unique id of a built-in object must be the same at every start. */
static struct object_id fixed_id(CK_PROFILE_ID profile)
{
    struct object_id id = {.bytes = "profile"};

    id.bytes[OBJECT_ID_LEN - 1] = (unsigned char) profile;
    return id;
}

static CK_RV add(struct slot *slot, CK_PROFILE_ID profile)
{
    _cleanup_(attributes_clear) struct attributes attributes = {
        .flags = FLAG_BIT(FLAG_TOKEN),
        .object_class = CKO_PROFILE,
        .key_gen_mechanism = UINT32_MAX,
    };
    struct secret none = {NULL, 0};
    _cleanup_(object_release) struct object *object = NULL;

    TRY(attributes_set_bytes(&attributes, CKA_PROFILE_ID,
                             (struct view){(const unsigned char *) &profile, sizeof(profile)}));
    TRY(object_new(slot, &attributes, &none, &object));
    object->id = fixed_id(profile);
    TRY(object_table_add(slot->objects, object));
    object = NULL; /* the table's now */
    return CKR_OK;
}

CK_RV profile_objects_add(struct slot *slot)
{
    for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
        TRY(add(slot, profiles[i]));
    return CKR_OK;
}
