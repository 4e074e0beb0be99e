/*
 * Why a command failed: an exit code, a CKR, a cause, and one line of text.
 *
 * The text is the line that the module logged where the failure arose, since that names cause and
 * remedy; the tool's own words where there is none. The state is the process's: one command runs.
 */
#pragma once

#include "base/cause.h"
#include "base/rv.h"

/* Fixed: scripts test them, and indexkey(1) lists them. */
enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILED = 1,      /* none of the below */
    EXIT_CODE_USAGE = 2,       /* the command line */
    EXIT_CODE_REFUSED = 3,     /* PIN, policy, the key's state, or the source said no */
    EXIT_CODE_UNREACHABLE = 4, /* source or store do not answer now: try again */
    EXIT_CODE_TAMPERED = 5,    /* what is stored was changed */
    EXIT_CODE_NOT_FOUND = 6,   /* no such configuration, token, key or file */
    EXIT_CODE_CONFIG = 7,      /* the configuration is wrong, or another than the token's */
};

/* From now on the module's error lines of this thread are kept here: the last one is why a call
 * failed; those before it, and all when nothing fails, are shown as warnings on stderr. */
void failure_watch(void);

/* Takes the place of failure_watch for a while: each line to `take`; NULL: back to it. */
void failure_divert(void (*take)(void *context, const char *text), void *context);

/* The tool's own words. Returns CKR_FUNCTION_FAILED, so that `return FAIL_TOOL(…)` reads as one
 * act. */
#define FAIL_TOOL(exit, ...) (failure_set(exit, __VA_ARGS__), (CK_RV) CKR_FUNCTION_FAILED)
void failure_set(enum exit_code exit, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A call failed: its line if the module logged one, else the call's name and the CKR. Returns `rv`.
 * CKR_OK is nothing. */
CK_RV failure_of(CK_RV rv, enum indexkey_cause cause, const char *call);

enum exit_code failure_exit_code(CK_RV rv, enum indexkey_cause cause);
/* "CKR_PIN_INCORRECT"; a number in hexadecimal where there is no name. `buffer` has 32 bytes. */
const char *failure_rv_name(CK_RV rv, char buffer[32]);

/* What failed last. Valid until the next failure. */
struct failure {
    enum exit_code exit;
    CK_RV rv;                  /* CKR_OK: the tool's own finding */
    enum indexkey_cause cause; /* CAUSE_NONE: none is known */
    const char *text;
};
const struct failure *failure_last(void);

/* Kept lines that explained no failure: to stderr, as warnings. */
void failure_show_warnings(void);
