#include "tests/attacks/steps.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/secret.h"
#include "module/object_attributes.h"
#include "tests/attacks/mechanisms.h"

#define OUTPUT_MAX 256
#define MAC_FLOOR 8
#define TAG_FLOOR 12

/* What a step works on beside its key. */
enum second { SECOND_NONE, SECOND_KEY, SECOND_BLOB, SECOND_OF_WAY };

static const struct way_list no_ways = {NULL, 1};
static const struct shape_list no_shapes = {NULL, 1};

static const struct {
    const char *name;
    const struct way_list *ways;
    const struct shape_list *shapes;
    bool has_key;
    enum second second;
    bool makes_key;
} kinds[STEP_KINDS] = {
    [STEP_CREATE] = {"create", &no_ways, &shapes_create, false, SECOND_NONE, true},
    [STEP_GENERATE] = {"generate", &no_ways, &shapes_generate, false, SECOND_NONE, true},
    [STEP_DERIVE] = {"derive", &ways_derive, &shapes_derive, true, SECOND_OF_WAY, true},
    [STEP_COPY] = {"copy", &no_ways, &shapes_change, true, SECOND_NONE, true},
    [STEP_SET] = {"set", &no_ways, &shapes_change, true, SECOND_NONE, false},
    [STEP_ENCRYPT] = {"encrypt", &ways_encrypt, &no_shapes, true, SECOND_OF_WAY, false},
    [STEP_DECRYPT] = {"decrypt", &ways_decrypt, &no_shapes, true, SECOND_BLOB, false},
    [STEP_SIGN] = {"sign", &ways_sign, &no_shapes, true, SECOND_NONE, false},
    [STEP_WRAP] = {"wrap", &ways_wrap, &no_shapes, true, SECOND_KEY, false},
    [STEP_UNWRAP] = {"unwrap", &ways_wrap, &shapes_unwrap, true, SECOND_BLOB, true},
};

bool step_changes_key(const struct step *step)
{
    return step->kind == STEP_SET;
}

static const struct way *way_of(const struct step *step)
{
    return &kinds[step->kind].ways->ways[step->way];
}

static const struct shape *shape_of(const struct step *step)
{
    return &kinds[step->kind].shapes->shapes[step->shape];
}

static enum second second_of(const struct step *step)
{
    enum second second = kinds[step->kind].second;

    if (second != SECOND_OF_WAY)
        return second;
    if (way_of(step)->form == FORM_GCM_SEEN_IV)
        return SECOND_BLOB;
    return way_takes_key(way_of(step)) ? SECOND_KEY : SECOND_NONE;
}

void step_describe(const struct step *step, char *text, size_t size)
{
    int len = snprintf(text, size, "%s", kinds[step->kind].name);

    if (kinds[step->kind].has_key)
        len += snprintf(text + len, size - (size_t) len, " key %u", step->key);
    if (second_of(step) != SECOND_NONE)
        len += snprintf(text + len, size - (size_t) len, ", %s %u",
                        second_of(step) == SECOND_KEY ? "key" : "fact", step->other);
    if (kinds[step->kind].ways != &no_ways)
        len += snprintf(text + len, size - (size_t) len, ", by %s", way_of(step)->name);
    if (kinds[step->kind].shapes != &no_shapes)
        snprintf(text + len, size - (size_t) len, ": %s", shape_of(step)->name);
}

static size_t second_count(const struct world *world, enum second second)
{
    switch (second) {
    case SECOND_KEY:
        return world->key_count;
    case SECOND_BLOB:
        return world->fact_count;
    default:
        return 1;
    }
}

static bool observes(const struct step *step)
{
    return step->kind == STEP_ENCRYPT || step->kind == STEP_SIGN;
}

static bool uses(const struct step *step, size_t key)
{
    return (kinds[step->kind].has_key && step->key == key) ||
           (second_of(step) == SECOND_KEY && step->other == key);
}

