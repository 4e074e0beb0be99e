#include "tokens/azure_identity.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "tokens/azure_assertion.h"
#include "tokens/http.h"
#include "tokens/http_url.h"
#include "tokens/secret_file.h"

#define AUTHORITY_DEFAULT "https://login.microsoftonline.com"
#define TOKEN_PATH "oauth2/v2.0/token"
#define IMDS_DEFAULT "http://169.254.169.254"
#define IMDS_PATH "/metadata/identity/oauth2/token"
#define CLIENT_LEN_MAX 64
#define SECRET_LEN_MAX 1024
#define FEDERATED_LEN_MAX ((size_t) 16384)

struct asking {
    const char *token;
    const struct azure_identity *identity;
    const struct source_call *call;
    const struct azure_challenge *challenge;
};

/* ---- configuration ---- */

const char *azure_identity_check_client(const char *value)
{
    size_t len = 0;
    while (isalnum((unsigned char) value[len]) || value[len] == '-')
        len++;
    return len > 0 && len <= CLIENT_LEN_MAX && value[len] == '\0'
               ? NULL
               : "the application's (client) id: letters, digits and -";
}

const char *azure_identity_check_variable(const char *value)
{
    return *value != '\0' && strchr(value, '=') == NULL
               ? NULL
               : "the name of an environment variable, not its value";
}

void azure_identity_close(struct azure_identity *identity)
{
    mem_free(identity->authority);
    mem_free(identity->tenant);
    mem_free(identity->client);
    mem_free(identity->secret_file);
    mem_free(identity->secret_variable);
    mem_free(identity->certificate_file);
    mem_free(identity->federated_token_file);
}

CK_RV azure_identity_open(const struct conf_section *section, struct azure_identity *identity)
{
    const struct {
        const char *key;
        const char *fallback;
        char **copy;
    } strings[] = {
        {"authority_host", NULL, &identity->authority},
        {"tenant_id", NULL, &identity->tenant},
        {"client_id", NULL, &identity->client},
        {"client_secret_file", NULL, &identity->secret_file},
        {"client_secret_env", AZURE_SECRET_VARIABLE, &identity->secret_variable},
        {"client_certificate_file", NULL, &identity->certificate_file},
        {"federated_token_file", NULL, &identity->federated_token_file},
    };
    identity->auth = (enum azure_auth) conf_choice(section, "azure_auth", AZURE_AUTH_AUTO);
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        const char *value = conf_string(section, strings[i].key, strings[i].fallback);
        *strings[i].copy = value == NULL ? NULL : mem_strdup(value);
        if (value != NULL && *strings[i].copy == NULL)
            return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    }
    return CKR_OK;
}

void azure_proof_clear(struct azure_proof *proof)
{
    mem_free(proof->url);
    secret_clear(&proof->secret);
}

/* ---- what the configuration or the environment names ---- */

/* Metadata services have no TLS. */
static const char *near_fault(const char *url)
{
    struct http_target target;
    return http_url_read_near(url, &target);
}

/* An empty variable is as good as none. */
static const char *variable(const char *name)
{
    const char *text = secure_getenv(name);
    return text == NULL || *text == '\0' ? NULL : text;
}

static const char *either(const char *configured, const char *name)
{
    return configured != NULL ? configured : variable(name);
}

static CK_RV fail_url(const struct asking *asking)
{
    return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to ask for an access token", asking->token);
}

/* Which application; managed identities may do without. */
static CK_RV find_client(const struct asking *asking, bool required, const char **ret_client)
{
    const char *client = either(asking->identity->client, "AZURE_CLIENT_ID");
    if (client == NULL && !required)
        return CKR_OK;
    if (client == NULL || azure_identity_check_client(client) != NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the application that logs in to Azure is not known; set "
                          "client_id, or AZURE_CLIENT_ID, to its (client) id",
                          asking->token);
    *ret_client = client;
    return CKR_OK;
}

/* The vault says whose it is; a tenant of ours must not contradict it. */
static CK_RV find_tenant(const struct asking *asking, const char **ret_tenant)
{
    const char *tenant = either(asking->identity->tenant, "AZURE_TENANT_ID");
    const char *vaults = asking->challenge->tenant;
    if (tenant == NULL)
        tenant = vaults;
    if (azure_tenant_fault(tenant) != NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': AZURE_TENANT_ID is no id of a tenant; correct it, or unset "
                          "it: the vault names its tenant",
                          asking->token);
    if (azure_tenants_differ(tenant, vaults))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the vault belongs to the tenant %s, and tenant_id or "
                          "AZURE_TENANT_ID is %s; remove it, or correct vault_url",
                          asking->token, vaults, tenant);
    *ret_tenant = tenant;
    return CKR_OK;
}

