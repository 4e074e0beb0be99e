/*
 * What libcurl's answer to an attempt means.
 */
#pragma once

#include "tokens/http_transfer.h"

enum http_end {
    HTTP_END_DONE, /* libcurl came to an end, and has a code */
    HTTP_END_DEADLINE,
    HTTP_END_CANCELLED,
};

/* While the easy handle still has its connection's figures. */
struct http_attempt http_outcome_of(struct http_transfer *transfer, enum http_end end,
                                    CURLcode code);
