/*
 * The PKCS #11 libraries that are measured: this project's module in its default configuration, and
 * its peers SoftHSM 2 and NSS's softoken. Each is loaded with dlopen like any client's, and has a
 * token of its own with the keys that the works need.
 *
 * Programs of bench/ end with a message where a step fails that must not.
 */
#pragma once

#include <stdbool.h>

#include "include/cryptoki.h"

/* What a key is for; each token has two of a kind. */
enum key_kind { KEY_NONE, KEY_CIPHER, KEY_HMAC, KEY_CMAC, KEY_BASE, KEY_KINDS };

/* The label of the module's index key: its subkey objects are the keys of an application. */
#define TOKEN_INDEX_KEY "bench"

struct token {
    const char *name;
    char about[64];            /* the library's name and version, as it tells them */
    CK_FUNCTION_LIST *p11;     /* NULL: the library is not on this machine */
    CK_FUNCTION_LIST_3_0 *p30; /* NULL: it has none */
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE session;           /* stays open: the session keys live in it */
    CK_OBJECT_HANDLE keys[KEY_KINDS][2]; /* 0: the token makes none of that kind */
};

/* A folder for configurations and stores, to be made once; it goes when the program ends. */
const char *token_make_folder(void);

void token_open_module(struct token *token, const char *library, const char *folder);
void token_open_softhsm(struct token *token, const char *folder);
void token_open_nss(struct token *token);

/* A read/write session of the token, which is logged in already. */
CK_SESSION_HANDLE token_session(const struct token *token);

/* Ends the program, naming what failed, unless `ok`. */
void must(bool ok, const char *what);
#define MUST(thing) must((thing), #thing)
