/*
 * Asynchronous functions (PKCS #11 3.2). The token has no asynchronous sessions (C_OpenSession
 * refuses CKF_ASYNC_SESSION), so no function ever answers CKR_PENDING, and there is nothing to
 * complete (CKR_OPERATION_NOT_INITIALIZED) and no saved operation to join
 * (CKR_SAVED_STATE_INVALID).
 */
#include "module/api.h"

static CK_RV answer(CK_SESSION_HANDLE handle, bool arguments_are_bad, CK_RV rv)
{
    struct session *session;

    TRY(session_enter(handle, &session));
    return session_leave(session, arguments_are_bad ? CKR_ARGUMENTS_BAD : rv);
}

/* pResult may be NULL: a function without a result needs none. */
CK_RV C_AsyncComplete(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pFunctionName,
                      CK_ASYNC_DATA_PTR pResult)
{
    (void) pResult;
    return answer(hSession, pFunctionName == NULL, CKR_OPERATION_NOT_INITIALIZED);
}

CK_RV C_AsyncGetID(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pFunctionName, CK_ULONG_PTR pulID)
{
    return answer(hSession, pFunctionName == NULL || pulID == NULL, CKR_OPERATION_NOT_INITIALIZED);
}

CK_RV C_AsyncJoin(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pFunctionName, CK_ULONG ulID,
                  CK_BYTE_PTR pData, CK_ULONG ulData)
{
    (void) ulID;
    (void) pData;
    (void) ulData;
    return answer(hSession, pFunctionName == NULL, CKR_SAVED_STATE_INVALID);
}
