#include "tests/clients/other_hsm.h"

#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/api_fixture.h"

#define PUBLIC_KEY ((CK_OBJECT_HANDLE) 0x7fff0001UL)
#define PRIVATE_KEY ((CK_OBJECT_HANDLE) 0x7fff0002UL)
#define ENTRIES_MAX 32

/* Past the wrap that leads api_fixture.c to the module in this program. */
void *__real_dlopen(const char *path, int flags);
void *__real_dlsym(void *library, const char *name);

/* The functions of the table assert nothing: they also run outside of a test program. */
static CK_FUNCTION_LIST *module;
static CK_FUNCTION_LIST table;
static EVP_PKEY *pair;
static CK_OBJECT_HANDLE found; /* of a search for the pair; 0: the module searches */

static CK_RV find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;

    for (CK_ULONG i = 0; i < count; i++)
        if (template[i].type == CKA_CLASS)
            memcpy(&class, template[i].pValue, sizeof(class));
    found = class == CKO_PUBLIC_KEY ? PUBLIC_KEY : class == CKO_PRIVATE_KEY ? PRIVATE_KEY : 0;
    return found != 0 ? CKR_OK : module->C_FindObjectsInit(session, template, count);
}

static CK_RV find(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max,
                  CK_ULONG *count)
{
    if (found == 0)
        return module->C_FindObjects(session, objects, max, count);
    objects[0] = found;
    *count = 1;
    return CKR_OK;
}

static CK_RV find_final(CK_SESSION_HANDLE session)
{
    return found == 0 ? module->C_FindObjectsFinal(session) : CKR_OK;
}

static CK_RV get_attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                           CK_ATTRIBUTE *template, CK_ULONG count)
{
    BIGNUM *number = NULL;

    if (object != PUBLIC_KEY)
        return module->C_GetAttributeValue(session, object, template, count);
    const char *name = template->type == CKA_MODULUS ? "n" : "e";
    if (EVP_PKEY_get_bn_param(pair, name, &number) != 1)
        return CKR_GENERAL_ERROR;
    template->ulValueLen = (CK_ULONG) BN_num_bytes(number);
    if (template->pValue != NULL)
        BN_bn2bin(number, template->pValue);
    BN_free(number);
    return CKR_OK;
}

static CK_RV decrypt(const CK_RSA_PKCS_OAEP_PARAMS *params, CK_BYTE *wrapped, CK_ULONG wrapped_len,
                     CK_BYTE *ret_value, size_t *len)
{
    const EVP_MD *digest = params->hashAlg == CKM_SHA_1 ? EVP_sha1() : EVP_sha256();
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, pair, NULL);

    bool done = EVP_PKEY_decrypt_init(context) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_oaep_md(context, digest) == 1 &&
                EVP_PKEY_decrypt(context, ret_value, len, wrapped, wrapped_len) == 1;
    EVP_PKEY_CTX_free(context);
    return done ? CKR_OK : CKR_WRAPPED_KEY_INVALID;
}

static CK_RV C_UnwrapKey_with_pair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                                   CK_OBJECT_HANDLE key, CK_BYTE *wrapped, CK_ULONG wrapped_len,
                                   CK_ATTRIBUTE *template, CK_ULONG count,
                                   CK_OBJECT_HANDLE *ret_key)
{
    CK_ATTRIBUTE entries[ENTRIES_MAX];
    CK_BYTE value[256];
    size_t len = sizeof(value);

    if (key != PRIVATE_KEY || mechanism->mechanism != CKM_RSA_PKCS_OAEP || count >= ENTRIES_MAX)
        return CKR_ARGUMENTS_BAD;
    CK_RV rv = decrypt(mechanism->pParameter, wrapped, wrapped_len, value, &len);
    if (rv != CKR_OK)
        return rv;
    memcpy(entries, template, count * sizeof(*template));
    entries[count] = (CK_ATTRIBUTE){CKA_VALUE, value, len};
    return module->C_CreateObject(session, entries, count + 1, ret_key);
}

static void make_token(CK_SESSION_HANDLE *ret_session)
{
    CK_UTF8CHAR label[33] = "other                           ";
    CK_SLOT_ID slot = 0;

    OK(module->C_InitToken(slot, (CK_UTF8CHAR *) API_SO_PIN, strlen(API_SO_PIN), label));
    OK(module->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, ret_session));
    OK(module->C_Login(*ret_session, CKU_SO, (CK_UTF8CHAR *) API_SO_PIN, strlen(API_SO_PIN)));
    OK(module->C_InitPIN(*ret_session, (CK_UTF8CHAR *) API_USER_PIN, strlen(API_USER_PIN)));
    OK(module->C_Logout(*ret_session));
    OK(module->C_Login(*ret_session, CKU_USER, (CK_UTF8CHAR *) API_USER_PIN, strlen(API_USER_PIN)));
}

void other_hsm_wrap(CK_FUNCTION_LIST *inner, EVP_PKEY *key, CK_FUNCTION_LIST **ret_functions)
{
    module = inner;
    pair = key;
    table = *module;
    table.C_FindObjectsInit = find_init;
    table.C_FindObjects = find;
    table.C_FindObjectsFinal = find_final;
    table.C_GetAttributeValue = get_attribute;
    table.C_UnwrapKey = C_UnwrapKey_with_pair;
    *ret_functions = &table;
}

void other_hsm_open(const char *conf, CK_FUNCTION_LIST **ret_functions,
                    CK_SESSION_HANDLE *ret_session)
{
    void *library = __real_dlopen(getenv("INDEXKEY_MODULE"), RTLD_NOW | RTLD_LOCAL);
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK, .pReserved = (void *) conf};

    ck_assert_msg(library != NULL, "%s", dlerror());
    CK_C_GetFunctionList get = (CK_C_GetFunctionList) __real_dlsym(library, "C_GetFunctionList");
    ck_assert_ptr_nonnull(get);
    OK(get(&module));
    OK(module->C_Initialize(&arguments));
    make_token(ret_session);
    EVP_PKEY *key = EVP_RSA_gen(2048);
    ck_assert_ptr_nonnull(key);
    other_hsm_wrap(module, key, ret_functions);
}

void other_hsm_close(void)
{
    OK(module->C_Finalize(NULL));
    EVP_PKEY_free(pair);
}

void other_hsm_fingerprint(char ret_text[65])
{
    CK_BYTE digest[32];
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(pair, &der);

    ck_assert_int_gt(len, 0);
    ck_assert_int_eq(EVP_Digest(der, (size_t) len, digest, NULL, EVP_sha256(), NULL), 1);
    OPENSSL_free(der);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(ret_text + 2 * i, 3, "%02x", digest[i]);
}
