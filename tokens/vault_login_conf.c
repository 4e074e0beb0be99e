#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "tokens/custody.h"
#include "tokens/vault_login.h"

#define TOKEN_VARIABLE "VAULT_TOKEN"
#define KUBERNETES_JWT_FILE "/var/run/secrets/kubernetes.io/serviceaccount/token"

#define BIT(method) (1u << (method))
#define WITH_TOKEN BIT(VAULT_METHOD_TOKEN)
#define WITH_APPROLE BIT(VAULT_METHOD_APPROLE)
#define WITH_JWT (BIT(VAULT_METHOD_KUBERNETES) | BIT(VAULT_METHOD_JWT))

static const char *const method_names[] = {"token", "approle", "kubernetes", "jwt", "cert"};

/* Which methods a key belongs to. */
static const struct {
    const char *name;
    unsigned methods;
} owners[] = {
    {"vault_auth_mount", ~WITH_TOKEN},
    {"vault_token_env", WITH_TOKEN},
    {"vault_token_file", WITH_TOKEN},
    {"vault_token_renew", WITH_TOKEN},
    {"vault_role", WITH_JWT | BIT(VAULT_METHOD_CERT)},
    {"vault_role_id", WITH_APPROLE},
    {"vault_secret_id_env", WITH_APPROLE},
    {"vault_secret_id_file", WITH_APPROLE},
    {"vault_secret_id_wrapped", WITH_APPROLE},
    {"vault_jwt_file", WITH_JWT},
};

static bool has(const struct conf_section *section, const char *name)
{
    return conf_string(section, name, NULL) != NULL;
}

static CK_RV fail(const struct conf_section *section, enum vault_method method, const char *needs)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG, "[token %s] in line %zu: vault_auth = %s needs %s",
                      section->name, conf_section_line(section), method_names[method], needs);
}

static CK_RV check_owners(const struct conf_section *section, enum vault_method method)
{
    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
        if (has(section, owners[i].name) && (owners[i].methods & BIT(method)) == 0)
            return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                              "[token %s] in line %zu: %s is of no use with vault_auth = %s; take "
                              "it out, or correct vault_auth",
                              section->name, conf_section_line(section), owners[i].name,
                              method_names[method]);
    }
    return CKR_OK;
}

static CK_RV check_one_place(const struct conf_section *section, const char *variable,
                             const char *file, const char *what)
{
    if (!has(section, variable) || !has(section, file))
        return CKR_OK;
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                      "[token %s] in line %zu: %s and %s name two %s; keep one of them",
                      section->name, conf_section_line(section), variable, file, what);
}

static CK_RV check(const struct conf_section *section, enum vault_method method)
{
    bool by_credential = conf_choice(section, "login", 0) == CUSTODY_LOGIN_CREDENTIAL;
    bool has_secret_id =
        has(section, "vault_secret_id_env") || has(section, "vault_secret_id_file");
    TRY(check_owners(section, method));
    TRY(check_one_place(section, "vault_token_env", "vault_token_file", "Vault tokens"));
    TRY(check_one_place(section, "vault_secret_id_env", "vault_secret_id_file", "secret ids"));
    if (by_credential && method != VAULT_METHOD_TOKEN && method != VAULT_METHOD_APPROLE)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: with vault_auth = %s there is nothing to give "
                          "as a PIN, so login = credential has no meaning; set login to pin or "
                          "ambient",
                          section->name, conf_section_line(section), method_names[method]);
    if (method == VAULT_METHOD_APPROLE && !by_credential && !has(section, "vault_role_id"))
        return fail(section, method, "vault_role_id");
    if (conf_bool(section, "vault_secret_id_wrapped", false) && !has_secret_id)
        return fail(section, method, "vault_secret_id_file for a wrapped secret id");
    if (method == VAULT_METHOD_KUBERNETES && !has(section, "vault_role"))
        return fail(section, method, "vault_role");
    if (method == VAULT_METHOD_JWT && !has(section, "vault_jwt_file"))
        return fail(section, method, "vault_jwt_file");
    if (method == VAULT_METHOD_CERT && !has(section, "client_cert"))
        return fail(section, method, "client_cert");
    return CKR_OK;
}

/* What of the configuration says where it is. */
struct place_keys {
    const char *variable;
    const char *variable_default;
    const char *file;
    const char *file_default;
    struct vault_place place;
};

static const struct place_keys places[] = {
    /* Vault Agent writes it with mode 0640. */
    [VAULT_METHOD_TOKEN] = {.variable = "vault_token_env",
                            .variable_default = TOKEN_VARIABLE,
                            .file = "vault_token_file",
                            .place = {.what = "Vault token", .refused = S_IWGRP | S_IRWXO}},
    [VAULT_METHOD_APPROLE] = {.variable = "vault_secret_id_env",
                              .file = "vault_secret_id_file",
                              .place = {.what = "secret id", .refused = S_IWGRP | S_IRWXO}},
    /* Kubernetes lets everybody in the container read it. */
    [VAULT_METHOD_KUBERNETES] = {.file = "vault_jwt_file",
                                 .file_default = KUBERNETES_JWT_FILE,
                                 .place = {.what = "service account token",
                                           .refused = S_IWGRP | S_IWOTH,
                                           .follows_links = true}},
    [VAULT_METHOD_JWT] = {.file = "vault_jwt_file",
                          .place = {.what = "JWT",
                                    .refused = S_IWGRP | S_IWOTH,
                                    .follows_links = true}},
    [VAULT_METHOD_CERT] = {.file = NULL},
};

/* NULL stays NULL. False when memory is short. */
static bool copy(const char *text, char **ret_copy)
{
    *ret_copy = text == NULL ? NULL : mem_strdup(text);
    return text == NULL || *ret_copy != NULL;
}

static bool copy_place(const struct conf_section *section, enum vault_method method,
                       struct vault_place *place)
{
    const struct place_keys *keys = &places[method];
    const char *file =
        keys->file == NULL ? NULL : conf_string(section, keys->file, keys->file_default);
    const char *variable = file != NULL || keys->variable == NULL
                               ? NULL
                               : conf_string(section, keys->variable, keys->variable_default);
    *place = keys->place;
    place->file_key = keys->file;
    return copy(file, &place->file) && copy(variable, &place->variable);
}

CK_RV vault_login_configure(const struct conf_section *section, const struct vault_server *server,
                            struct vault_login *login)
{
    enum vault_method method =
        (enum vault_method) conf_choice(section, "vault_auth", VAULT_METHOD_TOKEN);
    const char *role = method == VAULT_METHOD_APPROLE ? "vault_role_id" : "vault_role";
    vault_wrapping_init(&login->wrapping, server);
    login->server = server;
    login->method = method;
    login->is_wrapped = conf_bool(section, "vault_secret_id_wrapped", false);
    login->renews = method != VAULT_METHOD_TOKEN || conf_bool(section, "vault_token_renew", false);
    TRY(check(section, method));
    if (!copy(conf_string(section, "vault_auth_mount", method_names[method]), &login->mount) ||
        !copy(conf_string(section, role, NULL), &login->role) ||
        !copy_place(section, method, &login->place))
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    login->wrapping.mount = login->mount;
    return CKR_OK;
}

void vault_login_clear(struct vault_login *login)
{
    vault_wrapping_destroy(&login->wrapping);
    mem_free(login->mount);
    mem_free(login->role);
    mem_free(login->place.variable);
    mem_free(login->place.file);
}
