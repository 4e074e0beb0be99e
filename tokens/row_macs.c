#include "tokens/row_macs.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"

#define SLOTS_MIN 64

void row_macs_clear(struct row_macs *macs)
{
    mem_free(macs->slots);
    *macs = (struct row_macs){0};
}

/* Ids are random. A store that makes them collide costs time, as it could by not answering. */
static size_t home_of(const struct row_macs *macs, const struct object_id *id)
{
    uint64_t words[2];
    memcpy(words, id->bytes, sizeof(words));
    uint64_t hash = (words[0] ^ words[1]) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t) (hash >> 32) & (macs->slot_count - 1);
}

/* The slot of this id, or the free one where it would stand. */
static struct row_mac *find_slot(const struct row_macs *macs, const struct object_id *id)
{
    size_t at = home_of(macs, id);
    while (macs->slots[at].is_used && memcmp(&macs->slots[at].id, id, sizeof(*id)) != 0)
        at = (at + 1) & (macs->slot_count - 1);
    return &macs->slots[at];
}

/* Four of five slots in use at most. */
static CK_RV reserve(struct row_macs *macs)
{
    if (macs->count < macs->slot_count / 5 * 4)
        return CKR_OK;
    struct row_macs larger = *macs;
    larger.slot_count = macs->slot_count == 0 ? SLOTS_MIN : 2 * macs->slot_count;
    larger.slots = mem_calloc(larger.slot_count, sizeof(*larger.slots));
    if (larger.slots == NULL)
        return CKR_HOST_MEMORY;
    for (size_t i = 0; i < macs->slot_count; i++) {
        if (macs->slots[i].is_used)
            *find_slot(&larger, &macs->slots[i].id) = macs->slots[i];
    }
    mem_free(macs->slots);
    *macs = larger;
    return CKR_OK;
}

static void fill_slot(struct row_macs *macs, struct row_mac *slot, const struct object_id *id,
                      const unsigned char mac[SHA256_LEN])
{
    macs->count += !slot->is_used;
    slot->id = *id;
    slot->is_used = true;
    memcpy(slot->mac, mac, SHA256_LEN);
    summary_add(&macs->found, mac);
}

CK_RV row_macs_put(struct row_macs *macs, const struct object_id *id,
                   const unsigned char mac[SHA256_LEN])
{
    TRY(reserve(macs));
    struct row_mac *slot = find_slot(macs, id);
    if (slot->is_used)
        summary_remove(&macs->found, slot->mac);
    fill_slot(macs, slot, id, mac);
    return CKR_OK;
}

CK_RV row_macs_add(struct row_macs *macs, const struct object_id *id,
                   const unsigned char mac[SHA256_LEN])
{
    TRY(reserve(macs));
    fill_slot(macs, find_slot(macs, id), id, mac);
    return CKR_OK;
}

/* What stands behind a slot that became free moves up, unless its own home lies between. */
static void close_gap(struct row_macs *macs, size_t gap)
{
    size_t mask = macs->slot_count - 1;
    for (size_t at = (gap + 1) & mask; macs->slots[at].is_used; at = (at + 1) & mask) {
        size_t distance = (at - home_of(macs, &macs->slots[at].id)) & mask;
        if (distance < ((at - gap) & mask))
            continue;
        macs->slots[gap] = macs->slots[at];
        gap = at;
    }
    macs->slots[gap].is_used = false;
}

void row_macs_remove(struct row_macs *macs, const struct object_id *id)
{
    if (macs->slot_count == 0)
        return;
    struct row_mac *slot = find_slot(macs, id);
    if (!slot->is_used)
        return;
    summary_remove(&macs->found, slot->mac);
    macs->count--;
    close_gap(macs, (size_t) (slot - macs->slots));
}
