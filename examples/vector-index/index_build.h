// Builds an encrypted index. Memory does not grow with the number of vectors: k-means sees a
// bounded sample, then vectors and items are sealed one by one as they are read.
#pragma once

#include <stdbool.h>

#include "options.h"

bool index_build(const struct options *options);
