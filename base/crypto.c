#include "base/crypto.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include "base/rv.h"

/* Bits that a seed or key of AES-256 asks of the generator. */
#define RANDOM_STRENGTH 256

struct algorithm {
    const char *name;
    void *fetched;
};

/* In the order of strcmp, for the binary search. A digest has a row for each name in use. */
static struct algorithm ciphers[] = {
    {"AES-128-CBC", NULL}, {"AES-128-CTR", NULL},  {"AES-128-ECB", NULL},
    {"AES-128-GCM", NULL}, {"AES-128-WRAP", NULL}, {"AES-128-WRAP-PAD", NULL},
    {"AES-192-CBC", NULL}, {"AES-192-CTR", NULL},  {"AES-192-ECB", NULL},
    {"AES-192-GCM", NULL}, {"AES-192-WRAP", NULL}, {"AES-192-WRAP-PAD", NULL},
    {"AES-256-CBC", NULL}, {"AES-256-CTR", NULL},  {"AES-256-ECB", NULL},
    {"AES-256-GCM", NULL}, {"AES-256-WRAP", NULL}, {"AES-256-WRAP-PAD", NULL},
};

static struct algorithm digests[] = {
    {"SHA1", NULL},       {"SHA2-224", NULL},     {"SHA2-256", NULL},     {"SHA2-384", NULL},
    {"SHA2-512", NULL},   {"SHA2-512/224", NULL}, {"SHA2-512/256", NULL}, {"SHA224", NULL},
    {"SHA256", NULL},     {"SHA3-224", NULL},     {"SHA3-256", NULL},     {"SHA3-384", NULL},
    {"SHA3-512", NULL},   {"SHA384", NULL},       {"SHA512", NULL},       {"SHA512-224", NULL},
    {"SHA512-256", NULL}, {"SHAKE128", NULL},     {"SHAKE256", NULL},
};

static struct algorithm macs[] = {{"CMAC", NULL}, {"GMAC", NULL}, {"HMAC", NULL}};

static struct algorithm kdfs[] = {
    {"HKDF", NULL},
    {"KBKDF", NULL},
    {"PBKDF2", NULL},
    {"SCRYPT", NULL},
};

static void *fetch_cipher(OSSL_LIB_CTX *context, const char *name)
{
    return EVP_CIPHER_fetch(context, name, NULL);
}

static void *fetch_digest(OSSL_LIB_CTX *context, const char *name)
{
    return EVP_MD_fetch(context, name, NULL);
}

static void *fetch_mac(OSSL_LIB_CTX *context, const char *name)
{
    return EVP_MAC_fetch(context, name, NULL);
}

static void *fetch_kdf(OSSL_LIB_CTX *context, const char *name)
{
    return EVP_KDF_fetch(context, name, NULL);
}

static void free_cipher(void *fetched)
{
    EVP_CIPHER_free(fetched);
}

static void free_digest(void *fetched)
{
    EVP_MD_free(fetched);
}

static void free_mac(void *fetched)
{
    EVP_MAC_free(fetched);
}

static void free_kdf(void *fetched)
{
    EVP_KDF_free(fetched);
}

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static const struct family {
    struct algorithm *rows;
    size_t count;
    void *(*fetch)(OSSL_LIB_CTX *context, const char *name);
    void (*free)(void *fetched);
} families[] = {
    {ciphers, COUNT(ciphers), fetch_cipher, free_cipher},
    {digests, COUNT(digests), fetch_digest, free_digest},
    {macs, COUNT(macs), fetch_mac, free_mac},
    {kdfs, COUNT(kdfs), fetch_kdf, free_kdf},
};
enum { FAMILY_CIPHER, FAMILY_DIGEST, FAMILY_MAC, FAMILY_KDF };

/* Changed by crypto_init, crypto_finish and crypto_abandon alone, while nobody else calls. */
static OSSL_LIB_CTX *kept_context;
static bool ready;

int crypto_errors_mark(void)
{
    return ERR_set_mark();
}

void crypto_errors_restore(int *mark)
{
    /* There is no mark on an empty queue; it is emptied again then. */
    (void) mark;
    (void) ERR_pop_to_mark();
}

CK_RV crypto_fail(const char *what)
{
    unsigned long error = ERR_peek_last_error();
    bool is_memory = ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
    CK_RV rv = is_memory ? CKR_HOST_MEMORY : CKR_FUNCTION_FAILED;
    const char *reason = error == 0 ? "no reason given" : ERR_reason_error_string(error);
    if (reason != NULL)
        return FAIL(rv, "%s: OpenSSL: %s", what, reason);
    return FAIL(rv, "%s: OpenSSL: error %08lx", what, error);
}

