/*
 * Index keys for C callers: the five purposes of an index key, the mechanism and the template that
 * derive a purpose's subkey with C_DeriveKey, and the causes in CK_SESSION_INFO.ulDeviceError.
 *
 * The derivation is CKM_SP800_108_COUNTER_KDF (NIST SP 800-108) with HMAC-SHA-256, over: a 32-bit
 * big-endian counter, the purpose's label, a zero byte, an empty context, and the 32-bit big-endian
 * length of the subkey in bits. Every token with that mechanism derives the same subkeys.
 *
 * A caller that has its own PKCS #11 header, of version 3.0 or later, includes it first; else
 * cryptoki.h is used. All functions are inline; nothing allocates, and nothing has to be freed.
 */
#pragma once

#include <string.h>

#if !defined(PKCS11_H) && !defined(_PKCS11_H_)
#include "cryptoki.h"
#endif
#ifndef CKM_SP800_108_COUNTER_KDF
#error "indexkey.h needs a PKCS #11 header of version 3.0 or later"
#endif

#define INDEXKEY_VERSION_MAJOR 0
#define INDEXKEY_VERSION_MINOR 1
#define INDEXKEY_VERSION_PATCH 0

/* Bytes in an index key and in a subkey. */
#define INDEXKEY_KEY_LEN 32

/* What a subkey is for. The numbers are fixed: the CKA_ID of a subkey object is its index key's,
 * followed by the purpose's number as one byte. */
enum indexkey_purpose {
    INDEXKEY_PURPOSE_TOKEN = 1,    /* index tokens: encrypted terms and ids */
    INDEXKEY_PURPOSE_CENTROID = 2, /* salted hashes of the index's centroids */
    INDEXKEY_PURPOSE_PAYLOAD = 3,  /* embeddings */
    INDEXKEY_PURPOSE_ITEM = 4,     /* item contents */
    INDEXKEY_PURPOSE_QUERY = 5,    /* encrypted query tokens */
};
#define INDEXKEY_PURPOSE_COUNT 5

/* The labels of the derivation. The 1 is the version of this scheme. */
#define INDEXKEY_LABEL_PREFIX   "indexkey/1/"
#define INDEXKEY_LABEL_TOKEN    "indexkey/1/token"
#define INDEXKEY_LABEL_CENTROID "indexkey/1/centroid"
#define INDEXKEY_LABEL_PAYLOAD  "indexkey/1/payload"
#define INDEXKEY_LABEL_ITEM     "indexkey/1/item"
#define INDEXKEY_LABEL_QUERY    "indexkey/1/query"

/* The longest label with its end mark, which is the zero byte of the derivation. */
#define INDEXKEY_LABEL_SIZE_MAX (sizeof(INDEXKEY_LABEL_CENTROID))

/* Why the last call on a session failed, where its CKR alone does not say it: the value of
 * CK_SESSION_INFO.ulDeviceError. The numbers are fixed. "Source" is the KMS or vault that holds the
 * root key. */
enum indexkey_cause {
    INDEXKEY_CAUSE_NONE = 0,
    INDEXKEY_CAUSE_DENIED = 1,       /* the source knows the identity and refuses it the key */
    INDEXKEY_CAUSE_DISABLED = 2,     /* the source's key is disabled */
    INDEXKEY_CAUSE_DELETED = 3,      /* the source's key is deleted, or about to be */
    INDEXKEY_CAUSE_TAMPERED = 4,     /* a ciphertext or a stored record was changed */
    INDEXKEY_CAUSE_CONTEXT = 5,      /* wrapped under another context or key */
    INDEXKEY_CAUSE_CREDENTIAL = 6,   /* the source refuses the credential */
    INDEXKEY_CAUSE_THROTTLED = 7,    /* the source's rate limit, until the deadline */
    INDEXKEY_CAUSE_TIMEOUT = 8,      /* no answer from the source within the deadline */
    INDEXKEY_CAUSE_UNREACHABLE = 9,  /* no connection to the source */
    INDEXKEY_CAUSE_DNS = 10,         /* the source's name has no address */
    INDEXKEY_CAUSE_TLS = 11,         /* the source's certificate or TLS version is not accepted */
    INDEXKEY_CAUSE_SERVER = 12,      /* the source failed, or its answer makes no sense */
    INDEXKEY_CAUSE_STORE = 13,       /* the store cannot be read or written */
    INDEXKEY_CAUSE_STORE_FULL = 14,  /* the store has no room */
    INDEXKEY_CAUSE_PIN = 15,         /* wrong, locked or missing PIN */
    INDEXKEY_CAUSE_CONFIG = 16,      /* the token's configuration */
    INDEXKEY_CAUSE_CANCELLED = 17,   /* C_Finalize ended the call */
    INDEXKEY_CAUSE_INTERNAL = 18,    /* none of the above; the log has the details */
    INDEXKEY_CAUSE_AUDIT = 19,       /* the audit log cannot be written */
};

