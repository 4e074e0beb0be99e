#include "tests/support/approval_fixture.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

static EVP_PKEY *person(unsigned int seed)
{
    unsigned char key[32] = {(unsigned char) seed, 0x42};
    EVP_PKEY *person = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key, sizeof(key));

    ck_assert_ptr_nonnull(person);
    return person;
}

size_t approval_sign(unsigned int seed, const struct approval_text *text,
                     char ret_document[APPROVAL_TEXT_MAX])
{
    unsigned char signature[64];
    size_t signature_len = sizeof(signature);
    EVP_PKEY *key = person(seed);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int len = snprintf(ret_document, APPROVAL_TEXT_MAX,
                       "indexkey approval 1\ntoken %s\noperation %s\nobject %s\nnonce %032x\n"
                       "expires %" PRId64 "\n",
                       text->serial, text->operation, text->object, text->number, text->expires);

    ck_assert_int_eq(EVP_DigestSignInit(context, NULL, NULL, NULL, key), 1);
    ck_assert_int_eq(EVP_DigestSign(context, signature, &signature_len,
                                    (unsigned char *) ret_document, (size_t) len),
                     1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    len += snprintf(ret_document + len, APPROVAL_TEXT_MAX - (size_t) len, "signature ");
    for (size_t i = 0; i < sizeof(signature); i++)
        len += snprintf(ret_document + len, APPROVAL_TEXT_MAX - (size_t) len, "%02x", signature[i]);
    len += snprintf(ret_document + len, APPROVAL_TEXT_MAX - (size_t) len, "\n");
    ck_assert_int_lt(len, APPROVAL_TEXT_MAX);
    return (size_t) len;
}

void approval_public_key(unsigned int seed, unsigned char ret_key[32])
{
    size_t len = 32;
    EVP_PKEY *key = person(seed);

    ck_assert_int_eq(EVP_PKEY_get_raw_public_key(key, ret_key, &len), 1);
    EVP_PKEY_free(key);
}

void approval_add_person(unsigned int seed, const char *name, char *text, size_t size)
{
    unsigned char spki[44] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21};
    unsigned char base64[64];
    size_t len = strlen(text);

    approval_public_key(seed, spki + 12);
    EVP_EncodeBlock(base64, spki, sizeof(spki));
    snprintf(text + len, size - len,
             "# %s\n-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n", name,
             (char *) base64);
}
