#include "tokens/postgres_link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tokens/postgres_dial.h"

/* libpq's TLS is the host's OpenSSL, which may come back to this module through a provider. */
#define INSIDE __attribute__((cleanup(leave), unused)) int inside_ = inside_depth++

static _Thread_local int inside_depth;

static void leave(const int *depth)
{
    inside_depth = *depth;
}

bool postgres_link_is_inside(void)
{
    return inside_depth > 0;
}

void postgres_result_clear(PGresult **result)
{
    PQclear(*result);
}

static CK_RV lost(struct postgres_link *link, const char *why)
{
    (void) snprintf(link->why, sizeof(link->why), "%s", why);
    link->state[0] = '\0';
    return POSTGRES_LOST;
}

static CK_RV lost_connection(struct postgres_link *link)
{
    return lost(link, PQerrorMessage(link->conn));
}

CK_RV postgres_link_connect(struct postgres_link *link, const char *rest)
{
    struct postgres_dialled dialled = {0};
    link->state[0] = '\0';
    TRY(postgres_dial(rest, &dialled));
    if (dialled.conn == NULL) {
        (void) snprintf(link->why, sizeof(link->why), "%s", dialled.why);
        return dialled.may_retry ? POSTGRES_LOST : POSTGRES_REFUSED;
    }
    INSIDE;
    link->conn = dialled.conn;
    if (PQsetnonblocking(link->conn, 1) != 0 || PQenterPipelineMode(link->conn) != 1)
        return lost_connection(link);
    return CKR_OK;
}

void postgres_link_close(struct postgres_link *link)
{
    INSIDE;
    PQfinish(link->conn);
    link->conn = NULL;
}

/* PQfinish would say goodbye in the parent's name; so the memory stays, a copy of the parent's. */
void postgres_link_abandon(struct postgres_link *link)
{
    if (link->conn != NULL && PQsocket(link->conn) >= 0)
        (void) close(PQsocket(link->conn));
    link->conn = NULL;
}

CK_RV postgres_link_send(struct postgres_link *link, const struct postgres_statement *statement,
                         const struct postgres_params *params)
{
    static const int binary[POSTGRES_PARAMS_MAX] = {1, 1, 1, 1};
    static const struct postgres_params none;
    INSIDE;
    if (params == NULL)
        params = &none;
    int sent = statement->name != NULL
                   ? PQsendQueryPrepared(link->conn, statement->name, params->count, params->values,
                                         params->lengths, binary, 1)
                   : PQsendQueryParams(link->conn, statement->sql, params->count, NULL,
                                       params->values, params->lengths, binary, 1);
    return sent == 1 ? CKR_OK : lost_connection(link);
}

CK_RV postgres_link_prepare(struct postgres_link *link, const struct postgres_statement *statement)
{
    INSIDE;
    return PQsendPrepare(link->conn, statement->name, statement->sql, 0, NULL) == 1
               ? CKR_OK
               : lost_connection(link);
}

void postgres_link_stream(struct postgres_link *link)
{
    (void) PQsetSingleRowMode(link->conn);
}

static CK_RV wait_for(struct postgres_link *link, short events, int64_t end_ms)
{
    struct pollfd wanted = {.fd = PQsocket(link->conn), .events = events};
    for (;;) {
        int64_t left_ms = end_ms - clock_boot_ms();
        if (left_ms <= 0)
            return lost(link, "the server does not answer in time");
        int ready = poll(&wanted, 1, (int) left_ms);
        if (ready > 0)
            return CKR_OK;
        if (ready < 0 && errno != EINTR)
            return lost(link, "waiting for the server failed");
    }
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Until PQgetResult would not wait. */
static CK_RV await_result(struct postgres_link *link, int64_t silence_ms, int64_t end_ms)
{
    for (;;) {
        int unsent = PQflush(link->conn);
        if (unsent < 0)
            return lost_connection(link);
        if (!PQisBusy(link->conn))
            return CKR_OK;
        short events = (short) (unsent > 0 ? POLLIN | POLLOUT : POLLIN);
        TRY(wait_for(link, events, lesser(end_ms, clock_boot_ms() + silence_ms)));
        if (PQconsumeInput(link->conn) != 1)
            return lost_connection(link);
    }
}

/* Classes and codes after which another connection may do: connection exceptions, shutdown and
 * fail-over, and statements or tables that are not there any more, as after a schema was dropped
 * and made again. */
static bool state_is_loss(const char *state)
{
    static const char *const starts[] = {"08", "57P", "25006", "26000", "42P01", "3F000", "0A000"};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        if (strncmp(state, starts[i], strlen(starts[i])) == 0)
            return true;
    }
    return false;
}

