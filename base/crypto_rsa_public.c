/* RSA public keys that come as two numbers: their fingerprint, and what is encrypted to them. */
#include "base/crypto.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/alloc.h"
#include "base/rv.h"

#define MODULUS_LEN_MIN 256
#define MODULUS_LEN_MAX 2048
#define EXPONENT_LEN_MAX 8

#define DER_INTEGER 0x02
#define DER_BIT_STRING 0x03
#define DER_SEQUENCE 0x30

/* RFC 8017, A.1: rsaEncryption with NULL. */
static const unsigned char algorithm[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                          0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};

static struct view without_zeros(struct view number)
{
    while (number.len > 0 && number.bytes[0] == 0) {
        number.bytes++;
        number.len--;
    }
    return number;
}

static bool is_odd(struct view number)
{
    return (number.bytes[number.len - 1] & 1) != 0;
}

static CK_RV check(const struct rsa_public *key, struct rsa_public *ret_trimmed)
{
    struct view modulus = without_zeros(key->modulus);
    struct view exponent = without_zeros(key->exponent);

    if (modulus.len < MODULUS_LEN_MIN || modulus.len > MODULUS_LEN_MAX || exponent.len == 0 ||
        exponent.len > EXPONENT_LEN_MAX || !is_odd(modulus) || !is_odd(exponent) ||
        (exponent.len == 1 && exponent.bytes[0] < 3))
        return CKR_DATA_INVALID;
    *ret_trimmed = (struct rsa_public){modulus, exponent};
    return CKR_OK;
}

/* X.690, 8.1.3. */
static void write_header(struct writer *writer, uint8_t tag, size_t len)
{
    write_u8(writer, tag);
    if (len > 0xff) {
        write_u8(writer, 0x82);
        write_u8(writer, (uint8_t) (len >> 8));
    } else if (len > 0x7f) {
        write_u8(writer, 0x81);
    }
    write_u8(writer, (uint8_t) len);
}

/* A sign bit that is set would make it negative. */
static void write_integer(struct writer *writer, struct view number)
{
    bool has_top_bit = (number.bytes[0] & 0x80) != 0;

    write_header(writer, DER_INTEGER, number.len + has_top_bit);
    if (has_top_bit)
        write_u8(writer, 0);
    write_raw(writer, number);
}

static void write_spki(struct writer *writer, const struct rsa_public *key)
{
    _cleanup_(writer_clear) struct writer numbers = {0};
    _cleanup_(writer_clear) struct writer inner = {0};
    _cleanup_(writer_clear) struct writer outer = {0};

    write_integer(&numbers, key->modulus);
    write_integer(&numbers, key->exponent);
    write_u8(&inner, 0); /* unused bits */
    write_header(&inner, DER_SEQUENCE, numbers.len);
    write_raw(&inner, writer_view(&numbers));
    write_raw(&outer, (struct view){algorithm, sizeof(algorithm)});
    write_header(&outer, DER_BIT_STRING, inner.len);
    write_raw(&outer, writer_view(&inner));
    write_header(writer, DER_SEQUENCE, outer.len);
    write_raw(writer, writer_view(&outer));
    writer->failed |= numbers.failed || inner.failed || outer.failed;
}

CK_RV crypto_rsa_fingerprint(const struct rsa_public *key, unsigned char ret_digest[SHA256_LEN])
{
    _cleanup_(writer_clear) struct writer spki = {0};
    struct rsa_public trimmed;

    TRY(check(key, &trimmed));
    write_spki(&spki, &trimmed);
    return spki.failed ? CKR_HOST_MEMORY : crypto_sha256(writer_view(&spki), ret_digest);
}

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_context(EVP_PKEY_CTX **context)
{
    EVP_PKEY_CTX_free(*context);
}

/* OpenSSL takes numbers in the machine's order. */
static void to_native(struct view number, unsigned char *out)
{
    const uint16_t one = 1;
    bool is_little = *(const unsigned char *) &one == 1;

    for (size_t i = 0; i < number.len; i++)
        out[i] = number.bytes[is_little ? number.len - 1 - i : i];
}

static CK_RV make_key(const struct rsa_public *numbers, EVP_PKEY **ret_key)
{
    unsigned char modulus[MODULUS_LEN_MAX];
    unsigned char exponent[EXPONENT_LEN_MAX];
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, modulus, numbers->modulus.len),
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, exponent, numbers->exponent.len),
        OSSL_PARAM_construct_end(),
    };
    _cleanup_(free_context) EVP_PKEY_CTX *context =
        EVP_PKEY_CTX_new_from_name(crypto_context(), "RSA", NULL);

    to_native(numbers->modulus, modulus);
    to_native(numbers->exponent, exponent);
    if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, ret_key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        return crypto_fail("an RSA public key");
    return CKR_OK;
}

CK_RV crypto_rsa_oaep(const struct rsa_public *key, const char *hash, struct view plaintext,
                      struct blob *ret_ciphertext)
{
    CRYPTO_HIDE_ERRORS;
    char mode[] = OSSL_PKEY_RSA_PAD_MODE_OAEP;
    OSSL_PARAM settings[] = {
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, mode, sizeof(mode) - 1),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, (char *) hash, strlen(hash)),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, (char *) hash, strlen(hash)),
        OSSL_PARAM_END,
    };
    _cleanup_(free_key) EVP_PKEY *public_key = NULL;
    _cleanup_(blob_clear) struct blob ciphertext = {NULL, 0};
    struct rsa_public trimmed;

    TRY(check(key, &trimmed));
    TRY(make_key(&trimmed, &public_key));
    size_t len = trimmed.modulus.len;
    ciphertext.bytes = mem_alloc(len);
    if (ciphertext.bytes == NULL)
        return CKR_HOST_MEMORY;
    ciphertext.len = len;
    _cleanup_(free_context) EVP_PKEY_CTX *context =
        EVP_PKEY_CTX_new_from_pkey(crypto_context(), public_key, NULL);
    if (context == NULL || EVP_PKEY_encrypt_init_ex(context, settings) != 1 ||
        EVP_PKEY_encrypt(context, ciphertext.bytes, &len, plaintext.bytes, plaintext.len) != 1)
        return crypto_fail("encrypting with RSA-OAEP");
    *ret_ciphertext = blob_move(&ciphertext);
    return CKR_OK;
}
