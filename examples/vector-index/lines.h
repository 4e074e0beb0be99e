// Reads a text file line by line: bounded lines, no control characters but the tab.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define LINES_MAX_LEN 4096U

struct lines {
    FILE *file;
    const char *path; // not owned
    uint64_t number;  // of the line last read, from 1
    char text[LINES_MAX_LEN + 1];
};

// Closed by lines_close.
bool lines_open(const char *path, struct lines *ret_lines);
void lines_close(struct lines *lines);

// Reads the next line into lines->text; *ret_more is false at the end of the file.
bool lines_read(struct lines *lines, bool *ret_more);
