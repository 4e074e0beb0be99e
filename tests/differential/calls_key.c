/* Keys generated and derived. */
#include <string.h>

#include "tests/differential/templates.h"

/* A role that suits keys of the type. */
static enum role role_of_type(struct run *run, CK_KEY_TYPE type)
{
    static const enum role aes[] = {ROLE_CMAC, ROLE_ECB,  ROLE_CBC,      ROLE_CTR,
                                    ROLE_GCM,  ROLE_WRAP, ROLE_AES_BASE, ROLE_PAYLOAD};
    static const enum role generic[] = {ROLE_HMAC, ROLE_GENERIC_BASE, ROLE_PAYLOAD};

    if (type == CKK_AES)
        return aes[prng_below(&run->prng, 8)];
    return type == CKK_GENERIC_SECRET ? generic[prng_below(&run->prng, 3)] : ROLE_HMAC;
}

static void generate(struct run *run, const struct session *session, const struct spec *spec)
{
    struct call call = run_call(CALL_GenerateKey, session);
    CK_MECHANISM mechanism = {spec->type, NULL, 0};
    struct template template = {0};
    struct object object;
    struct answer answers[SIDES];

    object_choose(&object, role_of_type(run, spec->key_type), ORIGIN_GENERATED, &run->prng);
    object.type = spec->key_type;
    object.owner = session;
    call.subject = spec->subject;
    call.comparison = COMPARE_NOTHING;
    call.mechanism[OURS] = call.mechanism[THEIRS] = &mechanism;
    if (spec->key_type == CKK_AES)
        object.len = 16 + 8 * prng_below(&run->prng, 3);
    else if (object.role == ROLE_HMAC)
        object.len = 64;
    if (prng_percent(&run->prng, 3)) {
        object.len = 1 + prng_below(&run->prng, 13);
        call.variant = "short";
    }
    if (prng_percent(&run->prng, 96))
        template_number(&template, CKA_VALUE_LEN, object.len);
    else
        call.variant = "no length";
    if (prng_percent(&run->prng, 4)) {
        template_number(&template, CKA_KEY_TYPE, CKK_DES3);
        call.variant = "another type of key";
    }
    template_key(&template, &object, &run->prng);
    template_attach(&template, &call);
    if (run_exchange(run, &call, answers) != STEP_OK)
        return;
    run_note_mechanism(run, spec);
    key_add(run, &object, answers);
}

void generate_step(struct run *run)
{
    struct session *session = run_session(run);
    const struct spec *spec = run_spec(run, COMMON_GENERATE);

    if (session != NULL && spec != NULL)
        generate(run, session, spec);
}

static CK_ULONG derived_len(struct run *run, const struct spec *spec,
                            const struct parameters *parameters)
{
    CK_ULONG wanted = 16 + prng_below(&run->prng, 49);

    if (spec->shape == SHAPE_ECB_DATA || spec->shape == SHAPE_CBC_DATA)
        return 16 + prng_below(&run->prng, parameters->extra_len - 15);
    return wanted;
}

/* HKDF without expansion gives one block of the hash. */
static bool has_free_len(const struct spec *spec, const struct parameters *parameters)
{
    return spec->shape != SHAPE_STRING && spec->shape != SHAPE_KEY &&
           (spec->shape != SHAPE_HKDF || parameters->expand);
}

/* As sensitive as its base, or refused by the policy rule of that name. What holds the base's bytes
 * gets no use that the base has not: copies-keep-roles. */
static void choose_derived(struct run *run, const struct spec *spec, const struct object *base,
                           struct object *derived)
{
    bool copies = spec->shape == SHAPE_STRING || spec->shape == SHAPE_KEY;
    bool signs = !copies && prng_percent(&run->prng, 50);

    object_choose(derived, signs ? ROLE_HMAC : ROLE_PAYLOAD, ORIGIN_DERIVED, &run->prng);
    derived->type = CKK_GENERIC_SECRET;
    derived->known = base->known;
    if (spec->type == CKM_HKDF_DATA) {
        derived->role = ROLE_DATA;
        derived->sensitive = false;
        derived->extractable = true;
        return;
    }
    if (prng_percent(&run->prng, 3))
        return;
    derived->sensitive = derived->sensitive || base->sensitive;
    derived->extractable = derived->extractable && base->extractable;
}

static struct object *second_key(struct run *run, const struct spec *spec)
{
    if (spec->shape == SHAPE_KEY)
        return key_for(run, ROLE_GENERIC_BASE);
    if (spec->shape == SHAPE_HKDF && prng_percent(&run->prng, 15))
        return key_for(run, ROLE_HKDF_BASE);
    return NULL;
}

/* What the derivation starts from. */
struct derivation {
    struct session *session;
    const struct spec *spec;
    struct object *base;
    struct parameters parameters;
    const char *variant;
};

