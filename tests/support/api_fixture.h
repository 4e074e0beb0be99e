/*
 * A token of the built module for tests that use C_* functions only.
 *
 * The module's path comes from INDEXKEY_MODULE. Each fixture has a folder of its own with root key,
 * store and configuration; api_close removes it. A failing step fails the running Check test.
 */
#pragma once

#include <check.h>
#include <stdbool.h>

#include "include/cryptoki.h"

#define API_SO_PIN "so-pin-12345678"
#define API_USER_PIN "user-pin-1234"

struct api {
    char folder[64];
    char conf[96];
    char log[96]; /* the module's log, level info */
    void *library;
    CK_FUNCTION_LIST_3_2 *p11;
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE session; /* read/write; user logged in after api_open */
};

/* A folder, root key and configuration with `token_lines` added to [token test] (may be NULL) and
 * `store` as its store ("memory:", or NULL for SQLite in the folder); library loaded and
 * initialised. */
void api_load(struct api *api, const char *store, const char *token_lines);
/* api_load, then C_InitToken, C_InitPIN, a read/write session and the user's login. */
void api_open(struct api *api, const char *store, const char *token_lines);
/* C_Finalize, if initialised; the folder goes. The library stays mapped (-z nodelete). */
void api_close(struct api *api);

/* C_Finalize and C_Initialize, session and login anew: a restart as far as one process can. */
void api_restart(struct api *api);
void api_login(struct api *api);
/* Writes conf again (for tests that change it), without reloading. */
void api_write_conf(struct api *api, const char *module_lines, const char *store,
                    const char *token_lines);

/* The log so far, NUL-terminated; freed with free. */
char *api_log(const struct api *api);

/* Check's assertions take a lock even when they hold, and the child of a fork may inherit it locked
 * by another thread: these take it to fail only. For fixtures and for what runs beside forks. */
#define REQUIRE_MSG(condition, ...)                                                                \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)
#define REQUIRE(condition) REQUIRE_MSG(condition, "%s", #condition)

/* Fails the test with both values when they differ. */
void api_expect(CK_RV got, CK_RV wanted, const char *what);
#define EXPECT(wanted, call) api_expect((call), (wanted), #call)
#define OK(call) EXPECT(CKR_OK, call)

/* Common keys. Each returns the handle. */
CK_OBJECT_HANDLE api_make_index_key(struct api *api, const char *label, CK_BYTE id);
CK_OBJECT_HANDLE api_import_index_key(struct api *api, const char *label, const CK_BYTE value[32]);
/* The one object with this label; fails the test when there is none or more than one. */
CK_OBJECT_HANDLE api_find(struct api *api, const char *label);
CK_ULONG api_count(struct api *api, const CK_ATTRIBUTE *template, CK_ULONG count);
/* AES-256-GCM session key or token key with the given usage. */
CK_OBJECT_HANDLE api_make_aes_key(struct api *api, bool token, const char *label);
/* A session key of 32 given bytes with two usages. */
CK_OBJECT_HANDLE api_import_key(struct api *api, CK_KEY_TYPE type, const CK_BYTE value[32],
                                const CK_ATTRIBUTE_TYPE usages[2]);
