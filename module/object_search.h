/*
 * C_FindObjects: the handles that match a template, taken at C_FindObjectsInit.
 *
 * A template with CKA_UNIQUE_ID, CKA_LABEL or CKA_ID is answered from the table's index; any other
 * walks the table. Subkey objects are matched without being made.
 */
#pragma once

#include "module/object.h"

struct search {
    CK_OBJECT_HANDLE *handles;
    size_t count;
    size_t capacity;
    size_t next;
};

/* `with_private`: the user is logged in. `search` is empty and gets the handles. */
CK_RV object_search(struct slot *slot, const CK_ATTRIBUTE *template, CK_ULONG count,
                    bool with_private, struct search *search);
/* Empty again; room for a few handles stays, so that the next small search allocates nothing. */
void search_end(struct search *search);
/* At a session's end: frees it. */
void search_clear(struct search *search);
