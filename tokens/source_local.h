/*
 * What the sources have in common whose root key passes through this process (file, env): where it
 * comes from is theirs, wrapping under it is here.
 *
 * The root key is read anew at every call and wiped after it, so that removing it revokes.
 */
#pragma once

#include "tokens/source.h"

#define ROOT_KEY_LEN 32

/* The root key as it is now; `place` is what was configured, a path or a name. Failures are logged
 * by the reader, with the token's name. */
typedef CK_RV source_local_reader(const char *token, const char *place, struct secret *ret_root);

/* For source_ops.open: `key` is the configuration key that holds the place. */
CK_RV source_local_open(const struct source_ops *ops, const struct conf_section *section,
                        const char *key, source_local_reader *reader, struct source **ret_source);
/* The rest of source_ops. */
void source_local_describe(struct source *source, struct view wrapped,
                           char ret_text[SOURCE_KEY_TEXT_MAX]);
void source_local_close(struct source *source);
CK_RV source_local_wrap(struct source *source, const struct source_call *call,
                        const struct secret *data_key, struct blob *ret_wrapped);
CK_RV source_local_unwrap(struct source *source, const struct source_call *call,
                          struct view wrapped, struct secret *ret_data_key);
