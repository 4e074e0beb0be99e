/*
 * The names of Cryptoki's return values.
 */
#pragma once

#include "include/cryptoki.h"

/* NULL when the standard has none. */
const char *ckr_name(CK_RV rv);
