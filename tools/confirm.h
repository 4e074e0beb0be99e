/*
 * The question before what cannot be undone.
 */
#pragma once

#include "base/bytes.h"
#include "tools/options.h"

/* `--yes`, or `word` typed at the terminal; else a failure told by failure.h. */
CK_RV confirm(const struct options *options, const char *what, struct view word);
