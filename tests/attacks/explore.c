#include "tests/attacks/explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module/policy_rules.h"
#include "tests/attacks/knowledge.h"

#define SEEN_FIRST (1U << 16)

struct path {
    struct step steps[DEPTH_MAX];
};

/* Worlds of one depth. */
struct level {
    struct path *paths;
    size_t count;
    size_t capacity;
};

/* Numbers of worlds, open addressing; 0 is a free place. */
struct seen {
    uint64_t *numbers;
    size_t capacity;
    size_t count;
};

struct search_run {
    struct api *api;
    struct exploration *exploration;
    struct seen seen;
    struct seen refused;
    struct level next;
    struct step *steps;
};

static bool place(struct seen *seen, uint64_t number)
{
    size_t at = number & (seen->capacity - 1);

    while (seen->numbers[at] != 0 && seen->numbers[at] != number)
        at = (at + 1) & (seen->capacity - 1);
    if (seen->numbers[at] == number)
        return false;
    seen->numbers[at] = number;
    seen->count++;
    return true;
}

static void seen_make(struct seen *seen, size_t capacity)
{
    *seen = (struct seen){.capacity = capacity};
    seen->numbers = calloc(capacity, sizeof(*seen->numbers));
    REQUIRE(seen->numbers != NULL);
}

static bool seen_has(const struct seen *seen, uint64_t number)
{
    size_t at = number & (seen->capacity - 1);

    while (seen->numbers[at] != 0 && seen->numbers[at] != number)
        at = (at + 1) & (seen->capacity - 1);
    return seen->numbers[at] == number;
}

/* False when it was there. */
static bool seen_add(struct seen *seen, uint64_t number)
{
    if (2 * seen->count >= seen->capacity) {
        struct seen larger;
        seen_make(&larger, 2 * seen->capacity);
        for (size_t i = 0; i < seen->capacity; i++)
            if (seen->numbers[i] != 0)
                place(&larger, seen->numbers[i]);
        free(seen->numbers);
        *seen = larger;
    }
    return place(seen, number == 0 ? 1 : number);
}

static void level_add(struct level *level, const struct path *path)
{
    if (level->count == level->capacity) {
        level->capacity = level->capacity == 0 ? 256 : 2 * level->capacity;
        level->paths = realloc(level->paths, level->capacity * sizeof(*level->paths));
        REQUIRE(level->paths != NULL);
    }
    level->paths[level->count++] = *path;
}

static void replay(struct search_run *run, const struct path *path, size_t depth,
                   struct world *world)
{
    OK(world_start(world, run->api, run->exploration->target));
    knowledge_protect(world);
    for (size_t i = 0; i < depth; i++)
        REQUIRE(step_take(world, &path->steps[i]));
}

static void switch_off(const struct exploration *exploration, size_t first)
{
    policy_test_switch_off(NULL);
    for (size_t i = first; i < RULES_OFF_MAX && exploration->off[i] != NULL; i++)
        policy_test_switch_off(exploration->off[i]);
}

/* With the rule in question, if there is one, on again, what it refuses is left out of the
 * sequence, and the rest must find nothing. No world may be there. */
static bool is_stopped(struct search_run *run, const struct path *path, size_t depth)
{
    struct world world;
    if (run->exploration->off[0] == NULL)
        return true;
    switch_off(run->exploration, 1);
    if (world_start(&world, run->api, run->exploration->target) != CKR_OK) {
        switch_off(run->exploration, 0);
        return true;
    }
    knowledge_protect(&world);
    for (size_t i = 0; i < depth; i++)
        if (!step_take(&world, &path->steps[i]))
            step_leave_out(&world, &path->steps[i]);
    bool stopped = knowledge_hit(&world) == NULL;
    world_end(&world);
    switch_off(run->exploration, 0);
    return stopped;
}

