#include "tests/contract/real_vault.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/support/fake_service.h"

struct real_vault real_vault;

int real_vault_run(const char *command, char *output, size_t size)
{
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    size_t len = fread(output, 1, size - 1, pipe);
    output[len] = '\0';
    while (len > 0 && output[len - 1] == '\n')
        output[--len] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *call(const char *script, const char *verb, const char *arguments)
{
    static char output[REAL_VAULT_OUTPUT_MAX];
    char command[8192];
    (void) snprintf(command, sizeof(command), FAKE_SERVICE_FOLDER "/%s %s %s %s", script, verb,
                    real_vault.folder, arguments);
    int status = real_vault_run(command, output, sizeof(output));
    ck_assert_msg(status == 0, "%s: %d %s", command, status, output);
    return output;
}

const char *real_vault_script(const char *verb, const char *arguments)
{
    return call("vault.sh", verb, arguments);
}

const char *real_vault_auth_script(const char *verb, const char *arguments)
{
    return call("vault_auth.sh", verb, arguments);
}

const char *real_vault_api(const char *format, ...)
{
    char arguments[4096];
    va_list args;
    va_start(args, format);
    (void) vsnprintf(arguments, sizeof(arguments), format, args);
    va_end(args);
    return real_vault_script("api", arguments);
}

const char *real_vault_token(const char *policy, const char *ttl)
{
    static char token[REAL_VAULT_TOKEN_MAX];
    const char *reply = real_vault_api(
        "POST auth/token/create '{\"policies\": [\"%s\"], \"ttl\": \"%s\"}'", policy, ttl);
    const char *found = strstr(reply, "\"client_token\":\"");
    ck_assert_ptr_nonnull(found);
    found += strlen("\"client_token\":\"");
    (void) snprintf(token, sizeof(token), "%.*s", (int) strcspn(found, "\""), found);
    return token;
}

void real_vault_read_variable(const char *file, const char *name, char *text, size_t size)
{
    char command[256];
    (void) snprintf(command, sizeof(command), ". %s/%s && printf %%s \"$%s\"", real_vault.folder,
                    file, name);
    ck_assert_int_eq(real_vault_run(command, text, size), 0);
    ck_assert_str_ne(text, "");
}

void real_vault_start(void)
{
    (void) snprintf(real_vault.folder, sizeof(real_vault.folder), "%s",
                    "/tmp/indexkey-vault-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(real_vault.folder));
    /* Another CA than the server's. Here, so that stop finds them. */
    (void) fake_service_certificates();
    (void) real_vault_script("start", "");
    real_vault_read_variable("env", "VAULT_ADDR", real_vault.addr, sizeof(real_vault.addr));
    real_vault_read_variable("env", "CLIENT_TOKEN", real_vault.client_token,
                             sizeof(real_vault.client_token));
    real_vault_read_variable("env", "ROOT_TOKEN", real_vault.root_token,
                             sizeof(real_vault.root_token));
    real_vault_read_variable("env", "VAULT_CACERT", real_vault.ca, sizeof(real_vault.ca));
}

void real_vault_stop(void)
{
    char output[16];
    char command[128];
    (void) real_vault_script("stop", "");
    (void) snprintf(command, sizeof(command), "rm -rf %s", real_vault.folder);
    (void) real_vault_run(command, output, sizeof(output));
    fake_service_clean();
}

bool real_vault_is_there(void)
{
    static const char search[] =
        "command -v vault || command -v bao || "
        "ls \"${INDEXKEY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/indexkey}\"/vault-server/*/vault";
    char output[REAL_VAULT_OUTPUT_MAX];
    char command[sizeof(search) + sizeof("{ ; } 2>/dev/null")];
    (void) snprintf(command, sizeof(command), "{ %s; } 2>/dev/null", search);
    FILE *pipe = popen(command, "r");
    size_t len = pipe == NULL ? 0 : fread(output, 1, sizeof(output), pipe);
    (void) (pipe == NULL ? 0 : pclose(pipe));
    return len > 0;
}
