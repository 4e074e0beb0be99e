#include "tokens/postgres_dial.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/apart.h"
#include "tokens/postgres_place.h"

#define DIAL_MS 5000
/* A no comes sooner. */
#define SLOW_MS 1500
/* The oldest that the statements are good for. */
#define SERVER_VERSION_MIN 120000

struct dial {
    struct apart apart; /* first */
    struct postgres_place *place;
    struct postgres_dialled dialled;
};

/* False when a server is there and says no, or is not the one it should be. The words are
 * OpenSSL's and libpq's; in another language they cost a few more tries. */
static bool is_worth_another(const struct dial *dial, int64_t begun_ms)
{
    if (strstr(dial->dialled.why, "certificate") != NULL)
        return false;
    if (clock_boot_ms() - begun_ms >= SLOW_MS)
        return true;
    PGPing ping = PQpingParams(dial->place->keywords, dial->place->values, 0);
    return ping == PQPING_REJECT || ping == PQPING_NO_RESPONSE;
}

/* libpq prints them to stderr else. */
static void drop_notice(void *context, const PGresult *notice)
{
    (void) context;
    (void) notice;
}

static void run(struct apart *apart)
{
    struct dial *dial = (struct dial *) apart;
    struct postgres_dialled *dialled = &dial->dialled;
    int64_t begun_ms = clock_boot_ms();
    PGconn *conn = PQconnectdbParams(dial->place->keywords, dial->place->values, 0);
    (void) PQsetNoticeReceiver(conn, drop_notice, NULL);
    if (conn != NULL && PQstatus(conn) == CONNECTION_OK &&
        PQserverVersion(conn) >= SERVER_VERSION_MIN) {
        dialled->conn = conn;
        return;
    }
    bool is_old = conn != NULL && PQstatus(conn) == CONNECTION_OK;
    (void) snprintf(dialled->why, sizeof(dialled->why), "%s",
                    is_old ? "the server is older than PostgreSQL 12" : PQerrorMessage(conn));
    PQfinish(conn);
    dialled->may_retry =
        !is_old && !atomic_load(&apart->is_left) && is_worth_another(dial, begun_ms);
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
