/*
 * What goes wrong between a token and its KMS: a table of faults, each tried twice, by the source
 * alone and by C_Login. Prints a line for each. For a fake KMS (tests/contract/kms_fixture.h).
 */
#pragma once

#include "tests/contract/kms_fixture.h"

/* Requests that reach the server; ANY where the retries decide. */
enum { ANY = -1, SEVERAL = -2 };

enum { SOURCE_ONLY = 1, LOGIN_ONLY = 2 };

#define SHORT_MS 600 /* of a deadline that passes */

#define FAULT(text) "{\"do\": \"fault\", " text "}"
#define STATUS(number, body)                                                                       \
    FAULT("\"kind\": \"status\", \"times\": -1, \"status\": " #number ", \"body\": " body)
#define STATUS_ONCE(number) FAULT("\"kind\": \"status\", \"status\": " #number ", \"body\": {}")
#define ALWAYS(kind) FAULT("\"kind\": \"" kind "\", \"times\": -1")
#define BASE64_16 "AAAAAAAAAAAAAAAAAAAAAA=="
#define BASE64_32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define BASE64_33 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

struct fault {
    const char *name;
    const char *script[2]; /* commands to the fake */
    enum indexkey_cause cause;
    const char *says; /* in the log line */
    int requests;     /* that reach the server */
    struct kms_settings with;
    const char *certificate;    /* the server's */
    int clock_ahead_s;          /* the server's */
    const struct view *context; /* of the call; the right one by default */
    int changed; /* this byte of the wrapped key, from its end; negative: from its begin */
    unsigned int only;
};

struct fault_table {
    const struct fault *faults; /* and those that every KMS has, of fault_table.c */
    size_t fault_count;
    const char *source; /* as log lines name it */
    struct view context;
    bool wraps_as_base64; /* what is changed stays base64 */
    int logins;           /* requests that a call needs beside its own, where nothing fails */
    const char *const *canaries; /* never logged; NULL at the end */
    void (*start)(struct fake_service *fake);
    void (*configure)(struct fake_service *fake, const struct kms_settings *settings);
    /* NULL: no fault of the table sets a clock. */
    void (*set_clock)(struct fake_service *fake, int ahead_s);
    void (*reset)(struct fake_service *fake);
};

/* The program: 0 when every fault came out as the table says, both ways. */
int fault_table_run(const char *name, const struct fault_table *table);
