// Searches an encrypted index: by query vectors, by the likeness of a stored item, by a field.
#pragma once

#include <stdbool.h>

#include "options.h"

bool index_search(const struct options *options);