/* Where the tenant's tokens are made; never where the challenge says. */
static CK_RV find_token_url(const struct asking *asking, struct azure_proof *proof)
{
    const char *tenant = NULL;
    const char *authority = either(asking->identity->authority, "AZURE_AUTHORITY_HOST");
    TRY(find_client(asking, true, &proof->client));
    TRY(find_tenant(asking, &tenant));
    if (authority == NULL)
        authority = AUTHORITY_DEFAULT;
    if (http_url_fault(authority) != NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': AZURE_AUTHORITY_HOST must be %s; correct it, or set "
                          "authority_host",
                          asking->token, http_url_fault(authority));
    bool has_slash = authority[strlen(authority) - 1] == '/';
    proof->url = mem_format("%s%s%s/" TOKEN_PATH, authority, has_slash ? "" : "/", tenant);
    return proof->url == NULL ? fail_url(asking) : CKR_OK;
}

/* ---- secrets ---- */

/* Printable, without blanks within. */
static bool is_line(struct view text, size_t len_max)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] <= ' ' || text.bytes[i] > '~')
            return false;
    }
    return text.len > 0 && text.len <= len_max;
}

static CK_RV read_file(const struct secret_file *file, const char *key, struct secret *ret_text)
{
    mode_t mode = 0;
    TRY(secret_file_read(file, ret_text, &mode));
    if (mode == 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its %s %s does not exist; put it there, or correct %s",
                          file->token, file->what, file->path, key);
    return CKR_OK;
}

static CK_RV read_line(const struct secret_file *file, const char *key, struct secret *ret_text)
{
    _cleanup_(secret_clear) struct secret text = {0};
    TRY(read_file(file, key, &text));
    while (text.len > 0 && (text.bytes[text.len - 1] == '\n' || text.bytes[text.len - 1] == '\r'))
        text.len--;
    if (!is_line((struct view){text.bytes, text.len}, file->len_max))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its %s %s does not hold one line without blanks; write the "
                          "secret alone into it",
                          file->token, file->what, file->path);
    *ret_text = secret_move(&text);
    return CKR_OK;
}

static bool has_secret(const struct azure_identity *identity)
{
    return identity->secret_file != NULL || variable(identity->secret_variable) != NULL;
}

static CK_RV read_secret(const struct asking *asking, struct secret *ret_secret)
{
    const struct azure_identity *identity = asking->identity;
    if (identity->secret_file != NULL) {
        const struct secret_file file = {
            .token = asking->token,
            .what = "client secret file",
            .path = identity->secret_file,
            .len_max = SECRET_LEN_MAX,
            .refused = S_IWGRP | S_IRWXO,
        };
        return read_line(&file, "client_secret_file", ret_secret);
    }
    const char *text = variable(identity->secret_variable);
    if (text == NULL || !is_line(view_text(text), SECRET_LEN_MAX))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the environment variable %s does not hold a client secret; "
                          "set it, or set client_secret_file",
                          asking->token, identity->secret_variable);
    return secret_from(text, strlen(text), ret_secret);
}

static CK_RV by_secret(const struct asking *asking, struct azure_proof *proof)
{
    struct view pin = asking->call->credential;
    proof->way = AZURE_BY_SECRET;
    proof->what = "client secret";
    TRY(find_token_url(asking, proof));
    if (pin.len == 0)
        return read_secret(asking, &proof->secret);
    if (!is_line(pin, SECRET_LEN_MAX))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                          "token '%s': what was given as its PIN is no client secret; log in with "
                          "the application's client secret as the PIN",
                          asking->token);
    return secret_from(pin.bytes, pin.len, &proof->secret);
}

/* ---- assertions ---- */

static const char *certificate_file(const struct azure_identity *identity)
{
    return either(identity->certificate_file, "AZURE_CLIENT_CERTIFICATE_PATH");
}

static bool has_certificate(const struct azure_identity *identity)
{
    return certificate_file(identity) != NULL;
}

static CK_RV fail_nowhere(const struct asking *asking, const char *what, const char *key,
                          const char *name)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG, "token '%s': it has no %s; set %s, or %s",
                      asking->token, what, key, name);
}

static CK_RV by_certificate(const struct asking *asking, struct azure_proof *proof)
{
    _cleanup_(secret_clear) struct secret pem = {0};
    const struct secret_file file = {
        .token = asking->token,
        .what = "client certificate file",
        .path = certificate_file(asking->identity),
        .len_max = AZURE_PEM_LEN_MAX,
        .refused = S_IWGRP | S_IRWXO,
    };
    proof->way = AZURE_BY_ASSERTION;
    proof->what = "client certificate";
    if (file.path == NULL)
        return fail_nowhere(asking, file.what, "client_certificate_file",
                            "AZURE_CLIENT_CERTIFICATE_PATH");
    TRY(find_token_url(asking, proof));
    TRY(read_file(&file, "client_certificate_file", &pem));
    CK_RV rv = azure_assertion_make((struct view){pem.bytes, pem.len}, proof->client, proof->url,
                                    &proof->secret);
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its client certificate file %s has no certificate with an "
                          "RSA key (PEM, no password); put both into it",
                          asking->token, file.path);
    return rv;
}

