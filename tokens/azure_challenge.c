#include "tokens/azure_challenge.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "tokens/http_url.h"

#define SCHEME "Bearer "
#define DEFAULT_SCOPE "/.default"

/* The value of `name="value"` (or without quotes) among the parameters; empty when it is not there.
 */
static struct view parameter(const char *text, const char *name)
{
    size_t name_len = strlen(name);
    for (const char *at = text; *at != '\0';) {
        at += strspn(at, ", \t");
        size_t key_len = strcspn(at, "=, \t");
        const char *value = at + key_len;
        bool is_it = key_len == name_len && strncasecmp(at, name, name_len) == 0;
        if (*value != '=') {
            at = value;
            continue;
        }
        value++;
        bool is_quoted = *value == '"';
        value += is_quoted ? 1 : 0;
        size_t len = strcspn(value, is_quoted ? "\"" : ", \t");
        if (is_it)
            return (struct view){(const unsigned char *) value, len};
        at = value + len + (value[len] == '"' ? 1 : 0);
    }
    return (struct view){NULL, 0};
}

/* No more than a URL of host and path needs: it becomes part of others. */
static bool take(struct view value, size_t len_max, char *ret_text)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = value.bytes[i];
        if ((c >= 0x80 || !isalnum(c)) && (c == '\0' || strchr("-.:/", c) == NULL))
            return false;
    }
    if (value.len == 0 || value.len > len_max)
        return false;
    memcpy(ret_text, value.bytes, value.len);
    ret_text[value.len] = '\0';
    return true;
}

/* The first segment of the path of "https://login.microsoftonline.com/TENANT/…". */
static bool read_tenant(const char *text, struct azure_challenge *challenge)
{
    static const char begin[] = "https://";
    char url[AZURE_RESOURCE_LEN_MAX + 1];
    struct view value = parameter(text, "authorization");
    if (value.len == 0)
        value = parameter(text, "authorization_uri");
    if (!take(value, AZURE_RESOURCE_LEN_MAX, url) || strncmp(url, begin, strlen(begin)) != 0)
        return false;
    const char *path = strchr(url + strlen(begin), '/');
    if (path == NULL)
        return false;
    struct view tenant = {(const unsigned char *) path + 1, strcspn(path + 1, "/")};
    return azure_tenant_is_valid(tenant) && take(tenant, AZURE_TENANT_LEN_MAX, challenge->tenant);
}

static void drop_end(char *text, const char *end)
{
    size_t len = strlen(text);
    size_t end_len = strlen(end);
    if (len > end_len && strcmp(text + len - end_len, end) == 0)
        text[len - end_len] = '\0';
}

static bool read_resource(const char *text, struct azure_challenge *challenge)
{
    struct view value = parameter(text, "resource");
    if (value.len == 0)
        value = parameter(text, "scope");
    if (!take(value, AZURE_RESOURCE_LEN_MAX, challenge->resource))
        return false;
    drop_end(challenge->resource, DEFAULT_SCOPE);
    drop_end(challenge->resource, "/");
    return true;
}

static bool is_within(const char *host, const char *domain)
{
    size_t host_len = strlen(host);
    size_t domain_len = strlen(domain);
    return host_len > domain_len + 1 && host[host_len - domain_len - 1] == '.' &&
           strcmp(host + host_len - domain_len, domain) == 0;
}

const char *azure_challenge_read(const char *header, const char *vault_url,
                                 struct azure_challenge *ret_challenge)
{
    struct azure_challenge challenge;
    struct http_target vault;
    struct http_target resource;
    if (strncasecmp(header, SCHEME, strlen(SCHEME)) != 0)
        return "it does not ask for a bearer token";
    const char *text = header + strlen(SCHEME);
    if (!read_tenant(text, &challenge))
        return "its challenge names no tenant";
    if (!read_resource(text, &challenge) || http_url_read(challenge.resource, &resource) != NULL ||
        resource.has_path || !resource.is_tls || http_url_read(vault_url, &vault) != NULL)
        return "its challenge names no resource";
    if (!resource.is_name || !is_within(vault.host, resource.host))
        return "its challenge names the resource of another service";
    *ret_challenge = challenge;
    return NULL;
}
