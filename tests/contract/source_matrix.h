/*
 * What each source must do with its service: the same cells for all of them, each through
 * C_InitToken and C_Login. A token is made that logs in; then its service, its configuration or its
 * store is broken, which C_Login tells by CKR, ulDeviceError and one line in the log; then it is
 * healed, where it can be, and logs in again. source_matrix.sh runs it for all sources and prints
 * the table.
 *
 * Another run has the acts of a token's administrators: after each one, a process that starts anew
 * decrypts what was written before (source_matrix_custody.c).
 *
 * An adapter is a source at one server. Check forks for each cell: what is to outlive a cell is
 * made by `start`.
 */
#pragma once

#include <signal.h>

#include "tests/contract/kms_fixture.h"

#define MATRIX_DEADLINE_MS 20000 /* servers may share the machine with other tests */
#define MATRIX_SHORT_MS 3000     /* of a deadline that passes */

enum matrix_cell {
    MATRIX_INIT,
    MATRIX_LOGIN,
    MATRIX_CREDENTIAL,
    MATRIX_DENIED,
    MATRIX_DISABLED,
    MATRIX_DELETED,
    MATRIX_ROTATED,
    MATRIX_REWRAPPED, /* no row: after the rotation, where there is one */
    MATRIX_TAMPERED,
    MATRIX_CONTEXT,
    MATRIX_THROTTLED,
    MATRIX_WRONG_CA,
    MATRIX_SLOW,
    MATRIX_UNREACHABLE, /* last: not every server starts again */

    /* No rows: what the token's administrators do, in that order. */
    MATRIX_ROTATE_KEYS,
    MATRIX_REWRAP,
    MATRIX_TOKEN_KEY,
    MATRIX_SHRED,
    MATRIX_SUSPEND,
    MATRIX_RESUME,
    MATRIX_DEACTIVATE,
    MATRIX_DESTROY,
    MATRIX_UNDELETE,
    MATRIX_RESTORE,
    MATRIX_ACTS_END,
};
#define MATRIX_ACTS_BEGIN MATRIX_ROTATE_KEYS

/* Of the token's record in the store. */
enum matrix_change {
    MATRIX_STORE_AS_IS,
    MATRIX_WRAPPED, /* a byte of the wrapped data key */
    MATRIX_WRAPPED_BASE64,
    MATRIX_STORED_CONTEXT, /* as if it had been made under the context that is configured now */
};

struct matrix_row {
    enum matrix_cell cell;
    enum indexkey_cause cause; /* NONE: C_Login succeeds all the same */
    const char *says;          /* in the log line */
    const char *command;       /* to the adapter's fake */
    struct kms_settings with;  /* while it is broken, where they are set; `more` is added */
    /* What `with` cannot say; NULL where that is all. */
    void (*break_it)(struct kms_settings *settings);
    void (*heal)(void);
    enum matrix_change change;
    int changed;         /* that byte, from the end; 8 by default */
    bool stays_broken;   /* nothing after it logs in */
    const char *by_fake; /* in front of a real server: which one answers */
    const char *absent;  /* n/a: why the service has no such thing */
};

struct matrix_adapter {
    const char *name; /* the program's argument */
    const char *source;
    const char *server;
    struct fake_service *fake; /* NULL: a real server or an emulator */
    bool is_for_all;           /* cells; else for the rows alone: another adapter has the rest */
    bool rewraps;              /* and does all the other acts */
    const struct matrix_row *rotation; /* before that; NULL: the row of that cell, if any */
    void (*start)(void);               /* NULL, as stop, where there is nothing to be done */
    void (*stop)(void);
    void (*prepare)(struct kms_settings *settings); /* a key of this cell's own; may be NULL */
    void (*configure)(const struct kms_settings *settings);
    const struct matrix_row *rows;
    size_t row_count;
};

extern const struct matrix_adapter matrix_file;
extern const struct matrix_adapter matrix_env;
extern const struct matrix_adapter matrix_vault;
extern const struct matrix_adapter matrix_ministack;
extern const struct matrix_adapter matrix_moto;
extern const struct matrix_adapter matrix_fake_aws;
extern const struct matrix_adapter matrix_gcp;
extern const struct matrix_adapter matrix_azure;
extern const struct matrix_adapter matrix_kmip;
extern const struct matrix_adapter matrix_hsm;

/* Makes the configured token, with keys, and data under them. `rotates`: the source's key will have
 * a newer version when MATRIX_REWRAP comes. */
void matrix_custody_make(bool rotates);
/* One act, and what the process after it finds. Both are children: the caller does not use the
 * module. */
void matrix_custody_act(enum matrix_cell act);

/* A name that no other cell of the run has: "matrix-7". */
const char *matrix_key_name(void);
/* To the process that tests/servers/lib.sh has started as NAME in that folder. */
void matrix_signal(const char *folder, const char *name, int number);
