/* Attributes read and changed, and objects searched for by them. */
#include <string.h>

#include "tests/differential/templates.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
} attributes[] = {
    {CKA_CLASS, "CLASS"},
    {CKA_TOKEN, "TOKEN"},
    {CKA_PRIVATE, "PRIVATE"},
    {CKA_LABEL, "LABEL"},
    {CKA_MODIFIABLE, "MODIFIABLE"},
    {CKA_KEY_TYPE, "KEY_TYPE"},
    {CKA_ID, "ID"},
    {CKA_SENSITIVE, "SENSITIVE"},
    {CKA_EXTRACTABLE, "EXTRACTABLE"},
    {CKA_ENCRYPT, "ENCRYPT"},
    {CKA_DECRYPT, "DECRYPT"},
    {CKA_SIGN, "SIGN"},
    {CKA_VERIFY, "VERIFY"},
    {CKA_WRAP, "WRAP"},
    {CKA_UNWRAP, "UNWRAP"},
    {CKA_DERIVE, "DERIVE"},
    {CKA_LOCAL, "LOCAL"},
    {CKA_VALUE_LEN, "VALUE_LEN"},
    {CKA_VALUE, "VALUE"},
    {CKA_ALWAYS_SENSITIVE, "ALWAYS_SENSITIVE"},
    {CKA_NEVER_EXTRACTABLE, "NEVER_EXTRACTABLE"},
    {CKA_KEY_GEN_MECHANISM, "KEY_GEN_MECHANISM"},
    {CKA_COPYABLE, "COPYABLE"},
    {CKA_DESTROYABLE, "DESTROYABLE"},
    {CKA_CHECK_VALUE, "CHECK_VALUE"},
    {CKA_START_DATE, "START_DATE"},
    {CKA_TRUSTED, "TRUSTED"},
    {CKA_WRAP_WITH_TRUSTED, "WRAP_WITH_TRUSTED"},
    {CKA_ALLOWED_MECHANISMS, "ALLOWED_MECHANISMS"},
    {CKA_APPLICATION, "APPLICATION"},
    {CKA_OBJECT_ID, "OBJECT_ID"},
    {CKA_UNIQUE_ID, "UNIQUE_ID"},
    {CKA_VENDOR_DEFINED | 0x7777, "unknown"},
};
/* Of every object, and of every key: these answer alike, several in one call. */
#define EVERY_OBJECT 4
#define EVERY_KEY 16

static void get_one(struct run *run, struct call *call, const struct object *object)
{
    unsigned long place = prng_below(&run->prng, COUNT(attributes));

    call->types[0] = attributes[place].type;
    call->type_count = 1;
    call->subject = attributes[place].name;
    call->variant = object->role == ROLE_DATA ? "data" : object->origin;
    if (!object->known && (call->types[0] == CKA_VALUE || call->types[0] == CKA_CHECK_VALUE))
        call->comparison = COMPARE_NOTHING;
}

static void get_several(struct run *run, struct call *call, const struct object *object)
{
    call->subject = "several";
    call->type_count = 1 + prng_below(&run->prng, TYPES_MAX);
    for (CK_ULONG i = 0; i < call->type_count; i++)
        call->types[i] =
            attributes[prng_below(&run->prng, object->role == ROLE_DATA ? EVERY_OBJECT : EVERY_KEY)]
                .type;
}

static void get(struct run *run, const struct session *session, const struct object *object)
{
    struct call call = run_call(CALL_GetAttributeValue, session);
    struct answer answers[SIDES];

    call.comparison = COMPARE_ATTRIBUTES;
    call.room = ATTRIBUTE_ROOM;
    memcpy(call.object, object->handle, sizeof(call.object));
    if (prng_percent(&run->prng, 45))
        get_one(run, &call, object);
    else
        get_several(run, &call, object);
    call.no_out = prng_percent(&run->prng, 15);
    if (prng_percent(&run->prng, 4)) {
        call.object[OURS] = call.object[THEIRS] = 0x7fffffff;
        call.variant = "wrong object";
    } else if (call.type_count == 1 && call.types[0] != CKA_VALUE && prng_percent(&run->prng, 10)) {
        call.room = 0;
        call.variant = "small buffer";
    }
    run_exchange(run, &call, answers);
}

/* What is set, and whether it should be refused. */
static const char *choose_change(struct template *template, struct object *object,
                                 struct call *call, struct prng *prng)
{
    switch (prng_below(prng, 8)) {
    case 0:
    case 1:
    case 2:
        call->subject = "LABEL";
        template_label(template, prng);
        return "";
    case 3:
        call->subject = "SENSITIVE";
        template_bool(template, CKA_SENSITIVE, true);
        if (object->extractable && object_opens_others(object))
            return "extractable opener";
        return object->role == ROLE_DATA ? "data" : "key";
    case 4:
        call->subject = "EXTRACTABLE";
        template_bool(template, CKA_EXTRACTABLE, true);
        return object->role == ROLE_DATA ? "data" : object->extractable ? "as it is" : "to true";
    case 5:
        call->subject = "SIGN";
        template_bool(template, CKA_SIGN, true);
        return object->role == ROLE_DATA                                ? "data"
               : object->role == ROLE_HMAC || object->role == ROLE_CMAC ? "as it is"
                                                                        : "to true";
    case 6:
        call->subject = "KEY_TYPE";
        template_number(template, CKA_KEY_TYPE, CKK_AES);
        return object->role == ROLE_DATA ? "data" : "key";
    default:
        call->subject = "ID";
        template_bytes(template, CKA_ID, "\x01\x02", 1 + prng_below(prng, 2));
        return object->role == ROLE_DATA ? "data" : "key";
    }
}

