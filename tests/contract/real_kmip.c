#include "tests/contract/real_kmip.h"

#include <stdlib.h>
#include <string.h>

#define COMMAND_MAX 1024

const char *real_kmip_variable(const char *name)
{
    const char *value = getenv(name);
    ck_assert_msg(value != NULL, "%s is not set: run this by kmip_real.sh", name);
    return value;
}

void real_kmip_configure(const struct kms_settings *settings)
{
    char lines[2048];
    char ca[512];
    const char *tls = real_kmip_variable("KMIP_TLS");
    const char *client = kms_or_default(settings->access, "client");
    struct kms_settings full = *settings;
    (void) snprintf(ca, sizeof(ca), "%s/ca.pem", tls);
    full.ca = kms_or_default(settings->ca, ca);
    int len = snprintf(lines, sizeof(lines),
                       "kmip_server = 127.0.0.1:%s\nkey_id = %s\nclient_cert = %s/%s.pem\n"
                       "client_key = %s/%s.key",
                       real_kmip_variable("KMIP_PORT"), settings->key, tls, client, tls, client);
    ck_assert_int_lt(len, (int) sizeof(lines));
    kms_configure("kmip", &full, lines);
}

const char *real_kmip_admin(const char *command, const char *key)
{
    static char output[256];
    char line[COMMAND_MAX];
    (void) snprintf(line, sizeof(line), "%s admin %s %s %s", real_kmip_variable("KMIP_SH"),
                    real_kmip_variable("KMIP_FOLDER"), command, key);
    FILE *pipe = popen(line, "r");
    ck_assert_ptr_nonnull(pipe);
    size_t len = fread(output, 1, sizeof(output) - 1, pipe);
    output[len] = '\0';
    output[strcspn(output, "\n")] = '\0';
    ck_assert_msg(pclose(pipe) == 0, "failed: %s", line);
    return output;
}
