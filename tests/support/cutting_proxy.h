/*
 * A TCP proxy on loopback, in a thread of the test, that cuts its connections when a PostgreSQL
 * client asks for a prepared statement of a certain name. It reads what is not encrypted.
 */
#pragma once

#include <stdbool.h>

enum cut {
    CUT_NOTHING,
    CUT_BEFORE, /* the server never sees the request */
    CUT_AFTER,  /* the server does what is asked, and its answer is lost */
    CUT_SILENT, /* as CUT_BEFORE, with all connections left open and dead from then on */
};

/* To this port on 127.0.0.1; returns its own. One proxy a process. */
int cutting_proxy_start(int port);
/* The next request for that statement, once; `stays_away`: nobody can connect afterwards. */
void cutting_proxy_cut(enum cut cut, const char *statement, bool stays_away);
/* How often it has cut. */
unsigned int cutting_proxy_cuts(void);
