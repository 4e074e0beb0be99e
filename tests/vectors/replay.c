/*
 * Replays the Wycheproof files for the mechanisms of the table. WYCHEPROOF_DIR names their folder,
 * INDEXKEY_MODULE the built module. Exit: 0 all right, 1 something wrong, 77 skipped.
 */
#include "tests/vectors/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_SKIPPED 77
/* Of wrong results, this many are shown a file. */
#define SHOWN_MAX 5

#define HMAC(file, hash, bits)                                                                     \
    {                                                                                              \
        file, replay_mac, CKM_##hash##_HMAC, CKM_##hash##_HMAC_GENERAL, CKK_GENERIC_SECRET,        \
            (bits) / 8                                                                             \
    }
#define HKDF(file, hash)                                                                           \
    {                                                                                              \
        file, replay_hkdf, hash, 0, CKK_GENERIC_SECRET, 0                                          \
    }

#define PBKDF2(file, prf)                                                                          \
    {                                                                                              \
        file, replay_pbkdf2, prf, 0, CKK_GENERIC_SECRET, 0                                         \
    }

static const struct replay_file files[] = {
    {"aes_gcm_test.json", replay_gcm, CKM_AES_GCM, 0, CKK_AES, 0},
    {"aes_cbc_pkcs5_test.json", replay_cbc_pad, CKM_AES_CBC_PAD, 0, CKK_AES, 0},
    {"aes_wrap_test.json", replay_wrap, CKM_AES_KEY_WRAP, 0, CKK_AES, 0},
    {"aes_kwp_test.json", replay_wrap, CKM_AES_KEY_WRAP_KWP, 0, CKK_AES, 0},
    {"aes_cmac_test.json", replay_mac, CKM_AES_CMAC, CKM_AES_CMAC_GENERAL, CKK_AES, 16},
    {"aes_gmac_test.json", replay_gmac, CKM_AES_GMAC, 0, CKK_AES, 16},
    HMAC("hmac_sha1_test.json", SHA_1, 160),
    HMAC("hmac_sha224_test.json", SHA224, 224),
    HMAC("hmac_sha256_test.json", SHA256, 256),
    HMAC("hmac_sha384_test.json", SHA384, 384),
    HMAC("hmac_sha512_test.json", SHA512, 512),
    HMAC("hmac_sha512_224_test.json", SHA512_224, 224),
    HMAC("hmac_sha512_256_test.json", SHA512_256, 256),
    HMAC("hmac_sha3_224_test.json", SHA3_224, 224),
    HMAC("hmac_sha3_256_test.json", SHA3_256, 256),
    HMAC("hmac_sha3_384_test.json", SHA3_384, 384),
    HMAC("hmac_sha3_512_test.json", SHA3_512, 512),
    PBKDF2("pbkdf2_hmacsha1_test.json", CKP_PKCS5_PBKD2_HMAC_SHA1),
    PBKDF2("pbkdf2_hmacsha256_test.json", CKP_PKCS5_PBKD2_HMAC_SHA256),
    PBKDF2("pbkdf2_hmacsha512_test.json", CKP_PKCS5_PBKD2_HMAC_SHA512),
    HKDF("hkdf_sha1_test.json", CKM_SHA_1),
    HKDF("hkdf_sha256_test.json", CKM_SHA256),
    HKDF("hkdf_sha384_test.json", CKM_SHA384),
    HKDF("hkdf_sha512_test.json", CKM_SHA512),
};

struct counts {
    unsigned int right;
    unsigned int rejected;
    unsigned int policy;
    unsigned int wrong;
    const char *rule; /* the last that applied */
};

static void count_one(const struct replay_result *result, json_t *test, struct counts *counts)
{
    switch (result->outcome) {
    case REPLAY_RIGHT:
        counts->right++;
        return;
    case REPLAY_REJECTED:
        counts->rejected++;
        return;
    case REPLAY_POLICY:
        counts->policy++;
        counts->rule = result->rule;
        return;
    case REPLAY_WRONG:
        break;
    }
    if (counts->wrong++ < SHOWN_MAX) {
        printf("  test %lld: %s\n", (long long) json_integer_value(json_object_get(test, "tcId")),
               result->detail);
    }
}

static void run_file(const struct replay_token *token, const struct replay_file *file, json_t *root,
                     struct counts *counts)
{
    size_t group_at = 0;
    size_t test_at = 0;
    json_t *group = NULL;
    json_t *test = NULL;

    json_array_foreach(json_object_get(root, "testGroups"), group_at, group)
    {
        json_array_foreach(json_object_get(group, "tests"), test_at, test)
        {
            struct replay_result result = file->run(token, file, group, test);
            count_one(&result, test, counts);
        }
    }
}

/* False when the file cannot be read, is not replayed whole, or a result is wrong. */
static bool replay_file(const struct replay_token *token, const char *folder,
                        const struct replay_file *file)
{
    char path[4096];
    json_error_t error;
    struct counts counts = {0};

    (void) snprintf(path, sizeof(path), "%s/%s", folder, file->name);
    json_t *root = json_load_file(path, 0, &error);
    if (!root) {
        printf("%s: %s\n", path, error.text);
        return false;
    }
    run_file(token, file, root, &counts);
    long long announced = json_integer_value(json_object_get(root, "numberOfTests"));
    json_decref(root);
    unsigned int total = counts.right + counts.rejected + counts.policy + counts.wrong;
    printf(
        "%-27s %4u accepted and right, %4u rejected rightly, %2u valid but refused by policy%s%s%s",
        file->name, counts.right, counts.rejected, counts.policy, counts.rule ? " (" : "",
        counts.rule ? counts.rule : "", counts.rule ? ")" : "");
    printf(counts.wrong ? ", %u WRONG\n" : "\n", counts.wrong);
    if (total != announced)
        printf("  %u of %lld tests were run\n", total, announced);
    return counts.wrong == 0 && total == announced && total > 0;
}

int main(void)
{
    const char *folder = getenv("WYCHEPROOF_DIR");
    const char *module_path = getenv("INDEXKEY_MODULE");
    struct replay_token token;

    if (!folder || access(folder, R_OK | X_OK) != 0) {
        printf("skipped: no Wycheproof vectors: WYCHEPROOF_DIR is %s\n",
               folder ? "not a readable folder" : "not set");
        return EXIT_SKIPPED;
    }
    if (!module_path) {
        printf("INDEXKEY_MODULE does not name the built module\n");
        return EXIT_FAILURE;
    }
    bool opened = replay_token_open(module_path, &token);
    bool ok = opened;
    for (size_t i = 0; opened && i < sizeof(files) / sizeof(files[0]); i++)
        ok = replay_file(&token, folder, &files[i]) && ok;
    replay_token_close(&token);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
