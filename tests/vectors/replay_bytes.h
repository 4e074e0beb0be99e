/* Bytes of vectors, and outcomes of cases. No memory for them ends the program. */
#pragma once

#include "tests/vectors/replay.h"

struct bytes {
    CK_BYTE_PTR at;
    CK_ULONG len;
};

void bytes_clear(struct bytes *bytes);

#define CLEARED __attribute__((cleanup(bytes_clear)))

/* Zeros, with room for one more. */
struct bytes bytes_new(CK_ULONG len);
/* A field of a vector, in hex. */
struct bytes bytes_hex(json_t *test, const char *name);
bool bytes_equal(const struct bytes *a, const struct bytes *b);
struct bytes bytes_join(const struct bytes *a, const struct bytes *b);

struct replay_result outcome(enum replay_outcome is);
struct replay_result policy(const char *rule);
__attribute__((format(printf, 1, 2))) struct replay_result wrong(const char *format, ...);

/* What the file says of the vector. */
bool is_valid(json_t *test);
