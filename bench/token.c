#include "bench/token.h"

#include <dlfcn.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PATH_SIZE 256

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

static CK_UTF8CHAR pin[] = "12345678";
#define PIN_LEN (sizeof(pin) - 1)

static CK_BBOOL yes = CK_TRUE;
static CK_C_INITIALIZE_ARGS threads_allowed = {.flags = CKF_OS_LOCKING_OK};

void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench: failed: %s\n", what);
    exit(EXIT_FAILURE);
}

/* ---- folders and files ---- */

static char folder_name[] = "/tmp/indexkey-bench-XXXXXX";

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void) status;
    (void) type;
    (void) place;
    return remove(path);
}

static void remove_folder(void)
{
    (void) nftw(folder_name, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *token_make_folder(void)
{
    MUST(mkdtemp(folder_name) != NULL);
    MUST(atexit(remove_folder) == 0);
    return folder_name;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    MUST(file != NULL);
    MUST(fputs(text, file) >= 0);
    MUST(fclose(file) == 0);
    MUST(chmod(path, 0600) == 0);
}

/* ---- libraries ---- */

static CK_FUNCTION_LIST_3_0 *newer_functions(void *library)
{
    CK_VERSION version = {3, 0};
    CK_INTERFACE *interface;
    CK_C_GetInterface get = (CK_C_GetInterface) dlsym(library, "C_GetInterface");

    if (!get || get((CK_UTF8CHAR *) "PKCS 11", &version, &interface, 0) != CKR_OK)
        return NULL;
    return interface->pFunctionList;
}

static void load(struct token *token, void *library)
{
    CK_C_GetFunctionList get = (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList");

    MUST(get != NULL && get(&token->p11) == CKR_OK);
    token->p30 = newer_functions(library);
}

/* The first that loads; NULL: the peer is not on this machine. */
static void *open_first(const char *const *names)
{
    void *library = NULL;

    for (; *names && !library; names++)
        library = dlopen(*names, RTLD_NOW | RTLD_LOCAL);
    return library;
}

static void describe(struct token *token)
{
    CK_INFO info;
    int len = (int) sizeof(info.libraryDescription);

    MUST(token->p11->C_GetInfo(&info) == CKR_OK);
    while (len > 0 && info.libraryDescription[len - 1] == ' ')
        len--;
    snprintf(token->about, sizeof(token->about), "%.*s %d.%d", len,
             (const char *) info.libraryDescription, info.libraryVersion.major,
             info.libraryVersion.minor);
}

/* ---- sessions and keys ---- */

CK_SESSION_HANDLE token_session(const struct token *token)
{
    CK_SESSION_HANDLE session;

    MUST(token->p11->C_OpenSession(token->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                   &session) == CKR_OK);
    return session;
}

/* SoftHSM gives a token that was made a slot of another number. */
static CK_SLOT_ID first_slot(const struct token *token)
{
    CK_SLOT_ID slots[8];
    CK_ULONG count = COUNT(slots);

    MUST(token->p11->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK && count > 0);
    return slots[0];
}

static void make_token(struct token *token)
{
    CK_UTF8CHAR label[33] = "bench                           ";

    MUST(token->p11->C_InitToken(first_slot(token), pin, PIN_LEN, label) == CKR_OK);
    token->slot = first_slot(token);
    token->session = token_session(token);
    MUST(token->p11->C_Login(token->session, CKU_SO, pin, PIN_LEN) == CKR_OK);
    MUST(token->p11->C_InitPIN(token->session, pin, PIN_LEN) == CKR_OK);
    MUST(token->p11->C_Logout(token->session) == CKR_OK);
    MUST(token->p11->C_Login(token->session, CKU_USER, pin, PIN_LEN) == CKR_OK);
}

static CK_OBJECT_HANDLE find(const struct token *token, const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};
    CK_OBJECT_HANDLE handle;
    CK_ULONG count;

    MUST(token->p11->C_FindObjectsInit(token->session, &template, 1) == CKR_OK);
    MUST(token->p11->C_FindObjects(token->session, &handle, 1, &count) == CKR_OK && count == 1);
    MUST(token->p11->C_FindObjectsFinal(token->session) == CKR_OK);
    return handle;
}

/* Two session keys with these usages; where the token makes none, their works are not
 * measured. */
static void generate_pair(struct token *token, enum key_kind kind, CK_ATTRIBUTE_TYPE usage,
                          CK_ATTRIBUTE_TYPE other_usage)
{
    bool is_aes = kind == KEY_CIPHER || kind == KEY_CMAC;
    CK_MECHANISM mechanism = {is_aes ? CKM_AES_KEY_GEN : CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    /* SoftHSM refuses a shorter key for HMAC-SHA-512; it costs no more. */
    CK_ULONG len = kind == KEY_HMAC ? 64 : 32;
    CK_ATTRIBUTE template[] = {
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
        {usage, &yes, sizeof(yes)},
        {other_usage, &yes, sizeof(yes)},
    };

    for (int i = 0; i < 2; i++) {
        CK_OBJECT_HANDLE *key = &token->keys[kind][i];
        if (token->p11->C_GenerateKey(token->session, &mechanism, template, COUNT(template), key) !=
            CKR_OK)
            *key = 0;
    }
}

static void make_peer_keys(struct token *token)
{
    generate_pair(token, KEY_CIPHER, CKA_ENCRYPT, CKA_DECRYPT);
    generate_pair(token, KEY_HMAC, CKA_SIGN, CKA_VERIFY);
    generate_pair(token, KEY_CMAC, CKA_SIGN, CKA_VERIFY);
    generate_pair(token, KEY_BASE, CKA_DERIVE, CKA_PRIVATE);
}

static void make_index_key(struct token *token)
{
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_LABEL, (void *) TOKEN_INDEX_KEY, strlen(TOKEN_INDEX_KEY)},
    };
    CK_OBJECT_HANDLE handle;

    MUST(token->p11->C_GenerateKey(token->session, &mechanism, template, COUNT(template),
                                   &handle) == CKR_OK);
}

static void make_module_keys(struct token *token)
{
    make_index_key(token);
    token->keys[KEY_CIPHER][0] = find(token, TOKEN_INDEX_KEY "/payload");
    token->keys[KEY_CIPHER][1] = find(token, TOKEN_INDEX_KEY "/item");
    token->keys[KEY_HMAC][0] = find(token, TOKEN_INDEX_KEY "/token");
    token->keys[KEY_HMAC][1] = find(token, TOKEN_INDEX_KEY "/query");
    generate_pair(token, KEY_CMAC, CKA_SIGN, CKA_VERIFY);
    generate_pair(token, KEY_BASE, CKA_DERIVE, CKA_PRIVATE);
    MUST(token->keys[KEY_CMAC][1] != 0 && token->keys[KEY_BASE][1] != 0);
}

/* ---- the three tokens ---- */

static void write_module_conf(const char *folder)
{
    char path[PATH_SIZE];
    char text[2 * PATH_SIZE];

    snprintf(path, sizeof(path), "%s/root.key", folder);
    write_file(path, "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n");
    snprintf(text, sizeof(text),
             "[token bench]\nsource = file\nkey_file = %s/root.key\nstore = sqlite:%s/bench.db\n",
             folder, folder);
    snprintf(path, sizeof(path), "%s/indexkey.conf", folder);
    write_file(path, text);
    MUST(setenv("INDEXKEY_CONF", path, 1) == 0);
}

void token_open_module(struct token *token, const char *library, const char *folder)
{
    *token = (struct token){.name = "module"};
    write_module_conf(folder);
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        must(false, dlerror());
    load(token, handle);
    MUST(token->p11->C_Initialize(&threads_allowed) == CKR_OK);
    describe(token);
    make_token(token);
    make_module_keys(token);
}

static void write_softhsm_conf(const char *folder)
{
    char path[PATH_SIZE];
    char text[PATH_SIZE];

    snprintf(path, sizeof(path), "%s/softhsm", folder);
    MUST(mkdir(path, 0700) == 0);
    snprintf(text, sizeof(text),
             "directories.tokendir = %s/softhsm\nobjectstore.backend = file\nlog.level = ERROR\n",
             folder);
    snprintf(path, sizeof(path), "%s/softhsm2.conf", folder);
    write_file(path, text);
    MUST(setenv("SOFTHSM2_CONF", path, 1) == 0);
}

void token_open_softhsm(struct token *token, const char *folder)
{
    static const char *const names[] = {"libsofthsm2.so", "/usr/lib/softhsm/libsofthsm2.so",
                                        "/usr/lib64/pkcs11/libsofthsm2.so",
                                        "/usr/local/lib/softhsm/libsofthsm2.so", NULL};

    *token = (struct token){.name = "SoftHSM"};
    void *handle = open_first(names);
    if (!handle)
        return;
    write_softhsm_conf(folder);
    load(token, handle);
    MUST(token->p11->C_Initialize(&threads_allowed) == CKR_OK);
    describe(token);
    make_token(token);
    make_peer_keys(token);
}

void token_open_nss(struct token *token)
{
    static const char *const names[] = {"libsoftokn3.so", "/usr/lib/nss/libsoftokn3.so", NULL};
    struct nss_initialize_args args = {.flags = CKF_OS_LOCKING_OK, .parameters = NSS_PARAMETERS};

    *token = (struct token){.name = "NSS", .slot = NSS_SLOT};
    void *handle = open_first(names);
    if (!handle)
        return;
    load(token, handle);
    MUST(token->p11->C_Initialize(&args) == CKR_OK);
    describe(token);
    token->session = token_session(token);
    make_peer_keys(token);
}
