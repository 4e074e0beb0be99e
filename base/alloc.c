#include "base/alloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef INDEXKEY_TEST_HOOKS
#include <stdatomic.h>

static atomic_ulong fault_at;
static atomic_bool fault_stays;
static atomic_ulong alloc_count;
static atomic_long live_count;

void mem_fail_at(unsigned long nth, bool forever)
{
    atomic_store(&fault_at, nth);
    atomic_store(&fault_stays, forever);
    atomic_store(&alloc_count, 0);
}

unsigned long mem_count(void)
{
    return atomic_load(&alloc_count);
}

long mem_live(void)
{
    return atomic_load(&live_count);
}

bool mem_must_fail(void)
{
    unsigned long mine = atomic_fetch_add(&alloc_count, 1) + 1;
    unsigned long fault = atomic_load(&fault_at);
    return fault != 0 && (mine == fault || (mine > fault && atomic_load(&fault_stays)));
}

static void note_live(long change)
{
    atomic_fetch_add(&live_count, change);
}
#else
static bool mem_must_fail(void)
{
    return false;
}

static void note_live(long change)
{
    (void) change;
}
#endif

void *mem_calloc(size_t count, size_t len)
{
    size_t total;
    if (mem_must_fail() || __builtin_mul_overflow(count, len, &total))
        return NULL;
    /* calloc may answer NULL for nothing at all, which would read as a failure. */
    void *block = calloc(1, total == 0 ? 1 : total);
    if (block != NULL)
        note_live(1);
    return block;
}

void *mem_resize(void *old, size_t count, size_t len)
{
    size_t total;
    if (mem_must_fail() || __builtin_mul_overflow(count, len, &total))
        return NULL;
    void *block = realloc(old, total == 0 ? 1 : total);
    if (block != NULL && old == NULL)
        note_live(1);
    return block;
}

void *mem_alloc(size_t len)
{
    return mem_resize(NULL, len, 1);
}

void *mem_dup(const void *bytes, size_t len)
{
    void *copy = mem_alloc(len);
    if (copy != NULL && len > 0)
        memcpy(copy, bytes, len);
    return copy;
}

char *mem_strdup(const char *text)
{
    return mem_dup(text, strlen(text) + 1);
}

char *mem_format(const char *format, ...)
{
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = len < 0 ? NULL : mem_alloc((size_t) len + 1);
    if (text != NULL)
        (void) vsnprintf(text, (size_t) len + 1, format, again);
    va_end(again);
    return text;
}

void mem_free(void *block)
{
    if (block != NULL)
        note_live(-1);
    free(block);
}

void mem_free_pointer(void *address_of_pointer)
{
    /* The variable has a type of its own, so its value is copied rather than read as a void *. */
    void *block;
    memcpy(&block, address_of_pointer, sizeof block);
    mem_free(block);
}
