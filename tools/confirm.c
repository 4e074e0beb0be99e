#include "tools/confirm.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log_text.h"
#include "base/rv.h"
#include "tools/command.h"
#include "tools/input.h"

#define ANSWER_MAX 512

/* One line, without its end; "" where none comes. */
static void read_answer(int terminal, char *answer, size_t size)
{
    ssize_t got = read(terminal, answer, size - 1);
    answer[got > 0 ? got : 0] = '\0';
    answer[strcspn(answer, "\n")] = '\0';
}

CK_RV confirm(const struct options *options, const char *what, struct view word)
{
    char shown[ANSWER_MAX];
    char answer[ANSWER_MAX];
    if (options_has(options, OPTION_YES))
        return CKR_OK;
    _cleanup_(input_close) int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0)
        return FAIL_TOOL(
            EXIT_CODE_USAGE, "no terminal to ask at before I %s%s", what,
            (options->command->options & OPTION_BIT(OPTION_YES)) == 0 ? "" : ": give --yes");
    (void) snprintf(shown, sizeof(shown), "%.*s", (int) word.len, (const char *) word.bytes);
    log_text_clean(shown);
    (void) dprintf(terminal, "To %s, type '%s': ", what, shown);
    read_answer(terminal, answer, sizeof(answer));
    if (strlen(answer) != word.len || memcmp(answer, word.bytes, word.len) != 0)
        return FAIL_TOOL(EXIT_CODE_FAILED, "nothing was done: the answer was another");
    return CKR_OK;
}
