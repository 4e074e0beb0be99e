#include "tests/contract/behaviour_fixture.h"

#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define CLOSED_PORT 1 /* tcpmux, which nobody runs */
#define MAC_LEN 32
#define TAG_LEN 16
#define TEXT_LEN 100

static const struct behaviour_kms vault = {
    .name = "vault",
    .handler = "fake_vault:FakeVault",
    .configure = vault_configure,
    .credential = VAULT_TOKEN_GOOD,
    .wrong_credential = "s.wrong",
    .revoke = HANDLER("\"revoke\", \"token\": \"" VAULT_TOKEN_GOOD "\""),
};
static const struct behaviour_kms aws = {
    .name = "aws",
    .handler = "fake_aws:FakeAws",
    .configure = aws_configure,
    .credential = AWS_ACCESS_GOOD ":" AWS_SECRET_GOOD,
    .wrong_credential = AWS_ACCESS_GOOD ":wrong",
    .revoke = HANDLER("\"revoke\", \"access\": \"" AWS_ACCESS_GOOD "\""),
};

static const struct behaviour_kms azure = {
    .name = "azure",
    .handler = "fake_azure:FakeAzure",
    .configure = azure_configure,
    .credential = AZURE_SECRET_GOOD,
    .wrong_credential = "wrong~secret",
    .revoke = HANDLER("\"revoke\""),
    .is_asked_for = true,
};

struct fake_service behaviour_fake;
const struct behaviour_kms *behaviour_kms;

static atomic_bool is_cut_off;
static void (*_Atomic when_connecting)(void);

int behaviour_run(const char *name, TCase *(*make)(void), const char *only)
{
    static const struct behaviour_kms *const all[] = {&vault, &aws, &azure};
    int result = EXIT_FAILURE;
    int worst = EXIT_SUCCESS;
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if (only == NULL ? all[i]->is_asked_for : strcmp(only, all[i]->name) != 0)
            continue;
        char title[64];
        behaviour_kms = all[i];
        (void) snprintf(title, sizeof(title), "%s: %s", name, behaviour_kms->name);
        result = fixture_run(title, make());
        if (result != EXIT_SUCCESS)
            worst = result;
    }
    return result == EXIT_SUCCESS ? worst : result;
}

void behaviour_start(void)
{
    kms_start(&behaviour_fake, behaviour_kms->handler);
}

void behaviour_stop(void)
{
    kms_stop(&behaviour_fake);
}

void behaviour_token(const struct kms_settings *settings)
{
    behaviour_heal();
    fake_service_command(&behaviour_fake, "%s", HANDLER("\"restore\""));
    behaviour_configure(settings);
    kms_init_token();
}

void behaviour_configure(const struct kms_settings *settings)
{
    behaviour_kms->configure(&behaviour_fake, settings);
}

void behaviour_fault(const char *fault)
{
    fake_service_fault(&behaviour_fake, "%s, \"times\": -1", fault);
}

void behaviour_heal(void)
{
    atomic_store(&is_cut_off, false);
    fake_service_clear(&behaviour_fake);
}

void behaviour_cut_off(void)
{
    atomic_store(&is_cut_off, true);
    /* And the connections that are open already. */
    behaviour_fault("\"kind\": \"close\"");
}

void behaviour_on_connect(void (*function)(void))
{
    atomic_store(&when_connecting, function);
}

/* Before the C library's in the order of symbols, as in tests/support/hang_dns.c. */
__attribute__((visibility("default"))) int connect(int fd, const struct sockaddr *address,
                                                   socklen_t len)
{
    /* ISO C has no way to say this cast. */
    union {
        void *object;
        int (*function)(int, const struct sockaddr *, socklen_t);
    } next = {.object = dlsym(RTLD_NEXT, "connect")};
    void (*function)(void) = atomic_load(&when_connecting);
    if (function != NULL)
        function();
    if (!atomic_load(&is_cut_off) || address->sa_family != AF_INET)
        return next.function(fd, address, len);
    struct sockaddr_in closed;
    memcpy(&closed, address, sizeof(closed));
    closed.sin_port = htons(CLOSED_PORT);
    return next.function(fd, (struct sockaddr *) &closed, sizeof(closed));
}

int64_t behaviour_now_ms(void)
{
    struct timespec now;
    ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void behaviour_sleep_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    (void) nanosleep(&pause, NULL);
}

CK_SESSION_HANDLE behaviour_session(void)
{
    CK_SESSION_HANDLE session;
    CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    ck_assert_uint_eq(C_OpenSession(0, flags, NULL, NULL, &session), CKR_OK);
    return session;
}

CK_RV behaviour_login(CK_SESSION_HANDLE session)
{
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    return C_Login(session, CKU_USER, pin, sizeof(pin) - 1);
}

static CK_SESSION_INFO info_of(CK_SESSION_HANDLE session)
{
    CK_SESSION_INFO info;
    ck_assert_uint_eq(C_GetSessionInfo(session, &info), CKR_OK);
    return info;
}

enum indexkey_cause behaviour_cause(CK_SESSION_HANDLE session)
{
    return (enum indexkey_cause) info_of(session).ulDeviceError;
}

bool behaviour_is_logged_in(CK_SESSION_HANDLE session)
{
    return info_of(session).state == CKS_RW_USER_FUNCTIONS;
}

CK_OBJECT_HANDLE behaviour_find(CK_SESSION_HANDLE session, const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};
    CK_OBJECT_HANDLE handles[2];
    CK_ULONG count = 0;
    ck_assert_uint_eq(C_FindObjectsInit(session, &template, 1), CKR_OK);
    ck_assert_uint_eq(C_FindObjects(session, handles, 2, &count), CKR_OK);
    ck_assert_uint_eq(C_FindObjectsFinal(session), CKR_OK);
    ck_assert_msg(count == 1, "%lu objects with label %s", count, label);
    return handles[0];
}

CK_RV behaviour_encrypt(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, const char **ret_call)
{
    static atomic_uint_least64_t messages;
    uint64_t number = atomic_fetch_add(&messages, 1);
    CK_BYTE iv[12] = {0};
    CK_BYTE text[TEXT_LEN] = {0};
    CK_BYTE sealed[TEXT_LEN + TAG_LEN];
    CK_ULONG len = sizeof(sealed);
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = sizeof(iv), .ulTagBits = 8 * TAG_LEN};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    memcpy(iv, &number, sizeof(number));
    *ret_call = "C_EncryptInit";
    TRY(C_EncryptInit(session, &mechanism, key));
    *ret_call = "C_Encrypt";
    return C_Encrypt(session, text, sizeof(text), sealed, &len);
}

CK_RV behaviour_sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, const char **ret_call)
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE text[TEXT_LEN] = {0};
    CK_BYTE mac[MAC_LEN];
    CK_ULONG len = sizeof(mac);
    *ret_call = "C_SignInit";
    TRY(C_SignInit(session, &mechanism, key));
    *ret_call = "C_Sign";
    return C_Sign(session, text, sizeof(text), mac, &len);
}

CK_OBJECT_HANDLE behaviour_import(CK_SESSION_HANDLE session, CK_BYTE value[32])
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE;
    CK_UTF8CHAR label[] = "shared";
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)},    {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &yes, sizeof(yes)},        {CKA_VALUE, value, 32},
        {CKA_LABEL, label, sizeof(label) - 1},
    };
    CK_OBJECT_HANDLE handle;
    ck_assert_uint_eq(C_CreateObject(session, template, 5, &handle), CKR_OK);
    return handle;
}
