/*
 * What every reader of a caller's template does first. attributes_from_template itself is declared
 * in module/attributes.h.
 */
#pragma once

#include "module/attributes_table.h"

/* Pointers and lengths, the number of entries, types the module knows, and no type twice with two
 * values (the same value twice does no harm: PKCS #11 4.1.1 leaves it to us). Logs the failure.
 * CKR_ARGUMENTS_BAD, CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID,
 * CKR_TEMPLATE_INCONSISTENT. */
CK_RV attributes_template_check(const CK_ATTRIBUTE *template, CK_ULONG count);

/* Pointers and lengths alone, for a template that names what it likes (a search). */
CK_RV attributes_template_bounds(const CK_ATTRIBUTE *template, CK_ULONG count);

static inline struct view attributes_template_view(const CK_ATTRIBUTE *entry)
{
    return (struct view){entry->pValue, entry->ulValueLen};
}
