/*
 * For the tests of sources that ask a KMS: what they share, whichever KMS it is. A fake one over
 * TLS (tests/servers), a token that is configured for it, calls of its source, and logins through
 * the C_* functions of the static library. vault_fixture.h and aws_fixture.h write the
 * configuration.
 */
#pragma once

#include <stdatomic.h>

#include "include/cryptoki.h"
#include "tests/support/fake_service.h"
#include "tests/support/token_fixture.h"

#define KMS_DEADLINE_MS 5000

#define HANDLER(text) "{\"do\": \"handler\", \"what\": " text "}"

/* One token's configuration and environment; NULL and 0 are defaults that work. */
struct kms_settings {
    const char *addr;   /* the fake's */
    const char *ca;     /* "ca.pem", in the fake's folder of certificates; "/…": that file */
    const char *key;    /* a name of the fake's key */
    const char *more;   /* lines */
    int deadline_ms;    /* KMS_DEADLINE_MS */
    const char *token;  /* Vault: value of the environment variable; "": not set */
    const char *region; /* AWS: of the configuration; "": not set, as of the next three */
    const char *access; /* AWS: of the environment, with the next two */
    const char *secret;
    const char *session_token; /* not set by default */
    const char *credential;    /* Google: see gcp_fixture.h, as the next */
    const char *provider;
};

/* A fake over TLS with that handler: "fake_vault:FakeVault". */
void kms_start(struct fake_service *fake, const char *handler);
void kms_stop(struct fake_service *fake);
/* Forgets counts and faults; the fake is as it was saved. */
void kms_reset(struct fake_service *fake);

/* The value, or that default where it is NULL. */
const char *kms_or_default(const char *value, const char *fallback);
/* "": unsets it. */
void kms_set_variable(const char *name, const char *value);
/* The token `vectors` of that kind of source in a configuration file, found by INDEXKEY_CONF. */
void kms_write_conf(const char *kind, const char *store, const char *lines);
/* The same, with the lines that every kind has: the CA, the store, the deadline, `more`. */
void kms_configure(const char *kind, const struct kms_settings *settings, const char *lines);

/* How long tests work across the ends of tokens of 5 s: 12 s, or INDEXKEY_REFRESH_MS (60000 at
 * night). */
int kms_refresh_ms(void);

/* The source of that configuration. */
CK_RV kms_try_open(struct source **ret_source);
struct source *kms_open(void);
/* The whole token of that configuration; freed with custody_close. */
struct custody *kms_open_custody(void);
/* A configuration with these lines is refused, which the log says once. */
void kms_assert_refused(const char *kind, const char *lines, const char *says);

/* A call with that context, to end after the settings' deadline. */
struct source_call kms_call(const struct kms_settings *settings, struct view context);
/* One call each with an empty log; the data key is dropped. */
CK_RV kms_make(struct source *source, struct source_call call, struct blob *ret_wrapped);
CK_RV kms_unwrap(struct source *source, struct source_call call, struct view wrapped);
/* The same two within KMS_DEADLINE_MS. */
CK_RV kms_make_in(struct source *source, struct view context, struct blob *ret_wrapped);
CK_RV kms_unwrap_in(struct source *source, struct view context, struct view wrapped);
/* What the source's service says of the key of `wrapped`, with an empty log; as one text, until the
 * next call, which is printable. */
CK_RV kms_inspect(struct source *source, struct view wrapped, struct source_inspection *ret_key);
const char *kms_told(const struct source_inspection *key);
/* kms_inspect fails with that, and hands out nothing. */
void kms_assert_not_told(struct source *source, struct view wrapped, enum indexkey_cause cause,
                         const char *says);
void kms_end(struct source *source, struct blob *wrapped);
/* The request that the fake calls its last has this text in it, or has not. */
void kms_assert_sent(struct fake_service *fake, const char *part, bool sent);
void kms_assert_ok(CK_RV rv);
/* The last call failed with that cause, and one line in the log says so. */
void kms_assert_failed(CK_RV rv, enum indexkey_cause cause, const char *says);

/* A checked fixture, to be added before fixture_run: the first C_Initialize of a process takes what
 * it finds for a forked parent's and leaves it behind, which must not be fixture_setup's work. */
void kms_first_call(void);
/* C_InitToken, the PINs FIXTURE_SO_PIN and FIXTURE_PIN (under login = pin), C_Finalize. */
void kms_init_token(void);
/* C_Initialize to C_Finalize around one C_Login of the user; the cause is ulDeviceError's. */
CK_RV kms_login(const char *pin, enum indexkey_cause *ret_cause);
