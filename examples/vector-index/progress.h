// A progress bar on stderr, and the user's wish to stop.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// From here on SIGINT, SIGTERM and SIGHUP make progress_step fail, so that work ends in order.
void progress_catch_signals(void);

#define PROGRESS_UNKNOWN UINT64_MAX

// Draws DONE of TOTAL when show is set; false, with the error said, after a signal.
bool progress_step(bool show, const char *what, uint64_t done, uint64_t total);
