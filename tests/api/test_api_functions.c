/*
 * Every function of every table: there, the same as the exported symbol, closed before
 * C_Initialize, and unharmed by NULL arguments; the interfaces; what the library, slot and token
 * say of themselves.
 */
#include <check.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/indexkey.h"
#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct api api;

/* What each function answers to nothing but NULL and 0, with the user logged in on `s`. The
 * standard has the last two answer always the same. */
#define CALLS_WITHOUT_SESSION(X)                                                                   \
    X(C_GetInfo, CKR_ARGUMENTS_BAD, NULL)                                                          \
    X(C_GetSlotList, CKR_ARGUMENTS_BAD, CK_FALSE, NULL, NULL)                                      \
    X(C_GetSlotInfo, CKR_ARGUMENTS_BAD, 0, NULL)                                                   \
    X(C_GetTokenInfo, CKR_ARGUMENTS_BAD, 0, NULL)                                                  \
    X(C_GetMechanismList, CKR_ARGUMENTS_BAD, 0, NULL, NULL)                                        \
    X(C_GetMechanismInfo, CKR_ARGUMENTS_BAD, 0, 0, NULL)                                           \
    X(C_InitToken, CKR_ARGUMENTS_BAD, 0, NULL, 0, NULL)                                            \
    X(C_OpenSession, CKR_ARGUMENTS_BAD, 0, CKF_SERIAL_SESSION, NULL, NULL, NULL)                   \
    X(C_WaitForSlotEvent, CKR_ARGUMENTS_BAD, CKF_DONT_BLOCK, NULL, NULL)                           \
    X(C_GetFunctionStatus, CKR_FUNCTION_NOT_PARALLEL, 0)                                           \
    X(C_CancelFunction, CKR_FUNCTION_NOT_PARALLEL, 0)

#define NOT_BEGUN CKR_OPERATION_NOT_INITIALIZED
#define NO CKR_FUNCTION_NOT_SUPPORTED

