#include "tests/contract/own_memory.h"

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MASK 0xa5
#define HALF_LEN ((size_t) 16)
#define PATTERNS_MAX 192
#define PAGE_LEN ((size_t) 4096)
#define WINDOW_LEN (16 * PAGE_LEN) /* a pipe takes that much */
#define PRINTED_MAX 20

struct pattern {
    const char *name;
    const char *form;
    unsigned char masked[HALF_LEN];
};

struct own_memory {
    struct pattern patterns[PATTERNS_MAX];
    size_t count;
    bool begins[1 << 16]; /* some pattern begins with these two masked bytes */
    size_t finds[PATTERNS_MAX];
    size_t byte_count;
    int pipe[2];
    unsigned char window[HALF_LEN + WINDOW_LEN]; /* begins with the end of the window before */
};

struct own_memory *own_memory_new(void)
{
    struct own_memory *memory = calloc(1, sizeof(*memory));
    ck_assert_ptr_nonnull(memory);
    ck_assert_int_eq(pipe(memory->pipe), 0);
    return memory;
}

void own_memory_free(struct own_memory *memory)
{
    ck_assert_int_eq(close(memory->pipe[0]), 0);
    ck_assert_int_eq(close(memory->pipe[1]), 0);
    free(memory);
}

static size_t two_bytes(const unsigned char *bytes)
{
    return (size_t) bytes[0] << 8 | bytes[1];
}

void own_memory_add(struct own_memory *memory, const char *name, const unsigned char *bytes)
{
    static const struct {
        const char *name;
        size_t swap; /* of the index */
        unsigned char pad;
    } forms[] = {
        {"raw", 0, 0},          {"swapped words", 3, 0},         {"inner pad", 0, 0x36},
        {"outer pad", 0, 0x5c}, {"swapped, inner pad", 3, 0x36}, {"swapped, outer pad", 3, 0x5c},
    };
    for (size_t i = 0; i < 2 * sizeof(forms) / sizeof(forms[0]); i++) {
        ck_assert_uint_lt(memory->count, PATTERNS_MAX);
        struct pattern *pattern = &memory->patterns[memory->count++];
        pattern->name = name;
        pattern->form = forms[i / 2].name;
        for (size_t at = 0; at < HALF_LEN; at++)
            pattern->masked[at] =
                bytes[(i % 2 * HALF_LEN + at) ^ forms[i / 2].swap] ^ forms[i / 2].pad ^ MASK;
        memory->begins[two_bytes(pattern->masked)] = true;
    }
}

static bool is_here(const struct pattern *pattern, const unsigned char *bytes)
{
    for (size_t at = 0; at < HALF_LEN; at++) {
        if ((bytes[at] ^ MASK) != pattern->masked[at])
            return false;
    }
    return true;
}

struct mapping {
    uintptr_t start;
    uintptr_t end;
    char name[64];
};

/* The window's first new byte is at `from`. A place near the end of its mapping is of a stack. */
static void look(struct own_memory *memory, const struct mapping *mapping, uintptr_t from,
                 size_t len)
{
    for (size_t at = 0; at <= len; at++) {
        const unsigned char *bytes = memory->window + at;
        const unsigned char masked[2] = {bytes[0] ^ MASK, bytes[1] ^ MASK};
        if (!memory->begins[two_bytes(masked)])
            continue;
        for (size_t i = 0; i < memory->count; i++) {
            if (!is_here(&memory->patterns[i], bytes))
                continue;
            if (memory->finds[i]++ < PRINTED_MAX)
                printf("  %s (%s) in %s, %lu bytes from its start, %lu from its end\n",
                       memory->patterns[i].name, memory->patterns[i].form, mapping->name,
                       from + at - HALF_LEN - mapping->start, mapping->end - from - at + HALF_LEN);
        }
    }
}

/* By the kernel, which says EFAULT where a debugger may not look or another thread unmaps. */
static size_t copy(struct own_memory *memory, uintptr_t from, size_t len)
{
    ssize_t taken = write(memory->pipe[1], (const void *) from, len);
    if (taken <= 0)
        return 0;
    size_t at = 0;
    while (at < (size_t) taken) {
        ssize_t got = read(memory->pipe[0], memory->window + HALF_LEN + at, (size_t) taken - at);
        ck_assert_int_gt(got, 0);
        at += (size_t) got;
    }
    return at;
}

static void search_mapping(struct own_memory *memory, const struct mapping *mapping)
{
    memset(memory->window, 0, HALF_LEN);
    for (uintptr_t at = mapping->start; at < mapping->end;) {
        size_t rest = mapping->end - at;
        size_t len = copy(memory, at, rest < WINDOW_LEN ? rest : WINDOW_LEN);
        if (len == 0) {
            at += PAGE_LEN;
            continue;
        }
        look(memory, mapping, at, len);
        memmove(memory->window, memory->window + len, HALF_LEN);
        memory->byte_count += len;
        at += len;
    }
    explicit_bzero(memory->window, sizeof(memory->window));
}

size_t own_memory_search(struct own_memory *memory)
{
    char line[512];
    char access[8];
    size_t total = 0;
    memset(memory->finds, 0, sizeof(memory->finds));
    memory->byte_count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        struct mapping mapping = {.name = "anonymous memory"};
        ck_assert_int_ge(sscanf(line, "%lx-%lx %7s %*s %*s %*s %63s", &mapping.start, &mapping.end,
                                access, mapping.name),
                         3);
        /* "[v…": the kernel's pages of time. */
        if (access[0] == 'r' && strncmp(mapping.name, "[v", 2) != 0)
            search_mapping(memory, &mapping);
    }
    ck_assert_int_eq(fclose(maps), 0);
    for (size_t i = 0; i < memory->count; i++)
        total += memory->finds[i];
    return total;
}

size_t own_memory_finds(const struct own_memory *memory, const char *name)
{
    size_t total = 0;
    for (size_t i = 0; i < memory->count; i++)
        total += strcmp(memory->patterns[i].name, name) == 0 ? memory->finds[i] : 0;
    return total;
}

size_t own_memory_byte_count(const struct own_memory *memory)
{
    return memory->byte_count;
}
