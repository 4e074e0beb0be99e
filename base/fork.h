/*
 * Fork detection without a system call: a word on a page that the kernel wipes in a forked child.
 *
 * The module keeps its "initialised" flag there, so that one load on the data path answers both
 * questions: a child reads 0 and is uninitialised, as the standard demands (PKCS #11 3.2, 5.4).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "include/cryptoki.h"

/* Maps the page at the first call; later calls return the same word. The word is 0 at first, and 0
 * again in every child of a fork. CKR_HOST_MEMORY if the page cannot be had. Never unmapped. */
CK_RV fork_word(_Atomic unsigned int **ret_word);
