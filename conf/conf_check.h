/*
 * Sections against the schema: known keys, types, required keys, references.
 */
#pragma once

#include "conf/conf.h"

struct conf_check {
    const char *path; /* as messages show it */
    const struct conf_schema *schema;
};

/* Each one logs every mistake of the section, sets its `bad` if there is one, and ties the good
 * entries to their keys. */
void conf_check_module(const struct conf_check *check, struct conf_section *module);
void conf_check_token(const struct conf_check *check, struct conf_section *token);
void conf_check_key(const struct conf_check *check, struct conf_section *key,
                    const struct conf_section *tokens, size_t token_count);

/* As conf_check_key; `bad` refuses the file. */
void conf_check_policy(const struct conf_check *check, struct conf_section *policy,
                       const struct conf_section *tokens, size_t token_count);

/* Gives each token its slot: `slot`, else its position. An id that is taken makes the later token
 * bad and leaves it without a slot. After conf_check_token. */
void conf_check_slots(const struct conf_check *check, struct conf_section *tokens, size_t count);
