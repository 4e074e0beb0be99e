#include "tokens/audit_records.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "tokens/audit_file.h"

#define ROWS_FIRST 256
#define TORN_BEGIN "{\"v\":1,"

static int compare_seq(const void *a, const void *b)
{
    const struct audit_record *one = *(struct audit_record *const *) a;
    const struct audit_record *other = *(struct audit_record *const *) b;
    int order = memcmp(one->writer, other->writer, sizeof(one->writer));

    if (order != 0)
        return order;
    if (one->seq != other->seq)
        return one->seq < other->seq ? -1 : 1;
    return (one->place > other->place) - (one->place < other->place);
}

static int compare_hash(const void *a, const void *b)
{
    const struct audit_record *one = *(struct audit_record *const *) a;
    const struct audit_record *other = *(struct audit_record *const *) b;

    return memcmp(one->hash, other->hash, sizeof(one->hash));
}

static CK_RV add_row(struct audit_records *records, struct audit_record **ret_row)
{
    if (records->count == records->capacity) {
        size_t capacity = records->capacity == 0 ? ROWS_FIRST : records->capacity * 2;
        struct audit_record *rows = mem_resize(records->rows, capacity, sizeof(*rows));
        if (rows == NULL)
            return FAIL(CKR_HOST_MEMORY, "no memory for %zu lines of an audit log", capacity);
        records->rows = rows;
        records->capacity = capacity;
    }
    *ret_row = &records->rows[records->count];
    **ret_row = (struct audit_record){.place = records->count++};
    return CKR_OK;
}

/* A file as it is read. */
struct reading {
    size_t file;
    size_t number;
    unsigned char above[AUDIT_HASH_LEN];
    audit_bad_line_fn *bad_line;
    void *context;
};

static bool is_torn(struct view text)
{
    size_t len = sizeof(TORN_BEGIN) - 1;

    if (len > text.len)
        len = text.len;
    return len > 0 && memcmp(text.bytes, TORN_BEGIN, len) == 0 && text.bytes[text.len - 1] != '}';
}

static CK_RV add_line(struct audit_records *records, struct reading *reading, struct view text)
{
    unsigned char above[AUDIT_HASH_LEN];
    struct audit_record *row;
    struct audit_line line;

    memcpy(above, reading->above, sizeof(above));
    TRY(audit_file_hash(text, reading->above));
    reading->number++;
    if (!audit_line_parse(text, &line)) {
        reading->bad_line(reading->context, reading->file, reading->number, is_torn(text));
        return CKR_OK;
    }
    TRY(add_row(records, &row));
    row->line = line;
    row->file = reading->file;
    row->number = reading->number;
    row->seq = audit_line_number(&line, AUDIT_SEQ);
    memcpy(row->hash, reading->above, sizeof(row->hash));
    audit_line_bytes(&line, AUDIT_WRITER, row->writer);
    audit_line_bytes(&line, AUDIT_PREV, row->prev);
    if (audit_line_has(&line, AUDIT_ABOVE)) {
        unsigned char named[AUDIT_HASH_LEN];
        audit_line_bytes(&line, AUDIT_ABOVE, named);
        row->above_holds = memcmp(named, above, sizeof(named)) == 0;
    }
    return CKR_OK;
}

static CK_RV read_file(struct audit_records *records, struct reading *reading, struct view text)
{
    struct view rest = text;

    while (rest.len > 0) {
        const unsigned char *end = memchr(rest.bytes, '\n', rest.len);
        size_t len = end == NULL ? rest.len : (size_t) (end - rest.bytes);
        TRY(add_line(records, reading, (struct view){rest.bytes, len}));
        if (end == NULL)
            break;
        rest.bytes += len + 1;
        rest.len -= len + 1;
    }
    return CKR_OK;
}

static CK_RV sorted(const struct audit_records *records,
                    int (*compare)(const void *a, const void *b), struct audit_record ***ret_order)
{
    struct audit_record **order = mem_alloc(records->count * sizeof(struct audit_record *));

    if (order == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for %zu lines of an audit log", records->count);
    for (size_t i = 0; i < records->count; i++)
        order[i] = &records->rows[i];
    qsort(order, records->count, sizeof(struct audit_record *), compare);
    *ret_order = order;
    return CKR_OK;
}

CK_RV audit_records_read(const struct audit_input *files, size_t file_count,
                         audit_bad_line_fn *bad_line, void *context,
                         struct audit_records *ret_records)
{
    _cleanup_(audit_records_clear) struct audit_records records = {.rows = NULL};

    for (size_t i = 0; i < file_count; i++) {
        struct reading reading = {.file = i, .bad_line = bad_line, .context = context};
        TRY(read_file(&records, &reading, files[i].text));
    }
    TRY(sorted(&records, compare_seq, &records.by_seq));
    TRY(sorted(&records, compare_hash, &records.by_hash));
    *ret_records = records;
    records = (struct audit_records){.rows = NULL};
    return CKR_OK;
}

void audit_records_clear(struct audit_records *records)
{
    mem_free(records->rows);
    mem_free(records->by_seq);
    mem_free(records->by_hash);
    *records = (struct audit_records){.rows = NULL};
}

struct audit_record *audit_records_by_hash(const struct audit_records *records,
                                           const unsigned char hash[AUDIT_HASH_LEN])
{
    struct audit_record wanted = {.seq = 0};
    const struct audit_record *key = &wanted;

    memcpy(wanted.hash, hash, sizeof(wanted.hash));
    struct audit_record **found = bsearch(&key, records->by_hash, records->count,
                                          sizeof(struct audit_record *), compare_hash);
    return found == NULL ? NULL : *found;
}

struct audit_record **audit_records_by_seq(const struct audit_records *records,
                                           const unsigned char writer[AUDIT_WRITER_LEN],
                                           uint64_t seq)
{
    struct audit_record wanted = {.seq = seq, .place = 0};
    const struct audit_record *key = &wanted;
    size_t first = 0;
    size_t end = records->count;

    memcpy(wanted.writer, writer, sizeof(wanted.writer));
    /* The first that is not before (writer, seq, place 0). */
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (compare_seq(&records->by_seq[middle], &key) < 0)
            first = middle + 1;
        else
            end = middle;
    }
    if (first == records->count || records->by_seq[first]->seq != seq ||
        memcmp(records->by_seq[first]->writer, writer, AUDIT_WRITER_LEN) != 0)
        return NULL;
    return &records->by_seq[first];
}
