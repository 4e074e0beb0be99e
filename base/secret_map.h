/*
 * Mappings for secrets: aligned, between guard pages, unreadable elsewhere. For base/secret.c.
 *
 * Thread-safe, without a lock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Length of a page. */
size_t secret_map_page(void);

/* `len` zero bytes (a multiple of the page's length) at a multiple of `alignment` (a power of two,
 * at least a page). Given back with secret_map_free. NULL when there are none, or when they cannot
 * be locked and `require_locked` is set; else `ret_locked` says whether they are. */
unsigned char *secret_map_new(size_t len, size_t alignment, bool require_locked, bool *ret_locked);

/* The bytes are already wiped. */
void secret_map_free(unsigned char *bytes, size_t len);

#ifdef INDEXKEY_TEST_HOOKS
/* As secrets_test_no_memfd. */
void secret_map_test_no_memfd(bool absent);
#endif
