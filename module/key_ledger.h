/*
 * The counter for IVs of one key value in this process, shared by every object that holds the
 * value: the copies of an object, and a key that is imported twice.
 *
 * A ledger is found by a fingerprint of the value. It lives as long as an object refers to it, and
 * to the end of the process once it has given out a counter: a key that is destroyed and imported
 * again must not count from the start.
 */
#pragma once

#include "module/object.h"

/* The IVs that a key's counter makes. A key keeps the first: under another, equal IVs could come
 * from different counts. `base` is what CKG_GENERATE_COUNTER_XOR counts onto, else zeros. */
#define IV_FORM_BASE_MAX 16
struct iv_form {
    CK_ULONG generator;
    CK_ULONG iv_len;
    CK_ULONG fixed_bits;
    unsigned char base[IV_FORM_BASE_MAX];
};

struct key_ledger {
    struct key_ledger *next;
    unsigned char fingerprint[32];
    size_t references; /* with `next`, `has_form` and `form`, guarded by the table's lock */
    _Atomic uint64_t counter;
    bool has_form;
    bool is_inherited; /* from before a fork: the parent goes on with it */
    struct iv_form form;
};

/* The key's, made at the first call and valid as long as the key. */
CK_RV key_ledger_of(struct object *key, struct key_ledger **ret_ledger);
/* False when the key's counter makes IVs of another form already. */
bool key_ledger_keeps_form(struct key_ledger *ledger, const struct iv_form *form);
/* For object_release: the object is going. */
void key_ledger_release(struct key_ledger *ledger);
/* In the child of a fork, before objects of the parent are released. */
void key_ledgers_abandon(void);
