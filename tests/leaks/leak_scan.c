#include "tests/leaks/leak_scan.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>
#include <openssl/evp.h>

#define PATTERN_MAX 128
#define LIST_MAX 256
#define WINDOW_LEN ((size_t) 4 << 20)

struct pattern {
    enum leak_kind kind;
    char name[32];
    const char *form;
    unsigned char bytes[PATTERN_MAX];
    size_t len;
};

struct leak_list {
    struct pattern patterns[LIST_MAX];
    size_t count;
    bool begins[1 << 16]; /* some pattern begins with these two bytes */
};

struct leak_list *leak_list_new(void)
{
    struct leak_list *list = calloc(1, sizeof(*list));
    ck_assert_ptr_nonnull(list);
    return list;
}

void leak_list_free(struct leak_list *list)
{
    free(list);
}

static size_t two_bytes(const unsigned char *bytes)
{
    return (size_t) bytes[0] << 8 | bytes[1];
}

static void add_form(struct leak_list *list, const struct pattern *secret, const char *form,
                     const void *bytes, size_t len)
{
    ck_assert_uint_lt(list->count, LIST_MAX);
    ck_assert_uint_le(len, PATTERN_MAX);
    struct pattern *pattern = &list->patterns[list->count++];
    *pattern = *secret;
    pattern->form = form;
    memcpy(pattern->bytes, bytes, len);
    pattern->len = len;
    list->begins[two_bytes(pattern->bytes)] = true;
}

static void add_hex(struct leak_list *list, const struct pattern *secret)
{
    char lower[2 * PATTERN_MAX + 1];
    char upper[2 * PATTERN_MAX + 1];
    for (size_t i = 0; i < secret->len; i++) {
        sprintf(lower + 2 * i, "%02x", secret->bytes[i]);
        sprintf(upper + 2 * i, "%02X", secret->bytes[i]);
    }
    add_form(list, secret, "hex", lower, 2 * secret->len);
    add_form(list, secret, "HEX", upper, 2 * secret->len);
}

/* What of the secret's base64 its neighbours leave alone, by its place in a group of three. */
static void add_base64(struct leak_list *list, const struct pattern *secret)
{
    static const char *const forms[] = {"base64", "base64 from byte 1", "base64 from byte 2"};
    for (size_t skip = 0; skip < 3; skip++) {
        unsigned char text[2 * PATTERN_MAX];
        size_t len = (secret->len - skip) / 3 * 3;
        int text_len = EVP_EncodeBlock(text, secret->bytes + skip, (int) len);
        add_form(list, secret, forms[skip], text, (size_t) text_len);
    }
}

static void add_swapped(struct leak_list *list, const struct pattern *secret)
{
    unsigned char swapped[PATTERN_MAX];
    size_t len = secret->len / 4 * 4;
    for (size_t i = 0; i < len; i++)
        swapped[i] = secret->bytes[i ^ 3];
    add_form(list, secret, "swapped words", swapped, len);
}

void leak_list_add(struct leak_list *list, enum leak_kind kind, const char *name,
                   const unsigned char *bytes, size_t len)
{
    struct pattern secret = {.kind = kind, .len = len};
    ck_assert_uint_ge(len, 16);
    ck_assert_uint_le(len, PATTERN_MAX / 2);
    snprintf(secret.name, sizeof(secret.name), "%s", name);
    memcpy(secret.bytes, bytes, len);
    add_form(list, &secret, "raw", bytes, len);
    add_hex(list, &secret);
    add_base64(list, &secret);
    add_swapped(list, &secret);
}

static void count_find(const struct pattern *pattern, const char *where, size_t at,
                       struct leak_found *found)
{
    static const char *const kinds[] = {"LEAK", "cached", "canary"};
    found->counts[pattern->kind]++;
    printf("  %s: %s (%s) in %s at 0x%zx\n", kinds[pattern->kind], pattern->name, pattern->form,
           where, at);
}

/* A pattern that begins before `end`; `base` is where the bytes stand, for the report. */
struct span {
    const unsigned char *bytes;
    size_t len;
    size_t end;
    size_t base;
};

static void scan_span(const struct leak_list *list, const char *where, const struct span *span,
                      struct leak_found *found)
{
    for (size_t at = 0; at < span->end && at + 2 <= span->len; at++) {
        if (!list->begins[two_bytes(span->bytes + at)])
            continue;
        for (size_t i = 0; i < list->count; i++) {
            const struct pattern *pattern = &list->patterns[i];
            if (pattern->len <= span->len - at &&
                memcmp(span->bytes + at, pattern->bytes, pattern->len) == 0)
                count_find(pattern, where, span->base + at, found);
        }
    }
    found->byte_count += span->end;
}