#define CALLS_WITH_SESSION(X)                                                                      \
    X(C_InitPIN, CKR_USER_NOT_LOGGED_IN, s, NULL, 0)                                               \
    X(C_SetPIN, CKR_ARGUMENTS_BAD, s, NULL, 0, NULL, 0)                                            \
    X(C_GetSessionInfo, CKR_ARGUMENTS_BAD, s, NULL)                                                \
    X(C_GetOperationState, NOT_BEGUN, s, NULL, NULL)                                               \
    X(C_SetOperationState, CKR_ARGUMENTS_BAD, s, NULL, 0, 0, 0)                                    \
    X(C_Login, CKR_ARGUMENTS_BAD, s, CKU_USER, NULL, 0)                                            \
    X(C_LoginUser, CKR_ARGUMENTS_BAD, s, CKU_USER, NULL, 0, NULL, 1)                               \
    X(C_CreateObject, CKR_ARGUMENTS_BAD, s, NULL, 0, NULL)                                         \
    X(C_CopyObject, CKR_ARGUMENTS_BAD, s, 0, NULL, 1, NULL)                                        \
    X(C_DestroyObject, CKR_OBJECT_HANDLE_INVALID, s, 0)                                            \
    X(C_GetObjectSize, CKR_ARGUMENTS_BAD, s, 0, NULL)                                              \
    X(C_GetAttributeValue, CKR_ARGUMENTS_BAD, s, 0, NULL, 1)                                       \
    X(C_SetAttributeValue, CKR_ARGUMENTS_BAD, s, 0, NULL, 1)                                       \
    X(C_FindObjectsInit, CKR_ARGUMENTS_BAD, s, NULL, 1)                                            \
    X(C_FindObjects, NOT_BEGUN, s, NULL, 1, NULL)                                                  \
    X(C_FindObjectsFinal, NOT_BEGUN, s)                                                            \
    X(C_EncryptInit, CKR_OK, s, NULL, 0)                                                           \
    X(C_Encrypt, NOT_BEGUN, s, NULL, 1, NULL, NULL)                                                \
    X(C_EncryptUpdate, NOT_BEGUN, s, NULL, 1, NULL, NULL)                                          \
    X(C_EncryptFinal, NOT_BEGUN, s, NULL, NULL)                                                    \
    X(C_DecryptInit, CKR_OK, s, NULL, 0)                                                           \
    X(C_Decrypt, NOT_BEGUN, s, NULL, 1, NULL, NULL)                                                \
    X(C_DecryptUpdate, NOT_BEGUN, s, NULL, 1, NULL, NULL)                                          \
    X(C_DecryptFinal, NOT_BEGUN, s, NULL, NULL)                                                    \
    X(C_DigestInit, CKR_OK, s, NULL)                                                               \
    X(C_Digest, NOT_BEGUN, s, NULL, 1, NULL, NULL)                                                 \
    X(C_DigestUpdate, NOT_BEGUN, s, NULL, 1)                                                       \
    X(C_DigestKey, NOT_BEGUN, s, 0)                                                                \
    X(C_DigestFinal, NOT_BEGUN, s, NULL, NULL)                                                     \
    X(C_SignInit, CKR_OK, s, NULL, 0)                                                              \
    X(C_Sign, NOT_BEGUN, s, NULL, 1, NULL, NULL)                                                   \
    X(C_SignUpdate, NOT_BEGUN, s, NULL, 1)                                                         \
    X(C_SignFinal, NOT_BEGUN, s, NULL, NULL)                                                       \
    X(C_SignRecoverInit, NO, s, NULL, 0)                                                           \
    X(C_SignRecover, NO, s, NULL, 1, NULL, NULL)                                                   \
    X(C_VerifyInit, CKR_OK, s, NULL, 0)                                                            \
    X(C_Verify, NOT_BEGUN, s, NULL, 1, NULL, 1)                                                    \
    X(C_VerifyUpdate, NOT_BEGUN, s, NULL, 1)                                                       \
    X(C_VerifyFinal, NOT_BEGUN, s, NULL, 1)                                                        \
    X(C_VerifyRecoverInit, NO, s, NULL, 0)                                                         \
    X(C_VerifyRecover, NO, s, NULL, 1, NULL, NULL)                                                 \
    X(C_DigestEncryptUpdate, NOT_BEGUN, s, NULL, 1, NULL, NULL)                                    \
    X(C_DecryptDigestUpdate, NOT_BEGUN, s, NULL, 1, NULL, NULL)                                    \
    X(C_SignEncryptUpdate, NOT_BEGUN, s, NULL, 1, NULL, NULL)                                      \
    X(C_DecryptVerifyUpdate, NOT_BEGUN, s, NULL, 1, NULL, NULL)                                    \
    X(C_GenerateKey, CKR_ARGUMENTS_BAD, s, NULL, NULL, 1, NULL)                                    \
    X(C_GenerateKeyPair, NO, s, NULL, NULL, 1, NULL, 1, NULL, NULL)                                \
    X(C_WrapKey, CKR_ARGUMENTS_BAD, s, NULL, 0, 0, NULL, NULL)                                     \
    X(C_UnwrapKey, CKR_ARGUMENTS_BAD, s, NULL, 0, NULL, 1, NULL, 1, NULL)                          \
    X(C_DeriveKey, CKR_ARGUMENTS_BAD, s, NULL, 0, NULL, 1, NULL)                                   \
    X(C_SeedRandom, CKR_ARGUMENTS_BAD, s, NULL, 1)                                                 \
    X(C_GenerateRandom, CKR_ARGUMENTS_BAD, s, NULL, 1)                                             \
    X(C_SessionCancel, CKR_OK, s, 0)                                                               \
    X(C_MessageEncryptInit, CKR_OK, s, NULL, 0)                                                    \
    X(C_EncryptMessage, NOT_BEGUN, s, NULL, 1, NULL, 1, NULL, 1, NULL, NULL)                       \
    X(C_EncryptMessageBegin, NOT_BEGUN, s, NULL, 1, NULL, 1)                                       \
    X(C_EncryptMessageNext, NOT_BEGUN, s, NULL, 1, NULL, 1, NULL, NULL, 0)                         \
    X(C_MessageEncryptFinal, NOT_BEGUN, s)                                                         \
    X(C_MessageDecryptInit, CKR_OK, s, NULL, 0)                                                    \
    X(C_DecryptMessage, NOT_BEGUN, s, NULL, 1, NULL, 1, NULL, 1, NULL, NULL)                       \
    X(C_DecryptMessageBegin, NOT_BEGUN, s, NULL, 1, NULL, 1)                                       \
    X(C_DecryptMessageNext, NOT_BEGUN, s, NULL, 1, NULL, 1, NULL, NULL, 0)                         \
    X(C_MessageDecryptFinal, NOT_BEGUN, s)                                                         \
    X(C_MessageSignInit, CKR_OK, s, NULL, 0)                                                       \
    X(C_SignMessage, NOT_BEGUN, s, NULL, 1, NULL, 1, NULL, NULL)                                   \
    X(C_SignMessageBegin, NOT_BEGUN, s, NULL, 1)                                                   \
    X(C_SignMessageNext, NOT_BEGUN, s, NULL, 1, NULL, 1, NULL, NULL)                               \
    X(C_MessageSignFinal, NOT_BEGUN, s)                                                            \
    X(C_MessageVerifyInit, CKR_OK, s, NULL, 0)                                                     \
    X(C_VerifyMessage, NOT_BEGUN, s, NULL, 1, NULL, 1, NULL, 1)                                    \
    X(C_VerifyMessageBegin, NOT_BEGUN, s, NULL, 1)                                                 \
    X(C_VerifyMessageNext, NOT_BEGUN, s, NULL, 1, NULL, 1, NULL, 1)                                \
    X(C_MessageVerifyFinal, NOT_BEGUN, s)                                                          \
    X(C_EncapsulateKey, NO, s, NULL, 0, NULL, 1, NULL, NULL, NULL)                                 \
    X(C_DecapsulateKey, NO, s, NULL, 0, NULL, 1, NULL, 1, NULL)                                    \
    X(C_VerifySignatureInit, CKR_OK, s, NULL, 0, NULL, 1)                                          \
    X(C_VerifySignature, NOT_BEGUN, s, NULL, 1)                                                    \
    X(C_VerifySignatureUpdate, NOT_BEGUN, s, NULL, 1)                                              \
    X(C_VerifySignatureFinal, NOT_BEGUN, s)                                                        \
    X(C_GetSessionValidationFlags, CKR_ARGUMENTS_BAD, s, 0, NULL)                                  \
    X(C_AsyncComplete, CKR_ARGUMENTS_BAD, s, NULL, NULL)                                           \
    X(C_AsyncGetID, CKR_ARGUMENTS_BAD, s, NULL, NULL)                                              \
    X(C_AsyncJoin, CKR_ARGUMENTS_BAD, s, NULL, 0, NULL, 1)                                         \
    X(C_WrapKeyAuthenticated, CKR_ARGUMENTS_BAD, s, NULL, 0, 0, NULL, 1, NULL, NULL)               \
    X(C_UnwrapKeyAuthenticated, CKR_ARGUMENTS_BAD, s, NULL, 0, NULL, 1, NULL, 1, NULL, 1, NULL)

