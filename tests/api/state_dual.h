/*
 * The dual functions (PKCS #11 5.17): two machines in one session, and calls that feed both.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

extern const size_t dual_count;
const char *dual_name(size_t row);
/* Whether the module serves the functions. */
bool dual_present(void);
/* Runs every cell of the row, on the token of state_operations.h. Returns how many. */
size_t dual_run(size_t row);
