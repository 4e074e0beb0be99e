/*
 * An approval: a small signed text by which a second person allows one operation on one thing
 * (docs/formats-approvals.md has every byte).
 *
 * Documents come from a folder or from a caller and are hostile: there is exactly one text for what
 * an approval says, and everything else is refused. Nothing here logs; the caller knows the file.
 */
#pragma once

#include "base/crypto.h"
#include "tokens/custody.h"

#define APPROVAL_LEN_MAX ((size_t) 512)
#define APPROVAL_NONCE_LEN 16
#define APPROVAL_SUBJECT_MAX 32
/* How far ahead an approval may expire: a use is remembered for that long. */
#define APPROVAL_AHEAD_MAX_S ((int64_t) 7 * 24 * 3600)

enum approval_operation {
    APPROVAL_DESTROY, /* C_DestroyObject; the object's CKA_UNIQUE_ID */
    APPROVAL_RESET,   /* C_InitToken of a token that is initialised; custody_incarnation, label */
    APPROVAL_EXPORT,  /* a key wrapped for another module; SHA-256 of id and public key */
    APPROVAL_BACKUP,  /* SHA-256 of the token's serial number */
    APPROVAL_POLICY,  /* SHA-256 of the token's policy */
    APPROVAL_OPERATIONS
};

/* "destroy", … as documents say it. */
const char *approval_operation_name(enum approval_operation operation);

struct approval {
    struct view signed_text; /* within the document */
    unsigned char serial[TOKEN_SERIAL_LEN];
    enum approval_operation operation;
    unsigned char subject[APPROVAL_SUBJECT_MAX];
    size_t subject_len; /* 16 or 32 */
    unsigned char nonce[APPROVAL_NONCE_LEN];
    int64_t expires; /* seconds since 1970, UTC */
    unsigned char signature[ED25519_SIGNATURE_LEN];
};

/* CKR_DATA_INVALID. `document` outlives the approval. */
CK_RV approval_parse(struct view document, struct approval *ret_approval);

/* What is about to happen. */
struct approval_wish {
    const unsigned char *serial; /* TOKEN_SERIAL_LEN bytes */
    enum approval_operation operation;
    struct view subject;
};

/* Made for exactly this operation on this thing of this token. */
bool approval_is_for(const struct approval *approval, const struct approval_wish *wish);
/* NULL at a time when it holds, else what is wrong, in words. */
const char *approval_untimely(const struct approval *approval, int64_t now);
bool approval_is_signed_by(const struct approval *approval,
                           const unsigned char key[ED25519_PUBLIC_LEN]);