/* The step works on the target or on what comes from it. */
static bool touches(const struct world *world, const struct step *step)
{
    if (kinds[step->kind].has_key && world->keys[step->key].of_target)
        return true;
    if (second_of(step) == SECOND_KEY)
        return world->keys[step->other].of_target;
    return second_of(step) == SECOND_BLOB && world->keys[world->facts[step->other].key].of_target;
}

/* The step gives a key that the attacker knows a label or a place among the token's keys. */
static bool may_pose(const struct world *world, const struct step *step)
{
    const struct shape *shape = shape_of(step);
    bool is_known =
        step->kind == STEP_CREATE || (kinds[step->kind].has_key && world->keys[step->key].is_known);

    return world->target->has_subkeys && is_known && kinds[step->kind].shapes != &no_shapes &&
           (shape->label != NULL || (shape->yes & FLAG_BIT(FLAG_TOKEN)) != 0);
}

/* A copy that is the same in all that counts, or a label that nobody asks for. */
static bool changes_nothing(const struct world *world, const struct step *step)
{
    const struct world_key *key = &world->keys[step->key];

    if (step->shape == CHANGE_NOTHING)
        return step->kind == STEP_SET || key->has_list;
    if (step->shape == CHANGE_LABEL)
        return step->kind == STEP_COPY || key->has_list;
    return step->shape == CHANGE_TO_SUBKEY_LABEL && !may_pose(world, step);
}

/* What the attacker can compute without the token is no step. */
static bool is_pointless(const struct world *world, const struct step *step)
{
    if ((observes(step) || step->kind == STEP_DECRYPT) && world->keys[step->key].is_known)
        return true;
    if (kinds[step->kind].shapes != &no_shapes && shape_of(step)->of_target &&
        !touches(world, step))
        return true;
    if (step->kind == STEP_SET || step->kind == STEP_COPY)
        return changes_nothing(world, step);
    if (step->kind == STEP_ENCRYPT && second_of(step) == SECOND_BLOB)
        return world->facts[step->other].kind != FACT_BLOB;
    if (second_of(step) == SECOND_BLOB)
        return world->facts[step->other].kind != FACT_BLOB &&
               world->facts[step->other].kind != FACT_OUTPUT;
    return step->kind == STEP_WRAP && world->keys[step->other].is_known &&
           world->keys[step->key].is_known;
}

/* Steps that do not depend on each other may come in any order, so one is enough: what does not
 * touch the target comes first, and what only observes comes after all keys have been made.
 * Wrapping may stand among the observations, a change of attributes anywhere: the order begins
 * anew. */
static bool is_out_of_order(const struct world *world, size_t remaining, const struct step *step)
{
    bool matters = touches(world, step) || may_pose(world, step);

    if (step->kind == STEP_SET)
        return remaining == 0 && !matters;
    if ((world->has_touched || remaining == 0) && !matters)
        return true;
    return world->has_observed && (step->kind == STEP_DERIVE || step->kind == STEP_COPY);
}

/* A key that nothing uses later could have been left out: a step uses two at most, so there must
 * be steps enough for those that are left. */
static bool leaves_too_much(const struct world *world, size_t remaining, const struct step *step)
{
    size_t unused = remaining > 0 && (kinds[step->kind].makes_key || step->kind == STEP_SET);

    for (size_t i = 0; i < world->key_count; i++)
        unused += world->keys[i].is_unused && !uses(step, i);
    return unused > 2 * remaining;
}

static bool is_worth_trying(const struct world *world, size_t remaining, const struct step *step)
{
    return !is_pointless(world, step) && !is_out_of_order(world, remaining, step) &&
           !leaves_too_much(world, remaining, step);
}

/* All steps of a kind, those with the newest key first; returns how many steps there are then. */
static size_t list_kind(const struct world *world, size_t remaining, struct step step,
                        struct step *steps, size_t count)
{
    size_t key_count = kinds[step.kind].has_key ? world->key_count : 1;
    size_t way_count = kinds[step.kind].ways->count;
    size_t shape_count = kinds[step.kind].shapes->count;

