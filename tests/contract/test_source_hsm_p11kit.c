/*
 * The built module with `source = hsm`, loaded as applications load it: through p11-kit and through
 * p11-kit's proxy, alone and beside its own parent. What deadlocks runs into the time limit.
 */
#include <dlfcn.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/contract/hsm_fixture.h"

/* Behind cryptoki.h, whose types it takes. */
#include <p11-kit/p11-kit.h>

#define LABEL "indexes                         "
#define LIMIT_S 30
#define HOME_MAX 256
#define PATH_MAX_LEN (HOME_MAX + 64)

/* ---- p11-kit's configuration ---- */

/* p11-kit does not read the user's configuration for root: root becomes somebody else, in a name
 * space where all its files are that user's. */
static bool leave_root(void)
{
    static const struct {
        const char *path;
        const char *text;
    } maps[] = {{"/proc/self/setgroups", "deny"},
                {"/proc/self/uid_map", "1000 0 1"},
                {"/proc/self/gid_map", "1000 0 1"}};
    bool good = unshare(CLONE_NEWUSER) == 0;
    for (size_t i = 0; good && i < COUNT_OF(maps); i++) {
        FILE *file = fopen(maps[i].path, "we");
        good = file != NULL && fputs(maps[i].text, file) >= 0;
        good = file != NULL && fclose(file) == 0 && good;
    }
    return good;
}

/* A path in the user's folder of configurations, TMPDIR's, which on_softhsm.sh removes. */
static void path_in(const char *home, const char *name, char ret_path[PATH_MAX_LEN])
{
    (void) snprintf(ret_path, PATH_MAX_LEN, "%s/%s", home, name);
}

