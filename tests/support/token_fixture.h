/*
 * For the tests of tokens/: a folder with a root key file, custodies that are configured by text,
 * the log, and a source that fails on demand. For one thread, except where a comment says
 * otherwise.
 */
#pragma once

#include <check.h>
#include <stdatomic.h>

#include "tokens/custody_internal.h"

#define COUNT_OF(rows) (sizeof(rows) / sizeof((rows)[0]))

#define FIXTURE_SO_PIN "so-12345"
#define FIXTURE_PIN "user-6789"

/* "base64 of 32 bytes", as openssl rand -base64 32 prints it. */
extern const char fixture_root_key[];
extern const char fixture_other_root_key[];

/* Checked fixtures: OpenSSL, a fresh folder with root.key, an empty log; at the end nothing may be
 * left in secret memory, and the folder goes. */
void fixture_setup(void);
void fixture_teardown(void);

/* The path of a name in the folder; valid until the next call but three. */
const char *fixture_path(const char *name);
void fixture_write(const char *name, const char *text, unsigned int mode);
void fixture_remove(const char *name);

/* Any thread may log. */
void fixture_forget_log(void);
const char *fixture_log(void);
size_t fixture_log_count(void);

/* Both kinds of store, for loop tests: "memory:" and "sqlite:" in the folder. */
#define FIXTURE_STORE_COUNT 2
const char *fixture_store(int index);

/* A token with that store and `more` lines of configuration; "" for none. */
CK_RV fixture_try_open(const char *store, const char *more, struct custody **ret_custody);
struct custody *fixture_open(const char *store, const char *more);
/* The same, initialised, with the user's PIN set. */
struct custody *fixture_token(const char *store, const char *more);
void fixture_init_token(struct custody *custody);
void fixture_login_user(struct custody *custody);

/* Stands before a custody's own source. */
struct fixture_source {
    struct source base;
    struct source_ops ops;
    struct source *inner;
    _Atomic int fails_with;   /* an enum indexkey_cause, by when a call begins; NONE: it works */
    _Atomic int delay_ms;     /* each unwrap takes that long */
    _Atomic int unwrap_count; /* calls so far */
    char credential[64];      /* the last one that came */
};

struct fixture_source *fixture_interpose(struct custody *custody);

/* 0 when every case passed. Each case gets the fixtures. */
int fixture_run(const char *name, TCase *cases);
