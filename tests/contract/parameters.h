/*
 * For the tests of parameter stores (`ciphertext = ssm:…`), whichever source's: a table of what is
 * read, or is not, and a login with direct keys.
 */
#pragma once

#include "tests/contract/kms_fixture.h"

struct parameter_row {
    const char *place;
    const char *script; /* a command to the fake before it is read; NULL: none */
    enum indexkey_cause cause;
    const char *says; /* in the log; without a failure, what is read */
};

/* Runs one row. The value "AQICAHcanary" is not in the log. */
void parameters_check(struct fake_service *fake, struct source *source,
                      const struct parameter_row *row);

/* Reads it while one allocation after the other fails: it fails for want of memory, or succeeds,
 * and leaves nothing behind. */
void parameters_check_memory(struct source *source, const char *place);

/* Sections [key plain], [key named] and [key absent] of those places; static text. */
const char *parameters_sections(const char *plain, const char *named, const char *absent);
/* A ciphertext of 32 random bytes that the fake makes by its command "encrypt", in base64; static
 * text. */
const char *parameters_ciphertext(struct fake_service *fake);
/* C_InitToken and C_Login: the first two keys are shown, and the third is not ("config"). */
void parameters_assert_login(void);
