/*
 * Audit logs for tests: a writer with a token key of its own, the lines of its file, and what a
 * verification finds in them. On top of token_fixture.h; for one thread.
 */
#pragma once

#include "tests/support/token_fixture.h"
#include "tokens/audit.h"
#include "tokens/audit_verify.h"

/* With fixture_setup and fixture_teardown in them; the token key is the same in each process of a
 * test. */
void audit_fixture_setup(void);
void audit_fixture_teardown(void);
/* In the child of a fork, first of all: the parent's secrets are not mapped there. */
void audit_fixture_in_child(void);

/* 0 when every case passed. The cases have added their fixtures. */
int audit_fixture_run(const char *name, TCase *cases);

#define AUDIT_FIXTURE_SERIAL ((const unsigned char *) "serial-8")
const struct secret *audit_fixture_token_key(void);

/* A writer to the file audit.jsonl in the fixture's folder, with `more` lines of configuration. */
struct audit *audit_fixture_open(const char *more);
const char *audit_fixture_path(void);

/* Unlocks and logs in as the user. */
void audit_fixture_login(struct audit *audit);
void audit_fixture_logout(struct audit *audit);
CK_RV audit_fixture_write(struct audit *audit, const char *event, const char *label);

/* ---- a log in memory, to be tampered with ---- */

#define AUDIT_LINES_MAX 4096

struct audit_text {
    char *lines[AUDIT_LINES_MAX]; /* without newlines; allocated */
    size_t count;
};

void audit_text_read(struct audit_text *text, const char *path);
void audit_text_clear(struct audit_text *text);
void audit_text_drop(struct audit_text *text, size_t index);
/* `line` is copied. */
void audit_text_insert(struct audit_text *text, size_t index, const char *line);
void audit_text_swap(struct audit_text *text, size_t a, size_t b);
/* The first occurrence in a line, by a text of the same length. */
void audit_text_edit(struct audit_text *text, size_t index, const char *from, const char *to);
/* The first line from `start` with this event; fails the test when there is none. */
size_t audit_text_find(const struct audit_text *text, size_t start, const char *event);
/* What an attacker without keys can do: computes `prev` and `above` of all lines anew. */
void audit_text_rehash(struct audit_text *text);

/* What a verification found. */
struct audit_findings {
    struct audit_verdict verdict;
    size_t counts[AUDIT_UNPROVED + 1];
    char all[16384]; /* for messages: "file:line kind: text" */
};

struct audit_proof {
    const char *head; /* NULL: none */
    bool with_mac;
    bool with_other_key;
};

void audit_text_verify(const struct audit_text *text, const struct audit_proof *proof,
                       struct audit_findings *ret_findings);
/* Several files, by path. */
void audit_files_verify(const char *const *paths, size_t count, const struct audit_proof *proof,
                        struct audit_findings *ret_findings);
