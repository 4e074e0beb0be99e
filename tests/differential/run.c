#include "tests/differential/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct call run_call(enum function function, const struct session *session)
{
    struct call call = {
        .function = function, .subject = "", .variant = "", .comparison = COMPARE_BYTES};

    for (int side = 0; session != NULL && side < SIDES; side++)
        call.session[side] = session->handle[side];
    return call;
}

static void print_bytes(const char *what, const unsigned char *bytes, CK_ULONG len)
{
    printf(" %s[%lu]", what, len);
    for (CK_ULONG i = 0; bytes != NULL && i < len && i < 16; i++)
        printf("%s%02x", i == 0 ? "=" : "", bytes[i]);
    printf("%s", bytes == NULL ? "=NULL" : len > 16 ? "…" : "");
}

static void trace_template(const struct call *call)
{
    for (CK_ULONG i = 0; i < call->template_count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "0x%lx", call->template[i].type);
        print_bytes(name, call->template[i].pValue, call->template[i].ulValueLen);
    }
    for (CK_ULONG i = 0; i < call->type_count; i++)
        printf(" 0x%lx", call->types[i]);
}

static void trace(const struct run *run, const struct call *call,
                  const struct answer answers[SIDES])
{
    const char *names[SIDES] = {"ours", peer_names[run->peer]};

    printf("%3lu %s", run->calls, call_name(call->function));
    if (call->subject[0] != '\0')
        printf(" [%s]", call->subject);
    if (call->variant[0] != '\0')
        printf(" (%s)", call->variant);
    printf(" session %lu/%lu object %lu/%lu number 0x%lx", call->session[OURS],
           call->session[THEIRS], call->object[OURS], call->object[THEIRS], call->number);
    if (call->mechanism[OURS] != NULL)
        printf(" mechanism 0x%lx", call->mechanism[OURS]->mechanism);
    print_bytes("in", call->in[OURS].bytes, call->in[OURS].len);
    trace_template(call);
    printf(" room %lu%s\n", call->room, call->no_out ? " (query)" : "");
    for (int side = 0; side < SIDES; side++) {
        const struct answer *answer = &answers[side];
        bool shows = answer->rv == CKR_OK && call->room > 0 && !call->no_out;
        printf("      %-8s %s, handle %lu,", names[side], code_name(answer->rv), answer->handle);
        print_bytes("out", shows ? answer->out : NULL, answer->len);
        printf("\n");
    }
}

/* Lengths are told with CKR_OK and CKR_BUFFER_TOO_SMALL. */
static bool lengths_differ(const struct call *call, const struct answer answers[SIDES])
{
    if (call->comparison == COMPARE_NOTHING || call->no_len)
        return false;
    if (call->comparison == COMPARE_ATTRIBUTES)
        return memcmp(answers[OURS].lens, answers[THEIRS].lens, sizeof(answers[OURS].lens)) != 0;
    return (answers[OURS].rv == CKR_OK || answers[OURS].rv == CKR_BUFFER_TOO_SMALL) &&
           answers[OURS].len != answers[THEIRS].len;
}

static bool attributes_differ(const struct call *call, const struct answer answers[SIDES])
{
    for (CK_ULONG i = 0; i < call->type_count; i++) {
        CK_ULONG len = answers[OURS].lens[i];
        if (len <= ATTRIBUTE_ROOM && memcmp(answers[OURS].out + i * ATTRIBUTE_ROOM,
                                            answers[THEIRS].out + i * ATTRIBUTE_ROOM, len) != 0)
            return true;
    }
    return false;
}

static bool bytes_differ(const struct call *call, const struct answer answers[SIDES])
{
    CK_ULONG len = answers[OURS].len;

    if (call->no_out)
        return false;
    if (call->comparison == COMPARE_ATTRIBUTES)
        return attributes_differ(call, answers);
    return call->comparison == COMPARE_BYTES && answers[OURS].rv == CKR_OK && len <= OUT_ROOM &&
           memcmp(answers[OURS].out, answers[THEIRS].out, len) != 0;
}

static bool differ(const struct call *call, const struct answer answers[SIDES],
                   struct finding *finding)
{
    finding->ours = answers[OURS].rv;
    finding->theirs = answers[THEIRS].rv;
    if (finding->ours != finding->theirs)
        finding->what = WHAT_CODE;
    else if (lengths_differ(call, answers))
        finding->what = WHAT_LENGTH;
    else if (bytes_differ(call, answers))
        finding->what = WHAT_BYTES;
    else
        return false;
    return true;
}

/* Handles of one side, for what is undone on one side only. */
static void undo(const struct run *run, const struct call *call, const struct answer answers[SIDES],
                 enum side side)
{
    CK_FUNCTION_LIST *p11 = run->modules[side]->p11;

    if (call_resync(call->function) == RESYNC_HANDLE)
        p11->C_CloseSession(answers[side].handle);
    else
        p11->C_DestroyObject(run->modules[side]->anchor, answers[side].handle);
}

static void resync_session(struct run *run, const struct call *call)
{
    for (int i = 0; i < SESSIONS_MAX; i++) {
        struct session *session = &run->sessions[i];
        if (session->open && session->handle[OURS] == call->session[OURS])
            run_forget_session(run, session);
    }
    for (int side = 0; side < SIDES; side++)
        run->modules[side]->p11->C_CloseSession(call->session[side]);
}

static void resync_target(struct run *run, const struct call *call)
{
    for (int i = 0; i < OBJECTS_MAX; i++)
        if (run->objects[i].used && run->objects[i].handle[OURS] == call->object[OURS])
            run_forget_object(&run->objects[i]);
    for (int side = 0; side < SIDES; side++)
        run->modules[side]->p11->C_DestroyObject(run->modules[side]->anchor, call->object[side]);
}