/* Those that end something; called last. */
#define CALLS_THAT_END(X)                                                                          \
    X(C_Logout, CKR_OK, s)                                                                         \
    X(C_CloseSession, CKR_OK, s)

#define ONE(...) +1
/* C_Initialize, C_Finalize, C_CloseAllSessions and the three that give tables. */
_Static_assert(0 CALLS_WITHOUT_SESSION(ONE) CALLS_WITH_SESSION(ONE) CALLS_THAT_END(ONE) + 6 == 104,
               "every function is called");

#define CALL(name, wanted, ...)                                                                    \
    api_expect(api.p11->name(__VA_ARGS__), overriding == CKR_OK ? (wanted) : overriding, #name);

static void call_without_session(CK_RV overriding)
{
    CALLS_WITHOUT_SESSION(CALL)
}

static void call_with_session(CK_SESSION_HANDLE s,
                              CK_RV overriding){CALLS_WITH_SESSION(CALL) CALLS_THAT_END(CALL)}

START_TEST(null_arguments)
{
    api_open(&api, "memory:", NULL);
    call_without_session(CKR_OK);
    call_with_session(api.session, CKR_OK);
    call_with_session(api.session, CKR_SESSION_HANDLE_INVALID);
    call_with_session(0, CKR_SESSION_HANDLE_INVALID);
    call_with_session(~0UL, CKR_SESSION_HANDLE_INVALID);
    call_with_session(1UL << 20 | 63, CKR_SESSION_HANDLE_INVALID);
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_GetFunctionList(NULL));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_GetInterfaceList(NULL, NULL));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_GetInterface(NULL, NULL, NULL, 0));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_Finalize(&api));
    api_close(&api);
}
END_TEST

