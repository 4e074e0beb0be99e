/* Mechanism parameters as plain values, from which the CK_MECHANISM of a side is made. */
#pragma once

#include "tests/differential/prng.h"
#include "tests/differential/specs.h"

#define IV_MAX 16
#define EXTRA_MAX 64

struct parameters {
    unsigned char iv[IV_MAX];
    CK_ULONG iv_len;
    unsigned char extra[EXTRA_MAX]; /* associated data, data to derive from, info, label */
    CK_ULONG extra_len;
    unsigned char salt[EXTRA_MAX];
    CK_ULONG salt_len;
    CK_ULONG number;        /* MAC length, tag bits or counter bits */
    CK_MECHANISM_TYPE hash; /* PRF */
    bool with_salt, with_length, extract, expand;
    CK_OBJECT_HANDLE key[SIDES];
};

/* Room for what a CK_MECHANISM points at. */
struct mechanism_room {
    CK_MECHANISM mechanism;
    union {
        CK_MAC_GENERAL_PARAMS mac_len;
        CK_AES_CTR_PARAMS ctr;
        CK_GCM_PARAMS gcm;
        CK_KEY_DERIVATION_STRING_DATA string;
        CK_AES_CBC_ENCRYPT_DATA_PARAMS cbc;
        CK_HKDF_PARAMS hkdf;
        CK_SP800_108_KDF_PARAMS kdf;
        CK_SP800_108_FEEDBACK_KDF_PARAMS feedback;
        CK_OBJECT_HANDLE key;
    } u;
    CK_PRF_DATA_PARAM data[4];
    CK_SP800_108_COUNTER_FORMAT counter;
    CK_SP800_108_DKM_LENGTH_FORMAT length;
};

/* Sound ones. */
void parameters_make(const struct spec *spec, struct prng *prng, struct parameters *ret);
/* Spoils them; tells how. Not every shape can be spoiled: then "". */
const char *parameters_spoil(const struct spec *spec, struct prng *prng, struct parameters *ret);
void parameters_fill(const struct spec *spec, const struct parameters *parameters, enum side side,
                     struct mechanism_room *room);
