#include "tools/confirm.h"

#include <stdio.h>
#include <string.h>

#include "base/log_text.h"
#include "base/rv.h"
#include "tools/failure.h"

#define ANSWER_MAX 512

/* What is typed in answer, without its end of line. */
static void ask(FILE *terminal, const char *what, struct view word, char answer[ANSWER_MAX])
{
    char shown[ANSWER_MAX];
    (void) snprintf(shown, sizeof(shown), "%.*s", (int) word.len, (const char *) word.bytes);
    log_text_clean(shown);
    (void) fprintf(terminal, "To %s, type '%s': ", what, shown);
    (void) fflush(terminal);
    if (fgets(answer, ANSWER_MAX, terminal) == NULL)
        answer[0] = '\0';
    answer[strcspn(answer, "\n")] = '\0';
}

CK_RV confirm(const struct options *options, const char *what, struct view word)
{
    char answer[ANSWER_MAX];
    if (options_has(options, OPTION_YES))
        return CKR_OK;
    FILE *terminal = fopen("/dev/tty", "r+e");
    if (terminal == NULL)
        return FAIL_TOOL(EXIT_CODE_USAGE, "no terminal to ask at before I %s: give --yes", what);
    ask(terminal, what, word, answer);
    (void) fclose(terminal);
    if (!view_equal(view_text(answer), word))
        return FAIL_TOOL(EXIT_CODE_FAILED, "nothing was done: the answer was another");
    return CKR_OK;
}
