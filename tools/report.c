#include "tools/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

void report_begin(struct report *report, struct run *run)
{
    *report = (struct report){.run = run, .subject = "configuration"};
    output_list(run->output, "checks", "result subject check detail");
}

void report_end(struct report *report)
{
    output_end_list(report->run->output);
    for (size_t i = 0; i < report->told_count; i++)
        mem_free(report->told[i]);
    report->told_count = 0;
}

static void add(struct report *report, const char *result, const char *check, const char *detail)
{
    struct output *output = report->run->output;
    output_record(output);
    output_text(output, "result", result);
    output_text(output, "subject", report->subject);
    output_text(output, "check", check);
    output_text(output, "detail", detail);
    output_end_record(output);
}

void report_ok(struct report *report, const char *check, const char *format, ...)
{
    char text[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void) vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    add(report, "ok", check, text);
}

void report_warn(struct report *report, const char *check, const char *format, ...)
{
    char text[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void) vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    add(report, "warn", check, text);
}

void report_fail(struct report *report, const char *check, enum exit_code exit, const char *format,
                 ...)
{
    char text[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void) vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (report->run->exit == EXIT_CODE_OK)
        report->run->exit = exit;
    add(report, "fail", check, text);
}

/* True: it was told before. */
static bool remember(struct report *report, const char *text)
{
    for (size_t i = 0; i < report->told_count; i++) {
        if (strcmp(report->told[i], text) == 0)
            return true;
    }
    char *copy = report->told_count < REPORT_LINES_MAX ? mem_strdup(text) : NULL;
    if (copy != NULL)
        report->told[report->told_count++] = copy;
    return false;
}

void report_take_line(void *context, const char *text)
{
    struct report *report = context;
    if (!remember(report, text))
        report_fail(report, "syntax", EXIT_CODE_CONFIG, "%s", text);
}

void report_failure(struct report *report, const char *check)
{
    const struct failure *failure = failure_last();
    if (!remember(report, failure->text))
        report_fail(report, check, failure->exit, "%s", failure->text);
}
