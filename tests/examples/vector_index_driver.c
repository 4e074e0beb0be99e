#include "vector_index_driver.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#define MAX_ARGUMENTS 32
#define MAX_PATHS 64

static char folder[DRIVER_PATH_LEN / 2];

const char *driver_env(const char *name)
{
    const char *value = getenv(name);

    if (value == NULL || value[0] == '\0') {
        ck_abort_msg("the variable %s is not set", name);
    }
    return value;
}

void driver_make_folder(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(folder, sizeof folder, "%s/vector-index-XXXXXX", base != NULL ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

void driver_remove_folder(void)
{
    DIR *entries = opendir(folder);
    const struct dirent *entry;

    ck_assert_ptr_nonnull(entries);
    while ((entry = readdir(entries)) != NULL) {
        if (entry->d_name[0] != '.') {
            unlinkat(dirfd(entries), entry->d_name, 0);
        }
    }
    closedir(entries);
    ck_assert_int_eq(rmdir(folder), 0);
}

size_t driver_count_files(const char *begin)
{
    DIR *entries = opendir(folder);
    const struct dirent *entry;
    size_t count = 0;

    ck_assert_ptr_nonnull(entries);
    while ((entry = readdir(entries)) != NULL) {
        count += strncmp(entry->d_name, begin, strlen(begin)) == 0;
    }
    closedir(entries);
    return count;
}

// The same path has the same place for the whole run.
static const char *driver_join(const char *first, const char *second)
{
    static char paths[MAX_PATHS][DRIVER_PATH_LEN];
    char path[DRIVER_PATH_LEN];
    size_t at = 0;

    snprintf(path, sizeof path, "%s/%s", first, second);
    while (at < MAX_PATHS && paths[at][0] != '\0' && strcmp(paths[at], path) != 0) {
        at++;
    }
    ck_assert_uint_lt(at, MAX_PATHS);
    memcpy(paths[at], path, sizeof path);
    return paths[at];
}

const char *driver_path(const char *name)
{
    return driver_join(folder, name);
}

const char *driver_package_path(const char *name)
{
    return driver_join(driver_env("PACKAGES_DIR"), name);
}

char *driver_read_file(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "rb");
    char *bytes;
    long len;

    if (file == NULL) {
        ck_abort_msg("cannot open %s", path);
    }
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    len = ftell(file);
    rewind(file);
    bytes = calloc((size_t) len + 1, 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, (size_t) len, file), (size_t) len);
    fclose(file);
    if (ret_len != NULL) {
        *ret_len = (size_t) len;
    }
    return bytes;
}

void driver_write_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
}

static pid_t driver_start(const char *const *arguments)
{
    const char *out = driver_path("run.out");
    const char *err = driver_path("run.err");
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (freopen(out, "w", stdout) != NULL && freopen(err, "w", stderr) != NULL) {
            execv(arguments[0], (char *const *) arguments);
        }
        _exit(127);
    }
    return child;
}

struct driver_result driver_finish(pid_t child)
{
    struct driver_result result;
    int status = 0;

    ck_assert_int_eq(waitpid(child, &status, 0), child);
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    result.out = driver_read_file(driver_path("run.out"), NULL);
    result.err = driver_read_file(driver_path("run.err"), NULL);
    return result;
}

struct driver_result driver_run(const char *command, ...)
{
    const char *arguments[MAX_ARGUMENTS] = {
        driver_env("VECTOR_INDEX_BIN"),
        command,
        "--module",
        driver_env("VECTOR_INDEX_MODULE"),
        "--token",
        driver_env("VECTOR_INDEX_TOKEN"),
        "--pin-file",
        driver_env("VECTOR_INDEX_PIN_FILE"),
        "--index",
        driver_env("VECTOR_INDEX_NAME"),
    };
    size_t count = 10;
    va_list extra;

    va_start(extra, command);
    while (count < MAX_ARGUMENTS - 1 && (arguments[count] = va_arg(extra, const char *)) != NULL) {
        count++;
    }
    va_end(extra);
    return driver_finish(driver_start(arguments));
}

struct driver_result driver_run_as(const char *token, const char *pin_file, const char *index,
                                   const char *db)
{
    const char *arguments[] = {
        driver_env("VECTOR_INDEX_BIN"),
        "search",
        "--module",
        driver_env("VECTOR_INDEX_MODULE"),
        "--token",
        token,
        "--index",
        index,
        "--db",
        db,
        "--field",
        "section=games",
        pin_file != NULL ? "--pin-file" : NULL,
        pin_file,
        NULL,
    };

    return driver_finish(driver_start(arguments));
}

void driver_result_clear(struct driver_result *result)
{
    free(result->out);
    free(result->err);
}

