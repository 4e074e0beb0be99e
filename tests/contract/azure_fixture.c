#include "tests/contract/azure_fixture.h"

#include <string.h>

static const unsigned char context_bytes[] = "\1\0\0\0\7vectors";
static const unsigned char other_bytes[] = "\1\0\0\0\5other";
const struct view azure_context = {context_bytes, sizeof(context_bytes) - 1};
const struct view azure_context_other = {other_bytes, sizeof(other_bytes) - 1};
const struct view azure_context_none = {NULL, 0};

static void set_environment(const struct kms_settings *settings)
{
    static const char *const others[] = {
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_AUTHORITY_HOST",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
    };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        kms_set_variable(others[i], "");
    kms_set_variable("AZURE_CLIENT_SECRET", kms_or_default(settings->secret, AZURE_SECRET_GOOD));
}

void azure_configure(struct fake_service *fake, const struct kms_settings *settings)
{
    char lines[1024];
    char url[256];
    const char *addr = kms_or_default(settings->addr, "");
    /* It is not secret: "" means AWS's key id only. */
    const char *client = kms_or_default(settings->access, "");
    bool is_hsm = strcmp(addr, AZURE_AT_HSM) == 0;
    if (is_hsm || settings->addr == NULL)
        addr = fake_service_url_at(fake, is_hsm ? AZURE_HSM_HOST : AZURE_VAULT_HOST, "");
    (void) snprintf(url, sizeof(url), "%s", addr);
    set_environment(settings);
    (void) snprintf(lines, sizeof(lines),
                    "vault_url = %s\nkey_name = %s\nclient_id = %s\nauthority_host = %s", url,
                    kms_or_default(settings->key, AZURE_KEY_GOOD),
                    *client == '\0' ? AZURE_CLIENT_GOOD : client, fake_service_url(fake, ""));
    kms_configure("azure", settings, lines);
}

struct source *azure_open(struct fake_service *fake, const struct kms_settings *settings)
{
    azure_configure(fake, settings);
    return kms_open();
}

void azure_start(struct fake_service *fake)
{
    kms_start(fake, "fake_azure:FakeAzure");
}
