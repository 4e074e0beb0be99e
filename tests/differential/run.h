/*
 * One sequence of calls: what it knows of the state that both sides are in. The knowledge makes
 * most calls sensible; it decides nothing about what is right.
 */
#pragma once

#include "tests/differential/parameters.h"
#include "tests/differential/prng.h"
#include "tests/differential/report.h"

#define SESSIONS_MAX 3
#define OBJECTS_MAX 16
#define MESSAGES_MAX 8
#define TEXT_MAX 320

enum operation_kind { KIND_ENCRYPT, KIND_DECRYPT, KIND_DIGEST, KIND_SIGN, KIND_VERIFY, KINDS };

struct object {
    bool used;
    CK_OBJECT_HANDLE handle[SIDES];
    const struct session *owner; /* NULL: a token object */
    enum role role;
    CK_KEY_TYPE type;
    CK_ULONG len;
    bool known; /* same value on both sides */
    bool sensitive;
    bool extractable;
    const char *origin; /* "created", … */
    unsigned long serial;
};

/* A text and what it was sealed or signed to. */
struct message {
    bool used;
    const struct spec *spec;
    struct object *key;
    unsigned long key_serial;
    struct parameters parameters;
    unsigned char text[TEXT_MAX];
    CK_ULONG text_len;
    unsigned char sealed[SIDES][TEXT_MAX];
    CK_ULONG sealed_len;
    bool tampered;
};

struct operation {
    bool active;
    bool parts;             /* an update was made */
    struct message message; /* what it does; an input is used up to `fed` */
    CK_ULONG fed;
    bool queried; /* the size was asked for */
};

struct session {
    bool open;
    CK_SESSION_HANDLE handle[SIDES];
    struct operation operations[KINDS];
    bool failed[KINDS]; /* the last operation ended with an error */
};

/* Its value may be read. */
static inline bool object_is_readable(const struct object *object)
{
    return !object->sensitive && object->extractable;
}

/* "AES key", "data", …: for the table of differences. */
const char *object_kind(const struct object *object);

struct run {
    enum peer peer;
    const struct module *modules[SIDES];
    const struct common *common; /* of the peer, by use: COMMON_* */
    struct report *report;
    bool trace;
    unsigned long sequence;
    unsigned long calls;
    struct prng prng;
    bool ended;
    bool refused; /* an object was refused: SoftHSM keeps what it had of it */
    unsigned long serial;
    struct session sessions[SESSIONS_MAX];
    struct object objects[OBJECTS_MAX];
    struct message messages[MESSAGES_MAX];
};

enum {
    COMMON_DIGEST,
    COMMON_MAC,
    COMMON_CIPHER,
    COMMON_WRAP,
    COMMON_DERIVE,
    COMMON_GENERATE,
    COMMONS
};

enum step {
    STEP_OK,      /* CKR_OK on both sides, outputs the same */
    STEP_REFUSED, /* the same other code on both sides */
    STEP_APART,   /* a difference; noted, and both sides are in step again or the sequence ends */
};

/* A call on the session, without other arguments. */
struct call run_call(enum function function, const struct session *session);
enum step run_exchange(struct run *run, const struct call *call, struct answer answers[SIDES]);

struct session *run_session(struct run *run);
/* NULL when there is none. */
struct object *run_object(struct run *run, bool (*fits)(const struct object *object));
struct object *run_add_object(struct run *run, const struct object *object);
void run_forget_object(struct object *object);
struct message *run_add_message(struct run *run, const struct message *message);
struct message *run_message(struct run *run, CK_FLAGS use);
void run_forget_session(struct run *run, struct session *session);
const struct spec *run_spec(struct run *run, int common);
void run_note_mechanism(struct run *run, const struct spec *spec);

/* calls_*.c: one step of a sequence each; most are one call, some a few that belong together. */
void session_step(struct run *run);
void login_sequence(struct run *run);
void object_step(struct run *run);
void search_step(struct run *run);
void attribute_step(struct run *run);
void crypt_step(struct run *run);
void mac_step(struct run *run);
void digest_step(struct run *run);
void derive_step(struct run *run);
void wrap_step(struct run *run);
void generate_step(struct run *run);
void null_step(struct run *run);
void dual_step(struct run *run);
void message_step(struct run *run);

/* An object that may be used for the role: an existing one, or a new one. NULL: it failed. */
struct object *key_for(struct run *run, enum role role);
/* The object that a call made. */
struct object *key_add(struct run *run, const struct object *object,
                       const struct answer answers[SIDES]);
/* Reads what was derived or unwrapped, most of the time. */
void key_read_value(struct run *run, const struct session *session, const struct object *object);
void open_session(struct run *run, CK_FLAGS flags);
/* Session handle of no session, or a closed one's. */
void spoil_session(struct run *run, struct call *call);
