#include "bench/report.h"

#include <openssl/crypto.h>
#include <string.h>
#include <unistd.h>

static const char *verdict(const struct measured *row)
{
    if (row->work->goal == NO_GOAL)
        return "";
    if (row->rounds[SIDE_MODULE] < row->all_rounds / 2 + 1)
        return "too few rounds undisturbed";
    return row->ratios[SIDE_MODULE].median >= row->work->goal ? "reached" : "not reached";
}

/* ---- the table ---- */

static void print_peer(const struct token *token)
{
    if (token->p11)
        printf("%s: %s\n", token->name, token->about);
    else
        printf("%s: not on this machine\n", token->name);
}

void report_head(const struct report *report)
{
    printf("module: %s\nEVP: %s\n", report->tokens[SIDE_MODULE]->about,
           OpenSSL_version(OPENSSL_VERSION));
    print_peer(report->tokens[SIDE_SOFTHSM]);
    print_peer(report->tokens[SIDE_NSS]);
    printf("Ratios to EVP: medians of %d rounds, the module's with its quartiles.\n\n",
           report->rounds);
    printf("%-50s %6s  %-14s %8s %6s %6s\n", "work", "module", "", "SoftHSM", "NSS", "reach");
}

static void print_cell(const struct measured *row, enum side side, int width)
{
    if (row->rounds[side] > 0)
        printf(" %*.2f", width, row->ratios[side].median);
    else
        printf(" %*s", width, "-");
}

void report_row(const struct measured *row)
{
    const struct spread *module = &row->ratios[SIDE_MODULE];
    char quartiles[32];

    snprintf(quartiles, sizeof(quartiles), "(%.2f to %.2f)", module->low, module->high);
    printf("%-50s", row->work->name);
    printf(" %6.3f  %-14s", module->median, quartiles);
    print_cell(row, SIDE_SOFTHSM, 8);
    print_cell(row, SIDE_NSS, 6);
    if (row->work->goal == NO_GOAL)
        printf("\n");
    else
        printf(" %6.2f %s\n", row->work->goal, verdict(row));
    fflush(stdout);
}

/* ---- JSON: no text in it needs an escape but the processor's name, which is cleaned ---- */

static void processor(char *ret_name, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];

    snprintf(ret_name, size, "unknown");
    while (file && fgets(line, sizeof(line), file)) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !value)
            continue;
        snprintf(ret_name, size, "%.*s", (int) strcspn(value + 2, "\"\\\n"), value + 2);
        break;
    }
    if (file)
        fclose(file);
}

static void write_about(FILE *file, const char *name, const struct token *token)
{
    if (token->p11)
        fprintf(file, "  \"%s\": \"%s\",\n", name, token->about);
    else
        fprintf(file, "  \"%s\": null,\n", name);
}

static void write_spread(FILE *file, const struct measured *row, const char *name, enum side side)
{
    const struct spread *spread = &row->ratios[side];

    if (row->rounds[side] > 0)
        fprintf(file, ", \"%s\": [%.3f, %.3f, %.3f]", name, spread->low, spread->median,
                spread->high);
    else
        fprintf(file, ", \"%s\": null", name);
}

static void write_row(FILE *file, const struct measured *row)
{
    const struct work *work = row->work;

    fprintf(file, "    {\"work\": \"%s\", \"reach\": %.2f, \"verdict\": \"%s\"", work->name,
            work->goal, verdict(row));
    if (work->threads != ONE_THREAD)
        fprintf(file, ", \"evp_scaling\": %.2f", row->evp);
    write_spread(file, row, "module", SIDE_MODULE);
    write_spread(file, row, "softhsm", SIDE_SOFTHSM);
    write_spread(file, row, "nss", SIDE_NSS);
    fprintf(file, "}");
}

void report_json(const struct report *report, const char *path)
{
    FILE *file = fopen(path, "w");
    char name[128];

    MUST(file != NULL);
    processor(name, sizeof(name));
    fprintf(file, "{\n  \"processor\": \"%s\",\n  \"processors\": %ld,\n", name,
            sysconf(_SC_NPROCESSORS_ONLN));
    fprintf(file, "  \"compiler\": \"%s\",\n  \"evp\": \"%s\",\n", __VERSION__,
            OpenSSL_version(OPENSSL_VERSION));
    write_about(file, "module", report->tokens[SIDE_MODULE]);
    write_about(file, "softhsm", report->tokens[SIDE_SOFTHSM]);
    write_about(file, "nss", report->tokens[SIDE_NSS]);
    fprintf(file, "  \"rounds\": %d,\n  \"rows\": [\n", report->rounds);
    for (size_t i = 0; i < report->row_count; i++) {
        write_row(file, &report->rows[i]);
        fprintf(file, i + 1 < report->row_count ? ",\n" : "\n");
    }
    fprintf(file, "  ]\n}\n");
    MUST(fclose(file) == 0);
}
