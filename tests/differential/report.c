#include "tests/differential/report.h"

#include <stdio.h>
#include <string.h>

#define OK_SHARE_MIN 50

static bool same(const struct finding *a, const struct finding *b)
{
    return a->peer == b->peer && a->function == b->function && a->what == b->what &&
           a->ours == b->ours && a->theirs == b->theirs && strcmp(a->subject, b->subject) == 0 &&
           strcmp(a->variant, b->variant) == 0;
}

static void add_unlisted(struct report *report, const struct unlisted *added)
{
    for (size_t i = 0; i < report->unlisted_count; i++) {
        if (same(&report->unlisted[i].finding, &added->finding)) {
            report->unlisted[i].count += added->count;
            return;
        }
    }
    if (report->unlisted_count < UNLISTED_MAX)
        report->unlisted[report->unlisted_count++] = *added;
}

void report_difference(struct report *report, const struct finding *finding, unsigned long sequence)
{
    size_t place;
    struct unlisted added = {.finding = *finding, .count = 1, .sequence = sequence};

    if (difference_find(finding, &place))
        report->listed[place]++;
    else
        add_unlisted(report, &added);
}

void report_merge(struct report *all, const struct report *one)
{
    all->sequences += one->sequences;
    all->calls += one->calls;
    all->ok += one->ok;
    for (int function = 0; function < CALL_COUNT; function++)
        for (int code = 0; code < CODES_MAX; code++)
            all->codes[function][code] += one->codes[function][code];
    for (int i = 0; i < SPECS_MAX; i++)
        all->mechanisms[i] += one->mechanisms[i];
    for (size_t i = 0; i < DIFFERENCES_MAX; i++)
        all->listed[i] += one->listed[i];
    for (size_t i = 0; i < one->unlisted_count; i++)
        add_unlisted(all, &one->unlisted[i]);
}

void finding_print(const struct finding *finding)
{
    static const char *const whats[] = {"codes", "lengths", "bytes", "a crash"};

    printf("%s %s [%s] (%s) %s: ours %s,", peer_names[finding->peer], call_name(finding->function),
           finding->subject, finding->variant, whats[finding->what], code_name(finding->ours));
    printf(" theirs %s", code_name(finding->theirs));
}

static void print_functions(const struct report *report)
{
    printf("\nfunctions and return codes reached, by count:\n");
    for (int function = 0; function < CALL_COUNT; function++) {
        unsigned long all = 0;
        for (int code = 0; code < CODES_MAX; code++)
            all += report->codes[function][code];
        printf("  %-20s %8lu ", call_name((enum function) function), all);
        for (size_t code = 0; code < CODES_MAX; code++)
            if (report->codes[function][code] > 0)
                printf(" %s %lu", code_at(code), report->codes[function][code]);
        printf("\n");
    }
}

static void print_mechanisms(const struct report *report)
{
    printf("\nmechanisms, by operations begun:\n ");
    for (size_t i = 0; i < specs_count; i++)
        if (report->mechanisms[i] > 0)
            printf(" %s %lu", specs[i].name, report->mechanisms[i]);
    printf("\nnot reached, because one side does not list them:\n ");
    for (size_t i = 0; i < specs_count; i++)
        if (report->mechanisms[i] == 0)
            printf(" %s", specs[i].name);
    printf("\n");
}

static void print_listed(const struct report *report)
{
    printf("\nlisted differences met:\n");
    for (size_t i = 0; i < differences_count; i++)
        if (report->listed[i] > 0)
            printf("  %8lu  %s\n", report->listed[i], differences[i].name);
    for (size_t i = 0; i < differences_count; i++)
        if (report->listed[i] == 0)
            printf("  never met: %s\n", differences[i].name);
}

bool report_print(const struct report *report)
{
    unsigned long share = report->calls == 0 ? 0 : 100 * report->ok / report->calls;

    print_functions(report);
    print_mechanisms(report);
    print_listed(report);
    if (report->unlisted_count > 0)
        printf("\nDIFFERENCES THAT ARE NOT LISTED:\n");
    for (size_t i = 0; i < report->unlisted_count; i++) {
        printf("  %8lu  ", report->unlisted[i].count);
        finding_print(&report->unlisted[i].finding);
        printf(" (sequence %lu)\n", report->unlisted[i].sequence);
    }
    printf("\n%lu sequences, %lu calls, %lu %% CKR_OK (at least %d wanted), %zu differences not "
           "listed\n",
           report->sequences, report->calls, share, OK_SHARE_MIN, report->unlisted_count);
    return share >= OK_SHARE_MIN && report->unlisted_count == 0;
}
