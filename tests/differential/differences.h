/*
 * The known differences between the module under test and its peers: what may differ, and the
 * paragraph of the standard that decides it. A difference that is not here fails the test.
 */
#pragma once

#include "tests/differential/call.h"

enum what { WHAT_CODE, WHAT_LENGTH, WHAT_BYTES, WHAT_CRASH };

struct finding {
    enum peer peer;
    enum function function;
    const char *subject;
    const char *variant;
    enum what what;
    CK_RV ours;
    CK_RV theirs;
};

#define ANY_PEER PEERS

/* Texts are patterns of fnmatch(3). */
struct difference {
    const char *name; /* unique, as in docs/conformance-differences.md */
    int peer;         /* or ANY_PEER */
    const char *functions;
    const char *subject;
    const char *variant;
    enum what what;
    const char *ours; /* the code's name */
    const char *theirs;
    const char *reason;
    const char *paragraph; /* of PKCS #11 3.2, unless it says otherwise */
};

#define DIFFERENCES_MAX 200

extern const struct difference differences[];
extern const size_t differences_count;

bool difference_find(const struct finding *finding, size_t *ret_place);
/* Whether the page (docs/conformance-differences.md) has a line for each; prints what it has not.
 */
bool differences_are_told(const char *page);
