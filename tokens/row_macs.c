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

/* Ids are random. A store that makes them collide has everything read again, as it could by lying
 * in any other way. */
static uint64_t fold_id(const struct object_id *id)
{
    uint64_t words[2];
    memcpy(words, id->bytes, sizeof(words));
    uint64_t folded = (words[0] ^ (words[1] << 1)) * UINT64_C(0x9e3779b97f4a7c15);
    return folded != 0 ? folded : 1;
}

/* Big-endian, as the sum of the summary. */
static uint64_t last_bits(const unsigned char bytes[SHA256_LEN])
{
    uint64_t bits = 0;
    for (size_t i = SHA256_LEN - sizeof(bits); i < SHA256_LEN; i++)
        bits = bits << 8 | bytes[i];
    return bits;
}

static size_t home_of(const struct row_macs *macs, uint64_t id)
{
    return (size_t) (id >> 32) & (macs->slot_count - 1);
}

/* The slot of this id, or the free one where it would stand. */
static struct row_mac *find_slot(const struct row_macs *macs, uint64_t id)
{
    size_t at = home_of(macs, id);
    while (macs->slots[at].id != 0 && macs->slots[at].id != id)
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
        if (macs->slots[i].id != 0)
            *find_slot(&larger, macs->slots[i].id) = macs->slots[i];
    }
    mem_free(macs->slots);
    *macs = larger;
    return CKR_OK;
}

CK_RV row_macs_put(struct row_macs *macs, const struct object_id *id,
                   const unsigned char mac[SHA256_LEN])
{
    TRY(reserve(macs));
    struct row_mac row = {fold_id(id), last_bits(mac)};
    struct row_mac *slot = find_slot(macs, row.id);
    macs->count += slot->id == 0;
    macs->sum += row.mac - slot->mac;
    *slot = row;
    return CKR_OK;
}

/* What stands behind a slot that became free moves up, unless its home lies between. */
static void close_gap(struct row_macs *macs, size_t gap)
{
    size_t mask = macs->slot_count - 1;
    for (size_t at = (gap + 1) & mask; macs->slots[at].id != 0; at = (at + 1) & mask) {
        size_t from_home = (at - home_of(macs, macs->slots[at].id)) & mask;
        if (from_home < ((at - gap) & mask))
            continue;
        macs->slots[gap] = macs->slots[at];
        gap = at;
    }
    macs->slots[gap] = (struct row_mac){0};
}

void row_macs_remove(struct row_macs *macs, const struct object_id *id)
{
    if (macs->slot_count == 0)
        return;
    struct row_mac *slot = find_slot(macs, fold_id(id));
    if (slot->id == 0)
        return;
    macs->sum -= slot->mac;
    macs->count--;
    close_gap(macs, (size_t) (slot - macs->slots));
}

bool row_macs_match(const struct row_macs *macs, const struct summary *summary)
{
    return macs->count == summary->count && macs->sum == last_bits(summary->sum);
}
