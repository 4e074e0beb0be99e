/*
 * A PKCS #11 module that hands everything to the module under INDEXKEY_MODULE and counts the calls
 * of its message functions: the proof that a client used them.
 *
 * The client loads it as a module; the test asks the same library for its counts.
 */
#define CK_API __attribute__((visibility("default")))

#include "tests/clients/counting_module.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "include/cryptoki.h"

static CK_FUNCTION_LIST_3_0 *real;
static CK_FUNCTION_LIST_3_0 list;
static CK_INTERFACE interface = {(CK_CHAR *) "PKCS 11", &list, 0};
static struct counted_calls counts;

CK_RV C_MessageEncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
                           CK_OBJECT_HANDLE key)
{
    counts.message_encrypt_init++;
    return real->C_MessageEncryptInit(session, mechanism, key);
}

CK_RV C_MessageDecryptInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
                           CK_OBJECT_HANDLE key)
{
    counts.message_decrypt_init++;
    return real->C_MessageDecryptInit(session, mechanism, key);
}

CK_RV C_EncryptMessage(CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameter_len,
                       CK_BYTE_PTR aad, CK_ULONG aad_len, CK_BYTE_PTR in, CK_ULONG in_len,
                       CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
    counts.encrypt_message++;
    return real->C_EncryptMessage(session, parameter, parameter_len, aad, aad_len, in, in_len, out,
                                  out_len);
}

CK_RV C_DecryptMessage(CK_SESSION_HANDLE session, CK_VOID_PTR parameter, CK_ULONG parameter_len,
                       CK_BYTE_PTR aad, CK_ULONG aad_len, CK_BYTE_PTR in, CK_ULONG in_len,
                       CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
    counts.decrypt_message++;
    return real->C_DecryptMessage(session, parameter, parameter_len, aad, aad_len, in, in_len, out,
                                  out_len);
}

/* The classic functions, which a client without message functions would use. */
CK_RV C_EncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
    counts.encrypt_init++;
    return real->C_EncryptInit(session, mechanism, key);
}

CK_RV C_DecryptInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
    counts.decrypt_init++;
    return real->C_DecryptInit(session, mechanism, key);
}

static CK_RV load(void)
{
    CK_VERSION version = {3, 0};
    CK_INTERFACE *found;

    void *library = dlopen(getenv("INDEXKEY_MODULE"), RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return CKR_GENERAL_ERROR;
    CK_C_GetInterface get = (CK_C_GetInterface) dlsym(library, "C_GetInterface");
    if (get == NULL || get(NULL, &version, &found, 0) != CKR_OK)
        return CKR_GENERAL_ERROR;
    real = found->pFunctionList;
    list = *real;
    list.C_MessageEncryptInit = C_MessageEncryptInit;
    list.C_MessageDecryptInit = C_MessageDecryptInit;
    list.C_EncryptMessage = C_EncryptMessage;
    list.C_DecryptMessage = C_DecryptMessage;
    list.C_EncryptInit = C_EncryptInit;
    list.C_DecryptInit = C_DecryptInit;
    return CKR_OK;
}

CK_RV C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion,
                     CK_INTERFACE_PTR_PTR ppInterface, CK_FLAGS flags)
{
    (void) pInterfaceName;
    (void) pVersion;
    if (flags != 0)
        return CKR_FUNCTION_FAILED;
    CK_RV rv = load();
    if (rv == CKR_OK)
        *ppInterface = &interface;
    return rv;
}

__attribute__((visibility("default"))) struct counted_calls counting_module_calls(void)
{
    return counts;
}
