#include "tests/contract/aws_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define DEADLINE_MS 5000

static const unsigned char context_bytes[] = "\1\0\0\0\7vectors";
static const unsigned char other_bytes[] = "\1\0\0\0\5other";
const struct view aws_context = {context_bytes, sizeof(context_bytes) - 1};
const struct view aws_context_other = {other_bytes, sizeof(other_bytes) - 1};
const struct view aws_context_none = {NULL, 0};

static atomic_bool cancelled;

static int deadline_of(const struct aws_settings *settings)
{
    return settings->deadline_ms == 0 ? DEADLINE_MS : settings->deadline_ms;
}

static const char *or_default(const char *value, const char *fallback)
{
    return value == NULL ? fallback : value;
}

static void set_variable(const char *name, const char *value)
{
    if (*value == '\0')
        ck_assert_int_eq(unsetenv(name), 0);
    else
        ck_assert_int_eq(setenv(name, value, 1), 0);
}

static void set_environment(const struct aws_settings *settings)
{
    static const char *const others[] = {"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
                                         "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        set_variable(others[i], "");
    set_variable("HOME", fixture_path("."));
    set_variable("AWS_ACCESS_KEY_ID", or_default(settings->access, AWS_ACCESS_GOOD));
    set_variable("AWS_SECRET_ACCESS_KEY", or_default(settings->secret, AWS_SECRET_GOOD));
    set_variable("AWS_SESSION_TOKEN", or_default(settings->session_token, ""));
}

void aws_configure(struct fake_service *fake, const struct aws_settings *settings)
{
    char text[8192];
    const char *ca = or_default(settings->ca, "ca.pem");
    const char *region = or_default(settings->region, AWS_REGION_GOOD);
    set_environment(settings);
    (void) snprintf(text, sizeof(text),
                    "[token vectors]\nsource = aws\nendpoint = %s\nca_file = %s\nkey_id = %s\n"
                    "store = %s\ndeadline = %dms\n%s%s\n%s\n",
                    settings->endpoint == NULL ? fake_service_url(fake, "") : settings->endpoint,
                    *ca == '/' ? ca : fake_service_certificate(ca),
                    or_default(settings->key, AWS_KEY_ID_GOOD), fixture_store(1),
                    deadline_of(settings), *region == '\0' ? "" : "aws_region = ", region,
                    or_default(settings->more, ""));
    fixture_write("indexkey.conf", text, 0600);
    set_variable("INDEXKEY_CONF", fixture_path("indexkey.conf"));
}

struct source *aws_open(struct fake_service *fake, const struct aws_settings *settings)
{
    struct source *source = NULL;
    aws_configure(fake, settings);
    CK_RV rv = vault_try_open(&source);
    ck_assert_msg(rv == CKR_OK, "%s", fixture_log());
    return source;
}

struct source_call aws_call(const struct aws_settings *settings, struct view context)
{
    return (struct source_call){
        .context = context,
        .deadline_ms = clock_boot_ms() + deadline_of(settings),
        .cancelled = &cancelled,
    };
}

void aws_start(struct fake_service *fake)
{
    struct fake_service_options options = {.handler = "fake_aws:FakeAws"};
    options.certificates = fake_service_certificates();
    fake_service_start(fake, &options);
}

void aws_stop(struct fake_service *fake)
{
    fake_service_stop(fake);
    fake_service_clean();
}

void aws_set_clock(struct fake_service *fake, int ahead_s)
{
    fake_service_command(fake, "{\"do\": \"clock\", \"ahead\": %d}", ahead_s);
    fake_service_command(fake, "{\"do\": \"handler\", \"what\": \"clock\", \"ahead\": %d}",
                         ahead_s);
}

void aws_reset(struct fake_service *fake)
{
    fake_service_clear(fake);
    fake_service_command(fake, "%s", HANDLER("\"restore\""));
    aws_set_clock(fake, 0);
}
