/* The attacker's steps: one call (or Init and call) each. */
#pragma once

#include "tests/attacks/world.h"

enum step_kind {
    STEP_CREATE,
    STEP_GENERATE,
    STEP_DERIVE,
    STEP_COPY,
    STEP_SET,
    STEP_ENCRYPT,
    STEP_DECRYPT,
    STEP_SIGN,
    STEP_WRAP,
    STEP_UNWRAP,
    STEP_KINDS
};

struct step {
    unsigned char kind;
    unsigned char way;   /* of the mechanism */
    unsigned char shape; /* of the template */
    unsigned char key;
    unsigned char other; /* a second key, or the fact that is decrypted or unwrapped */
};

#define STEPS_MAX 20000

/* All steps that a world allows by its keys and facts, whether the module allows them or not;
 * those only whose new key, if any, `remaining` more steps could still use. */
size_t steps_list(const struct world *world, size_t remaining, struct step *ret_steps);

/* The same for two steps that the module must answer alike, as far as it refuses: the same call
 * with keys that look the same, and the same bytes. */
uint64_t step_number(const struct world *world, const struct step *step);

/* Makes the call. True when it succeeded. */
bool step_take(struct world *world, const struct step *step);

/* After a step that was refused: the keys of later ones keep their numbers. */
void step_leave_out(struct world *world, const struct step *step);

/* True when an undo cannot take it back. */
bool step_changes_key(const struct step *step);

void step_describe(const struct step *step, char *text, size_t size);
