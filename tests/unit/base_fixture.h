/*
 * What the unit tests of base/ share: a log that is caught, children that are awaited, the runner.
 */
#pragma once

#include <check.h>
#include <stdbool.h>
#include <stddef.h>

#define COUNT_OF(rows) (sizeof(rows) / sizeof(rows)[0])

/* Log lines since fixture_catch_log, joined by newlines; "" when there are none. Fixture functions
 * are for one thread. */
void fixture_catch_log(void);
const char *fixture_log(void);

/* Runs `body` in a forked child and answers the wait status. The child exits with what body
 * returns. */
int fixture_in_child(int (*body)(void *context), void *context);
/* The child died of a bad access: SIGSEGV or SIGBUS. */
bool fixture_died_of_access(int status);

/* 0 when every case passed. */
int fixture_run(const char *name, TCase *cases);
