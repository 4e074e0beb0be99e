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

#include <stdbool.h>

#include "base/rv.h"
#include "conf/conf.h"

struct slot;

/* CKR_CRYPTOKI_NOT_INITIALIZED before C_Initialize, after C_Finalize, and in the child of a fork.
 */
CK_RV module_check(void);

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
