/*
 * Looks for known secrets in bytes, files and the memory of processes.
 *
 * Each secret is looked for raw, in hex of either case, in base64 at each of its three alignments,
 * and as 32-bit words of the other byte order (what SHA-2 makes of its input). For one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum leak_kind {
    LEAK_SECRET, /* nowhere, never */
    LEAK_CACHED, /* where docs/security-model.md says: contexts of OpenSSL while logged in */
    LEAK_CANARY, /* planted, and to be found in the memory of a process */
    LEAK_KINDS
};

struct leak_list;

/* Freed with leak_list_free. The functions here end the test where memory or a file is missing. */
struct leak_list *leak_list_new(void);
void leak_list_free(struct leak_list *list);
/* At least 16 bytes, copied. */
void leak_list_add(struct leak_list *list, enum leak_kind kind, const char *name,
                   const unsigned char *bytes, size_t len);

struct leak_found {
    size_t counts[LEAK_KINDS];
    size_t byte_count;       /* looked at */
    size_t unreadable_count; /* mappings that the kernel shows to nobody */
    size_t undumped_count;   /* mappings that can be read and are marked as not to be dumped */
};

/* These add to what is in `found`, and print a line for each find on standard output. */
void leak_scan_bytes(const struct leak_list *list, const char *where, const unsigned char *bytes,
                     size_t len, struct leak_found *found);
void leak_scan_file(const struct leak_list *list, const char *path, struct leak_found *found);
/* Every readable mapping. Without memfd_secret a debugger can read the module's own slabs, which
 * are the mappings with MADV_DONTDUMP: they are counted, and looked at only `with_slabs`. */
void leak_scan_process(const struct leak_list *list, pid_t pid, bool with_slabs,
                       struct leak_found *found);