pid_t driver_start_build(const char *db, const char *vectors, const char *items)
{
    const char *arguments[] = {
        driver_env("VECTOR_INDEX_BIN"),
        "build",
        "--module",
        driver_env("VECTOR_INDEX_MODULE"),
        "--token",
        driver_env("VECTOR_INDEX_TOKEN"),
        "--pin-file",
        driver_env("VECTOR_INDEX_PIN_FILE"),
        "--index",
        driver_env("VECTOR_INDEX_NAME"),
        "--db",
        db,
        "--vectors",
        vectors,
        "--items",
        items,
        NULL,
    };

    return driver_start(arguments);
}

void driver_build(const char *db, const char *vectors, const char *items)
{
    struct driver_result result = driver_finish(driver_start_build(db, vectors, items));

    ck_assert_msg(result.status == 0, "build: exit %d: %s", result.status, result.err);
    driver_result_clear(&result);
}

static void driver_load_vectors(struct driver_data *data, const char *path)
{
    size_t len = 0;
    char *bytes = driver_read_file(path, &len);
    int32_t dim;

    memcpy(&dim, bytes, sizeof dim);
    data->dim = (size_t) dim;
    data->count = len / (4 + 4 * data->dim);
    data->values = calloc(data->count * data->dim, sizeof *data->values);
    ck_assert_ptr_nonnull(data->values);
    for (size_t i = 0; i < data->count; i++) {
        memcpy(data->values + i * data->dim, bytes + i * (4 + 4 * data->dim) + 4, 4 * data->dim);
    }
    free(bytes);
}

static void driver_load_items(struct driver_data *data, const char *path)
{
    char *text = driver_read_file(path, NULL);
    char *rest = text;

    for (size_t i = 0; i < data->count; i++) {
        char *line = strsep(&rest, "\n");

        ck_assert_ptr_nonnull(rest);
        data->names[i] = strdup(strsep(&line, "\t"));
        data->sections[i] = strdup(strsep(&line, "\t"));
        data->sizes[i] = strtoul(line, NULL, 10);
    }
    free(text);
}

struct driver_data *driver_data_load(const char *vectors, const char *items)
{
    struct driver_data *data = calloc(1, sizeof *data);

    ck_assert_ptr_nonnull(data);
    driver_load_vectors(data, vectors);
    data->names = calloc(data->count, sizeof *data->names);
    data->sections = calloc(data->count, sizeof *data->sections);
    data->sizes = calloc(data->count, sizeof *data->sizes);
    ck_assert(data->names != NULL && data->sections != NULL && data->sizes != NULL);
    if (items != NULL) {
        driver_load_items(data, items);
    }
    return data;
}

void driver_data_free(struct driver_data *data)
{
    for (size_t i = 0; i < data->count; i++) {
        free(data->names[i]);
        free(data->sections[i]);
    }
    free(data->names);
    free(data->sections);
    free(data->sizes);
    free(data->values);
    free(data);
}

void driver_data_save(const struct driver_data *data, const char *vectors, const char *items)
{
    FILE *file = fopen(vectors, "wb");
    int32_t dim = (int32_t) data->dim;

    ck_assert_ptr_nonnull(file);
    for (size_t i = 0; i < data->count; i++) {
        fwrite(&dim, sizeof dim, 1, file);
        fwrite(data->values + i * data->dim, sizeof(float), data->dim, file);
    }
    ck_assert_int_eq(fclose(file), 0);
    file = fopen(items, "w");
    ck_assert_ptr_nonnull(file);
    for (size_t i = 0; i < data->count; i++) {
        fprintf(file, "%s\t%s\t%lu\n", data->names[i], data->sections[i], data->sizes[i]);
    }
    ck_assert_int_eq(fclose(file), 0);
}

static double driver_dot(const float *a, const float *b, size_t dim)
{
    double sum = 0;

    for (size_t i = 0; i < dim; i++) {
        sum += (double) a[i] * (double) b[i];
    }
    return sum;
}

void driver_brute_force(const struct driver_data *data, const float *query, size_t skip,
                        char *ret_names, size_t size)
{
    double *scores = calloc(data->count, sizeof *scores);
    size_t used = 0;

    ck_assert_ptr_nonnull(scores);
    for (size_t i = 0; i < data->count; i++) {
        scores[i] = i == skip ? -1e30 : driver_dot(data->values + i * data->dim, query, data->dim);
    }
    for (size_t rank = 0; rank < DRIVER_TOP; rank++) {
        size_t best = 0;

        for (size_t i = 1; i < data->count; i++) {
            best = scores[i] > scores[best] ? i : best;
        }
        used += (size_t) snprintf(ret_names + used, size - used, "%s%s", rank > 0 ? "," : "",
                                  data->names[best]);
        ck_assert_uint_lt(used, size);
        scores[best] = -1e30;
    }
    free(scores);
}
