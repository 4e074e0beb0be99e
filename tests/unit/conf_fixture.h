/*
 * For the tests of conf/: a schema like the real one, a folder with one file, and the log lines.
 */
#pragma once

#include <check.h>
#include <stddef.h>

#include "conf/conf.h"

#define COUNT_OF(array) ((int) (sizeof(array) / sizeof((array)[0])))

extern const struct conf_schema conf_fixture_schema;
extern char conf_fixture_folder[64];
extern char conf_fixture_path[128];    /* of indexkey.conf in the folder */
extern size_t conf_fixture_line_count; /* logged since the last load */
extern long conf_fixture_live;         /* blocks before the test */

/* Checked fixtures: a fresh folder and an empty log. */
void conf_fixture_setup(void);
void conf_fixture_teardown(void);

void conf_fixture_write(const char *bytes, size_t len);
CK_RV conf_fixture_load(const char *text, struct conf **ret_conf);
void conf_fixture_forget_lines(void);

/* All that was logged: `expected` follows the path if it begins with a colon. */
void conf_fixture_assert_logged(const char *expected);
/* The same for several lines; NULL ends them. */
void conf_fixture_assert_logged_lines(const char *const *expected);

/* Runs the cases and gives main's exit status. */
int conf_fixture_run(const char *name, TCase *cases);
