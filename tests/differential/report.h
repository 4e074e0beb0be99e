/*
 * What was reached and what differed, in memory that the workers share with their parent, which
 * lives on when a peer crashes. Each worker writes a report of its own.
 */
#pragma once

#include "tests/differential/call.h"
#include "tests/differential/differences.h"
#include "tests/differential/specs.h"

#define UNLISTED_MAX 400

struct unlisted {
    struct finding finding;
    unsigned long count;
    unsigned long sequence; /* the first one */
};

struct report {
    unsigned long sequences, calls, ok;
    unsigned long codes[CALL_COUNT][CODES_MAX];
    unsigned long mechanisms[SPECS_MAX];
    unsigned long listed[DIFFERENCES_MAX];
    struct unlisted unlisted[UNLISTED_MAX];
    size_t unlisted_count;
    char folder[64]; /* of the worker's tokens: a crash leaves it */
    /* What is being done: a crash is told from these. */
    unsigned long next; /* sequence */
    bool calling;
    enum side side;
    struct finding current;
};

void report_difference(struct report *report, const struct finding *finding,
                       unsigned long sequence);
void report_merge(struct report *all, const struct report *one);
/* Prints it all; true when nothing is wrong. */
bool report_print(const struct report *report);
void finding_print(const struct finding *finding);
