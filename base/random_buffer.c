#include "base/random_buffer.h"

#include <pthread.h>
#include <stdalign.h>
#include <string.h>

#include "base/crypto.h"
#include "base/rv.h"
#include "base/secret.h"

#define PART_COUNT 8
#define PART_LEN 512
/* Longer requests gain nothing from a copy. */
#define READ_MAX 128
#define RESEED_AFTER ((size_t) 1 << 20)

struct part {
    alignas(64) pthread_mutex_t lock; /* apart from the next one's cache line */
    unsigned char *bytes;             /* NULL: no buffer */
    size_t left;                      /* at the front */
};

static struct part parts[PART_COUNT] = {[0 ... PART_COUNT - 1] = {PTHREAD_MUTEX_INITIALIZER}};
static struct secret memory;

void random_buffer_init(void)
{
    if (secret_new((size_t) PART_COUNT * PART_LEN, &memory) != CKR_OK)
        return;
    for (size_t i = 0; i < PART_COUNT; i++)
        parts[i].bytes = memory.bytes + i * PART_LEN;
}

static void forget_parts(void)
{
    for (size_t i = 0; i < PART_COUNT; i++) {
        parts[i].bytes = NULL;
        parts[i].left = 0;
    }
}

void random_buffer_finish(void)
{
    forget_parts();
    secret_clear(&memory);
}

void random_buffer_abandon(void)
{
    for (size_t i = 0; i < PART_COUNT; i++)
        pthread_mutex_init(&parts[i].lock, NULL);
    forget_parts();
    memory = (struct secret){NULL, 0};
}

#ifdef INDEXKEY_TEST_HOOKS
struct view random_buffer_test_memory(void)
{
    return (struct view){memory.bytes, memory.len};
}
#endif

static CK_RV refill_locked(struct part *part)
{
    static _Thread_local size_t since_seed;

    if (since_seed >= RESEED_AFTER) {
        TRY(crypto_random_reseed());
        since_seed = 0;
    }
    TRY(crypto_random(part->bytes, PART_LEN));
    since_seed += PART_LEN;
    part->left = PART_LEN;
    return CKR_OK;
}

static CK_RV read_locked(struct part *part, unsigned char *out, size_t len)
{
    if (part->bytes == NULL)
        return crypto_random(out, len);
    if (part->left < len)
        TRY(refill_locked(part));
    part->left -= len;
    memcpy(out, part->bytes + part->left, len);
    secret_wipe(part->bytes + part->left, len);
    return CKR_OK;
}

CK_RV random_buffer_read(uint32_t place, unsigned char *out, size_t len)
{
    struct part *part = &parts[place % PART_COUNT];

    if (len > READ_MAX)
        return crypto_random(out, len);
    pthread_mutex_lock(&part->lock);
    CK_RV rv = read_locked(part, out, len);
    pthread_mutex_unlock(&part->lock);
    return rv;
}
