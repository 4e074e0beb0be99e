/*
 * A differential run: random sequences of calls, each made in the same order on the module under
 * test and on SoftHSM or NSS's softoken, with return values and outputs compared call by call.
 *
 *   differential [--seed N] [--sequences N] [--sequence N] [--jobs N]
 *
 * --sequence runs one alone, by its number in a run with the same seed, and prints every call. The
 * module comes from INDEXKEY_MODULE. A difference that is not in differences.c fails the run, as
 * does a crash of the module, or less than half of the calls with CKR_OK, or a row that the page in
 * DIFFERENCES_PAGE has not.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/differential/run.h"

#define JOBS_MAX 8
#define STEPS_MIN 5
#define STEPS_MORE 26
#define NSS_PERCENT 30
#define LOGIN_SEQUENCES 400 /* one in so many */
#define CRASHES_MAX 200
#define LOG_TRIM_EVERY 1000

struct options {
    unsigned long seed, sequences, jobs;
    bool single;
    unsigned long sequence;
};

struct worker {
    struct modules modules;
    struct common common[PEERS][COMMONS];
    struct run run;
};

static void find_common(struct worker *worker)
{
    static const CK_FLAGS uses[COMMONS] = {
        [COMMON_DIGEST] = CKF_DIGEST,  [COMMON_MAC] = CKF_SIGN,
        [COMMON_CIPHER] = CKF_ENCRYPT, [COMMON_WRAP] = CKF_WRAP,
        [COMMON_DERIVE] = CKF_DERIVE,  [COMMON_GENERATE] = CKF_GENERATE,
    };

    for (int peer = 0; peer < PEERS; peer++)
        for (int use = 0; use < COMMONS; use++)
            common_find(&worker->common[peer][use], &worker->modules.ours,
                        &worker->modules.peers[peer], uses[use]);
}

static void step(struct run *run)
{
    static const struct {
        void (*step)(struct run *run);
        unsigned long weight[PEERS];
    } steps[] = {
        {session_step, {5, 3}},     {object_step, {12, 6}}, {search_step, {6, 3}},
        {attribute_step, {18, 14}}, {crypt_step, {22, 14}}, {mac_step, {18, 10}},
        {digest_step, {10, 4}},     {derive_step, {9, 38}}, {wrap_step, {6, 6}},
        {generate_step, {4, 4}},    {null_step, {3, 0}},    {dual_step, {0, 5}},
        {message_step, {0, 8}},
    };
    unsigned long sum = 0;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        sum += steps[i].weight[run->peer];
    unsigned long chosen = prng_below(&run->prng, sum);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (chosen < steps[i].weight[run->peer]) {
            steps[i].step(run);
            return;
        }
        chosen -= steps[i].weight[run->peer];
    }
}

/* Both sides as they were before: no sessions but the anchors, no objects, logged in. */
static void clean_up(struct run *run)
{
    for (int side = 0; side < SIDES; side++) {
        const struct module *module = run->modules[side];
        if (module->has_login)
            module->p11->C_Login(module->anchor, CKU_USER, (CK_UTF8CHAR *) PEER_USER_PIN,
                                 strlen(PEER_USER_PIN));
        for (int i = 0; i < OBJECTS_MAX; i++)
            if (run->objects[i].used && run->objects[i].owner == NULL)
                module->p11->C_DestroyObject(module->anchor, run->objects[i].handle[side]);
        for (int i = 0; i < SESSIONS_MAX; i++)
            if (run->sessions[i].open)
                module->p11->C_CloseSession(run->sessions[i].handle[side]);
    }
}

static void run_sequence(struct worker *worker, const struct options *options,
                         struct report *report, unsigned long number)
{
    struct run *run = &worker->run;

    memset(run, 0, sizeof(*run));
    run->prng.state = options->seed * 0x9e3779b97f4a7c15U + number;
    run->prng.state = prng_next(&run->prng);
    run->peer = prng_percent(&run->prng, NSS_PERCENT) ? PEER_NSS : PEER_SOFTHSM;
    run->modules[OURS] = &worker->modules.ours;
    run->modules[THEIRS] = &worker->modules.peers[run->peer];
    run->common = worker->common[run->peer];
    run->report = report;
    run->trace = options->single;
    run->sequence = number;
    open_session(run, CKF_SERIAL_SESSION | CKF_RW_SESSION);
    if (run->peer == PEER_SOFTHSM && number % LOGIN_SEQUENCES == 0)
        login_sequence(run);
    unsigned long steps = STEPS_MIN + prng_below(&run->prng, STEPS_MORE);
    for (unsigned long i = 0; i < steps && run->calls < steps && !run->ended; i++) {
        if (run_session(run) == NULL)
            open_session(run, CKF_SERIAL_SESSION | CKF_RW_SESSION);
        step(run);
    }
    clean_up(run);
    report->sequences++;
}

