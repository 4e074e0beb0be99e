/*
 * A connection that is ready for work: set up, its tables looked at and of the newest version, its
 * statements prepared. For tokens/store_postgres.c and tokens/postgres_turn.c.
 */
#pragma once

#include "tokens/postgres_schema.h"

enum postgres_work {
    POSTGRES_READ_RECORD,
    POSTGRES_READ_OBJECTS,
    POSTGRES_READ_OBJECT,
    POSTGRES_READ_COUNT,
    POSTGRES_LOOK,
    POSTGRES_BEGIN,
    POSTGRES_TAKE_TURN,
    POSTGRES_NOTE_COMMIT,
    POSTGRES_NOTIFY,
    POSTGRES_FIND_COMMIT,
    POSTGRES_COMMIT,
    POSTGRES_ROLLBACK,
    POSTGRES_INSERT_RECORD,
    POSTGRES_UPDATE_RECORD,
    POSTGRES_REMOVE_RECORD,
    POSTGRES_INSERT_OBJECT,
    POSTGRES_UPDATE_OBJECT,
    POSTGRES_UPDATE_VALUE,
    POSTGRES_REMOVE_OBJECT,
    POSTGRES_FORGET_REMOVED,
    POSTGRES_CLEAR_RECORDS,
    POSTGRES_CLEAR_OBJECTS,
    POSTGRES_CLEAR_REMOVED,
    POSTGRES_LEAP,
    POSTGRES_WORK_COUNT,
};

/* What a row of POSTGRES_LOOK is, by its last column; they come in this order. */
enum postgres_news {
    POSTGRES_NEWS_TURN, /* the number of the last commit, as the version */
    POSTGRES_NEWS_GONE, /* the id */
    POSTGRES_NEWS_ROW,
};

extern const struct postgres_statement postgres_statements[POSTGRES_WORK_COUNT];

#define POSTGRES_CHANNEL "indexkey:"

struct postgres_session {
    const char *rest; /* of the URI; the store's */
    const struct postgres_place *place;
    bool listens; /* it is told of commits (postgres_link_notice) */
    bool ready;
    int64_t undialled_ms; /* when a connection was sought in vain; 0: not lately */
    struct postgres_link link;
};

/* How long a lost connection is sought again; begins as {0}, at the first loss. */
struct postgres_patience {
    int64_t end_ms;
    long pause_ms;
};

#define POSTGRES_PATIENCE_MS 5000

/* False when the time is up. */
bool postgres_patience_left(struct postgres_patience *patience);
/* Waits a little, each time a little longer. */
void postgres_patience_pause(struct postgres_patience *patience);

/* STORE_ABSENT where there are no tables and none are to be made. POSTGRES_LOST: it is closed, and
 * another try may do. All else is logged. */
CK_RV postgres_session_open(struct postgres_session *session, bool create);
void postgres_session_close(struct postgres_session *session);
/* The line of a POSTGRES_LOST or POSTGRES_REFUSED that nothing could be done about, and the value
 * for the store's caller. A session that was lost is closed. */
CK_RV postgres_session_fail(struct postgres_session *session, CK_RV rv, const char *doing);
