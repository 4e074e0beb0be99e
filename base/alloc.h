/*
 * The one allocator. Every heap block of the project comes from here, so that a test can make the
 * N-th allocation fail and find every path that forgets to check (or to give back).
 *
 * NULL means that memory is short; the caller returns CKR_HOST_MEMORY. Blocks hold nothing secret:
 * secrets live in base/secret.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* An empty block (len 0) is a pointer of its own, never NULL. */
void *mem_alloc(size_t len);
void *mem_calloc(size_t count, size_t len);
/* As realloc; count * len is checked for overflow. `old` stays valid on failure. */
void *mem_resize(void *old, size_t count, size_t len);
char *mem_strdup(const char *text);
void *mem_dup(const void *bytes, size_t len);
char *mem_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
void mem_free(void *block);

/* For the cleanup attribute on any pointer variable. */
void mem_free_pointer(void *address_of_pointer);

#ifdef INDEXKEY_TEST_HOOKS
/* Makes the N-th allocation from now fail (1 = the next), and every one after it when `forever`;
 * 0 switches the fault off. A secret counts as an allocation. */
void mem_fail_at(unsigned long nth, bool forever);
/* Allocations since mem_fail_at was called last. */
unsigned long mem_count(void);
/* Blocks that are allocated and not yet freed. */
long mem_live(void);
/* Counts one allocation; true when it is the one that must fail. For base/secret.c. */
bool mem_must_fail(void);
#endif