    for (size_t i = 0; i < way_count * shape_count * key_count; i++) {
        step.way = (unsigned char) (i % way_count);
        step.shape = (unsigned char) (i / way_count % shape_count);
        step.key = (unsigned char) (key_count - 1 - i / way_count / shape_count);
        for (step.other = 0; step.other < second_count(world, second_of(&step)); step.other++) {
            if (!is_worth_trying(world, remaining, &step))
                continue;
            REQUIRE(count < STEPS_MAX);
            steps[count++] = step;
        }
    }
    return count;
}

size_t steps_list(const struct world *world, size_t remaining, struct step *ret_steps)
{
    size_t count = 0;

    for (unsigned char kind = 0; kind < STEP_KINDS; kind++)
        count = list_kind(world, remaining, (struct step){.kind = kind}, ret_steps, count);
    return count;
}

uint64_t step_number(const struct world *world, const struct step *step)
{
    const struct world_key *key = &world->keys[step->key];
    enum second second = second_of(step);
    uint64_t number = term_mix(step->kind * 65536U + step->way * 256U + step->shape, second);

    if (kinds[step->kind].has_key)
        number = term_mix(number, key->looks);
    if (second == SECOND_KEY)
        number = term_mix(number, world->keys[step->other].looks);
    if (second == SECOND_BLOB)
        number = term_mix(term_mix(number, key->term), world->facts[step->other].term);
    return number;
}

/* What a call works with. */
struct taking {
    struct world *world;
    const struct step *step;
    CK_FUNCTION_LIST_3_2 *p11;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    struct way_call call;
    struct shape_template template;
    uint64_t term; /* of what comes out */
    CK_BYTE out[OUTPUT_MAX];
    CK_ULONG out_len;
};

static const struct world_key *used_key(const struct taking *taking)
{
    return &taking->world->keys[taking->step->key];
}

static const struct world_key *other_key(const struct taking *taking)
{
    return &taking->world->keys[taking->step->other];
}

/* SHA-1 of the value that the key would have: the attacker's guess of it, and a right one. */
static CK_RV add_guess(struct taking *taking)
{
    static unsigned char check[3];
    unsigned char guess[32];
    unsigned int len = sizeof(guess);
    struct view text = way_text(TEXT_CONTEXT);
    const struct world_key *base = used_key(taking);

    if (way_of(taking->step)->form != FORM_CONTEXT)
        return CKR_MECHANISM_INVALID;
    REQUIRE(HMAC(EVP_sha256(), base->value, (int) base->value_len, text.bytes, text.len, guess,
                 &len) != NULL);
    struct secret value = {guess, sizeof(guess)};
    REQUIRE(check_value_compute(CKK_GENERIC_SECRET, &value, check));
    shape_add(&taking->template, CKA_CHECK_VALUE, check, sizeof(check));
    return CKR_OK;
}

static CK_RV make_key(struct taking *taking, CK_OBJECT_HANDLE *ret_handle)
{
    CK_MECHANISM generation = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE *attributes = taking->template.attributes;
    CK_ULONG count = taking->template.count;

    switch (taking->step->kind) {
    case STEP_CREATE:
        return taking->p11->C_CreateObject(taking->session, attributes, count, ret_handle);
    case STEP_GENERATE:
        if (shape_of(taking->step)->type == CKK_GENERIC_SECRET)
            generation.mechanism = CKM_GENERIC_SECRET_KEY_GEN;
        return taking->p11->C_GenerateKey(taking->session, &generation, attributes, count,
                                          ret_handle);
    case STEP_COPY:
        return taking->p11->C_CopyObject(taking->session, taking->key, attributes, count,
                                         ret_handle);
    default:
        return taking->p11->C_DeriveKey(taking->session, &taking->call.mechanism, taking->key,
                                        attributes, count, ret_handle);
    }
}

