// How often the token was called, and how long its calls took, by kind (--profile).
//
// A clock read on either side of each call: nothing else of the program is in the times. Not for
// several threads.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum profile_call { PROFILE_RANDOM, PROFILE_MAC, PROFILE_SEAL, PROFILE_OPEN, PROFILE_CALL_COUNT };

struct profile_span {
    enum profile_call call;
    uint64_t begin; // nanoseconds; 0: not measured
};

// From here on calls are measured.
void profile_start(void);

// From here to the end of the block is one call.
#define PROFILE_SPAN(call)                                                                        \
    __attribute__((unused, cleanup(profile_end))) struct profile_span profile_span =              \
        profile_begin(call)

struct profile_span profile_begin(enum profile_call call);
void profile_end(const struct profile_span *span);

// One line on stderr for each kind: "profile: seal 1500 calls 2345678 ns". Nothing unless started.
void profile_print(void);
