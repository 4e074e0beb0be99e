#include "tests/attacks/world.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rv.h"
#include "module/lineage.h"
#include "module/object_table.h"
#include "module/session.h"
#include "module/slot.h"
#include "tests/attacks/mechanisms.h"

/* FNV-1a's prime, and a mixer for 64 bits. */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * 0x100000001b3U;
    return hash;
}

uint64_t term_mix(uint64_t term, uint64_t more)
{
    uint64_t mixed = (term ^ (more + 0x9e3779b97f4a7c15U)) * 0xbf58476d1ce4e5b9U;

    mixed = (mixed ^ (mixed >> 29)) * 0x94d049bb133111ebU;
    return mixed ^ (mixed >> 32);
}

void world_open(struct api *api)
{
    api_open(api, "memory:", "hkdf_data_info = " ATTACK_LISTED_INFO);
    /* Nearly every call of a search is refused, and says so. */
    REQUIRE(log_open("file:/dev/null:error"));
}

void world_close(struct api *api)
{
    api_close(api);
}

/* NULL for the subkey of a key that is no index key any more. */
static struct object *object_of(const struct world *world, CK_OBJECT_HANDLE handle)
{
    struct session_view view;
    struct object *object;

    OK(session_look(world->api->session, &view));
    CK_RV rv = object_table_get(view.slot->objects, handle, &object);
    OK(session_look_end(&view, CKR_OK));
    return rv == CKR_OK ? object : NULL;
}

static CK_MECHANISM_TYPE only_allowed(const struct attributes *attributes)
{
    struct view allowed;
    CK_MECHANISM_TYPE type = 0;

    if (attributes_bytes(attributes, CKA_ALLOWED_MECHANISMS, &allowed) &&
        allowed.len == sizeof(type))
        memcpy(&type, allowed.bytes, sizeof(type));
    return type;
}

static bool is_posing(const struct attributes *attributes)
{
    struct view label;

    return attributes_has(attributes, FLAG_TOKEN) &&
           attributes_bytes(attributes, CKA_LABEL, &label) && label.len > 7 &&
           memcmp(label.bytes, "victim/", 7) == 0;
}

/* Past the API. */
static void inspect(const struct world *world, struct world_key *key)
{
    _cleanup_(object_release) struct object *object = object_of(world, key->handle);
    const struct secret *value;
    struct view list;

    if (object == NULL) {
        key->flags = 0;
        return;
    }
    const struct attributes *attributes = &object->attributes;
    OK(object_value(object, &value));
    key->value_len = value->len < FACT_LEN_MAX ? value->len : FACT_LEN_MAX;
    memcpy(key->value, value->bytes, key->value_len);
    key->flags = attributes->flags;
    key->type = attributes->key_type;
    key->allows = only_allowed(attributes);
    key->family = lineage_family(object);
    key->has_list = attributes_bytes(attributes, CKA_ALLOWED_MECHANISMS, &list);
    key->is_posing = is_posing(attributes);
    key->is_data = attributes->object_class == CKO_DATA;
    key->looks = hash_bytes(0xcbf29ce484222325U, attributes->others.bytes, attributes->others.len);
    key->looks = term_mix(key->looks, key->flags);
    key->looks = term_mix(key->looks, attributes->key_type * 1000U + attributes->value_len);
    key->looks = term_mix(key->looks, key->family);
}

struct fact *world_add_fact(struct world *world, enum fact_kind kind, size_t key, uint64_t term,
                            struct view bytes)
{
    uint64_t full = term_mix(term, kind);

    for (size_t i = 0; i < world->fact_count; i++)
        if (world->facts[i].term == full)
            return &world->facts[i];
    REQUIRE(world->fact_count < FACTS_MAX);
    struct fact *fact = &world->facts[world->fact_count++];
    *fact = (struct fact){.kind = kind, .term = full, .key = key};
    fact->len = bytes.len < FACT_LEN_MAX ? bytes.len : FACT_LEN_MAX;
    if (fact->len > 0)
        memcpy(fact->bytes, bytes.bytes, fact->len);
    return fact;
}

static void read_attribute(struct world *world, size_t i, CK_ATTRIBUTE_TYPE type,
                           enum fact_kind kind)
{
    unsigned char bytes[FACT_LEN_MAX];
    CK_ATTRIBUTE entry = {type, bytes, sizeof(bytes)};

    if (world->api->p11->C_GetAttributeValue(world->api->session, world->keys[i].handle, &entry,
                                             1) == CKR_OK)
        world_add_fact(world, kind, i, world->keys[i].term, (struct view){bytes, entry.ulValueLen});
}

static void digest(struct world *world, size_t i)
{
    CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};
    CK_FUNCTION_LIST_3_2 *p11 = world->api->p11;
    unsigned char bytes[32];
    CK_ULONG len = sizeof(bytes);

    OK(p11->C_DigestInit(world->api->session, &sha256));
    if (p11->C_DigestKey(world->api->session, world->keys[i].handle) != CKR_OK)
        return;
    OK(p11->C_DigestFinal(world->api->session, bytes, &len));
    world_add_fact(world, FACT_DIGEST, i, world->keys[i].term, (struct view){bytes, len});
}