static void write_file(const char *home, const char *name, const char *text)
{
    char path[PATH_MAX_LEN];
    path_in(home, name, path);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

/* p11-kit knows this module alone, and the parent too where the application uses it. */
static void configure(const struct hsm_settings *settings, bool with_parent)
{
    char home[HOME_MAX];
    char path[PATH_MAX_LEN];
    hsm_configure(settings);
    (void) snprintf(home, sizeof(home), "%s/p11-kit-XXXXXX", getenv("TMPDIR"));
    ck_assert_ptr_nonnull(mkdtemp(home));
    ck_assert_int_eq(setenv("XDG_CONFIG_HOME", home, 1), 0);
    path_in(home, "pkcs11", path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    path_in(home, "pkcs11/modules", path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    write_file(home, "pkcs11/pkcs11.conf", "user-config: only\n");
    write_file(home, "pkcs11/modules/indexkey.module", "module: " HSM_OURSELVES "\n");
    if (with_parent)
        write_file(home, "pkcs11/modules/parent.module", "module: " HSM_SHIM "\n");
}

/* ---- the token ---- */

/* The slot of this module: the one whose token is made by it, whatever its label. */
static CK_SLOT_ID our_slot(const CK_FUNCTION_LIST *p11)
{
    CK_SLOT_ID slots[16];
    CK_ULONG count = COUNT_OF(slots);
    CK_TOKEN_INFO info;
    ck_assert_uint_eq(p11->C_GetSlotList(CK_FALSE, slots, &count), CKR_OK);
    for (CK_ULONG i = 0; i < count; i++) {
        ck_assert_uint_eq(p11->C_GetTokenInfo(slots[i], &info), CKR_OK);
        if (memcmp(info.manufacturerID, "indexkey ", 9) == 0)
            return slots[i];
    }
    ck_abort_msg("p11-kit does not show this module");
    return 0;
}

static CK_SESSION_HANDLE open_session(const CK_FUNCTION_LIST *p11)
{
    CK_SESSION_HANDLE session;
    CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    ck_assert_uint_eq(p11->C_OpenSession(our_slot(p11), flags, NULL, NULL, &session), CKR_OK);
    return session;
}

static CK_RV log_in(const CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, CK_USER_TYPE user,
                    const char *pin)
{
    return p11->C_Login(session, user, (CK_UTF8CHAR *) pin, strlen(pin));
}

static void init_token(const CK_FUNCTION_LIST *p11)
{
    CK_UTF8CHAR so_pin[] = FIXTURE_SO_PIN;
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    CK_UTF8CHAR label[] = LABEL;
    ck_assert_uint_eq(p11->C_InitToken(our_slot(p11), so_pin, sizeof(so_pin) - 1, label), CKR_OK);
    CK_SESSION_HANDLE session = open_session(p11);
    ck_assert_uint_eq(log_in(p11, session, CKU_SO, FIXTURE_SO_PIN), CKR_OK);
    ck_assert_uint_eq(p11->C_InitPIN(session, pin, sizeof(pin) - 1), CKR_OK);
    ck_assert_uint_eq(p11->C_CloseSession(session), CKR_OK);
}

static void use_token(const CK_FUNCTION_LIST *p11)
{
    CK_SESSION_HANDLE session = open_session(p11);
    ck_assert_uint_eq(log_in(p11, session, CKU_USER, FIXTURE_PIN), CKR_OK);
    ck_assert_uint_eq(p11->C_CloseSession(session), CKR_OK);
}

/* ---- through the proxy ---- */

static CK_FUNCTION_LIST *proxy(void)
{
    CK_FUNCTION_LIST *functions;
    void *library = dlopen(HSM_PROXY, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
    CK_C_GetFunctionList get = (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList");
    ck_assert_ptr_nonnull(get);
    ck_assert_uint_eq(get(&functions), CKR_OK);
    return functions;
}

START_TEST(through_the_proxy)
{
    static const struct hsm_settings plain;
    struct hsm_shim *shim = hsm_shim_get();
    configure(&plain, _i == 1);
    CK_FUNCTION_LIST *p11 = proxy();
    ck_assert_uint_eq(p11->C_Initialize(NULL), CKR_OK);
    init_token(p11);
    use_token(p11);
    ck_assert_uint_eq(p11->C_Finalize(NULL), CKR_OK);
    ck_assert_uint_eq(p11->C_Initialize(NULL), CKR_OK);
    use_token(p11);
    ck_assert_uint_eq(p11->C_Finalize(NULL), CKR_OK);
    /* p11-kit counts for both. */
    ck_assert_int_eq(atomic_load(&shim->inits), 2);
    ck_assert_int_eq(atomic_load(&shim->finals), 2);
}
END_TEST

/* ---- through p11-kit's library ---- */

static CK_FUNCTION_LIST *named(CK_FUNCTION_LIST **modules, const char *name)
{
    CK_FUNCTION_LIST *found = p11_kit_module_for_name(modules, name);
    ck_assert_msg(found != NULL, "p11-kit has no module %s", name);
    return found;
}

START_TEST(through_p11_kit)
{
    static const struct hsm_settings plain;
    CK_INFO info;
    /* Held here, else its counts go when p11-kit closes it. */
    struct hsm_shim *shim = hsm_shim_get();
    configure(&plain, _i == 1);
    CK_FUNCTION_LIST **modules = p11_kit_modules_load_and_initialize(0);
    ck_assert_ptr_nonnull(modules);
    CK_FUNCTION_LIST *p11 = named(modules, "indexkey");
    init_token(p11);
    use_token(p11);
    if (_i == 1)
        ck_assert_uint_eq(named(modules, "parent")->C_GetInfo(&info), CKR_OK);
    p11_kit_modules_finalize_and_release(modules);
    ck_assert_int_eq(atomic_load(&shim->inits), 1);
    ck_assert_int_eq(atomic_load(&shim->finals), 1);
}
END_TEST

/* This program has libp11-kit among its libraries, which exports a C_GetFunctionList too. */
START_TEST(the_table_of_functions_is_the_modules_own)
{
    CK_FUNCTION_LIST *functions;
    void *library = dlopen(HSM_OURSELVES, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
    CK_C_GetFunctionList get = (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList");
    ck_assert_ptr_nonnull(get);
    ck_assert_uint_eq(get(&functions), CKR_OK);
    ck_assert(functions->C_GetFunctionList == get);
}
END_TEST

/* ---- back to ourselves ---- */

static const char *const circles[] = {HSM_PROXY, HSM_OURSELVES};

START_TEST(a_circle_is_refused)
{
    struct hsm_settings settings = {0};
    CK_SESSION_INFO info;
    configure(&settings, false);
    CK_FUNCTION_LIST *p11 = proxy();
    ck_assert_uint_eq(p11->C_Initialize(NULL), CKR_OK);
    init_token(p11);
    ck_assert_uint_eq(p11->C_Finalize(NULL), CKR_OK);
    settings.token = "token=indexes";
    settings.module = circles[_i];
    hsm_configure(&settings);
    ck_assert_uint_eq(p11->C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = open_session(p11);
    ck_assert_uint_eq(log_in(p11, session, CKU_USER, FIXTURE_PIN), CKR_FUNCTION_FAILED);
    ck_assert_uint_eq(p11->C_GetSessionInfo(session, &info), CKR_OK);
    ck_assert_uint_eq(info.ulDeviceError, INDEXKEY_CAUSE_CONFIG);
    ck_assert_uint_eq(p11->C_Finalize(NULL), CKR_OK);
}
END_TEST

int main(void)
{
    if (geteuid() == 0 && !leave_root()) {
        perror("p11-kit reads no configuration for root, who cannot become another user");
        return EXIT_FAILURE;
    }
    TCase *cases = tcase_create("p11-kit");
    tcase_set_timeout(cases, LIMIT_S);
    tcase_add_unchecked_fixture(cases, hsm_start, NULL);
    tcase_add_loop_test(cases, through_the_proxy, 0, 2);
    tcase_add_loop_test(cases, through_p11_kit, 0, 2);
    tcase_add_test(cases, the_table_of_functions_is_the_modules_own);
    tcase_add_loop_test(cases, a_circle_is_refused, 0, (int) COUNT_OF(circles));
    return fixture_run("source hsm: p11-kit", cases);
}
