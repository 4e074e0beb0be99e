/*
 * Reading and matching the attributes of an object: C_GetAttributeValue, C_FindObjectsInit,
 * C_GetObjectSize.
 *
 * Attributes that may not be revealed (CKA_VALUE of a sensitive or non-extractable key) are
 * CKR_ATTRIBUTE_SENSITIVE and never match a search template, so that a search is no oracle.
 */
#pragma once

#include "module/object.h"

/* Processes every entry; sets ulValueLen = CK_UNAVAILABLE_INFORMATION at each that fails, and
 * returns one of the failures (PKCS #11 5.7.5). */
CK_RV object_get_attributes(struct object *object, CK_ATTRIBUTE *template, CK_ULONG count);

/* True when every entry equals the object's attribute; the template was checked by
 * object_search_template. */
bool object_matches(struct object *object, const CK_ATTRIBUTE *template, CK_ULONG count);

/* Bounds and pointers of a search template: CKR_ARGUMENTS_BAD, CKR_ATTRIBUTE_VALUE_INVALID. */
CK_RV object_search_template(const CK_ATTRIBUTE *template, CK_ULONG count);

/* CKA_UNIQUE_ID as it is shown: the object id in lower-case hex (32 characters), and "-N" behind
 * the parent's for the subkey of purpose N. `ret_text` has room for OBJECT_UNIQUE_ID_MAX bytes and
 * a NUL. */
#define OBJECT_UNIQUE_ID_MAX 34
void object_unique_id(const struct object *object, char ret_text[OBJECT_UNIQUE_ID_MAX + 1]);

/* CKA_CHECK_VALUE (3 bytes): AES the first bytes of E_K(0), else of SHA-1(value). False where
 * policy gives none: GCM keys, values under 16 bytes, index keys and subkeys. */
bool object_check_value(struct object *object, unsigned char ret_check[3]);

/* The same of a value at hand, whatever policy shows later: what a CKA_CHECK_VALUE in a creating
 * template is compared with (PKCS #11 4.10.2). */
bool check_value_compute(CK_KEY_TYPE key_type, const struct secret *value,
                         unsigned char ret_check[3]);
