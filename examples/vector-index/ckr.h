// Names of Cryptoki's return values, and what a person can do about them.
#pragma once

#include <stdbool.h>

#include <cryptoki.h>

const char *ckr_name(CK_RV rv);

// Says that FUNCTION failed on WHERE, the value's name, and the remedy; always returns false.
bool ckr_fail(CK_RV rv, const char *function, const char *where);

// True for CKR_OK; for any other value the same as ckr_fail.
bool ckr_check(CK_RV rv, const char *function, const char *where);
