/* The end of a MAC, in one place for the functions that sign and those that verify. */
#pragma once

#include "module/operation.h"

/* The MAC of what was given in parts before, and of `in`, if any (NULL: nothing more). `out` has
 * room for result_len bytes. */
static inline CK_RV mac_compute(struct operation *operation, const struct view *in,
                                unsigned char *out)
{
    const struct digest_ops *mac = operation->mechanism->mac;

    return in != NULL ? mac->one_shot(operation, *in, out) : mac->finish(operation, out);
}
/* Compares it with a signature: CKR_SIGNATURE_LEN_RANGE, CKR_SIGNATURE_INVALID. */
CK_RV mac_check(struct operation *operation, const struct view *in, struct view signature);
