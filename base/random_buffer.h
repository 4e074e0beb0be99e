/*
 * Random bytes for applications (C_GenerateRandom) and for the unique ids of session objects,
 * fetched ahead in blocks so that a short request does not pay for a call of the DRBG.
 *
 * Never for keys, salts or IVs that the module makes itself: those come from crypto_random at the
 * moment they are needed. What waits here lies in secret memory, 4 KiB in all, and is erased as it
 * is read; the child of a fork has none of it. After each MiB a generator is seeded again.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* Between crypto_init and crypto_finish. Without memory for a buffer every request goes to the
 * DRBG. */
void random_buffer_init(void);
void random_buffer_finish(void);
/* In the child of a fork, in place of random_buffer_finish. */
void random_buffer_abandon(void);

/* Any thread. `place` spreads callers over parts of the buffer, each with a lock of its own. */
CK_RV random_buffer_read(uint32_t place, unsigned char *out, size_t len);

#ifdef INDEXKEY_TEST_HOOKS
/* All of it; empty when there is none. */
struct view random_buffer_test_memory(void);
#endif
