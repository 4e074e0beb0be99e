/* A PKCS #11 module that derives and unwraps by RSA, as a file (tests/clients/other_hsm.h): over
 * the built module, with the configuration and the key that DERIVING_CONF and DERIVING_KEY name. */
#include <dlfcn.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/clients/other_hsm.h"

static CK_FUNCTION_LIST *inner;

static CK_RV initialize(void *arguments)
{
    CK_C_INITIALIZE_ARGS own = {.flags = CKF_OS_LOCKING_OK, .pReserved = getenv("DERIVING_CONF")};

    (void) arguments;
    return inner->C_Initialize(&own);
}

static EVP_PKEY *read_key(void)
{
    FILE *file = fopen(getenv("DERIVING_KEY"), "r");
    if (file == NULL)
        return NULL;
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    return key;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ret_functions)
{
    CK_C_GetFunctionList get = NULL;
    void *library = dlopen(getenv("INDEXKEY_MODULE"), RTLD_NOW | RTLD_LOCAL);
    EVP_PKEY *key = read_key();

    if (library != NULL)
        *(void **) &get = dlsym(library, "C_GetFunctionList");
    if (get == NULL || key == NULL || get(&inner) != CKR_OK)
        return CKR_GENERAL_ERROR;
    other_hsm_wrap(inner, key, ret_functions);
    (*ret_functions)->C_Initialize = initialize;
    return CKR_OK;
}
