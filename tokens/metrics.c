#include "tokens/metrics.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rv.h"

#define WRITE_EVERY_MS 5000
/* Of one counter; what comes beyond is counted as "other". */
#define LABELS_MAX 160
#define LABEL_LEN_MAX 48

static const struct {
    const char *name;
    const char *label;
    const char *help;
} counters[METRICS_COUNTERS] = {
    [METRICS_LOGINS] = {"indexkey_logins_total", "result", "Logins by their result."},
    [METRICS_OPERATIONS] = {"indexkey_operations_total", "mechanism",
                            "Operations and derivations by mechanism."},
    [METRICS_ERRORS] = {"indexkey_errors_total", "result", "Calls that failed, by their result."},
    [METRICS_KMS_CALLS] = {"indexkey_kms_calls_total", "cause",
                           "Calls to unwrap the data key, by cause; none: answered."},
};

static const struct {
    const char *name;
    const char *help;
} gauges[METRICS_GAUGES] = {
    [METRICS_OBJECTS] = {"indexkey_objects", "Objects that this process sees."},
    [METRICS_SESSIONS] = {"indexkey_sessions", "Open sessions."},
    [METRICS_LOGGED_IN] = {"indexkey_logged_in", "1 while somebody is logged in."},
    [METRICS_LEASE_MS] = {"indexkey_lease_milliseconds",
                          "What is left of the lease; below zero in the grace."},
};

/* Upper ends of the buckets of the time of a call, in milliseconds. */
static const int64_t buckets[] = {5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000};
#define BUCKETS (sizeof(buckets) / sizeof(buckets[0]))

struct row {
    char label[LABEL_LEN_MAX];
    uint64_t count;
};

struct times {
    uint64_t counts[BUCKETS + 1];
    uint64_t sum_ms;
};

struct metrics {
    char *token;
    char *path;
    char *temporary;
    pthread_mutex_t lock; /* over the rest */
    struct row rows[METRICS_COUNTERS][LABELS_MAX];
    size_t row_counts[METRICS_COUNTERS];
    int64_t gauges[METRICS_GAUGES];
    struct times times[LABELS_MAX]; /* of the rows of METRICS_KMS_CALLS */
    int64_t written_ms;
    bool was_said;
};

static void metrics_free(struct metrics **metrics)
{
    struct metrics *freed = *metrics;

    if (freed == NULL)
        return;
    (void) pthread_mutex_destroy(&freed->lock);
    mem_free(freed->token);
    mem_free(freed->path);
    mem_free(freed->temporary);
    mem_free(freed);
    *metrics = NULL;
}