static void note_hit(struct exploration *exploration, const char *hit, const struct path *path,
                     size_t depth)
{
    exploration->hit = hit;
    exploration->path_len = depth;
    memcpy(exploration->path, path->steps, sizeof(path->steps));
}

/* Other rules stop it: those that are off as well. */
static void forget_hit(struct exploration *exploration)
{
    exploration->hit = NULL;
    exploration->path_len = 0;
    exploration->others++;
}

/* A step has succeeded; `path` ends with it. */
static void arrive(struct search_run *run, const struct world *world, const struct path *path,
                   size_t depth)
{
    struct exploration *exploration = run->exploration;
    const char *hit = knowledge_hit(world);

    exploration->sequences++;
    if (hit != NULL)
        note_hit(exploration, hit, path, depth);
    else if (!seen_add(&run->seen, world_number(world)))
        exploration->merged++;
    else if (depth < exploration->depth)
        level_add(&run->next, path);
}

static void expand(struct search_run *run, const struct path *from, size_t depth)
{
    struct exploration *exploration = run->exploration;
    struct path path = *from;
    struct world world;
    struct world before;

    replay(run, from, depth, &world);
    size_t count = steps_list(&world, exploration->depth - depth - 1, run->steps);
    before = world;
    for (size_t i = 0; i < count && exploration->hit == NULL; i++) {
        uint64_t number = step_number(&world, &run->steps[i]);
        exploration->steps++;
        if (seen_has(&run->refused, number))
            continue;
        path.steps[depth] = run->steps[i];
        exploration->calls++;
        bool taken = step_take(&world, &run->steps[i]);
        if (taken)
            arrive(run, &world, &path, depth + 1);
        else
            seen_add(&run->refused, number);
        bool hit = exploration->hit != NULL;
        if (hit || (taken && step_changes_key(&run->steps[i]))) {
            world_end(&world);
            if (hit && !is_stopped(run, &path, depth + 1))
                forget_hit(exploration);
            replay(run, from, depth, &world);
            before = world;
        } else {
            world_undo(&world, &before);
        }
    }
    world_end(&world);
}

static void explore_level(struct search_run *run, size_t depth)
{
    struct level level = run->next;

    run->next = (struct level){NULL, 0, 0};
    for (size_t i = 0; i < level.count && run->exploration->hit == NULL; i++)
        expand(run, &level.paths[i], depth);
    free(level.paths);
}

void explore(struct api *api, struct exploration *exploration)
{
    struct search_run run = {.api = api, .exploration = exploration};
    struct path start = {0};
    struct world world;

    switch_off(exploration, 0);
    if (world_start(&world, api, exploration->target) != CKR_OK)
        return;
    knowledge_protect(&world);
    exploration->hit = knowledge_hit(&world);
    world_end(&world);
    if (exploration->hit != NULL && !is_stopped(&run, &start, 0))
        forget_hit(exploration);
    seen_make(&run.seen, SEEN_FIRST);
    seen_make(&run.refused, SEEN_FIRST);
    run.steps = malloc(STEPS_MAX * sizeof(*run.steps));
    REQUIRE(run.steps != NULL);
    level_add(&run.next, &start);
    for (size_t depth = 0; depth < exploration->depth && exploration->hit == NULL; depth++)
        explore_level(&run, depth);
    exploration->worlds = run.seen.count;
    free(run.next.paths);
    free(run.seen.numbers);
    free(run.refused.numbers);
    free(run.steps);
}

void explore_describe(const struct exploration *exploration, char *text, size_t size)
{
    size_t len = (size_t) snprintf(text, size, "%s: %s", exploration->target->name,
                                   exploration->hit == NULL ? "nothing" : exploration->hit);

    for (size_t i = 0; i < exploration->path_len && len < size; i++) {
        char step[128];
        step_describe(&exploration->path[i], step, sizeof(step));
        len += (size_t) snprintf(text + len, size - len, "%s%s", i == 0 ? " after " : "; ", step);
    }
}
