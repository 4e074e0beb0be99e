/* Keys wrapped and unwrapped. */
#include <string.h>

#include "tests/differential/templates.h"

static bool can_be_wrapped(const struct object *object)
{
    return object->role == ROLE_PAYLOAD && object->known && object->len > 0;
}

/* AES has no more than 256 bits to protect with. */
static CK_ULONG strength(const struct object *key)
{
    return key->len < 32 ? key->len : 32;
}

static const char *wrap_variant(const struct spec *spec, const struct object *key,
                                const struct object *payload)
{
    if (!payload->extractable)
        return "unextractable";
    if (strength(payload) > strength(key))
        return "stronger than its wrapping key";
    if (spec->type == CKM_AES_KEY_WRAP && payload->len % 8 != 0)
        return "no whole blocks";
    return "";
}

/* The blob of each side, of a key that both know. */
static void wrap(struct run *run, const struct session *session, const struct spec *spec,
                 struct object *key)
{
    struct call call = run_call(CALL_WrapKey, session);
    CK_MECHANISM mechanism = {spec->type, NULL, 0};
    struct object *payload = run_object(run, can_be_wrapped);
    struct answer answers[SIDES];
    struct message message = {.spec = spec, .key = key, .key_serial = key->serial};

    if (payload == NULL)
        payload = key_for(run, ROLE_PAYLOAD);
    if (payload == NULL || !can_be_wrapped(payload))
        return;
    call.subject = spec->subject;
    call.comparison = COMPARE_LENGTH;
    call.mechanism[OURS] = call.mechanism[THEIRS] = &mechanism;
    call.room = OUT_ROOM;
    memcpy(call.object, key->handle, sizeof(call.object));
    memcpy(call.other, payload->handle, sizeof(call.other));
    call.variant = wrap_variant(spec, key, payload);
    if (call.variant[0] == '\0' && prng_percent(&run->prng, 10)) {
        call.no_out = true;
        call.room = 0;
        call.variant = "size query";
    }
    if (run_exchange(run, &call, answers) != STEP_OK || call.no_out)
        return;
    run_note_mechanism(run, spec);
    message.sealed_len = answers[OURS].len;
    message.text_len = payload->len;
    message.parameters.number = payload->type;
    for (int side = 0; side < SIDES; side++)
        memcpy(message.sealed[side], answers[side].out, message.sealed_len);
    run_add_message(run, &message);
}

/* Its value is sensitive, so it is compared by what it computes. */
static enum role unwrapped_role(struct run *run, CK_KEY_TYPE type)
{
    static const enum role aes[] = {ROLE_CMAC, ROLE_ECB, ROLE_CBC, ROLE_CTR, ROLE_GCM};

    return type == CKK_AES ? aes[prng_below(&run->prng, 5)] : ROLE_HMAC;
}

static void unwrap(struct run *run, const struct session *session, struct message *message)
{
    struct call call = run_call(CALL_UnwrapKey, session);
    CK_MECHANISM mechanism = {message->spec->type, NULL, 0};
    struct template template = {0};
    struct object object;
    struct answer answers[SIDES];

    object_choose(&object, unwrapped_role(run, message->parameters.number), ORIGIN_UNWRAPPED,
                  &run->prng);
    object.sensitive = true;
    if (prng_percent(&run->prng, 5)) {
        object.sensitive = false;
        call.variant = "readable";
    }
    object.type = message->parameters.number;
    object.len = message->text_len;
    object.known = true;
    object.owner = session;
    call.subject = message->spec->subject;
    call.comparison = COMPARE_NOTHING;
    call.mechanism[OURS] = call.mechanism[THEIRS] = &mechanism;
    memcpy(call.object, message->key->handle, sizeof(call.object));
    if (call.variant[0] == '\0' && prng_percent(&run->prng, 12)) {
        call.variant = prng_percent(&run->prng, 50) ? "tampered" : "wrong length";
        message->sealed[OURS][3] ^= 1;
        message->sealed[THEIRS][3] ^= 1;
        if (call.variant[0] == 'w')
            message->sealed_len -= 3;
    }
    for (int side = 0; side < SIDES; side++)
        call.in[side] = (struct bytes){message->sealed[side], message->sealed_len};
    template_number(&template, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&template, CKA_KEY_TYPE, object.type);
    template_key(&template, &object, &run->prng);
    template_attach(&template, &call);
    if (run_exchange(run, &call, answers) != STEP_OK)
        return;
    run_note_mechanism(run, message->spec);
    key_add(run, &object, answers);
}

static bool is_wrapping_key(const struct object *object)
{
    return object->role == ROLE_WRAP && !object->known;
}

