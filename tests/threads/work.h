/*
 * Work on a token whose results are checked against OpenSSL: encryption, MACs, derivation, search.
 *
 * Each function goes through its C_* calls until one fails, and returns that one's result with its
 * name in `call`. A wrong result of calls that succeeded fails the running test.
 */
#pragma once

#include <stdbool.h>

#include "include/cryptoki.h"

/* An index key with known bytes, and what its subkeys must be. */
#define WORK_LABEL "shared"
extern const CK_BYTE work_index_key[32];

struct work {
    CK_FUNCTION_LIST_3_2 *p11;
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE session;
    const char *call;
    unsigned int seed;
    bool unchecked; /* results are not compared: a fork might catch the host's OpenSSL at work */
};

CK_RV work_open(struct work *work, CK_FLAGS flags);
CK_RV work_login(struct work *work);
/* The object with this label; CKR_OK and 0 when there is none. More than one fails the test. */
CK_RV work_find(struct work *work, const char *label, CK_OBJECT_HANDLE *ret_handle);

/* AES-256-GCM there and back; `value` is the key's. */
CK_RV work_encrypt(struct work *work, CK_OBJECT_HANDLE key, const CK_BYTE value[32]);
/* The same through the message functions, with a random IV of the token's making. */
CK_RV work_message(struct work *work, CK_OBJECT_HANDLE key, const CK_BYTE value[32]);
/* HMAC-SHA-256, signed and verified. */
CK_RV work_sign(struct work *work, CK_OBJECT_HANDLE key, const CK_BYTE value[32]);
/* The payload key by CKM_SP800_108_COUNTER_KDF as a session key, used and destroyed. */
CK_RV work_derive(struct work *work, CK_OBJECT_HANDLE index_key);
/* Finds the shared key's subkeys and uses each. */
CK_RV work_subkeys(struct work *work);
/* A key made, found by its label, renamed and destroyed. */
CK_RV work_own_object(struct work *work, CK_BBOOL token, const char *label);

/* Whether `call` may answer this when another thread closes its session or logs its user out. */
bool work_is_loss(const struct work *work, CK_RV rv);

/* The first function that does not answer CKR_CRYPTOKI_NOT_INITIALIZED; NULL: the library is down.
 */
const char *work_first_alive(CK_FUNCTION_LIST_3_2 *p11);