/* Runs every jobs-th sequence from report->next on; a child of its own, because peers crash. */
static void work(const struct options *options, struct report *report)
{
    static struct worker worker;

    modules_open(&worker.modules);
    snprintf(report->folder, sizeof(report->folder), "%s", worker.modules.api.folder);
    find_common(&worker);
    while (report->next < options->sequences) {
        run_sequence(&worker, options, report, report->next);
        report->next += options->jobs;
        if (report->next % LOG_TRIM_EVERY < options->jobs)
            modules_trim_log(&worker.modules);
    }
    modules_close(&worker.modules);
    fflush(stdout);
    _exit(0);
}

static pid_t start(const struct options *options, struct report *report)
{
    fflush(stdout);
    pid_t pid = fork();

    if (pid < 0) {
        perror("fork");
        exit(2);
    }
    if (pid == 0)
        work(options, report);
    return pid;
}

/* False when the run is over: the module under test has crashed, or something else went wrong. */
static bool note_crash(struct report *report, int status)
{
    struct finding finding = report->current;

    modules_remove(report->folder);
    if (!WIFSIGNALED(status) || !report->calling || report->side == OURS) {
        printf("the process of sequence %lu ended with status 0x%x %s\n", report->next, status,
               report->calling && report->side == OURS ? "in a call of the module under test" : "");
        return false;
    }
    finding.what = WHAT_CRASH;
    report_difference(report, &finding, report->next);
    report->calling = false;
    report->sequences++;
    return true;
}

static void stop(const struct options *options, const pid_t *workers, struct report *reports)
{
    for (unsigned long job = 0; job < options->jobs; job++) {
        if (workers[job] == 0)
            continue;
        kill(workers[job], SIGKILL);
        waitpid(workers[job], NULL, 0);
        modules_remove(reports[job].folder);
    }
}

static bool supervise(const struct options *options, struct report *reports)
{
    pid_t workers[JOBS_MAX] = {0};
    unsigned long running = options->jobs;
    int crashes = 0;
    int status;

    for (unsigned long job = 0; job < options->jobs; job++)
        workers[job] = start(options, &reports[job]);
    while (running > 0) {
        pid_t pid = wait(&status);
        unsigned long job = 0;
        while (job < options->jobs && workers[job] != pid)
            job++;
        if (job == options->jobs)
            continue;
        workers[job] = 0;
        if (status == 0) {
            running--;
            continue;
        }
        if (!note_crash(&reports[job], status) || ++crashes > CRASHES_MAX) {
            stop(options, workers, reports);
            return false;
        }
        reports[job].next += options->jobs;
        workers[job] = start(options, &reports[job]);
    }
    return true;
}

static unsigned long number_of(const char *text)
{
    char *end;
    unsigned long number = strtoul(text, &end, 0);

    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "differential: '%s' is no number\n", text);
        exit(2);
    }
    return number;
}

static struct options read_options(int argc, char **argv)
{
    static const struct option known[] = {{"seed", required_argument, NULL, 's'},
                                          {"sequences", required_argument, NULL, 'n'},
                                          {"sequence", required_argument, NULL, 'o'},
                                          {"jobs", required_argument, NULL, 'j'},
                                          {0}};
    struct options options = {.seed = 1, .sequences = 100000, .jobs = 2};
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        unsigned long number = option == '?' ? 0 : number_of(optarg);
        if (option == 's')
            options.seed = number;
        else if (option == 'n')
            options.sequences = number;
        else if (option == 'j')
            options.jobs = number < 1 ? 1 : number > JOBS_MAX ? JOBS_MAX : number;
        else if (option == 'o')
            options.single = true, options.sequence = number;
        else
            exit(2);
    }
    return options;
}

int main(int argc, char **argv)
{
    struct options options = read_options(argc, argv);
    static struct report all;

    struct report *reports = mmap(NULL, JOBS_MAX * sizeof(*reports), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (reports == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    if (options.single) {
        options.jobs = 1;
        options.sequences = options.sequence + 1;
        reports[0].next = options.sequence;
    }
    for (unsigned long job = 0; job < options.jobs && !options.single; job++)
        reports[job].next = job;
    printf("seed %lu, %lu sequences\n", options.seed, options.sequences);
    bool whole = supervise(&options, reports);
    for (unsigned long job = 0; job < options.jobs; job++)
        report_merge(&all, &reports[job]);
    bool good = report_print(&all);
    const char *page = getenv("DIFFERENCES_PAGE");
    if (page != NULL && !differences_are_told(page))
        good = false;
    return whole && (good || options.single) ? 0 : 1;
}
