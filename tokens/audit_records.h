/*
 * The lines of audit files, and the ways to find one. For audit_verify.c and audit_usage.c. The
 * texts are the caller's and outlive the records.
 */
#pragma once

#include "tokens/audit_line.h"
#include "tokens/audit_verify.h"

struct audit_record {
    struct audit_line line;
    unsigned char writer[AUDIT_WRITER_LEN];
    unsigned char hash[AUDIT_HASH_LEN];
    unsigned char prev[AUDIT_HASH_LEN];
    uint64_t seq;
    size_t file;
    size_t number;    /* of the line, from 1 */
    size_t place;     /* in all files */
    bool above_holds; /* it names the line above it */
    bool is_signed;   /* and the signature is good */
    bool is_proved;
};

struct audit_records {
    struct audit_record *rows; /* as they stand in the files */
    size_t count;
    size_t capacity;
    struct audit_record **by_seq; /* by writer, number in its chain, place */
    struct audit_record **by_hash;
};

/* Called for each line that is not of the form; `is_torn`: its end is missing. */
typedef void audit_bad_line_fn(void *context, size_t file, size_t number, bool is_torn);

/* Freed with audit_records_clear. CKR_HOST_MEMORY. */
CK_RV audit_records_read(const struct audit_input *files, size_t file_count,
                         audit_bad_line_fn *bad_line, void *context,
                         struct audit_records *ret_records);
void audit_records_clear(struct audit_records *records);

/* NULL: there is none. */
struct audit_record *audit_records_by_hash(const struct audit_records *records,
                                           const unsigned char hash[AUDIT_HASH_LEN]);
/* The first of that number in `by_seq`; NULL: there is none. */
struct audit_record **audit_records_by_seq(const struct audit_records *records,
                                           const unsigned char writer[AUDIT_WRITER_LEN],
                                           uint64_t seq);
