/*
 * The module under test and its two peers, each with an empty token and a session that stays open
 * and logged in: the anchor. Loaded after the fork of the process that uses them, because SoftHSM
 * and NSS refuse or fail in a child of one that did.
 *
 * A failing step ends the process with an error.
 */
#pragma once

#include <stdbool.h>

#include "tests/support/api_fixture.h"

enum side { OURS, THEIRS, SIDES };
enum peer { PEER_SOFTHSM, PEER_NSS, PEERS };

extern const char *const peer_names[PEERS];

#define PEER_SO_PIN API_SO_PIN
#define PEER_USER_PIN API_USER_PIN

struct module {
    CK_FUNCTION_LIST *p11;
    CK_FUNCTION_LIST_3_0 *p30; /* NULL: it has none */
    bool has_dual;             /* C_DigestEncryptUpdate and the like */
    bool has_messages;         /* C_MessageEncryptInit and the like */
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE anchor;
    bool has_login; /* NSS's token for session objects has no PIN */
};

struct modules {
    struct api api;
    struct module ours;
    struct module peers[PEERS];
};

void modules_open(struct modules *modules);
/* The folder goes; no C_Finalize of the peers, which some do not survive. */
void modules_close(struct modules *modules);
/* The same for the folder of a process that has crashed; "" if it had none. */
void modules_remove(const char *folder);
/* The log of the module under test starts anew. */
void modules_trim_log(const struct modules *modules);

bool module_has(const struct module *module, CK_MECHANISM_TYPE type, CK_FLAGS usage);
