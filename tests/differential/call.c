#include "tests/differential/call.h"

#include <string.h>

#define FILL 0xa5

/* Everything that a runner needs. */
struct making {
    CK_FUNCTION_LIST *p11;
    const struct module *module;
    const struct call *call;
    enum side side;
    CK_SESSION_HANDLE session;
    CK_MECHANISM *mechanism;
    unsigned char *in;
    CK_ULONG in_len;
    unsigned char *out;
    CK_ULONG *len;
    CK_ULONG *handle;
    struct answer *answer;
};

static CK_RV run_OpenSession(const struct making *m)
{
    return m->p11->C_OpenSession(m->module->slot, m->call->number, NULL, NULL, m->handle);
}

static CK_RV run_CloseSession(const struct making *m)
{
    return m->p11->C_CloseSession(m->session);
}

static CK_RV run_GetSessionInfo(const struct making *m)
{
    CK_SESSION_INFO info = {0};
    CK_RV rv = m->p11->C_GetSessionInfo(m->session, m->call->no_out ? NULL : &info);

    memcpy(m->answer->out, &info.state, sizeof(info.state));
    memcpy(m->answer->out + sizeof(info.state), &info.flags, sizeof(info.flags));
    m->answer->len = sizeof(info.state) + sizeof(info.flags);
    return rv;
}

static CK_RV run_Login(const struct making *m)
{
    return m->p11->C_Login(m->session, m->call->number, (unsigned char *) m->call->check[0].bytes,
                           m->call->check[0].len);
}

static CK_RV run_Logout(const struct making *m)
{
    return m->p11->C_Logout(m->session);
}

/* Key sizes are the token's own affair. */
static CK_RV run_GetMechanismInfo(const struct making *m)
{
    CK_MECHANISM_INFO info = {0};

    return m->p11->C_GetMechanismInfo(m->module->slot, m->call->number, &info);
}

static CK_RV run_GetTokenInfo(const struct making *m)
{
    CK_TOKEN_INFO info = {0};
    CK_RV rv = m->p11->C_GetTokenInfo(m->module->slot, &info);
    CK_FLAGS shared = info.flags & (CKF_RNG | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED |
                                    CKF_PROTECTED_AUTHENTICATION_PATH | CKF_TOKEN_INITIALIZED |
                                    CKF_USER_PIN_LOCKED);

    memcpy(m->answer->out, &shared, sizeof(shared));
    m->answer->len = sizeof(shared);
    return rv;
}

static CK_RV run_GenerateRandom(const struct making *m)
{
    return m->p11->C_GenerateRandom(m->session, m->out, m->call->room);
}

static CK_RV run_CreateObject(const struct making *m)
{
    return m->p11->C_CreateObject(m->session, m->call->template, m->call->template_count,
                                  m->handle);
}

static CK_RV run_CopyObject(const struct making *m)
{
    return m->p11->C_CopyObject(m->session, m->call->object[m->side], m->call->template,
                                m->call->template_count, m->handle);
}

static CK_RV run_DestroyObject(const struct making *m)
{
    return m->p11->C_DestroyObject(m->session, m->call->object[m->side]);
}

static CK_RV run_GetObjectSize(const struct making *m)
{
    CK_ULONG size;

    return m->p11->C_GetObjectSize(m->session, m->call->object[m->side], &size);
}

static CK_RV run_GetAttributeValue(const struct making *m)
{
    CK_ATTRIBUTE entries[TYPES_MAX];
    CK_ULONG count = m->call->type_count;

    if (m->call->no_handle) /* no template either */
        return m->p11->C_GetAttributeValue(m->session, m->call->object[m->side], NULL, 2);

    for (CK_ULONG i = 0; i < count; i++) {
        entries[i].type = m->call->types[i];
        entries[i].pValue = m->call->no_out ? NULL : m->answer->out + i * ATTRIBUTE_ROOM;
        entries[i].ulValueLen = m->call->no_out ? 0 : m->call->room;
    }
    CK_RV rv = m->p11->C_GetAttributeValue(m->session, m->call->object[m->side], entries, count);
    for (CK_ULONG i = 0; i < count; i++)
        m->answer->lens[i] = entries[i].ulValueLen;
    return rv;
}