static void resync(struct run *run, const struct call *call, const struct answer answers[SIDES])
{
    bool one_did = (answers[OURS].rv == CKR_OK) != (answers[THEIRS].rv == CKR_OK);

    switch (call_resync(call->function)) {
    case RESYNC_HANDLE:
    case RESYNC_NEW_OBJECT:
        for (int side = 0; side < SIDES; side++)
            if (answers[side].rv == CKR_OK)
                undo(run, call, answers, (enum side) side);
        break;
    case RESYNC_TARGET:
        if (one_did)
            resync_target(run, call);
        break;
    case RESYNC_SESSION:
        resync_session(run, call);
        break;
    case RESYNC_BEGIN:
        if (one_did || answers[THEIRS].rv == CKR_OPERATION_ACTIVE)
            resync_session(run, call);
        break;
    case RESYNC_END:
        run->ended = run->ended || one_did;
        break;
    default:
        break;
    }
}

static void run_both(struct run *run, const struct call *call, struct answer answers[SIDES])
{
    struct report *report = run->report;

    for (int side = 0; side < SIDES; side++) {
        report->side = (enum side) side;
        report->calling = true;
        bool within = call_run(call, (enum side) side, run->modules[side], &answers[side]);
        report->calling = false;
        if (!within && side == OURS) {
            printf("ours wrote behind the room that it was told, sequence %lu\n", run->sequence);
            fflush(stdout);
            abort();
        }
    }
}

enum step run_exchange(struct run *run, const struct call *call, struct answer answers[SIDES])
{
    struct report *report = run->report;
    struct finding finding = {.peer = run->peer,
                              .function = call->function,
                              .subject = call->subject,
                              .variant = call->variant};

    report->current = finding;
    run->calls++;
    run_both(run, call, answers);
    if (run->trace)
        trace(run, call, answers);
    report->calls++;
    report->codes[call->function][code_place(answers[OURS].rv)]++;
    if (answers[OURS].rv == CKR_OK)
        report->ok++;
    if (call_resync(call->function) == RESYNC_NEW_OBJECT && answers[THEIRS].rv != CKR_OK)
        run->refused = true;
    if (!differ(call, answers, &finding))
        return answers[OURS].rv == CKR_OK ? STEP_OK : STEP_REFUSED;
    if (run->trace)
        printf("      DIFFERENT\n");
    report_difference(report, &finding, run->sequence);
    /* A length that was told, and nothing else done; NSS does more. */
    if (run->peer == PEER_SOFTHSM && finding.what == WHAT_LENGTH &&
        (call->no_out || finding.ours == CKR_BUFFER_TOO_SMALL))
        return finding.ours == CKR_OK ? STEP_OK : STEP_REFUSED;
    resync(run, call, answers);
    return STEP_APART;
}

struct session *run_session(struct run *run)
{
    unsigned long first = prng_below(&run->prng, SESSIONS_MAX);

    for (unsigned long i = 0; i < SESSIONS_MAX; i++) {
        struct session *session = &run->sessions[(first + i) % SESSIONS_MAX];
        if (session->open)
            return session;
    }
    return NULL;
}

struct object *run_object(struct run *run, bool (*fits)(const struct object *object))
{
    unsigned long first = prng_below(&run->prng, OBJECTS_MAX);

    for (unsigned long i = 0; i < OBJECTS_MAX; i++) {
        struct object *object = &run->objects[(first + i) % OBJECTS_MAX];
        if (object->used && (fits == NULL || fits(object)))
            return object;
    }
    return NULL;
}

void run_forget_object(struct object *object)
{
    object->used = false;
    object->serial = 0;
}

/* A full table loses its oldest session object, on both sides too. */
static struct object *free_object(struct run *run)
{
    struct object *oldest = NULL;

    for (int i = 0; i < OBJECTS_MAX; i++) {
        struct object *object = &run->objects[i];
        if (!object->used)
            return object;
        if (oldest == NULL || object->serial < oldest->serial)
            oldest = object;
    }
    for (int side = 0; side < SIDES; side++)
        run->modules[side]->p11->C_DestroyObject(run->modules[side]->anchor, oldest->handle[side]);
    return oldest;
}

struct object *run_add_object(struct run *run, const struct object *object)
{
    struct object *place = free_object(run);

    *place = *object;
    place->used = true;
    place->serial = ++run->serial;
    return place;
}

struct message *run_add_message(struct run *run, const struct message *message)
{
    struct message *place = &run->messages[prng_below(&run->prng, MESSAGES_MAX)];

    *place = *message;
    place->used = true;
    return place;
}

struct message *run_message(struct run *run, CK_FLAGS use)
{
    unsigned long first = prng_below(&run->prng, MESSAGES_MAX);

    for (unsigned long i = 0; i < MESSAGES_MAX; i++) {
        struct message *message = &run->messages[(first + i) % MESSAGES_MAX];
        if (message->used && message->spec->use == use && message->key->used &&
            message->key->serial == message->key_serial)
            return message;
    }
    return NULL;
}

void run_forget_session(struct run *run, struct session *session)
{
    for (int i = 0; i < OBJECTS_MAX; i++)
        if (run->objects[i].used && run->objects[i].owner == session)
            run_forget_object(&run->objects[i]);
    memset(session, 0, sizeof(*session));
}

const struct spec *run_spec(struct run *run, int common)
{
    const struct common *list = &run->common[common];

    return list->count == 0 ? NULL : list->specs[prng_below(&run->prng, list->count)];
}

void run_note_mechanism(struct run *run, const struct spec *spec)
{
    run->report->mechanisms[spec - specs]++;
}
