/*
 * What the stores share among themselves: their tables, and the checks before a commit.
 *
 * Private to tokens/stores.c and the store_*.c files; everybody else includes tokens/store.h.
 */
#pragma once

#include <pthread.h>

#include "tokens/store.h"

extern const struct store_ops store_memory_ops;
extern const struct store_ops store_postgres_ops;
extern const struct store_ops store_postgres_short_ops;
extern const struct store_ops store_sqlite_ops;

/* For store_abandon_unknown. */
void store_sqlite_refuse(void);

/* For store_is_inside. */
bool store_postgres_is_inside(void);

/* For so many turns a store remembers which objects were removed (read_changes). */
#define STORE_TURNS_KEPT 10000

/* True for 1 to STORE_NAME_MAX bytes. */
bool store_name_is_valid(const char *name);

/* Every implementation asks this before it touches a row: all stores refuse the same things.
 * CKR_DEVICE_MEMORY for bytes over STORE_BLOB_MAX; CKR_GENERAL_ERROR for what only a programming
 * error brings about (a bad name, a removal of a row that must not exist, a version out of range).
 * */
CK_RV store_changes_check(const struct store_change *changes, size_t change_count);
/* One less than the version that the change leaves. */
uint64_t store_change_base(const struct store_change *change);

/* A recursive one: a plan reads from the store whose update it is. Cannot fail on Linux. */
void store_mutex_init(pthread_mutex_t *mutex);
