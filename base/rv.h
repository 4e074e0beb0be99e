/*
 * How every function of this project reports: CK_RV, TRY and FAIL.
 *
 * A failure is logged once, where it arises, by FAIL (or by the cause-carrying forms in
 * base/cause.h); callers pass the value on with TRY and log nothing.
 */
#pragma once

#include "base/log.h"
#include "include/cryptoki.h"

#define TRY(expr)                                                                                  \
    do {                                                                                           \
        CK_RV try_rv_ = (expr);                                                                    \
        if (__builtin_expect(try_rv_ != CKR_OK, 0))                                                \
            return try_rv_;                                                                        \
    } while (0)

/* One line at level error, then the value itself, so that `return FAIL(rv, …)` reads as one act. */
#define FAIL(rv, ...) (log_line(LOG_LEVEL_ERROR, __VA_ARGS__), (CK_RV) (rv))

/* For the long way of a function whose short way is all that most calls take: kept out of it. */
#define _long_way_ __attribute__((cold, noinline))
/* For the short way itself: what it calls in its file becomes part of it. */
#define _short_way_ __attribute__((flatten))

#define _cleanup_(function) __attribute__((cleanup(function)))

/* Ownership leaves the variable: its cleanup then finds NULL. */
#define TAKE(pointer)                                                                              \
    __extension__({                                                                                \
        __typeof__(pointer) take_ = (pointer);                                                     \
        (pointer) = NULL;                                                                          \
        take_;                                                                                     \
    })
