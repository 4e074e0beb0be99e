/*
 * NSS as a client of the message functions: PK11_AEADOp on keys of this module's token calls
 * C_EncryptMessage and C_DecryptMessage. counting_module.c proves that; OpenSSL proves the bytes.
 */
#include <check.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nss.h>
#include <openssl/evp.h>
#include <pk11pub.h>
#include <secerr.h>
#include <secmod.h>

#include "tests/clients/counting_module.h"
#include "tests/clients/nss_token.h"

#define IV_LEN 12
#define TAG_LEN 16
#define TEXT_LEN 100

static SECMODModule *module;
static PK11SlotInfo *slot;
static unsigned char text[TEXT_LEN];
static const unsigned char aad[] = "what is not encrypted";
static SECItem nothing = {siBuffer, NULL, 0};

struct sealed {
    unsigned char iv[IV_LEN];
    unsigned char out[TEXT_LEN];
    unsigned char tag[TAG_LEN];
};

static struct counted_calls calls(void)
{
    typedef struct counted_calls ask(void);
    void *library = dlopen(getenv("COUNTING_MODULE"), RTLD_NOW | RTLD_NOLOAD);

    ck_assert_msg(library != NULL, "NSS has not loaded the counting module");
    ask *asked = (ask *) dlsym(library, "counting_module_calls");
    dlclose(library);
    return asked();
}

static char *give_pin(PK11SlotInfo *asking, PRBool retry, void *context)
{
    (void) asking;
    (void) context;
    return retry ? NULL : PL_strdup(NSS_TOKEN_PIN);
}

static void setup(void)
{
    char spec[1024];

    nss_token_make();
    for (size_t i = 0; i < TEXT_LEN; i++)
        text[i] = (unsigned char) i;
    ck_assert_int_eq(NSS_NoDB_Init(NULL), SECSuccess);
    PK11_SetPasswordFunc(give_pin);
    snprintf(spec, sizeof(spec), "name=\"indexkey\" library=\"%s\"", getenv("COUNTING_MODULE"));
    module = SECMOD_LoadUserModule(spec, NULL, PR_FALSE);
    ck_assert_msg(module != NULL && module->loaded, "NSS does not load the module: %d",
                  PORT_GetError());
    slot = PK11_FindSlotByName("test");
    ck_assert_ptr_nonnull(slot);
    ck_assert_int_eq(PK11_Authenticate(slot, PR_FALSE, NULL), SECSuccess);
}

static void teardown(void)
{
    PK11_FreeSlot(slot);
    ck_assert_int_eq(SECMOD_UnloadUserModule(module), SECSuccess);
    SECMOD_DestroyModule(module);
    ck_assert_int_eq(NSS_Shutdown(), SECSuccess);
    nss_token_remove();
}

static PK11Context *context_of(PK11SymKey *key, CK_ATTRIBUTE_TYPE use)
{
    PK11Context *context =
        PK11_CreateContextBySymKey(CKM_AES_GCM, CKA_NSS_MESSAGE | use, key, &nothing);

    ck_assert_msg(context != NULL, "NSS makes no context: %d", PORT_GetError());
    return context;
}

static SECStatus seal(PK11Context *context, CK_GENERATOR_FUNCTION generator, int fixed_bits,
                      struct sealed *sealed)
{
    int len = 0;
    SECStatus status =
        PK11_AEADOp(context, generator, fixed_bits, sealed->iv, IV_LEN, aad, sizeof(aad),
                    sealed->out, &len, TEXT_LEN, sealed->tag, TAG_LEN, text, TEXT_LEN);

    if (status == SECSuccess)
        ck_assert_int_eq(len, TEXT_LEN);
    return status;
}

static SECStatus open_sealed(PK11Context *context, const struct sealed *sealed, unsigned char *out)
{
    struct sealed given = *sealed;
    int len = 0;

    return PK11_AEADOp(context, CKG_NO_GENERATE, 0, given.iv, IV_LEN, aad, sizeof(aad), out, &len,
                       TEXT_LEN, given.tag, TAG_LEN, given.out, TEXT_LEN);
}

static void assert_as_openssl(const unsigned char key[32], const struct sealed *sealed)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    unsigned char out[TEXT_LEN];
    unsigned char tag[TAG_LEN];
    int len = 0;

    ck_assert(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, sealed->iv) == 1 &&
              EVP_EncryptUpdate(context, NULL, &len, aad, sizeof(aad)) == 1 &&
              EVP_EncryptUpdate(context, out, &len, text, TEXT_LEN) == 1 &&
              EVP_EncryptFinal_ex(context, out + TEXT_LEN, &len) == 1 &&
              EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag) == 1);
    EVP_CIPHER_CTX_free(context);
    ck_assert_mem_eq(sealed->out, out, TEXT_LEN);
    ck_assert_mem_eq(sealed->tag, tag, TAG_LEN);
}

