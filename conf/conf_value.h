/*
 * Values: the text after the `=` against the type that the table gives.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"

/* False when `text` is not of the key's type. `*ret_number` as in struct conf_entry, 0 for text. */
bool conf_value_parse(const struct conf_key *key, const char *text, uint64_t *ret_number);

/* What a value of this key must be, to follow "must be": `one of gcm cbc (nearest: 'gcm')`. The
 * refused text itself is not repeated. Always NUL-terminated, cut at `len` bytes. */
void conf_value_describe(const struct conf_key *key, const char *text, char *buffer, size_t len);

/* The position of the word (`len` bytes) in a list that is separated by single spaces, else -1. */
int conf_value_word_index(const char *words, const char *word, size_t len);