static const char *spoil_derivation(struct run *run, struct derivation *derivation,
                                    struct call *call)
{
    if (prng_percent(&run->prng, 60))
        return parameters_spoil(derivation->spec, &run->prng, &derivation->parameters);
    if (prng_percent(&run->prng, 50)) {
        call->object[OURS] = call->object[THEIRS] = 0x7fffffff;
        return "wrong key handle";
    }
    struct object *other = run_object(run, NULL);
    if (other == NULL || other->role == derivation->base->role || other->role == ROLE_DATA ||
        !other->known)
        return "";
    memcpy(call->object, other->handle, sizeof(call->object));
    return other->type == derivation->base->type ? "key of another use" : "wrong type of key";
}

/* RFC 5869, 2.3. */
static bool is_too_short_to_expand(const struct derivation *derivation)
{
    const struct parameters *parameters = &derivation->parameters;

    for (size_t i = 0; derivation->spec->shape == SHAPE_HKDF && i < specs_count; i++)
        if (specs[i].type == parameters->hash)
            return !parameters->extract && derivation->base->len < specs[i].len;
    return false;
}

/* Policy rule no-truncation. */
static bool shortens_guarded_base(const struct derivation *derivation)
{
    return derivation->spec->type == CKM_XOR_BASE_AND_DATA &&
           !object_is_readable(derivation->base) &&
           derivation->parameters.extra_len < derivation->base->len;
}

static const char *derive_variant(const struct derivation *derivation, const struct object *derived)
{
    const struct object *base = derivation->base;

    if (derived->role == ROLE_DATA && !object_is_readable(base))
        return "data from a key that is not readable";
    if (derived->role != ROLE_DATA &&
        ((base->sensitive && !derived->sensitive) || (!base->extractable && derived->extractable)))
        return "less sensitive than its base";
    if (is_too_short_to_expand(derivation))
        return "too short to expand";
    if (shortens_guarded_base(derivation))
        return "shorter than its base";
    return derivation->variant;
}

static void derived_template(struct template *template, const struct derivation *derivation,
                             const struct object *derived, struct prng *prng)
{
    template_number(template, CKA_CLASS, derived->role == ROLE_DATA ? CKO_DATA : CKO_SECRET_KEY);
    if (derived->role != ROLE_DATA)
        template_number(template, CKA_KEY_TYPE, derived->type);
    if (has_free_len(derivation->spec, &derivation->parameters))
        template_number(template, CKA_VALUE_LEN, derived->len);
    template_key(template, derived, prng);
}

static void derive(struct run *run, struct derivation *derivation)
{
    const struct spec *spec = derivation->spec;
    struct call call = run_call(CALL_DeriveKey, derivation->session);
    struct mechanism_room rooms[SIDES];
    struct template template = {0};
    struct answer answers[SIDES];
    struct object derived;

    call.subject = spec->subject;
    call.comparison = COMPARE_NOTHING;
    memcpy(call.object, derivation->base->handle, sizeof(call.object));
    choose_derived(run, spec, derivation->base, &derived);
    derived.owner = derivation->session;
    /* What the mechanism alone decides is not followed here: 0. */
    derived.len = has_free_len(spec, &derivation->parameters)
                      ? derived_len(run, spec, &derivation->parameters)
                      : 0;
    call.variant = derive_variant(derivation, &derived);
    derived_template(&template, derivation, &derived, &run->prng);
    template_attach(&template, &call);
    if (call.variant[0] == '\0' && prng_percent(&run->prng, 10))
        call.variant = spoil_derivation(run, derivation, &call);
    for (int side = 0; side < SIDES; side++) {
        parameters_fill(spec, &derivation->parameters, (enum side) side, &rooms[side]);
        call.mechanism[side] = &rooms[side].mechanism;
    }
    if (run_exchange(run, &call, answers) != STEP_OK)
        return;
    run_note_mechanism(run, spec);
    key_read_value(run, derivation->session, key_add(run, &derived, answers));
}

void derive_step(struct run *run)
{
    struct derivation derivation = {.spec = run_spec(run, COMMON_DERIVE), .variant = ""};

    if (derivation.spec == NULL)
        return;
    derivation.base = key_for(run, derivation.spec->role);
    struct object *second = second_key(run, derivation.spec);
    derivation.session = run_session(run);
    if (derivation.session == NULL || derivation.base == NULL || !derivation.base->used ||
        (derivation.spec->shape == SHAPE_KEY && second == NULL))
        return;
    parameters_make(derivation.spec, &run->prng, &derivation.parameters);
    if (second != NULL) {
        memcpy(derivation.parameters.key, second->handle, sizeof(second->handle));
        if (!second->known)
            return;
        if (!object_is_readable(second))
            derivation.variant = "second key not readable";
    }
    derive(run, &derivation);
}
