/*
 * A model of an operation's states beside the real one: each call that the machine makes has a rule
 * (state_rules.c) that names its return value and the state after it, for the state that it finds.
 * A state of the test is a path, a list of calls; a cell is a path, one more call, and then a
 * probe: the calls that tell the states apart, and which bring the operation to an end whose output
 * is compared with what one call gives for the same data.
 *
 * Everything fails the running Check test. One thread.
 */
#pragma once

#include <stddef.h>

#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MACHINE_BYTES 512
#define MACHINE_PATH 5
#define MACHINE_CANARY 0xa5 /* in buffers, where nothing is to be written */

/* What rules and calls are about: one kind, and what else sets a row apart. */
enum machine_trait {
    TRAIT_ENCRYPT = 1 << 0,
    TRAIT_DECRYPT = 1 << 1,
    TRAIT_DIGEST = 1 << 2,
    TRAIT_SIGN = 1 << 3,
    TRAIT_VERIFY = 1 << 4,
    TRAIT_VERIFY_SIGNATURE = 1 << 5,
    TRAIT_FIND = 1 << 6,
    TRAIT_MESSAGE_ENCRYPT = 1 << 7,
    TRAIT_MESSAGE_DECRYPT = 1 << 8,
    TRAIT_MESSAGE_SIGN = 1 << 9,
    TRAIT_MESSAGE_VERIFY = 1 << 10,
    TRAIT_COLLECTS = 1 << 16,     /* gives nothing out before the end */
    TRAIT_REFUSES_DATA = 1 << 17, /* some inputs are refused: the row's `bad` */
    TRAIT_NOTHING_OUT = 1 << 18,  /* of a call: it gives nothing out, so no buffer is too small */
    TRAIT_LOGGED_OUT = 1 << 19,   /* of the machine, for now */
    TRAIT_HAS_SAVED = 1 << 20,    /* of the machine: C_GetOperationState has given something */
};
#define TRAITS_CRYPT (TRAIT_ENCRYPT | TRAIT_DECRYPT)
#define TRAITS_VERIFY (TRAIT_VERIFY | TRAIT_VERIFY_SIGNATURE)
#define TRAITS_STREAM (TRAITS_CRYPT | TRAIT_DIGEST | TRAIT_SIGN | TRAITS_VERIFY)
#define TRAITS_MESSAGE_CRYPT (TRAIT_MESSAGE_ENCRYPT | TRAIT_MESSAGE_DECRYPT)
#define TRAITS_MESSAGE (TRAITS_MESSAGE_CRYPT | TRAIT_MESSAGE_SIGN | TRAIT_MESSAGE_VERIFY)
/* Those that hold a key. */
#define TRAITS_KEY (TRAITS_CRYPT | TRAIT_SIGN | TRAITS_VERIFY | TRAITS_MESSAGE)
/* Those that give nothing out but their return value. */
#define TRAITS_CHECK (TRAITS_VERIFY | TRAIT_MESSAGE_VERIFY)
/* Where the signature is an argument of the last call. */
#define TRAITS_SIGNATURE (TRAIT_VERIFY | TRAIT_MESSAGE_VERIFY)
#define TRAITS_OUTPUT_IN_PARTS (TRAITS_CRYPT | TRAITS_MESSAGE_CRYPT)
#define TRAITS_OUTPUT                                                                              \
    (TRAITS_CRYPT | TRAIT_DIGEST | TRAIT_SIGN | TRAITS_MESSAGE_CRYPT | TRAIT_MESSAGE_SIGN)
#define TRAITS_ALL (TRAITS_STREAM | TRAIT_FIND | TRAITS_MESSAGE)

enum machine_phase {
    PHASE_IDLE = 1 << 0,
    PHASE_STARTED = 1 << 1, /* for messages: between two */
    PHASE_PARTS = 1 << 2,   /* for messages: one was begun */
    PHASE_KEYLESS = 1 << 3, /* idle, and the key is gone */
    PHASE_CLOSED = 1 << 4,  /* the session is */
    PHASE_SAME = 1 << 5,    /* in a rule: as before the call */
    PHASE_SAVED = 1 << 6,   /* in a rule: as it was when it was saved */
};
#define PHASES_ACTIVE (PHASE_STARTED | PHASE_PARTS)
#define PHASES_OVER (PHASE_IDLE | PHASE_KEYLESS)
#define PHASES_LIVE (PHASES_ACTIVE | PHASES_OVER)

enum machine_call {
    CALL_NONE, /* ends a path */
    CALL_INIT,
    CALL_INIT_CANCEL,    /* a NULL mechanism */
    CALL_INIT_PARAMETER, /* a wrong parameter */
    CALL_INIT_KEY,       /* a handle that never was */
    CALL_INIT_MECHANISM, /* an unknown mechanism */
    CALL_INIT_INPUT,     /* a NULL template of one attribute, a NULL signature */
    CALL_INIT_SMALL,     /* a signature one byte short */
    CALL_ONCE,
    CALL_ONCE_QUERY,
    CALL_ONCE_SMALL,
    CALL_ONCE_NO_LEN,
    CALL_ONCE_NO_INPUT,
    CALL_ONCE_BAD,
    CALL_BEGIN, /* messages only */
    CALL_BEGIN_PARAMETER,
    CALL_UPDATE,
    CALL_UPDATE_QUERY,
    CALL_UPDATE_SMALL,
    CALL_UPDATE_NO_LEN,
    CALL_UPDATE_NO_INPUT,
    CALL_UPDATE_NOTHING,
    CALL_KEY, /* C_DigestKey */
    CALL_KEY_BAD,
    CALL_FINAL, /* of an operation, or the last part of a message */
    CALL_FINAL_QUERY,
    CALL_FINAL_SMALL,
    CALL_FINAL_NO_LEN,
    CALL_FINAL_BAD,
    CALL_END,           /* C_Message*Final */
    CALL_CANCEL,        /* C_SessionCancel with the operation's flag */
    CALL_CANCEL_OTHERS, /* with every other flag */
    CALL_OTHERS,        /* operations of the other kinds, begun and finished in between */
    CALL_OTHERS_IDLE,   /* functions of other kinds, of which none was begun */
    CALL_LOGOUT,
    CALL_DESTROY,     /* of its key, by another session */
    CALL_CLOSE_OWNER, /* the session that its key belongs to */
    CALL_SAVE,        /* C_GetOperationState */
    CALL_SAVE_QUERY,
    CALL_SAVE_SMALL,
    CALL_SAVE_NO_LEN,
    CALL_RESTORE, /* C_SetOperationState, with what was saved last in the cell */
    CALL_CLOSE,
    CALLS
};

