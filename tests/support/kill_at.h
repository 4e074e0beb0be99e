/*
 * A process that is killed as it enters a chosen system call: for tests that kill at every one of
 * them, where a test that kills after some time meets the same few again and again.
 */
#pragma once

#include <stdbool.h>

/* In the child. Only what lies between the two is counted; both do nothing in a process that is not
 * watched. */
void kill_at_begin(void);
void kill_at_end(void);

enum kill_at {
    KILL_AT_NEVER,  /* it ended by itself, with status 0, and had fewer system calls */
    KILL_AT_STRUCK, /* killed before the kernel saw the call */
    KILL_AT_FAILED, /* it ended by itself otherwise */
};

/* Runs `work` in a child of one thread, which is killed with SIGKILL as it enters its `nth` system
 * call (from 1) that writes, syncs, sends, renames or removes something. 0: it is never killed. */
enum kill_at kill_at_nth_write(unsigned int nth, void (*work)(void *context), void *context);
