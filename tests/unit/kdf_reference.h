/*
 * SP 800-108 a second time: random sets of parameters, what Cryptoki makes of them, and the keys
 * that NIST SP 800-108r1, 4.1 to 4.3, derives, computed with one-shot MACs of OpenSSL. Shares
 * nothing with module/.
 */
#pragma once

#include <stdint.h>

#include "tests/unit/mechanism_fixture.h"

#define FIELDS_MAX 8
#define OUTPUTS_MAX 4
#define OUTPUT_LEN_MAX 150

struct prf {
    CK_MECHANISM_TYPE type;
    const char *digest; /* OpenSSL's name; NULL: CMAC */
    CK_KEY_TYPE key_type;
    size_t len;
};

/* What a set of parameters is made of. */
struct field {
    CK_PRF_DATA_TYPE type;
    unsigned char bytes[40];
    size_t len;
    size_t width; /* bytes of a number */
    bool little_endian;
    bool segments;
};

struct set {
    CK_MECHANISM_TYPE mode;
    const struct prf *prf;
    struct object *key;
    struct object *second; /* behind CK_SP800_108_KEY_HANDLE */
    struct field fields[FIELDS_MAX];
    size_t count;
    unsigned char iv[80];
    size_t iv_len;
    size_t lens[OUTPUTS_MAX];
    size_t outputs;
};

/* The same sets at every run; `number` chooses the PRF. Sets the fixture's second key. Freed with
 * reference_set_free. */
void reference_set_random(struct set *set, CK_MECHANISM_TYPE mode, size_t number);
void reference_set_free(struct set *set);
struct field reference_field_random(CK_PRF_DATA_TYPE type);

/* The parameters of Cryptoki for a set. */
struct params {
    CK_SP800_108_KDF_PARAMS common;
    CK_SP800_108_FEEDBACK_KDF_PARAMS feedback;
    CK_PRF_DATA_PARAM data[FIELDS_MAX];
    CK_SP800_108_COUNTER_FORMAT counters[FIELDS_MAX];
    CK_SP800_108_DKM_LENGTH_FORMAT length;
    CK_OBJECT_HANDLE handle;
    CK_MECHANISM mechanism;
};

/* They point into each other and into the set. */
void reference_params_make(struct params *params, const struct set *set);

/* Inputs of PRF calls, and the number of the output before each. */
struct calls {
    struct writer bytes;
};

void reference_calls_add(struct calls *calls, size_t output, struct view input);

/* All keys of a set, and the PRF calls that they took. */
void reference_keys(const struct set *set, struct calls *calls,
                    unsigned char keys[OUTPUTS_MAX][OUTPUT_LEN_MAX]);