/* The life cycle of a token's keys: attributes of secret keys that C_GetAttributeValue reads and
 * C_FindObjects matches. No template gives them and no call of Cryptoki's changes them. Times are
 * seconds of UTC since 1970, 0 for none. */
#define CKA_INDEXKEY_STATE        (CKA_VENDOR_DEFINED | 0x494B0001UL) /* CK_ULONG, as below */
#define CKA_INDEXKEY_ACTIVATION   (CKA_VENDOR_DEFINED | 0x494B0002UL) /* CK_ULONG: active from */
#define CKA_INDEXKEY_DEACTIVATION (CKA_VENDOR_DEFINED | 0x494B0003UL) /* CK_ULONG: no longer from */
#define CKA_INDEXKEY_DESTROY_AT   (CKA_VENDOR_DEFINED | 0x494B0004UL) /* CK_ULONG: pending, until */
#define CKA_INDEXKEY_VERSION      (CKA_VENDOR_DEFINED | 0x494B0005UL) /* CK_ULONG, from 1 */
#define CKA_INDEXKEY_LINE         (CKA_VENDOR_DEFINED | 0x494B0006UL) /* 16 bytes: one a key line */
#define CKA_INDEXKEY_HOLD         (CKA_VENDOR_DEFINED | 0x494B0007UL) /* CK_BBOOL: legal hold */

/* CKA_INDEXKEY_STATE now: the numbers are fixed. */
enum indexkey_state {
    INDEXKEY_STATE_PRE_ACTIVE = 0,      /* no use yet */
    INDEXKEY_STATE_ACTIVE = 1,          /* every use */
    INDEXKEY_STATE_SUSPENDED = 2,       /* no use for a time */
    INDEXKEY_STATE_DEACTIVATED = 3,     /* reads what there is, protects nothing new */
    INDEXKEY_STATE_COMPROMISED = 4,     /* the same, and known to others */
    INDEXKEY_STATE_DESTROY_PENDING = 5, /* hidden, until its undo window is over */
};

/* Bytes of CKA_INDEXKEY_LINE: of the CKA_UNIQUE_ID of the line's first version, which is their text
 * in hexadecimal. */
#define INDEXKEY_LINE_LEN 16

/* The label of a purpose, or NULL if the number is not a purpose. */
static inline const char *indexkey_label(enum indexkey_purpose purpose)
{
    switch (purpose) {
    case INDEXKEY_PURPOSE_TOKEN:
        return INDEXKEY_LABEL_TOKEN;
    case INDEXKEY_PURPOSE_CENTROID:
        return INDEXKEY_LABEL_CENTROID;
    case INDEXKEY_PURPOSE_PAYLOAD:
        return INDEXKEY_LABEL_PAYLOAD;
    case INDEXKEY_PURPOSE_ITEM:
        return INDEXKEY_LABEL_ITEM;
    case INDEXKEY_PURPOSE_QUERY:
        return INDEXKEY_LABEL_QUERY;
    }
    return NULL;
}

/* The name of a purpose ("token"), which also ends the label of its subkey objects ("L/token"); or
 * NULL if the number is not a purpose. */
static inline const char *indexkey_purpose_name(enum indexkey_purpose purpose)
{
    const char *label = indexkey_label(purpose);

    return label ? label + sizeof(INDEXKEY_LABEL_PREFIX) - 1 : NULL;
}

