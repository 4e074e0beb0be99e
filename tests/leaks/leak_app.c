/*
 * An application whose memory is looked at from outside, by test_leaks.c.
 *
 *   leak_app MODULE < struct leak_input, commands
 *
 * It makes a token, imports the given index key, and has eight threads encrypt and sign with its
 * subkeys. They stop between C_EncryptInit and C_Encrypt, all at once; then it obeys commands.
 * It wipes every secret that it was given, so that what is found is the module's doing. Any C_*
 * call that fails ends it with exit code 1.
 */
#include "tests/leaks/leak_app.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/cryptoki.h"

#define THREAD_COUNT 8
#define ROUND_COUNT 50

static CK_FUNCTION_LIST *p11;
static pthread_barrier_t busy;
static pthread_barrier_t go_on;
static unsigned char *canary;

#define OK(call) expect((call), #call)

static void expect(CK_RV rv, const char *what)
{
    if (rv == CKR_OK)
        return;
    fprintf(stderr, "leak_app: %s: 0x%lx\n", what, rv);
    exit(1);
}

static void need(bool good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(1);
}

/* read(2) alone: stdio would keep a copy in its buffer. */
static void read_input(void *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t got = read(STDIN_FILENO, (char *) bytes + at, len - at);
        need(got > 0, "leak_app: standard input");
        at += (size_t) got;
    }
}

static CK_SESSION_HANDLE session_new(void)
{
    CK_SESSION_HANDLE session;
    OK(p11->C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    return session;
}

static void make_token(struct leak_input *input)
{
    CK_UTF8CHAR label[33] = "leaks                           ";
    OK(p11->C_InitToken(0, input->so_pin, LEAK_PIN_LEN, label));
    CK_SESSION_HANDLE session = session_new();
    OK(p11->C_Login(session, CKU_SO, input->so_pin, LEAK_PIN_LEN));
    OK(p11->C_InitPIN(session, input->user_pin, LEAK_PIN_LEN));
    OK(p11->C_CloseSession(session));
}

static void import_index_key(CK_SESSION_HANDLE session, struct leak_input *input)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_LABEL, LEAK_LABEL, strlen(LEAK_LABEL)},
        {CKA_VALUE, input->index_key, LEAK_KEY_LEN},
    };
    CK_OBJECT_HANDLE handle;
    OK(p11->C_CreateObject(session, template, 5, &handle));
}

/* The session stays: its login lasts as long. */
static CK_SESSION_HANDLE prepare(void)
{
    struct leak_input input;
    read_input(&input, sizeof(input));
    canary = malloc(LEAK_KEY_LEN);
    need(canary != NULL, "leak_app: memory");
    memcpy(canary, input.canary, LEAK_KEY_LEN);
    make_token(&input);
    CK_SESSION_HANDLE session = session_new();
    OK(p11->C_Login(session, CKU_USER, input.user_pin, LEAK_PIN_LEN));
    import_index_key(session, &input);
    explicit_bzero(&input, sizeof(input));
    return session;
}

static CK_OBJECT_HANDLE find(CK_SESSION_HANDLE session, const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};
    CK_OBJECT_HANDLE handle;
    CK_ULONG count;
    OK(p11->C_FindObjectsInit(session, &template, 1));
    OK(p11->C_FindObjects(session, &handle, 1, &count));
    OK(p11->C_FindObjectsFinal(session));
    expect(count == 1 ? CKR_OK : CKR_KEY_HANDLE_INVALID, label);
    return handle;
}

static void encrypt_init(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, unsigned int round)
{
    unsigned char iv[12] = {0};
    memcpy(iv, &round, sizeof(round));
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = sizeof(iv), .ulIvBits = 96, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    OK(p11->C_EncryptInit(session, &mechanism, key));
}

static void encrypt(CK_SESSION_HANDLE session)
{
    unsigned char text[1000] = {0};
    unsigned char sealed[sizeof(text) + 16];
    CK_ULONG len = sizeof(sealed);
    OK(p11->C_Encrypt(session, text, sizeof(text), sealed, &len));
}

