/*
 * Who asks Azure for an access token: the first of these that is there, unless azure_auth names
 * one.
 *
 *   1. under `login = credential`, the PIN, which is the client secret
 *   2. secret: client_secret_file, else the variable client_secret_env (AZURE_CLIENT_SECRET)
 *   3. certificate: client_certificate_file, else AZURE_CLIENT_CERTIFICATE_PATH
 *   4. workload: federated_token_file, else AZURE_FEDERATED_TOKEN_FILE
 *   5. managed, by App Service: IDENTITY_ENDPOINT and IDENTITY_HEADER
 *   6. managed, by the machine's metadata service
 *
 * The first four need client_id (AZURE_CLIENT_ID); with a managed identity it names a user-assigned
 * one. Everything is read anew whenever a token is asked for, and wiped after. The environment of a
 * process with raised privileges is not believed (secure_getenv). What is missing or malformed is
 * CAUSE_CONFIG: nobody has refused anything.
 */
#pragma once

#include "tokens/azure_challenge.h"
#include "tokens/source.h"

#define AZURE_AUTH_NAMES "auto secret certificate workload managed"
#define AZURE_SECRET_VARIABLE "AZURE_CLIENT_SECRET"

enum azure_auth {
    AZURE_AUTH_AUTO,
    AZURE_AUTH_SECRET,
    AZURE_AUTH_CERTIFICATE,
    AZURE_AUTH_WORKLOAD,
    AZURE_AUTH_MANAGED,
};

/* From the configuration; NULL: not configured. Strings belong to it. */
struct azure_identity {
    enum azure_auth auth;
    char *authority;
    char *tenant;
    char *client;
    char *secret_file;
    char *secret_variable; /* never NULL */
    char *certificate_file;
    char *federated_token_file;
};

/* No I/O. Freed with azure_identity_close, after a failure too. */
CK_RV azure_identity_open(const struct conf_section *section, struct azure_identity *identity);
void azure_identity_close(struct azure_identity *identity);

/* For the `check` of configuration keys. */
const char *azure_identity_check_client(const char *value);
const char *azure_identity_check_variable(const char *value);

enum azure_way { AZURE_BY_SECRET, AZURE_BY_ASSERTION, AZURE_BY_APP_SERVICE, AZURE_BY_IMDS };

/* What to ask where. */
struct azure_proof {
    enum azure_way way;
    const char *what;     /* for log lines: "client secret" */
    char *url;            /* of the token endpoint */
    const char *client;   /* NULL: the machine's own identity */
    struct secret secret; /* client secret, assertion, or IDENTITY_HEADER; empty for IMDS */
};

void azure_proof_clear(struct azure_proof *proof);

/* `token` is the section's name. Strings of the proof live as long as identity and environment. No
 * network. */
CK_RV azure_identity_prove(const char *token, const struct azure_identity *identity,
                           const struct source_call *call, const struct azure_challenge *challenge,
                           struct azure_proof *ret_proof);
