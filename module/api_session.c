/* PKCS #11 5.6: session management and login. */
#include "module/api.h"

#include "module/module.h"

static CK_RV open_session(CK_SLOT_ID id, CK_FLAGS flags, CK_SESSION_HANDLE_PTR out)
{
    struct slot *slot;

    if (out == NULL)
        return CKR_ARGUMENTS_BAD;
    TRY(module_slot(id, &slot));
    if ((flags & CKF_SERIAL_SESSION) == 0)
        return CKR_SESSION_PARALLEL_NOT_SUPPORTED;
    if ((flags & CKF_ASYNC_SESSION) != 0)
        return CKR_SESSION_ASYNC_NOT_SUPPORTED;
    TRY(slot_check_token(slot));
    return session_open(slot, flags & (CKF_SERIAL_SESSION | CKF_RW_SESSION), out);
}

CK_RV C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                    CK_SESSION_HANDLE_PTR phSession)
{
    (void) pApplication;
    (void) Notify; /* nothing here calls back: no surrender, no removal */
    TRY(module_enter());
    CK_RV rv = open_session(slotID, flags, phSession);
    module_leave();
    return rv;
}

CK_RV C_CloseSession(CK_SESSION_HANDLE hSession)
{
    TRY(module_enter());
    CK_RV rv = session_close(hSession);
    module_leave();
    return rv;
}

CK_RV C_CloseAllSessions(CK_SLOT_ID slotID)
{
    struct slot *slot;

    TRY(module_enter());
    CK_RV rv = module_slot(slotID, &slot);
    if (rv == CKR_OK)
        session_close_all(slot);
    module_leave();
    return rv;
}

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
    struct session *session;

    TRY(session_enter(hSession, &session));
    if (pInfo == NULL)
        return session_leave(session, CKR_ARGUMENTS_BAD);
    *pInfo = (CK_SESSION_INFO){
        .slotID = session->slot->id,
        .state = session_state(session->flags, slot_role(session->slot)),
        .flags = session->flags,
        .ulDeviceError = session->device_error,
    };
    return session_leave(session, CKR_OK);
}

/* With a protected authentication path the user gives no PIN; the SO always does. */
static CK_RV login(const struct session_view *view, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin,
                   CK_ULONG pin_len)
{
    bool path = custody_login_mode(view->slot->custody) == CUSTODY_LOGIN_AMBIENT;

    if (pin == NULL && (pin_len > 0 || !path || user == CKU_SO))
        return CKR_ARGUMENTS_BAD;
    return slot_login(view->slot, user, api_view(pin, pin_len));
}

CK_RV C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
              CK_ULONG ulPinLen)
{
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, login(&view, userType, pPin, ulPinLen));
}

/* PKCS #11 5.6.9: a token without user names takes an empty one only. */
CK_RV C_LoginUser(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
                  CK_ULONG ulPinLen, CK_UTF8CHAR_PTR pUsername, CK_ULONG ulUsernameLen)
{
    struct session_view view;

    TRY(session_look(hSession, &view));
    if (api_bytes_are_bad(pUsername, ulUsernameLen) || ulUsernameLen > 0)
        return session_look_end(&view, CKR_ARGUMENTS_BAD);
    return session_look_end(&view, login(&view, userType, pPin, ulPinLen));
}

CK_RV C_Logout(CK_SESSION_HANDLE hSession)
{
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, slot_logout(view.slot));
}

/* PKCS #11 5.6.11: flags of operations that are not active are ignored. */
CK_RV C_SessionCancel(CK_SESSION_HANDLE hSession, CK_FLAGS flags)
{
    static const CK_FLAGS kinds[OPERATION_KINDS] = {
        [OPERATION_ENCRYPT] = CKF_ENCRYPT,
        [OPERATION_DECRYPT] = CKF_DECRYPT,
        [OPERATION_DIGEST] = CKF_DIGEST,
        [OPERATION_SIGN] = CKF_SIGN,
        [OPERATION_VERIFY] = CKF_VERIFY,
        [OPERATION_MESSAGE_ENCRYPT] = CKF_MESSAGE_ENCRYPT,
        [OPERATION_MESSAGE_DECRYPT] = CKF_MESSAGE_DECRYPT,
        [OPERATION_MESSAGE_SIGN] = CKF_MESSAGE_SIGN,
        [OPERATION_MESSAGE_VERIFY] = CKF_MESSAGE_VERIFY,
        [OPERATION_VERIFY_SIGNATURE] = CKF_VERIFY,
    };
    struct session *session;

    TRY(session_enter(hSession, &session));
    for (int kind = 0; kind < OPERATION_KINDS; kind++)
        if ((flags & kinds[kind]) != 0)
            operation_end(&session->operations[kind]);
    if ((flags & CKF_FIND_OBJECTS) != 0) {
        search_end(&session->search);
        session->searching = false;
    }
    return session_leave(session, CKR_OK);
}

/* PKCS #11 4.15.3.1: the flags name validations (CKO_VALIDATION) that the last operation met; the
 * token has none. */
CK_RV C_GetSessionValidationFlags(CK_SESSION_HANDLE hSession, CK_SESSION_VALIDATION_FLAGS_TYPE type,
                                  CK_FLAGS_PTR pFlags)
{
    struct session *session;

    TRY(session_enter(hSession, &session));
    if (pFlags == NULL || type != CKS_LAST_VALIDATION_OK)
        return session_leave(session, CKR_ARGUMENTS_BAD);
    *pFlags = 0;
    return session_leave(session, CKR_OK);
}
