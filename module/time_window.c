#include "module/time_window.h"

#include <string.h>

#define DAYS 7U
#define MINUTES_A_DAY (24U * 60)
#define MINUTE_S 60
/* 1 January 1970 was a Thursday. */
#define EPOCH_DAY 3

static bool take_text(const char **at, const char *text)
{
    size_t len = strlen(text);

    if (strncmp(*at, text, len) != 0)
        return false;
    *at += len;
    return true;
}

static bool take_day(const char **at, unsigned int *ret_day)
{
    static const char *const names[DAYS] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

    for (unsigned int day = 0; day < DAYS; day++) {
        if (!take_text(at, names[day]))
            continue;
        *ret_day = day;
        return true;
    }
    return false;
}

static bool take_days(const char **at, unsigned int *ret_days)
{
    unsigned int first;
    unsigned int last;

    if (!take_day(at, &first))
        return false;
    last = first;
    if (take_text(at, "-") && !take_day(at, &last))
        return false;
    *ret_days = 1U << last;
    for (unsigned int day = first; day != last; day = (day + 1) % DAYS)
        *ret_days |= 1U << day;
    return true;
}

static bool take_two_digits(const char **at, unsigned int *ret_number)
{
    const char *text = *at;

    if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9')
        return false;
    *ret_number = (unsigned int) (text[0] - '0') * 10 + (unsigned int) (text[1] - '0');
    *at += 2;
    return true;
}

static bool take_minute(const char **at, unsigned int *ret_minute)
{
    unsigned int hours;
    unsigned int minutes;

    if (!take_two_digits(at, &hours) || !take_text(at, ":") || !take_two_digits(at, &minutes) ||
        minutes > 59)
        return false;
    *ret_minute = hours * 60 + minutes;
    return *ret_minute <= MINUTES_A_DAY;
}

bool time_window_parse(const char *text, struct time_window *ret_window)
{
    struct time_window window;

    if (!take_days(&text, &window.days) || !take_text(&text, " ") ||
        !take_minute(&text, &window.from) || !take_text(&text, "-") ||
        !take_minute(&text, &window.until) || strcmp(text, " UTC") != 0 ||
        window.from >= window.until)
        return false;
    *ret_window = window;
    return true;
}

bool time_window_holds(const struct time_window *window, int64_t utc_seconds)
{
    if (utc_seconds < 0)
        return false;
    uint64_t minutes = (uint64_t) utc_seconds / MINUTE_S;
    unsigned int day = (unsigned int) ((minutes / MINUTES_A_DAY + EPOCH_DAY) % DAYS);
    unsigned int minute = (unsigned int) (minutes % MINUTES_A_DAY);

    return (window->days & 1U << day) != 0 && minute >= window->from && minute < window->until;
}
