/*
 * Transactions of a PostgreSQL store: the turn is taken first, by the lock of the one row in the
 * table "store"; then the changes are found and made. For tokens/store_postgres.c.
 *
 * A connection that is lost before the COMMIT takes the transaction along, and it is done again
 * where nobody else has committed since. One that is lost in the COMMIT leaves it open whether it
 * has happened: the next turn comes only when the server is done with it, and then the table
 * "recent" tells.
 */
#pragma once

#include "tokens/postgres_session.h"
#include "tokens/store.h"

/* What stands between BEGIN and COMMIT. */
struct postgres_transaction {
    const char *guard; /* a record that must have this version, whereupon every row goes; or NULL */
    uint64_t guard_version;
    store_plan_fn *plan; /* finds the changes; NULL: they are known */
    void *plan_context;
    const struct store_change *changes;
    size_t change_count;
};

struct postgres_writer {
    struct postgres_session session;
    uint64_t turn; /* the number of the commit in the making, or of the last; 0: none */
};

/* By one thread at a time. STORE_CONFLICT too where a plan's connection was lost and others have
 * committed since. Failures are logged. */
CK_RV postgres_turn_run(struct postgres_writer *writer,
                        const struct postgres_transaction *transaction);
/* Within a plan, after a reading has lost the connection: the same turn once more, or
 * STORE_CONFLICT where others have had theirs. */
CK_RV postgres_turn_resume(struct postgres_writer *writer);
