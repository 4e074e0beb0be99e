#include "tests/contract/aws_fixture.h"

static const unsigned char context_bytes[] = "\1\0\0\0\7vectors";
static const unsigned char other_bytes[] = "\1\0\0\0\5other";
const struct view aws_context = {context_bytes, sizeof(context_bytes) - 1};
const struct view aws_context_other = {other_bytes, sizeof(other_bytes) - 1};
const struct view aws_context_none = {NULL, 0};

static void set_environment(const struct kms_settings *settings)
{
    static const char *const others[] = {"AWS_PROFILE",
                                         "AWS_REGION",
                                         "AWS_DEFAULT_REGION",
                                         "AWS_SHARED_CREDENTIALS_FILE",
                                         "AWS_CONFIG_FILE",
                                         "AWS_ROLE_ARN",
                                         "AWS_ROLE_SESSION_NAME",
                                         "AWS_WEB_IDENTITY_TOKEN_FILE",
                                         "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                                         "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                                         "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                         "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                                         "AWS_EC2_METADATA_SERVICE_ENDPOINT"};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        kms_set_variable(others[i], "");
    kms_set_variable("AWS_EC2_METADATA_DISABLED", "true");
    kms_set_variable("HOME", fixture_path("."));
    kms_set_variable("AWS_ACCESS_KEY_ID", kms_or_default(settings->access, AWS_ACCESS_GOOD));
    kms_set_variable("AWS_SECRET_ACCESS_KEY", kms_or_default(settings->secret, AWS_SECRET_GOOD));
    kms_set_variable("AWS_SESSION_TOKEN", kms_or_default(settings->session_token, ""));
}

void aws_configure(struct fake_service *fake, const struct kms_settings *settings)
{
    char lines[1024];
    const char *region = kms_or_default(settings->region, AWS_REGION_GOOD);
    set_environment(settings);
    (void) snprintf(lines, sizeof(lines), "endpoint = %s\nkey_id = %s\n%s%s",
                    settings->addr == NULL ? fake_service_url(fake, "") : settings->addr,
                    kms_or_default(settings->key, AWS_KEY_ID_GOOD),
                    *region == '\0' ? "" : "aws_region = ", region);
    kms_configure("aws", settings, lines);
}

struct source *aws_open(struct fake_service *fake, const struct kms_settings *settings)
{
    aws_configure(fake, settings);
    return kms_open();
}

void aws_start(struct fake_service *fake)
{
    kms_start(fake, "fake_aws:FakeAws");
}

void aws_set_clock(struct fake_service *fake, int ahead_s)
{
    fake_service_command(fake, "{\"do\": \"clock\", \"ahead\": %d}", ahead_s);
    fake_service_command(fake, "{\"do\": \"handler\", \"what\": \"clock\", \"ahead\": %d}",
                         ahead_s);
}

void aws_reset(struct fake_service *fake)
{
    kms_reset(fake);
    aws_set_clock(fake, 0);
}
