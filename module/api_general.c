/* PKCS #11 5.4: general-purpose functions (the tables are in function_lists.c). */
#include "module/api.h"

#include <string.h>

#include "include/indexkey.h"
#include "module/module.h"
#include "module/text.h"

CK_RV C_Initialize(CK_VOID_PTR pInitArgs)
{
    return module_initialize(pInitArgs);
}

CK_RV C_Finalize(CK_VOID_PTR pReserved)
{
    if (pReserved != NULL)
        return CKR_ARGUMENTS_BAD;
    return module_finalize();
}

CK_RV C_GetInfo(CK_INFO_PTR pInfo)
{
    TRY(module_check());
    if (pInfo == NULL)
        return CKR_ARGUMENTS_BAD;
    memset(pInfo, 0, sizeof(*pInfo));
    pInfo->cryptokiVersion = (CK_VERSION){CRYPTOKI_VERSION_MAJOR, CRYPTOKI_VERSION_MINOR};
    text_pad(pInfo->manufacturerID, sizeof(pInfo->manufacturerID), TEXT_MANUFACTURER);
    text_pad(pInfo->libraryDescription, sizeof(pInfo->libraryDescription), "indexkey PKCS #11");
    pInfo->libraryVersion = (CK_VERSION){INDEXKEY_VERSION_MAJOR, INDEXKEY_VERSION_MINOR};
    return CKR_OK;
}