static bool is_authenticated(const struct taking *taking)
{
    enum way_form form = way_of(taking->step)->form;

    return form == FORM_GCM_WRAP || form == FORM_GCM_WRAP_FRESH;
}

static CK_RV unwrap_key(struct taking *taking, CK_OBJECT_HANDLE *ret_handle)
{
    struct fact *blob = &taking->world->facts[taking->step->other];

    if (is_authenticated(taking))
        return taking->p11->C_UnwrapKeyAuthenticated(
            taking->session, &taking->call.mechanism, taking->key, blob->bytes, blob->len,
            taking->template.attributes, taking->template.count, NULL, 0, ret_handle);
    return taking->p11->C_UnwrapKey(taking->session, &taking->call.mechanism, taking->key,
                                    blob->bytes, blob->len, taking->template.attributes,
                                    taking->template.count, ret_handle);
}

static CK_RV wrap_key(struct taking *taking)
{
    CK_OBJECT_HANDLE wrapped = other_key(taking)->handle;

    if (is_authenticated(taking))
        return taking->p11->C_WrapKeyAuthenticated(taking->session, &taking->call.mechanism,
                                                   taking->key, wrapped, NULL, 0, taking->out,
                                                   &taking->out_len);
    return taking->p11->C_WrapKey(taking->session, &taking->call.mechanism, taking->key, wrapped,
                                  taking->out, &taking->out_len);
}

static CK_RV encrypt_message(struct taking *taking, struct view text)
{
    CK_RV rv =
        taking->p11->C_MessageEncryptInit(taking->session, &taking->call.mechanism, taking->key);
    if (rv != CKR_OK)
        return rv;
    rv = taking->p11->C_EncryptMessage(
        taking->session, &taking->call.params, sizeof(taking->call.params.gcm_message), NULL, 0,
        (CK_BYTE_PTR) text.bytes, text.len, taking->out, &taking->out_len);
    (void) taking->p11->C_MessageEncryptFinal(taking->session);
    return rv;
}

static CK_RV observe(struct taking *taking)
{
    struct view text = way_text(way_of(taking->step)->text);
    CK_MECHANISM *mechanism = &taking->call.mechanism;
    const struct fact *blob = &taking->world->facts[taking->step->other];
    CK_RV rv;

    switch (taking->step->kind) {
    case STEP_ENCRYPT:
        if (way_of(taking->step)->form == FORM_GCM_MESSAGE)
            return encrypt_message(taking, text);
        rv = taking->p11->C_EncryptInit(taking->session, mechanism, taking->key);
        return rv != CKR_OK ? rv
                            : taking->p11->C_Encrypt(taking->session, (CK_BYTE_PTR) text.bytes,
                                                     text.len, taking->out, &taking->out_len);
    case STEP_DECRYPT:
        rv = taking->p11->C_DecryptInit(taking->session, mechanism, taking->key);
        return rv != CKR_OK ? rv
                            : taking->p11->C_Decrypt(taking->session, (CK_BYTE_PTR) blob->bytes,
                                                     blob->len, taking->out, &taking->out_len);
    default:
        rv = taking->p11->C_SignInit(taking->session, mechanism, taking->key);
        return rv != CKR_OK ? rv
                            : taking->p11->C_Sign(taking->session, (CK_BYTE_PTR) text.bytes,
                                                  text.len, taking->out, &taking->out_len);
    }
}

/* Two generated keys differ. */
static uint64_t new_term(const struct world *world, uint64_t term)
{
    for (size_t i = 0; i < world->key_count; i++)
        if (world->keys[i].term == term)
            return new_term(world, term_mix(term, 1));
    return term;
}

