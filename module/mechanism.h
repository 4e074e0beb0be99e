/*
 * The mechanism table: one line a mechanism, which answers C_GetMechanismList and
 * C_GetMechanismInfo and dispatches every C_* function that takes a CK_MECHANISM. A new mechanism
 * is one file mech_*.c with its operations and one line in mechanisms.c. A test asserts that the
 * advertised flags equal the operations present.
 *
 * The caller (module/api_*.c) has checked session, key handle, key type, usage flag,
 * CKA_ALLOWED_MECHANISMS and policy before it calls here, handles size queries and
 * CKR_BUFFER_TOO_SMALL by output_len, and ends the operation after any error. A mechanism checks
 * its parameters (every pointer and length of a CK_MECHANISM is hostile), copies what it needs from
 * them, and does the work.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/secret.h"
#include "include/cryptoki.h"

struct object;
struct iv_filling;
struct operation;
struct slot;

/* Encryption and decryption; which of the two says operation->kind. */
struct cipher_ops {
    /* Begins a message. operation->state is NULL, or what an earlier start with this mechanism and
     * this key has left: then only IV and the like change. */
    CK_RV (*start)(struct operation *operation, const CK_MECHANISM *mechanism);
    /* Bytes that the next call would write: exact where it can be known, else the most it can be.
     * `last` is true for C_Encrypt and C_EncryptFinal (in_len 0 in the latter), false for
     * C_EncryptUpdate. */
    CK_RV (*output_len)(struct operation *operation, size_t in_len, bool last, size_t *ret_len);
    /* `out` has room for output_len bytes. In-place is allowed: out may equal in. */
    CK_RV(*one_shot)
    (struct operation *operation, struct view in, unsigned char *out, size_t *ret_len);
    CK_RV(*update)
    (struct operation *operation, struct view in, unsigned char *out, size_t *ret_len);
    CK_RV (*finish)(struct operation *operation, unsigned char *out, size_t *ret_len);
    /* Forgets the message (buffers, IV), keeps the keyed context. Called at each operation's end.
     */
    void (*end)(void *state);
    /* Wipes and frees it all. */
    void (*free_state)(void *state);
};

/* A piece of one message. */
struct message_part {
    struct view parameter; /* the mechanism's structure for messages, as the caller gives it */
    struct view in;
    bool last; /* ends the message: a tag is made, or read and verified */
};

/* The message functions for encryption and decryption (PKCS #11 5.9, 5.11). A failure of begin or
 * next ends the message, not the operation. */
struct message_ops {
    /* The key is set, or kept from an earlier start. */
    CK_RV (*start)(struct operation *operation, const CK_MECHANISM *mechanism);
    /* Begins one message; an IV of the token's making goes to the caller's parameter.
     * IV_COUNTERS_EMPTY with the filling that it lacks (NULL: not asked), and nothing begun. */
    CK_RV(*begin)
    (struct operation *operation, struct view parameter, struct view aad,
     struct iv_filling *filling);
    /* Bytes that next would write, also before begin. */
    CK_RV (*output_len)(struct operation *operation, size_t in_len, bool last, size_t *ret_len);
    /* `out` has room for output_len bytes. In-place is allowed. */
    CK_RV(*next)
    (struct operation *operation, const struct message_part *part, unsigned char *out,
     size_t *ret_len);
    /* Forgets the message, keeps the keyed context. Called at each message's end. */
    void (*end)(void *state);
    void (*free_state)(void *state);
};

