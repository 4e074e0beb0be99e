/*
 * PKCS #11 5.9, 5.11: encryption and decryption of many messages under one key.
 *
 * C_Message*Init begins the operation (PHASE_STARTED), C_*MessageBegin one message in parts
 * (PHASE_PARTS). What goes wrong in a message ends that message; the operation goes on until
 * C_Message*Final.
 */
#include "module/api.h"

#include "module/operation_begin.h"

/* What a call gives and wants. */
struct message_call {
    struct message_part part;
    struct view aad;
    CK_BYTE_PTR out;
    CK_ULONG_PTR out_len;
};

typedef CK_RV message_step(struct session *session, struct operation *operation,
                           const struct message_call *call);

static void end_message(struct operation *operation)
{
    operation->mechanism->message->end(operation->state);
    operation->phase = PHASE_STARTED;
}

/* A size query or CKR_BUFFER_TOO_SMALL changes nothing: no IV is used up, no part is taken. But
 * where decryption has nothing to give out, CKR_OK says that the tag was right, so that a NULL
 * output does not make it a query. */
static bool only_size(struct operation *operation, const struct message_call *call, CK_RV *ret_rv)
{
    size_t len;

    *ret_rv = operation->mechanism->message->output_len(operation, call->part.in.len,
                                                        call->part.last, &len);
    if (*ret_rv != CKR_OK ||
        (len == 0 && call->part.last && operation->kind == OPERATION_MESSAGE_DECRYPT))
        return false;
    return api_only_size(call->out, call->out_len, len, ret_rv);
}

static bool is_bad(const struct message_call *call)
{
    return call->out_len == NULL ||
           api_bytes_are_bad(call->part.parameter.bytes, call->part.parameter.len) ||
           api_bytes_are_bad(call->part.in.bytes, call->part.in.len) ||
           api_bytes_are_bad(call->aad.bytes, call->aad.len);
}

static CK_RV process(struct operation *operation, const struct message_call *call)
{
    size_t len;

    TRY(operation->mechanism->message->next(operation, &call->part, call->out, &len));
    *call->out_len = len;
    return CKR_OK;
}

/* A message that cannot begin is ended; an operation that was lost in the wait is not touched. */
_long_way_ static CK_RV begin_filled(struct session *session, struct operation *operation,
                                     const struct message_call *call)
{
    _cleanup_(iv_filling_clear) struct iv_filling filling = {.count = NULL};
    CK_RV rv =
        operation->mechanism->message->begin(operation, call->part.parameter, call->aad, &filling);

    while (rv == IV_COUNTERS_EMPTY) {
        TRY(operation_await_ivs(session, operation, &filling));
        rv = operation->mechanism->message->begin(operation, call->part.parameter, call->aad,
                                                  &filling);
    }
    if (rv != CKR_OK)
        end_message(operation);
    return rv;
}

static inline CK_RV begin_message(struct session *session, struct operation *operation,
                                  const struct message_call *call)
{
    CK_RV rv =
        operation->mechanism->message->begin(operation, call->part.parameter, call->aad, NULL);

    if (rv == CKR_OK)
        return CKR_OK;
    if (rv == IV_COUNTERS_EMPTY)
        return begin_filled(session, operation, call);
    end_message(operation);
    return rv;
}

static CK_RV whole(struct session *session, struct operation *operation,
                   const struct message_call *call)
{
    CK_RV rv;

    if (operation->phase == PHASE_PARTS)
        return CKR_OPERATION_ACTIVE;
    if (is_bad(call))
        return CKR_ARGUMENTS_BAD;
    if (only_size(operation, call, &rv))
        return rv;
    if (rv == CKR_OK) {
        TRY(begin_message(session, operation, call));
        rv = process(operation, call);
    }
    end_message(operation);
    return rv;
}

static CK_RV begin(struct session *session, struct operation *operation,
                   const struct message_call *call)
{
    if (operation->phase == PHASE_PARTS)
        return CKR_OPERATION_ACTIVE;
    if (api_bytes_are_bad(call->part.parameter.bytes, call->part.parameter.len) ||
        api_bytes_are_bad(call->aad.bytes, call->aad.len))
        return CKR_ARGUMENTS_BAD;
    TRY(begin_message(session, operation, call));
    operation->phase = PHASE_PARTS;
    return CKR_OK;
}

static CK_RV next(struct session *session, struct operation *operation,
                  const struct message_call *call)
{
    CK_RV rv = CKR_ARGUMENTS_BAD;

    (void) session;
    if (operation->phase != PHASE_PARTS)
        return CKR_OPERATION_NOT_INITIALIZED;
    if (!is_bad(call)) {
        if (only_size(operation, call, &rv))
            return rv;
        if (rv == CKR_OK)
            rv = process(operation, call);
    }
    if (rv != CKR_OK || call->part.last)
        end_message(operation);
    return rv;
}

static CK_RV finish(struct session *session, struct operation *operation,
                    const struct message_call *call)
{
    (void) session;
    (void) call;
    operation_end(operation);
    return CKR_OK;
}

