/*
 * What AWS's error codes mean: a table.
 */
#pragma once

#include "base/cause.h"
#include "tokens/http.h"

#define AWS_CODE_LEN_MAX 64

/* An error code as the reply has it, without namespace ("DisabledException"); "" when there is
 * none. Letters, digits and dots only, so that it may go to a log line. */
void aws_refusal_code(struct view body, char ret_code[AWS_CODE_LEN_MAX + 1]);

struct aws_refusal {
    const char *code;
    const char *text; /* to be found in AWS's message; NULL: any */
    enum indexkey_cause cause;
    const char *why;
    const char *remedy;
};

/* NULL when the code is not known. */
const struct aws_refusal *aws_refusal_find(const char *code, struct view body);

/* The same, first among the rows of one service, the last of which has the code NULL; `own` may be
 * NULL. */
const struct aws_refusal *aws_refusal_find_in(const struct aws_refusal *own, const char *code,
                                              struct view body);

/* It may be that the clocks differ. */
bool aws_refusal_is_of_signature(const char *code);

/* For http_send: by the code, where there is one; else by the status. */
enum http_verdict aws_refusal_verdict(long status, struct view body);