void leak_scan_bytes(const struct leak_list *list, const char *where, const unsigned char *bytes,
                     size_t len, struct leak_found *found)
{
    struct span span = {.bytes = bytes, .len = len, .end = len};
    scan_span(list, where, &span, found);
}

struct range {
    const char *where;
    size_t start;
    size_t end;
};

/* Windows overlap by the longest pattern. False when the first byte cannot be read. */
static bool scan_range(const struct leak_list *list, int fd, const struct range *range,
                       struct leak_found *found)
{
    unsigned char *window = malloc(WINDOW_LEN + PATTERN_MAX);
    ck_assert_ptr_nonnull(window);
    bool readable = true;
    for (size_t at = range->start; at < range->end; at += WINDOW_LEN) {
        size_t rest = range->end - at;
        size_t wanted = rest < WINDOW_LEN + PATTERN_MAX ? rest : WINDOW_LEN + PATTERN_MAX;
        ssize_t got = pread(fd, window, wanted, (off_t) at);
        if (got <= 0) {
            readable = at > range->start;
            break;
        }
        struct span span = {.bytes = window, .len = (size_t) got, .base = at};
        span.end = span.len < WINDOW_LEN ? span.len : WINDOW_LEN;
        scan_span(list, range->where, &span, found);
    }
    free(window);
    return readable;
}

void leak_scan_file(const struct leak_list *list, const char *path, struct leak_found *found)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0 && fstat(fd, &info) == 0, "%s cannot be read", path);
    struct range range = {path, 0, (size_t) info.st_size};
    ck_assert(scan_range(list, fd, &range, found));
    ck_assert_int_eq(close(fd), 0);
}

struct mapping {
    size_t start;
    size_t end;
    bool is_readable;
    bool is_undumped;
    char name[128];
};

/* The next mapping in an smaps file; false at the end. */
static bool mapping_next(FILE *smaps, struct mapping *ret_mapping)
{
    char line[512];
    char access[8];
    bool has_one = false;
    while (fgets(line, sizeof(line), smaps) != NULL) {
        int name_at = 0;
        if (isxdigit((unsigned char) line[0]) && !isupper((unsigned char) line[0])) {
            *ret_mapping = (struct mapping){0};
            if (sscanf(line, "%zx-%zx %7s %*s %*s %*s %n", &ret_mapping->start, &ret_mapping->end,
                       access, &name_at) < 3)
                continue;
            line[strcspn(line, "\n")] = '\0';
            snprintf(ret_mapping->name, sizeof(ret_mapping->name), "%.100s",
                     line[name_at] == '\0' ? "anonymous memory" : line + name_at);
            ret_mapping->is_readable = access[0] == 'r';
            has_one = true;
        }
        if (has_one && strncmp(line, "VmFlags:", 8) == 0) {
            ret_mapping->is_undumped = strstr(line, " dd") != NULL;
            return true;
        }
    }
    return false;
}

static void scan_mapping(const struct leak_list *list, int memory, const struct mapping *mapping,
                         bool with_slabs, struct leak_found *found)
{
    /* The kernel's own pages of time; they are marked like the slabs. */
    if (!mapping->is_readable || strncmp(mapping->name, "[v", 2) == 0)
        return;
    if (mapping->is_undumped && strstr(mapping->name, "secretmem") == NULL) {
        found->undumped_count++;
        if (!with_slabs)
            return;
    }
    struct range range = {mapping->name, mapping->start, mapping->end};
    if (!scan_range(list, memory, &range, found))
        found->unreadable_count++;
}

void leak_scan_process(const struct leak_list *list, pid_t pid, bool with_slabs,
                       struct leak_found *found)
{
    char path[64];
    struct mapping mapping;
    snprintf(path, sizeof(path), "/proc/%d/smaps", (int) pid);
    FILE *smaps = fopen(path, "r");
    snprintf(path, sizeof(path), "/proc/%d/mem", (int) pid);
    int memory = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(smaps != NULL && memory >= 0, "%s cannot be read", path);
    while (mapping_next(smaps, &mapping))
        scan_mapping(list, memory, &mapping, with_slabs, found);
    ck_assert_int_eq(fclose(smaps), 0);
    ck_assert_int_eq(close(memory), 0);
}
