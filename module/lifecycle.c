#include "module/lifecycle.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rv.h"
#include "module/attributes_entries.h"
#include "module/attributes_table.h"
#include "module/attributes_values.h"

/* Of the entries of state and times (attributes_table.c). */
#define TAG_STATE 39
#define TAG_DESTROY_AT 42

/* What is sealed, or follows from several that are. */
struct stage {
    unsigned int state;
    uint64_t activation;
    uint64_t deactivation;
};

static const struct stage begin = {INDEXKEY_STATE_ACTIVE, 0, 0};

struct life *life_reference(struct life *life)
{
    if (life != NULL)
        atomic_fetch_add_explicit(&life->references, 1, memory_order_relaxed);
    return life;
}

void life_release(struct life **life)
{
    struct life *last = TAKE(*life);

    if (last == NULL || atomic_fetch_sub_explicit(&last->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < last->source_count; i++)
        life_release(&last->sources[i]);
    mem_free(last);
}

CK_ULONG lifecycle_get(const struct attributes *attributes, CK_ATTRIBUTE_TYPE type)
{
    const struct attribute_row *row = attributes_table_find(type);
    struct attribute_room room;
    struct view shown;
    CK_ULONG number = 0;

    if (attributes_values_read(attributes, row, &room, &shown))
        memcpy(&number, shown.bytes, sizeof(number));
    return number;
}

CK_RV lifecycle_set(struct attributes *attributes, CK_ATTRIBUTE_TYPE type, CK_ULONG number)
{
    const struct attribute_row *row = attributes_table_find(type);
    struct view shown = {(const unsigned char *) &number, sizeof(number)};

    if (number == row->unset) {
        attributes_unset(attributes, type);
        return CKR_OK;
    }
    return attributes_set_bytes(attributes, type, shown);
}

/* A login asks for every key: one look at the entries. */
bool lifecycle_is_begun(const struct attributes *attributes)
{
    struct reader reader = reader_of(blob_view(&attributes->others));
    struct entry entry;

    while (attributes_entries_next(&reader, &entry))
        if (entry.tag >= TAG_STATE && entry.tag <= TAG_DESTROY_AT)
            return true;
    return false;
}

static struct stage stage_of_attributes(const struct attributes *attributes)
{
    if (attributes->others.len == 0 || attributes->object_class != CKO_SECRET_KEY)
        return begin;
    return (struct stage){
        .state = (unsigned int) lifecycle_get(attributes, CKA_INDEXKEY_STATE),
        .activation = lifecycle_get(attributes, CKA_INDEXKEY_ACTIVATION),
        .deactivation = lifecycle_get(attributes, CKA_INDEXKEY_DEACTIVATION),
    };
}

/* SP 800-57 part 1, 7: by its times an active key is not yet or no longer so. */
static unsigned int state_now(struct stage stage)
{
    if (stage.state > INDEXKEY_STATE_ACTIVE || (stage.activation | stage.deactivation) == 0)
        return stage.state;
    uint64_t now = (uint64_t) clock_coarse_utc_s();
    if (stage.deactivation != 0 && now >= stage.deactivation)
        return INDEXKEY_STATE_DEACTIVATED;
    if (stage.activation != 0)
        return now < stage.activation ? INDEXKEY_STATE_PRE_ACTIVE : INDEXKEY_STATE_ACTIVE;
    return stage.state;
}

/* From what allows most to what allows least. */
static unsigned int severity(unsigned int state)
{
    static const unsigned char severities[] = {
        [INDEXKEY_STATE_ACTIVE] = 0,      [INDEXKEY_STATE_DEACTIVATED] = 1,
        [INDEXKEY_STATE_COMPROMISED] = 2, [INDEXKEY_STATE_PRE_ACTIVE] = 3,
        [INDEXKEY_STATE_SUSPENDED] = 4,   [INDEXKEY_STATE_DESTROY_PENDING] = 5,
    };

    return severities[state];
}

static struct stage stage_of_source(const struct life *life)
{
    return (struct stage){
        .state = atomic_load(&life->state),
        .activation = atomic_load(&life->activation),
        .deactivation = atomic_load(&life->deactivation),
    };
}

/* The least that is allowed by either, now and later. */
static struct stage stricter(struct stage a, struct stage b)
{
    struct stage both = {
        .state = severity(a.state) >= severity(b.state) ? a.state : b.state,
        .activation = a.activation > b.activation ? a.activation : b.activation,
        .deactivation = a.deactivation,
    };

    if (b.deactivation != 0 && (both.deactivation == 0 || b.deactivation < both.deactivation))
        both.deactivation = b.deactivation;
    return both;
}

static struct stage stage_of_life(const struct life *life)
{
    struct stage stage = stage_of_source(life);

    for (size_t i = 0; i < life->source_count; i++)
        stage = stricter(stage, stage_of_source(life->sources[i]));
    return stage;
}

/* The worst that one of them is in, each by its own times. */
static unsigned int state_of_life(const struct life *life)
{
    unsigned int worst = state_now(stage_of_source(life));

    for (size_t i = 0; i < life->source_count; i++) {
        unsigned int state = state_now(stage_of_source(life->sources[i]));
        worst = severity(state) > severity(worst) ? state : worst;
    }
    return worst;
}

/* A subkey object's is its index key's. */
static const struct object *root_of(const struct object *object)
{
    return object->parent != NULL ? object->parent : object;
}

static struct stage stage_of(const struct object *object)
{
    const struct object *root = root_of(object);
    const struct life *life = atomic_load_explicit(&root->life, memory_order_acquire);

    return life != NULL ? stage_of_life(life) : stage_of_attributes(&root->attributes);
}

static unsigned int state_of(const struct object *object)
{
    const struct object *root = root_of(object);
    const struct life *life = atomic_load_explicit(&root->life, memory_order_acquire);

    return life != NULL ? state_of_life(life) : state_now(stage_of_attributes(&root->attributes));
}

/* The search tokens of an index that is only read are made by MACs. */
static bool serves_searches(const struct object *key)
{
    return key->attributes.serves_searches || key->purpose == INDEXKEY_PURPOSE_TOKEN ||
           key->purpose == INDEXKEY_PURPOSE_CENTROID || key->purpose == INDEXKEY_PURPOSE_QUERY;
}

static bool state_allows(unsigned int state, const struct object *key, enum attribute_flag usage)
{
    if (state == INDEXKEY_STATE_ACTIVE)
        return true;
    if (state != INDEXKEY_STATE_DEACTIVATED && state != INDEXKEY_STATE_COMPROMISED)
        return false;
    switch (usage) {
    case FLAG_DECRYPT:
    case FLAG_VERIFY:
    case FLAG_UNWRAP:
    case FLAG_DERIVE: /* what is derived follows the state */
        return true;
    case FLAG_SIGN:
        return serves_searches(key);
    default:
        return false;
    }
}

CK_RV lifecycle_examine(struct object *key, enum attribute_flag usage)
{
    struct stage stage = stage_of(key);

    if (stage.activation != 0 || stage.deactivation != 0)
        atomic_store_explicit(&key->is_watched, true, memory_order_relaxed);
    return state_allows(state_of(key), key, usage) ? CKR_OK : CKR_KEY_FUNCTION_NOT_PERMITTED;
}

bool lifecycle_is_active(const struct object *key)
{
    return state_of(key) == INDEXKEY_STATE_ACTIVE;
}

CK_ULONG lifecycle_shown(const struct object *object, CK_ATTRIBUTE_TYPE type)
{
    switch (type) {
    case CKA_INDEXKEY_ACTIVATION:
        return (CK_ULONG) stage_of(object).activation;
    case CKA_INDEXKEY_DEACTIVATION:
        return (CK_ULONG) stage_of(object).deactivation;
    default:
        return state_of(object);
    }
}

static CK_RV new_life(struct stage stage, size_t source_count, struct life **ret_life)
{
    struct life *life = mem_calloc(1, sizeof(*life) + source_count * sizeof(life->sources[0]));

    if (life == NULL)
        return CKR_HOST_MEMORY;
    atomic_init(&life->references, 1);
    atomic_init(&life->state, (unsigned char) stage.state);
    atomic_init(&life->activation, stage.activation);
    atomic_init(&life->deactivation, stage.deactivation);
    *ret_life = life;
    return CKR_OK;
}

/* Borrowed; a token key's own is made at need, a session key may have none. Two threads may come at
 * once: the first one's stays. */
static CK_RV life_of(struct object *key, struct life **ret_life)
{
    struct object *root = key->parent != NULL ? key->parent : key;
    struct life *life = atomic_load_explicit(&root->life, memory_order_acquire);

    if (life == NULL && root->owner == 0) {
        struct life *fresh;
        TRY(new_life(stage_of_attributes(&root->attributes), 0, &fresh));
        if (atomic_compare_exchange_strong(&root->life, &life, fresh))
            life = fresh;
        else
            life_release(&fresh);
    }
    *ret_life = life;
    return CKR_OK;
}

static void add_source(struct life *joint, struct life *source)
{
    for (size_t i = 0; i < joint->source_count; i++)
        if (joint->sources[i] == source)
            return;
    joint->sources[joint->source_count++] = life_reference(source);
}

static void add_sources(struct life *joint, struct life *life)
{
    if (life->source_count == 0)
        add_source(joint, life);
    for (size_t i = 0; i < life->source_count; i++)
        add_source(joint, life->sources[i]);
}

static CK_RV join(struct life *first, struct life *second, struct life **ret_life)
{
    struct life *joint;

    TRY(new_life(begin, 2 + first->source_count + second->source_count, &joint));
    add_sources(joint, first);
    add_sources(joint, second);
    *ret_life = joint;
    return CKR_OK;
}

static CK_RV add_followed(struct life **followed, struct life *life)
{
    struct life *joint;

    if (life == NULL || life == *followed)
        return CKR_OK;
    if (*followed == NULL) {
        *followed = life_reference(life);
        return CKR_OK;
    }
    TRY(join(*followed, life, &joint));
    life_release(followed);
    *followed = joint;
    return CKR_OK;
}

CK_RV lifecycle_follow(struct object *const *keys, size_t count, struct life **ret_life)
{
    struct life *followed = NULL;

    for (size_t i = 0; i < count; i++) {
        struct life *life;
        CK_RV rv = life_of(keys[i], &life);
        if (rv == CKR_OK)
            rv = add_followed(&followed, life);
        if (rv != CKR_OK) {
            life_release(&followed);
            return rv;
        }
    }
    *ret_life = followed;
    return CKR_OK;
}

CK_RV lifecycle_inherit(const struct life *life, struct attributes *attributes)
{
    if (life == NULL || attributes->object_class != CKO_SECRET_KEY)
        return CKR_OK;
    struct stage stage = stage_of_life(life);
    /* One state and its times cannot say of two keys that one has ended and one has not begun. */
    if (stage.state == INDEXKEY_STATE_DESTROY_PENDING ||
        severity(state_of_life(life)) > severity(state_now(stage)))
        return CKR_ACTION_PROHIBITED;
    TRY(lifecycle_set(attributes, CKA_INDEXKEY_STATE, stage.state));
    TRY(lifecycle_set(attributes, CKA_INDEXKEY_ACTIVATION, (CK_ULONG) stage.activation));
    return lifecycle_set(attributes, CKA_INDEXKEY_DEACTIVATION, (CK_ULONG) stage.deactivation);
}

void lifecycle_strip(struct attributes *attributes)
{
    static const CK_ATTRIBUTE_TYPE types[] = {
        CKA_INDEXKEY_STATE,      CKA_INDEXKEY_ACTIVATION, CKA_INDEXKEY_DEACTIVATION,
        CKA_INDEXKEY_DESTROY_AT, CKA_INDEXKEY_VERSION,    CKA_INDEXKEY_LINE,
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        attributes_unset(attributes, types[i]);
    attributes_set_flag(attributes, FLAG_INDEXKEY_HOLD, false);
}

CK_RV lifecycle_succeed(struct object *old, struct object *fresh, bool *ret_changed)
{
    struct stage stage = stage_of_attributes(&fresh->attributes);
    struct life *life;

    if (old->attributes.object_class != CKO_SECRET_KEY)
        return CKR_OK;
    TRY(life_of(old, &life));
    bool differs = atomic_load(&life->state) != stage.state ||
                   atomic_load(&life->activation) != stage.activation ||
                   atomic_load(&life->deactivation) != stage.deactivation;
    atomic_store(&life->activation, stage.activation);
    atomic_store(&life->deactivation, stage.deactivation);
    atomic_store(&life->state, (unsigned char) stage.state);
    atomic_store_explicit(&fresh->life, life_reference(life), memory_order_release);
    *ret_changed |= differs;
    return CKR_OK;
}

/* Without memory for it nobody follows the key. */
void lifecycle_end(struct object *key)
{
    struct life *life;

    if (key->owner == 0 && key->attributes.object_class == CKO_SECRET_KEY &&
        life_of(key, &life) == CKR_OK && life != NULL)
        atomic_store(&life->state, INDEXKEY_STATE_DESTROY_PENDING);
}

bool lifecycle_is_version_label(struct view label)
{
    size_t at = label.len;

    while (at > 0 && label.bytes[at - 1] >= '0' && label.bytes[at - 1] <= '9')
        at--;
    return at < label.len && at > 0 && label.bytes[at - 1] == '@';
}