static CK_RV refused(struct postgres_link *link, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (state == NULL)
        return lost(link, PQresultErrorMessage(result));
    if (state_is_loss(state))
        return lost(link, message != NULL ? message : state);
    (void) snprintf(link->state, sizeof(link->state), "%s", state);
    (void) snprintf(link->why, sizeof(link->why), "%s", message != NULL ? message : "");
    return POSTGRES_REFUSED;
}

static CK_RV take_result(struct postgres_link *link, const struct postgres_collecting *collecting,
                         const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
        return collecting->each != NULL ? collecting->each(collecting->context, result) : CKR_OK;
    case PGRES_FATAL_ERROR:
        return refused(link, result);
    case PGRES_PIPELINE_ABORTED:
        return CKR_OK; /* by a failure that was told */
    default:
        return lost(link, "the server answers what was not asked");
    }
}

CK_RV postgres_link_collect(struct postgres_link *link,
                            const struct postgres_collecting *collecting)
{
    int64_t end_ms = clock_boot_ms() + POSTGRES_TOTAL_MS;
    CK_RV rv = CKR_OK;
    INSIDE;
    if (PQpipelineSync(link->conn) != 1)
        return lost_connection(link);
    /* NULL ends the results of one statement. */
    for (int ends = 0; ends < 2;) {
        TRY(await_result(link, collecting->silence_ms, end_ms));
        _cleanup_(postgres_result_clear) PGresult *result = PQgetResult(link->conn);
        ends = result == NULL ? ends + 1 : 0;
        if (result == NULL)
            continue;
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
            return rv;
        int depth = inside_depth;
        inside_depth = 0;
        CK_RV taken = rv == CKR_OK ? take_result(link, collecting, result) : CKR_OK;
        inside_depth = depth;
        if (taken == POSTGRES_LOST)
            return taken;
        rv = rv == CKR_OK ? taken : rv;
    }
    return lost_connection(link);
}

static CK_RV keep_result(void *context, const PGresult *result)
{
    PGresult **kept = context;
    if (*kept == NULL)
        *kept = PQcopyResult(result, PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);
    return *kept != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

CK_RV postgres_link_ask(struct postgres_link *link, const struct postgres_statement *statement,
                        const struct postgres_params *params, PGresult **ret_result)
{
    _cleanup_(postgres_result_clear) PGresult *result = NULL;
    const struct postgres_collecting collecting = {keep_result, &result, POSTGRES_SILENCE_MS};
    TRY(postgres_link_send(link, statement, params));
    TRY(postgres_link_collect(link, &collecting));
    if (result == NULL)
        return lost(link, "the server answers nothing");
    *ret_result = TAKE(result);
    return CKR_OK;
}

CK_RV postgres_link_look(struct postgres_link *link)
{
    INSIDE;
    /* Twice: a server's last words come before the end of the connection. */
    bool is_there = PQconsumeInput(link->conn) == 1 && PQconsumeInput(link->conn) == 1;
    return is_there && PQstatus(link->conn) == CONNECTION_OK ? CKR_OK : lost_connection(link);
}

bool postgres_link_notice(struct postgres_link *link, char *payload, size_t size)
{
    PGnotify *notice = PQnotifies(link->conn);
    if (notice == NULL)
        return false;
    (void) snprintf(payload, size, "%s", notice->extra);
    PQfreemem(notice);
    return true;
}
