/*
 * The mechanisms that take part, and what kind of key each wants. A mechanism takes part with a
 * peer when both list it for its use.
 */
#pragma once

#include "tests/differential/modules.h"

/* What a key is made for: one purpose a key, as the policy of the module under test wants it. */
enum role {
    ROLE_NONE,
    ROLE_HMAC,
    ROLE_CMAC,
    ROLE_ECB,
    ROLE_CBC,
    ROLE_CTR,
    ROLE_GCM,
    ROLE_WRAP,
    ROLE_AES_BASE,     /* derives */
    ROLE_GENERIC_BASE, /* derives */
    ROLE_HKDF_BASE,    /* derives */
    ROLE_PAYLOAD,      /* is wrapped, read, copied */
    ROLE_DATA,         /* a data object */
    ROLES,
};

enum shape {
    SHAPE_NONE,
    SHAPE_MAC_LEN, /* CK_MAC_GENERAL_PARAMS */
    SHAPE_IV,      /* 16 bytes */
    SHAPE_CTR,
    SHAPE_GCM,
    SHAPE_WRAP, /* none, or an initial value */
    SHAPE_ECB_DATA,
    SHAPE_CBC_DATA,
    SHAPE_HKDF,
    SHAPE_COUNTER,
    SHAPE_FEEDBACK,
    SHAPE_PIPELINE,
    SHAPE_STRING, /* CK_KEY_DERIVATION_STRING_DATA: concatenation and XOR */
    SHAPE_KEY,    /* a key handle */
};

struct spec {
    CK_MECHANISM_TYPE type;
    const char *name;
    const char *subject; /* for the table of differences */
    CK_FLAGS use;        /* CKF_SIGN stands for verification too, CKF_ENCRYPT for decryption, … */
    enum shape shape;
    enum role role;
    CK_KEY_TYPE key_type; /* of the digest's own, or of what is generated */
    CK_ULONG len;         /* of digest or MAC */
};

extern const struct spec specs[];
extern const size_t specs_count;

/* SoftHSM has no general MACs and NSS 3.87 refuses them all: there the full MAC is made, and cut.
 */
const struct spec *spec_of_peer(const struct spec *spec);

#define SPECS_MAX 96

/* Those that both sides have, by use. */
struct common {
    const struct spec *specs[SPECS_MAX];
    size_t count;
};

void common_find(struct common *common, const struct module *ours, const struct module *theirs,
                 CK_FLAGS use);

/* "CKR_OK"; the number where there is no name here. */
const char *code_name(CK_RV rv);
/* Codes are counted by their place in the list of names. */
#define CODES_MAX 80
size_t code_place(CK_RV rv);
const char *code_at(size_t place);