static CK_RV run(CK_SESSION_HANDLE handle, enum operation_kind kind, message_step *step,
                 const struct message_call *call)
{
    struct session *session;
    struct operation *operation;

    TRY(session_enter(handle, &session));
    CK_RV rv = operation_active_message(session, kind, &operation);
    if (rv == CKR_OK)
        rv = step(session, operation, call);
    return session_leave(session, rv);
}

/* The only flag that there is. */
static CK_RV run_next(CK_SESSION_HANDLE handle, enum operation_kind kind, struct message_call *call,
                      CK_FLAGS flags)
{
    call->part.last = (flags & CKF_END_OF_MESSAGE) != 0;
    if ((flags & ~(CK_FLAGS) CKF_END_OF_MESSAGE) != 0)
        call->out_len = NULL; /* bad arguments, to be told in their turn */
    return run(handle, kind, next, call);
}

CK_RV C_MessageEncryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                           CK_OBJECT_HANDLE hKey)
{
    return operation_init(hSession, OPERATION_MESSAGE_ENCRYPT, pMechanism, hKey);
}

CK_RV C_EncryptMessage(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                       CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
                       CK_BYTE_PTR pPlaintext, CK_ULONG ulPlaintextLen, CK_BYTE_PTR pCiphertext,
                       CK_ULONG_PTR pulCiphertextLen)
{
    struct message_call call = {
        .part = {api_view(pParameter, ulParameterLen), api_view(pPlaintext, ulPlaintextLen), true},
        .aad = api_view(pAssociatedData, ulAssociatedDataLen),
        .out = pCiphertext,
        .out_len = pulCiphertextLen,
    };

    return run(hSession, OPERATION_MESSAGE_ENCRYPT, whole, &call);
}

CK_RV C_EncryptMessageBegin(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                            CK_ULONG ulParameterLen, CK_BYTE_PTR pAssociatedData,
                            CK_ULONG ulAssociatedDataLen)
{
    struct message_call call = {
        .part = {.parameter = api_view(pParameter, ulParameterLen)},
        .aad = api_view(pAssociatedData, ulAssociatedDataLen),
    };

    return run(hSession, OPERATION_MESSAGE_ENCRYPT, begin, &call);
}

CK_RV C_EncryptMessageNext(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                           CK_ULONG ulParameterLen, CK_BYTE_PTR pPlaintextPart,
                           CK_ULONG ulPlaintextPartLen, CK_BYTE_PTR pCiphertextPart,
                           CK_ULONG_PTR pulCiphertextPartLen, CK_FLAGS flags)
{
    struct message_call call = {
        .part = {.parameter = api_view(pParameter, ulParameterLen),
                 .in = api_view(pPlaintextPart, ulPlaintextPartLen)},
        .out = pCiphertextPart,
        .out_len = pulCiphertextPartLen,
    };

    return run_next(hSession, OPERATION_MESSAGE_ENCRYPT, &call, flags);
}

CK_RV C_MessageEncryptFinal(CK_SESSION_HANDLE hSession)
{
    return run(hSession, OPERATION_MESSAGE_ENCRYPT, finish, NULL);
}

CK_RV C_MessageDecryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                           CK_OBJECT_HANDLE hKey)
{
    return operation_init(hSession, OPERATION_MESSAGE_DECRYPT, pMechanism, hKey);
}

CK_RV C_DecryptMessage(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                       CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
                       CK_BYTE_PTR pCiphertext, CK_ULONG ulCiphertextLen, CK_BYTE_PTR pPlaintext,
                       CK_ULONG_PTR pulPlaintextLen)
{
    struct message_call call = {
        .part = {api_view(pParameter, ulParameterLen), api_view(pCiphertext, ulCiphertextLen),
                 true},
        .aad = api_view(pAssociatedData, ulAssociatedDataLen),
        .out = pPlaintext,
        .out_len = pulPlaintextLen,
    };

    return run(hSession, OPERATION_MESSAGE_DECRYPT, whole, &call);
}

CK_RV C_DecryptMessageBegin(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                            CK_ULONG ulParameterLen, CK_BYTE_PTR pAssociatedData,
                            CK_ULONG ulAssociatedDataLen)
{
    struct message_call call = {
        .part = {.parameter = api_view(pParameter, ulParameterLen)},
        .aad = api_view(pAssociatedData, ulAssociatedDataLen),
    };

    return run(hSession, OPERATION_MESSAGE_DECRYPT, begin, &call);
}

CK_RV C_DecryptMessageNext(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                           CK_ULONG ulParameterLen, CK_BYTE_PTR pCiphertextPart,
                           CK_ULONG ulCiphertextPartLen, CK_BYTE_PTR pPlaintextPart,
                           CK_ULONG_PTR pulPlaintextPartLen, CK_FLAGS flags)
{
    struct message_call call = {
        .part = {.parameter = api_view(pParameter, ulParameterLen),
                 .in = api_view(pCiphertextPart, ulCiphertextPartLen)},
        .out = pPlaintextPart,
        .out_len = pulPlaintextPartLen,
    };

    return run_next(hSession, OPERATION_MESSAGE_DECRYPT, &call, flags);
}

CK_RV C_MessageDecryptFinal(CK_SESSION_HANDLE hSession)
{
    return run(hSession, OPERATION_MESSAGE_DECRYPT, finish, NULL);
}