START_TEST(closed_before_initialize)
{
    api_load(&api, "memory:", NULL);
    OK(api.p11->C_Finalize(NULL));
    for (int round = 0; round < 2; round++) {
        call_without_session(CKR_CRYPTOKI_NOT_INITIALIZED);
        call_with_session(1, CKR_CRYPTOKI_NOT_INITIALIZED);
        EXPECT(CKR_CRYPTOKI_NOT_INITIALIZED, api.p11->C_CloseAllSessions(0));
        EXPECT(CKR_CRYPTOKI_NOT_INITIALIZED, api.p11->C_Finalize(NULL));
        OK(api.p11->C_Initialize(NULL));
        OK(api.p11->C_Finalize(NULL));
    }
    api_close(&api);
}
END_TEST

/* Every entry of a table is the exported function of its name. */
#define SAME(name)                                                                                 \
    ck_assert_msg(list->name != NULL && (void *) list->name == dlsym(api.library, #name), #name);

START_TEST(tables)
{
    CK_VERSION versions[] = {{2, 40}, {3, 0}, {3, 2}};
    CK_INTERFACE *interface;
    CK_FUNCTION_LIST *list_2_40;

    api_load(&api, "memory:", NULL);
    OK(api.p11->C_GetFunctionList(&list_2_40));
    ck_assert(list_2_40->version.major == 2 && list_2_40->version.minor == 40);
    for (size_t i = 0; i < COUNT(versions); i++) {
        OK(api.p11->C_GetInterface((CK_UTF8CHAR *) "PKCS 11", &versions[i], &interface, 0));
        ck_assert_str_eq((char *) interface->pInterfaceName, "PKCS 11");
        ck_assert_mem_eq(interface->pFunctionList, &versions[i], sizeof(versions[i]));
        ck_assert_uint_eq(interface->flags & CKF_INTERFACE_FORK_SAFE, 0);
        if (versions[i].major == 2) {
            CK_FUNCTION_LIST *list = interface->pFunctionList;
            ck_assert_ptr_eq(list, list_2_40);
            CK_FUNCTIONS_2_40(SAME)
        } else if (versions[i].minor == 0) {
            CK_FUNCTION_LIST_3_0 *list = interface->pFunctionList;
            CK_FUNCTIONS_3_0(SAME)
        } else {
            CK_FUNCTION_LIST_3_2 *list = interface->pFunctionList;
            CK_FUNCTIONS_3_2(SAME)
        }
    }
    api_close(&api);
}
END_TEST

static const struct {
    const char *name;
    CK_VERSION version; /* 0.0: NULL */
    CK_FLAGS flags;
    CK_RV wanted;
} interfaces[] = {
    {NULL, {0, 0}, 0, CKR_OK},
    {"PKCS 11", {0, 0}, 0, CKR_OK},
    {NULL, {3, 0}, 0, CKR_OK},
    {"PKCS 11", {2, 40}, 0, CKR_OK},
    {"PKCS 11", {3, 1}, 0, CKR_FUNCTION_FAILED},
    {"PKCS 11", {2, 20}, 0, CKR_FUNCTION_FAILED},
    {"pkcs 11", {0, 0}, 0, CKR_FUNCTION_FAILED},
    {"", {0, 0}, 0, CKR_FUNCTION_FAILED},
    {"Vendor", {3, 2}, 0, CKR_FUNCTION_FAILED},
    {NULL, {0, 0}, CKF_INTERFACE_FORK_SAFE, CKR_FUNCTION_FAILED},
};

START_TEST(get_interface)
{
    CK_INTERFACE list[3];
    CK_ULONG count = 0;

    api_load(&api, "memory:", NULL);
    for (size_t i = 0; i < COUNT(interfaces); i++) {
        CK_VERSION version = interfaces[i].version;
        CK_INTERFACE *found = NULL;
        char row[32];
        snprintf(row, sizeof(row), "row %zu", i);
        api_expect(api.p11->C_GetInterface((CK_UTF8CHAR *) interfaces[i].name,
                                           version.major == 0 ? NULL : &version, &found,
                                           interfaces[i].flags),
                   interfaces[i].wanted, row);
        ck_assert_int_eq(found != NULL, interfaces[i].wanted == CKR_OK);
    }
    OK(api.p11->C_GetInterfaceList(NULL, &count));
    ck_assert_uint_eq(count, 3);
    count = 2;
    EXPECT(CKR_BUFFER_TOO_SMALL, api.p11->C_GetInterfaceList(list, &count));
    ck_assert_uint_eq(count, 3);
    OK(api.p11->C_GetInterfaceList(list, &count));
    ck_assert_uint_eq(((CK_VERSION *) list[0].pFunctionList)->minor, 2); /* the default first */
    api_close(&api);
}
END_TEST

static CK_RV mutex_created(CK_VOID_PTR_PTR mutex)
{
    *mutex = NULL;
    return CKR_OK;
}

static CK_RV mutex_used(CK_VOID_PTR mutex)
{
    (void) mutex;
    return CKR_OK;
}

START_TEST(initialize_arguments)
{
    CK_C_INITIALIZE_ARGS some = {.CreateMutex = mutex_created, .flags = CKF_OS_LOCKING_OK};
    CK_C_INITIALIZE_ARGS all = {mutex_created, mutex_used, mutex_used, mutex_used, 0, NULL};
    CK_C_INITIALIZE_ARGS none = {.flags = 0};
    CK_C_INITIALIZE_ARGS path = {.pReserved = api.conf};

    api_load(&api, "memory:", NULL);
    EXPECT(CKR_CRYPTOKI_ALREADY_INITIALIZED, api.p11->C_Initialize(NULL));
    OK(api.p11->C_Finalize(NULL));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_Initialize(&some));
    EXPECT(CKR_CANT_LOCK, api.p11->C_Initialize(&all));
    all.flags = CKF_OS_LOCKING_OK;
    OK(api.p11->C_Initialize(&all));
    OK(api.p11->C_Finalize(NULL));
    OK(api.p11->C_Initialize(&none));
    OK(api.p11->C_Finalize(NULL));
    unsetenv("INDEXKEY_CONF");
    OK(api.p11->C_Initialize(&path));
    api_close(&api);
}
END_TEST

START_TEST(what_the_library_says)
{
    CK_INFO info;
    CK_SLOT_INFO slot;
    CK_TOKEN_INFO token;
    CK_SLOT_ID slots[2] = {99, 99};
    CK_ULONG count = 0;

    api_open(&api, "memory:", NULL);
    OK(api.p11->C_GetInfo(&info));
    ck_assert(info.cryptokiVersion.major == 3 && info.cryptokiVersion.minor == 2);
    ck_assert_uint_eq(info.flags, 0);
    ck_assert_uint_eq(info.libraryVersion.minor, INDEXKEY_VERSION_MINOR);
    ck_assert_mem_eq(info.libraryDescription, "indexkey PKCS #11               ", 32);
    OK(api.p11->C_GetSlotList(CK_TRUE, NULL, &count));
    ck_assert_uint_eq(count, 1);
    count = 0;
    EXPECT(CKR_BUFFER_TOO_SMALL, api.p11->C_GetSlotList(CK_TRUE, slots, &count));
    ck_assert_uint_eq(count, 1);
    OK(api.p11->C_GetSlotList(CK_FALSE, slots, &count));
    ck_assert_uint_eq(slots[0], 0);
    ck_assert_uint_eq(slots[1], 99);
    OK(api.p11->C_GetSlotInfo(0, &slot));
    ck_assert_uint_eq(slot.flags, CKF_TOKEN_PRESENT);
    ck_assert_mem_eq(slot.slotDescription, "indexkey [token test]  ", 23);
    EXPECT(CKR_SLOT_ID_INVALID, api.p11->C_GetSlotInfo(1, &slot));
    EXPECT(CKR_SLOT_ID_INVALID, api.p11->C_GetTokenInfo(1, &token));
    EXPECT(CKR_SLOT_ID_INVALID, api.p11->C_GetMechanismList(1, NULL, &count));
    EXPECT(CKR_SLOT_ID_INVALID, api.p11->C_CloseAllSessions(1));
    OK(api.p11->C_GetTokenInfo(0, &token));
    ck_assert_mem_eq(token.label, "test                            ", 32);
    ck_assert_uint_eq(token.flags, CKF_RNG | CKF_LOGIN_REQUIRED | CKF_DUAL_CRYPTO_OPERATIONS |
                                       CKF_RESTORE_KEY_NOT_NEEDED | CKF_TOKEN_INITIALIZED |
                                       CKF_USER_PIN_INITIALIZED);
    ck_assert(token.ulMinPinLen == 4 && token.ulMaxPinLen == 255);
    ck_assert(token.ulSessionCount == 1 && token.ulRwSessionCount == 1);
    for (size_t i = 0; i < sizeof(token.serialNumber); i++)
        ck_assert(strchr("0123456789abcdefABCDEF", token.serialNumber[i]) != NULL);
    api_close(&api);
}
END_TEST

static const struct {
    CK_MECHANISM_TYPE type;
    CK_ULONG min;
    CK_ULONG max;
    CK_FLAGS flags;
} mechanisms[] = {
    {CKM_AES_GCM, 16, 32,
     CKF_ENCRYPT | CKF_DECRYPT | CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT | CKF_MULTI_MESSAGE |
         CKF_WRAP | CKF_UNWRAP},
    {CKM_AES_ECB, 16, 32, CKF_ENCRYPT | CKF_DECRYPT},
    {CKM_AES_CTR, 16, 32, CKF_ENCRYPT | CKF_DECRYPT},
    {CKM_AES_GMAC, 16, 32, CKF_SIGN | CKF_VERIFY},
    {CKM_AES_KEY_WRAP_KWP, 16, 32, CKF_WRAP | CKF_UNWRAP},
    {CKM_AES_KEY_GEN, 16, 32, CKF_GENERATE},
    {CKM_SHA256, 0, 0, CKF_DIGEST},
    {CKM_GENERIC_SECRET_KEY_GEN, 112, 4096, CKF_GENERATE},
};

START_TEST(what_mechanisms_say)
{
    CK_MECHANISM_TYPE list[200];
    CK_ULONG count = 0;
    CK_MECHANISM_INFO info;

    api_load(&api, "memory:", NULL);
    OK(api.p11->C_GetMechanismList(0, NULL, &count));
    ck_assert_uint_gt(count, COUNT(mechanisms));
    CK_ULONG all = count;
    count = all - 1;
    EXPECT(CKR_BUFFER_TOO_SMALL, api.p11->C_GetMechanismList(0, list, &count));
    ck_assert_uint_eq(count, all);
    ck_assert_uint_le(count, COUNT(list));
    OK(api.p11->C_GetMechanismList(0, list, &count));
    for (CK_ULONG i = 0; i < count; i++) {
        OK(api.p11->C_GetMechanismInfo(0, list[i], &info));
        ck_assert_uint_ne(info.flags, 0);
        ck_assert_uint_le(info.ulMinKeySize, info.ulMaxKeySize);
        for (CK_ULONG other = 0; other < i; other++)
            ck_assert_uint_ne(list[i], list[other]);
    }
    for (size_t i = 0; i < COUNT(mechanisms); i++) {
        OK(api.p11->C_GetMechanismInfo(0, mechanisms[i].type, &info));
        ck_assert_uint_eq(info.ulMinKeySize, mechanisms[i].min);
        ck_assert_uint_eq(info.ulMaxKeySize, mechanisms[i].max);
        ck_assert_uint_eq(info.flags, mechanisms[i].flags);
    }
    EXPECT(CKR_MECHANISM_INVALID, api.p11->C_GetMechanismInfo(0, CKM_RSA_PKCS, &info));
    api_close(&api);
}
END_TEST

static void *wait_for_event(void *result)
{
    CK_SLOT_ID slot;

    *(CK_RV *) result = api.p11->C_WaitForSlotEvent(0, &slot, NULL);
    return NULL;
}

START_TEST(finalize_ends_the_wait)
{
    CK_RV result = CKR_OK;
    CK_SLOT_ID slot;
    pthread_t waiter;

    api_load(&api, "memory:", NULL);
    EXPECT(CKR_NO_EVENT, api.p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, &slot));
    ck_assert_int_eq(pthread_create(&waiter, NULL, wait_for_event, &result), 0);
    usleep(100 * 1000);
    OK(api.p11->C_Finalize(NULL));
    ck_assert_int_eq(pthread_join(waiter, NULL), 0);
    api_expect(result, CKR_CRYPTOKI_NOT_INITIALIZED, "C_WaitForSlotEvent");
    api_close(&api);
}
END_TEST