CK_RV metrics_open(const char *token, const char *path, struct metrics **ret_metrics)
{
    _cleanup_(metrics_free) struct metrics *metrics = mem_calloc(1, sizeof(*metrics));
    const char *mark = strstr(path, "%p");

    if (metrics == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for metrics", token);
    (void) pthread_mutex_init(&metrics->lock, NULL);
    metrics->token = mem_strdup(token);
    metrics->path = mark == NULL ? mem_strdup(path)
                                 : mem_format("%.*s%ld%s", (int) (mark - path), path,
                                              (long) getpid(), mark + 2);
    if (metrics->path != NULL)
        metrics->temporary = mem_format("%s.%ld.new", metrics->path, (long) getpid());
    if (metrics->token == NULL || metrics->temporary == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for metrics", token);
    *ret_metrics = TAKE(metrics);
    return CKR_OK;
}

void metrics_close(struct metrics **metrics)
{
    if (*metrics != NULL)
        metrics_write(*metrics);
    metrics_free(metrics);
}

static struct row *find_locked(struct metrics *metrics, enum metrics_counter counter,
                               const char *label)
{
    struct row *rows = metrics->rows[counter];
    size_t *count = &metrics->row_counts[counter];

    for (size_t i = 0; i < *count; i++)
        if (strncmp(rows[i].label, label, LABEL_LEN_MAX - 1) == 0)
            return &rows[i];
    if (*count == LABELS_MAX)
        return &rows[LABELS_MAX - 1];
    (void) snprintf(rows[*count].label, LABEL_LEN_MAX, "%s",
                    *count == LABELS_MAX - 1 ? "other" : label);
    return &rows[(*count)++];
}

void metrics_add(struct metrics *metrics, enum metrics_counter counter, const char *label,
                 uint64_t count)
{
    if (metrics == NULL || count == 0)
        return;
    (void) pthread_mutex_lock(&metrics->lock);
    find_locked(metrics, counter, label)->count += count;
    (void) pthread_mutex_unlock(&metrics->lock);
}

void metrics_set(struct metrics *metrics, enum metrics_gauge gauge, int64_t value)
{
    if (metrics == NULL)
        return;
    (void) pthread_mutex_lock(&metrics->lock);
    metrics->gauges[gauge] = value;
    (void) pthread_mutex_unlock(&metrics->lock);
}

void metrics_kms_call(struct metrics *metrics, const char *cause, int64_t took_ms)
{
    size_t bucket = 0;

    if (metrics == NULL)
        return;
    while (bucket < BUCKETS && took_ms > buckets[bucket])
        bucket++;
    (void) pthread_mutex_lock(&metrics->lock);
    struct row *row = find_locked(metrics, METRICS_KMS_CALLS, cause);
    struct times *times = &metrics->times[row - metrics->rows[METRICS_KMS_CALLS]];
    row->count++;
    times->counts[bucket]++;
    times->sum_ms += (uint64_t) took_ms;
    (void) pthread_mutex_unlock(&metrics->lock);
}

bool metrics_are_due(struct metrics *metrics)
{
    if (metrics == NULL)
        return false;
    (void) pthread_mutex_lock(&metrics->lock);
    int64_t now_ms = clock_coarse_ms();
    bool due = metrics->written_ms == 0 || now_ms - metrics->written_ms >= WRITE_EVERY_MS;
    if (due)
        metrics->written_ms = now_ms;
    (void) pthread_mutex_unlock(&metrics->lock);
    return due;
}

static void print_counters(const struct metrics *metrics, FILE *file)
{
    for (size_t i = 0; i < METRICS_COUNTERS; i++) {
        (void) fprintf(file, "# HELP %s %s\n# TYPE %s counter\n", counters[i].name,
                       counters[i].help, counters[i].name);
        for (size_t j = 0; j < metrics->row_counts[i]; j++)
            (void) fprintf(file, "%s{token=\"%s\",%s=\"%s\"} %" PRIu64 "\n", counters[i].name,
                           metrics->token, counters[i].label, metrics->rows[i][j].label,
                           metrics->rows[i][j].count);
    }
}

static void print_gauges(const struct metrics *metrics, FILE *file)
{
    for (size_t i = 0; i < METRICS_GAUGES; i++)
        (void) fprintf(file, "# HELP %s %s\n# TYPE %s gauge\n%s{token=\"%s\"} %" PRId64 "\n",
                       gauges[i].name, gauges[i].help, gauges[i].name, gauges[i].name,
                       metrics->token, metrics->gauges[i]);
}

#define TIMES "indexkey_kms_call_seconds"

static void print_times_of(const char *labels, const struct times *times, FILE *file)
{
    uint64_t below = 0;

    for (size_t i = 0; i < BUCKETS; i++) {
        below += times->counts[i];
        (void) fprintf(file, TIMES "_bucket{%s,le=\"%g\"} %" PRIu64 "\n", labels,
                       (double) buckets[i] / CLOCK_MS_PER_S, below);
    }
    below += times->counts[BUCKETS];
    (void) fprintf(file,
                   TIMES "_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n" TIMES "_sum{%s} %" PRIu64
                         ".%03d\n" TIMES "_count{%s} %" PRIu64 "\n",
                   labels, below, labels, times->sum_ms / CLOCK_MS_PER_S,
                   (int) (times->sum_ms % CLOCK_MS_PER_S), labels, below);
}

static void print_times(const struct metrics *metrics, FILE *file)
{
    char labels[3 * LABEL_LEN_MAX];

    (void) fprintf(file, "# HELP " TIMES " Time of calls to unwrap the data key, by cause.\n"
                         "# TYPE " TIMES " histogram\n");
    for (size_t i = 0; i < metrics->row_counts[METRICS_KMS_CALLS]; i++) {
        (void) snprintf(labels, sizeof(labels), "token=\"%s\",cause=\"%s\"", metrics->token,
                        metrics->rows[METRICS_KMS_CALLS][i].label);
        print_times_of(labels, &metrics->times[i], file);
    }
}

static bool print_locked(const struct metrics *metrics)
{
    int fd = open(metrics->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

    if (file == NULL) {
        if (fd >= 0)
            (void) close(fd);
        return false;
    }
    print_counters(metrics, file);
    print_gauges(metrics, file);
    print_times(metrics, file);
    bool is_whole = ferror(file) == 0;
    is_whole = fclose(file) == 0 && is_whole;
    return is_whole && rename(metrics->temporary, metrics->path) == 0;
}

void metrics_write(struct metrics *metrics)
{
    (void) pthread_mutex_lock(&metrics->lock);
    bool is_written = print_locked(metrics);
    if (!is_written && !metrics->was_said)
        log_line(LOG_LEVEL_WARNING, "token '%s': cannot write its metrics to %s: %m",
                 metrics->token, metrics->path);
    metrics->was_said = !is_written;
    (void) pthread_mutex_unlock(&metrics->lock);
}
