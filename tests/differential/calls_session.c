/* Sessions, logins, and what a token tells of itself. */
#include <string.h>

#include "tests/differential/run.h"

static struct session *closed_session(struct run *run)
{
    for (int i = 0; i < SESSIONS_MAX; i++)
        if (!run->sessions[i].open)
            return &run->sessions[i];
    return NULL;
}

void open_session(struct run *run, CK_FLAGS flags)
{
    struct session *session = closed_session(run);
    struct call call = run_call(CALL_OpenSession, NULL);
    struct answer answers[SIDES];

    if (session == NULL)
        return;
    call.number = flags;
    call.comparison = COMPARE_NOTHING;
    if ((flags & CKF_SERIAL_SESSION) == 0)
        call.variant = "parallel";
    if (run_exchange(run, &call, answers) != STEP_OK)
        return;
    memset(session, 0, sizeof(*session));
    session->open = true;
    for (int side = 0; side < SIDES; side++)
        session->handle[side] = answers[side].handle;
}

void spoil_session(struct run *run, struct call *call)
{
    static const CK_SESSION_HANDLE handles[] = {CK_INVALID_HANDLE, 0x7fffffff};
    CK_SESSION_HANDLE handle = handles[prng_below(&run->prng, 2)];

    call->variant = "wrong session";
    call->session[OURS] = call->session[THEIRS] = handle;
}

static void close_session(struct run *run, struct session *session)
{
    struct call call = run_call(CALL_CloseSession, session);
    struct answer answers[SIDES];

    if (prng_percent(&run->prng, 8)) {
        spoil_session(run, &call);
        run_exchange(run, &call, answers);
        return;
    }
    if (run_exchange(run, &call, answers) == STEP_OK)
        run_forget_session(run, session);
}

static void session_info(struct run *run, const struct session *session)
{
    struct call call = run_call(CALL_GetSessionInfo, session);
    struct answer answers[SIDES];

    call.room = OUT_ROOM;
    if (prng_percent(&run->prng, 10))
        spoil_session(run, &call);
    run_exchange(run, &call, answers);
}

static void token_info(struct run *run)
{
    struct call call = run_call(CALL_GetTokenInfo, NULL);
    struct answer answers[SIDES];

    call.room = OUT_ROOM;
    run_exchange(run, &call, answers);
}

static void mechanism_info(struct run *run)
{
    static const CK_MECHANISM_TYPE types[] = {CKM_AES_GCM,     CKM_AES_CBC,     CKM_SHA256,
                                              CKM_SHA256_HMAC, CKM_AES_KEY_GEN, 0x7ffffff1};
    struct call call = run_call(CALL_GetMechanismInfo, NULL);
    struct answer answers[SIDES];

    call.number = types[prng_below(&run->prng, 6)];
    call.comparison = COMPARE_NOTHING;
    run_exchange(run, &call, answers);
}

static void random_bytes(struct run *run, const struct session *session)
{
    struct call call = run_call(CALL_GenerateRandom, session);
    struct answer answers[SIDES];

    call.room = prng_below(&run->prng, 64);
    call.comparison = COMPARE_LENGTH;
    if (call.room == 0)
        call.variant = "no bytes";
    run_exchange(run, &call, answers);
}

void session_step(struct run *run)
{
    struct session *session = run_session(run);

    switch (prng_below(&run->prng, session == NULL ? 1 : 8)) {
    case 0:
        open_session(run, CKF_SERIAL_SESSION | (prng_percent(&run->prng, 80) ? CKF_RW_SESSION : 0));
        break;
    case 1:
        open_session(run, prng_percent(&run->prng, 20) ? CKF_RW_SESSION
                                                       : CKF_SERIAL_SESSION | CKF_RW_SESSION);
        break;
    case 2:
        close_session(run, session);
        break;
    case 3:
    case 4:
        session_info(run, session);
        break;
    case 5:
        token_info(run);
        break;
    case 6:
        mechanism_info(run);
        break;
    default:
        random_bytes(run, session);
        break;
    }
}

static void log_in(struct run *run, CK_USER_TYPE user, const char *pin, const char *variant)
{
    struct call call = run_call(CALL_Login, run_session(run));
    struct answer answers[SIDES];

    call.number = user;
    call.check[0] = (struct bytes){(const unsigned char *) pin, pin == NULL ? 0 : strlen(pin)};
    call.variant = variant;
    run_exchange(run, &call, answers);
}

/* Their handles end with the login. */
static void destroy_token_objects(struct run *run)
{
    for (int i = 0; i < OBJECTS_MAX; i++)
        for (int side = 0; side < SIDES; side++)
            if (run->objects[i].used && run->objects[i].owner == NULL)
                run->modules[side]->p11->C_DestroyObject(run->modules[side]->anchor,
                                                         run->objects[i].handle[side]);
}

static void log_out(struct run *run, const char *variant)
{
    struct call call = run_call(CALL_Logout, run_session(run));
    struct answer answers[SIDES];

    destroy_token_objects(run);
    call.variant = variant;
    run_exchange(run, &call, answers);
    /* Private objects have gone, and operations with them. */
    for (int i = 0; i < OBJECTS_MAX; i++)
        run_forget_object(&run->objects[i]);
    for (int i = 0; i < SESSIONS_MAX; i++)
        memset(run->sessions[i].operations, 0, sizeof(run->sessions[i].operations));
}

/* What the user may do no longer, and the way back. A login is slow by intent: these sequences are
 * few. */
void login_sequence(struct run *run)
{
    log_in(run, CKU_USER, PEER_USER_PIN, "logged in");
    log_in(run, CKU_SO, PEER_SO_PIN, "user logged in");
    log_out(run, "");
    for (int i = 0; i < 4 && !run->ended; i++)
        object_step(run);
    if (prng_percent(&run->prng, 50))
        log_out(run, "not logged in");
    if (prng_percent(&run->prng, 50))
        log_in(run, 77, PEER_USER_PIN, "unknown user");
    if (prng_percent(&run->prng, 50))
        log_in(run, CKU_USER, "wrong-pin-1234", "wrong PIN");
    if (prng_percent(&run->prng, 50))
        log_in(run, CKU_USER, NULL, "no PIN");
    session_step(run);
    log_in(run, CKU_USER, PEER_USER_PIN, "");
}