/* The mechanism of a purpose with all that it points to, in storage of the caller's. It points into
 * itself: it is neither copied nor moved once made. */
struct indexkey_kdf {
    CK_MECHANISM mechanism; /* for C_DeriveKey */
    CK_SP800_108_KDF_PARAMS params;
    CK_PRF_DATA_PARAM data[3];
    CK_SP800_108_COUNTER_FORMAT counter;
    CK_SP800_108_DKM_LENGTH_FORMAT length;
    CK_BYTE label[INDEXKEY_LABEL_SIZE_MAX];
};

/* Makes the mechanism of a purpose. CKR_ARGUMENTS_BAD if the number is not a purpose. */
static inline CK_RV indexkey_kdf_make(enum indexkey_purpose purpose, struct indexkey_kdf *ret_kdf)
{
    struct indexkey_kdf *kdf = ret_kdf;
    const char *label = indexkey_label(purpose);
    size_t label_size;

    if (!label)
        return CKR_ARGUMENTS_BAD;
    label_size = strlen(label) + 1;

    memset(kdf, 0, sizeof(*kdf));
    memcpy(kdf->label, label, label_size);
    kdf->counter.bLittleEndian = CK_FALSE;
    kdf->counter.ulWidthInBits = 32;
    kdf->length.dkmLengthMethod = CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS;
    kdf->length.bLittleEndian = CK_FALSE;
    kdf->length.ulWidthInBits = 32;

    kdf->data[0].type = CK_SP800_108_ITERATION_VARIABLE;
    kdf->data[0].pValue = &kdf->counter;
    kdf->data[0].ulValueLen = sizeof(kdf->counter);
    kdf->data[1].type = CK_SP800_108_BYTE_ARRAY;
    kdf->data[1].pValue = kdf->label;
    kdf->data[1].ulValueLen = (CK_ULONG)label_size;
    kdf->data[2].type = CK_SP800_108_DKM_LENGTH;
    kdf->data[2].pValue = &kdf->length;
    kdf->data[2].ulValueLen = sizeof(kdf->length);

    kdf->params.prfType = CKM_SHA256_HMAC;
    kdf->params.ulNumberOfDataParams = sizeof(kdf->data) / sizeof(kdf->data[0]);
    kdf->params.pDataParams = kdf->data;

    kdf->mechanism.mechanism = CKM_SP800_108_COUNTER_KDF;
    kdf->mechanism.pParameter = &kdf->params;
    kdf->mechanism.ulParameterLen = sizeof(kdf->params);
    return CKR_OK;
}

#define INDEXKEY_TEMPLATE_COUNT       10
#define INDEXKEY_MECHANISMS_COUNT_MAX 10

/* The mechanisms that a purpose's subkey may be used with, as many as *ret_count says; static,
 * never freed. CKR_ARGUMENTS_BAD if the number is not a purpose. */
static inline CK_RV indexkey_mechanisms(enum indexkey_purpose purpose,
                                        const CK_MECHANISM_TYPE **ret_mechanisms,
                                        CK_ULONG *ret_count)
{
    static const CK_MECHANISM_TYPE token[] = {
        CKM_SHA256_HMAC,   CKM_SHA384_HMAC,   CKM_SHA512_HMAC,   CKM_SHA3_224_HMAC,
        CKM_SHA3_256_HMAC, CKM_SHA3_384_HMAC, CKM_SHA3_512_HMAC,
    };
    static const CK_MECHANISM_TYPE centroid[] = {
        CKM_SHA3_224_HMAC, CKM_SHA3_256_HMAC, CKM_SHA3_384_HMAC, CKM_SHA3_512_HMAC,
        CKM_SHA224_HMAC,   CKM_SHA256_HMAC,   CKM_SHA384_HMAC,   CKM_SHA512_HMAC,
        CKM_SHA512_224_HMAC, CKM_SHA512_256_HMAC,
    };
    static const CK_MECHANISM_TYPE cipher[] = {CKM_AES_GCM};

    switch (purpose) {
    case INDEXKEY_PURPOSE_TOKEN:
    case INDEXKEY_PURPOSE_QUERY:
        *ret_mechanisms = token;
        *ret_count = sizeof(token) / sizeof(token[0]);
        return CKR_OK;
    case INDEXKEY_PURPOSE_CENTROID:
        *ret_mechanisms = centroid;
        *ret_count = sizeof(centroid) / sizeof(centroid[0]);
        return CKR_OK;
    case INDEXKEY_PURPOSE_PAYLOAD:
    case INDEXKEY_PURPOSE_ITEM:
        *ret_mechanisms = cipher;
        *ret_count = sizeof(cipher) / sizeof(cipher[0]);
        return CKR_OK;
    }
    return CKR_ARGUMENTS_BAD;
}

