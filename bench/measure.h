/*
 * Rounds: in each one every side does the same work for a few milliseconds, one after another in an
 * order that turns from round to round, and each side's speed is put into a ratio to OpenSSL's of
 * the same round. What disturbs the machine for longer than a round disturbs both parts of a ratio.
 *
 * Works of one thread are timed by that thread's own CPU time (CLOCK_THREAD_CPUTIME_ID), which does
 * not count what other programs take; those of two threads by the wall clock, because waiting for
 * each other is what they are about, and only where no other program took a processor from them.
 * No thread is pinned and no priority is raised.
 */
#pragma once

#include "bench/work.h"

enum side { SIDE_MODULE, SIDE_EVP, SIDE_SOFTHSM, SIDE_NSS, SIDES };

/* The sides' lanes: one for each thread. */
struct sides {
    struct lane lanes[SIDES][2];
};

struct spread {
    double low; /* lower quartile */
    double median;
    double high; /* upper quartile */
};

struct measured {
    const struct work *work;
    CK_RV rv[SIDES]; /* not CKR_OK: the side does not do this work */
    int all_rounds;
    int rounds[SIDES];           /* those that counted; 0: there is no ratio */
    struct spread ratios[SIDES]; /* side : EVP, of speeds or of scalings; EVP's own as it is */
    double evp; /* OpenSSL's own median: ns an operation; for two threads their speed over that of
                   one */
};

void measure(struct sides *sides, const struct work *work, int rounds,
             struct measured *ret_measured);
