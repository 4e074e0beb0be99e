#include "tokens/inspection.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#define DAY_S INT64_C(86400)
#define TIME_MAX_S INT64_C(253402300799) /* the last second of the year 9999 */

void inspection_put(char ret_fact[SOURCE_FACT_MAX], const char *text)
{
    (void) snprintf(ret_fact, SOURCE_FACT_MAX, "%s", text == NULL ? "" : text);
}

void inspection_put_number(char ret_fact[SOURCE_FACT_MAX], int64_t number)
{
    (void) snprintf(ret_fact, SOURCE_FACT_MAX, "%lld", (long long) number);
}

void inspection_date(int64_t time_s, char ret_text[INSPECTION_DATE_SIZE])
{
    time_t moment = (time_t) time_s;
    struct tm parts;
    if (time_s < 0 || time_s > TIME_MAX_S || gmtime_r(&moment, &parts) == NULL ||
        strftime(ret_text, INSPECTION_DATE_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        ret_text[0] = '\0';
}

void inspection_put_rotation(struct source_inspection *inspection, int64_t period_s, int64_t next_s)
{
    char date[INSPECTION_DATE_SIZE] = "";
    bool is_days = period_s % DAY_S == 0;
    if (period_s <= 0) {
        inspection_put(inspection->rotation, period_s == 0 ? "off" : "");
        return;
    }
    if (next_s > 0)
        inspection_date(next_s, date);
    (void) snprintf(inspection->rotation, SOURCE_FACT_MAX, "every %lld %s%s%s",
                    (long long) (is_days ? period_s / DAY_S : period_s), is_days ? "days" : "s",
                    date[0] == '\0' ? "" : ", next ", date);
}

struct text {
    char *bytes;
    size_t len;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
    va_list arguments;
    size_t room = text->size - text->len;
    va_start(arguments, format);
    int len = vsnprintf(text->bytes + text->len, room, format, arguments);
    va_end(arguments);
    if (len > 0)
        text->len += (size_t) len < room ? (size_t) len : room - 1;
}

static void add_fact(struct text *text, const char *name, const char *fact)
{
    if (fact[0] != '\0')
        add(text, ", %s %s", name, fact);
}

static void add_date(struct text *text, const char *name, int64_t time_s)
{
    char date[INSPECTION_DATE_SIZE] = "";
    if (time_s > 0)
        inspection_date(time_s, date);
    add_fact(text, name, date);
}

void inspection_tell(const struct source_inspection *inspection, char *ret_text, size_t size)
{
    struct text text = {.bytes = ret_text, .size = size};
    add(&text, "%s", inspection->key);
    if (inspection->kind[0] != '\0')
        add(&text, " (%s)", inspection->kind);
    add_fact(&text, "wrapped by version", inspection->version);
    add_fact(&text, "newest version", inspection->newest_version);
    add_fact(&text, "oldest usable version", inspection->oldest_version);
    add_fact(&text, "state", inspection->state);
    add_fact(&text, "rotation", inspection->rotation);
    add_date(&text, "deletion", inspection->deletion_s);
    add_date(&text, "expires", inspection->expiry_s);
}
