/*
 * Secrets: key bytes, PINs, credentials, plaintexts that wait for their tag.
 *
 * They live in slab pages apart from the heap: memfd_secret where the kernel has it (unreadable
 * through /proc and ptrace, absent from cores and swap; not mapped in a forked child), else locked
 * anonymous memory that a fork wipes and a core omits. Each slab stands between guard pages. Bytes
 * are wiped when they are given back. One empty slab of each slot size is kept.
 *
 * A struct secret owns its bytes; it is moved, never copied by assignment. Thread-safe, except that
 * one secret is used by one thread at a time unless it is only read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "include/cryptoki.h"

struct blob;

struct secret {
    unsigned char *bytes; /* NULL when len is 0 */
    size_t len;
};

#define SECRET_MAX ((size_t) 64 << 20)

/* With `require_locked`, allocation fails (CKR_HOST_MEMORY) where the memory cannot be locked;
 * without it, one warning says so and the work goes on. Called once at C_Initialize. */
void secrets_init(bool require_locked);

/* After a fork, before any other call of the child: forgets the parent's slabs without touching
 * them (they are not mapped, or zero). A secret made before the fork is not to be cleared: its
 * addresses may be a new slab's by then. */
void secrets_abandon(void);

/* Zero-filled. Freed with secret_clear; `len` may be made smaller before that. CKR_HOST_MEMORY when
 * memory is short or len > SECRET_MAX. */
CK_RV secret_new(size_t len, struct secret *ret_secret);
CK_RV secret_from(const void *bytes, size_t len, struct secret *ret_secret);

/* Wipes and frees; leaves an empty secret. Takes the pointer so that _cleanup_(secret_clear)
 * works. */
void secret_clear(struct secret *secret);

/* The bytes change hands: `from` is left empty. */
struct secret secret_move(struct secret *from);

/* Constant time for equal lengths. */
bool secret_equal(const struct secret *a, const struct secret *b);
/* The same for `len` bytes anywhere: MACs, tags. */
bool secret_bytes_equal(const void *a, const void *b, size_t len);
/* Overwrites bytes outside slabs (a MAC on the stack) so that no compiler drops it. */
void secret_wipe(void *bytes, size_t len);
/* Wipes a blob's bytes and frees them: what is not secret to whom has logged in, but none of the
 * heap's business afterwards. For the cleanup attribute. */
void blob_discard(struct blob *blob);

/* Bytes of slab memory in use, for tests and memory figures; each secret counts with its whole
 * slot. */
size_t secrets_in_use(void);
/* False when some slab could not be locked. */
bool secrets_are_locked(void);

#ifdef INDEXKEY_TEST_HOOKS
/* Acts as on a kernel without memfd_secret for slabs made from now on. */
void secrets_test_no_memfd(bool absent);
#endif
