/*
 * The canonical context of a token: its name and its context.* keys as bytes that are the same
 * whatever the order in the file. Bound by the source at wrap and unwrap, and by the token record.
 */
#pragma once

#include "base/bytes.h"
#include "conf/conf.h"

#define CONTEXT_PREFIX "context."

CK_RV context_encode(const struct conf_section *section, struct blob *ret_context);

/* The same for a direct key: without a name, and empty when the section has no context.* keys,
 * since whoever made the ciphertext knew nothing of this module. */
CK_RV context_encode_key(const struct conf_section *section, struct blob *ret_context);

/* Writes what differs first ("context.tenant", "the token's name") into `ret_what`, which has room
 * for `size` bytes. Both may be hostile. */
void context_name_difference(struct view stored, struct view configured, char *ret_what,
                             size_t size);
