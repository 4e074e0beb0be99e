/* The folder that approvals are dropped into. */
#pragma once

#include "base/bytes.h"

/* Calls `each` with the text of every regular file whose name ends in .approval. `name` is for
 * messages. What cannot be read is logged and left out. */
typedef void approvals_folder_fn(void *context, struct view document, const char *name);
void approvals_folder_each(const char *path, approvals_folder_fn *each, void *context);
