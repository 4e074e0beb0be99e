#include "tests/contract/gcp_fixture.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "application_default_credentials.json"

static const unsigned char context_bytes[] = "\1\0\0\0\7vectors";
static const unsigned char other_bytes[] = "\1\0\0\0\5other";
const struct view gcp_context = {context_bytes, sizeof(context_bytes) - 1};
const struct view gcp_context_other = {other_bytes, sizeof(other_bytes) - 1};
const struct view gcp_context_none = {NULL, 0};

struct fake_service gcp_provider;
struct fake_service gcp_machine;

void gcp_start(struct fake_service *fake)
{
    struct fake_service_options plain = {.handler = "fake_gcp:FakeGcp"};
    kms_start(fake, plain.handler);
    kms_start(&gcp_provider, plain.handler);
    fake_service_start(&gcp_machine, &plain);
}

void gcp_reset(struct fake_service *fake)
{
    kms_reset(fake);
    kms_reset(&gcp_provider);
    kms_reset(&gcp_machine);
}

static bool is(const char *value, const char *wanted)
{
    return value != NULL && strcmp(value, wanted) == 0;
}

/* The members may have a %s for the subject token's file. */
static void write_credentials(const char *members)
{
    char text[2048];
    char subject[512];
    const char *mark = strstr(members, "%s");
    (void) snprintf(subject, sizeof(subject), "%s", fixture_path("subject"));
    if (mark == NULL)
        (void) snprintf(text, sizeof(text), "%s", members);
    else
        (void) snprintf(text, sizeof(text), "%.*s%s%s", (int) (mark - members), members, subject,
                        mark + 2);
    fake_service_command(&gcp_provider,
                         "{\"do\": \"handler\", \"what\": \"credentials\", \"file\": \"%s\", "
                         "\"url\": \"%s\", %s}",
                         fixture_path(FILE_NAME), fake_service_url(&gcp_provider, ""), text);
}

static void make_file(const char *credential)
{
    (void) unlink(fixture_path(FILE_NAME));
    if (*credential == '\0' || is(credential, "absent"))
        return;
    if (is(credential, "malformed")) {
        fixture_write(FILE_NAME, "{\"type\": \"service_account\", \"private_key\": \"x\"}", 0600);
        return;
    }
    write_credentials(is(credential, "open") ? GCP_ACCOUNT : credential);
    if (is(credential, "open"))
        ck_assert_int_eq(chmod(fixture_path(FILE_NAME), 0644), 0);
}

static void set_environment(const struct kms_settings *settings)
{
    char host[64];
    bool has_machine = is(settings->credential, "");
    (void) snprintf(host, sizeof(host), "127.0.0.1:%d", has_machine ? gcp_machine.port : 1);
    kms_set_variable("GCE_METADATA_HOST", host);
    kms_set_variable("HOME", fixture_path("."));
    kms_set_variable("CLOUDSDK_CONFIG", is(settings->access, "gcloud") ? fixture_path(".") : "");
    kms_set_variable("GOOGLE_APPLICATION_CREDENTIALS",
                     is(settings->access, "variable") ? fixture_path(FILE_NAME) : "");
}

void gcp_configure(struct fake_service *fake, const struct kms_settings *settings)
{
    char lines[2048];
    const char *credential = kms_or_default(settings->credential, GCP_ACCOUNT);
    bool is_named = *credential != '\0' && settings->access == NULL;
    make_file(credential);
    set_environment(settings);
    if (settings->provider != NULL)
        fake_service_command(*credential == '\0' ? &gcp_machine : &gcp_provider, "%s",
                             settings->provider);
    (void) snprintf(lines, sizeof(lines),
                    "endpoint = %s\nproject_id = good-project\nlocation = europe-west3\n"
                    "key_ring = ring\ncrypto_key = %s\n%s%s",
                    settings->addr == NULL ? fake_service_url(fake, "") : settings->addr,
                    kms_or_default(settings->key, GCP_KEY_GOOD),
                    is_named ? "credentials_file = " : "", is_named ? fixture_path(FILE_NAME) : "");
    kms_configure("gcp", settings, lines);
}

struct source *gcp_open(struct fake_service *fake, const struct kms_settings *settings)
{
    gcp_configure(fake, settings);
    return kms_open();
}

const char *gcp_credentials(void)
{
    static char text[8192];
    FILE *file = fopen(fixture_path(FILE_NAME), "r");
    ck_assert_ptr_nonnull(file);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    (void) fclose(file);
    return text;
}
