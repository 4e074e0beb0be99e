// The user PIN: from a file, a descriptor or VECTOR_INDEX_PIN, never from the command line, which
// any user of the host can read.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define PIN_MAX_LEN 255U

struct pin_source {
    const char *file; // NULL: not from a file
    int fd;           // -1: not from a descriptor
};

struct pin {
    char text[PIN_MAX_LEN + 3]; // room for a line end, and one byte to notice a longer one
    size_t len;
};

// Reads the PIN; one line end after it is dropped. The caller wipes it, at failure too.
bool pin_read(const struct pin_source *source, struct pin *ret_pin);
void pin_wipe(struct pin *pin);