static void generate_wrapping_key(struct run *run, const struct session *session)
{
    static const CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    struct call call = run_call(CALL_GenerateKey, session);
    struct template template = {0};
    struct object object;
    struct answer answers[SIDES];

    object_choose(&object, ROLE_WRAP, ORIGIN_GENERATED, &run->prng);
    object.owner = session;
    call.subject = "AES";
    call.comparison = COMPARE_NOTHING;
    call.mechanism[OURS] = call.mechanism[THEIRS] = &mechanism;
    template_number(&template, CKA_VALUE_LEN, object.len);
    template_key(&template, &object, &run->prng);
    template_attach(&template, &call);
    if (run_exchange(run, &call, answers) == STEP_OK)
        key_add(run, &object, answers);
}

/* A key that both sides know and may unwrap with. Here no known key may wrap, so the peer's part is
 * made apart. */
struct known_wrapping {
    struct template here;
    struct template peers;
    struct object object;
};

static void known_templates(struct known_wrapping *known, const struct session *session,
                            struct prng *prng)
{
    object_choose(&known->object, ROLE_WRAP, ORIGIN_CREATED, prng);
    known->object.owner = session;
    known->object.known = true;
    known->object.sensitive = false;
    known->object.len = 32;
    prng_bytes(prng, known->here.value, known->object.len);
    struct template *both[] = {&known->here, &known->peers};
    for (int i = 0; i < 2; i++) {
        template_number(both[i], CKA_CLASS, CKO_SECRET_KEY);
        template_number(both[i], CKA_KEY_TYPE, CKK_AES);
        template_bytes(both[i], CKA_VALUE, known->here.value, known->object.len);
    }
    template_key(&known->here, &known->object, prng);
    template_bool(&known->peers, CKA_TOKEN, false);
    template_bool(&known->peers, CKA_WRAP, true);
}

/* Not compared: only the peer can. False: it could not. */
static bool peer_wraps(const struct run *run, struct known_wrapping *known,
                       const struct object *payload, struct message *message)
{
    const struct module *peer = run->modules[THEIRS];
    CK_MECHANISM mechanism = {message->spec->type, NULL, 0};
    CK_OBJECT_HANDLE key;

    if (peer->p11->C_CreateObject(peer->anchor, known->peers.entries, known->peers.count, &key) !=
        CKR_OK)
        return false;
    message->sealed_len = TEXT_MAX;
    CK_RV rv = peer->p11->C_WrapKey(peer->anchor, &mechanism, key, payload->handle[THEIRS],
                                    message->sealed[THEIRS], &message->sealed_len);
    peer->p11->C_DestroyObject(peer->anchor, key);
    memcpy(message->sealed[OURS], message->sealed[THEIRS], sizeof(message->sealed[OURS]));
    return rv == CKR_OK;
}

/* What the peer has wrapped is unwrapped on both sides. */
static void unwrap_peers(struct run *run, struct session *session, const struct spec *spec)
{
    struct object *payload = run_object(run, can_be_wrapped);
    struct call call = run_call(CALL_CreateObject, session);
    struct message message = {.spec = spec};
    struct known_wrapping known = {0};
    struct answer answers[SIDES];

    if (payload == NULL || wrap_variant(spec, payload, payload)[0] != '\0')
        return;
    message.text_len = payload->len;
    message.parameters.number = payload->type;
    known_templates(&known, session, &run->prng);
    if (!peer_wraps(run, &known, payload, &message))
        return;
    call.subject = object_kind(&known.object);
    call.comparison = COMPARE_NOTHING;
    template_attach(&known.here, &call);
    if (run_exchange(run, &call, answers) != STEP_OK)
        return;
    message.key = key_add(run, &known.object, answers);
    message.key_serial = message.key->serial;
    unwrap(run, session, &message);
}

void wrap_step(struct run *run)
{
    const struct spec *spec = run_spec(run, COMMON_WRAP);
    struct session *session = run_session(run);
    struct message *kept = run_message(run, CKF_WRAP);

    if (spec == NULL || session == NULL)
        return;
    if (kept != NULL && prng_percent(&run->prng, 60)) {
        struct message message = *kept;
        unwrap(run, session, &message);
        return;
    }
    if (prng_percent(&run->prng, 50)) {
        unwrap_peers(run, session, spec);
        return;
    }
    struct object *key = run_object(run, is_wrapping_key);
    if (key == NULL) {
        generate_wrapping_key(run, session);
        key = run_object(run, is_wrapping_key);
    }
    if (key != NULL)
        wrap(run, session, spec, key);
}
