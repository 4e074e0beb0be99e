/* The table of faults of test_source_aws.c: what the fake AWS KMS does, and what must come of it.
 */
#pragma once

#include "tests/contract/aws_fixture.h"

/* Requests that reach the server. */
enum { ANY = -1, SEVERAL = -2 };

enum { SOURCE_ONLY = 1, LOGIN_ONLY = 2 };

#define BASE64_32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

struct aws_fault {
    const char *name;
    const char *script[2]; /* commands to the fake */
    enum indexkey_cause cause;
    const char *says; /* in the log line */
    int requests;     /* that reach the server */
    struct aws_settings with;
    const char *certificate; /* the server's */
    int clock_ahead_s;       /* the server's */
    const struct view *context;
    int changed; /* this byte of the wrapped key, from its end; negative: from its begin */
    unsigned int only;
};

extern const struct aws_fault aws_faults[];
extern const size_t aws_fault_count;