/* A search that finds the key by its value would answer guesses. */
static void search_by_value(struct world *world, size_t i)
{
    struct world_key *key = &world->keys[i];
    CK_ATTRIBUTE wanted = {CKA_VALUE, key->value, key->value_len};
    CK_FUNCTION_LIST_3_2 *p11 = world->api->p11;
    CK_OBJECT_HANDLE found[KEYS_MAX];
    CK_ULONG count = 0;

    OK(p11->C_FindObjectsInit(world->api->session, &wanted, 1));
    OK(p11->C_FindObjects(world->api->session, found, KEYS_MAX, &count));
    OK(p11->C_FindObjectsFinal(world->api->session));
    for (CK_ULONG j = 0; j < count; j++)
        if (found[j] == key->handle && key->of_target &&
            (key->flags & FLAG_BIT(FLAG_SENSITIVE)) != 0)
            world->hit = "a search answers whether a guess is the key";
}

void world_look(struct world *world, size_t i)
{
    struct world_key *key = &world->keys[i];
    uint64_t looks = key->looks;
    bool is_new = looks == 0;

    inspect(world, key);
    if (!is_new && looks == key->looks)
        return;
    read_attribute(world, i, CKA_VALUE, FACT_READ);
    if (key->is_data)
        return;
    read_attribute(world, i, CKA_CHECK_VALUE, FACT_CHECK_VALUE);
    digest(world, i);
    search_by_value(world, i);
}

struct world_key *world_add_key(struct world *world, CK_OBJECT_HANDLE handle, uint64_t term)
{
    REQUIRE(world->key_count < KEYS_MAX);
    struct world_key *key = &world->keys[world->key_count++];

    *key = (struct world_key){.handle = handle, .term = term, .is_unused = true};
    return key;
}

static void add_target(struct world *world, CK_OBJECT_HANDLE handle, uint64_t term)
{
    struct world_key *key = world_add_key(world, handle, term);

    key->of_target = true;
    key->is_unused = false;
    world_look(world, world->key_count - 1);
    key->hidden_len = key->value_len;
}

/* Past the configuration: it is read once, and a token serves many targets. */
static void configure(const struct api *api, const struct target *target)
{
    struct session_view view;

    OK(session_look(api->session, &view));
    view.slot->extract_key = target->extract_key;
    OK(session_look_end(&view, CKR_OK));
}

CK_RV world_start(struct world *world, struct api *api, const struct target *target)
{
    struct shape_template template;
    CK_MECHANISM generation = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE handle;
    CK_RV rv;

    *world = (struct world){.api = api, .target = target};
    configure(api, target);
    shape_fill(&target->shape, &template);
    rv = target->shape.value == 0
             ? api->p11->C_GenerateKey(api->session, &generation, template.attributes,
                                       template.count, &handle)
             : api->p11->C_CreateObject(api->session, template.attributes, template.count, &handle);
    if (rv != CKR_OK)
        return rv;
    add_target(world, handle, 1);
    if (target->has_subkeys) {
        add_target(world, api_find(api, "victim/payload"), 2);
        add_target(world, api_find(api, "victim/token"), 3);
    }
    return CKR_OK;
}

void world_end(struct world *world)
{
    for (size_t i = world->key_count; i > 0; i--)
        if (!(world->target->has_subkeys && (i == 2 || i == 3)) &&
            world->keys[i - 1].handle != CK_INVALID_HANDLE)
            OK(world->api->p11->C_DestroyObject(world->api->session, world->keys[i - 1].handle));
    world->key_count = 0;
}

/* The contexts that a session keeps would spare it the checks that it has passed. */
static void forget_operations(const struct world *world)
{
    struct session *session;

    OK(session_enter(world->api->session, &session));
    for (int kind = 0; kind < OPERATION_KINDS; kind++)
        operation_forget(&session->operations[kind]);
    OK(session_leave(session, CKR_OK));
}

void world_undo(struct world *world, const struct world *before)
{
    while (world->key_count > before->key_count)
        OK(world->api->p11->C_DestroyObject(world->api->session,
                                            world->keys[--world->key_count].handle));
    forget_operations(world);
    for (size_t i = 0; i < before->key_count; i++) {
        _cleanup_(object_release) struct object *object = object_of(world, before->keys[i].handle);
        struct lineage *lineage;
        if (object == NULL)
            continue;
        OK(lineage_of(object, &lineage));
        atomic_store(&lineage->family, before->keys[i].family);
    }
    *world = *before;
}

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;

    return (*left > *right) - (*left < *right);
}

uint64_t world_number(const struct world *world)
{
    uint64_t parts[KEYS_MAX + FACTS_MAX];
    uint64_t number = 0;
    size_t count = 0;

    for (size_t i = 0; i < world->key_count; i++)
        parts[count++] =
            term_mix(term_mix(world->keys[i].term, world->keys[i].looks), world->keys[i].is_unused);
    for (size_t i = 0; i < world->fact_count; i++)
        parts[count++] = world->facts[i].term;
    number = 2U * world->has_touched + world->has_observed;
    qsort(parts, count, sizeof(parts[0]), compare_numbers);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || parts[i] != parts[i - 1])
            number = term_mix(number, parts[i]);
    return number;
}
