// Small helpers of this example: errors, cleanup, big-endian integers.
//
// Errors: a function that can fail returns bool. The place that finds the fault says it once, on
// stderr, through fail(); callers only pass false on. Nothing secret goes into a message.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

struct bytes {
    const void *data;
    size_t len;
};

// Prints "vector-index: MESSAGE" on stderr.
void util_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Says why, and is false: a macro, so that a static analyser sees the value.
#define fail(...) (util_say(__VA_ARGS__), false)

// Zeroed memory for count items; NULL, with the error said, when there is none. Freed by free().
void *util_alloc(size_t count, size_t size);

// A decimal number, digits only, in min..max; false, unsaid, if it is anything else.
bool util_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);

// Appends width bytes of value, big-endian; returns the place after them.
uint8_t *util_put_be(uint8_t *to, uint64_t value, size_t width);
uint64_t util_get_be(const uint8_t *from, size_t width);

// Floats are 4 bytes, little-endian, in files and in sealed records, whatever the host's order.
void util_put_floats(uint8_t *to, const float *values, size_t count);
void util_get_floats(const uint8_t *from, float *values, size_t count);

// For _cleanup_.
void util_freep(void *pointer);
void util_fclosep(FILE **file);
