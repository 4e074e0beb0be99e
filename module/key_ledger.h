/*
 * The counter for IVs of one key value in this process, shared by every object that holds the
 * value: the copies of an object, and a key that is imported twice.
 *
 * A ledger is found by a fingerprint of the value. It lives as long as an object refers to it, and
 * to the end of the process once it has given out a counter: a key that is destroyed and imported
 * again must not count from the start.
 */
#pragma once

#include "module/iv_form.h"
#include "module/object.h"

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
