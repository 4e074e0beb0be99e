/*
 * What a source is: the place where the root key lives, which wraps and unwraps and never gives it.
 *
 * One file a source, with a struct source_ops; tokens/sources.c lists them, so that a new one is
 * one file and one line. A source's functions may be called from any thread, hold no lock of ours
 * while they wait, and return when call->deadline_ms has passed or *call->cancelled has become
 * true. A failure is logged once by the source through FAIL_CAUSE, naming what failed, where and
 * what to do. A credential that is locked may be CKR_PIN_LOCKED in place of what FAIL_CAUSE
 * answers.
 */
#pragma once

#include <stdatomic.h>

#include "base/bytes.h"
#include "base/cause.h"
#include "base/secret.h"
#include "conf/conf.h"

#define DATA_KEY_LEN 32
#define SOURCE_KEY_TEXT_MAX 512

struct source;

/* What every call carries. */
struct source_call {
    /* The PIN under `login = credential`; else empty and the source's ambient credential serves. */
    struct view credential;
    /* Canonical bytes of the token's context.* keys and the token's name; bound at wrap and unwrap
     * as associated data where the service can. */
    struct view context;
    int64_t deadline_ms; /* clock_boot_ms at which the call must have returned */
    const atomic_bool *cancelled;
};

/* One of many that are unwrapped together. */
struct source_item {
    struct view wrapped;
    struct view context;
    struct secret value; /* empty: not opened */
};

#define SOURCE_ITEMS_MAX 128

#define SOURCE_FACT_MAX 128

/* What a service says of a root key. Texts may be cut off and are "" where it does not tell; times
 * are seconds of UTC since 1970, 0: none. */
struct source_inspection {
    char key[SOURCE_KEY_TEXT_MAX];
    char kind[SOURCE_FACT_MAX];
    char version[SOURCE_FACT_MAX];        /* that wrapped */
    char oldest_version[SOURCE_FACT_MAX]; /* that still unwraps */
    char newest_version[SOURCE_FACT_MAX];
    char state[SOURCE_FACT_MAX];    /* in the service's own word */
    char rotation[SOURCE_FACT_MAX]; /* "every 365 days", "off" */
    int64_t deletion_s;             /* when the service destroys it */
    int64_t expiry_s;               /* from when on it serves no longer */
    bool is_usable;                 /* it unwraps what it has wrapped */
};

struct source_ops {
    const char *name;            /* the value of `source =` */
    const struct conf_key *keys; /* its keys in a token section */
    bool takes_credential;       /* `login = credential` has a meaning */

    /* Reads its keys; no I/O. Freed with close. */
    CK_RV (*open)(const struct conf_section *section, struct source **ret_source);
    void (*close)(struct source *source);

    /* Encrypts DATA_KEY_LEN bytes under the root key. */
    CK_RV(*wrap)
    (struct source *source, const struct source_call *call, const struct secret *data_key,
     struct blob *ret_wrapped);
    CK_RV(*unwrap)
    (struct source *source, const struct source_call *call, struct view wrapped,
     struct secret *ret_data_key);
    /* One call for a fresh key and its ciphertext (GenerateDataKey, transit/datakey). NULL where
     * the service has none: then the key comes from our DRBG and wrap is used. */
    CK_RV(*make_data_key)
    (struct source *source, const struct source_call *call, struct secret *ret_data_key,
     struct blob *ret_wrapped);
    /* The same data key under the newest version of the root key, without the key leaving the
     * service. NULL where the service has no such call, or none that binds a context: then wrap is
     * used. */
    CK_RV(*rewrap)
    (struct source *source, const struct source_call *call, struct view wrapped,
     struct blob *ret_wrapped);
    /* Which root key, and which version of it, a wrapped key says to be of; no I/O. Leaves the text
     * alone where it cannot be told. */
    void (*describe)(struct source *source, struct view wrapped,
                     char ret_text[SOURCE_KEY_TEXT_MAX]);
    /* Asks the service about the root key, and version, that `wrapped` names; about the configured
     * one where it is empty. Not being permitted to ask is a failure as of the other calls. NULL
     * where the service cannot tell. */
    CK_RV(*inspect)
    (struct source *source, const struct source_call *call, struct view wrapped,
     struct source_inspection *ret_inspection);
    /* Unwraps up to SOURCE_ITEMS_MAX of any lengths with one request; the call's own context is not
     * used. CKR_OK: whatever is then still empty has failed by itself, and `unwrap` tells why. NULL
     * where the service has none. */
    CK_RV(*unwrap_many)
    (struct source *source, const struct source_call *call, struct source_item *items,
     size_t count);
    /* The value of a parameter store that belongs to the service, for `ciphertext =` of a [key]
     * section: `place` begins with a scheme of `parameter_schemes` ("kv:", more of them separated
     * by blanks), and the call has no context. What is not there is CAUSE_CONFIG. Both
     * NULL where the service has none. */
    const char *parameter_schemes;
    CK_RV(*read_parameter)
    (struct source *source, const struct source_call *call, const char *place,
     struct secret *ret_value);
    /* The login whose credential came with the calls is over: what was got by it is wiped. No I/O;
     * calls may still run. NULL where nothing is kept. */
    void (*forget)(struct source *source);
};

/* Every implementation begins with this. */
struct source {
    const struct source_ops *ops;
};

/* NULL when there is no such source. */
const struct source_ops *source_find(const char *name);
/* All names, separated by spaces, for hints. */
const char *source_names(void);

CK_RV source_open(const struct conf_section *section, struct source **ret_source);
void source_close(struct source **source);
void source_forget(struct source *source);
/* CAUSE_CONFIG, logged, when the source has no parameter store of that scheme. */
CK_RV source_read_parameter(struct source *source, const struct source_call *call,
                            const char *place, struct secret *ret_value);
/* make_data_key, or the DRBG and wrap. */
CK_RV source_make_data_key(struct source *source, const struct source_call *call,
                           struct secret *ret_data_key, struct blob *ret_wrapped);
/* rewrap, or wrap. */
CK_RV source_rewrap(struct source *source, const struct source_call *call, struct view wrapped,
                    const struct secret *data_key, struct blob *ret_wrapped);
/* "": not told. Printable, whatever the store holds. */
void source_describe(struct source *source, struct view wrapped,
                     char ret_text[SOURCE_KEY_TEXT_MAX]);
/* Its texts are printable, whatever the service answers. CKR_FUNCTION_NOT_SUPPORTED, not logged,
 * where the source has no `inspect`. */
CK_RV source_inspect(struct source *source, const struct source_call *call, struct view wrapped,
                     struct source_inspection *ret_inspection);
/* Unwraps and insists on DATA_KEY_LEN bytes. */
CK_RV source_unwrap(struct source *source, const struct source_call *call, struct view wrapped,
                    struct secret *ret_data_key);
