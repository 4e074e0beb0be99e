/*
 * The readings of a PostgreSQL store, each on a session that is ready. For tokens/store_postgres.c.
 *
 * POSTGRES_LOST may come at any time: the same reading may then be given to another session, and
 * what was handed over before is not handed over again.
 */
#pragma once

#include "tokens/postgres_session.h"
#include "tokens/store.h"

struct postgres_record_reading {
    const char *name;
    struct blob bytes;
    uint64_t version;
};

struct postgres_objects_reading {
    store_row_fn *each;
    void *context;
    size_t bad_count;
    /* Of the snapshot: another connection goes on behind the last row where nothing has changed. */
    bool is_begun;
    uint64_t number;
    struct object_id last;
    bool is_changed;
};

struct postgres_changes_reading {
    struct store_look *look;
    bool in_plan; /* the table's count is that of the commit in the making */
    bool is_begun;
    uint64_t number;     /* the table's count, in the snapshot that is being read */
    size_t seen_count;   /* of what came by this connection, and of what was handed over or left */
    size_t handed_count; /* out, by any: another goes on behind it where nothing has changed */
    size_t bad_count;
    bool is_changed;
    struct postgres_objects_reading whole; /* where it comes to that */
};

struct postgres_object_reading {
    const struct object_id *id;
    store_row_fn *each;
    void *context;
};

/* `context` is one of the structs above, in their order. STORE_ABSENT; what is malformed is
 * logged. */
CK_RV postgres_read_one_record(struct postgres_session *session, void *context);
CK_RV postgres_read_all_objects(struct postgres_session *session, void *context);
CK_RV postgres_read_news(struct postgres_session *session, void *context);
CK_RV postgres_read_one_object(struct postgres_session *session, void *context);
/* Logs that `what` is malformed. */
CK_RV postgres_read_malformed(const struct postgres_session *session, const char *what);
