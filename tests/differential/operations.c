#include "tests/differential/operations.h"

#include <string.h>

static const enum function inits[KINDS] = {
    [KIND_ENCRYPT] = CALL_EncryptInit, [KIND_DECRYPT] = CALL_DecryptInit,
    [KIND_DIGEST] = CALL_DigestInit,   [KIND_SIGN] = CALL_SignInit,
    [KIND_VERIFY] = CALL_VerifyInit,
};

/* A key of another role than the mechanism wants. */
static const char *swap_key(struct run *run, struct message *message, struct call *call)
{
    static const char *const variants[] = {"wrong type of key", "key of another use"};
    struct object *object = run_object(run, NULL);

    if (object == NULL || object->role == message->key->role || object->role == ROLE_DATA ||
        !object->known)
        return "";
    message->tampered = message->sealed_len > 0;
    memcpy(call->object, object->handle, sizeof(call->object));
    bool same_type = object->type == message->key->type;
    message->key = object;
    message->key_serial = object->serial;
    return variants[same_type];
}

static void spoil_start(struct run *run, struct message *message, struct call *call)
{
    switch (prng_below(&run->prng, message->key == NULL ? 2 : 6)) {
    case 0:
        spoil_session(run, call);
        break;
    case 1:
    case 2:
    case 3:
        call->variant = parameters_spoil(message->spec, &run->prng, &message->parameters);
        break;
    case 4:
        call->object[OURS] = call->object[THEIRS] = 0x7fffffff;
        call->variant = "wrong key handle";
        break;
    default:
        call->variant = swap_key(run, message, call);
        break;
    }
}

static bool other_is_active(const struct session *session, enum operation_kind kind)
{
    for (int other = 0; other < KINDS; other++)
        if (other != (int) kind && (session->operations[other].active || session->failed[other]))
            return true;
    return false;
}

bool operation_is_hindered(struct run *run, const struct session *session, enum operation_kind kind)
{
    return other_is_active(session, kind) && prng_percent(&run->prng, 85);
}

bool operation_lost_its_key(const struct operation *operation)
{
    const struct message *message = &operation->message;

    return message->key != NULL && message->key->serial != message->key_serial;
}

/* What is unusual without our doing; NULL: nothing. */
static const char *circumstance(const struct session *session, enum operation_kind kind,
                                const struct message *message)
{
    const struct operation *operation = &session->operations[kind];
    const struct object *key = message->key;

    if (operation->active)
        return operation_lost_its_key(operation) ? "key destroyed" : "active";
    if (session->failed[kind])
        return "after an error";
    if (other_is_active(session, kind))
        return "another operation active";
    if (key == NULL)
        return NULL;
    if (message->spec->role == ROLE_HMAC && key->type == CKK_SHA256_HMAC &&
        message->spec->key_type != CKK_SHA256_HMAC)
        return "key of another hash";
    if (message->spec->role == ROLE_HMAC && key->len < message->spec->len)
        return "short key";
    return NULL;
}

bool operation_start(struct run *run, struct session *session, enum operation_kind kind,
                     const struct message *wanted)
{
    struct message message = *wanted;
    struct call call = run_call(inits[kind], session);
    const char *unusual = circumstance(session, kind, wanted);
    struct mechanism_room rooms[SIDES];
    struct answer answers[SIDES];

    call.subject = message.spec->subject;
    call.comparison = COMPARE_NOTHING;
    if (message.key != NULL)
        memcpy(call.object, message.key->handle, sizeof(call.object));
    if (unusual != NULL)
        call.variant = unusual;
    else if (prng_percent(&run->prng, 7))
        spoil_start(run, &message, &call);
    for (int side = 0; side < SIDES; side++) {
        const struct spec *spec = side == OURS ? message.spec : spec_of_peer(message.spec);
        parameters_fill(spec, &message.parameters, (enum side) side, &rooms[side]);
        call.mechanism[side] = &rooms[side].mechanism;
    }
    enum step step = run_exchange(run, &call, answers);
    if (session->operations[kind].active || step != STEP_OK)
        return false;
    run_note_mechanism(run, message.spec);
    if (message.key != NULL) /* a key belongs to the family of its first use */
        message.key->role = message.spec->role;
    session->failed[kind] = false;
    session->operations[kind] = (struct operation){.active = true, .message = message};
    return true;
}

void operation_failed(struct session *session, enum operation_kind kind)
{
    operation_done(&session->operations[kind]);
    session->failed[kind] = true;
}

bool operation_output(struct run *run, struct call *call, CK_ULONG needed)
{
    call->room = OUT_ROOM;
    if (prng_percent(&run->prng, 85))
        return false;
    if (prng_percent(&run->prng, 60)) {
        call->no_out = true;
        call->room = 0;
        call->variant = "size query";
        return false;
    }
    if (needed == 0 || prng_percent(&run->prng, 40)) {
        call->room = needed;
        call->variant = "exact buffer";
        return true;
    }
    call->room = prng_below(&run->prng, needed);
    call->variant = "small buffer";
    return false;
}

void operation_done(struct operation *operation)
{
    memset(operation, 0, sizeof(*operation));
}

bool operation_message(struct run *run, int common, struct message *ret_message)
{
    const struct spec *spec = run_spec(run, common);

    memset(ret_message, 0, sizeof(*ret_message));
    if (spec == NULL)
        return false;
    ret_message->spec = spec;
    if (spec->role != ROLE_NONE) {
        ret_message->key = key_for(run, spec->role);
        if (ret_message->key == NULL)
            return false;
        ret_message->key_serial = ret_message->key->serial;
    }
    parameters_make(spec, &run->prng, &ret_message->parameters);
    ret_message->text_len = prng_below(&run->prng, 200);
    if ((spec->shape == SHAPE_IV || spec->role == ROLE_ECB) && prng_percent(&run->prng, 94))
        ret_message->text_len -= ret_message->text_len % 16;
    prng_bytes(&run->prng, ret_message->text, ret_message->text_len);
    return true;
}

CK_ULONG operation_part(struct run *run, const struct operation *operation, CK_ULONG total)
{
    CK_ULONG left = total - operation->fed;
    CK_ULONG part = prng_below(&run->prng, 80);

    /* NSS takes whole blocks in CBC and ECB. */
    if (run->peer == PEER_NSS && prng_percent(&run->prng, 90))
        part -= part % 16;
    return part > left || prng_percent(&run->prng, 30) ? left : part;
}
