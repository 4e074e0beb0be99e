// Runs the two builds of vector-index, on the module and on raw EVP, and tells what a run cost.
//
// Beside the variables of vector_index_driver.h: VECTOR_INDEX_EVP_BIN, GENERATE_VECTORS_BIN, and
// VECTOR_INDEX_KEY_FILE, the index key for the side that has no token. A fault of the test's own
// surroundings ends the test by ck_abort_msg.
#pragma once

#include <stdint.h>

#include "vector_index_driver.h"

enum million_side { MILLION_MODULE, MILLION_EVP, MILLION_SIDE_COUNT };

// As vector-index --profile names them.
enum million_call {
    MILLION_RANDOM,
    MILLION_MAC,
    MILLION_SEAL,
    MILLION_OPEN,
    MILLION_CALL_COUNT,
};

struct million_cost {
    double cpu;                         // seconds of the process, user and system
    long peak_kib;                      // of its resident memory
    uint64_t calls[MILLION_CALL_COUNT]; // with --profile, else zero
    uint64_t times[MILLION_CALL_COUNT]; // nanoseconds
};

// A number from the environment.
uint64_t million_number(const char *name);

// Builds an index of made-up embeddings that come through a pipe. With profile, tells the calls.
struct million_cost million_build(enum million_side side, const char *db, uint64_t count,
                                  bool profile);

// The 20 queries of million_make_queries, in the index of either side; the answers as TSV. Freed by
// free.
struct million_cost million_search(enum million_side side, const char *db, char **ret_answers);
void million_make_queries(void);

// What a search costs before it reads an embedding: loading, login, opening the index.
struct million_cost million_start(enum million_side side, const char *db);