/* The term of what a step makes: the step, and the terms of what went in. A copy is the same. */
static uint64_t term_of(const struct world *world, const struct step *step)
{
    uint64_t term = term_mix(step->kind * 256U + step->way, 0);

    if (step->kind == STEP_COPY || step->kind == STEP_SET)
        return world->keys[step->key].term;
    if (step->kind == STEP_CREATE)
        return term_mix(4, shape_of(step)->value);
    if (step->kind == STEP_GENERATE)
        return new_term(world, term_mix(term, step->shape));
    if (kinds[step->kind].has_key)
        term = term_mix(term, world->keys[step->key].term);
    if (second_of(step) == SECOND_KEY)
        term = term_mix(term, world->keys[step->other].term);
    else if (second_of(step) == SECOND_BLOB)
        term = term_mix(term, world->facts[step->other].term);
    return term;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t hidden_when_derived(const struct taking *taking, size_t len)
{
    const struct world_key *base = used_key(taking);
    const struct way *way = way_of(taking->step);

    if (way->form == FORM_DATA_31)
        return len > 31 ? smaller(base->hidden_len, len - 31) : 0;
    if (way->form == FORM_KEY)
        return base->hidden_len + (len > base->value_len ? smaller(other_key(taking)->hidden_len,
                                                                   len - base->value_len)
                                                         : 0);
    return base->hidden_len + (way_takes_key(way) ? other_key(taking)->hidden_len : 0);
}

static size_t hidden_len(const struct taking *taking, const struct world_key *made)
{
    const struct world *world = taking->world;
    size_t hidden = made->value_len;

    if (made->is_known)
        return 0;
    if (taking->step->kind == STEP_COPY)
        hidden = used_key(taking)->hidden_len;
    else if (taking->step->kind == STEP_UNWRAP)
        hidden = world->keys[world->facts[taking->step->other].key].hidden_len;
    else if (taking->step->kind == STEP_DERIVE)
        hidden = hidden_when_derived(taking, made->value_len);
    return smaller(hidden, made->value_len);
}

static bool is_constant(const struct world_key *key)
{
    struct view zeros = way_text(TEXT_ZEROS);

    return key->value_len == zeros.len && memcmp(key->value, zeros.bytes, zeros.len) == 0;
}

static bool is_listed_data(const struct step *step)
{
    return step->kind == STEP_DERIVE && way_of(step)->type == CKM_HKDF_DATA &&
           way_of(step)->form == FORM_HKDF_LISTED;
}

static void add_made(struct taking *taking, CK_OBJECT_HANDLE handle)
{
    struct world *world = taking->world;
    const struct step *step = taking->step;
    struct world_key *made = world_add_key(world, handle, taking->term);
    bool has_key = kinds[step->kind].has_key;
    bool has_other = second_of(step) == SECOND_KEY;

    made->of_target =
        (has_key && used_key(taking)->of_target) || (has_other && other_key(taking)->of_target);
    made->is_reimported = has_key && used_key(taking)->is_reimported;
    made->is_known =
        step->kind == STEP_CREATE || (step->kind != STEP_GENERATE && used_key(taking)->is_known &&
                                      (!has_other || other_key(taking)->is_known));
    if (step->kind == STEP_UNWRAP) {
        size_t wrapped = world->facts[step->other].key;
        made->of_target = world->keys[wrapped].of_target;
        made->is_known = world->keys[wrapped].is_known;
        made->is_reimported = true;
    }
    world_look(world, world->key_count - 1);
    /* What is encrypted, to be unwrapped, is no secret. */
    made->is_known = made->is_known || is_constant(made);
    made->hidden_len = hidden_len(taking, made);
    made->is_given = step->kind == STEP_COPY ? used_key(taking)->is_given : is_listed_data(step);
    if (made->is_data || (made->of_target && (made->flags & FLAG_BIT(FLAG_DERIVE)) != 0))
        made->is_unused = false; /* it tells by being there */
    if (step->kind == STEP_DERIVE && shape_of(step)->is_guess && made->of_target)
        world->hit = "a derivation answers whether a guess is the derived key";
}

/* The step is of a kind that gives out bytes. */
static void add_output(struct taking *taking)
{
    struct world *world = taking->world;
    const struct step *step = taking->step;
    const struct way *way = way_of(step);
    enum fact_kind kind = step->kind == STEP_WRAP ? FACT_BLOB : FACT_OUTPUT;
    size_t of = step->kind == STEP_WRAP ? step->other : step->key;

    struct fact *fact =
        world_add_fact(world, kind, of, taking->term, (struct view){taking->out, taking->out_len});
    memcpy(fact->iv, taking->call.iv, ATTACK_IV_LEN);
    if (step->kind == STEP_ENCRYPT && way->type == CKM_AES_GCM)
        world_add_fact(world, FACT_GCM, step->key, world->keys[step->key].term,
                       (struct view){NULL, 0});
    if (!used_key(taking)->of_target)
        return;
    if (way->form == FORM_SHORT_MAC && taking->out_len < MAC_FLOOR)
        world->hit = "MACs are verified that 256 tries find";
    if (way->form == FORM_GCM_SHORT_TAG && taking->out_len < ATTACK_ZEROS_LEN + TAG_FLOOR)
        world->hit = "tags are verified that 2^32 tries find";
}

static void mark_used(struct world *world, const struct step *step)
{
    for (size_t i = 0; i < world->key_count; i++)
        if (uses(step, i))
            world->keys[i].is_unused = false;
    world->has_touched = world->has_touched || touches(world, step);
    world->has_observed = world->has_observed || observes(step);
    if (step->kind != STEP_SET)
        return;
    world->keys[step->key].is_unused = true;
    world->has_touched = false;
    world->has_observed = false;
}

static void prepare(struct taking *taking)
{
    const struct step *step = taking->step;

    if (kinds[step->kind].has_key)
        taking->key = used_key(taking)->handle;
    if (kinds[step->kind].ways != &no_ways)
        way_prepare(way_of(step),
                    second_of(step) == SECOND_KEY ? other_key(taking)->handle : CK_INVALID_HANDLE,
                    &taking->call);
    if (second_of(step) == SECOND_BLOB)
        memcpy(taking->call.iv, taking->world->facts[step->other].iv, ATTACK_IV_LEN);
    if (kinds[step->kind].shapes != &no_shapes)
        shape_fill(shape_of(step), &taking->template);
}

static CK_RV take(struct taking *taking, CK_OBJECT_HANDLE *ret_handle)
{
    switch (taking->step->kind) {
    case STEP_SET:
        return taking->p11->C_SetAttributeValue(
            taking->session, taking->key, taking->template.attributes, taking->template.count);
    case STEP_UNWRAP:
        return unwrap_key(taking, ret_handle);
    case STEP_WRAP:
        return wrap_key(taking);
    case STEP_ENCRYPT:
    case STEP_DECRYPT:
    case STEP_SIGN:
        return observe(taking);
    default:
        return make_key(taking, ret_handle);
    }
}

void step_leave_out(struct world *world, const struct step *step)
{
    if (kinds[step->kind].makes_key)
        world_add_key(world, CK_INVALID_HANDLE, 0);
}

bool step_take(struct world *world, const struct step *step)
{
    struct taking taking = {.world = world, .step = step, .out_len = OUTPUT_MAX};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;

    taking.p11 = world->api->p11;
    taking.session = world->api->session;
    taking.term = term_of(world, step);
    prepare(&taking);
    if (step->kind == STEP_DERIVE && shape_of(step)->is_guess && add_guess(&taking) != CKR_OK)
        return false;
    if (take(&taking, &handle) != CKR_OK)
        return false;
    mark_used(world, step);
    if (kinds[step->kind].makes_key)
        add_made(&taking, handle);
    else if (step->kind != STEP_SET)
        add_output(&taking);
    /* Copies of a key share its family: a step with one may show at the others. */
    for (size_t i = 0; i < world->key_count; i++)
        world_look(world, i);
    return true;
}
