/*
 * What a service says of a root key (struct source_inspection), put down and told as one text.
 * Values are the service's, hostile; texts are cut to their room, and source_inspect makes them
 * printable. No I/O.
 */
#pragma once

#include <stddef.h>

#include "tokens/source.h"

#define INSPECTION_DATE_SIZE 32

/* NULL: "". */
void inspection_put(char ret_fact[SOURCE_FACT_MAX], const char *text);
void inspection_put_number(char ret_fact[SOURCE_FACT_MAX], int64_t number);

/* "every 365 days, next 2027-03-01T00:00:00Z"; a period of 0 is "off", `next_s` 0 is not told. */
void inspection_put_rotation(struct source_inspection *inspection, int64_t period_s,
                             int64_t next_s);

/* "2027-03-01T00:00:00Z"; "" for what is no year of four digits. */
void inspection_date(int64_t time_s, char ret_text[INSPECTION_DATE_SIZE]);

/* "KEY (kind), version 1 of 5, state Enabled, …": at most `size` - 1 bytes, cut off. */
void inspection_tell(const struct source_inspection *inspection, char *ret_text, size_t size);
