/*
 * The 104 functions of Cryptoki 3.2 and its three tables of them. Included by cryptoki.h, which
 * says more.
 *
 * The lists give every function once, in the order of the tables: a table, a loader or a test that
 * goes over all functions is built from them.
 */
#pragma once

typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST;
typedef struct CK_FUNCTION_LIST_3_0 CK_FUNCTION_LIST_3_0;
typedef struct CK_FUNCTION_LIST_3_2 CK_FUNCTION_LIST_3_2;
typedef CK_FUNCTION_LIST *CK_FUNCTION_LIST_PTR;
typedef CK_FUNCTION_LIST_3_0 *CK_FUNCTION_LIST_3_0_PTR;
typedef CK_FUNCTION_LIST_3_2 *CK_FUNCTION_LIST_3_2_PTR;
typedef CK_FUNCTION_LIST_PTR *CK_FUNCTION_LIST_PTR_PTR;
typedef CK_FUNCTION_LIST_3_0_PTR *CK_FUNCTION_LIST_3_0_PTR_PTR;
typedef CK_FUNCTION_LIST_3_2_PTR *CK_FUNCTION_LIST_3_2_PTR_PTR;

#define CK_FUNCTIONS_2_40(X) \
    X(C_Initialize) X(C_Finalize) X(C_GetInfo) X(C_GetFunctionList) X(C_GetSlotList) \
    X(C_GetSlotInfo) X(C_GetTokenInfo) X(C_GetMechanismList) X(C_GetMechanismInfo) \
    X(C_InitToken) X(C_InitPIN) X(C_SetPIN) X(C_OpenSession) X(C_CloseSession) \
    X(C_CloseAllSessions) X(C_GetSessionInfo) X(C_GetOperationState) X(C_SetOperationState) \
    X(C_Login) X(C_Logout) X(C_CreateObject) X(C_CopyObject) X(C_DestroyObject) \
    X(C_GetObjectSize) X(C_GetAttributeValue) X(C_SetAttributeValue) X(C_FindObjectsInit) \
    X(C_FindObjects) X(C_FindObjectsFinal) X(C_EncryptInit) X(C_Encrypt) X(C_EncryptUpdate) \
    X(C_EncryptFinal) X(C_DecryptInit) X(C_Decrypt) X(C_DecryptUpdate) X(C_DecryptFinal) \
    X(C_DigestInit) X(C_Digest) X(C_DigestUpdate) X(C_DigestKey) X(C_DigestFinal) X(C_SignInit) \
    X(C_Sign) X(C_SignUpdate) X(C_SignFinal) X(C_SignRecoverInit) X(C_SignRecover) \
    X(C_VerifyInit) X(C_Verify) X(C_VerifyUpdate) X(C_VerifyFinal) X(C_VerifyRecoverInit) \
    X(C_VerifyRecover) X(C_DigestEncryptUpdate) X(C_DecryptDigestUpdate) X(C_SignEncryptUpdate) \
    X(C_DecryptVerifyUpdate) X(C_GenerateKey) X(C_GenerateKeyPair) X(C_WrapKey) X(C_UnwrapKey) \
    X(C_DeriveKey) X(C_SeedRandom) X(C_GenerateRandom) X(C_GetFunctionStatus) \
    X(C_CancelFunction) X(C_WaitForSlotEvent)

#define CK_FUNCTIONS_3_0_ADDED(X) \
    X(C_GetInterfaceList) X(C_GetInterface) X(C_LoginUser) X(C_SessionCancel) \
    X(C_MessageEncryptInit) X(C_EncryptMessage) X(C_EncryptMessageBegin) X(C_EncryptMessageNext) \
    X(C_MessageEncryptFinal) X(C_MessageDecryptInit) X(C_DecryptMessage) \
    X(C_DecryptMessageBegin) X(C_DecryptMessageNext) X(C_MessageDecryptFinal) \
    X(C_MessageSignInit) X(C_SignMessage) X(C_SignMessageBegin) X(C_SignMessageNext) \
    X(C_MessageSignFinal) X(C_MessageVerifyInit) X(C_VerifyMessage) X(C_VerifyMessageBegin) \
    X(C_VerifyMessageNext) X(C_MessageVerifyFinal)

#define CK_FUNCTIONS_3_2_ADDED(X) \
    X(C_EncapsulateKey) X(C_DecapsulateKey) X(C_VerifySignatureInit) X(C_VerifySignature) \
    X(C_VerifySignatureUpdate) X(C_VerifySignatureFinal) X(C_GetSessionValidationFlags) \
    X(C_AsyncComplete) X(C_AsyncGetID) X(C_AsyncJoin) X(C_WrapKeyAuthenticated) \
    X(C_UnwrapKeyAuthenticated)

