/*
 * The tables of the states test: what the calls are, which paths lead to the states, how the states
 * are told apart, and what is expected of each call in each of them.
 */
#pragma once

#include "tests/api/state_machine.h"

enum machine_function { FUNCTION_OTHER, FUNCTION_ONCE, FUNCTION_UPDATE, FUNCTION_FINAL };
enum machine_variant {
    VARIANT_GOOD,
    VARIANT_QUERY,    /* a NULL output */
    VARIANT_SMALL,    /* one byte less than needed; a signature one byte too short */
    VARIANT_NO_LEN,   /* a NULL length; a NULL signature */
    VARIANT_NO_INPUT, /* NULL with a length */
    VARIANT_NOTHING,  /* no bytes */
    VARIANT_BAD,      /* data or a signature that is refused */
};

struct machine_line {
    const char *name;
    unsigned int traits; /* of the rows that have it */
    enum machine_function function;
    enum machine_variant variant;
};

struct machine_rule {
    unsigned long calls; /* BIT(CALL_...) */
    unsigned int phases;
    unsigned int traits;
    CK_RV rv;
    enum machine_phase after;
    const char *section; /* of PKCS #11 3.x */
};
#define BIT(call) (1UL << (call))
/* In a rule's rv: what the row says. */
#define RV_OF_BAD_DATA (CKR_VENDOR_DEFINED | 1UL)
#define RV_OF_EMPTY_FINAL (CKR_VENDOR_DEFINED | 2UL)

/* A state is told by calls. Where it has two rows, each cell runs twice. */
struct machine_probe {
    enum machine_phase phase;
    unsigned int traits;
    enum machine_call calls[MACHINE_PATH + 1];
};

extern const struct machine_line machine_lines[CALLS];
extern const enum machine_call machine_paths[][MACHINE_PATH + 1];
extern const size_t machine_path_count;
extern const struct machine_probe machine_probes[];
extern const size_t machine_probe_count;

/* The first rule for the call in the phase; fails when there is none. */
const struct machine_rule *rules_find(enum machine_call call, enum machine_phase phase,
                                      unsigned int traits);
