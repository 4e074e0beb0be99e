/* The mechanisms of the steps, each with the one parameter that makes attacks easiest: an IV that
 * is used again, data of zeros, the input of a purpose. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "include/indexkey.h"

#define ATTACK_IV "attackers iv"
#define ATTACK_IV_LEN 12
#define ATTACK_CONTEXT "context"
#define ATTACK_INFO "attack info"
/* In hkdf_data_info. */
#define ATTACK_LISTED_INFO "listed-info"
#define ATTACK_ZEROS_LEN 32

/* A way to use a mechanism. */
struct way {
    const char *name;
    CK_MECHANISM_TYPE type;
    enum way_form {
        FORM_PLAIN,
        FORM_IV, /* 16 bytes */
        FORM_GCM,
        FORM_GCM_SHORT_TAG,
        FORM_GCM_SEEN_IV,    /* that a key was wrapped under */
        FORM_GCM_WRAP,       /* C_WrapKeyAuthenticated */
        FORM_GCM_WRAP_FRESH, /* with an IV of the module's */
        FORM_GCM_MESSAGE,    /* the message API */
        FORM_CTR_ZERO,       /* the first block is E_K(0) */
        FORM_CTR_GCM,        /* the key stream of GCM under ATTACK_IV */
        FORM_SHORT_MAC,
        FORM_PURPOSE, /* the KDF of payload keys */
        FORM_CONTEXT, /* a KDF over a counter and ATTACK_CONTEXT */
        FORM_CMAC_CONTEXT,
        FORM_HKDF_EXPAND,
        FORM_HKDF_LISTED,
        FORM_HKDF_SALT_KEY,
        FORM_DATA_32, /* 32 zeros */
        FORM_DATA_1,
        FORM_DATA_31, /* what is joined to it shows one byte where 32 are asked for */
        FORM_CBC_DATA,
        FORM_KEY, /* the other key's handle */
        FORM_BIT,
    } form;
    enum way_text { TEXT_ZEROS, TEXT_PURPOSE, TEXT_CONTEXT, TEXT_INFO } text; /* what is signed */
};

struct way_list {
    const struct way *ways;
    size_t count;
};

extern const struct way_list ways_derive, ways_encrypt, ways_decrypt, ways_sign, ways_wrap;

struct way_call {
    CK_MECHANISM mechanism;
    struct indexkey_kdf kdf;
    union {
        CK_GCM_PARAMS gcm;
        CK_GCM_WRAP_PARAMS gcm_wrap;
        CK_GCM_MESSAGE_PARAMS gcm_message;
        CK_AES_CTR_PARAMS ctr;
        CK_HKDF_PARAMS hkdf;
        CK_KEY_DERIVATION_STRING_DATA string;
        CK_AES_CBC_ENCRYPT_DATA_PARAMS cbc;
        CK_ULONG number;
        CK_OBJECT_HANDLE handle;
        CK_BYTE iv[16];
    } params;
    CK_BYTE iv[ATTACK_IV_LEN];
    CK_BYTE tag[16];
};

/* Points into itself. */
void way_prepare(const struct way *way, CK_OBJECT_HANDLE other, struct way_call *ret_call);

/* What a signing step signs: each is the input of a PRF call of some derivation. */
struct view way_text(enum way_text text);
/* True when the derivation takes a second key. */
bool way_takes_key(const struct way *way);
