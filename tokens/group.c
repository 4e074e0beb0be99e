#include "tokens/group.h"

#include <time.h>

#define NS_PER_S INT64_C(1000000000)

/* A round may begin later than it could by this part of the time that the last one took. */
#define PATIENCE_PART 4
#define PATIENCE_MAX_NS (2 * INT64_C(1000000))
/* What the scheduler's own delays would eat up. */
#define PATIENCE_MIN_NS (INT64_C(200) * 1000)

void group_init(struct group *group, group_work_fn *work, void *context)
{
    *group = (struct group){.work = work, .context = context};
    pthread_condattr_t monotonic;
    (void) pthread_condattr_init(&monotonic);
    (void) pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void) pthread_mutex_init(&group->lock, NULL);
    (void) pthread_cond_init(&group->arrived, &monotonic);
    (void) pthread_cond_init(&group->settled, NULL);
    (void) pthread_condattr_destroy(&monotonic);
}

void group_destroy(struct group *group)
{
    (void) pthread_cond_destroy(&group->settled);
    (void) pthread_cond_destroy(&group->arrived);
    (void) pthread_mutex_destroy(&group->lock);
}

static int64_t now_ns(void)
{
    struct timespec now;
    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void append_locked(struct group *group, struct group_member *member)
{
    struct group_member **end = &group->first;
    while (*end != NULL)
        end = &(*end)->next;
    *end = member;
    member->is_waiting = true;
    group->waiting_count++;
}

static void gather_locked(struct group *group)
{
    if (group->patience_ns < PATIENCE_MIN_NS)
        return;
    int64_t end = now_ns() + group->patience_ns;
    struct timespec until = {.tv_sec = end / NS_PER_S, .tv_nsec = end % NS_PER_S};
    int waited = 0;
    while (waited == 0 && group->waiting_count < group->expected_count)
        waited = pthread_cond_timedwait(&group->arrived, &group->lock, &until);
}

static size_t take_locked(const struct group *group, struct group_member *members[GROUP_MAX])
{
    size_t count = 0;
    for (struct group_member *member = group->first; member != NULL && count < GROUP_MAX;
         member = member->next) {
        members[count++] = member;
    }
    return count;
}

/* A member is gone as soon as it no longer waits. */
static size_t release_locked(struct group *group)
{
    size_t count = 0;
    struct group_member **place = &group->first;
    while (*place != NULL) {
        struct group_member *member = *place;
        if (member->is_settled) {
            *place = member->next;
            member->is_waiting = false;
            count++;
        } else {
            place = &member->next;
        }
    }
    group->waiting_count -= count;
    return count;
}

static void work_locked(struct group *group)
{
    struct group_member *members[GROUP_MAX];
    group->is_at_work = true;
    gather_locked(group);
    size_t count = take_locked(group, members);
    (void) pthread_mutex_unlock(&group->lock);
    int64_t begin = now_ns();
    group->work(group->context, members, count);
    int64_t patience = (now_ns() - begin) / PATIENCE_PART;
    (void) pthread_mutex_lock(&group->lock);
    group->patience_ns = patience < PATIENCE_MAX_NS ? patience : PATIENCE_MAX_NS;
    group->expected_count = release_locked(group) + group->waiting_count;
    group->is_at_work = false;
    (void) pthread_cond_broadcast(&group->settled);
}

void group_do(struct group *group, struct group_member *member)
{
    (void) pthread_mutex_lock(&group->lock);
    append_locked(group, member);
    if (group->waiting_count >= group->expected_count)
        (void) pthread_cond_signal(&group->arrived);
    while (member->is_waiting) {
        if (group->is_at_work)
            (void) pthread_cond_wait(&group->settled, &group->lock);
        else
            work_locked(group);
    }
    (void) pthread_mutex_unlock(&group->lock);
}
