/*
 * One connection to PostgreSQL: statements are sent in pipelines and their results collected, each
 * wait bounded. For the session above it (tokens/postgres_session.h).
 *
 * Used by one thread at a time. Nothing process-wide is set: with OpenSSL 1.1 and later libpq needs
 * no initialisation, and the host may use libpq too. A connection is made in a thread of
 * tokens/apart.h, because a name's resolution takes no deadline.
 *
 * Two results never leave the store and are not logged here; `why` tells the reason.
 */
#pragma once

#include "tokens/postgres_place.h"
#include "tokens/postgres_value.h"

/* The connection is gone or does not answer; it is to be closed, and another may do. */
#define POSTGRES_LOST ((CK_RV) (CKR_VENDOR_DEFINED | 0x1D0004UL))
/* The server said no; `state` is its SQLSTATE, empty where a connection was refused. */
#define POSTGRES_REFUSED ((CK_RV) (CKR_VENDOR_DEFINED | 0x1D0005UL))

/* The longest silence of a server at work, and of one that lets us wait for a turn, which its own
 * lock_timeout (tokens/postgres_session.c) ends before. */
#define POSTGRES_SILENCE_MS 5000
#define POSTGRES_TURN_MS 25000
/* The longest that one pipeline takes, however slowly the server goes on. */
#define POSTGRES_TOTAL_MS 120000

struct postgres_link {
    PGconn *conn; /* NULL: closed */
    char state[6];
    char why[256];
};

struct postgres_statement {
    const char *name; /* as it was prepared, or NULL: sent as it is */
    const char *sql;
};

/* Sees each result in turn: rows or a command that is done. */
typedef CK_RV postgres_result_fn(void *context, const PGresult *result);

CK_RV postgres_link_connect(struct postgres_link *link, const char *rest);
/* Tells the server so, if it still listens; never waits. */
void postgres_link_close(struct postgres_link *link);
/* In the child of a fork: the parent's connection sees nothing of it. */
void postgres_link_abandon(struct postgres_link *link);

/* Into the pipeline, with binary parameters and results; nothing is waited for. */
CK_RV postgres_link_send(struct postgres_link *link, const struct postgres_statement *statement,
                         const struct postgres_params *params);
CK_RV postgres_link_prepare(struct postgres_link *link, const struct postgres_statement *statement);
/* Of the statement that was sent last: its rows come one by one. */
void postgres_link_stream(struct postgres_link *link);

struct postgres_collecting {
    postgres_result_fn *each;
    void *context;
    int64_t silence_ms;
};

/* Ends the pipeline and hands over its results (`each` may be NULL). The first failure, of the
 * server or of `each`, is what it returns; what comes after it is dropped. */
CK_RV postgres_link_collect(struct postgres_link *link,
                            const struct postgres_collecting *collecting);
/* One statement whose whole result is wanted; freed with PQclear. */
CK_RV postgres_link_ask(struct postgres_link *link, const struct postgres_statement *statement,
                        const struct postgres_params *params, PGresult **ret_result);

/* What has come unasked: true when there is something, whose payload is copied, cut to the room. */
bool postgres_link_notice(struct postgres_link *link, char *payload, size_t size);
/* Reads what has come, without waiting. */
CK_RV postgres_link_look(struct postgres_link *link);

/* This thread is inside libpq. */
bool postgres_link_is_inside(void);
/* For _cleanup_. */
void postgres_result_clear(PGresult **result);
