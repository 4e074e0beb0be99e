// Drives the vector-index binary as a user would, and holds the data that it is checked against.
//
// Where the binary and the token are comes from the environment, so that one test serves every
// module: VECTOR_INDEX_BIN, VECTOR_INDEX_MODULE, VECTOR_INDEX_TOKEN, VECTOR_INDEX_PIN_FILE,
// VECTOR_INDEX_NAME, PACKAGES_DIR. A fault of the test's own surroundings ends the test by
// ck_abort_msg.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DRIVER_PATH_LEN 4096
#define DRIVER_TOP 10

struct driver_result {
    int status; // of exit; 1000 and the signal if one ended it
    char *out;
    char *err;
};

struct driver_data {
    size_t count;
    size_t dim;
    float *values;
    char **names;
    char **sections;
    unsigned long *sizes;
};

// A value that must be in the environment.
const char *driver_env(const char *name);

// A new folder for this run's files, and its removal with all that is in it.
void driver_make_folder(void);
void driver_remove_folder(void);

// "FOLDER/name" and "PACKAGES_DIR/name", valid for the whole run.
const char *driver_path(const char *name);
const char *driver_package_path(const char *name);

// Runs the binary: command, the token's options, then the arguments, which end with NULL.
// The result is freed by driver_result_clear.
struct driver_result driver_run(const char *command, ...) __attribute__((sentinel));
void driver_result_clear(struct driver_result *result);

// The same with other options for the token; pin_file may be NULL: none is passed.
struct driver_result driver_run_as(const char *token, const char *pin_file, const char *index,
                                   const char *db);

// A build that goes on while the test does; driver_finish waits for its end.
pid_t driver_start_build(const char *db, const char *vectors, const char *items);
struct driver_result driver_finish(pid_t child);

void driver_build(const char *db, const char *vectors, const char *items);

// Freed by driver_data_free. With items NULL the names are left out.
struct driver_data *driver_data_load(const char *vectors, const char *items);
void driver_data_free(struct driver_data *data);
void driver_data_save(const struct driver_data *data, const char *vectors, const char *items);

// The names of the DRIVER_TOP nearest by inner product, best first, joined by commas; without the
// item numbered skip (SIZE_MAX: none is left out).
void driver_brute_force(const struct driver_data *data, const float *query, size_t skip,
                        char *ret_names, size_t size);

// How many files of the run's folder have names that begin so.
size_t driver_count_files(const char *begin);

char *driver_read_file(const char *path, size_t *ret_len);
void driver_write_file(const char *path, const void *bytes, size_t len);
