/*
 * A token with direct keys, on a source that a test scripts key by key: the ciphertext `vault:N` is
 * the fake key N; everything else goes to the token's own source (file). On top of token_fixture.h.
 */
#pragma once

#include "tests/support/token_fixture.h"

#define FAKE_KEYS 64
#define DIRECT_DEADLINE_MS 2000

/* What the source does with one fake key. */
struct fake_key {
    _Atomic int cause;    /* an enum indexkey_cause; NONE: it opens */
    _Atomic int delay_ms; /* ends early when the call is cancelled */
    _Atomic int seed;     /* every byte of the value */
    _Atomic int len;
    _Atomic int calls;
    _Atomic int deadline_ms; /* what was left to the last call when it came */
    _Atomic int context_len; /* of the last call */
    _Atomic int credential_len;
};

extern struct fake_key fake_keys[FAKE_KEYS];
/* Calls for fake keys that run now, the most so far, and all. Calls for the data key. */
extern _Atomic int fake_running, fake_running_most, fake_calls, fake_data_key_calls;

/* A token that is initialised, with these [key] sections. The scripts are new. */
struct custody *direct_token(const char *more, const char *key_sections, bool may_create_threads);
/* Sections [key k0] … on the fake keys 0 to count - 1; valid until the next call. */
const char *direct_sections(int count);
/* The sections' text is bad: what the reader says is in the log, and how many are good is returned.
 */
size_t direct_good_sections(const char *key_sections);

/* The bytes of key `index`, or len 0 when it is not open or was taken before. */
struct secret direct_value(struct custody *custody, size_t index);
bool direct_is_open(struct custody *custody, size_t index);
void direct_tick(struct custody *custody);

/* Wrapped by the token's own source; `context` is canonical. */
void direct_wrap(struct custody *custody, struct view context, struct view value,
                 struct blob *ret_wrapped);
