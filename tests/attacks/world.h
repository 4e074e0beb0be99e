/*
 * What an attacker has at one point of a sequence: keys on the token, and bytes that calls gave
 * out.
 *
 * The keys are real ones of the module, made by real calls. Each has a term, a number that stands
 * for how its value came to be, so that two sequences which lead to the same keys are known to be
 * the same. What the attacker does not see (values, the family of a key) is read past the API, to
 * compute the search's answers exactly.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/attacks/shapes.h"
#include "tests/support/api_fixture.h"

#define DEPTH_MAX 5
#define KEYS_MAX (3 + DEPTH_MAX)
#define FACTS_MAX 48
#define FACT_LEN_MAX 96

struct world_key {
    CK_OBJECT_HANDLE handle;
    uint64_t term;
    uint64_t looks; /* of its attributes and family, as numbers that can be compared */
    uint64_t flags; /* by FLAG_BIT */
    CK_KEY_TYPE type;
    CK_MECHANISM_TYPE allows; /* the only one allowed; 0: several, or not said */
    unsigned char value[FACT_LEN_MAX];
    size_t value_len;
    unsigned int family;
    size_t hidden_len; /* bytes of the value, at most, that the attacker would have to find */
    bool of_target;
    bool is_known;      /* made of what the attacker knows */
    bool is_reimported; /* it was wrapped, and unwrapped with the attacker's attributes */
    bool is_unused;     /* no step has needed it yet */
    bool is_data;
    bool is_given;  /* data that the configuration lets out (hkdf_data_info) */
    bool has_list;  /* CKA_ALLOWED_MECHANISMS */
    bool is_posing; /* a token key under a subkey's label */
};

enum fact_kind { FACT_READ, FACT_CHECK_VALUE, FACT_DIGEST, FACT_OUTPUT, FACT_BLOB, FACT_GCM };

struct fact {
    enum fact_kind kind;
    uint64_t term;
    size_t key; /* that gave it */
    unsigned char bytes[FACT_LEN_MAX];
    size_t len;
    unsigned char iv[12]; /* under which it was made, where there is one */
};

struct target;

struct world {
    struct api *api;
    const struct target *target;
    struct world_key keys[KEYS_MAX];
    size_t key_count;
    struct fact facts[FACTS_MAX];
    size_t fact_count;
    bool has_touched;  /* a step has worked on what comes from the target */
    bool has_observed; /* a step has encrypted or signed */
    const char *hit;   /* what the last step has shown by itself; NULL: nothing */
};

/* The starting key. Every target is made by C_CreateObject, or by C_GenerateKey without `value`. */
struct target {
    const char *name;
    struct shape shape;
    bool is_refused; /* by the policy: the search runs with a rule switched off only */
    bool has_subkeys;
    bool extract_key; /* the configuration offers CKM_EXTRACT_KEY_FROM_KEY */
};

/* Both end the test when they fail. */
void world_open(struct api *api);
void world_close(struct api *api);

/* Makes the target. CKR_OK, or how it was refused. */
CK_RV world_start(struct world *world, struct api *api, const struct target *target);
/* Destroys all keys. */
void world_end(struct world *world);

/* A new key that a step has made; `term` names its value. The attacker reads what can be read. */
struct world_key *world_add_key(struct world *world, CK_OBJECT_HANDLE handle, uint64_t term);
/* What is known already is not added again. */
struct fact *world_add_fact(struct world *world, enum fact_kind kind, size_t key, uint64_t term,
                            struct view bytes);
/* After a step: attributes and families anew, and everything that can be read without one. */
void world_look(struct world *world, size_t key);

/* Back to how the world was before a step that did not change attributes. */
void world_undo(struct world *world, const struct world *before);

/* The same for two worlds with the same keys and facts. */
uint64_t world_number(const struct world *world);

uint64_t term_mix(uint64_t term, uint64_t more);
