#include "tests/vectors/replay_token.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static CK_UTF8CHAR so_pin[] = "replay-so-pin";
static CK_UTF8CHAR user_pin[] = "replay-user-pin";

#define PIN_LEN(pin) (sizeof(pin) - 1)

static bool done(CK_RV rv, const char *what)
{
    if (rv != CKR_OK)
        (void) fprintf(stderr, "%s: 0x%lx\n", what, rv);
    return rv == CKR_OK;
}

static void conf_path(const struct replay_token *token, char *path, size_t len)
{
    (void) snprintf(path, len, "%s/indexkey.conf", token->folder);
}

static bool conf_write(struct replay_token *token)
{
    char path[96];

    (void) snprintf(token->folder, sizeof(token->folder), "/tmp/indexkey-replay-XXXXXX");
    if (!mkdtemp(token->folder)) {
        token->folder[0] = '\0';
        perror("mkdtemp");
        return false;
    }
    conf_path(token, path, sizeof(path));
    FILE *file = fopen(path, "we");
    if (!file) {
        perror(path);
        return false;
    }
    (void) fprintf(file, "[token replay]\nsource = env\nkey_env = INDEXKEY_REPLAY_ROOT\n"
                         "store = memory:\n"
                         /* The wrapping keys of vectors are known, and some are shorter than what
                          * they wrap. */
                         "relax = known-keys-do-not-wrap wrapped-under-as-strong\n");
    bool ok = fchmod(fileno(file), S_IRUSR | S_IWUSR) == 0;
    ok = fclose(file) == 0 && ok;
    return ok && setenv("INDEXKEY_CONF", path, 1) == 0 &&
           setenv("INDEXKEY_REPLAY_ROOT", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", 1) == 0;
}

static bool library_load(const char *module_path, struct replay_token *token)
{
    CK_FUNCTION_LIST_PTR functions = NULL;

    token->library = dlopen(module_path, RTLD_NOW | RTLD_LOCAL);
    if (!token->library) {
        (void) fprintf(stderr, "%s\n", dlerror());
        return false;
    }
    CK_C_GetFunctionList get = (CK_C_GetFunctionList) dlsym(token->library, "C_GetFunctionList");
    if (!get || !done(get(&functions), "C_GetFunctionList"))
        return false;
    token->functions = functions;
    return done(functions->C_Initialize(NULL), "C_Initialize");
}

static bool token_init(struct replay_token *token, CK_SLOT_ID slot)
{
    const CK_FUNCTION_LIST *functions = token->functions;
    CK_UTF8CHAR label[32];

    memset(label, ' ', sizeof(label));
    memcpy(label, "replay", 6);
    return done(functions->C_InitToken(slot, so_pin, PIN_LEN(so_pin), label), "C_InitToken") &&
           done(functions->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                         &token->session),
                "C_OpenSession") &&
           done(functions->C_Login(token->session, CKU_SO, so_pin, PIN_LEN(so_pin)),
                "C_Login of the SO") &&
           done(functions->C_InitPIN(token->session, user_pin, PIN_LEN(user_pin)), "C_InitPIN") &&
           done(functions->C_Logout(token->session), "C_Logout") &&
           done(functions->C_Login(token->session, CKU_USER, user_pin, PIN_LEN(user_pin)),
                "C_Login of the user");
}

bool replay_token_open(const char *module_path, struct replay_token *token)
{
    CK_SLOT_ID slots[16];
    CK_ULONG count = sizeof(slots) / sizeof(slots[0]);

    memset(token, 0, sizeof(*token));
    if (!conf_write(token) || !library_load(module_path, token))
        return false;
    if (!done(token->functions->C_GetSlotList(CK_FALSE, slots, &count), "C_GetSlotList"))
        return false;
    if (count == 0) {
        (void) fprintf(stderr, "the module has no slot\n");
        return false;
    }
    return token_init(token, slots[0]);
}

void replay_token_close(struct replay_token *token)
{
    char path[96];

    if (token->functions)
        (void) done(token->functions->C_Finalize(NULL), "C_Finalize");
    if (token->library)
        (void) dlclose(token->library);
    if (token->folder[0] == '\0')
        return;
    conf_path(token, path, sizeof(path));
    (void) unlink(path);
    (void) rmdir(token->folder);
}

CK_RV replay_key(const struct replay_token *token, CK_KEY_TYPE type, const CK_ATTRIBUTE others[3],
                 const CK_ATTRIBUTE *value, CK_OBJECT_HANDLE *ret_key)
{
    CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &object_class, sizeof(object_class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &no, sizeof(no)},
        *value,
        others[0],
        others[1],
        others[2],
    };

    return token->functions->C_CreateObject(token->session, template,
                                            sizeof(template) / sizeof(template[0]), ret_key);
}
