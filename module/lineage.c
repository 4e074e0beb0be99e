#include "module/lineage.h"

#include "base/alloc.h"
#include "base/rv.h"
#include "module/mechanism.h"

struct lineage *lineage_reference(struct lineage *lineage)
{
    atomic_fetch_add_explicit(&lineage->references, 1, memory_order_relaxed);
    return lineage;
}

void lineage_release(struct lineage *lineage)
{
    if (lineage == NULL ||
        atomic_fetch_sub_explicit(&lineage->references, 1, memory_order_acq_rel) != 1)
        return;
    gcm_count_release(atomic_load(&lineage->gcm));
    mem_free(lineage);
}

unsigned int lineage_family(const struct object *object)
{
    struct lineage *lineage = atomic_load_explicit(&object->lineage, memory_order_acquire);

    return lineage == NULL ? FAMILY_NONE : atomic_load(&lineage->family);
}

CK_RV lineage_share(struct object *source, struct object *copy)
{
    struct lineage *lineage;

    TRY(lineage_of(source, &lineage));
    atomic_store(&copy->lineage, lineage_reference(lineage));
    return CKR_OK;
}

CK_RV lineage_of(struct object *object, struct lineage **ret_lineage)
{
    struct lineage *lineage = atomic_load_explicit(&object->lineage, memory_order_acquire);

    if (lineage == NULL) {
        struct lineage *fresh = mem_calloc(1, sizeof(*fresh));
        if (fresh == NULL)
            return CKR_HOST_MEMORY;
        atomic_init(&fresh->references, 1);
        if (atomic_compare_exchange_strong(&object->lineage, &lineage, fresh))
            lineage = fresh;
        else
            lineage_release(fresh);
    }
    *ret_lineage = lineage;
    return CKR_OK;
}