static void set(struct run *run, const struct session *session, struct object *object)
{
    struct call call = run_call(CALL_SetAttributeValue, session);
    struct template template = {0};
    struct answer answers[SIDES];

    memcpy(call.object, object->handle, sizeof(call.object));
    call.variant = choose_change(&template, object, &call, &run->prng);
    template_attach(&template, &call);
    if (prng_percent(&run->prng, 5)) {
        call.object[OURS] = call.object[THEIRS] = 0x7fffffff;
        call.variant = "wrong object";
    }
    if (run_exchange(run, &call, answers) != STEP_OK)
        return;
    if (template.entries[0].type == CKA_SENSITIVE)
        object->sensitive = true;
}

void attribute_step(struct run *run)
{
    struct session *session = run_session(run);
    struct object *object = run_object(run, NULL);

    if (session == NULL || object == NULL)
        return;
    if (prng_percent(&run->prng, 75))
        get(run, session, object);
    else
        set(run, session, object);
}

/* The objects found by a side, as a set of places in the table. */
static uint32_t places(const struct run *run, const struct answer *answer, enum side side)
{
    uint32_t found = 0;

    for (CK_ULONG i = 0; i < answer->len && i < HANDLES_MAX; i++)
        for (int place = 0; place < OBJECTS_MAX; place++)
            if (run->objects[place].used && run->objects[place].handle[side] == answer->handles[i])
                found |= (uint32_t) 1 << place;
    return found;
}

static bool operations_are_active(const struct session *session)
{
    for (int kind = 0; kind < KINDS; kind++)
        if (session->operations[kind].active || session->failed[kind])
            return true;
    return false;
}

static void choose_search(struct run *run, struct template *template, struct call *call)
{
    bool data = prng_percent(&run->prng, 25);

    call->subject = data ? "data" : "keys";
    template_number(template, CKA_CLASS, data ? CKO_DATA : CKO_SECRET_KEY);
    switch (prng_below(&run->prng, 6)) {
    case 0:
    case 1:
        template_label(template, &run->prng);
        break;
    case 2:
        template_bool(template, data ? CKA_PRIVATE : CKA_SENSITIVE, prng_percent(&run->prng, 50));
        break;
    case 3:
        template_number(template, CKA_KEY_TYPE, CKK_AES);
        break;
    case 4:
        template_bool(template, CKA_TOKEN, prng_percent(&run->prng, 20));
        break;
    default:
        break;
    }
}

/* Two pages; the first small, so that objects of it may come in another order on each side. */
static void search_pages(struct run *run, const struct session *session)
{
    struct call call = run_call(CALL_FindObjects, session);
    struct answer answers[SIDES];
    uint32_t found[SIDES] = {0};
    CK_ULONG maxima[] = {1 + prng_below(&run->prng, 4), HANDLES_MAX};

    for (int page = 0; page < 2; page++) {
        call.number = maxima[page];
        call.variant = run->refused ? "after a refused object" : "";
        call.comparison = COMPARE_LENGTH;
        if (run_exchange(run, &call, answers) != STEP_OK)
            return;
        for (int side = 0; side < SIDES; side++)
            found[side] |= places(run, &answers[side], (enum side) side);
    }
    if (found[OURS] != found[THEIRS])
        report_difference(run->report,
                          &(struct finding){.peer = run->peer,
                                            .function = CALL_FindObjects,
                                            .subject = "set of objects",
                                            .variant = call.variant,
                                            .what = WHAT_BYTES},
                          run->sequence);
}

void search_step(struct run *run)
{
    struct session *session = run_session(run);
    struct template template = {0};
    struct answer answers[SIDES];

    if (session == NULL)
        return;
    struct call call = run_call(CALL_FindObjectsInit, session);
    call.comparison = COMPARE_NOTHING;
    choose_search(run, &template, &call);
    if (operations_are_active(session))
        call.variant = "another operation active";
    template_attach(&template, &call);
    enum step step = run_exchange(run, &call, answers);
    if (step == STEP_APART)
        return;
    if (step == STEP_OK && prng_percent(&run->prng, 5)) {
        call.variant = "active";
        step = run_exchange(run, &call, answers);
    }
    if (step == STEP_APART)
        return;
    search_pages(run, session);
    call = run_call(CALL_FindObjectsFinal, session);
    if (session->open && run_exchange(run, &call, answers) == STEP_OK &&
        prng_percent(&run->prng, 5)) {
        call.variant = "not begun";
        run_exchange(run, &call, answers);
    }
}