static const struct {
    CK_GENERATOR_FUNCTION generator;
    int fixed_bits;
} ways[] = {
    {CKG_NO_GENERATE, 0},           {CKG_GENERATE, 0},
    {CKG_GENERATE_RANDOM, 0},       {CKG_GENERATE_COUNTER, 32},
    {CKG_GENERATE_COUNTER_XOR, 32},
};

/* Ten messages of one context, each with its IV; then all are read back. */
START_TEST(session_key)
{
    unsigned char value[32] = "a key that the application has.";
    SECItem item = {siBuffer, value, sizeof(value)};
    struct sealed sealed[10] = {0};
    unsigned char out[TEXT_LEN];

    PK11SymKey *key = PK11_ImportSymKeyWithFlags(slot, CKM_AES_GCM, PK11_OriginUnwrap, CKA_ENCRYPT,
                                                 &item, CKF_ENCRYPT | CKF_DECRYPT, PR_FALSE, NULL);
    ck_assert_msg(key != NULL, "NSS imports no key: %d", PORT_GetError());
    PK11Context *encryption = context_of(key, CKA_ENCRYPT);
    PK11Context *decryption = context_of(key, CKA_DECRYPT);
    for (unsigned char i = 0; i < 10; i++) {
        if (ways[_i].generator == CKG_NO_GENERATE)
            memset(sealed[i].iv, i + 1, IV_LEN);
        ck_assert_int_eq(seal(encryption, ways[_i].generator, ways[_i].fixed_bits, &sealed[i]),
                         SECSuccess);
        assert_as_openssl(value, &sealed[i]);
        for (unsigned char other = 0; other < i; other++)
            ck_assert_mem_ne(sealed[i].iv, sealed[other].iv, IV_LEN);
    }
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(open_sealed(decryption, &sealed[i], out), SECSuccess);
        ck_assert_mem_eq(out, text, TEXT_LEN);
    }
    PK11_DestroyContext(encryption, PR_TRUE);
    PK11_DestroyContext(decryption, PR_TRUE);
    PK11_FreeSymKey(key);
    struct counted_calls counted = calls();
    ck_assert_uint_ge(counted.message_encrypt_init, 1);
    ck_assert_uint_ge(counted.message_decrypt_init, 1);
    ck_assert_uint_eq(counted.encrypt_message, 10);
    ck_assert_uint_eq(counted.decrypt_message, 10);
    ck_assert_uint_eq(counted.encrypt_init + counted.decrypt_init, 0);
}
END_TEST

/* A key that never leaves the token; and a message that was changed, between good ones. */
START_TEST(token_key)
{
    struct sealed sealed = {0};
    unsigned char out[TEXT_LEN];

    PK11SymKey *key = PK11_ListFixedKeysInSlot(slot, (char *) NSS_TOKEN_KEY, NULL);
    ck_assert_ptr_nonnull(key);
    PK11Context *encryption = context_of(key, CKA_ENCRYPT);
    PK11Context *decryption = context_of(key, CKA_DECRYPT);
    ck_assert_int_eq(seal(encryption, CKG_GENERATE_RANDOM, 0, &sealed), SECSuccess);
    for (size_t i = 0; i < TAG_LEN; i++) {
        sealed.tag[i] ^= 1;
        memset(out, 0xee, sizeof(out));
        ck_assert_int_eq(open_sealed(decryption, &sealed, out), SECFailure);
        ck_assert_mem_eq(out, (unsigned char[TEXT_LEN]){0}, TEXT_LEN);
        sealed.tag[i] ^= 1;
        ck_assert_int_eq(open_sealed(decryption, &sealed, out), SECSuccess);
        ck_assert_mem_eq(out, text, TEXT_LEN);
    }
    PK11_DestroyContext(encryption, PR_TRUE);
    PK11_DestroyContext(decryption, PR_TRUE);
    PK11_FreeSymKey(key);
    struct counted_calls counted = calls();
    ck_assert_uint_eq(counted.encrypt_message, 1);
    ck_assert_uint_eq(counted.decrypt_message, 2 * TAG_LEN);
    ck_assert_uint_eq(counted.encrypt_init + counted.decrypt_init, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("NSS");
    TCase *tests = tcase_create("message functions");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, session_key, 0, sizeof(ways) / sizeof(ways[0]));
    tcase_add_test(tests, token_key);
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
