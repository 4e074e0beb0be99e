/* The function tables of the three interfaces, all from the lists in cryptoki_functions.h. */
#define CK_API __attribute__((visibility("default")))

#include <string.h>

#include "include/cryptoki.h"

#define ENTRY(name) .name = name,

static CK_FUNCTION_LIST list_2_40 = {.version = {2, 40}, CK_FUNCTIONS_2_40(ENTRY)};
static CK_FUNCTION_LIST_3_0 list_3_0 = {.version = {3, 0}, CK_FUNCTIONS_3_0(ENTRY)};
static CK_FUNCTION_LIST_3_2 list_3_2 = {.version = {3, 2}, CK_FUNCTIONS_3_2(ENTRY)};

static CK_UTF8CHAR interface_name[] = "PKCS 11";

/* The first is the default. */
static CK_INTERFACE interfaces[] = {
    {(CK_CHAR *) interface_name, &list_3_2, 0},
    {(CK_CHAR *) interface_name, &list_3_0, 0},
    {(CK_CHAR *) interface_name, &list_2_40, 0},
};

#define INTERFACE_COUNT (sizeof(interfaces) / sizeof(interfaces[0]))

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
    if (ppFunctionList == NULL)
        return CKR_ARGUMENTS_BAD;
    *ppFunctionList = &list_2_40;
    return CKR_OK;
}

CK_RV C_GetInterfaceList(CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount)
{
    if (pulCount == NULL)
        return CKR_ARGUMENTS_BAD;
    if (pInterfacesList == NULL) {
        *pulCount = INTERFACE_COUNT;
        return CKR_OK;
    }
    if (*pulCount < INTERFACE_COUNT) {
        *pulCount = INTERFACE_COUNT;
        return CKR_BUFFER_TOO_SMALL;
    }
    memcpy(pInterfacesList, interfaces, sizeof(interfaces));
    *pulCount = INTERFACE_COUNT;
    return CKR_OK;
}

/* PKCS #11 5.4.6: NULL name and NULL version ask for the default; flags must all be had. */
CK_RV C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion,
                     CK_INTERFACE_PTR_PTR ppInterface, CK_FLAGS flags)
{
    if (ppInterface == NULL)
        return CKR_ARGUMENTS_BAD;
    if (pInterfaceName != NULL &&
        strcmp((const char *) pInterfaceName, (const char *) interface_name) != 0)
        return CKR_FUNCTION_FAILED;
    for (size_t i = 0; i < INTERFACE_COUNT; i++) {
        const CK_VERSION *version = interfaces[i].pFunctionList;
        if (pVersion != NULL &&
            (version->major != pVersion->major || version->minor != pVersion->minor))
            continue;
        if ((interfaces[i].flags & flags) != flags)
            continue;
        *ppInterface = &interfaces[i];
        return CKR_OK;
    }
    return CKR_FUNCTION_FAILED;
}
