/* The works on raw OpenSSL. An error of OpenSSL's is CKR_FUNCTION_FAILED. */
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

#include "bench/work.h"

static CK_RV result(int good)
{
    return good == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

/* ---- AES-GCM ---- */

static CK_RV cipher_prepare(struct lane *lane, const struct work *work, int encrypts)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, work->kind->algorithm, NULL);

    lane->cipher = EVP_CIPHER_CTX_new();
    int good = EVP_CipherInit_ex2(lane->cipher, cipher, lane->key_bytes, NULL, encrypts, NULL);
    EVP_CIPHER_free(cipher);
    return result(good);
}

static void cipher_end(struct lane *lane)
{
    EVP_CIPHER_CTX_free(lane->cipher);
    lane->cipher = NULL;
}

static CK_RV encrypt_prepare(struct lane *lane, const struct work *work)
{
    return cipher_prepare(lane, work, 1);
}

static CK_RV encrypt_to(struct lane *lane, const struct work *work, unsigned char *out)
{
    int written;

    return result(
        EVP_EncryptInit_ex2(lane->cipher, NULL, NULL, lane->iv, NULL) == 1 &&
        EVP_EncryptUpdate(lane->cipher, out, &written, lane->text, (int) work->len) == 1 &&
        EVP_EncryptFinal_ex(lane->cipher, out + work->len, &written) == 1 &&
        EVP_CIPHER_CTX_ctrl(lane->cipher, EVP_CTRL_AEAD_GET_TAG, WORK_TAG_LEN, out + work->len) ==
            1);
}

static CK_RV encrypt_run(struct lane *lane, const struct work *work)
{
    count_up(lane->iv, WORK_IV_LEN);
    return encrypt_to(lane, work, lane->out);
}

/* EVP_CIPHER_CTX_ctrl comes to the same, by a longer way. */
static CK_RV encrypt_run_fastest(struct lane *lane, const struct work *work)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, lane->out + work->len, WORK_TAG_LEN),
        OSSL_PARAM_END,
    };
    int written;

    count_up(lane->iv, WORK_IV_LEN);
    return result(
        EVP_EncryptInit_ex2(lane->cipher, NULL, NULL, lane->iv, NULL) == 1 &&
        EVP_EncryptUpdate(lane->cipher, lane->out, &written, lane->text, (int) work->len) == 1 &&
        EVP_EncryptFinal_ex(lane->cipher, lane->out + work->len, &written) == 1 &&
        EVP_CIPHER_CTX_get_params(lane->cipher, params) == 1);
}

static CK_RV decrypt_prepare(struct lane *lane, const struct work *work)
{
    CK_RV rv = encrypt_prepare(lane, work);

    if (rv == CKR_OK)
        rv = encrypt_to(lane, work, lane->sealed);
    cipher_end(lane);
    return rv == CKR_OK ? cipher_prepare(lane, work, 0) : rv;
}

static CK_RV decrypt_run(struct lane *lane, const struct work *work)
{
    int written;

    return result(
        EVP_DecryptInit_ex2(lane->cipher, NULL, NULL, lane->iv, NULL) == 1 &&
        EVP_CIPHER_CTX_ctrl(lane->cipher, EVP_CTRL_AEAD_SET_TAG, WORK_TAG_LEN,
                            lane->sealed + work->len) == 1 &&
        EVP_DecryptUpdate(lane->cipher, lane->out, &written, lane->sealed, (int) work->len) == 1 &&
        EVP_DecryptFinal_ex(lane->cipher, lane->out + work->len, &written) == 1);
}

/* ---- MAC, digest, random ---- */

static CK_RV sign_prepare(struct lane *lane, const struct work *work)
{
    bool is_cmac = work->kind->key == KEY_CMAC;
    EVP_MAC *mac = EVP_MAC_fetch(NULL, is_cmac ? "CMAC" : "HMAC", NULL);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(is_cmac ? OSSL_MAC_PARAM_CIPHER : OSSL_MAC_PARAM_DIGEST,
                                         (char *) work->kind->algorithm, 0),
        OSSL_PARAM_construct_end(),
    };

    lane->mac = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);
    return result(EVP_MAC_init(lane->mac, lane->key_bytes, sizeof(lane->key_bytes), params));
}

static CK_RV sign_run(struct lane *lane, const struct work *work)
{
    size_t written;

    return result(EVP_MAC_init(lane->mac, NULL, 0, NULL) == 1 &&
                  EVP_MAC_update(lane->mac, lane->text, work->len) == 1 &&
                  EVP_MAC_final(lane->mac, lane->out, &written, EVP_MAX_MD_SIZE) == 1);
}

static void sign_end(struct lane *lane)
{
    EVP_MAC_CTX_free(lane->mac);
    lane->mac = NULL;
}

static CK_RV digest_prepare(struct lane *lane, const struct work *work)
{
    lane->digest = EVP_MD_fetch(NULL, work->kind->algorithm, NULL);
    lane->digest_context = EVP_MD_CTX_new();
    return result(lane->digest && lane->digest_context);
}

static CK_RV digest_run(struct lane *lane, const struct work *work)
{
    unsigned int written;

    return result(EVP_DigestInit_ex2(lane->digest_context, lane->digest, NULL) == 1 &&
                  EVP_DigestUpdate(lane->digest_context, lane->text, work->len) == 1 &&
                  EVP_DigestFinal_ex(lane->digest_context, lane->out, &written) == 1);
}

