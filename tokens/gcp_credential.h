/*
 * The Google credential of a token: the first place that has one.
 *
 *   the PIN under `login = credential`, alone; else credentials_file of the token's section; else
 *   the file that GOOGLE_APPLICATION_CREDENTIALS names; else gcloud's own
 *   (application_default_credentials.json in CLOUDSDK_CONFIG or ~/.config/gcloud); else the
 *   metadata server of the machine
 *
 * It is read when an access token is needed and wiped after that. The environment of a process with
 * raised privileges is not believed (secure_getenv).
 */
#pragma once

#include "base/bytes.h"
#include "base/secret.h"
#include "tokens/json.h"

enum gcp_credential_type {
    GCP_SERVICE_ACCOUNT,
    GCP_AUTHORIZED_USER,
    GCP_EXTERNAL_ACCOUNT,
    GCP_METADATA_SERVER,
};

/* Cleared with gcp_credential_clear. */
struct gcp_credential {
    enum gcp_credential_type type;
    bool is_pin;
    char *place;                 /* the file's path, or "its PIN" */
    struct json *members;        /* without the secrets; NULL for the metadata server */
    struct secret key;           /* private_key or refresh_token */
    struct secret client_secret; /* empty: none */
};

void gcp_credential_clear(struct gcp_credential *credential);

/* All failures are logged, never with what was read. A file that is missing where it is named,
 * unsafe, malformed or of a type that is not known is CAUSE_CONFIG: nobody has refused anything.
 *
 * `token` is the token's name, `file` of the configuration or NULL. */
CK_RV gcp_credential_find(const char *token, const char *file,
                          struct gcp_credential *ret_credential);

/* A PIN that is a credential's JSON rather than an access token. */
bool gcp_credential_is_json(struct view pin);
/* CAUSE_CREDENTIAL when it is none, or not of a type that needs nothing but itself. */
CK_RV gcp_credential_from_pin(const char *token, struct view pin,
                              struct gcp_credential *ret_credential);

/* A member, or that default where it is missing. */
const char *gcp_credential_text(const struct gcp_credential *credential, const char *path,
                                const char *fallback);
