/*
 * For the tests of `source = aws`: a fake AWS KMS over TLS (tests/servers/fake_aws.py), tokens that
 * are configured for it, an environment without any other AWS credentials. Sources and logins are
 * those of vault_fixture.h.
 */
#pragma once

#include "tests/contract/vault_fixture.h"

#define AWS_REGION_GOOD "eu-central-1"
#define AWS_KEY_ID_GOOD "1234abcd-12ab-34cd-56ef-1234567890ab"
#define AWS_ACCOUNT_ARN "arn:aws:kms:eu-central-1:111122223333:"
#define AWS_KEY_ARN_GOOD AWS_ACCOUNT_ARN "key/" AWS_KEY_ID_GOOD
#define AWS_ALIAS_GOOD "alias/index-keys"
#define AWS_ACCESS_GOOD "AKIDGOOD"
#define AWS_SECRET_GOOD "good/secret+"
#define AWS_ACCESS_TEMPORARY "ASIAGOOD"
#define AWS_SECRET_TEMPORARY "other/secret+"
#define AWS_SESSION_TOKEN_GOOD "good-session-token"

#define HANDLER(text) "{\"do\": \"handler\", \"what\": " text "}"

/* One token's configuration and environment; NULL and 0 are defaults that work. "" is not set. */
struct aws_settings {
    const char *endpoint; /* the fake's */
    const char *ca;       /* "ca.pem", in the fake's folder of certificates; "/…": that file */
    const char *key;      /* AWS_KEY_ID_GOOD */
    const char *region;   /* of the configuration */
    const char *access;   /* of the environment, with the next two */
    const char *secret;
    const char *session_token; /* not set by default */
    const char *more;          /* lines */
    int deadline_ms;           /* 5000 */
};

/* Canonical contexts of a token `vectors`, of one `other`, and none. */
extern const struct view aws_context;
extern const struct view aws_context_other;
extern const struct view aws_context_none;

/* Writes the configuration file and sets the environment; HOME is the test's folder. */
void aws_configure(struct fake_service *fake, const struct aws_settings *settings);
struct source *aws_open(struct fake_service *fake, const struct aws_settings *settings);
struct source_call aws_call(const struct aws_settings *settings, struct view context);

void aws_start(struct fake_service *fake);
void aws_stop(struct fake_service *fake);
/* Forgets counts and faults; the fake is as it was saved, and both its clocks are right. */
void aws_reset(struct fake_service *fake);
/* Of the fake's Date header and of what it checks dates against. */
void aws_set_clock(struct fake_service *fake, int ahead_s);