static CK_RV digest_prepare_fastest(struct lane *lane, const struct work *work)
{
    CK_RV rv = digest_prepare(lane, work);

    lane->digest_blank = EVP_MD_CTX_new();
    if (rv == CKR_OK)
        rv = result(EVP_DigestInit_ex2(lane->digest_blank, lane->digest, NULL));
    return rv;
}

static CK_RV digest_run_fastest(struct lane *lane, const struct work *work)
{
    unsigned int written;

    return result(EVP_MD_CTX_copy_ex(lane->digest_context, lane->digest_blank) == 1 &&
                  EVP_DigestUpdate(lane->digest_context, lane->text, work->len) == 1 &&
                  EVP_DigestFinal_ex(lane->digest_context, lane->out, &written) == 1);
}

static void digest_end(struct lane *lane)
{
    EVP_MD_CTX_free(lane->digest_context);
    EVP_MD_CTX_free(lane->digest_blank);
    EVP_MD_free(lane->digest);
    lane->digest_context = NULL;
    lane->digest_blank = NULL;
    lane->digest = NULL;
}

static CK_RV random_run(struct lane *lane, const struct work *work)
{
    return result(RAND_bytes(lane->out, (int) work->len));
}

/* ---- key derivation: the output is bytes in a buffer ---- */

static CK_RV kdf_prepare(struct lane *lane, const char *name)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, name, NULL);

    lane->kdf = EVP_KDF_CTX_new(kdf);
    EVP_KDF_free(kdf);
    return result(lane->kdf != NULL);
}

static CK_RV hkdf_prepare(struct lane *lane, const struct work *work)
{
    (void) work;
    return kdf_prepare(lane, "HKDF");
}

static CK_RV hkdf_run(struct lane *lane, const struct work *work)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *) "SHA2-256", 8),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, lane->key_bytes, sizeof(lane->key_bytes)),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, lane->info, WORK_INFO_LEN),
        OSSL_PARAM_END,
    };

    count_up(lane->info, WORK_INFO_LEN);
    return result(EVP_KDF_derive(lane->kdf, lane->out, work->len, params));
}

#define KBKDF_PARAMS(lane, no)                                                                     \
    OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_MODE, (char *) "COUNTER", 7),                            \
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_MAC, (char *) "HMAC", 4),                            \
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *) "SHA2-256", 8),                     \
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, (lane)->key_bytes, sizeof((lane)->key_bytes)), \
        OSSL_PARAM_int(OSSL_KDF_PARAM_KBKDF_USE_SEPARATOR, (no))

static CK_RV counter_kdf_prepare(struct lane *lane, const struct work *work)
{
    (void) work;
    return kdf_prepare(lane, "KBKDF");
}

static CK_RV counter_kdf_run(struct lane *lane, const struct work *work)
{
    int no = 0;
    const OSSL_PARAM params[] = {
        KBKDF_PARAMS(lane, &no),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, lane->info, WORK_INFO_LEN),
        OSSL_PARAM_END,
    };

    count_up(lane->info, WORK_INFO_LEN);
    return result(EVP_KDF_derive(lane->kdf, lane->out, work->len, params));
}

static CK_RV counter_kdf_prepare_keyed(struct lane *lane, const struct work *work)
{
    int no = 0;
    const OSSL_PARAM params[] = {KBKDF_PARAMS(lane, &no), OSSL_PARAM_END};
    CK_RV rv = counter_kdf_prepare(lane, work);

    return rv == CKR_OK ? result(EVP_KDF_CTX_set_params(lane->kdf, params)) : rv;
}

static CK_RV counter_kdf_run_keyed(struct lane *lane, const struct work *work)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, lane->info, WORK_INFO_LEN),
        OSSL_PARAM_END,
    };

    count_up(lane->info, WORK_INFO_LEN);
    return result(EVP_KDF_derive(lane->kdf, lane->out, work->len, params));
}

static void kdf_end(struct lane *lane)
{
    EVP_KDF_CTX_free(lane->kdf);
    lane->kdf = NULL;
}

const struct operation evp_encrypt = {
    .prepare = encrypt_prepare, .run = encrypt_run, .end = cipher_end};
const struct operation evp_decrypt = {
    .prepare = decrypt_prepare, .run = decrypt_run, .end = cipher_end};
const struct operation evp_sign = {.prepare = sign_prepare, .run = sign_run, .end = sign_end};
const struct operation evp_digest = {
    .prepare = digest_prepare, .run = digest_run, .end = digest_end};
const struct operation evp_random = {.run = random_run};
const struct operation evp_hkdf = {.prepare = hkdf_prepare, .run = hkdf_run, .end = kdf_end};
const struct operation evp_counter_kdf = {
    .prepare = counter_kdf_prepare, .run = counter_kdf_run, .end = kdf_end};
const struct operation evp_encrypt_fastest = {
    .prepare = encrypt_prepare, .run = encrypt_run_fastest, .end = cipher_end};
const struct operation evp_digest_fastest = {
    .prepare = digest_prepare_fastest, .run = digest_run_fastest, .end = digest_end};
const struct operation evp_counter_kdf_keyed = {
    .prepare = counter_kdf_prepare_keyed, .run = counter_kdf_run_keyed, .end = kdf_end};
