/*
 * Looks for known secrets in this very process, the module's slabs included, which no other process
 * may read (memfd_secret). Patterns are kept masked, so that the search does not find itself; the
 * caller wipes the bytes that it names. For one thread; the others may go on meanwhile.
 */
#pragma once

#include <stddef.h>

#define OWN_SECRET_LEN 32

struct own_memory;

/* Freed with own_memory_free. */
struct own_memory *own_memory_new(void);
void own_memory_free(struct own_memory *memory);
/* 32 bytes. Each half is looked for alone: as it is, as 32-bit words of the other byte order (what
 * SHA-2 makes of its input), and both under HMAC's two pads. */
void own_memory_add(struct own_memory *memory, const char *name, const unsigned char *bytes);

/* Every mapping that can be read. Prints a line for each find; their number. */
size_t own_memory_search(struct own_memory *memory);
/* Finds of that name in the last search; bytes that it looked at. */
size_t own_memory_finds(const struct own_memory *memory, const char *name);
size_t own_memory_byte_count(const struct own_memory *memory);
