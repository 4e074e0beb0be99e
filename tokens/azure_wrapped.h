/*
 * Keys that Azure wrapped, in the forms that they are kept in (docs/formats.md). No I/O.
 *
 *   - our own: with the key's name, the version that wrapped, the algorithm, and a MAC under the
 *     data key over all of it and the context, since RSA-OAEP and AES key wrap bind none
 *   - the JSON that wrapKey (or `az keyvault key encrypt`) answers: for direct keys
 *   - a bare ciphertext: for direct keys, by the configured version
 *
 * Everything read here is hostile.
 */
#pragma once

#include "tokens/azure_key.h"
#include "tokens/json.h"

#define AZURE_CIPHERTEXT_LEN_MAX 2048 /* RSA of 16384 bits */
#define AZURE_IV_LEN 12
#define AZURE_TAG_LEN 16

struct azure_wrapped {
    enum azure_algorithm algorithm;
    struct view name;    /* of the key; empty: not told */
    struct view version; /* empty: not told */
    const char *key_id;  /* of a JSON, which names vault, key and version so; else NULL */
    struct view iv;      /* with A256GCM, as the tag; else empty */
    struct view tag;
    struct view ciphertext;
    struct view head; /* of our own form: all that the MAC covers but the context; else empty */
    struct view mac;

    struct json *json; /* what views may point into */
    struct secret decoded[3];
};

void azure_wrapped_clear(struct azure_wrapped *wrapped);

/* Our own form of what Azure wrapped: algorithm to ciphertext are read. */
CK_RV azure_wrapped_write(const struct azure_wrapped *wrapped, const struct secret *data_key,
                          struct view context, struct blob *ret_bytes);

/* `algorithm` is of the forms that do not tell it. The result points into `bytes` too; freed with
 * azure_wrapped_clear. CKR_DATA_INVALID, not logged: none of the forms. */
CK_RV azure_wrapped_read(struct view bytes, enum azure_algorithm algorithm,
                         struct azure_wrapped *ret_wrapped);

/* Of our own form, once Azure has unwrapped it. CKR_ENCRYPTED_DATA_INVALID, not logged: changed, or
 * of another context. */
CK_RV azure_wrapped_verify(const struct azure_wrapped *wrapped, const struct secret *data_key,
                           struct view context);
