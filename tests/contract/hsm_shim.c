/* See hsm_shim.h. */
#include "tests/contract/hsm_shim.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define POLL_US 2000

EXPORT extern struct hsm_shim hsm_shim;
struct hsm_shim hsm_shim;

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST list;

static bool is_named(const char *name, const char *function)
{
    return name != NULL && strcmp(name, function) == 0;
}

static void hang(void)
{
    atomic_fetch_add(&hsm_shim.hanging, 1);
    while (!atomic_load(&hsm_shim.let_go))
        (void) usleep(POLL_US);
    atomic_fetch_sub(&hsm_shim.hanging, 1);
}

/* True: `*ret_rv` is the answer. */
static bool fails(const char *function, CK_RV *ret_rv)
{
    if (is_named(hsm_shim.also, function)) {
        *ret_rv = hsm_shim.also_rv;
        return true;
    }
    if (!is_named(hsm_shim.function, function))
        return false;
    int call = atomic_fetch_add(&hsm_shim.calls, 1);
    if (hsm_shim.times >= 0 && call >= hsm_shim.times)
        return false;
    if (hsm_shim.hangs)
        hang();
    *ret_rv = hsm_shim.rv;
    return hsm_shim.rv != CKR_OK;
}

static void twist(const char *function, CK_BYTE *bytes, CK_ULONG *len)
{
    if (!is_named(hsm_shim.function, function))
        return;
    switch (hsm_shim.twist) {
    case SHIM_EMPTY:
        *len = 0;
        break;
    case SHIM_SHORTER:
        *len -= 1;
        break;
    case SHIM_LONGER:
        *len += 1;
        break;
    case SHIM_ENDLESS:
        *len = CK_UNAVAILABLE_INFORMATION;
        break;
    case SHIM_CHANGED:
        bytes[0] ^= 1;
        break;
    case SHIM_AS_IS:
        break;
    }
}

/* In place of the caller's mechanism, as SoftHSM knows it. */
static CK_MECHANISM *known_mechanism(CK_MECHANISM *mechanism)
{
    static _Thread_local CK_MECHANISM known;
    static _Thread_local CK_RSA_PKCS_OAEP_PARAMS oaep;
    if (!hsm_shim.has_more)
        return mechanism;
    known = *mechanism;
    if (known.mechanism == CKM_AES_KEY_WRAP_KWP)
        known.mechanism = CKM_AES_KEY_WRAP_PAD;
    if (known.mechanism == CKM_RSA_PKCS_OAEP) {
        memcpy(&oaep, mechanism->pParameter, sizeof(oaep));
        if (oaep.hashAlg == CKM_SHA256 && oaep.mgf == CKG_MGF1_SHA256) {
            oaep.hashAlg = CKM_SHA_1;
            oaep.mgf = CKG_MGF1_SHA1;
        }
        known.pParameter = &oaep;
    }
    return &known;
}

static void write_own_iv(CK_MECHANISM *mechanism)
{
    if (!hsm_shim.has_more || mechanism->mechanism != CKM_AES_GCM)
        return;
    const CK_GCM_PARAMS *gcm = mechanism->pParameter;
    memset(gcm->pIv, SHIM_IV_BYTE, gcm->ulIvLen);
}

static void count_session(void)
{
    int open = atomic_fetch_add(&hsm_shim.sessions, 1) + 1;
    int most = atomic_load(&hsm_shim.most_sessions);
    while (open > most && !atomic_compare_exchange_weak(&hsm_shim.most_sessions, &most, open))
        ;
}