START_TEST(random_numbers)
{
    CK_BYTE first[64] = {0};
    CK_BYTE second[64] = {0};

    api_open(&api, "memory:", NULL);
    OK(api.p11->C_GenerateRandom(api.session, first, sizeof(first)));
    OK(api.p11->C_GenerateRandom(api.session, second, sizeof(second)));
    ck_assert_mem_ne(first, second, sizeof(first));
    OK(api.p11->C_GenerateRandom(api.session, NULL, 0));
    EXPECT(CKR_RANDOM_SEED_NOT_SUPPORTED, api.p11->C_SeedRandom(api.session, first, 64));
    api_close(&api);
}
END_TEST

START_TEST(searches)
{
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 9;

    api_open(&api, "memory:", NULL);
    api_make_index_key(&api, "found", 1);
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_FindObjects(api.session, found, 2, &count));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_FindObjectsFinal(api.session));
    OK(api.p11->C_FindObjectsInit(api.session, NULL, 0));
    EXPECT(CKR_OPERATION_ACTIVE, api.p11->C_FindObjectsInit(api.session, NULL, 0));
    OK(api.p11->C_FindObjects(api.session, found, 0, &count));
    ck_assert_uint_eq(count, 0);
    OK(api.p11->C_FindObjects(api.session, found, 1, &count));
    ck_assert_uint_eq(count, 1);
    OK(api.p11->C_SessionCancel(api.session, CKF_ENCRYPT));
    OK(api.p11->C_FindObjects(api.session, found + 1, 1, &count));
    ck_assert_uint_ne(found[0], found[1]);
    OK(api.p11->C_SessionCancel(api.session, CKF_FIND_OBJECTS));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_FindObjects(api.session, found, 2, &count));
    OK(api.p11->C_FindObjectsInit(api.session, NULL, 0));
    OK(api.p11->C_FindObjectsFinal(api.session));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_FindObjectsFinal(api.session));
    api_close(&api);
}
END_TEST