/* What a call gives and wants. Verifying calls find the signature in out and out_len, those of
 * C_VerifySignature at the init. */
struct machine_args {
    CK_BYTE *in;
    CK_ULONG in_len;
    CK_BYTE *out;
    CK_ULONG *out_len;
};

/* The functions of a kind. */
struct machine_driver {
    CK_FLAGS cancel_flag; /* of C_SessionCancel */
    CK_RV(*init)
    (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
     const struct machine_args *args);
    CK_RV (*once)(CK_SESSION_HANDLE session, const struct machine_args *args);
    CK_RV (*begin)(CK_SESSION_HANDLE session, bool with_parameter);
    CK_RV (*update)(CK_SESSION_HANDLE session, const struct machine_args *args);
    CK_RV (*final)(CK_SESSION_HANDLE session, const struct machine_args *args);
    CK_RV (*end)(CK_SESSION_HANDLE session);
    /* What a finished message leaves outside its output (the tag); returns its length. NULL: none.
     */
    CK_ULONG (*tail)(CK_BYTE *out);
};

/* One operation with one mechanism. */
struct machine_row {
    const char *name;
    unsigned int traits;
    const struct machine_driver *driver;
    CK_MECHANISM mechanism;
    CK_FLAGS flag; /* that C_GetMechanismInfo shows; 0: not asked */
    CK_KEY_TYPE key_type;
    CK_ULONG text_len;  /* plaintext, or what is digested */
    CK_ULONG part_len;  /* of all parts but the last */
    CK_ULONG once_len;  /* of its output, as a size query says it */
    CK_ULONG first_len; /* of the output of the first part, and of the next ones */
    CK_ULONG next_len;
    CK_ULONG final_len; /* of the last call's output, as a size query says it after a part */
    CK_ULONG empty_len; /* and directly after C_*Init */
    CK_RV bad;          /* for wrong data; with TRAIT_REFUSES_DATA */
    bool bad_is_length; /* one byte less, not one bit flipped */
    CK_RV empty_final;  /* C_*Final directly after C_*Init */
};

#define MACHINE_SAVED 128

/* What C_GetOperationState gave, and the state that it stands for. */
struct machine_saved {
    CK_BYTE bytes[MACHINE_SAVED];
    CK_ULONG len; /* 0: nothing */
    enum machine_phase phase;
    CK_ULONG taken;
    CK_BYTE fed[MACHINE_BYTES];
    CK_ULONG fed_len;
};

struct machine {
    const struct machine_row *row;
    CK_SESSION_HANDLE session; /* of the operation under test */
    CK_SESSION_HANDLE other;   /* owns the keys; makes the references */
    CK_OBJECT_HANDLE key;      /* 0: to be made again */
    bool logged_out;
    bool key_is_gone;
    enum machine_phase phase;
    CK_BYTE plain[MACHINE_BYTES]; /* what must not come out of a refused decryption */
    CK_BYTE text[MACHINE_BYTES];  /* the input of the operation */
    CK_ULONG text_len;
    CK_ULONG taken;             /* of the text, so far */
    CK_BYTE fed[MACHINE_BYTES]; /* what was given so far */
    CK_ULONG fed_len;
    CK_BYTE produced[MACHINE_BYTES];
    CK_ULONG produced_len;
    struct machine_saved saved;
    char trace[256]; /* the calls so far, for failures */
};

/* Makes the sessions, the key and the input. The token is open. */
void machine_open(struct machine *machine, const struct machine_row *row);
/* Runs every cell of the row. Returns how many. */
size_t machine_run(struct machine *machine);

/* The pieces of machine_run, for a test that puts two operations into one session. */
void machine_begin(struct machine *machine);
void machine_end(struct machine *machine);
/* In the session of the first, which outlasts it. */
void machine_begin_beside(struct machine *machine, const struct machine *first);
void machine_end_beside(struct machine *machine);
void machine_step(struct machine *machine, enum machine_call call);
/* What the call, which another machine made in the same session, means for this one. */
void machine_follow(struct machine *machine, enum machine_call call);
/* The probe of this number for the machine's phase; false when there is none. */
bool machine_probe(struct machine *machine, size_t number);
void machine_enter(struct machine *machine, enum machine_phase phase);
/* Notes data that came in and went out beside machine_step, and a word for the trace. */
void machine_feed(struct machine *machine, const CK_BYTE *bytes, CK_ULONG len);
void machine_produce(struct machine *machine, const CK_BYTE *bytes, CK_ULONG len);
void machine_note(struct machine *machine, const char *text);
/* What an update with in_len bytes gives out now. */
CK_ULONG machine_update_len(const struct machine *machine, CK_ULONG in_len);
void machine_mismatch(const struct machine *machine, const char *what, unsigned long got,
                      unsigned long wanted, const char *section);
