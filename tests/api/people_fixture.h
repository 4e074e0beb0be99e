/*
 * Two approvers, Alice (1) and Bob (2), with a folder for what they sign, and a token whose two
 * persons they are. The module is part of the test program.
 */
#pragma once

#include <stddef.h>

#include "tests/support/api_fixture.h"
#include "tests/support/approval_fixture.h"

extern struct api api;
extern char people_folder[64];

/* Checked fixtures: the folder stands outside of the token's, as the configuration is written with
 * it. */
void people_setup(void);
void people_teardown(void);
/* A file of that name in the folder. */
void people_write(const char *name, const char *text, size_t len);

/* `two_person =` operations, and as many approvals as are needed. */
void people_open_token(const char *operations, unsigned int needed);
void people_token_serial(char ret_serial[17]);
void people_unique_id(CK_OBJECT_HANDLE key, char ret_id[40]);
/* Fails the test when the module's log does not have them. */
void people_expect_log(const char *words);
/* What the last refusal in the log says has to be signed. */
void people_wanted_object(char ret_text[65]);

/* Person `seed` approves of destroying what has this unique id. */
void people_approve(unsigned int seed, const char *id, unsigned int number);
/* Of the policy that the last refusal asks for. */
void people_approve_policy(unsigned int seed, unsigned int number);
/* A restart with these lines besides where approvals are; what C_Login answers. */
CK_RV people_login_with(const char *lines);
