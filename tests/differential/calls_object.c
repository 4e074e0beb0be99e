/* Objects: made, copied, destroyed. */
#include <string.h>

#include "tests/differential/templates.h"

static struct object *made(struct run *run, struct call *call, const struct object *object)
{
    struct answer answers[SIDES];
    struct object result = *object;

    if (run_exchange(run, call, answers) != STEP_OK)
        return NULL;
    for (int side = 0; side < SIDES; side++)
        result.handle[side] = answers[side].handle;
    return run_add_object(run, &result);
}

static void add_value(struct template *template, struct prng *prng, CK_ULONG len)
{
    prng_bytes(prng, template->value, len);
    template_bytes(template, CKA_VALUE, template->value, len);
}

/* One thing wrong with a template that creates a key. */
static const char *spoil_create(struct template *template, struct prng *prng)
{
    static const unsigned char three[3] = {1};

    switch (prng_below(prng, 9)) {
    case 0: /* CKA_CLASS is the first */
        template->entries[0] = template->entries[--template->count];
        return "no class";
    case 1:
        template->entries[1] = template->entries[--template->count];
        return "no key type";
    case 2:
        template->entries[2] = template->entries[--template->count];
        return "no value";
    case 3:
        template_number(template, CKA_VALUE_LEN, 16);
        return "value length";
    case 4:
        template_bool(template, CKA_LOCAL, true);
        return "read-only attribute";
    case 5:
        template_bool(template, CKA_VENDOR_DEFINED | 0x7777, true);
        return "unknown attribute";
    case 6:
        template_bytes(template, CKA_MODIFIABLE, three, sizeof(three));
        return "boolean of three bytes";
    case 7:
        template->numbers[0] = 0x7777;
        return "unknown class";
    default:
        template->numbers[1] = 0x7777;
        return "unknown key type";
    }
}

static struct object *create_key(struct run *run, struct session *session, enum role role,
                                 bool spoiled)
{
    struct call call = run_call(CALL_CreateObject, session);
    struct template template = {0};
    struct object object;

    object_choose(&object, role, ORIGIN_CREATED, &run->prng);
    object.owner = session;
    object.known = true;
    call.subject = object_kind(&object);
    call.comparison = COMPARE_NOTHING;
    template_number(&template, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&template, CKA_KEY_TYPE, object.type);
    if (object.type == CKK_AES && !spoiled && prng_percent(&run->prng, 1)) {
        object.len = 1 + prng_below(&run->prng, 15);
        call.variant = "AES key of a wrong length";
    }
    add_value(&template, &run->prng, object.len);
    template_key(&template, &object, &run->prng);
    if (spoiled)
        call.variant = spoil_create(&template, &run->prng);
    template_attach(&template, &call);
    return made(run, &call, &object);
}

/* A token key is strengthened by the module under test, so the template asks for what it would
 * become. */
static void create_token_key(struct run *run, const struct session *session)
{
    static const CK_MECHANISM_TYPE gcm = CKM_AES_GCM;
    struct call call = run_call(CALL_CreateObject, session);
    struct template template = {0};
    struct object object;

    object_choose(&object, ROLE_GCM, ORIGIN_CREATED, &run->prng);
    object.known = true;
    object.sensitive = true;
    object.extractable = false;
    call.subject = "token key";
    call.comparison = COMPARE_NOTHING;
    template_number(&template, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&template, CKA_KEY_TYPE, object.type);
    add_value(&template, &run->prng, object.len);
    template_key(&template, &object, &run->prng);
    template_bytes(&template, CKA_ALLOWED_MECHANISMS, &gcm, sizeof(gcm));
    template_attach(&template, &call);
    made(run, &call, &object);
}

static void create_data(struct run *run, const struct session *session)
{
    struct call call = run_call(CALL_CreateObject, session);
    struct template template = {0};
    struct object object = {.role = ROLE_DATA,
                            .owner = session,
                            .known = true,
                            .extractable = true,
                            .origin = ORIGIN_CREATED};
    bool token = run->peer == PEER_SOFTHSM && prng_percent(&run->prng, 4);

    object.len = prng_below(&run->prng, 100);
    call.subject = token ? "token data" : "data";
    call.comparison = COMPARE_NOTHING;
    template_number(&template, CKA_CLASS, CKO_DATA);
    template_bool(&template, CKA_TOKEN, token);
    template_bool(&template, CKA_PRIVATE,
                  token || (run->peer == PEER_SOFTHSM && prng_percent(&run->prng, 70)));
    template_label(&template, &run->prng);
    template_bytes(&template, CKA_APPLICATION, "differential", 12);
    add_value(&template, &run->prng, object.len);
    if (token)
        object.owner = NULL;
    /* SoftHSM keeps a token object that it refuses, for good. */
    if (!token && prng_percent(&run->prng, 4)) {
        template_number(&template, CKA_KEY_TYPE, CKK_AES);
        call.variant = "attribute of another class";
    }
    template_attach(&template, &call);
    made(run, &call, &object);
}

