/*
 * The library as a whole: C_Initialize, C_Finalize, and what lies between.
 *
 * "Initialised" is a word on a page that a fork wipes (base/fork.h): one load answers whether a
 * call may go on, in the child of a fork too. Calls on a session are held off from C_Finalize by
 * the session's lock; calls without one, and those that wait for the network, count themselves in
 * with module_enter.
 *
 * A source's HTTP client runs the host's TLS, which may load a PKCS#11 provider over this very
 * module, and so may a parent HSM's module: a call from in there would wait for its own thread, so
 * module_enter, C_Initialize and C_Finalize refuse it with CKR_FUNCTION_FAILED.
 *
 * Lock order: lifecycle → slot → session → key. The object table's lock is a leaf.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/rv.h"
#include "conf/conf.h"

struct slot;

/* What the word on the wipe-on-fork page says. In the child of a fork it is MODULE_UNKNOWN again.
 */
enum { MODULE_UNKNOWN = 0, MODULE_CLAIMING, MODULE_DOWN, MODULE_UP };

/* Where that word is; before the page is mapped, one that says MODULE_DOWN. */
extern _Atomic unsigned int *_Atomic module_word;

/* The long way of module_check, for a library that is not up. */
_long_way_ CK_RV module_check_down(void);

/* CKR_CRYPTOKI_NOT_INITIALIZED before C_Initialize, after C_Finalize, and in the child of a fork.
 */
static inline CK_RV module_check(void)
{
    _Atomic unsigned int *word = atomic_load_explicit(&module_word, memory_order_acquire);

    return atomic_load_explicit(word, memory_order_acquire) == MODULE_UP ? CKR_OK
                                                                         : module_check_down();
}

/* As module_check, and C_Finalize waits until module_leave. Not for the data path.
 * CKR_FUNCTION_FAILED, logged, from inside a source's library. */
CK_RV module_enter(void);
void module_leave(void);

CK_RV module_initialize(const CK_C_INITIALIZE_ARGS *args);
CK_RV module_finalize(void);

/* The slots, in the order of the configuration. Valid while the caller is inside. */
struct slot *module_slots(size_t *ret_count);
/* CKR_SLOT_ID_INVALID. */
CK_RV module_slot(CK_SLOT_ID id, struct slot **ret_slot);

/* C_WaitForSlotEvent: slots never come or go, so a blocking call waits for C_Finalize. */
CK_RV module_wait_for_finalize(void);
