#include "base/secret_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The number is the same on every architecture; older C libraries do not name it. */
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

#ifdef INDEXKEY_TEST_HOOKS
static atomic_bool memfd_absent;

void secret_map_test_no_memfd(bool absent)
{
    atomic_store(&memfd_absent, absent);
}

static bool has_memfd(void)
{
    return !atomic_load(&memfd_absent);
}
#else
static bool has_memfd(void)
{
    return true;
}
#endif

size_t secret_map_page(void)
{
    static _Atomic size_t page;
    size_t len = atomic_load_explicit(&page, memory_order_relaxed);

    if (len == 0) {
        len = (size_t) sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&page, len, memory_order_relaxed);
    }
    return len;
}

/* Reserves guard, `len` bytes and guard, none of it accessible, and answers the middle. */
static unsigned char *reserve(size_t len, size_t alignment)
{
    size_t page = secret_map_page();
    size_t total = len + alignment + 2 * page;
    unsigned char *start =
        mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    size_t lead = alignment - ((uintptr_t) start + page) % alignment;
    if (lead > 0)
        (void) munmap(start, lead);
    size_t tail = total - lead - len - 2 * page;
    if (tail > 0)
        (void) munmap(start + total - tail, tail);
    return start + lead + page;
}

static bool map_memfd(unsigned char *bytes, size_t len)
{
    int fd = (int) syscall(SYS_memfd_secret, O_CLOEXEC);
    if (fd < 0)
        return false;
    /* The mapping is shared, so a fork by another thread between mmap and madvise would hand it to
     * the child: it is inaccessible until it is no longer inherited. */
    bool mapped = ftruncate(fd, (off_t) len) == 0 &&
                  mmap(bytes, len, PROT_NONE, MAP_SHARED | MAP_FIXED, fd, 0) == bytes;
    (void) close(fd);
    return mapped && madvise(bytes, len, MADV_DONTFORK) == 0 &&
           mprotect(bytes, len, PROT_READ | PROT_WRITE) == 0;
}

/* False when the memory itself is missing, or a fork or a core would carry it. */
static bool map_anonymous(unsigned char *bytes, size_t len, bool *locked)
{
    void *at =
        mmap(bytes, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (at != bytes || madvise(bytes, len, MADV_WIPEONFORK) != 0 ||
        madvise(bytes, len, MADV_DONTDUMP) != 0)
        return false;
    *locked = mlock(bytes, len) == 0;
    return true;
}

unsigned char *secret_map_new(size_t len, size_t alignment, bool require_locked, bool *ret_locked)
{
    unsigned char *bytes = reserve(len, alignment);
    if (bytes == NULL)
        return NULL;
    /* The kernel counts memfd_secret as locked, and refuses it past RLIMIT_MEMLOCK. */
    bool locked = has_memfd() && map_memfd(bytes, len);
    if (!locked && (!map_anonymous(bytes, len, &locked) || (require_locked && !locked))) {
        secret_map_free(bytes, len);
        return NULL;
    }
    *ret_locked = locked;
    return bytes;
}

void secret_map_free(unsigned char *bytes, size_t len)
{
    size_t page = secret_map_page();
    (void) munmap(bytes - page, len + 2 * page);
}
