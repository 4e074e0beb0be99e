#include "tokens/audit_usage.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "tokens/audit_records.h"

#define DAY_LEN 10

static void pass_over(void *context, size_t file, size_t number, bool is_torn)
{
    (void) context;
    (void) file;
    (void) number;
    (void) is_torn;
}

static int compare_views(struct view a, struct view b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.bytes, b.bytes, len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_subjects(const struct audit_usage_row *a, const struct audit_usage_row *b)
{
    int order = compare_views(a->key, b->key);

    return order != 0 ? order : compare_views(a->mechanism, b->mechanism);
}

static int compare_rows(const void *a, const void *b)
{
    const struct audit_usage_row *one = a;
    const struct audit_usage_row *other = b;
    int order = compare_subjects(one, other);

    return order != 0 ? order : compare_views(one->day, other->day);
}

static struct audit_usage_row row_of(const struct audit_line *line)
{
    struct view day = line->values[AUDIT_TIME];

    day.len = day.len < DAY_LEN ? day.len : DAY_LEN;
    return (struct audit_usage_row){
        .key = line->values[AUDIT_KEY],
        .label = line->values[AUDIT_LABEL],
        .mechanism = line->values[AUDIT_MECHANISM],
        .day = day,
        .uses = audit_line_number(line, AUDIT_USES),
    };
}

/* The lines of one event, sorted, in the room of the usage. */
static size_t collect(const struct audit_records *records, const char *event,
                      struct audit_usage_row *rows)
{
    size_t count = 0;

    for (size_t i = 0; i < records->count; i++) {
        const struct audit_line *line = &records->rows[i].line;
        if (audit_line_is(line, AUDIT_EVENT, event) && audit_line_has(line, AUDIT_USES))
            rows[count++] = row_of(line);
    }
    if (count > 0)
        qsort(rows, count, sizeof(*rows), compare_rows);
    return count;
}

/* Rows that are alike become one; the label is the newest. */
static size_t join(struct audit_usage_row *rows, size_t count)
{
    size_t joined = 0;

    for (size_t i = 0; i < count; i++) {
        if (joined > 0 && compare_rows(&rows[joined - 1], &rows[i]) == 0) {
            rows[joined - 1].uses += rows[i].uses;
            rows[joined - 1].label = rows[i].label;
        } else {
            rows[joined++] = rows[i];
        }
    }
    return joined;
}

/* The last row of that key and mechanism up to the day; `count` when there is none. */
static size_t find_up_to(const struct audit_usage_row *rows, size_t count,
                         const struct audit_usage_row *wanted)
{
    size_t first = 0;
    size_t end = count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (compare_rows(&rows[middle], wanted) <= 0)
            first = middle + 1;
        else
            end = middle;
    }
    return first == 0 || compare_subjects(&rows[first - 1], wanted) != 0 ? count : first - 1;
}

static void take_off(struct audit_usage_row *rows, size_t count,
                     const struct audit_usage_row *unused)
{
    uint64_t left = unused->uses;
    size_t at = find_up_to(rows, count, unused);

    if (at == count)
        return;
    for (size_t i = at + 1; left > 0 && i-- > 0 && compare_subjects(&rows[i], unused) == 0;) {
        uint64_t taken = rows[i].uses < left ? rows[i].uses : left;
        rows[i].uses -= taken;
        left -= taken;
    }
}

CK_RV audit_usage(const struct audit_input *files, size_t file_count, struct audit_usage *ret_usage)
{
    _cleanup_(audit_records_clear) struct audit_records records = {.rows = NULL};
    _cleanup_(audit_usage_clear) struct audit_usage usage = {.rows = NULL};
    _cleanup_(audit_usage_clear) struct audit_usage unused = {.rows = NULL};

    TRY(audit_records_read(files, file_count, pass_over, NULL, &records));
    usage.rows = mem_calloc(records.count + 1, sizeof(*usage.rows));
    unused.rows = mem_calloc(records.count + 1, sizeof(*unused.rows));
    if (usage.rows == NULL || unused.rows == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for a usage report of %zu lines", records.count);
    usage.count = join(usage.rows, collect(&records, "uses", usage.rows));
    unused.count = collect(&records, "unused", unused.rows);
    for (size_t i = 0; i < unused.count; i++)
        take_off(usage.rows, usage.count, &unused.rows[i]);
    *ret_usage = usage;
    usage.rows = NULL;
    return CKR_OK;
}

void audit_usage_clear(struct audit_usage *usage)
{
    mem_free(usage->rows);
    *usage = (struct audit_usage){.rows = NULL};
}
