#include "tests/differential/modules.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const peer_names[PEERS] = {"softhsm", "nss"};

#define NSS_PARAMETERS                                                                             \
    "configdir='' certPrefix='' keyPrefix='' secmod='' "                                           \
    "flags=readOnly,noCertDB,noModDB,forceOpen,optimizeSpace"
/* NSS's slot for session objects: all mechanisms, no login. */
#define NSS_SLOT 1

/* CK_C_INITIALIZE_ARGS with the member that NSS adds before the standard's last. */
struct nss_initialize_args {
    CK_CREATEMUTEX create;
    CK_DESTROYMUTEX destroy;
    CK_LOCKMUTEX lock;
    CK_UNLOCKMUTEX unlock;
    CK_FLAGS flags;
    const char *parameters;
    void *reserved;
};

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "differential: %s: %s\n", what, why);
    exit(2);
}

static void require(CK_RV rv, const char *what)
{
    char code[32];

    snprintf(code, sizeof(code), "0x%lx", rv);
    if (rv != CKR_OK)
        give_up(what, code);
}

static CK_FUNCTION_LIST_3_0 *newer_functions(void *library)
{
    CK_VERSION version = {3, 0};
    CK_INTERFACE *interface;
    CK_C_GetInterface get = (CK_C_GetInterface) dlsym(library, "C_GetInterface");

    if (get == NULL || get((CK_UTF8CHAR *) "PKCS 11", &version, &interface, 0) != CKR_OK)
        return NULL;
    return interface->pFunctionList;
}

/* What is not there says so even where nothing is active. */
static void probe(struct module *module)
{
    CK_BYTE in[16] = {0};
    CK_BYTE out[32];
    CK_ULONG len = sizeof(out);

    module->has_dual = module->p11->C_DigestEncryptUpdate(module->anchor, in, sizeof(in), out,
                                                          &len) == CKR_OPERATION_NOT_INITIALIZED;
    module->has_messages =
        module->p30 != NULL &&
        module->p30->C_MessageEncryptFinal(module->anchor) == CKR_OPERATION_NOT_INITIALIZED;
}

/* The first of a list of names, separated by colons, that loads. */
static CK_FUNCTION_LIST *load(const char *names, struct module *module)
{
    char list[512];
    char *rest = list;
    char *name;

    snprintf(list, sizeof(list), "%s", names);
    while ((name = strtok_r(rest, ":", &rest)) != NULL) {
        void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
        CK_FUNCTION_LIST *p11 = NULL;
        if (library == NULL)
            continue;
        CK_C_GetFunctionList get = (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList");
        module->p30 = newer_functions(library);
        if (get != NULL && get(&p11) == CKR_OK)
            return p11;
    }
    give_up(names, "none of these could be loaded");
}

static void open_anchor(struct module *module)
{
    require(module->p11->C_OpenSession(module->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
                                       NULL, &module->anchor),
            "C_OpenSession");
}

static void write_softhsm_conf(const char *folder)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/softhsm-tokens", folder);
    if (mkdir(path, 0700) != 0)
        give_up(path, "mkdir failed");
    snprintf(path, sizeof(path), "%s/softhsm2.conf", folder);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        give_up(path, "cannot be written");
    fprintf(file,
            "directories.tokendir = %s/softhsm-tokens\nobjectstore.backend = file\n"
            "log.level = ERROR\n",
            folder);
    fclose(file);
    setenv("SOFTHSM2_CONF", path, 1);
}

/* SoftHSM gives a token that was made a slot of another number. */
static CK_SLOT_ID first_slot(CK_FUNCTION_LIST *p11)
{
    CK_SLOT_ID slots[8];
    CK_ULONG count = 8;

    require(p11->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
    if (count == 0)
        give_up("softhsm", "no slot");
    return slots[0];
}

static void open_softhsm(struct module *module, const char *folder)
{
    CK_UTF8CHAR label[33] = "peer                            ";
    CK_UTF8CHAR *so_pin = (CK_UTF8CHAR *) PEER_SO_PIN;
    CK_UTF8CHAR *pin = (CK_UTF8CHAR *) PEER_USER_PIN;

    write_softhsm_conf(folder);
    module->p11 = load("libsofthsm2.so:/usr/lib/softhsm/libsofthsm2.so:"
                       "/usr/lib64/pkcs11/libsofthsm2.so:/usr/local/lib/softhsm/libsofthsm2.so",
                       module);
    require(module->p11->C_Initialize(NULL), "softhsm: C_Initialize");
    require(module->p11->C_InitToken(first_slot(module->p11), so_pin, strlen(PEER_SO_PIN), label),
            "softhsm: C_InitToken");
    module->slot = first_slot(module->p11);
    module->has_login = true;
    open_anchor(module);
    require(module->p11->C_Login(module->anchor, CKU_SO, so_pin, strlen(PEER_SO_PIN)), "SO login");
    require(module->p11->C_InitPIN(module->anchor, pin, strlen(PEER_USER_PIN)), "C_InitPIN");
    require(module->p11->C_Logout(module->anchor), "C_Logout");
    require(module->p11->C_Login(module->anchor, CKU_USER, pin, strlen(PEER_USER_PIN)), "C_Login");
}

static void open_nss(struct module *module)
{
    struct nss_initialize_args args = {.flags = CKF_OS_LOCKING_OK, .parameters = NSS_PARAMETERS};

    module->p11 = load("libsoftokn3.so:/usr/lib/nss/libsoftokn3.so", module);
    require(module->p11->C_Initialize(&args), "nss: C_Initialize");
    module->slot = NSS_SLOT;
    open_anchor(module);
}

void modules_open(struct modules *modules)
{
    memset(modules, 0, sizeof(*modules));
    api_open(&modules->api, "memory:", NULL);
    CK_C_GetFunctionList get =
        (CK_C_GetFunctionList) dlsym(modules->api.library, "C_GetFunctionList");
    if (get == NULL || get(&modules->ours.p11) != CKR_OK)
        give_up("module", "no C_GetFunctionList");
    modules->ours.slot = modules->api.slot;
    modules->ours.anchor = modules->api.session;
    modules->ours.has_login = true;
    modules->ours.p30 = newer_functions(modules->api.library);
    open_softhsm(&modules->peers[PEER_SOFTHSM], modules->api.folder);
    open_nss(&modules->peers[PEER_NSS]);
    probe(&modules->ours);
    for (int peer = 0; peer < PEERS; peer++)
        probe(&modules->peers[peer]);
}

void modules_close(struct modules *modules)
{
    api_close(&modules->api);
}

void modules_remove(const char *folder)
{
    char command[96];

    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    if (folder[0] != '\0' && system(command) != 0)
        give_up(folder, "cannot be removed");
}

void modules_trim_log(const struct modules *modules)
{
    if (truncate(modules->api.log, 0) != 0)
        give_up(modules->api.log, "cannot be truncated");
}

bool module_has(const struct module *module, CK_MECHANISM_TYPE type, CK_FLAGS usage)
{
    CK_MECHANISM_INFO info;

    return module->p11->C_GetMechanismInfo(module->slot, type, &info) == CKR_OK &&
           (info.flags & usage) != 0;
}