static CK_RV run_SetAttributeValue(const struct making *m)
{
    return m->p11->C_SetAttributeValue(m->session, m->call->object[m->side], m->call->template,
                                       m->call->template_count);
}

static CK_RV run_FindObjectsInit(const struct making *m)
{
    return m->p11->C_FindObjectsInit(m->session, m->call->template, m->call->template_count);
}

static CK_RV run_FindObjects(const struct making *m)
{
    return m->p11->C_FindObjects(m->session, m->call->no_out ? NULL : m->answer->handles,
                                 m->call->number, m->len);
}

static CK_RV run_FindObjectsFinal(const struct making *m)
{
    return m->p11->C_FindObjectsFinal(m->session);
}

#define RUN_INIT(name)                                                                             \
    static CK_RV run_##name(const struct making *m)                                                \
    {                                                                                              \
        return m->p11->C_##name(m->session, m->mechanism, m->call->object[m->side]);               \
    }
#define RUN_IN_OUT(name)                                                                           \
    static CK_RV run_##name(const struct making *m)                                                \
    {                                                                                              \
        return m->p11->C_##name(m->session, m->in, m->in_len, m->out, m->len);                     \
    }
#define RUN_IN(name)                                                                               \
    static CK_RV run_##name(const struct making *m)                                                \
    {                                                                                              \
        return m->p11->C_##name(m->session, m->in, m->in_len);                                     \
    }
#define RUN_OUT(name)                                                                              \
    static CK_RV run_##name(const struct making *m)                                                \
    {                                                                                              \
        return m->p11->C_##name(m->session, m->out, m->len);                                       \
    }

RUN_INIT(EncryptInit)
RUN_IN_OUT(Encrypt)
RUN_IN_OUT(EncryptUpdate)
RUN_OUT(EncryptFinal)
RUN_INIT(DecryptInit)
RUN_IN_OUT(Decrypt)
RUN_IN_OUT(DecryptUpdate)
RUN_OUT(DecryptFinal)
RUN_IN_OUT(Digest)
RUN_IN(DigestUpdate)
RUN_OUT(DigestFinal)
RUN_INIT(SignInit)
RUN_IN_OUT(Sign)
RUN_IN(SignUpdate)
RUN_OUT(SignFinal)
RUN_INIT(VerifyInit)
RUN_IN(VerifyUpdate)

RUN_IN_OUT(DigestEncryptUpdate)
RUN_IN_OUT(DecryptDigestUpdate)
RUN_IN_OUT(SignEncryptUpdate)
RUN_IN_OUT(DecryptVerifyUpdate)

#define RUN_MESSAGES(name)                                                                         \
    static CK_RV run_Message##name##Init(const struct making *m)                                   \
    {                                                                                              \
        return m->module->p30->C_Message##name##Init(m->session, m->mechanism,                     \
                                                     m->call->object[m->side]);                    \
    }                                                                                              \
    static CK_RV run_Message##name##Final(const struct making *m)                                  \
    {                                                                                              \
        return m->module->p30->C_Message##name##Final(m->session);                                 \
    }
RUN_MESSAGES(Encrypt)
RUN_MESSAGES(Decrypt)

static CK_GCM_MESSAGE_PARAMS message_parameters(const struct making *m, unsigned char *tag)
{
    return (CK_GCM_MESSAGE_PARAMS){
        .pIv = (unsigned char *) m->call->iv.bytes,
        .ulIvLen = m->call->iv.len,
        .ivGenerator = CKG_NO_GENERATE,
        .pTag = tag,
        .ulTagBits = 8 * m->call->tag_len,
    };
}

/* The tag comes out behind the text. */
static CK_RV run_EncryptMessage(const struct making *m)
{
    unsigned char tag[16] = {0};
    CK_GCM_MESSAGE_PARAMS parameters = message_parameters(m, tag);
    CK_RV rv = m->module->p30->C_EncryptMessage(m->session, &parameters, sizeof(parameters),
                                                (unsigned char *) m->call->aad.bytes,
                                                m->call->aad.len, m->in, m->in_len, m->out, m->len);

    if (rv == CKR_OK && m->out != NULL && *m->len <= OUT_ROOM - m->call->tag_len) {
        memcpy(m->out + *m->len, tag, m->call->tag_len);
        *m->len += m->call->tag_len;
    }
    return rv;
}

