/* Digests. */
#include <string.h>

#include "tests/differential/operations.h"

/* Only a readable key is digested. */
static const char *kind_of_key(const struct object *key)
{
    if (key->role == ROLE_DATA)
        return "data";
    return object_is_readable(key) ? "readable key" : "unreadable key";
}

static struct call digest_call(struct session *session, enum function function)
{
    struct call call = run_call(function, session);
    const struct operation *operation = &session->operations[KIND_DIGEST];

    call.subject = "digest";
    if (operation->message.key != NULL) /* an unknown key's value has gone in */
        call.comparison = COMPARE_LENGTH;
    return call;
}

static void result(struct run *run, struct session *session, enum function function)
{
    struct operation *operation = &session->operations[KIND_DIGEST];
    struct call call = digest_call(session, function);
    struct answer answers[SIDES];

    for (int side = 0; function == CALL_Digest && side < SIDES; side++)
        call.in[side] = (struct bytes){operation->message.text, operation->message.text_len};
    operation_output(run, &call, operation->message.spec->len);
    if (function == CALL_Digest && operation->parts) {
        call.variant = "after parts";
        call.no_out = false;
        call.room = OUT_ROOM;
    }
    enum step step = run_exchange(run, &call, answers);
    if (step == STEP_OK && !call.no_out)
        operation_done(operation);
    else if (step == STEP_REFUSED && answers[OURS].rv != CKR_BUFFER_TOO_SMALL)
        operation_failed(session, KIND_DIGEST);
}

static void update(struct run *run, struct session *session)
{
    struct operation *operation = &session->operations[KIND_DIGEST];
    struct call call = digest_call(session, CALL_DigestUpdate);
    CK_ULONG len = operation_part(run, operation, operation->message.text_len);
    struct answer answers[SIDES];

    for (int side = 0; side < SIDES; side++)
        call.in[side] = (struct bytes){operation->message.text + operation->fed, len};
    if (len == 0)
        call.variant = "no input";
    enum step step = run_exchange(run, &call, answers);
    if (step == STEP_REFUSED)
        operation_failed(session, KIND_DIGEST);
    if (step != STEP_OK)
        return;
    operation->parts = true;
    operation->fed += len;
}

static void digest_key(struct run *run, struct session *session)
{
    struct operation *operation = &session->operations[KIND_DIGEST];
    struct object *key = run_object(run, NULL);
    struct call call = digest_call(session, CALL_DigestKey);
    struct answer answers[SIDES];

    if (key == NULL)
        return;
    memcpy(call.object, key->handle, sizeof(call.object));
    call.subject = kind_of_key(key);
    enum step step = run_exchange(run, &call, answers);
    if (step == STEP_REFUSED)
        operation_failed(session, KIND_DIGEST);
    if (step != STEP_OK)
        return;
    operation->parts = true;
    if (!key->known)
        operation->message.key = key;
}

static void begin(struct run *run, struct session *session)
{
    struct message message;

    if (operation_message(run, COMMON_DIGEST, &message))
        operation_start(run, session, KIND_DIGEST, &message);
}

static void go_on(struct run *run, struct session *session)
{
    struct operation *operation = &session->operations[KIND_DIGEST];

    if (prng_percent(&run->prng, 4))
        begin(run, session);
    else if (prng_percent(&run->prng, 6))
        digest_key(run, session);
    else if (operation->parts ? prng_percent(&run->prng, 3) : prng_percent(&run->prng, 50))
        result(run, session, CALL_Digest);
    else if (operation->fed < operation->message.text_len)
        update(run, session);
    else
        result(run, session, CALL_DigestFinal);
}

void digest_step(struct run *run)
{
    static const enum function functions[] = {CALL_Digest, CALL_DigestUpdate, CALL_DigestFinal};
    struct session *session = run_session(run);
    struct answer answers[SIDES];

    if (session == NULL)
        return;
    struct operation *operation = &session->operations[KIND_DIGEST];
    if (operation_is_hindered(run, session, KIND_DIGEST))
        return;
    if (!operation->active && prng_percent(&run->prng, 5)) {
        struct call call = run_call(functions[prng_below(&run->prng, 3)], session);
        call.variant = session->failed[KIND_DIGEST] ? "after an error" : "not begun";
        call.room = OUT_ROOM;
        for (int side = 0; side < SIDES; side++)
            call.in[side] = (struct bytes){(const unsigned char *) "text", 4};
        run_exchange(run, &call, answers);
        return;
    }
    if (!operation->active)
        begin(run, session);
    for (int i = 0; i < 3 && operation->active && !run->ended; i++)
        go_on(run, session);
}