#define CK_FUNCTIONS_3_0(X) CK_FUNCTIONS_2_40(X) CK_FUNCTIONS_3_0_ADDED(X)
#define CK_FUNCTIONS_3_2(X) CK_FUNCTIONS_3_0(X) CK_FUNCTIONS_3_2_ADDED(X)

/* The prototype of a function and CK_ + name, the type of a pointer to it. */
#define CK_FUNCTION(name, ...)                   \
    typedef CK_RV (*CK_##name)(__VA_ARGS__);     \
    CK_API CK_RV name(__VA_ARGS__)

/* General purpose */
CK_FUNCTION(C_Initialize, CK_VOID_PTR pInitArgs);
CK_FUNCTION(C_Finalize, CK_VOID_PTR pReserved);
CK_FUNCTION(C_GetInfo, CK_INFO_PTR pInfo);
CK_FUNCTION(C_GetFunctionList, CK_FUNCTION_LIST_PTR_PTR ppFunctionList);

/* Slots and tokens */
CK_FUNCTION(C_GetSlotList, CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount);
CK_FUNCTION(C_GetSlotInfo, CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo);
CK_FUNCTION(C_GetTokenInfo, CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo);
CK_FUNCTION(C_GetMechanismList, CK_SLOT_ID slotID, CK_MECHANISM_TYPE_PTR pMechanismList,
            CK_ULONG_PTR pulCount);
CK_FUNCTION(C_GetMechanismInfo, CK_SLOT_ID slotID, CK_MECHANISM_TYPE type,
            CK_MECHANISM_INFO_PTR pInfo);
CK_FUNCTION(C_InitToken, CK_SLOT_ID slotID, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen,
            CK_UTF8CHAR_PTR pLabel);
CK_FUNCTION(C_InitPIN, CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen);
CK_FUNCTION(C_SetPIN, CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,
            CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen);

/* Sessions */
CK_FUNCTION(C_OpenSession, CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication,
            CK_NOTIFY Notify, CK_SESSION_HANDLE_PTR phSession);
CK_FUNCTION(C_CloseSession, CK_SESSION_HANDLE hSession);
CK_FUNCTION(C_CloseAllSessions, CK_SLOT_ID slotID);
CK_FUNCTION(C_GetSessionInfo, CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo);
CK_FUNCTION(C_GetOperationState, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pOperationState,
            CK_ULONG_PTR pulOperationStateLen);
CK_FUNCTION(C_SetOperationState, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pOperationState,
            CK_ULONG ulOperationStateLen, CK_OBJECT_HANDLE hEncryptionKey,
            CK_OBJECT_HANDLE hAuthenticationKey);
CK_FUNCTION(C_Login, CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
            CK_ULONG ulPinLen);
CK_FUNCTION(C_Logout, CK_SESSION_HANDLE hSession);

/* Objects */
CK_FUNCTION(C_CreateObject, CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate,
            CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phObject);
CK_FUNCTION(C_CopyObject, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
            CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phNewObject);
CK_FUNCTION(C_DestroyObject, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject);
CK_FUNCTION(C_GetObjectSize, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
            CK_ULONG_PTR pulSize);
CK_FUNCTION(C_GetAttributeValue, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
            CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount);
CK_FUNCTION(C_SetAttributeValue, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
            CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount);
CK_FUNCTION(C_FindObjectsInit, CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate,
            CK_ULONG ulCount);
CK_FUNCTION(C_FindObjects, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject,
            CK_ULONG ulMaxObjectCount, CK_ULONG_PTR pulObjectCount);
CK_FUNCTION(C_FindObjectsFinal, CK_SESSION_HANDLE hSession);

/* Encryption, decryption, digests */
CK_FUNCTION(C_EncryptInit, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hKey);
CK_FUNCTION(C_Encrypt, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
            CK_BYTE_PTR pEncryptedData, CK_ULONG_PTR pulEncryptedDataLen);
CK_FUNCTION(C_EncryptUpdate, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen,
            CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen);
CK_FUNCTION(C_EncryptFinal, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastEncryptedPart,
            CK_ULONG_PTR pulLastEncryptedPartLen);
CK_FUNCTION(C_DecryptInit, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hKey);
CK_FUNCTION(C_Decrypt, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedData,
            CK_ULONG ulEncryptedDataLen, CK_BYTE_PTR pData, CK_ULONG_PTR pulDataLen);
CK_FUNCTION(C_DecryptUpdate, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
            CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen);
CK_FUNCTION(C_DecryptFinal, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastPart,
            CK_ULONG_PTR pulLastPartLen);
CK_FUNCTION(C_DigestInit, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism);
CK_FUNCTION(C_Digest, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
            CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen);
CK_FUNCTION(C_DigestUpdate, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen);
CK_FUNCTION(C_DigestKey, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hKey);
CK_FUNCTION(C_DigestFinal, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pDigest,
            CK_ULONG_PTR pulDigestLen);

/* Signatures and MACs */
CK_FUNCTION(C_SignInit, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hKey);
CK_FUNCTION(C_Sign, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
            CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen);
CK_FUNCTION(C_SignUpdate, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen);
CK_FUNCTION(C_SignFinal, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature,
            CK_ULONG_PTR pulSignatureLen);
CK_FUNCTION(C_SignRecoverInit, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hKey);
CK_FUNCTION(C_SignRecover, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
            CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen);
CK_FUNCTION(C_VerifyInit, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hKey);
CK_FUNCTION(C_Verify, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
            CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen);
CK_FUNCTION(C_VerifyUpdate, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen);
CK_FUNCTION(C_VerifyFinal, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature,
            CK_ULONG ulSignatureLen);
CK_FUNCTION(C_VerifyRecoverInit, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hKey);
CK_FUNCTION(C_VerifyRecover, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature,
            CK_ULONG ulSignatureLen, CK_BYTE_PTR pData, CK_ULONG_PTR pulDataLen);

/* Two operations at once */
CK_FUNCTION(C_DigestEncryptUpdate, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart,
            CK_ULONG ulPartLen, CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen);
CK_FUNCTION(C_DecryptDigestUpdate, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
            CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen);
CK_FUNCTION(C_SignEncryptUpdate, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen,
            CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen);
CK_FUNCTION(C_DecryptVerifyUpdate, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
            CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen);

/* Keys */
CK_FUNCTION(C_GenerateKey, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phKey);
CK_FUNCTION(C_GenerateKeyPair, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_ATTRIBUTE_PTR pPublicKeyTemplate, CK_ULONG ulPublicKeyAttributeCount,
            CK_ATTRIBUTE_PTR pPrivateKeyTemplate, CK_ULONG ulPrivateKeyAttributeCount,
            CK_OBJECT_HANDLE_PTR phPublicKey, CK_OBJECT_HANDLE_PTR phPrivateKey);
CK_FUNCTION(C_WrapKey, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hWrappingKey, CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pWrappedKey,
            CK_ULONG_PTR pulWrappedKeyLen);
CK_FUNCTION(C_UnwrapKey, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hUnwrappingKey, CK_BYTE_PTR pWrappedKey, CK_ULONG ulWrappedKeyLen,
            CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount, CK_OBJECT_HANDLE_PTR phKey);
CK_FUNCTION(C_DeriveKey, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hBaseKey, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,
            CK_OBJECT_HANDLE_PTR phKey);

/* Random numbers, parallel functions, slot events */
CK_FUNCTION(C_SeedRandom, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSeed, CK_ULONG ulSeedLen);
CK_FUNCTION(C_GenerateRandom, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pRandomData,
            CK_ULONG ulRandomLen);
CK_FUNCTION(C_GetFunctionStatus, CK_SESSION_HANDLE hSession);
CK_FUNCTION(C_CancelFunction, CK_SESSION_HANDLE hSession);
CK_FUNCTION(C_WaitForSlotEvent, CK_FLAGS flags, CK_SLOT_ID_PTR pSlot, CK_VOID_PTR pReserved);

/* Added by 3.0 */
CK_FUNCTION(C_GetInterfaceList, CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount);
CK_FUNCTION(C_GetInterface, CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion,
            CK_INTERFACE_PTR_PTR ppInterface, CK_FLAGS flags);
CK_FUNCTION(C_LoginUser, CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
            CK_ULONG ulPinLen, CK_UTF8CHAR_PTR pUsername, CK_ULONG ulUsernameLen);
CK_FUNCTION(C_SessionCancel, CK_SESSION_HANDLE hSession, CK_FLAGS flags);
CK_FUNCTION(C_MessageEncryptInit, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hKey);
CK_FUNCTION(C_EncryptMessage, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
            CK_ULONG ulParameterLen, CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
            CK_BYTE_PTR pPlaintext, CK_ULONG ulPlaintextLen, CK_BYTE_PTR pCiphertext,
            CK_ULONG_PTR pulCiphertextLen);
CK_FUNCTION(C_EncryptMessageBegin, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
            CK_ULONG ulParameterLen, CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen);
CK_FUNCTION(C_EncryptMessageNext, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
            CK_ULONG ulParameterLen, CK_BYTE_PTR pPlaintextPart, CK_ULONG ulPlaintextPartLen,
            CK_BYTE_PTR pCiphertextPart, CK_ULONG_PTR pulCiphertextPartLen, CK_FLAGS flags);
CK_FUNCTION(C_MessageEncryptFinal, CK_SESSION_HANDLE hSession);
CK_FUNCTION(C_MessageDecryptInit, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hKey);
CK_FUNCTION(C_DecryptMessage, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
            CK_ULONG ulParameterLen, CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
            CK_BYTE_PTR pCiphertext, CK_ULONG ulCiphertextLen, CK_BYTE_PTR pPlaintext,
            CK_ULONG_PTR pulPlaintextLen);
CK_FUNCTION(C_DecryptMessageBegin, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
            CK_ULONG ulParameterLen, CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen);
CK_FUNCTION(C_DecryptMessageNext, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
            CK_ULONG ulParameterLen, CK_BYTE_PTR pCiphertextPart, CK_ULONG ulCiphertextPartLen,
            CK_BYTE_PTR pPlaintextPart, CK_ULONG_PTR pulPlaintextPartLen, CK_FLAGS flags);
CK_FUNCTION(C_MessageDecryptFinal, CK_SESSION_HANDLE hSession);
CK_FUNCTION(C_MessageSignInit, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hKey);
CK_FUNCTION(C_SignMessage, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
            CK_ULONG ulParameterLen, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
            CK_ULONG_PTR pulSignatureLen);
CK_FUNCTION(C_SignMessageBegin, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
            CK_ULONG ulParameterLen);
CK_FUNCTION(C_SignMessageNext, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
            CK_ULONG ulParameterLen, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
            CK_ULONG_PTR pulSignatureLen);
CK_FUNCTION(C_MessageSignFinal, CK_SESSION_HANDLE hSession);
CK_FUNCTION(C_MessageVerifyInit, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hKey);
CK_FUNCTION(C_VerifyMessage, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
            CK_ULONG ulParameterLen, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
            CK_ULONG ulSignatureLen);
CK_FUNCTION(C_VerifyMessageBegin, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
            CK_ULONG ulParameterLen);
CK_FUNCTION(C_VerifyMessageNext, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
            CK_ULONG ulParameterLen, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
            CK_ULONG ulSignatureLen);
CK_FUNCTION(C_MessageVerifyFinal, CK_SESSION_HANDLE hSession);

/* Added by 3.2 */
CK_FUNCTION(C_EncapsulateKey, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hPublicKey, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,
            CK_BYTE_PTR pCiphertext, CK_ULONG_PTR pulCiphertextLen, CK_OBJECT_HANDLE_PTR phKey);
CK_FUNCTION(C_DecapsulateKey, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hPrivateKey, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,
            CK_BYTE_PTR pCiphertext, CK_ULONG ulCiphertextLen, CK_OBJECT_HANDLE_PTR phKey);
CK_FUNCTION(C_VerifySignatureInit, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen);
CK_FUNCTION(C_VerifySignature, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen);
CK_FUNCTION(C_VerifySignatureUpdate, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart,
            CK_ULONG ulPartLen);
CK_FUNCTION(C_VerifySignatureFinal, CK_SESSION_HANDLE hSession);
CK_FUNCTION(C_GetSessionValidationFlags, CK_SESSION_HANDLE hSession,
            CK_SESSION_VALIDATION_FLAGS_TYPE type, CK_FLAGS_PTR pFlags);
CK_FUNCTION(C_AsyncComplete, CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pFunctionName,
            CK_ASYNC_DATA_PTR pResult);
CK_FUNCTION(C_AsyncGetID, CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pFunctionName,
            CK_ULONG_PTR pulID);
CK_FUNCTION(C_AsyncJoin, CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pFunctionName, CK_ULONG ulID,
            CK_BYTE_PTR pData, CK_ULONG ulData);
CK_FUNCTION(C_WrapKeyAuthenticated, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hWrappingKey, CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pAssociatedData,
            CK_ULONG ulAssociatedDataLen, CK_BYTE_PTR pWrappedKey, CK_ULONG_PTR pulWrappedKeyLen);
CK_FUNCTION(C_UnwrapKeyAuthenticated, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
            CK_OBJECT_HANDLE hUnwrappingKey, CK_BYTE_PTR pWrappedKey, CK_ULONG ulWrappedKeyLen,
            CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount, CK_BYTE_PTR pAssociatedData,
            CK_ULONG ulAssociatedDataLen, CK_OBJECT_HANDLE_PTR phKey);

#undef CK_FUNCTION

/* The tables */

#define CK_FUNCTION_MEMBER(name) CK_##name name;

struct CK_FUNCTION_LIST {
    CK_VERSION version;
    CK_FUNCTIONS_2_40(CK_FUNCTION_MEMBER)
};

struct CK_FUNCTION_LIST_3_0 {
    CK_VERSION version;
    CK_FUNCTIONS_3_0(CK_FUNCTION_MEMBER)
};

struct CK_FUNCTION_LIST_3_2 {
    CK_VERSION version;
    CK_FUNCTIONS_3_2(CK_FUNCTION_MEMBER)
};

#undef CK_FUNCTION_MEMBER