/* Public, fixed, and the same at every start. */
START_TEST(profiles)
{
    static const CK_PROFILE_ID wanted[] = {CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER};
    CK_OBJECT_CLASS class = CKO_PROFILE;
    CK_BYTE first_ids[2][64] = {{0}};

    api_open(&api, "memory:", NULL);
    OK(api.p11->C_Logout(api.session));
    for (int start = 0; start < 2; start++) {
        for (size_t i = 0; i < COUNT(wanted); i++) {
            CK_PROFILE_ID profile = wanted[i];
            CK_BYTE id[64] = {0};
            CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                                       {CKA_PROFILE_ID, &profile, sizeof(profile)}};
            CK_ATTRIBUTE unique_id = {CKA_UNIQUE_ID, id, sizeof(id)};
            CK_OBJECT_HANDLE found[2];
            CK_ULONG count = 0;
            OK(api.p11->C_FindObjectsInit(api.session, template, COUNT(template)));
            OK(api.p11->C_FindObjects(api.session, found, 2, &count));
            OK(api.p11->C_FindObjectsFinal(api.session));
            ck_assert_uint_eq(count, 1);
            OK(api.p11->C_GetAttributeValue(api.session, found[0], &unique_id, 1));
            if (start == 0)
                memcpy(first_ids[i], id, sizeof(id));
            ck_assert_mem_eq(first_ids[i], id, sizeof(id));
            EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, found[0]));
        }
        CK_ATTRIBUTE all = {CKA_CLASS, &class, sizeof(class)};
        ck_assert_uint_eq(api_count(&api, &all, 1), COUNT(wanted));
        OK(api.p11->C_Finalize(NULL));
        OK(api.p11->C_Initialize(NULL));
        OK(api.p11->C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                  &api.session));
    }
    api_close(&api);
}
END_TEST

