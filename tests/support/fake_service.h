/*
 * Starts tests/servers/fake_service.py, scripts its faults, counts what reached it, stops it.
 *
 * FAKE_SERVICE_FOLDER is tests/servers, a macro from the build. Every failure ends the test
 * (ck_abort). A service serves one test process; in the child of a fork it goes on, as long as one
 * of the two commands it. Not for several threads.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct fake_service {
    pid_t pid;
    int port;
    bool is_tls;
    FILE *commands;
    FILE *answers;
    char answer[1 << 16]; /* the last one */
    char url[256];
};

struct fake_service_options {
    const char *handler;      /* "fake_vault:FakeVault"; NULL: says what it got */
    const char *options;      /* a JSON object for the handler; NULL: none */
    const char *certificates; /* fake_service_certificates(): TLS; NULL: plain http */
    bool wants_client;        /* a client certificate by ca.pem */
};

/* Makes the certificates of tests/servers/certificates.sh once a process, in a folder of its own
 * that fake_service_clean removes; answers its path. */
const char *fake_service_certificates(void);
void fake_service_clean(void);
/* A path in that folder: "ca.pem". Valid until the eighth call from now. */
const char *fake_service_certificate(const char *name);

void fake_service_start(struct fake_service *service, const struct fake_service_options *options);
void fake_service_stop(struct fake_service *service);

/* One command, a JSON object in printf's manner; the answer is in service->answer. */
void fake_service_command(struct fake_service *service, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The command "fault" with these members: "\"kind\": \"status\", \"status\": 503". */
void fake_service_fault(struct fake_service *service, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Forgets faults, counts and requests. */
void fake_service_clear(struct fake_service *service);
/* "requests", "connections" or "handshakes". */
int fake_service_count(struct fake_service *service, const char *what);

/* https://127.0.0.1:PORT/PATH, or http; at another host by the second. Valid until the next. */
const char *fake_service_url(struct fake_service *service, const char *path);
const char *fake_service_url_at(struct fake_service *service, const char *host, const char *path);
