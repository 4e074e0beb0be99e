/*
 * How a token section logs in to Vault: `vault_auth`, its keys, the login and the renewal of the
 * Vault token that it gave.
 *
 * What the login shows (a secret id, a JWT) is read anew each time. Any thread; nothing is kept
 * here but a secret id that came wrapped (vault_wrapping.h).
 */
#pragma once

#include "tokens/vault_exchange.h"
#include "tokens/vault_names.h"
#include "tokens/vault_place.h"
#include "tokens/vault_wrapping.h"

/* Rows for the source's table of keys. */
#define VAULT_LOGIN_KEYS                                                                           \
    {.name = "vault_auth",                                                                         \
     .type = CONF_CHOICE,                                                                          \
     .choices = "token approle kubernetes jwt cert",                                               \
     .help = "how to log in to Vault; with a token that somebody else has got by default"},        \
        {.name = "vault_auth_mount",                                                               \
         .type = CONF_STRING,                                                                      \
         .help = "where the auth method is mounted; its name by default",                          \
         .check = vault_check_path},                                                               \
        {.name = "vault_token_env",                                                                \
         .type = CONF_STRING,                                                                      \
         .help = "name of the environment variable with the Vault token; VAULT_TOKEN by default",  \
         .check = vault_check_variable},                                                           \
        {.name = "vault_token_file",                                                               \
         .type = CONF_PATH,                                                                        \
         .help = "file with the Vault token, as Vault Agent writes it"},                           \
        {.name = "vault_token_renew",                                                              \
         .type = CONF_BOOL,                                                                        \
         .help = "yes: this module renews the Vault token; no by default"},                        \
        {.name = "vault_role",                                                                     \
         .type = CONF_STRING,                                                                      \
         .help = "the role to log in to: of kubernetes, jwt or cert",                              \
         .check = vault_check_name},                                                               \
        {.name = "vault_role_id",                                                                  \
         .type = CONF_STRING,                                                                      \
         .help = "the AppRole's role id",                                                          \
         .check = vault_check_text},                                                               \
        {.name = "vault_secret_id_env",                                                            \
         .type = CONF_STRING,                                                                      \
         .help = "name of the environment variable with the AppRole's secret id",                  \
         .check = vault_check_variable},                                                           \
        {.name = "vault_secret_id_file",                                                           \
         .type = CONF_PATH,                                                                        \
         .help = "file with the AppRole's secret id"},                                             \
        {.name = "vault_secret_id_wrapped",                                                        \
         .type = CONF_BOOL,                                                                        \
         .help = "yes: what is there is a response-wrapping token of the secret id"},              \
    {                                                                                              \
        .name = "vault_jwt_file", .type = CONF_PATH, .help = "file with the JWT to log in with"    \
    }

/* In the order of `choices`. */
enum vault_method {
    VAULT_METHOD_TOKEN,
    VAULT_METHOD_APPROLE,
    VAULT_METHOD_KUBERNETES,
    VAULT_METHOD_JWT,
    VAULT_METHOD_CERT,
};

struct vault_login {
    const struct vault_server *server;
    enum vault_method method;
    char *mount;
    char *role; /* an AppRole's role id; NULL: none */
    /* Of the Vault token, the secret id or the JWT; neither file nor variable: none is shown. */
    struct vault_place place;
    bool is_wrapped;
    struct vault_wrapping wrapping;
    bool renews; /* always, but a token that somebody else has got */
};

/* Cleared with vault_login_clear. */
struct vault_grant {
    struct secret token;
    int64_t lifetime_s;
    bool is_renewable;
};

/* No I/O; `server` outlives the login. Cleared with vault_login_clear, on failure too. Logged. */
CK_RV vault_login_configure(const struct conf_section *section, const struct vault_server *server,
                            struct vault_login *login);
void vault_login_clear(struct vault_login *login);
void vault_grant_clear(struct vault_grant *grant);

/* With `shown` (role_id:secret_id), or, where that is empty, with what the configuration names. Not
 * for VAULT_METHOD_TOKEN. Logged, with its cause. */
CK_RV vault_login_send(struct vault_login *login, const struct source_call *call, struct view shown,
                       struct vault_grant *ret_grant);
/* False when Vault does not answer, or renews it no more; not logged. The grant's token is a copy.
 */
bool vault_login_renew(const struct vault_login *login, const struct source_call *call,
                       const struct secret *token, struct vault_grant *ret_grant);
