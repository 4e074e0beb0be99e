/*
 * What the tests of the message functions share: a token with known keys, one message with its
 * parameter, and OpenSSL's opinion of it.
 */
#pragma once

#include <stddef.h>

#include "tests/support/api_fixture.h"

#define MESSAGE_TAG 16
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

extern struct api api;
/* Session keys of 32 bytes: for AES-GCM, for HMAC. Values: message_key, as it is. */
extern CK_OBJECT_HANDLE message_aes;
extern CK_OBJECT_HANDLE message_hmac;
extern const CK_BYTE message_key[32];
extern CK_BYTE message_text[200];

/* For unchecked or checked fixtures. */
void message_setup(void);
void message_teardown(void);

/* An AES or generic session key with two usages; it needs no login. */
CK_OBJECT_HANDLE message_import(CK_KEY_TYPE type, const CK_BYTE value[32], CK_ATTRIBUTE_TYPE use,
                                CK_ATTRIBUTE_TYPE other_use);

struct message {
    CK_BYTE iv[32];
    CK_BYTE tag[MESSAGE_TAG];
    CK_BYTE out[256];
    CK_ULONG out_len;
    CK_GCM_MESSAGE_PARAMS params; /* points into this struct */
};

/* IV of 12 bytes that are `seed`, tag of 128 bits, room in `out`. */
void message_prepare(struct message *message, CK_BYTE seed, CK_GENERATOR_FUNCTION generator);
/* C_MessageEncryptInit and C_MessageDecryptInit with an empty parameter. */
CK_RV message_encrypt_init(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key);
CK_RV message_decrypt_init(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key);
/* C_EncryptMessage of the text's first `len` bytes, the first `aad_len` of them as associated data
 * too; C_DecryptMessage of what message->out holds, back to `out`. */
CK_RV message_encrypt(CK_SESSION_HANDLE session, struct message *message, CK_ULONG aad_len,
                      CK_ULONG len);
CK_RV message_decrypt(CK_SESSION_HANDLE session, struct message *message, CK_ULONG aad_len,
                      CK_BYTE *out, CK_ULONG *out_len);
/* Fails the test unless OpenSSL, with message_key and the message's IV, gives the same ciphertext
 * and tag. */
void message_assert_as_openssl(const struct message *message, size_t aad_len, size_t len);
