/* What was measured, as a table for people and as JSON for scripts/bench-report.py. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "bench/measure.h"

struct report {
    const struct token *tokens[SIDES]; /* NULL for OpenSSL */
    int rounds;
    const struct measured *rows;
    size_t row_count;
};

void report_head(const struct report *report);
/* A line, as soon as it is measured. */
void report_row(const struct measured *row);
void report_json(const struct report *report, const char *path);
