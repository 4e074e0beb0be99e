#include "base/fork.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/rv.h"

/* Survives a fork: the page stays mapped in the child, with zeros in it. */
static _Atomic(_Atomic unsigned int *) shared_word;

CK_RV fork_word(_Atomic unsigned int **ret_word)
{
    _Atomic unsigned int *word = atomic_load_explicit(&shared_word, memory_order_acquire);
    if (word != NULL) {
        *ret_word = word;
        return CKR_OK;
    }
    size_t page_len = (size_t) sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, page_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return FAIL(CKR_HOST_MEMORY, "no memory for the fork page: %m");
    if (madvise(page, page_len, MADV_WIPEONFORK) != 0) {
        CK_RV rv = FAIL(CKR_HOST_MEMORY, "madvise(MADV_WIPEONFORK): %m (it needs Linux 4.14)");
        (void) munmap(page, page_len);
        return rv;
    }
    /* Of two first callers one page wins; the other goes back. */
    if (!atomic_compare_exchange_strong(&shared_word, &word, page))
        (void) munmap(page, page_len);
    else
        word = page;
    *ret_word = word;
    return CKR_OK;
}
