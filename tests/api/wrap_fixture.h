/*
 * A token, the keys that move and the checks on them, for the tests of C_WrapKey and C_UnwrapKey.
 * The constants are variables because templates point to them.
 */
#pragma once

#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOTHING ((CK_OBJECT_HANDLE) 0xdeadUL)

extern struct api api;
extern CK_BBOOL yes;
extern CK_BBOOL no;
extern CK_OBJECT_CLASS secret_key;
extern CK_KEY_TYPE generic;
extern CK_KEY_TYPE aes;
extern CK_ULONG len_16;
extern CK_ULONG len_32;
/* The value of imported keys. */
extern CK_BYTE value[32];

/* Mechanisms: KW, KWP, and GCM with an IV made by the token. */
extern CK_MECHANISM key_wrap;
extern CK_MECHANISM kwp;
extern CK_MECHANISM gcm;
extern CK_BYTE gcm_iv[12];

extern const CK_ATTRIBUTE nothing_more;
extern const CK_ATTRIBUTE extractable;
extern const CK_ATTRIBUTE signs;
/* A generic secret that signs. */
extern const CK_ATTRIBUTE as_mac_key[2];

/* For checked fixtures. */
void open_token(void);
void close_token(void);

/* An AES session key of 32 bytes with these attributes. */
CK_RV generate(const CK_ATTRIBUTE *more, size_t count, CK_OBJECT_HANDLE *ret_key);
/* One that wraps and unwraps, with one more attribute. */
CK_OBJECT_HANDLE make_wrapping_key(CK_ATTRIBUTE one);
/* The first bytes of `value` as a session key. */
CK_RV import(CK_KEY_TYPE *type, CK_ULONG len, CK_ATTRIBUTE one, CK_ATTRIBUTE two,
             CK_OBJECT_HANDLE *ret_key);
/* `value` as a session key that may leave and signs. */
CK_OBJECT_HANDLE import_mac_key(void);

/* A wrapped key, and what unwraps it. */
struct wrapped {
    CK_MECHANISM *mechanism;
    CK_OBJECT_HANDLE with;
    CK_BYTE *blob;
    CK_ULONG len;
};
#define FROM(...) (&(struct wrapped){__VA_ARGS__})
/* C_UnwrapKey into a secret key with these attributes. */
CK_RV unwrap(const struct wrapped *from, const CK_ATTRIBUTE *more, size_t count,
             CK_OBJECT_HANDLE *ret_key);

/* C_WrapKey answers this, and writes nothing but with CKR_OK. */
void expect_wrap(CK_RV wanted, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE with,
                 CK_OBJECT_HANDLE key);
void expect_flag(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type, CK_BBOOL wanted);
/* Both sign, and give the same MAC. */
void expect_same_value(CK_OBJECT_HANDLE one, CK_OBJECT_HANDLE other);
