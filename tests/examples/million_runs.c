#include "million_runs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#define ARGUMENTS_MAX 32
#define LISTS "100"
#define PROBE "20"
#define BUILD_SEED "1"
#define QUERY_SEED "2"
// Where a child finds the pipes.
#define VECTORS_FD 20
#define ITEMS_FD 21
#define FD_PATH(fd) FD_PATH_OF(fd)
#define FD_PATH_OF(fd) "/dev/fd/" #fd

struct command {
    const char *arguments[ARGUMENTS_MAX];
    size_t count;
};

struct generator {
    pid_t child;
    int out; // what it writes is read here
};

static const char *const call_names[MILLION_CALL_COUNT] = {
    [MILLION_RANDOM] = "random",
    [MILLION_MAC] = "mac",
    [MILLION_SEAL] = "seal",
    [MILLION_OPEN] = "open",
};

uint64_t million_number(const char *name)
{
    char *end = NULL;
    uint64_t value = strtoull(driver_env(name), &end, 10);

    ck_assert_msg(*end == '\0' && value > 0, "%s is no number", name);
    return value;
}

static void command_add(struct command *command, const char *argument)
{
    ck_assert_uint_lt(command->count, ARGUMENTS_MAX - 1);
    command->arguments[command->count++] = argument;
}

static struct command command_begin(enum million_side side, const char *name, const char *db)
{
    bool module = side == MILLION_MODULE;
    const char *const arguments[] = {
        driver_env(module ? "VECTOR_INDEX_BIN" : "VECTOR_INDEX_EVP_BIN"),
        name,
        "--module",
        driver_env(module ? "VECTOR_INDEX_MODULE" : "VECTOR_INDEX_KEY_FILE"),
        "--token",
        driver_env("VECTOR_INDEX_TOKEN"),
        "--pin-file",
        driver_env("VECTOR_INDEX_PIN_FILE"),
        "--index",
        driver_env("VECTOR_INDEX_NAME"),
        "--db",
        db,
    };
    struct command command = {.count = 0};

    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        command_add(&command, arguments[i]);
    }
    return command;
}

static struct generator generator_start(const char *what, uint64_t count, const char *seed)
{
    struct generator generator;
    char number[32];
    int ends[2];

    snprintf(number, sizeof number, "%" PRIu64, count);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    generator.child = fork();
    ck_assert_int_ge(generator.child, 0);
    if (generator.child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl(driver_env("GENERATE_VECTORS_BIN"), "generate-vectors", what, number, seed, NULL);
        _exit(127);
    }
    close(ends[1]);
    generator.out = ends[0];
    return generator;
}

static void generator_finish(const struct generator *generator)
{
    int status = 0;

    close(generator->out);
    ck_assert_int_eq(waitpid(generator->child, &status, 0), generator->child);
    ck_assert_msg(status == 0, "generate-vectors: status %d", status);
}

static void exec_command(const struct command *command)
{
    if (freopen(driver_path("run.out"), "w", stdout) != NULL &&
        freopen(driver_path("run.err"), "w", stderr) != NULL) {
        execv(command->arguments[0], (char *const *) command->arguments);
    }
    _exit(127);
}

static void read_profile(struct million_cost *cost, char *text)
{
    char *line;

    while ((line = strsep(&text, "\n")) != NULL) {
        for (size_t i = 0; i < MILLION_CALL_COUNT; i++) {
            char format[64];

            snprintf(format, sizeof format, "profile: %s ", call_names[i]);
            if (strncmp(line, format, strlen(format)) == 0) {
                ck_assert_int_eq(sscanf(line + strlen(format), "%" SCNu64 " calls %" SCNu64 " ns",
                                        &cost->calls[i], &cost->times[i]),
                                 2);
            }
        }
    }
}

static double seconds(const struct timeval *time)
{
    return (double) time->tv_sec + (double) time->tv_usec / 1e6;
}

// wait4 tells of this one child; the generators, which run beside it, are not in it.
static struct million_cost command_finish(pid_t child)
{
    struct million_cost cost = {.cpu = 0};
    struct rusage usage;
    int status = 0;
    char *errors;

    ck_assert_int_eq(wait4(child, &status, 0, &usage), child);
    errors = driver_read_file(driver_path("run.err"), NULL);
    ck_assert_msg(status == 0, "status %d: %s", status, errors);
    read_profile(&cost, errors);
    free(errors);
    cost.cpu = seconds(&usage.ru_utime) + seconds(&usage.ru_stime);
    cost.peak_kib = usage.ru_maxrss;
    return cost;
}

static struct million_cost command_run(const struct command *command)
{
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        exec_command(command);
    }
    return command_finish(child);
}

struct million_cost million_build(enum million_side side, const char *db, uint64_t count,
                                  bool profile)
{
    static const char *const arguments[] = {"--vectors",       FD_PATH(VECTORS_FD), "--items",
                                            FD_PATH(ITEMS_FD), "--lists",           LISTS};
    struct command command = command_begin(side, "build", db);
    struct generator vectors = generator_start("vectors", count, BUILD_SEED);
    struct generator items = generator_start("items", count, BUILD_SEED);
    struct million_cost cost;
    pid_t child;

    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        command_add(&command, arguments[i]);
    }
    if (profile) {
        command_add(&command, "--profile");
    }
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(vectors.out, VECTORS_FD);
        dup2(items.out, ITEMS_FD);
        exec_command(&command);
    }
    cost = command_finish(child);
    generator_finish(&vectors);
    generator_finish(&items);
    return cost;
}

void million_make_queries(void)
{
    struct generator generator = generator_start("vectors", 20, QUERY_SEED);
    int to = open(driver_path("queries.fvecs"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char bytes[4096];
    ssize_t got;

    ck_assert_int_ge(to, 0);
    while ((got = read(generator.out, bytes, sizeof bytes)) > 0) {
        ck_assert_int_eq(write(to, bytes, (size_t) got), got);
    }
    close(to);
    generator_finish(&generator);
}

struct million_cost million_search(enum million_side side, const char *db, char **ret_answers)
{
    struct command command = command_begin(side, "search", db);
    struct million_cost cost;

    command_add(&command, "--query");
    command_add(&command, driver_path("queries.fvecs"));
    command_add(&command, "--probe");
    command_add(&command, PROBE);
    command_add(&command, "--tsv");
    cost = command_run(&command);
    *ret_answers = driver_read_file(driver_path("run.out"), NULL);
    return cost;
}

struct million_cost million_start(enum million_side side, const char *db)
{
    struct command command = command_begin(side, "search", db);

    command_add(&command, "--field");
    command_add(&command, "section=none");
    return command_run(&command);
}
