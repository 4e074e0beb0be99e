#include "util.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void util_say(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("vector-index: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

void *util_alloc(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);

    if (memory == NULL) {
        util_say("out of memory: %zu items of %zu bytes", count, size);
    }
    return memory;
}

bool util_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        uint64_t digit = (uint64_t)(unsigned char)*text - '0';

        if (digit > 9 || __builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    if (value < min || value > max) {
        return false;
    }
    *ret_value = value;
    return true;
}

uint8_t *util_put_be(uint8_t *to, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++) {
        to[width - 1 - i] = (uint8_t)(value >> (8 * i));
    }
    return to + width;
}

uint64_t util_get_be(const uint8_t *from, size_t width)
{
    uint64_t value = 0;

    for (size_t i = 0; i < width; i++) {
        value = value << 8 | from[i];
    }
    return value;
}

void util_put_floats(uint8_t *to, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++, to += 4) {
        uint32_t bits;

        memcpy(&bits, &values[i], sizeof bits);
        to[0] = (uint8_t)bits;
        to[1] = (uint8_t)(bits >> 8);
        to[2] = (uint8_t)(bits >> 16);
        to[3] = (uint8_t)(bits >> 24);
    }
}

void util_get_floats(const uint8_t *from, float *values, size_t count)
{
    for (size_t i = 0; i < count; i++, from += 4) {
        uint32_t bits = (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
                        (uint32_t)from[3] << 24;

        memcpy(&values[i], &bits, sizeof bits);
    }
}

void util_freep(void *pointer)
{
    void *memory;

    memcpy(&memory, pointer, sizeof memory);
    free(memory);
}

void util_fclosep(FILE **file)
{
    if (*file != NULL) {
        fclose(*file);
    }
}
