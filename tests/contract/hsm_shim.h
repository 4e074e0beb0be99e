/*
 * A parent HSM that fails on demand: a PKCS #11 module that hands everything to the one under
 * SOFTHSM_MODULE, except for one function at a time. The source loads it as a module; the test asks
 * the same library, by the symbol hsm_shim, for its switches.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "include/cryptoki.h"

#define SHIM_IV_BYTE 0x77

enum hsm_shim_twist {
    SHIM_AS_IS,
    SHIM_EMPTY,   /* a length or count of 0 */
    SHIM_SHORTER, /* one less than it is */
    SHIM_LONGER,  /* one more */
    SHIM_ENDLESS, /* CK_UNAVAILABLE_INFORMATION */
    SHIM_CHANGED, /* the first byte */
};

struct hsm_shim {
    /* What goes wrong, set before the call. */
    const char *function; /* "C_Login"; NULL: nothing */
    CK_RV rv;             /* answered in its place; CKR_OK: it is called */
    enum hsm_shim_twist twist;
    bool hangs;       /* until let_go */
    int times;        /* so often; -1: always */
    const char *also; /* another function, which answers also_rv always */
    CK_RV also_rv;
    /* What SoftHSM has not: CKM_AES_KEY_WRAP_KWP, which is its CKM_AES_KEY_WRAP_PAD; OAEP with
     * SHA-256, here SHA-1 all the same; an IV of the token's own making. */
    bool has_more;
    atomic_bool let_go;
    /* What came. */
    atomic_int calls;   /* of that function */
    atomic_int hanging; /* threads */
    atomic_int inits;
    atomic_int finals;
    atomic_int logins;
    atomic_int sessions; /* open */
    atomic_int most_sessions;
};