/* The template of a purpose with all that it points to, in storage of the caller's: a session
 * object, sensitive, not extractable. CKA_ALLOWED_MECHANISMS is the last attribute, so that
 * count - 1 passes all but it to a token that does not know it. It points into itself: it is
 * neither copied nor moved once made. */
struct indexkey_template {
    CK_ATTRIBUTE attributes[INDEXKEY_TEMPLATE_COUNT]; /* for C_DeriveKey */
    CK_ULONG count;
    CK_OBJECT_CLASS object_class;
    CK_KEY_TYPE key_type;
    CK_ULONG value_len;
    CK_BBOOL yes;
    CK_BBOOL no;
    CK_MECHANISM_TYPE mechanisms[INDEXKEY_MECHANISMS_COUNT_MAX];
};

static inline void indexkey_template_add(struct indexkey_template *made, CK_ATTRIBUTE_TYPE type,
                                         void *value, CK_ULONG value_len)
{
    CK_ATTRIBUTE *attribute = &made->attributes[made->count++];

    attribute->type = type;
    attribute->pValue = value;
    attribute->ulValueLen = value_len;
}

/* Makes the template of a purpose. CKR_ARGUMENTS_BAD if the number is not a purpose. */
static inline CK_RV indexkey_template_make(enum indexkey_purpose purpose,
                                           struct indexkey_template *ret_template)
{
    struct indexkey_template *made = ret_template;
    const CK_MECHANISM_TYPE *mechanisms = NULL;
    CK_ULONG count = 0;
    CK_RV rv = indexkey_mechanisms(purpose, &mechanisms, &count);
    int encrypts;

    if (rv != CKR_OK)
        return rv;
    encrypts = mechanisms[0] == CKM_AES_GCM;

    memset(made, 0, sizeof(*made));
    memcpy(made->mechanisms, mechanisms, count * sizeof(mechanisms[0]));
    made->object_class = CKO_SECRET_KEY;
    made->key_type = encrypts ? CKK_AES : CKK_GENERIC_SECRET;
    made->value_len = INDEXKEY_KEY_LEN;
    made->yes = CK_TRUE;
    made->no = CK_FALSE;

    indexkey_template_add(made, CKA_CLASS, &made->object_class, sizeof(made->object_class));
    indexkey_template_add(made, CKA_KEY_TYPE, &made->key_type, sizeof(made->key_type));
    indexkey_template_add(made, CKA_VALUE_LEN, &made->value_len, sizeof(made->value_len));
    indexkey_template_add(made, CKA_TOKEN, &made->no, sizeof(made->no));
    indexkey_template_add(made, CKA_PRIVATE, &made->yes, sizeof(made->yes));
    indexkey_template_add(made, CKA_SENSITIVE, &made->yes, sizeof(made->yes));
    indexkey_template_add(made, CKA_EXTRACTABLE, &made->no, sizeof(made->no));
    indexkey_template_add(made, encrypts ? CKA_ENCRYPT : CKA_SIGN, &made->yes, sizeof(made->yes));
    indexkey_template_add(made, encrypts ? CKA_DECRYPT : CKA_VERIFY, &made->yes, sizeof(made->yes));
    indexkey_template_add(made, CKA_ALLOWED_MECHANISMS, made->mechanisms,
                          count * (CK_ULONG)sizeof(mechanisms[0]));
    return CKR_OK;
}
