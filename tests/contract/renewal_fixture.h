/*
 * For the tests of what renews a token (epoch, token key, wrapped data key, backup): a token with
 * data, looked at by a process that starts anew, and a process that is killed at each of its steps.
 */
#pragma once

#include "tests/support/object_fixture.h"

#define RENEWAL_OBJECTS 40

/* On SQLite, with RENEWAL_OBJECTS objects; its user is logged in. */
struct custody *renewal_token(void);
/* The same objects, on that custody, with an empty log before and after. */
void renewal_check(struct custody *custody);
/* The store opened anew, as by a process that starts: the user logs in and finds all objects. */
void renewal_check_anew(void);

/* The store as before its first use. All custodies are closed. */
void renewal_remove_store(void);
/* The store's files as they are now; put back by renewal_put_back. All custodies are closed. */
void renewal_keep(void);
void renewal_put_back(void);

/* True when the store's files hold these bytes. */
bool renewal_files_hold(struct view bytes);
/* A record as it is in the store; freed with blob_clear. */
struct blob renewal_record(struct custody *custody, const char *name);

/* A child of its own opens the token and acts; it is killed at its first write, sync or truncation,
 * then another one at its second, until one comes through. `check` looks after each. */
typedef CK_RV renewal_act_fn(struct custody *custody);
void renewal_kill_everywhere(renewal_act_fn *act, void (*check)(void));
/* The same steps fail by an I/O error or a full device. */
void renewal_fail_everywhere(renewal_act_fn *act, void (*check)(void));

#define RENEWAL_MANY 100000
#define RENEWAL_VALUE_LEN 32

/* Rows that the summary does not count. Returns the last one's id. */
struct object_id renewal_put_many(struct custody *custody);
/* Prints how long it took, and how much the peak of memory went up. */
void renewal_measure(struct custody *custody, renewal_act_fn *act, const char *what);
