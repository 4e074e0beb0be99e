/*
 * For the tests of `source = aws`: kms_fixture.h with a fake AWS KMS (tests/servers/fake_aws.py)
 * and an environment without any other AWS credentials.
 */
#pragma once

#include "tests/contract/kms_fixture.h"

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

/* Canonical contexts of a token `vectors`, of one `other`, and none. */
extern const struct view aws_context;
extern const struct view aws_context_other;
extern const struct view aws_context_none;

/* Writes the configuration file and sets the environment; HOME is the test's folder. */
void aws_configure(struct fake_service *fake, const struct kms_settings *settings);
struct source *aws_open(struct fake_service *fake, const struct kms_settings *settings);

void aws_start(struct fake_service *fake);
/* kms_reset, and both clocks of the fake are right. */
void aws_reset(struct fake_service *fake);
/* Of the fake's Date header and of what it checks dates against. */
void aws_set_clock(struct fake_service *fake, int ahead_s);
