#include "module/gcm_registry.h"

#include <search.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"

#define PATIENCE_MS 50

struct gcm_count *gcm_count_new(const struct object_id *id)
{
    struct gcm_count *count = mem_calloc(1, sizeof(*count));

    if (count == NULL)
        return NULL;
    if (id != NULL)
        count->id = *id;
    count->is_durable = id != NULL;
    atomic_init(&count->references, 1);
    atomic_init(&count->limit, UINT64_MAX);
    pthread_mutex_init(&count->lock, NULL);
    pthread_mutex_init(&count->iv.lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&count->refilled, &monotonic);
    pthread_cond_init(&count->iv.refilled, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return count;
}

struct gcm_count *gcm_count_reference(struct gcm_count *count)
{
    atomic_fetch_add_explicit(&count->references, 1, memory_order_relaxed);
    return count;
}

void gcm_count_release(struct gcm_count *count)
{
    if (count == NULL ||
        atomic_fetch_sub_explicit(&count->references, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_destroy(&count->lock);
    pthread_mutex_destroy(&count->iv.lock);
    pthread_cond_destroy(&count->refilled);
    pthread_cond_destroy(&count->iv.refilled);
    mem_free(count);
}

void gcm_count_wait(pthread_cond_t *refilled, pthread_mutex_t *lock)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PATIENCE_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    (void) pthread_cond_timedwait(refilled, lock, &until);
}

void gcm_registry_init(struct gcm_registry *registry)
{
    pthread_mutex_init(&registry->lock, NULL);
    registry->tree = NULL;
}

static void release_node(void *node)
{
    gcm_count_release(node);
}

void gcm_registry_clear(struct gcm_registry *registry)
{
    tdestroy(registry->tree, release_node);
    registry->tree = NULL;
    pthread_mutex_destroy(&registry->lock);
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct object_id));
}

static CK_RV registry_get_locked(struct gcm_registry *registry, const struct object_id *id,
                                 struct gcm_count **ret_count)
{
    struct gcm_count **found = tfind(id, &registry->tree, compare_ids);

    if (found == NULL) {
        struct gcm_count *fresh = gcm_count_new(id);
        found = fresh == NULL ? NULL : tsearch(fresh, &registry->tree, compare_ids);
        if (found == NULL) {
            gcm_count_release(fresh);
            return CKR_HOST_MEMORY;
        }
    }
    *ret_count = gcm_count_reference(*found);
    return CKR_OK;
}

CK_RV gcm_registry_get(struct gcm_registry *registry, const struct object_id *id,
                       struct gcm_count **ret_count)
{
    pthread_mutex_lock(&registry->lock);
    CK_RV rv = registry_get_locked(registry, id, ret_count);
    pthread_mutex_unlock(&registry->lock);
    return rv;
}

void gcm_registry_forget(struct gcm_registry *registry, const struct object_id *id)
{
    pthread_mutex_lock(&registry->lock);
    struct gcm_count **found = tfind(id, &registry->tree, compare_ids);
    struct gcm_count *count = found == NULL ? NULL : *found;
    if (count != NULL)
        (void) tdelete(id, &registry->tree, compare_ids);
    pthread_mutex_unlock(&registry->lock);
    gcm_count_release(count);
}
