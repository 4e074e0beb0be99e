/*
 * A logged-in session with a PKCS #11 module: this one, or the one that keys go to. What both sides
 * of a migration do alike, through C_* functions only.
 *
 * Failures are one log line each, with the function's name and its CKR.
 */
#pragma once

#include "base/crypto.h"
#include "include/indexkey.h"

#define PEER_LABEL_LEN 256

struct peer {
    const char *name; /* for messages: "this token", "the other module" */
    const CK_FUNCTION_LIST *p11;
    CK_SESSION_HANDLE session;
};

/* The other module's RSA key pair. */
struct peer_rsa {
    CK_OBJECT_HANDLE private_key;
    struct blob modulus;
    struct blob exponent;
    struct rsa_public public; /* of the two */
    const char *hash;         /* of the OAEP that the module has: "SHA256", "SHA1" */
};

/* What the unwrapped key is to be. */
struct peer_template {
    CK_ATTRIBUTE *entries;
    CK_ULONG count;
};

/* Failures of C_* functions: one log line. Returns `rv`. */
CK_RV peer_failed(const struct peer *peer, const char *function, CK_RV rv);

/* Objects with this class and label: 0, 1, or 2 for more than one. */
CK_RV peer_count(const struct peer *peer, CK_OBJECT_CLASS object_class, const char *label,
                 CK_ULONG *ret_count);
/* The one object with this class and label. CKR_OBJECT_HANDLE_INVALID, logged, when there is none
 * or more than one. */
CK_RV peer_find(const struct peer *peer, CK_OBJECT_CLASS object_class, const char *label,
                CK_OBJECT_HANDLE *ret_object);
/* CKR_OK when there is none, else CKR_FUNCTION_REJECTED, logged. */
CK_RV peer_lacks(const struct peer *peer, CK_OBJECT_CLASS object_class, const char *label);
/* Freed with blob_clear; empty for an attribute that is empty. */
CK_RV peer_attribute(const struct peer *peer, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                     struct blob *ret_value);

/* The pair with this label, and the OAEP that it unwraps: found out with a value of no use. Freed
 * with peer_rsa_clear. */
CK_RV peer_rsa_find(const struct peer *peer, const char *label, struct peer_rsa *ret_rsa);
void peer_rsa_clear(struct peer_rsa *rsa);
CK_RV peer_unwrap(const struct peer *peer, const struct peer_rsa *rsa, struct view wrapped,
                  const struct peer_template *template, CK_OBJECT_HANDLE *ret_key);
