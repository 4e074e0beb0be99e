/* Hours of the week in which keys may be used: "Mon-Fri 07:00-19:00 UTC". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct time_window {
    unsigned int days;  /* bit 0: Monday */
    unsigned int from;  /* minutes of the day; the first that is inside */
    unsigned int until; /* the first that is not, at most 24:00 */
};

/* DAY or DAY-DAY (which may go over Sunday), then HH:MM-HH:MM of one day, then UTC. */
bool time_window_parse(const char *text, struct time_window *ret_window);
bool time_window_holds(const struct time_window *window, int64_t utc_seconds);
