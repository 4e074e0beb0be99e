#include "module/place_index.h"

#include "base/alloc.h"
#include "base/rv.h"

#define SLOTS_MIN 64

static struct place_slot *slots_new(size_t count)
{
    struct place_slot *slots = mem_alloc(count * sizeof(*slots));

    for (size_t i = 0; slots != NULL && i < count; i++)
        slots[i] = (struct place_slot){0, NO_PLACE};
    return slots;
}

CK_RV place_index_init(struct place_index *index, enum object_index which)
{
    struct place_slot *slots = slots_new(SLOTS_MIN);

    if (slots == NULL)
        return CKR_HOST_MEMORY;
    *index = (struct place_index){which, slots, SLOTS_MIN};
    return CKR_OK;
}

void place_index_clear(struct place_index *index)
{
    mem_free(index->slots);
    index->slots = NULL;
}

/* FNV-1a: labels and ids come from the token's own users, who gain nothing from collisions. */
uint32_t place_index_hash(struct view key)
{
    uint64_t hash = 0xcbf29ce484222325U;

    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ key.bytes[i]) * 0x100000001b3U;
    return (uint32_t) (hash ^ (hash >> 32));
}

/* The slot of this hash, or the free one where it would stand. */
static size_t find_slot(const struct place_index *index, uint32_t hash)
{
    size_t mask = index->slot_count - 1;
    size_t at = hash & mask;

    while (index->slots[at].first != NO_PLACE && index->slots[at].hash != hash)
        at = (at + 1) & mask;
    return at;
}

/* Four of five slots in use: what is not there is known after a dozen neighbours. */
static size_t slots_for(const struct place_index *index, size_t object_count)
{
    size_t count = index->slot_count;

    while (count / 5 * 4 < object_count)
        count *= 2;
    return count;
}

CK_RV place_index_reserve(struct place_index *index, size_t object_count)
{
    struct place_index grown = {index->which, NULL, slots_for(index, object_count)};

    if (grown.slot_count == index->slot_count)
        return CKR_OK;
    grown.slots = slots_new(grown.slot_count);
    if (grown.slots == NULL)
        return CKR_HOST_MEMORY;
    for (size_t i = 0; i < index->slot_count; i++)
        if (index->slots[i].first != NO_PLACE)
            grown.slots[find_slot(&grown, index->slots[i].hash)] = index->slots[i];
    mem_free(index->slots);
    *index = grown;
    return CKR_OK;
}

void place_index_add(struct place_index *index, struct place *places, uint32_t place, uint32_t hash)
{
    struct place_slot *slot = &index->slots[find_slot(index, hash)];

    places[place].links[index->which] = (struct place_links){slot->first, NO_PLACE};
    if (slot->first != NO_PLACE)
        places[slot->first].links[index->which].previous = place;
    *slot = (struct place_slot){hash, place};
}

/* Closes the gap: what stands behind it and would be found before it moves there. */
static void free_slot(struct place_index *index, size_t gap)
{
    size_t mask = index->slot_count - 1;

    for (size_t at = (gap + 1) & mask; index->slots[at].first != NO_PLACE; at = (at + 1) & mask) {
        size_t home = index->slots[at].hash & mask;
        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        index->slots[gap] = index->slots[at];
        gap = at;
    }
    index->slots[gap].first = NO_PLACE;
}

void place_index_remove(struct place_index *index, struct place *places, uint32_t place,
                        uint32_t hash)
{
    struct place_links links = places[place].links[index->which];

    if (links.next != NO_PLACE)
        places[links.next].links[index->which].previous = links.previous;
    if (links.previous != NO_PLACE) {
        places[links.previous].links[index->which].next = links.next;
        return;
    }
    size_t slot = find_slot(index, hash);
    if (links.next != NO_PLACE)
        index->slots[slot].first = links.next;
    else
        free_slot(index, slot);
}

uint32_t place_index_first(const struct place_index *index, uint32_t hash)
{
    return index->slots[find_slot(index, hash)].first;
}