static CK_RV run_DecryptMessage(const struct making *m)
{
    CK_GCM_MESSAGE_PARAMS parameters =
        message_parameters(m, (unsigned char *) m->call->check[m->side].bytes);

    return m->module->p30->C_DecryptMessage(m->session, &parameters, sizeof(parameters),
                                            (unsigned char *) m->call->aad.bytes, m->call->aad.len,
                                            m->in, m->in_len, m->out, m->len);
}

static CK_RV run_DigestInit(const struct making *m)
{
    return m->p11->C_DigestInit(m->session, m->mechanism);
}

static CK_RV run_DigestKey(const struct making *m)
{
    return m->p11->C_DigestKey(m->session, m->call->object[m->side]);
}

static CK_RV run_Verify(const struct making *m)
{
    const struct bytes *signature = &m->call->check[m->side];

    return m->p11->C_Verify(m->session, m->in, m->in_len, (unsigned char *) signature->bytes,
                            signature->len);
}

static CK_RV run_VerifyFinal(const struct making *m)
{
    const struct bytes *signature = &m->call->check[m->side];

    return m->p11->C_VerifyFinal(m->session, (unsigned char *) signature->bytes, signature->len);
}

static CK_RV run_GenerateKey(const struct making *m)
{
    return m->p11->C_GenerateKey(m->session, m->mechanism, m->call->template,
                                 m->call->template_count, m->handle);
}

static CK_RV run_WrapKey(const struct making *m)
{
    return m->p11->C_WrapKey(m->session, m->mechanism, m->call->object[m->side],
                             m->call->other[m->side], m->out, m->len);
}

static CK_RV run_UnwrapKey(const struct making *m)
{
    return m->p11->C_UnwrapKey(m->session, m->mechanism, m->call->object[m->side], m->in, m->in_len,
                               m->call->template, m->call->template_count, m->handle);
}

static CK_RV run_DeriveKey(const struct making *m)
{
    return m->p11->C_DeriveKey(m->session, m->mechanism, m->call->object[m->side],
                               m->call->template, m->call->template_count, m->handle);
}

static const struct {
    const char *name;
    enum resync resync;
    CK_RV (*run)(const struct making *making);
} functions[CALL_COUNT] = {
#define CALL_ROW(name, resync) [CALL_##name] = {"C_" #name, RESYNC_##resync, run_##name},
    CALLS(CALL_ROW)
#undef CALL_ROW
};

const char *call_name(enum function function)
{
    return functions[function].name;
}

enum resync call_resync(enum function function)
{
    return functions[function].resync;
}

bool call_run(const struct call *call, enum side side, const struct module *module,
              struct answer *answer)
{
    bool cuts = side == THEIRS && call->cut > 0;
    CK_ULONG room = cuts && call->room >= call->cut ? OUT_ROOM : call->room;
    unsigned char guarded[OUT_ROOM];
    struct making making = {
        .p11 = module->p11,
        .module = module,
        .call = call,
        .side = side,
        .session = call->session[side],
        .mechanism = (CK_MECHANISM *) call->mechanism[side],
        .in = (unsigned char *) call->in[side].bytes,
        .in_len = call->in[side].len,
        .out = call->no_out ? NULL : answer->out,
        .len = call->no_len ? NULL : &answer->len,
        .handle = call->no_handle ? NULL : &answer->handle,
        .answer = answer,
    };

    memset(answer, 0, sizeof(*answer));
    memset(answer->out, FILL, sizeof(answer->out));
    memset(guarded, FILL, sizeof(guarded));
    answer->len = room;
    answer->rv = functions[call->function].run(&making);
    if (cuts && answer->len > call->cut)
        answer->len = call->cut;
    return room >= OUT_ROOM || call->comparison == COMPARE_ATTRIBUTES ||
           call->comparison == COMPARE_NOTHING ||
           memcmp(answer->out + room, guarded, OUT_ROOM - room) == 0;
}