static const char *federated_file(const struct azure_identity *identity)
{
    return either(identity->federated_token_file, "AZURE_FEDERATED_TOKEN_FILE");
}

static bool has_federated(const struct azure_identity *identity)
{
    return federated_file(identity) != NULL;
}

static CK_RV by_workload(const struct asking *asking, struct azure_proof *proof)
{
    const struct secret_file file = {
        .token = asking->token,
        .what = "federated token file",
        .path = federated_file(asking->identity),
        .len_max = FEDERATED_LEN_MAX,
        /* As Kubernetes projects it: a symbolic link, which all in the container may read. */
        .refused = S_IWGRP | S_IWOTH,
        .follows_links = true,
    };
    proof->way = AZURE_BY_ASSERTION;
    proof->what = "federated token";
    if (file.path == NULL)
        return fail_nowhere(asking, file.what, "federated_token_file",
                            "AZURE_FEDERATED_TOKEN_FILE");
    TRY(find_token_url(asking, proof));
    return read_line(&file, "federated_token_file", &proof->secret);
}

/* ---- managed identities ---- */

static bool has_app_service(const struct azure_identity *identity)
{
    (void) identity;
    return variable("IDENTITY_ENDPOINT") != NULL && variable("IDENTITY_HEADER") != NULL;
}

/* Another thread may have unset a variable since it was looked for. */
static const char *or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

static CK_RV by_app_service(const struct asking *asking, struct azure_proof *proof)
{
    const char *endpoint = or_empty(variable("IDENTITY_ENDPOINT"));
    const char *header = or_empty(variable("IDENTITY_HEADER"));
    proof->way = AZURE_BY_APP_SERVICE;
    proof->what = "managed identity of App Service";
    TRY(find_client(asking, false, &proof->client));
    if (near_fault(endpoint) != NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': IDENTITY_ENDPOINT must be %s, or link-local ones; unset it "
                          "to ask the machine's metadata service",
                          asking->token, near_fault(endpoint));
    if (!is_line(view_text(header), SECRET_LEN_MAX))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': IDENTITY_HEADER is not as App Service sets it; unset it to "
                          "ask the machine's metadata service",
                          asking->token);
    TRY(secret_from(header, strlen(header), &proof->secret));
    proof->url = mem_strdup(endpoint);
    return proof->url == NULL ? fail_url(asking) : CKR_OK;
}

static bool has_imds(const struct azure_identity *identity)
{
    (void) identity;
    return true;
}

static CK_RV by_imds(const struct asking *asking, struct azure_proof *proof)
{
    const char *host = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST");
    proof->way = AZURE_BY_IMDS;
    proof->what = "managed identity";
    TRY(find_client(asking, false, &proof->client));
    if (host == NULL)
        host = IMDS_DEFAULT;
    if (near_fault(host) != NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': AZURE_POD_IDENTITY_AUTHORITY_HOST must be %s; unset it",
                          asking->token, near_fault(host));
    proof->url = mem_format("%s" IMDS_PATH, host);
    return proof->url == NULL ? fail_url(asking) : CKR_OK;
}

/* ---- all ---- */

static const struct {
    enum azure_auth auth;
    bool (*is_there)(const struct azure_identity *identity);
    CK_RV (*prove)(const struct asking *asking, struct azure_proof *proof);
} ways[] = {
    {AZURE_AUTH_SECRET, has_secret, by_secret},
    {AZURE_AUTH_CERTIFICATE, has_certificate, by_certificate},
    {AZURE_AUTH_WORKLOAD, has_federated, by_workload},
    {AZURE_AUTH_MANAGED, has_app_service, by_app_service},
    {AZURE_AUTH_MANAGED, has_imds, by_imds},
};
#define WAY_COUNT (sizeof(ways) / sizeof(ways[0]))

/* A way that is named is taken though nothing is there: its log line then says what is missing. */
static bool is_taken(size_t way, const struct azure_identity *identity)
{
    if (identity->auth == AZURE_AUTH_AUTO || identity->auth == AZURE_AUTH_MANAGED)
        return (identity->auth == AZURE_AUTH_AUTO || ways[way].auth == identity->auth) &&
               ways[way].is_there(identity);
    return ways[way].auth == identity->auth;
}

CK_RV azure_identity_prove(const char *token, const struct azure_identity *identity,
                           const struct source_call *call, const struct azure_challenge *challenge,
                           struct azure_proof *ret_proof)
{
    _cleanup_(azure_proof_clear) struct azure_proof proof = {.url = NULL};
    const struct asking asking = {token, identity, call, challenge};
    size_t way = 0;
    while (call->credential.len == 0 && way < WAY_COUNT - 1 && !is_taken(way, identity))
        way++;
    TRY(ways[way].prove(&asking, &proof));
    *ret_proof = proof;
    proof = (struct azure_proof){.url = NULL};
    return CKR_OK;
}
