#include "tests/threads/crew.h"

#include <check.h>
#include <dirent.h>
#include <stdlib.h>
#include <time.h>

static void *begin(void *argument)
{
    struct crew_member *member = argument;

    member->job(member, member->context);
    return NULL;
}

void crew_start(struct crew *crew, size_t count,
                void (*job)(struct crew_member *member, void *context), void *context)
{
    ck_assert_uint_le(crew->count + count, CREW_MAX);
    for (size_t i = 0; i < count; i++) {
        struct crew_member *member = &crew->members[crew->count];
        *member = (struct crew_member){crew, crew->count, job, context, 0};
        ck_assert_int_eq(pthread_create(&member->thread, NULL, begin, member), 0);
        crew->count++;
    }
}

bool crew_goes_on(const struct crew_member *member)
{
    return !atomic_load(&member->crew->stop);
}

void crew_join(struct crew *crew)
{
    for (size_t i = 0; i < crew->count; i++)
        ck_assert_int_eq(pthread_join(crew->members[i].thread, NULL), 0);
    crew->count = 0;
    atomic_store(&crew->stop, false);
}

void crew_run(struct crew *crew, long ms)
{
    crew_sleep_ms(ms);
    atomic_store(&crew->stop, true);
    crew_join(crew);
}

long crew_race_ms(void)
{
    const char *text = getenv("INDEXKEY_RACE_MS");

    return text == NULL ? 1500 : strtol(text, NULL, 10);
}

void crew_sleep_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

size_t crew_kernel_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    size_t count = 0;

    ck_assert_ptr_nonnull(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}
