#include "tests/contract/vault_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

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

struct source *vault_begin(struct fake_service *fake, const struct kms_settings *settings,
                           struct blob *ret_wrapped)
{
    clock_shift(0);
    kms_reset(fake);
    fake_service_command(fake, "%s", HANDLER("\"encrypt\", \"contexts\": [\"" VAULT_CONTEXT "\"]"));
    const char *text = strstr(fake->answer, "vault:v1:");
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(blob_from(text, strcspn(text, "\""), ret_wrapped), CKR_OK);
    return vault_open(fake, settings);
}

void vault_end(struct source *source, struct blob *wrapped)
{
    kms_end(source, wrapped);
    clock_shift(0);
}

CK_RV vault_unwrap_as(struct source *source, const char *pin, const struct blob *wrapped)
{
    static const struct kms_settings settings;
    struct source_call call = kms_call(&settings, view_text(VAULT_CONTEXT));
    call.credential = view_text(pin);
    return kms_unwrap(source, call, blob_view(wrapped));
}

int vault_auth_count(struct fake_service *fake, const char *what)
{
    char name[32];
    fake_service_command(fake, "%s", HANDLER("\"auth_counts\""));
    (void) snprintf(name, sizeof(name), "\"%s\": ", what);
    const char *found = strstr(fake->answer, name);
    ck_assert_ptr_nonnull(found);
    return atoi(found + strlen(name));
}
