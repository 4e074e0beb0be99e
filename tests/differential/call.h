/*
 * One call, to be made with the same arguments on both sides: what goes in, how it is made, what
 * comes out. Handles and, where keys differ, inputs are those of the side.
 */
#pragma once

#include "tests/differential/modules.h"

/* Name, and how both sides are brought back in step when one of them alone succeeded. */
#define CALLS(X)                                                                                   \
    X(OpenSession, HANDLE)                                                                         \
    X(CloseSession, END)                                                                           \
    X(GetSessionInfo, NOTHING)                                                                     \
    X(Login, END)                                                                                  \
    X(Logout, END)                                                                                 \
    X(GetMechanismInfo, NOTHING)                                                                   \
    X(GetTokenInfo, NOTHING)                                                                       \
    X(GenerateRandom, NOTHING)                                                                     \
    X(CreateObject, NEW_OBJECT)                                                                    \
    X(CopyObject, NEW_OBJECT)                                                                      \
    X(DestroyObject, TARGET)                                                                       \
    X(GetObjectSize, NOTHING)                                                                      \
    X(GetAttributeValue, NOTHING)                                                                  \
    X(SetAttributeValue, TARGET)                                                                   \
    X(FindObjectsInit, BEGIN)                                                                      \
    X(FindObjects, SESSION)                                                                        \
    X(FindObjectsFinal, SESSION)                                                                   \
    X(EncryptInit, BEGIN)                                                                          \
    X(Encrypt, SESSION)                                                                            \
    X(EncryptUpdate, SESSION)                                                                      \
    X(EncryptFinal, SESSION)                                                                       \
    X(DecryptInit, BEGIN)                                                                          \
    X(Decrypt, SESSION)                                                                            \
    X(DecryptUpdate, SESSION)                                                                      \
    X(DecryptFinal, SESSION)                                                                       \
    X(DigestInit, BEGIN)                                                                           \
    X(Digest, SESSION)                                                                             \
    X(DigestUpdate, SESSION)                                                                       \
    X(DigestKey, SESSION)                                                                          \
    X(DigestFinal, SESSION)                                                                        \
    X(SignInit, BEGIN)                                                                             \
    X(Sign, SESSION)                                                                               \
    X(SignUpdate, SESSION)                                                                         \
    X(SignFinal, SESSION)                                                                          \
    X(VerifyInit, BEGIN)                                                                           \
    X(Verify, SESSION)                                                                             \
    X(VerifyUpdate, SESSION)                                                                       \
    X(VerifyFinal, SESSION)                                                                        \
    X(DigestEncryptUpdate, SESSION)                                                                \
    X(DecryptDigestUpdate, SESSION)                                                                \
    X(SignEncryptUpdate, SESSION)                                                                  \
    X(DecryptVerifyUpdate, SESSION)                                                                \
    X(MessageEncryptInit, BEGIN)                                                                   \
    X(EncryptMessage, SESSION)                                                                     \
    X(MessageEncryptFinal, SESSION)                                                                \
    X(MessageDecryptInit, BEGIN)                                                                   \
    X(DecryptMessage, SESSION)                                                                     \
    X(MessageDecryptFinal, SESSION)                                                                \
    X(GenerateKey, NEW_OBJECT)                                                                     \
    X(WrapKey, NOTHING)                                                                            \
    X(UnwrapKey, NEW_OBJECT)                                                                       \
    X(DeriveKey, NEW_OBJECT)

enum function {
#define CALL_NUMBER(name, resync) CALL_##name,
    CALLS(CALL_NUMBER)
#undef CALL_NUMBER
        CALL_COUNT
};

enum resync {
    RESYNC_NOTHING,    /* the call changes no state */
    RESYNC_HANDLE,     /* the session that one side opened is closed */
    RESYNC_NEW_OBJECT, /* the object that one side made is destroyed */
    RESYNC_TARGET,     /* the object is destroyed on both */
    RESYNC_SESSION,    /* the session is closed on both: its operations go */
    RESYNC_BEGIN,      /* the same, where one side alone has begun or still has another */
    RESYNC_END,        /* the sequence ends */
};

const char *call_name(enum function function);
enum resync call_resync(enum function function);

/* What of the outputs is compared, when both sides answer the same code. */
enum comparison {
    COMPARE_NOTHING,
    COMPARE_LENGTH, /* the bytes hang on a value that differs, of a generated key */
    COMPARE_BYTES,
    COMPARE_ATTRIBUTES,
};

#define OUT_ROOM 1024
#define TYPES_MAX 8
#define ATTRIBUTE_ROOM (OUT_ROOM / TYPES_MAX)
#define HANDLES_MAX 32

struct bytes {
    const unsigned char *bytes;
    CK_ULONG len;
};

struct call {
    enum function function;
    const char *subject; /* mechanism, attribute or kind of object: for the table of differences */
    const char *variant; /* what is unusual about it; "" when nothing is */
    enum comparison comparison;
    CK_SESSION_HANDLE session[SIDES];
    CK_OBJECT_HANDLE object[SIDES];
    CK_OBJECT_HANDLE other[SIDES]; /* the key to wrap */
    const CK_MECHANISM *mechanism[SIDES];
    struct bytes in[SIDES];
    struct bytes check[SIDES]; /* signature or PIN */
    struct bytes iv, aad;      /* of a message */
    CK_ULONG tag_len;
    CK_ATTRIBUTE *template;
    CK_ULONG template_count;
    CK_ATTRIBUTE_TYPE types[TYPES_MAX]; /* to be read */
    CK_ULONG type_count;
    CK_ULONG room; /* of the output, as told to the module */
    CK_ULONG cut;  /* the peer gives more, of which these bytes count; 0: it does not */
    bool no_out;   /* a size query */
    bool no_len;
    bool no_handle;  /* nowhere to put a handle */
    CK_ULONG number; /* flags, user type, mechanism type or maximum */
};

struct answer {
    CK_RV rv;
    CK_ULONG len; /* bytes or handles given, or wanted */
    CK_ULONG handle;
    CK_OBJECT_HANDLE handles[HANDLES_MAX];
    CK_ULONG lens[TYPES_MAX];
    unsigned char out[OUT_ROOM];
};

/* Makes the call. False when it wrote behind the room that it was told. */
bool call_run(const struct call *call, enum side side, const struct module *module,
              struct answer *answer);
