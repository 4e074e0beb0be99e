#include "tools/confirm.h"

#include <stdio.h>
#include <string.h>

#include "base/log_text.h"
#include "base/rv.h"
#include "tools/failure.h"

#define ANSWER_MAX 512

static void close_file(FILE **file)
{
    if (*file != NULL)
        (void) fclose(*file);
}

CK_RV confirm(const struct options *options, const char *what, struct view word)
{
    char shown[ANSWER_MAX];
    char answer[ANSWER_MAX];
    if (options_has(options, OPTION_YES))
        return CKR_OK;
    _cleanup_(close_file) FILE *terminal = fopen("/dev/tty", "r+e");
    if (terminal == NULL)
        return FAIL_TOOL(EXIT_CODE_USAGE, "no terminal to ask at before I %s: give --yes", what);
    (void) snprintf(shown, sizeof(shown), "%.*s", (int) word.len, (const char *) word.bytes);
    log_text_clean(shown);
    (void) fprintf(terminal, "To %s, type '%s': ", what, shown);
    (void) fflush(terminal);
    if (fgets(answer, sizeof(answer), terminal) == NULL)
        answer[0] = '\0';
    answer[strcspn(answer, "\n")] = '\0';
    if (strlen(answer) != word.len || memcmp(answer, word.bytes, word.len) != 0)
        return FAIL_TOOL(EXIT_CODE_FAILED, "nothing was done: the answer was another");
    return CKR_OK;
}
