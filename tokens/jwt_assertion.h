/*
 * A signed JWT that proves to an identity provider who asks for an access token (RFC 7523): a JWS
 * in compact serialisation (RFC 7515, 7.1), signed with an RSA key that the caller has as PEM.
 *
 * The JWT is a credential while it is valid, so that it lies in secret memory.
 */
#pragma once

#include "base/bytes.h"
#include "base/secret.h"

enum jwt_algorithm {
    JWT_RS256, /* RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, 3.3) */
    JWT_PS256, /* RSASSA-PSS with SHA-256 and a salt of its length (RFC 7518, 3.5) */
};

/* A member of the header: "kid", "x5t#S256". `alg` and `typ` are there already. */
struct jwt_field {
    const char *name;
    const char *value;
};

struct jwt_assertion {
    enum jwt_algorithm algorithm;
    const struct jwt_field *fields;
    size_t field_count;
    struct view claims;  /* a JSON object, as json_writer makes it */
    struct view key_pem; /* see crypto_rsa_sign */
};

/* CKR_DATA_INVALID, not logged: key_pem is no key for crypto_rsa_sign, or a field no UTF-8. Other
 * failures are logged. */
CK_RV jwt_assertion_sign(const struct jwt_assertion *assertion, struct secret *ret_jwt);

/* Base64url without padding (RFC 7515, 2). `ret_text` is not ended by a NUL. */
CK_RV jwt_assertion_base64url(struct view bytes, struct secret *ret_text);
