#include "module/saved_states.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/rv.h"

struct saved_state {
    unsigned char name[SAVED_STATE_NAME_LEN];
    CK_STATE state;
    struct operation digest; /* no mechanism: the place is free */
};

struct saved_states {
    struct saved_state places[SAVED_STATES_MAX];
    size_t next; /* the oldest, or a free one */
};

static CK_RV copy(const struct operation *from, struct operation *ret_to)
{
    struct operation to = *from;

    TRY(from->mechanism->digest->copy(from->state, &to.state));
    *ret_to = to;
    return CKR_OK;
}

CK_RV saved_states_add(struct saved_states **states, const struct operation *operation,
                       CK_STATE state, unsigned char ret_name[SAVED_STATE_NAME_LEN])
{
    struct operation saved;
    unsigned char name[SAVED_STATE_NAME_LEN];

    TRY(crypto_random(name, sizeof(name)));
    if (*states == NULL) {
        *states = mem_calloc(1, sizeof(**states));
        if (*states == NULL)
            return CKR_HOST_MEMORY;
    }
    TRY(copy(operation, &saved));
    struct saved_state *place = &(*states)->places[(*states)->next];
    (*states)->next = ((*states)->next + 1) % SAVED_STATES_MAX;
    operation_forget(&place->digest);
    memcpy(place->name, name, sizeof(name));
    place->state = state;
    place->digest = saved;
    memcpy(ret_name, name, sizeof(name));
    return CKR_OK;
}

CK_RV saved_states_get(const struct saved_states *states, CK_STATE state,
                       const unsigned char name[SAVED_STATE_NAME_LEN],
                       struct operation *ret_operation)
{
    for (size_t i = 0; states != NULL && i < SAVED_STATES_MAX; i++) {
        const struct saved_state *place = &states->places[i];
        if (place->digest.mechanism != NULL && place->state == state &&
            memcmp(place->name, name, SAVED_STATE_NAME_LEN) == 0)
            return copy(&place->digest, ret_operation);
    }
    return CKR_SAVED_STATE_INVALID;
}

void saved_states_free(struct saved_states **states)
{
    if (*states == NULL)
        return;
    for (size_t i = 0; i < SAVED_STATES_MAX; i++)
        operation_forget(&(*states)->places[i].digest);
    mem_free(*states);
    *states = NULL;
}
