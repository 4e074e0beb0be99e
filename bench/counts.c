/*
 * The main operations for scripts/check-counts.py, under callgrind:
 *
 *   valgrind --tool=callgrind --instr-atstart=no counts MODULE
 *
 * Each operation is run FEW times, then MANY times, again and again, and callgrind writes what it
 * counted after each, marked "FEW operation" or "MANY operation": the difference of the least
 * counts is what the operation itself costs. Prints what the counts depend on: compiler, OpenSSL,
 * processor family.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/opensslv.h>
#include <sys/utsname.h>
#include <valgrind/callgrind.h>

#include "bench/work.h"

/* Differ by a multiple of 128: C_GenerateRandom's buffer lasts for so many calls. */
#define FEW 128
#define MANY 1152
/* The least of so many runs counts: what is due by the clock (leases, changes in the store) comes
 * on top of some. */
#define REPEATS 9
/* Longer texts are OpenSSL's work. */
#define TEXT_LEN_MAX 256

static CK_RV find_run(struct lane *lane, const struct work *work)
{
    const struct token *token = lane->token;
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) TOKEN_INDEX_KEY, strlen(TOKEN_INDEX_KEY)};
    CK_OBJECT_HANDLE handle;
    CK_ULONG count = 0;

    (void) work;
    MUST(token->p11->C_FindObjectsInit(lane->session, &template, 1) == CKR_OK);
    MUST(token->p11->C_FindObjects(lane->session, &handle, 1, &count) == CKR_OK && count == 1);
    return token->p11->C_FindObjectsFinal(lane->session);
}

static CK_RV session_run(struct lane *lane, const struct work *work)
{
    (void) work;
    return lane->token->p11->C_CloseSession(token_session(lane->token));
}

static const struct operation token_find = {.run = find_run};
static const struct operation token_open_close = {.run = session_run};
static const struct kind find_kind = {.token = &token_find};
static const struct kind session_kind = {.token = &token_open_close};
static const struct work more_works[] = {
    {"C_FindObjects by label", 0, 0, &find_kind, ONE_THREAD},
    {"C_OpenSession + C_CloseSession", 0, 0, &session_kind, ONE_THREAD},
};

static void run_many(struct lane *lane, const struct work *work, int count)
{
    for (int i = 0; i < count; i++)
        MUST(work->kind->token->run(lane, work) == CKR_OK);
}

static void count_run(struct lane *lane, const struct work *work, int count)
{
    char name[128];

    snprintf(name, sizeof(name), "%d %s", count, work->name);
    CALLGRIND_ZERO_STATS;
    run_many(lane, work, count);
    CALLGRIND_DUMP_STATS_AT(name);
}

static void count_work(struct lane *lane, const struct work *work)
{
    MUST(lane_prepare(lane, work, 0) == CKR_OK);
    for (int i = 0; i < REPEATS; i++) {
        count_run(lane, work, FEW);
        count_run(lane, work, MANY);
    }
    lane_end(lane, work);
}

static void print_combination(void)
{
    struct utsname system;

    MUST(uname(&system) == 0);
#ifdef __clang__
    printf("clang-%d", __clang_major__);
#else
    printf("gcc-%d", __GNUC__);
#endif
    printf(" openssl-%d.%d %s\n", OPENSSL_VERSION_MAJOR, OPENSSL_VERSION_MINOR, system.machine);
}

int main(int argc, char **argv)
{
    static struct lane lane;
    struct token token;

    must(argc == 2, "usage: counts MODULE");
    print_combination();
    const char *folder = token_make_folder();
    token_open_module(&token, argv[1], folder);
    lane_open(&lane, &token, 0);
    CALLGRIND_START_INSTRUMENTATION;
    for (size_t i = 0; i < works_count; i++) {
        if (works[i].len <= TEXT_LEN_MAX && works[i].threads == ONE_THREAD &&
            works[i].goal != NO_GOAL)
            count_work(&lane, &works[i]);
    }
    for (size_t i = 0; i < sizeof(more_works) / sizeof(more_works[0]); i++)
        count_work(&lane, &more_works[i]);
    CALLGRIND_STOP_INSTRUMENTATION;
    return EXIT_SUCCESS;
}
