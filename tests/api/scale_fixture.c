#include "tests/api/scale_fixture.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/fake_service.h"

#define SO_PIN "so-pin-12345678"
#define USER_PIN "user-pin-1234"

#define FEWER 20

unsigned int scale_sizes[SCALE_COUNT] = {0, 100, 10000, 100000};

static char folder[64];
static struct fake_service kms;

bool scale_figures_count(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#else
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded == NULL || strstr(preloaded, "vgpreload") == NULL;
#endif
}

size_t scale_label(unsigned int number, char label[SCALE_LABEL_MAX])
{
    return (size_t) snprintf(label, SCALE_LABEL_MAX, "customer-%06u", number);
}

void scale_id(unsigned int number, CK_BYTE id[SCALE_ID_LEN])
{
    uint32_t spread = (number + 1) * UINT32_C(2654435761);
    memset(id, 0xa5, SCALE_ID_LEN);
    memcpy(id, &spread, sizeof(spread));
    memcpy(id + sizeof(spread), &number, sizeof(number));
}

CK_FUNCTION_LIST *scale_load(void)
{
    const char *path = getenv("INDEXKEY_MODULE");
    CK_FUNCTION_LIST *p11;

    REQUIRE_MSG(path != NULL, "INDEXKEY_MODULE must name the built module");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    REQUIRE_MSG(library != NULL, "%s", dlerror());
    CK_C_GetFunctionList get = (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList");
    REQUIRE(get != NULL);
    OK(get(&p11));
    return p11;
}

CK_SESSION_HANDLE scale_session(CK_FUNCTION_LIST *p11, CK_SLOT_ID slot)
{
    CK_SESSION_HANDLE session;

    OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    return session;
}

void scale_login(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session)
{
    OK(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *) USER_PIN, strlen(USER_PIN)));
}

int scale_kms_calls(void)
{
    return fake_service_count(&kms, "requests");
}

void scale_in_child(scale_body *body, void *result, size_t len)
{
    int ends[2];
    int status;

    REQUIRE(pipe(ends) == 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        body(result);
        _exit(write(ends[1], result, len) == (ssize_t) len ? 0 : 1);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child failed: %d", status);
    REQUIRE(read(ends[0], result, len) == (ssize_t) len);
    close(ends[0]);
    close(ends[1]);
}

static void write_conf(const char *kms_url)
{
    char path[96];

    snprintf(path, sizeof(path), "%s/indexkey.conf", folder);
    FILE *file = fopen(path, "w");
    REQUIRE(file != NULL);
    fprintf(file, "[module]\nlog = stderr:error\n");
    for (int i = 0; i < SCALE_COUNT; i++)
        fprintf(file,
                "[token of-%u]\nsource = vault\nvault_addr = %s\nkey_name = index-keys\n"
                "vault_token_env = SCALE_VAULT_TOKEN\nstore = sqlite:%s/%d.db\n",
                scale_sizes[i], kms_url, folder, i);
    REQUIRE(fclose(file) == 0);
    REQUIRE(chmod(path, 0600) == 0);
    REQUIRE(setenv("INDEXKEY_CONF", path, 1) == 0);
    REQUIRE(setenv("SCALE_VAULT_TOKEN", "good-token", 1) == 0);
}

void scale_lose_kms(void)
{
    write_conf("https://192.0.2.1:8200"); /* TEST-NET-1, RFC 5737 */
}

static void init_token(CK_FUNCTION_LIST *p11, CK_SLOT_ID slot)
{
    CK_UTF8CHAR label[33] = "scale                           ";

    OK(p11->C_InitToken(slot, (CK_UTF8CHAR *) SO_PIN, strlen(SO_PIN), label));
    CK_SESSION_HANDLE session = scale_session(p11, slot);
    OK(p11->C_Login(session, CKU_SO, (CK_UTF8CHAR *) SO_PIN, strlen(SO_PIN)));
    OK(p11->C_InitPIN(session, (CK_UTF8CHAR *) USER_PIN, strlen(USER_PIN)));
    OK(p11->C_CloseSession(session));
}

static void make_key(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, unsigned int number)
{
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG len = 32;
    char label[SCALE_LABEL_MAX];
    CK_BYTE id[SCALE_ID_LEN];
    CK_OBJECT_HANDLE key;

    size_t label_len = scale_label(number, label);
    scale_id(number, id);
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_LABEL, label, label_len},
        {CKA_ID, id, sizeof(id)},
    };
    OK(p11->C_GenerateKey(session, &mechanism, template, 4, &key));
}

static void fill(void *result)
{
    CK_FUNCTION_LIST *p11 = scale_load();

    OK(p11->C_Initialize(NULL));
    for (CK_SLOT_ID slot = 0; slot < SCALE_COUNT; slot++) {
        init_token(p11, slot);
        CK_SESSION_HANDLE session = scale_session(p11, slot);
        scale_login(p11, session);
        for (unsigned int i = 0; i < scale_sizes[slot]; i++)
            make_key(p11, session, i);
        OK(p11->C_CloseSession(session));
    }
    OK(p11->C_Finalize(NULL));
    *(bool *) result = true;
}

void scale_setup(void)
{
    struct fake_service_options options = {.handler = "fake_vault:FakeVault"};
    bool is_filled = false;

    for (int size = SCALE_SOME; size < SCALE_COUNT && !scale_figures_count(); size++)
        scale_sizes[size] /= FEWER;
    snprintf(folder, sizeof(folder), "/dev/shm/indexkey-scale-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        snprintf(folder, sizeof(folder), "/tmp/indexkey-scale-XXXXXX");
        REQUIRE(mkdtemp(folder) != NULL);
    }
    fake_service_start(&kms, &options);
    write_conf(fake_service_url(&kms, ""));
    scale_in_child(fill, &is_filled, sizeof(is_filled));
}

void scale_teardown(void)
{
    char command[128];

    fake_service_stop(&kms);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    REQUIRE(system(command) == 0);
}
