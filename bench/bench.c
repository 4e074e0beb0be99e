/*
 * The module's data path against raw OpenSSL, in one process and in alternating rounds: prints for
 * each work the median of the ratios module : EVP, with the smallest and the largest. Times
 * themselves are not printed, because they say more about the machine than about the code.
 *
 * The EVP side is the best that a careful caller would write: algorithms fetched once, the keyed
 * context kept, only the IV set again. The module runs in its default configuration, loaded with
 * dlopen like any client's.
 */
#include <dlfcn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "include/cryptoki.h"

#define ROUNDS 21
#define ROUND_NS 8000000.0
#define TEXT_MAX 16384
#define MUST(thing) must((thing), #thing)

struct bench {
    CK_FUNCTION_LIST *p11;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE aes;
    CK_OBJECT_HANDLE mac;
    EVP_CIPHER_CTX *cipher;
    EVP_MAC_CTX *evp_mac;
    EVP_MD_CTX *digest_context;
    EVP_MD *digest;
    unsigned char text[TEXT_MAX];
    unsigned char out[TEXT_MAX + 16];
    unsigned char iv[12];
};

struct work {
    const char *name;
    size_t len;
    void (*module)(struct bench *bench, size_t len);
    void (*evp)(struct bench *bench, size_t len);
};

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench: failed: %s\n", what);
    exit(EXIT_FAILURE);
}

static void next_iv(struct bench *bench)
{
    for (size_t i = 0; i < sizeof(bench->iv) && ++bench->iv[i] == 0; i++)
        continue;
}

static void module_gcm(struct bench *bench, size_t len)
{
    CK_GCM_PARAMS params = {.pIv = bench->iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_ULONG out_len = sizeof(bench->out);

    next_iv(bench);
    MUST(bench->p11->C_EncryptInit(bench->session, &mechanism, bench->aes) == CKR_OK);
    MUST(bench->p11->C_Encrypt(bench->session, bench->text, len, bench->out, &out_len) == CKR_OK);
}

static void evp_gcm(struct bench *bench, size_t len)
{
    int written;

    next_iv(bench);
    MUST(EVP_EncryptInit_ex2(bench->cipher, NULL, NULL, bench->iv, NULL) == 1);
    MUST(EVP_EncryptUpdate(bench->cipher, bench->out, &written, bench->text, (int) len) == 1);
    MUST(EVP_EncryptFinal_ex(bench->cipher, bench->out + len, &written) == 1);
    MUST(EVP_CIPHER_CTX_ctrl(bench->cipher, EVP_CTRL_AEAD_GET_TAG, 16, bench->out + len) == 1);
}

static void module_hmac(struct bench *bench, size_t len)
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_ULONG out_len = sizeof(bench->out);

    MUST(bench->p11->C_SignInit(bench->session, &mechanism, bench->mac) == CKR_OK);
    MUST(bench->p11->C_Sign(bench->session, bench->text, len, bench->out, &out_len) == CKR_OK);
}

static void evp_hmac(struct bench *bench, size_t len)
{
    size_t written;

    MUST(EVP_MAC_init(bench->evp_mac, NULL, 0, NULL) == 1);
    MUST(EVP_MAC_update(bench->evp_mac, bench->text, len) == 1);
    MUST(EVP_MAC_final(bench->evp_mac, bench->out, &written, sizeof(bench->out)) == 1);
}

static void module_sha256(struct bench *bench, size_t len)
{
    CK_MECHANISM mechanism = {CKM_SHA256, NULL, 0};
    CK_ULONG out_len = sizeof(bench->out);

    MUST(bench->p11->C_DigestInit(bench->session, &mechanism) == CKR_OK);
    MUST(bench->p11->C_Digest(bench->session, bench->text, len, bench->out, &out_len) == CKR_OK);
}

static void evp_sha256(struct bench *bench, size_t len)
{
    unsigned int written;

    MUST(EVP_DigestInit_ex2(bench->digest_context, bench->digest, NULL) == 1);
    MUST(EVP_DigestUpdate(bench->digest_context, bench->text, len) == 1);
    MUST(EVP_DigestFinal_ex(bench->digest_context, bench->out, &written) == 1);
}

static void module_random(struct bench *bench, size_t len)
{
    MUST(bench->p11->C_GenerateRandom(bench->session, bench->out, len) == CKR_OK);
}

static void evp_random(struct bench *bench, size_t len)
{
    MUST(RAND_bytes(bench->out, (int) len) == 1);
}

static const struct work works[] = {
    {"AES-256-GCM, 16 B", 16, module_gcm, evp_gcm},
    {"AES-256-GCM, 256 B", 256, module_gcm, evp_gcm},
    {"AES-256-GCM, 3,072 B", 3072, module_gcm, evp_gcm},
    {"AES-256-GCM, 16 KiB", 16384, module_gcm, evp_gcm},
    {"HMAC-SHA-256, 32 B", 32, module_hmac, evp_hmac},
    {"HMAC-SHA-256, 3,072 B", 3072, module_hmac, evp_hmac},
    {"SHA-256, 32 B", 32, module_sha256, evp_sha256},
    {"random, 32 B", 32, module_random, evp_random},
};

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec * 1e9 + (double) now.tv_nsec;
}