/* Digests and MACs: bytes in, one short result at the end. */
struct digest_ops {
    CK_RV (*start)(struct operation *operation, const CK_MECHANISM *mechanism);
    CK_RV (*update)(struct operation *operation, struct view in);
    /* `out` has room for result_len bytes. */
    CK_RV (*finish)(struct operation *operation, unsigned char *out);
    /* The whole message: update and finish in one. */
    CK_RV (*one_shot)(struct operation *operation, struct view in, unsigned char *out);
    size_t (*result_len)(const struct operation *operation);
    /* Begins a further message with what start was given; NULL: no message functions. */
    CK_RV (*restart)(struct operation *operation);
    /* A second state at the same point of the same message. Digests alone have it. */
    CK_RV (*copy)(const void *state, void **ret_state);
    void (*end)(void *state); /* NULL: nothing to forget */
    void (*free_state)(void *state);
};

/* C_GenerateKey. */
struct generate_ops {
    CK_KEY_TYPE key_type; /* implied; CK_UNAVAILABLE_INFORMATION: the template says */
    /* Bytes for a key when the template gives no CKA_VALUE_LEN; 0: the length must be given. */
    size_t default_len;
    /* `len` bytes computed from the parameter: a key whose value the caller can know. NULL: random
     * bytes, and the mechanism takes no parameter. */
    CK_RV (*generate)(const CK_MECHANISM *mechanism, size_t len, struct secret *ret_value);
};

/* A key or data object that a derivation makes, as its template says. */
struct derive_output {
    CK_KEY_TYPE key_type;
    size_t len; /* bytes wanted: CKA_VALUE_LEN; 0: not said */
};

/* Of CK_DERIVED_KEYs, and of key handles in the parameters. */
#define DERIVE_FURTHER_MAX 32

/* The keys beside the base that enter a derivation, referenced. */
struct derive_keys {
    struct object *keys[DERIVE_FURTHER_MAX];
    size_t count;
};

/* One derivation. */
struct derive_call {
    struct slot *slot;             /* for the key handles in the parameters */
    const CK_MECHANISM *mechanism; /* a copy; what it points to is still the caller's */
    const struct object *base;
    const struct secret *base_value;
    const struct derive_output *outputs; /* the key of C_DeriveKey, then the additional ones */
    size_t output_count;
    /* Gets each key that a handle in the parameters stands for (mech_further_key): policy and
     * history look at them as at the base. Released by the caller. */
    struct derive_keys *further;
    /* Called with the exact input of each PRF call before it runs, and with the number of the
     * output that it is for, by mechanisms that can produce a subkey: the purpose rule of index
     * keys (policy.h). Another value than CKR_OK ends the derivation. */
    CK_RV (*allow)(void *context, size_t output, struct view prf_input);
    /* The same for HKDF: called with the info string, once every key that enters is known. */
    CK_RV (*allow_info)(void *context, struct view info);
    void *allow_context;
};

/* How much of the base's nature a derived key has (module/policy.c). */
enum derive_form {
    DERIVE_ONE_WAY,
    DERIVE_HASHES, /* its hash: what HMAC itself makes of a key that is longer than a block */
    DERIVE_JOINS,  /* its bytes, joined or combined with others */
    DERIVE_SLICES, /* a part of them */
};

/* Whose past decides about CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE, as each mechanism's
 * section says. */
enum derive_history { HISTORY_OF_BASE, HISTORY_OF_ANY_KEY, HISTORY_OF_EVERY_KEY };

/* C_DeriveKey. */
struct derive_ops {
    /* The key type when the template has none (CKK_GENERIC_SECRET where the mechanism says so), or
     * CK_UNAVAILABLE_INFORMATION. */
    CK_KEY_TYPE default_type;
    bool makes_data; /* a CKO_DATA, no key */
    enum derive_form form;
    enum derive_history history;
    /* CKA_SENSITIVE and CKA_EXTRACTABLE, where a template is silent, are those of the keys that
     * enter; else they have the token's defaults. */
    bool inherits_omitted;
    /* The keys that the parameters ask for beside C_DeriveKey's own: the caller's array, at most
     * DERIVE_FURTHER_MAX. NULL: the mechanism makes one key. */
    CK_RV(*additional)
    (const CK_MECHANISM *mechanism, const CK_DERIVED_KEY **ret_keys, size_t *ret_count);
    /* The derived bytes, one secret for each output: output.len of them, or as many as the
     * mechanism gives when it is 0. All stay empty on failure. */
    CK_RV (*derive)(const struct derive_call *call, struct secret *ret_values);
};

