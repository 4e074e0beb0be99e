/*
 * Work that many threads ask for at once and one of them does for all (group commit).
 *
 * Who comes while nobody is at work does it for everybody who waits, himself among them; who comes
 * meanwhile waits and is of the next round. There is no thread of its own. Where several came in
 * the last round, the next waits a little for as many: else the fastest would go alone, and all
 * others after him.
 *
 * The lock is a leaf, held for an instant and not during the work.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most that one round takes. */
#define GROUP_MAX 64

/* Begins what a thread asks for; zeros at first. */
struct group_member {
    struct group_member *next;
    bool is_waiting; /* by the group's lock */
    bool is_settled; /* by who is at work */
};

/* Does it for these, in the order of their coming. Each that is finished, one at least, is marked
 * as settled; the others stay in front. */
typedef void group_work_fn(void *context, struct group_member *const *members, size_t count);

struct group {
    group_work_fn *work;
    void *context;
    pthread_mutex_t lock; /* over all that follows */
    pthread_cond_t arrived;
    pthread_cond_t settled;
    struct group_member *first;
    size_t waiting_count; /* those of the round that is at work too */
    bool is_at_work;
    size_t expected_count; /* who seems to be asking again and again */
    int64_t patience_ns;
};

/* Freed with group_destroy, when nobody is inside. */
void group_init(struct group *group, group_work_fn *work, void *context);
void group_destroy(struct group *group);

/* Returns when the member is settled. */
void group_do(struct group *group, struct group_member *member);
