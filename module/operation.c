#include "module/operation.h"

#include "module/object.h"

typedef void state_fn(void *state);

static const struct digest_ops *digest_ops_of(const struct operation *operation)
{
    return operation->kind == OPERATION_DIGEST ? operation->mechanism->digest
                                               : operation->mechanism->mac;
}

/* The two functions for the state of an operation's kind. */
static void state_functions(const struct operation *operation, state_fn **ret_end,
                            state_fn **ret_free)
{
    const struct mechanism *mechanism = operation->mechanism;

    switch (operation->kind) {
    case OPERATION_ENCRYPT:
    case OPERATION_DECRYPT:
        *ret_end = mechanism->cipher->end;
        *ret_free = mechanism->cipher->free_state;
        return;
    case OPERATION_MESSAGE_ENCRYPT:
    case OPERATION_MESSAGE_DECRYPT:
        *ret_end = mechanism->message->end;
        *ret_free = mechanism->message->free_state;
        return;
    default:
        *ret_end = digest_ops_of(operation)->end;
        *ret_free = digest_ops_of(operation)->free_state;
    }
}

void operation_end(struct operation *operation)
{
    state_fn *end = NULL;
    state_fn *free_state = NULL;

    operation->phase = PHASE_IDLE;
    if (!operation->state)
        return;
    state_functions(operation, &end, &free_state);
    if (end)
        end(operation->state);
}

void operation_forget(struct operation *operation)
{
    state_fn *end = NULL;
    state_fn *free_state = NULL;

    operation->phase = PHASE_IDLE;
    if (operation->state) {
        state_functions(operation, &end, &free_state);
        free_state(operation->state);
        operation->state = NULL;
    }
    operation->mechanism = NULL;
    gcm_counts_give_back(&operation->share);
    if (operation->key)
        object_release(&operation->key);
    operation->key = NULL;
}