/* One wrapping or unwrapping. */
struct wrap_call {
    const CK_MECHANISM *mechanism;  /* the caller's own structure is not looked at again */
    struct object *key;             /* that wraps or unwraps */
    const struct secret *key_value; /* its value */
    bool authenticated;             /* C_WrapKeyAuthenticated, C_UnwrapKeyAuthenticated */
    struct view associated_data;    /* their argument */
    bool callers_iv;                /* policy lets the caller choose the IV of a wrapping */
};

/* C_WrapKey, C_UnwrapKey and their authenticated forms. */
struct wrap_ops {
    bool authenticates; /* serves the authenticated forms */
    /* Bytes that `wrap` makes of a key of key_len bytes, once the parameter is checked.
     * CKR_KEY_SIZE_RANGE for a length that the mechanism does not wrap. Asked before `wrap`; a size
     * query stops here. */
    CK_RV (*wrapped_len)(const struct wrap_call *call, size_t key_len, size_t *ret_len);
    /* `out` has room for wrapped_len bytes. An IV that is made here goes to the place that the
     * parameter names, when all else is done. */
    CK_RV (*wrap)(const struct wrap_call *call, const struct secret *key, unsigned char *out);
    /* CKR_WRAPPED_KEY_LEN_RANGE by the length alone, else CKR_WRAPPED_KEY_INVALID whatever is wrong
     * with it: two answers would be an oracle. */
    CK_RV (*unwrap)(const struct wrap_call *call, struct view wrapped, struct secret *ret_key);
};

struct mechanism {
    CK_MECHANISM_TYPE type;
    const char *name;          /* "CKM_AES_GCM" */
    CK_ULONG min_key, max_key; /* as C_GetMechanismInfo says them, in the standard's units */
    CK_KEY_TYPE
    key_type; /* of the keys it works with; CK_UNAVAILABLE_INFORMATION: see accepts_key */
    /* For several key types (HMAC: generic secret and the digest's own). NULL: key_type alone. */
    bool (*accepts_key)(const struct mechanism *mechanism, CK_KEY_TYPE key_type);
    unsigned int family;             /* FAMILY_*: a key belongs to one (policy.h); 0: none */
    const char *algorithm;           /* OpenSSL's name: "SHA2-256", "GCM", … */
    const struct cipher_ops *cipher; /* encrypt and decrypt */
    const struct message_ops *message;
    const struct digest_ops *digest;
    const struct digest_ops *mac; /* sign and verify */
    const struct generate_ops *generate;
    const struct derive_ops *derive;
    const struct wrap_ops *wrap; /* wrap and unwrap */
};

/* NULL when the module does not have it. O(log n) or better. */
const struct mechanism *mechanism_find(CK_MECHANISM_TYPE type);
/* The whole table, for C_GetMechanismList. */
const struct mechanism *mechanisms_all(size_t *ret_count);
/* CKF_ENCRYPT | … from the operations present. */
CK_FLAGS mechanism_flags(const struct mechanism *mechanism);

/* Mechanism families (cryptoki-facts, API attacks: one key in two mode families). */
enum mechanism_family {
    FAMILY_NONE = 0,
    FAMILY_AES_GCM,
    FAMILY_AES_CBC,
    FAMILY_AES_ECB,
    FAMILY_AES_CTR,
    FAMILY_AES_CMAC,
    /* Not that of GCM: a GMAC is GHASH and one block of GCM's key stream, for an IV of the caller's
     * choice. Together they would open and forge each other's messages. */
    FAMILY_AES_GMAC,
    FAMILY_AES_WRAP,
    FAMILY_DERIVE,
    FAMILY_HMAC,
};
