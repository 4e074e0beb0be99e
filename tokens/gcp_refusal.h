/*
 * What the errors of Google's services mean: their status name, and the reason or the words beside
 * it, of which only known ones are looked for; log lines have our words, never the server's.
 */
#pragma once

#include <stdbool.h>

#include "base/cause.h"
#include "tokens/http.h"
#include "tokens/json.h"

#define GCP_REFUSAL_PRECONDITION "FAILED_PRECONDITION"

struct gcp_refusal {
    const char *status; /* "PERMISSION_DENIED" */
    const char *text;   /* in the message, or a reason; NULL: any */
    enum indexkey_cause cause;
    const char *why;
    const char *remedy;
};

/* "FAILED_PRECONDITION"; NULL when this is no error of a Google service. `reply` may be NULL. */
const char *gcp_refusal_status(const struct json *reply);
/* NULL when no row fits. `reply` may be NULL. */
const struct gcp_refusal *gcp_refusal_find(const struct json *reply);
/* The same, first among the rows of one service, the last of which has the status NULL; `own` may
 * be NULL. */
const struct gcp_refusal *gcp_refusal_find_in(const struct gcp_refusal *own,
                                              const struct json *reply);
/* What the state of a key version means; NULL for one that is in order, or not known. */
const struct gcp_refusal *gcp_refusal_of_state(const char *state);

/* For struct http_request. */
enum http_verdict gcp_refusal_verdict(long status, struct view body);