static double time_of(void (*run)(struct bench *, size_t), struct bench *bench, size_t len,
                      size_t count)
{
    double start = now_ns();

    for (size_t i = 0; i < count; i++)
        run(bench, len);
    return (now_ns() - start) / (double) count;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *) a;
    double y = *(const double *) b;

    return (x > y) - (x < y);
}

static void measure(struct bench *bench, const struct work *work)
{
    double ratios[ROUNDS];
    double warm = time_of(work->evp, bench, work->len, 100);
    size_t count = (size_t) (ROUND_NS / (warm + 1)) + 1;

    time_of(work->module, bench, work->len, 100);
    for (int round = 0; round < ROUNDS; round++) {
        double module = time_of(work->module, bench, work->len, count);
        double evp = time_of(work->evp, bench, work->len, count);
        ratios[round] = evp / module;
    }
    qsort(ratios, ROUNDS, sizeof(ratios[0]), compare);
    printf("%-24s %5.2f   (%.2f to %.2f)\n", work->name, ratios[ROUNDS / 2], ratios[0],
           ratios[ROUNDS - 1]);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    MUST(file != NULL);
    MUST(fputs(text, file) >= 0);
    MUST(fclose(file) == 0);
    MUST(chmod(path, 0600) == 0);
}

/* A token in memory; the folder goes before the measurements begin. */
static void load(struct bench *bench, const char *path)
{
    char folder[] = "/tmp/indexkey-bench-XXXXXX";
    char name[64];
    char conf[256];

    MUST(mkdtemp(folder) != NULL);
    snprintf(name, sizeof(name), "%s/indexkey.conf", folder);
    snprintf(conf, sizeof(conf),
             "[token bench]\nsource = env\nkey_env = BENCH_ROOT\nstore = memory:\n");
    write_file(name, conf);
    MUST(setenv("INDEXKEY_CONF", name, 1) == 0);
    MUST(setenv("BENCH_ROOT", "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=", 1) == 0);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    MUST(library != NULL);
    CK_C_GetFunctionList get = (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList");
    MUST(get != NULL && get(&bench->p11) == CKR_OK);
    MUST(bench->p11->C_Initialize(NULL) == CKR_OK);
    MUST(unlink(name) == 0 && rmdir(folder) == 0);
}

static void log_in(struct bench *bench)
{
    CK_UTF8CHAR label[33] = "bench                           ";
    CK_UTF8CHAR pin[] = "12345678";

    MUST(bench->p11->C_InitToken(0, pin, 8, label) == CKR_OK);
    MUST(bench->p11->C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                   &bench->session) == CKR_OK);
    MUST(bench->p11->C_Login(bench->session, CKU_SO, pin, 8) == CKR_OK);
    MUST(bench->p11->C_InitPIN(bench->session, pin, 8) == CKR_OK);
    MUST(bench->p11->C_Logout(bench->session) == CKR_OK);
    MUST(bench->p11->C_Login(bench->session, CKU_USER, pin, 8) == CKR_OK);
}

static CK_OBJECT_HANDLE find(struct bench *bench, const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};
    CK_OBJECT_HANDLE handle;
    CK_ULONG count;

    MUST(bench->p11->C_FindObjectsInit(bench->session, &template, 1) == CKR_OK);
    MUST(bench->p11->C_FindObjects(bench->session, &handle, 1, &count) == CKR_OK && count == 1);
    MUST(bench->p11->C_FindObjectsFinal(bench->session) == CKR_OK);
    return handle;
}

/* An index key: its subkey objects are the keys that an application uses. */
static void make_keys(struct bench *bench)
{
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_LABEL, (void *) "bench", 5},
    };
    CK_OBJECT_HANDLE handle;

    MUST(bench->p11->C_GenerateKey(bench->session, &mechanism, template, 3, &handle) == CKR_OK);
    bench->aes = find(bench, "bench/payload");
    bench->mac = find(bench, "bench/token");
}

static void prepare_evp(struct bench *bench)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *) "SHA2-256", 0),
        OSSL_PARAM_construct_end(),
    };
    unsigned char key[32] = "a key for the EVP side";

    bench->cipher = EVP_CIPHER_CTX_new();
    MUST(EVP_EncryptInit_ex2(bench->cipher, cipher, key, NULL, NULL) == 1);
    bench->evp_mac = EVP_MAC_CTX_new(mac);
    MUST(EVP_MAC_init(bench->evp_mac, key, sizeof(key), params) == 1);
    bench->digest = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    bench->digest_context = EVP_MD_CTX_new();
    MUST(bench->digest != NULL && bench->digest_context != NULL);
}

int main(int argc, char **argv)
{
    static struct bench bench;

    if (argc != 2) {
        fprintf(stderr, "usage: bench MODULE\n");
        return EXIT_FAILURE;
    }
    load(&bench, argv[1]);
    log_in(&bench);
    make_keys(&bench);
    prepare_evp(&bench);
    printf("module : EVP, median of %d rounds (smallest to largest); 1.00 is OpenSSL's own speed\n",
           ROUNDS);
    for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
        measure(&bench, &works[i]);
    return EXIT_SUCCESS;
}
