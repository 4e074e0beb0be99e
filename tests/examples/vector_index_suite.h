// What the parts of the vector index's tests share: one built index, and the 1,500 packages.
#pragma once

#include <check.h>

#include "vector_index_driver.h"

#define SUITE_QUERIES 20

// Loaded while a test runs. driver_path("index.db") is their index: not to be changed.
extern struct driver_data *suite_packages;
extern struct driver_data *suite_queries;

void suite_set_up_case(Suite *suite, TCase *tests);

// All 20 queries, by text, as TSV. Freed by driver_result_clear.
struct driver_result suite_search(const char *db, const char *probe);

void suite_expect_ok(const struct driver_result *result);

// An orderly failure (exit code 1) whose message has these words. Frees the result.
void suite_expect_failure(struct driver_result result, const char *words);

// A copy of the index, to be altered.
void suite_copy_index(const char *to);

// vector_index_tampering.c
void tampering_add_tests(Suite *suite);