#define HAND_ON(name, parameters, arguments, after)                                                \
    static CK_RV shim_##name parameters                                                            \
    {                                                                                              \
        CK_RV rv;                                                                                  \
        if (fails(#name, &rv))                                                                     \
            return rv;                                                                             \
        rv = real->name arguments;                                                                 \
        if (rv == CKR_OK) {                                                                        \
            after;                                                                                 \
        }                                                                                          \
        return rv;                                                                                 \
    }

HAND_ON(C_Initialize, (CK_VOID_PTR args), (args), atomic_fetch_add(&hsm_shim.inits, 1))
HAND_ON(C_Finalize, (CK_VOID_PTR reserved), (reserved), atomic_fetch_add(&hsm_shim.finals, 1))
HAND_ON(C_GetInfo, (CK_INFO * info), (info), )
HAND_ON(C_GetSlotList, (CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count),
        (present, slots, count), twist("C_GetSlotList", NULL, count))
HAND_ON(C_GetTokenInfo, (CK_SLOT_ID slot, CK_TOKEN_INFO *info), (slot, info), )
HAND_ON(C_OpenSession,
        (CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
         CK_SESSION_HANDLE *session),
        (slot, flags, application, notify, session), count_session())
HAND_ON(C_CloseSession, (CK_SESSION_HANDLE session), (session),
        atomic_fetch_sub(&hsm_shim.sessions, 1))
HAND_ON(C_GetSessionInfo, (CK_SESSION_HANDLE session, CK_SESSION_INFO *info), (session, info), )
HAND_ON(C_Login, (CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len),
        (session, user, pin, len), atomic_fetch_add(&hsm_shim.logins, 1))
HAND_ON(C_FindObjectsInit, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count),
        (session, template, count), )
HAND_ON(C_FindObjects,
        (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count),
        (session, objects, max, count), twist("C_FindObjects", NULL, count))
HAND_ON(C_FindObjectsFinal, (CK_SESSION_HANDLE session), (session), )
HAND_ON(C_GetAttributeValue,
        (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
         CK_ULONG count),
        (session, object, template, count),
        twist("C_GetAttributeValue", template->pValue, &template->ulValueLen))
static CK_RV shim_C_EncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                                CK_OBJECT_HANDLE key)
{
    CK_RV rv;
    if (fails("C_EncryptInit", &rv))
        return rv;
    write_own_iv(mechanism);
    return real->C_EncryptInit(session, mechanism, key);
}

HAND_ON(C_Encrypt,
        (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *len),
        (session, in, in_len, out, len), twist("C_Encrypt", out, len))
HAND_ON(C_DecryptInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
        (session, mechanism, key), )
HAND_ON(C_Decrypt,
        (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *len),
        (session, in, in_len, out, len), twist("C_Decrypt", out, len))
HAND_ON(C_CreateObject,
        (CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count,
         CK_OBJECT_HANDLE *object),
        (session, template, count, object), )
HAND_ON(C_WrapKey,
        (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
         CK_OBJECT_HANDLE key, CK_BYTE *out, CK_ULONG *len),
        (session, known_mechanism(mechanism), wrapping, key, out, len),
        twist("C_WrapKey", out, len))
HAND_ON(C_UnwrapKey,
        (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping, CK_BYTE *in,
         CK_ULONG in_len, CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key),
        (session, known_mechanism(mechanism), wrapping, in, in_len, template, count, key), )

static void replace_functions(void)
{
#define REPLACE(name) list.name = shim_##name
    REPLACE(C_Initialize);
    REPLACE(C_Finalize);
    REPLACE(C_GetInfo);
    REPLACE(C_GetSlotList);
    REPLACE(C_GetTokenInfo);
    REPLACE(C_OpenSession);
    REPLACE(C_CloseSession);
    REPLACE(C_GetSessionInfo);
    REPLACE(C_Login);
    REPLACE(C_FindObjectsInit);
    REPLACE(C_FindObjects);
    REPLACE(C_FindObjectsFinal);
    REPLACE(C_GetAttributeValue);
    REPLACE(C_EncryptInit);
    REPLACE(C_Encrypt);
    REPLACE(C_DecryptInit);
    REPLACE(C_Decrypt);
    REPLACE(C_CreateObject);
    REPLACE(C_WrapKey);
    REPLACE(C_UnwrapKey);
}

EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
    CK_RV rv;
    if (fails("C_GetFunctionList", &rv))
        return rv;
    void *library = dlopen(getenv("SOFTHSM_MODULE"), RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return CKR_GENERAL_ERROR;
    CK_C_GetFunctionList get = (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList");
    if (get == NULL || get(&real) != CKR_OK)
        return CKR_GENERAL_ERROR;
    list = *real;
    replace_functions();
    *ppFunctionList = &list;
    return CKR_OK;
}
