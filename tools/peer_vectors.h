/* Whether two modules have the same key: both are asked the same question, of random bytes. */
#pragma once

#include "tools/peer.h"

struct vector_pair {
    const struct peer *from;
    const struct peer *to;
    CK_OBJECT_HANDLE from_key;
    CK_OBJECT_HANDLE to_key;
    const char *label; /* for messages */
    bool is_cipher;    /* AES-GCM, which each must open for the other; else HMAC-SHA-256 */
};

/* CKR_FUNCTION_FAILED, logged, when the keys differ. */
CK_RV vector_pair_check(const struct vector_pair *pair);