static void sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    unsigned char text[100] = {0};
    unsigned char mac[32];
    CK_ULONG len = sizeof(mac);
    OK(p11->C_SignInit(session, &mechanism, key));
    OK(p11->C_Sign(session, text, sizeof(text), mac, &len));
}

static void *work(void *unused)
{
    CK_SESSION_HANDLE session = session_new();
    CK_OBJECT_HANDLE payload = find(session, LEAK_LABEL "/payload");
    CK_OBJECT_HANDLE token = find(session, LEAK_LABEL "/token");
    for (unsigned int round = 0; round < ROUND_COUNT; round++) {
        encrypt_init(session, payload, round);
        encrypt(session);
        sign(session, token);
    }
    encrypt_init(session, payload, ROUND_COUNT);
    pthread_barrier_wait(&busy);
    pthread_barrier_wait(&go_on);
    encrypt(session);
    return unused;
}

static void fork_and_wait(void)
{
    pid_t child = fork();
    need(child >= 0, "leak_app: fork");
    if (child == 0) {
        CK_SESSION_INFO info;
        CK_RV rv = p11->C_GetSessionInfo(1, &info);
        char command;
        expect(rv == CKR_CRYPTOKI_NOT_INITIALIZED ? CKR_OK : rv, "C_GetSessionInfo in the child");
        dprintf(STDOUT_FILENO, "child %d\n", (int) getpid());
        read_input(&command, 1);
        _exit(command == LEAK_GO_ON ? 0 : 1);
    }
    int status;
    need(waitpid(child, &status, 0) == child && status == 0, "leak_app: the child");
    dprintf(STDOUT_FILENO, "alone\n");
}

static void log_out(CK_SESSION_HANDLE session, const pthread_t *threads)
{
    pthread_barrier_wait(&go_on);
    for (size_t i = 0; i < THREAD_COUNT; i++)
        (void) pthread_join(threads[i], NULL);
    OK(p11->C_Logout(session));
    dprintf(STDOUT_FILENO, "out\n");
}

static void obey(CK_SESSION_HANDLE session, const pthread_t *threads)
{
    for (char command = 0; command != LEAK_QUIT;) {
        read_input(&command, 1);
        if (command == LEAK_ABORT)
            abort();
        if (command == LEAK_FORK)
            fork_and_wait();
        if (command == LEAK_LOGOUT)
            log_out(session, threads);
        if (command == LEAK_FINALIZE) {
            OK(p11->C_Finalize(NULL));
            dprintf(STDOUT_FILENO, "finalized\n");
        }
    }
}

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = NULL;
    if (library != NULL)
        get = (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList");
    if (get == NULL) {
        fprintf(stderr, "leak_app: %s\n", dlerror());
        exit(1);
    }
    OK(get(&p11));
}

/* A core with every kind of mapping that the kernel is willing to write. */
static void ask_for_cores(void)
{
    struct rlimit limit;
    FILE *filter = fopen("/proc/self/coredump_filter", "w");
    need(getrlimit(RLIMIT_CORE, &limit) == 0, "leak_app: getrlimit");
    limit.rlim_cur = limit.rlim_max;
    need(setrlimit(RLIMIT_CORE, &limit) == 0, "leak_app: setrlimit");
    need(filter != NULL && fputs("0x7f", filter) >= 0 && fclose(filter) == 0,
         "leak_app: coredump_filter");
}

int main(int argc, char **argv)
{
    pthread_t threads[THREAD_COUNT];
    if (argc != 2)
        return 2;
    ask_for_cores();
    load(argv[1]);
    OK(p11->C_Initialize(NULL));
    CK_SESSION_HANDLE session = prepare();
    need(pthread_barrier_init(&busy, NULL, THREAD_COUNT + 1) == 0, "leak_app: barrier");
    need(pthread_barrier_init(&go_on, NULL, THREAD_COUNT + 1) == 0, "leak_app: barrier");
    for (size_t i = 0; i < THREAD_COUNT; i++)
        need(pthread_create(&threads[i], NULL, work, NULL) == 0, "leak_app: thread");
    pthread_barrier_wait(&busy);
    dprintf(STDOUT_FILENO, "busy\n");
    obey(session, threads);
    return 0;
}
