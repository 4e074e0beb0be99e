/*
 * A set of AWS credentials, and its forms: three texts, a JSON reply, one text to be kept.
 */
#pragma once

#include "base/bytes.h"
#include "base/secret.h"
#include "tokens/aws_key.h"

#define AWS_ACCESS_KEY_ID_LEN_MAX 128
#define AWS_SESSION_TOKEN_LEN_MAX ((size_t) 16384)
/* Of temporary credentials that do not say when they end. */
#define AWS_LIFETIME_UNKNOWN_S 3600

/* Freed with aws_credentials_clear. */
struct aws_credentials {
    char access_key_id[AWS_ACCESS_KEY_ID_LEN_MAX + 1];
    struct secret secret_access_key;
    struct secret session_token; /* empty: none */
    char region[AWS_REGION_LEN_MAX + 1];
};

/* As they were found; nothing of it is checked yet. */
struct aws_keys {
    struct view id;
    struct view secret;
    struct view session_token; /* empty: none */
};

void aws_credentials_clear(struct aws_credentials *credentials);

/* Printable, without blanks: it may go into a header (RFC 9110, 5.5). */
bool aws_credentials_is_text(struct view text, size_t len_max);

/* Leaves the Region. CKR_DATA_INVALID: not complete or malformed; CKR_HOST_MEMORY. Not logged, so
 * that the caller says where they were found. After a failure too, to be cleared. */
CK_RV aws_credentials_fill(const struct aws_keys *keys, struct aws_credentials *credentials);

/* AccessKeyId, SecretAccessKey and Expiration of a JSON object, and the session token by the name
 * `token`, as credential_process and the metadata services write them; what is secret is taken out
 * of `body`. `*ret_expires_s` is 0 when the reply does not tell. CKR_DATA_INVALID, CKR_HOST_MEMORY,
 * not logged. */
CK_RV aws_credentials_take_json(struct secret *body, const char *token,
                                struct aws_credentials *credentials, int64_t *ret_expires_s);

/* "2026-01-31T12:00:00Z" in seconds since 1970. False when it is none. */
bool aws_credentials_read_time(struct view text, int64_t *ret_time_s);

/* `mark` and the credentials without their Region as one text, and back: `mark` is text without
 * blanks, too. CKR_HOST_MEMORY; not logged. */
CK_RV aws_credentials_pack(const char *mark, const struct aws_credentials *credentials,
                           struct secret *ret_text);
/* CKR_DATA_INVALID: of another mark. */
CK_RV aws_credentials_unpack(const struct secret *text, const char *mark,
                             struct aws_credentials *credentials);