/* A readable key is digested as its bytes. */
START_TEST(digest_of_a_key)
{
    CK_BYTE value[32] = "a key that anybody may read....";
    CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};
    CK_BYTE expected[32];
    CK_BYTE digest[32];
    CK_ULONG len = sizeof(digest);
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL is_sensitive = CK_FALSE;
    CK_BBOOL is_extractable = CK_TRUE;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_VALUE, value, sizeof(value)},
                               {CKA_SENSITIVE, &is_sensitive, 1},
                               {CKA_EXTRACTABLE, &is_extractable, 1}};
    CK_OBJECT_HANDLE readable;
    CK_OBJECT_HANDLE sensitive;

    api_open(&api, "memory:", NULL);
    OK(api.p11->C_CreateObject(api.session, template, COUNT(template), &readable));
    is_sensitive = CK_TRUE;
    OK(api.p11->C_CreateObject(api.session, template, COUNT(template), &sensitive));
    OK(api.p11->C_DigestInit(api.session, &sha256));
    OK(api.p11->C_Digest(api.session, value, sizeof(value), expected, &len));
    OK(api.p11->C_DigestInit(api.session, &sha256));
    OK(api.p11->C_DigestKey(api.session, readable));
    OK(api.p11->C_DigestFinal(api.session, digest, &len));
    ck_assert_mem_eq(digest, expected, sizeof(digest));
    OK(api.p11->C_DigestInit(api.session, &sha256));
    EXPECT(CKR_KEY_INDIGESTIBLE, api.p11->C_DigestKey(api.session, sensitive));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_DigestFinal(api.session, digest, &len));
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api functions");
    TCase *tests = tcase_create("functions");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, null_arguments);
    tcase_add_test(tests, closed_before_initialize);
    tcase_add_test(tests, tables);
    tcase_add_test(tests, get_interface);
    tcase_add_test(tests, initialize_arguments);
    tcase_add_test(tests, what_the_library_says);
    tcase_add_test(tests, what_mechanisms_say);
    tcase_add_test(tests, finalize_ends_the_wait);
    tcase_add_test(tests, random_numbers);
    tcase_add_test(tests, searches);
    tcase_add_test(tests, profiles);
    tcase_add_test(tests, digest_of_a_key);
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