static CK_RV context_new(OSSL_LIB_CTX **ret_context)
{
    OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
    if (context == NULL)
        return crypto_fail("OSSL_LIB_CTX_new");
    /* The context keeps the provider until its own end. */
    if (OSSL_PROVIDER_load(context, "default") == NULL) {
        CK_RV rv = crypto_fail("the default provider");
        OSSL_LIB_CTX_free(context);
        return rv;
    }
    *ret_context = context;
    return CKR_OK;
}

static void fetch_all(void)
{
    for (size_t i = 0; i < COUNT(families); i++) {
        for (size_t j = 0; j < families[i].count; j++) {
            struct algorithm *row = &families[i].rows[j];
            row->fetched = families[i].fetch(kept_context, row->name);
        }
    }
}

/* `give_back` is false where the parent's locks may be held for ever. */
static void forget_all(bool give_back)
{
    for (size_t i = 0; i < COUNT(families); i++) {
        for (size_t j = 0; j < families[i].count; j++) {
            struct algorithm *row = &families[i].rows[j];
            if (give_back)
                families[i].free(row->fetched);
            row->fetched = NULL;
        }
    }
    ready = false;
}

static const void *find(int family, const char *name)
{
    size_t first = 0;
    size_t end = families[family].count;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        const struct algorithm *row = &families[family].rows[middle];
        int order = strcmp(name, row->name);
        if (order == 0)
            return row->fetched;
        if (order < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return NULL;
}

/* What this project cannot do without, asked for at the start rather than at a first login. */
static CK_RV self_check(void)
{
    if (crypto_cipher("AES-256-GCM") == NULL || crypto_digest("SHA256") == NULL ||
        crypto_mac("HMAC") == NULL || crypto_kdf("HKDF") == NULL)
        return FAIL(CKR_FUNCTION_FAILED, "OpenSSL lacks AES-256-GCM, SHA-256, HMAC or HKDF");
    unsigned char byte;
    return crypto_random(&byte, sizeof byte);
}

CK_RV crypto_init(void)
{
    if (ready)
        return CKR_OK;
    CRYPTO_HIDE_ERRORS;
    if (kept_context == NULL)
        TRY(context_new(&kept_context));
    fetch_all();
    ready = true;
    CK_RV rv = self_check();
    if (rv != CKR_OK)
        forget_all(true);
    return rv;
}

void crypto_finish(void)
{
    forget_all(true);
}

void crypto_abandon(void)
{
    forget_all(false);
    kept_context = NULL;
}

OSSL_LIB_CTX *crypto_context(void)
{
    return ready ? kept_context : NULL;
}

const EVP_CIPHER *crypto_cipher(const char *name)
{
    return find(FAMILY_CIPHER, name);
}

const EVP_MD *crypto_digest(const char *name)
{
    return find(FAMILY_DIGEST, name);
}

EVP_MAC *crypto_mac(const char *name)
{
    return (EVP_MAC *) find(FAMILY_MAC, name);
}

EVP_KDF *crypto_kdf(const char *name)
{
    return (EVP_KDF *) find(FAMILY_KDF, name);
}

CK_RV crypto_random(void *bytes, size_t len)
{
    /* A NULL context would mean the host's own. */
    if (!ready)
        return FAIL(CKR_GENERAL_ERROR, "random bytes were asked for before crypto_init");
    if (len == 0)
        return CKR_OK;
    CRYPTO_HIDE_ERRORS;
    EVP_RAND_CTX *generator = RAND_get0_private(kept_context);
    if (generator == NULL ||
        EVP_RAND_generate(generator, bytes, len, RANDOM_STRENGTH, 0, NULL, 0) != 1)
        return crypto_fail("random bytes");
    return CKR_OK;
}

CK_RV crypto_random_reseed(void)
{
    CRYPTO_HIDE_ERRORS;
    EVP_RAND_CTX *generator = ready ? RAND_get0_private(kept_context) : NULL;
    if (generator == NULL || EVP_RAND_reseed(generator, 0, NULL, 0, NULL, 0) != 1)
        return crypto_fail("seeding the generator of random bytes again");
    return CKR_OK;
}

CK_RV crypto_random_secret(size_t len, struct secret *ret_secret)
{
    _cleanup_(secret_clear) struct secret fresh = {NULL, 0};
    TRY(secret_new(len, &fresh));
    TRY(crypto_random(fresh.bytes, len));
    *ret_secret = secret_move(&fresh);
    return CKR_OK;
}
