/*
 * Log lines of the module: one line an event, to stderr, syslog or a file; never to stdout, which
 * belongs to the application.
 *
 * Every function may be called from any thread, takes no lock (the child of a fork that logs
 * cannot hang on one) and leaves errno alone, so a format may use %m. A line is one write(2), lost
 * where the target does not take it, and cut at LOG_LINE_MAX bytes. Control characters and what is
 * not printable UTF-8 are replaced, so that what a server or a file says cannot forge a line.
 * Callers pass names, places, codes and remedies; never key bytes, PINs, reply bodies or
 * credentials.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

#define LOG_LINE_MAX 1024

/* True when the text names a target and perhaps a level (else warning): `stderr`, `syslog:info`,
 * `file:PATH:debug`. PATH is absolute; one that has a colon needs the level after it. */
bool log_target_is_valid(const char *target);

/* Sends lines to `target` from now on. False when it is malformed or its file cannot be opened; the
 * former target then stays. A file is opened O_APPEND|O_CLOEXEC|O_NOFOLLOW with mode 0600.
 * A descriptor that other threads keep busy is left open, never closed under a writer. */
bool log_open(const char *target);

/* Back to the default, stderr:warning; closes what log_open opened. */
void log_close(void);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Until it is called with NULL, an error of this thread goes to `buffer` (the last one stands) and
 * not to the target: for work whose outcome is one line of its own. */
void log_divert(char *buffer, size_t size);

/* Until it is called with NULL, each error of this thread that is not diverted goes to `take` (its
 * text, safe to print) and not to the target: for a program that shows them itself. */
void log_collect(void (*take)(void *context, const char *text), void *context);

/* True when lines of this level are written: lets a caller skip preparing one. */
bool log_enabled(enum log_level level);

#ifdef INDEXKEY_TEST_HOOKS
/* Every line of every level goes to `sink`, with its prefix and without a newline, instead of the
 * target, until the sink is NULL. */
void log_set_sink(void (*sink)(enum log_level level, const char *line, void *context),
                  void *context);
/* Where the syslog target finds its daemon; NULL restores /dev/log. `path` stays the caller's. */
void log_set_syslog_path(const char *path);
#endif
