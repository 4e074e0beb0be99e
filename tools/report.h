/*
 * The findings of `indexkey check`: a line each, ok, warn or fail; a fail says what to do.
 */
#pragma once

#include "tools/command.h"

#define REPORT_LINES_MAX 256 /* of the module's log, told once each */

enum report_result { REPORT_OK, REPORT_WARN, REPORT_FAIL };

struct report {
    struct run *run;
    char *told[REPORT_LINES_MAX];
    size_t told_count;
    const char *subject; /* "configuration", or the token's section; while lines are taken */
};

/* Opens the list in the run's document. */
void report_begin(struct report *report, struct run *run);
void report_end(struct report *report);

/* `check` is one word. The first fail's code becomes the command's. */
void report_ok(struct report *report, const char *check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void report_warn(struct report *report, const char *check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void report_fail(struct report *report, const char *check, enum exit_code exit, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

/* For failure_divert: a line of the module's log about the configuration, unless it was told. */
void report_take_line(void *report, const char *text);
/* What failure.h has of a call that failed, unless that line was told. */
void report_failure(struct report *report, const char *check);
