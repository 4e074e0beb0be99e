#include "tokens/postgres_dial.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/apart.h"
#include "tokens/postgres_place.h"

#define DIAL_MS 5000
/* It writes, and so it must be one that has generated columns, xid8 and the rest; 12 has no
 * support any more. */
#define SERVER_VERSION_MIN 120000

struct dial {
    struct apart apart; /* first */
    struct postgres_place *place;
    struct postgres_dialled dialled;
};

/* The server is there and says no, or nobody is there now. */
static bool is_worth_another(const struct dial *dial)
{
    PGPing ping = PQpingParams(dial->place->keywords, dial->place->values, 0);
    return ping == PQPING_REJECT || ping == PQPING_NO_RESPONSE;
}

static void run(struct apart *apart)
{
    struct dial *dial = (struct dial *) apart;
    struct postgres_dialled *dialled = &dial->dialled;
    PGconn *conn = PQconnectdbParams(dial->place->keywords, dial->place->values, 0);
    if (conn != NULL && PQstatus(conn) == CONNECTION_OK &&
        PQserverVersion(conn) >= SERVER_VERSION_MIN) {
        dialled->conn = conn;
        return;
    }
    bool is_old = conn != NULL && PQstatus(conn) == CONNECTION_OK;
    (void) snprintf(dialled->why, sizeof(dialled->why), "%s",
                    is_old ? "the server is older than PostgreSQL 12" : PQerrorMessage(conn));
    PQfinish(conn);
    dialled->may_retry = !is_old && !atomic_load(&apart->is_left) && is_worth_another(dial);
}

static void free_dial(struct apart *apart)
{
    struct dial *dial = (struct dial *) apart;
    PQfinish(dial->dialled.conn);
    postgres_place_free(&dial->place);
    mem_free(dial);
}

static void end_dial(struct dial **dial)
{
    if (*dial != NULL)
        apart_free(&(*dial)->apart);
}

CK_RV postgres_dial(const char *rest, struct postgres_dialled *ret_dialled)
{
    _cleanup_(end_dial) struct dial *dial = mem_calloc(1, sizeof(*dial));
    if (dial == NULL)
        return FAIL(CKR_HOST_MEMORY, "store postgresql: no memory for a connection");
    apart_init(&dial->apart, run, free_dial);
    TRY(postgres_place_new(rest, &dial->place));
    switch (apart_run(&dial->apart, clock_boot_ms() + DIAL_MS, NULL)) {
    case APART_DONE:
        *ret_dialled = dial->dialled;
        dial->dialled.conn = NULL;
        return CKR_OK;
    case APART_NO_THREAD:
        (void) snprintf(ret_dialled->why, sizeof(ret_dialled->why),
                        "no thread can be had to connect");
        return CKR_OK;
    default:
        dial = NULL;
        ret_dialled->may_retry = true;
        (void) snprintf(ret_dialled->why, sizeof(ret_dialled->why), "no connection within %d s",
                        DIAL_MS / 1000);
        return CKR_OK;
    }
}
