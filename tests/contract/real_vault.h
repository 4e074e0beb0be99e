/*
 * A real Vault (or OpenBao) over TLS for a test program, by tests/servers/vault.sh. Every failure
 * ends the test.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define REAL_VAULT_SCRIPT FAKE_SERVICE_FOLDER "/vault.sh"
#define REAL_VAULT_SKIPPED 77
#define REAL_VAULT_OUTPUT_MAX 16384
#define REAL_VAULT_TOKEN_MAX 256

struct real_vault {
    char folder[64];
    char addr[128];
    char ca[128];
    char client_token[REAL_VAULT_TOKEN_MAX];
    char root_token[REAL_VAULT_TOKEN_MAX];
};

/* The one that runs. */
extern struct real_vault real_vault;

/* One on PATH, or one that vault.sh has built; not to build it here, which takes minutes. */
bool real_vault_is_there(void);
void real_vault_start(void);
void real_vault_stop(void);

/* A shell command: its exit status; its output without the last line end. */
int real_vault_run(const char *command, char *output, size_t size);
/* "vault.sh VERB FOLDER ARGUMENTS", or vault_auth.sh; answers its output, until the next. */
const char *real_vault_script(const char *verb, const char *arguments);
const char *real_vault_auth_script(const char *verb, const char *arguments);
/* METHOD PATH [JSON] with the root token. */
const char *real_vault_api(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A token with that policy; until the next. */
const char *real_vault_token(const char *policy, const char *ttl);
/* A variable of FOLDER/FILE. */
void real_vault_read_variable(const char *file, const char *name, char *text, size_t size);
