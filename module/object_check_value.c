#include "module/object_attributes.h"

#include <string.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/rv.h"
#include "module/lineage.h"
#include "module/mechanism.h"
#include "module/policy_rules.h"

#define CHECK_VALUE_LEN 3
#define CHECK_VALUE_KEY_MIN 16
#define AES_BLOCK_LEN 16

static void cipher_free(EVP_CIPHER_CTX **context)
{
    EVP_CIPHER_CTX_free(*context);
}

/* E_K(0) is GHASH's key: 24 bits of it are nobody's business. A key that may still become a GCM key
 * counts as one. */
static bool is_for_gcm(struct object *object)
{
    unsigned int family = lineage_family(object);
    return family == FAMILY_AES_GCM ||
           (family == FAMILY_NONE && (attributes_allow(&object->attributes, CKM_AES_GCM) ||
                                      attributes_allow(&object->attributes, CKM_AES_GMAC)));
}

/* Policy, from the attributes alone: no value is opened for a key that gets no checksum. */
static bool has_check_value(struct object *object)
{
    const struct attributes *attributes = &object->attributes;
    if (attributes->object_class == CKO_SECRET_KEY &&
        policy_allows_breach("check-values-tell-nothing"))
        return true;
    if (attributes->object_class != CKO_SECRET_KEY || object->purpose != PURPOSE_NONE ||
        attributes->value_len < CHECK_VALUE_KEY_MIN || attributes_are_index_key(attributes))
        return false;
    return attributes->key_type != CKK_AES || !is_for_gcm(object);
}

static bool encrypt_zeros(const struct secret *key, unsigned char ret_block[AES_BLOCK_LEN])
{
    static const unsigned char zeros[AES_BLOCK_LEN];
    const char *name = key->len == 16   ? "AES-128-ECB"
                       : key->len == 24 ? "AES-192-ECB"
                                        : "AES-256-ECB";
    const EVP_CIPHER *cipher = crypto_cipher(name);
    _cleanup_(cipher_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int len;
    return cipher != NULL && context != NULL &&
           key->len == (size_t) EVP_CIPHER_get_key_length(cipher) &&
           EVP_EncryptInit_ex2(context, cipher, key->bytes, NULL, NULL) == 1 &&
           EVP_CIPHER_CTX_set_padding(context, 0) == 1 &&
           EVP_EncryptUpdate(context, ret_block, &len, zeros, sizeof(zeros)) == 1 &&
           len == AES_BLOCK_LEN;
}

static bool digest_value(const struct secret *key, unsigned char ret_digest[EVP_MAX_MD_SIZE])
{
    const EVP_MD *sha1 = crypto_digest("SHA1");
    return sha1 != NULL && EVP_Digest(key->bytes, key->len, ret_digest, NULL, sha1, NULL) == 1;
}

bool check_value_compute(CK_KEY_TYPE key_type, const struct secret *value,
                         unsigned char ret_check[CHECK_VALUE_LEN])
{
    unsigned char result[EVP_MAX_MD_SIZE];
    bool done = key_type == CKK_AES ? encrypt_zeros(value, result) : digest_value(value, result);

    if (done)
        memcpy(ret_check, result, CHECK_VALUE_LEN);
    else
        log_line(LOG_LEVEL_ERROR, "OpenSSL computed no check value");
    OPENSSL_cleanse(result, sizeof(result));
    return done;
}

bool object_check_value(struct object *object, unsigned char ret_check[CHECK_VALUE_LEN])
{
    const struct secret *value;

    return has_check_value(object) && object_value(object, &value) == CKR_OK &&
           check_value_compute(object->attributes.key_type, value, ret_check);
}
