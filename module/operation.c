#include "module/operation.h"

#include "module/object.h"

typedef void state_fn(void *state);

/* The two functions for the state of an operation's kind. */
struct state_functions {
    state_fn *end; /* NULL: nothing to do */
    state_fn *free;
};

static struct state_functions functions_of(const struct operation *operation)
{
    const struct mechanism *mechanism = operation->mechanism;

    switch (operation->kind) {
    case OPERATION_ENCRYPT:
    case OPERATION_DECRYPT:
        return (struct state_functions){mechanism->cipher->end, mechanism->cipher->free_state};
    case OPERATION_MESSAGE_ENCRYPT:
    case OPERATION_MESSAGE_DECRYPT:
        return (struct state_functions){mechanism->message->end, mechanism->message->free_state};
    case OPERATION_DIGEST:
        return (struct state_functions){mechanism->digest->end, mechanism->digest->free_state};
    default:
        return (struct state_functions){mechanism->mac->end, mechanism->mac->free_state};
    }
}

void operation_end(struct operation *operation)
{
    operation->phase = PHASE_IDLE;
    if (!operation->state)
        return;
    state_fn *end = functions_of(operation).end;
    if (end)
        end(operation->state);
}

void operation_forget(struct operation *operation)
{
    operation->phase = PHASE_IDLE;
    if (operation->state) {
        functions_of(operation).free(operation->state);
        operation->state = NULL;
    }
    operation->mechanism = NULL;
    gcm_counts_give_back(&operation->share);
    if (operation->uses.count != NULL)
        audit_share_give_back(&operation->uses);
    if (operation->key)
        object_release(&operation->key);
    operation->key = NULL;
}
