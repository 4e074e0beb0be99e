#include "tokens/audit_uses.h"

#include <search.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"

#define BLOCK_FIRST 64
#define BLOCK_MAX ((uint64_t) 1 << 28)
#define SHARE_MAX 256
/* A session takes this part of what is left, as with AES-GCM counts (module/gcm_counts.c). */
#define SHARE_PART 16

void audit_uses_init(struct audit_uses *uses)
{
    *uses = (struct audit_uses){.tree = NULL};
    (void) pthread_mutex_init(&uses->lock, NULL);
}

static void free_count(void *node)
{
    struct audit_count *count = node;

    mem_free(count->label);
    mem_free(count);
}

void audit_uses_clear(struct audit_uses *uses)
{
    tdestroy(uses->tree, free_count);
    uses->tree = NULL;
    (void) pthread_mutex_destroy(&uses->lock);
}

static int compare(const void *a, const void *b)
{
    const struct audit_count *one = a;
    const struct audit_count *other = b;
    int order = memcmp(&one->key, &other->key, sizeof(one->key));

    return order != 0 ? order : strcmp(one->mechanism, other->mechanism);
}

static struct audit_count *new_count(const struct audit_use *use)
{
    struct audit_count *count = mem_calloc(1, sizeof(*count));
    size_t len = use->label.len > AUDIT_LABEL_MAX ? AUDIT_LABEL_MAX : use->label.len;

    if (count == NULL)
        return NULL;
    count->has_key = use->key != NULL;
    if (use->key != NULL)
        count->key = *use->key;
    count->mechanism = use->mechanism;
    count->label = mem_dup(use->label.bytes, len);
    count->label_len = len;
    if (count->label != NULL)
        return count;
    mem_free(count);
    return NULL;
}

static CK_RV find_locked(struct audit_uses *uses, const struct audit_use *use,
                         struct audit_count **ret_count)
{
    struct audit_count wanted = {.mechanism = use->mechanism};

    if (use->key != NULL)
        wanted.key = *use->key;
    struct audit_count **found = tfind(&wanted, &uses->tree, compare);
    if (found == NULL) {
        struct audit_count *fresh = new_count(use);
        found = fresh == NULL ? NULL : tsearch(fresh, &uses->tree, compare);
        if (found == NULL) {
            if (fresh != NULL)
                free_count(fresh);
            return FAIL(CKR_HOST_MEMORY, "no memory for the audit log's count of a key");
        }
    }
    *ret_count = *found;
    return CKR_OK;
}

CK_RV audit_uses_find(struct audit_uses *uses, const struct audit_use *use,
                      struct audit_count **ret_count)
{
    (void) pthread_mutex_lock(&uses->lock);
    CK_RV rv = find_locked(uses, use, ret_count);
    (void) pthread_mutex_unlock(&uses->lock);
    return rv;
}

struct visit {
    audit_uses_fn *each;
    void *context;
};

static void visit_node(const void *node, VISIT order, void *closure)
{
    const struct visit *visit = closure;

    if (order == postorder || order == leaf)
        visit->each(visit->context, *(struct audit_count *const *) node);
}

void audit_uses_each(struct audit_uses *uses, audit_uses_fn *each, void *context)
{
    struct visit visit = {each, context};

    (void) pthread_mutex_lock(&uses->lock);
    twalk_r(uses->tree, visit_node, &visit);
    (void) pthread_mutex_unlock(&uses->lock);
}

uint64_t audit_uses_block(const struct audit_count *count)
{
    uint64_t reserved = atomic_load(&count->reserved);

    if (reserved < BLOCK_FIRST)
        return BLOCK_FIRST;
    return reserved < BLOCK_MAX ? reserved : BLOCK_MAX;
}

uint32_t audit_uses_take(struct audit_count *count)
{
    uint64_t left = atomic_load(&count->left);
    uint64_t part;

    do {
        part = left / SHARE_PART;
        if (part > SHARE_MAX)
            part = SHARE_MAX;
        if (part == 0 && left > 0)
            part = 1;
    } while (!atomic_compare_exchange_weak(&count->left, &left, left - part));
    return (uint32_t) part;
}

void audit_uses_settle(struct audit_share *share)
{
    (void) atomic_fetch_add(&share->count->used, share->taken - share->left);
    share->taken = share->left;
}
