#include "tests/support/api_fixture.h"

#include <check.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* 32 bytes of 0x01 … 0x20 in base64: a root key that a scan would know. */
#define ROOT_KEY "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    REQUIRE((file) != NULL);
    REQUIRE(fputs(text, file) >= 0);
    REQUIRE(fclose(file) == 0);
    REQUIRE(chmod(path, 0600) == 0);
}

void api_expect(CK_RV got, CK_RV wanted, const char *what)
{
    REQUIRE_MSG(got == wanted, "%s: 0x%lx, wanted 0x%lx", what, got, wanted);
}

void api_write_conf(struct api *api, const char *module_lines, const char *store,
                    const char *token_lines)
{
    char text[4096];

    snprintf(
        text, sizeof(text),
        "[module]\nlog = file:%s:info\n%s\n[token test]\nsource = file\nkey_file = %s/root.key\n"
        "store = %s%s%s\n%s\n",
        api->log, module_lines == NULL ? "" : module_lines, api->folder,
        store == NULL ? "sqlite:" : store, store == NULL ? api->folder : "",
        store == NULL ? "/test.db" : "", token_lines == NULL ? "" : token_lines);
    write_file(api->conf, text);
}

void api_load(struct api *api, const char *store, const char *token_lines)
{
    const char *path = getenv("INDEXKEY_MODULE");
    CK_INTERFACE *interface;
    char root_key[96];

    REQUIRE_MSG(path != NULL, "INDEXKEY_MODULE must name the built module");
    memset(api, 0, sizeof(*api));
    snprintf(api->folder, sizeof(api->folder), "/tmp/indexkey-api-XXXXXX");
    REQUIRE((mkdtemp(api->folder)) != NULL);
    snprintf(api->conf, sizeof(api->conf), "%s/indexkey.conf", api->folder);
    snprintf(api->log, sizeof(api->log), "%s/indexkey.log", api->folder);
    snprintf(root_key, sizeof(root_key), "%s/root.key", api->folder);
    write_file(root_key, ROOT_KEY "\n");
    api_write_conf(api, NULL, store, token_lines);
    REQUIRE(setenv("INDEXKEY_CONF", api->conf, 1) == 0);
    api->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    REQUIRE_MSG(api->library != NULL, "%s", dlerror());
    CK_C_GetInterface get = (CK_C_GetInterface) dlsym(api->library, "C_GetInterface");
    REQUIRE(get != NULL);
    OK(get(NULL, NULL, &interface, 0));
    api->p11 = interface->pFunctionList;
    OK(api->p11->C_Initialize(NULL));
}

void api_login(struct api *api)
{
    OK(api->p11->C_OpenSession(api->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                               &api->session));
    OK(api->p11->C_Login(api->session, CKU_USER, (CK_UTF8CHAR *) API_USER_PIN,
                         strlen(API_USER_PIN)));
}

void api_open(struct api *api, const char *store, const char *token_lines)
{
    CK_UTF8CHAR label[33] = "test                            ";
    CK_SESSION_HANDLE session;

    api_load(api, store, token_lines);
    OK(api->p11->C_InitToken(api->slot, (CK_UTF8CHAR *) API_SO_PIN, strlen(API_SO_PIN), label));
    OK(api->p11->C_OpenSession(api->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                               &session));
    OK(api->p11->C_Login(session, CKU_SO, (CK_UTF8CHAR *) API_SO_PIN, strlen(API_SO_PIN)));
    OK(api->p11->C_InitPIN(session, (CK_UTF8CHAR *) API_USER_PIN, strlen(API_USER_PIN)));
    OK(api->p11->C_CloseSession(session));
    api_login(api);
}

void api_restart(struct api *api)
{
    OK(api->p11->C_Finalize(NULL));
    OK(api->p11->C_Initialize(NULL));
    api_login(api);
}

void api_close(struct api *api)
{
    char command[128];

    api->p11->C_Finalize(NULL);
    snprintf(command, sizeof(command), "rm -rf '%s'", api->folder);
    REQUIRE(system(command) == 0);
    unsetenv("INDEXKEY_CONF");
}

char *api_log(const struct api *api)
{
    FILE *file = fopen(api->log, "r");
    size_t size = 1 << 20;
    char *text = calloc(1, size);

    REQUIRE((text) != NULL);
    if (file == NULL)
        return text;
    size_t len = fread(text, 1, size - 1, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

static CK_OBJECT_HANDLE generate(struct api *api, CK_MECHANISM_TYPE type, CK_ATTRIBUTE *template,
                                 CK_ULONG count)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_OBJECT_HANDLE handle;

    OK(api->p11->C_GenerateKey(api->session, &mechanism, template, count, &handle));
    return handle;
}

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

CK_OBJECT_HANDLE api_make_index_key(struct api *api, const char *label, CK_BYTE id)
{
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_LABEL, (void *) label, strlen(label)},
        {CKA_ID, &id, sizeof(id)},
    };

    return generate(api, CKM_GENERIC_SECRET_KEY_GEN, template, 4);
}

CK_OBJECT_HANDLE api_import_index_key(struct api *api, const char *label, const CK_BYTE value[32])
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VALUE, (void *) value, 32},
        {CKA_LABEL, (void *) label, strlen(label)},
    };
    CK_OBJECT_HANDLE handle;

    OK(api->p11->C_CreateObject(api->session, template, 5, &handle));
    return handle;
}

CK_OBJECT_HANDLE api_make_aes_key(struct api *api, bool token, const char *label)
{
    CK_MECHANISM_TYPE gcm = CKM_AES_GCM;
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, token ? &yes : &no, sizeof(yes)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_LABEL, (void *) label, strlen(label)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},
        {CKA_DECRYPT, &yes, sizeof(yes)},
        {CKA_ALLOWED_MECHANISMS, &gcm, sizeof(gcm)},
    };

    return generate(api, CKM_AES_KEY_GEN, template, 6);
}

CK_ULONG api_count(struct api *api, const CK_ATTRIBUTE *template, CK_ULONG count)
{
    CK_OBJECT_HANDLE handles[64];
    CK_ULONG found = 1;
    CK_ULONG total = 0;

    OK(api->p11->C_FindObjectsInit(api->session, (CK_ATTRIBUTE *) template, count));
    while (found > 0) {
        OK(api->p11->C_FindObjects(api->session, handles, 64, &found));
        total += found;
    }
    OK(api->p11->C_FindObjectsFinal(api->session));
    return total;
}

CK_OBJECT_HANDLE api_find(struct api *api, const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};
    CK_OBJECT_HANDLE handles[2];
    CK_ULONG found;

    OK(api->p11->C_FindObjectsInit(api->session, &template, 1));
    OK(api->p11->C_FindObjects(api->session, handles, 2, &found));
    OK(api->p11->C_FindObjectsFinal(api->session));
    REQUIRE_MSG(found == 1, "%lu objects with label %s", found, label);
    return handles[0];
}

CK_OBJECT_HANDLE api_import_key(struct api *api, CK_KEY_TYPE type, const CK_BYTE value[32],
                                const CK_ATTRIBUTE_TYPE usages[2])
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_VALUE, (void *) value, 32},
                               {usages[0], &yes, sizeof(yes)},
                               {usages[1], &yes, sizeof(yes)}};
    CK_OBJECT_HANDLE key;

    OK(api->p11->C_CreateObject(api->session, template, sizeof(template) / sizeof(template[0]),
                                &key));
    return key;
}
