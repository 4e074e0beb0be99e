#include "base/secret.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/rv.h"
#include "base/secret_map.h"

/* Slots of 32, 64, … 4096 bytes share slabs; a longer secret is the one slot of a slab of its
 * own. */
#define SLOT_LEN_MIN ((size_t) 32)
#define CLASS_COUNT 8
#define CLASS_OWN CLASS_COUNT
/* Four slots of the longest class at least, and few enough bytes that a limit of 64 KiB still locks
 * several slabs. */
#define SLAB_PAGES 4
#define BITS 64
/* Slabs by address; a full 8 MiB of locked memory is 512 slabs. */
#define BUCKET_COUNT 1024

struct slab {
    struct slab *bucket_next;
    /* Neighbours among the slabs of the class that have a free slot. */
    struct slab *open_next;
    struct slab *open_prev;
    unsigned char *bytes;
    size_t len;
    size_t slot_len;
    size_t slot_count;
    size_t free_count;
    size_t slot_class;
    bool is_locked;
    uint64_t free_slots[]; /* one bit a slot */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slab *buckets[BUCKET_COUNT];
static struct slab *open_slabs[CLASS_COUNT];
static size_t in_use;
static bool must_lock;
/* Slabs that could not be locked, and whether that was said. */
static size_t unlocked_count;
static bool warned;

#ifdef INDEXKEY_TEST_HOOKS
void secrets_test_no_memfd(bool absent)
{
    secret_map_test_no_memfd(absent);
}

static bool must_fail(void)
{
    return mem_must_fail();
}
#else
static bool must_fail(void)
{
    return false;
}
#endif

static size_t slab_len(void)
{
    return SLAB_PAGES * secret_map_page();
}

/* Every slab begins at a multiple of slab_len, and a secret within its slab's first slab_len
 * bytes. */
static struct slab **bucket_of(const unsigned char *bytes, uintptr_t *ret_start)
{
    uintptr_t number = (uintptr_t) bytes / slab_len();
    *ret_start = number * slab_len();
    /* Fibonacci hashing: slabs stand at even distances. */
    return &buckets[(uint64_t) number * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}

static size_t class_of(size_t len)
{
    size_t slot_class = 0;
    while (slot_class < CLASS_COUNT && SLOT_LEN_MIN << slot_class < len)
        slot_class++;
    return slot_class;
}

static void open_list_add_locked(struct slab *slab)
{
    if (slab->slot_class == CLASS_OWN)
        return;
    struct slab **head = &open_slabs[slab->slot_class];
    slab->open_prev = NULL;
    slab->open_next = *head;
    if (*head != NULL)
        (*head)->open_prev = slab;
    *head = slab;
}

static void open_list_remove_locked(struct slab *slab)
{
    if (slab->slot_class == CLASS_OWN)
        return;
    if (slab->open_prev != NULL)
        slab->open_prev->open_next = slab->open_next;
    else
        open_slabs[slab->slot_class] = slab->open_next;
    if (slab->open_next != NULL)
        slab->open_next->open_prev = slab->open_prev;
}

/* Memory that cannot be locked is said once, with the remedy; a module that insists on it says so
 * each time, since each time a call fails. */
static unsigned char *map_locked(size_t len, bool *ret_is_locked)
{
    unsigned char *bytes = secret_map_new(len, slab_len(), must_lock, ret_is_locked);
    if (bytes == NULL && must_lock) {
        log_line(LOG_LEVEL_ERROR, "no locked memory for secrets: raise RLIMIT_MEMLOCK (ulimit -l, "
                                  "LimitMEMLOCK=)");
    } else if (bytes == NULL) {
        log_line(LOG_LEVEL_ERROR, "no memory for secrets");
    } else if (!*ret_is_locked && !warned) {
        warned = true;
        log_line(LOG_LEVEL_WARNING, "secrets may be swapped to disk, since their memory cannot be "
                                    "locked: raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=)");
    }
    return bytes;
}

static CK_RV slab_new_locked(size_t slot_class, size_t secret_len, struct slab **ret_slab)
{
    size_t page = secret_map_page();
    size_t len = slot_class == CLASS_OWN ? (secret_len + page - 1) / page * page : slab_len();
    size_t slot_len = slot_class == CLASS_OWN ? len : SLOT_LEN_MIN << slot_class;
    size_t slot_count = len / slot_len;
    size_t word_count = (slot_count + BITS - 1) / BITS;
    struct slab *slab = mem_calloc(1, sizeof *slab + word_count * sizeof slab->free_slots[0]);
    if (slab == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for secrets");
    slab->bytes = map_locked(len, &slab->is_locked);
    if (slab->bytes == NULL) {
        mem_free(slab);
        return CKR_HOST_MEMORY;
    }
    slab->len = len;
    slab->slot_len = slot_len;
    slab->slot_count = slot_count;
    slab->free_count = slot_count;
    slab->slot_class = slot_class;
    for (size_t i = 0; i < slot_count; i++)
        slab->free_slots[i / BITS] |= UINT64_C(1) << i % BITS;
    unlocked_count += slab->is_locked ? 0 : 1;
    uintptr_t start;
    struct slab **bucket = bucket_of(slab->bytes, &start);
    slab->bucket_next = *bucket;
    *bucket = slab;
    open_list_add_locked(slab);
    *ret_slab = slab;
    return CKR_OK;
}

static void slab_free_locked(struct slab *slab)
{
    open_list_remove_locked(slab);
    uintptr_t start;
    struct slab **link = bucket_of(slab->bytes, &start);
    while (*link != slab)
        link = &(*link)->bucket_next;
    *link = slab->bucket_next;
    unlocked_count -= slab->is_locked ? 0 : 1;
    secret_map_free(slab->bytes, slab->len);
    mem_free(slab);
}

static unsigned char *slot_take_locked(struct slab *slab)
{
    size_t word = 0;
    while (slab->free_slots[word] == 0)
        word++;
    unsigned bit = (unsigned) __builtin_ctzll(slab->free_slots[word]);
    slab->free_slots[word] &= ~(UINT64_C(1) << bit);
    if (--slab->free_count == 0)
        open_list_remove_locked(slab);
    in_use += slab->slot_len;
    return slab->bytes + (word * BITS + bit) * slab->slot_len;
}

static struct slab *slab_find_locked(const unsigned char *bytes)
{
    uintptr_t start;
    struct slab *slab = *bucket_of(bytes, &start);
    while (slab != NULL && (uintptr_t) slab->bytes != start)
        slab = slab->bucket_next;
    return slab;
}

static void slot_give_back_locked(struct slab *slab, const unsigned char *bytes)
{
    size_t slot = (size_t) (bytes - slab->bytes) / slab->slot_len;
    uint64_t bit = UINT64_C(1) << slot % BITS;
    if ((slab->free_slots[slot / BITS] & bit) != 0) {
        log_line(LOG_LEVEL_ERROR, "a secret was freed twice");
        return;
    }
    /* The whole slot: the secret's length may have been made smaller. */
    OPENSSL_cleanse(slab->bytes + slot * slab->slot_len, slab->slot_len);
    slab->free_slots[slot / BITS] |= bit;
    in_use -= slab->slot_len;
    if (slab->free_count++ == 0)
        open_list_add_locked(slab);
    bool is_empty = slab->free_count == slab->slot_count;
    bool is_only = slab->open_prev == NULL && slab->open_next == NULL;
    if (is_empty && (slab->slot_class == CLASS_OWN || !is_only))
        slab_free_locked(slab);
}

static void empty_slabs_free_locked(struct slab *slab)
{
    while (slab != NULL) {
        struct slab *next = slab->open_next;
        if (slab->free_count == slab->slot_count)
            slab_free_locked(slab);
        slab = next;
    }
}

void secrets_init(bool require_locked)
{
    (void) pthread_mutex_lock(&lock);
    must_lock = require_locked;
    warned = false;
    /* Slabs kept from an earlier time may be unlocked. */
    for (size_t i = 0; i < CLASS_COUNT; i++)
        empty_slabs_free_locked(open_slabs[i]);
    (void) pthread_mutex_unlock(&lock);
}

void secrets_abandon(void)
{
    /* Another thread of the parent may have held the lock, with a list half changed: the lists are
     * dropped as they are, and their blocks with them. */
    (void) pthread_mutex_init(&lock, NULL);
    memset(buckets, 0, sizeof buckets);
    memset(open_slabs, 0, sizeof open_slabs);
    in_use = 0;
    unlocked_count = 0;
    warned = false;
}

static CK_RV slot_new_locked(size_t len, unsigned char **ret_bytes)
{
    size_t slot_class = class_of(len);
    struct slab *slab = slot_class == CLASS_OWN ? NULL : open_slabs[slot_class];
    if (slab == NULL)
        TRY(slab_new_locked(slot_class, len, &slab));
    *ret_bytes = slot_take_locked(slab);
    return CKR_OK;
}

CK_RV secret_new(size_t len, struct secret *ret_secret)
{
    if (len == 0) {
        *ret_secret = (struct secret){NULL, 0};
        return CKR_OK;
    }
    if (len > SECRET_MAX || must_fail())
        return FAIL(CKR_HOST_MEMORY, "no memory for a secret of %zu bytes", len);
    unsigned char *bytes = NULL;
    (void) pthread_mutex_lock(&lock);
    CK_RV rv = slot_new_locked(len, &bytes);
    (void) pthread_mutex_unlock(&lock);
    TRY(rv);
    *ret_secret = (struct secret){bytes, len};
    return CKR_OK;
}

CK_RV secret_from(const void *bytes, size_t len, struct secret *ret_secret)
{
    struct secret copy;
    TRY(secret_new(len, &copy));
    if (len > 0)
        memcpy(copy.bytes, bytes, len);
    *ret_secret = copy;
    return CKR_OK;
}

void secret_clear(struct secret *secret)
{
    if (secret->bytes != NULL) {
        (void) pthread_mutex_lock(&lock);
        struct slab *slab = slab_find_locked(secret->bytes);
        /* None: the secret is of a parent process. */
        if (slab != NULL)
            slot_give_back_locked(slab, secret->bytes);
        (void) pthread_mutex_unlock(&lock);
    }
    *secret = (struct secret){NULL, 0};
}

struct secret secret_move(struct secret *from)
{
    struct secret moved = *from;
    *from = (struct secret){NULL, 0};
    return moved;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && (a->len == 0 || secret_bytes_equal(a->bytes, b->bytes, a->len));
}

bool secret_bytes_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void secret_wipe(void *bytes, size_t len)
{
    OPENSSL_cleanse(bytes, len);
}

void blob_discard(struct blob *blob)
{
    if (blob->bytes != NULL)
        secret_wipe(blob->bytes, blob->len);
    blob_clear(blob);
}

size_t secrets_in_use(void)
{
    (void) pthread_mutex_lock(&lock);
    size_t bytes = in_use;
    (void) pthread_mutex_unlock(&lock);
    return bytes;
}

bool secrets_are_locked(void)
{
    (void) pthread_mutex_lock(&lock);
    bool all = unlocked_count == 0;
    (void) pthread_mutex_unlock(&lock);
    return all;
}
