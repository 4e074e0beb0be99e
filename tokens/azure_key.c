#include "tokens/azure_key.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "tokens/http_url.h"

#define KEYS_PATH "/keys/"
#define SECRETS_PATH "/secrets/"
#define GUID_LEN 36

static const char *const algorithm_names[AZURE_ALGORITHM_COUNT] = {
    [AZURE_RSA_OAEP_256] = "RSA-OAEP-256",
    [AZURE_A256KW] = "A256KW",
    [AZURE_A256GCM] = "A256GCM",
};

const char *azure_algorithm_name(enum azure_algorithm algorithm)
{
    return algorithm_names[algorithm];
}

bool azure_algorithm_read(struct view name, enum azure_algorithm *ret_algorithm)
{
    for (size_t i = 0; i < AZURE_ALGORITHM_COUNT; i++) {
        if (view_equal(name, view_text(algorithm_names[i]))) {
            *ret_algorithm = (enum azure_algorithm) i;
            return true;
        }
    }
    return false;
}

/* ASCII whatever the locale: these go into paths as they are. */
static bool is_of(struct view text, size_t len_max, const char *others)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = text.bytes[i];
        bool is_word = c < 0x80 && isalnum(c);
        if (!is_word && (c == '\0' || strchr(others, c) == NULL))
            return false;
    }
    return text.len > 0 && text.len <= len_max;
}

bool azure_key_is_name(struct view name)
{
    return is_of(name, AZURE_NAME_LEN_MAX, "-");
}

bool azure_key_is_version(struct view version)
{
    return is_of(version, AZURE_VERSION_LEN_MAX, "");
}

bool azure_key_names_equal(struct view name, struct view other)
{
    return name.len == other.len &&
           strncasecmp((const char *) name.bytes, (const char *) other.bytes, name.len) == 0;
}

bool azure_tenant_is_valid(struct view tenant)
{
    return is_of(tenant, AZURE_TENANT_LEN_MAX, "-.") && tenant.bytes[0] != '.';
}

const char *azure_key_name_fault(const char *name)
{
    return azure_key_is_name(view_text(name)) ? NULL : "a key's name: letters, digits and -";
}

const char *azure_key_version_fault(const char *version)
{
    return azure_key_is_version(view_text(version))
               ? NULL
               : "a version's id: 32 letters and digits, the last part of the key's identifier";
}

const char *azure_tenant_fault(const char *tenant)
{
    return azure_tenant_is_valid(view_text(tenant)) ? NULL : "the id (GUID) or domain of a tenant";
}

static bool is_guid(const char *text)
{
    for (size_t i = 0; i < GUID_LEN; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash ? text[i] != '-' : !isxdigit((unsigned char) text[i]))
            return false;
    }
    return text[GUID_LEN] == '\0';
}

bool azure_tenants_differ(const char *tenant, const char *other)
{
    return is_guid(tenant) && is_guid(other) && strcasecmp(tenant, other) != 0;
}

static bool id_read(const char *text, const char *vault_url, const char *begin,
                    struct azure_key_id *ret_id)
{
    struct http_target target;
    struct http_target vault;
    if (http_url_read(text, &target) != NULL || http_url_read(vault_url, &vault) != NULL ||
        strcmp(target.authority, vault.authority) != 0 || target.is_tls != vault.is_tls)
        return false;
    /* http_url_read has found a scheme and a host. */
    const char *path = strchr(strstr(text, "://") + 3, '/');
    if (path == NULL || strncmp(path, begin, strlen(begin)) != 0)
        return false;
    const char *name = path + strlen(begin);
    size_t name_len = strcspn(name, "/");
    if (name[name_len] == '\0')
        return false;
    struct azure_key_id id = {
        .name = {(const unsigned char *) name, name_len},
        .version = view_text(name + name_len + 1),
    };
    if (!azure_key_is_name(id.name) || !azure_key_is_version(id.version))
        return false;
    *ret_id = id;
    return true;
}

bool azure_key_id_read(const char *text, const char *vault_url, struct azure_key_id *ret_id)
{
    return id_read(text, vault_url, KEYS_PATH, ret_id);
}

bool azure_secret_id_read(const char *text, const char *vault_url, struct azure_key_id *ret_id)
{
    return id_read(text, vault_url, SECRETS_PATH, ret_id);
}
