#include "tests/contract/vault_fixture.h"

#include <string.h>

void vault_configure(struct fake_service *fake, const struct kms_settings *settings)
{
    char lines[1024];
    const char *more = kms_or_default(settings->more, "");
    bool has_place = strstr(more, "vault_token_file") != NULL ||
                     strstr(more, "vault_token_env") != NULL || strstr(more, "vault_auth") != NULL;
    kms_set_variable(VAULT_VARIABLE, kms_or_default(settings->token, VAULT_TOKEN_GOOD));
    (void) snprintf(lines, sizeof(lines), "vault_addr = %s\nkey_name = %s\n%s",
                    settings->addr == NULL ? fake_service_url(fake, "") : settings->addr,
                    kms_or_default(settings->key, "index-keys"),
                    has_place ? "" : "vault_token_env = " VAULT_VARIABLE);
    kms_configure("vault", settings, lines);
}

struct source *vault_open(struct fake_service *fake, const struct kms_settings *settings)
{
    vault_configure(fake, settings);
    return kms_open();
}

void vault_start(struct fake_service *fake)
{
    kms_start(fake, "fake_vault:FakeVault");
}