void key_read_value(struct run *run, const struct session *session, const struct object *object)
{
    struct call call = run_call(CALL_GetAttributeValue, session);
    struct answer answers[SIDES];

    call.subject = "VALUE";
    call.variant = object->origin;
    call.comparison = COMPARE_ATTRIBUTES;
    call.room = ATTRIBUTE_ROOM;
    call.types[0] = CKA_VALUE;
    call.type_count = 1;
    memcpy(call.object, object->handle, sizeof(call.object));
    if (object->known && session->open && prng_percent(&run->prng, object->extractable ? 60 : 4))
        run_exchange(run, &call, answers);
}

struct object *key_add(struct run *run, const struct object *object,
                       const struct answer answers[SIDES])
{
    struct object added = *object;

    for (int side = 0; side < SIDES; side++)
        added.handle[side] = answers[side].handle;
    return run_add_object(run, &added);
}

struct object *key_for(struct run *run, enum role role)
{
    unsigned long first = prng_below(&run->prng, OBJECTS_MAX);
    struct session *session = run_session(run);

    for (unsigned long i = 0; i < OBJECTS_MAX; i++) {
        struct object *object = &run->objects[(first + i) % OBJECTS_MAX];
        if (object->used && object->role == role && prng_percent(&run->prng, 85))
            return object;
    }
    return session == NULL ? NULL : create_key(run, session, role, false);
}

static void create(struct run *run, struct session *session)
{
    enum role role = (enum role)(1 + prng_below(&run->prng, ROLES - 1));

    if (role == ROLE_HKDF_BASE && run->peer != PEER_NSS)
        role = ROLE_PAYLOAD;
    if (role == ROLE_DATA)
        create_data(run, session);
    else if (run->peer == PEER_SOFTHSM && prng_percent(&run->prng, 1))
        create_token_key(run, session);
    else
        create_key(run, session, role, prng_percent(&run->prng, 12));
}

static const char *change_copy(struct template *template, const struct object *source,
                               struct object *copy, struct prng *prng)
{
    switch (prng_below(prng, 6)) {
    case 0:
        template_label(template, prng);
        return "";
    case 1:
        if (source->role == ROLE_DATA)
            return "";
        template_bool(template, CKA_SENSITIVE, true);
        copy->sensitive = true;
        return source->extractable && object_opens_others(source) ? "extractable opener"
                                                                  : "sensitive";
    case 2:
        if (source->role == ROLE_DATA)
            return "";
        template_bool(template, CKA_EXTRACTABLE, true);
        return source->extractable ? "" : "extractable";
    case 3:
        if (source->role == ROLE_DATA || source->role == ROLE_HMAC || source->role == ROLE_CMAC)
            return "";
        template_bool(template, CKA_SIGN, true);
        return "more uses";
    case 4:
        template_bytes(template, CKA_VALUE, "0123456789abcdef", 16);
        return "value";
    default:
        return "";
    }
}

static void copy(struct run *run, const struct session *session, struct object *source)
{
    struct call call = run_call(CALL_CopyObject, session);
    struct template template = {0};
    struct object object = *source;

    call.subject = object_kind(source);
    call.comparison = COMPARE_NOTHING;
    memcpy(call.object, source->handle, sizeof(call.object));
    call.variant = change_copy(&template, source, &object, &run->prng);
    if (source->owner == NULL) {
        template.count = 0;
        object = *source;
        template_bool(&template, CKA_TOKEN, false);
        call.variant = "of a token object";
    }
    object.owner = session;
    object.origin = ORIGIN_COPIED;
    template_attach(&template, &call);
    if (prng_percent(&run->prng, 5)) {
        call.object[OURS] = call.object[THEIRS] = 0x7fffffff;
        call.variant = "wrong object";
    }
    made(run, &call, &object);
}

static void destroy(struct run *run, const struct session *session, struct object *object)
{
    struct call call = run_call(CALL_DestroyObject, session);
    struct answer answers[SIDES];

    call.subject = object_kind(object);
    memcpy(call.object, object->handle, sizeof(call.object));
    if (prng_percent(&run->prng, 10)) {
        call.object[OURS] = call.object[THEIRS] = 0x7fffffff;
        call.variant = "wrong object";
        run_exchange(run, &call, answers);
        return;
    }
    if (object->owner == NULL)
        call.variant = "token object";
    if (run_exchange(run, &call, answers) == STEP_OK)
        run_forget_object(object);
}

static void object_size(struct run *run, const struct session *session, const struct object *object)
{
    struct call call = run_call(CALL_GetObjectSize, session);
    struct answer answers[SIDES];

    call.subject = object_kind(object);
    call.comparison = COMPARE_NOTHING;
    memcpy(call.object, object->handle, sizeof(call.object));
    run_exchange(run, &call, answers);
}

void object_step(struct run *run)
{
    struct session *session = run_session(run);
    struct object *object = run_object(run, NULL);
    unsigned long choice = prng_below(&run->prng, 10);

    if (session == NULL)
        return;
    if (object == NULL || choice < 5)
        create(run, session);
    else if (choice < 7)
        copy(run, session, object);
    else if (choice < 9)
        destroy(run, session, object);
    else
        object_size(run, session, object);
}
