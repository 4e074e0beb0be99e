/*
 * How a parent HSM wraps a data key: the mechanisms, each with its own use of the parent's
 * functions. Inside only (hsm_parent.h).
 */
#pragma once

#include "base/secret.h"
#include "tokens/hsm_session.h"

/* The numbers stand in wrapped keys (docs/formats.md). The order of the names. */
enum hsm_mechanism {
    HSM_AUTO = 0,
    HSM_AES_GCM = 1,          /* C_Encrypt, C_Decrypt; binds the context */
    HSM_AES_KWP = 2,          /* C_WrapKey, C_UnwrapKey, as the rest */
    HSM_AES_KEY_WRAP_PAD = 3, /* KWP under SoftHSM's name */
    HSM_RSA_OAEP_SHA256 = 4,
    HSM_RSA_OAEP_SHA1 = 5,
};
#define HSM_MECHANISM_NAMES "auto aes-gcm aes-kwp aes-key-wrap-pad rsa-oaep-sha256 rsa-oaep-sha1"
#define HSM_MECHANISM_LAST HSM_RSA_OAEP_SHA1

#define HSM_IV_LEN 12
/* RSA-4096 makes 512 bytes; a direct key may be longer than a data key. */
#define HSM_VALUE_LEN_MAX 1024

struct hsm_wrapping {
    const struct hsm_session *session;
    enum hsm_mechanism mechanism;
    CK_OBJECT_HANDLE key;
    struct view aad;              /* HSM_AES_GCM */
    unsigned char iv[HSM_IV_LEN]; /* so; wrapping may change it: some HSMs make their own */
};

/* Keys that wrap or unwrap by it. */
CK_OBJECT_CLASS hsm_wrap_class(enum hsm_mechanism mechanism, bool unwraps);

/* `ret_wrapped` is freed with blob_clear. */
CK_RV hsm_wrap(struct hsm_wrapping *wrapping, const struct secret *value, struct blob *ret_wrapped);
/* 1 to HSM_VALUE_LEN_MAX bytes. */
CK_RV hsm_unwrap(struct hsm_wrapping *wrapping, struct view wrapped, struct secret *ret_value);
