#include "tools/pin.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "tools/failure.h"
#include "tools/input.h"

#define PIN_MAX 4096 /* a source's credential may stand for a PIN */
#define CONTROL_C 3

/* Takes the line end off; the rest must be one line. */
static CK_RV take_line(const struct pin_source *source, struct secret *text, struct secret *ret_pin)
{
    size_t len = text->len;
    if (len > 0 && text->bytes[len - 1] == '\n')
        len--;
    if (len > 0 && text->bytes[len - 1] == '\r')
        len--;
    if (len == 0)
        return FAIL_TOOL(EXIT_CODE_USAGE, "%s is empty", source->whose);
    if (memchr(text->bytes, '\n', len) != NULL || memchr(text->bytes, '\0', len) != NULL)
        return FAIL_TOOL(EXIT_CODE_USAGE, "%s has more than one line, or a zero byte",
                         source->whose);
    /* Shortened in place: the slot is wiped as a whole. */
    text->len = len;
    *ret_pin = secret_move(text);
    return CKR_OK;
}

static CK_RV read_variable(const struct pin_source *source, struct secret *ret_pin)
{
    char *value = getenv(source->variable);
    if (value == NULL)
        return FAIL_TOOL(EXIT_CODE_USAGE, "the variable for %s is not set", source->whose);
    size_t len = strlen(value);
    _cleanup_(secret_clear) struct secret text = {0};
    CK_RV rv = len > PIN_MAX ? CKR_PIN_LEN_RANGE : secret_from(value, len, &text);
    /* The bytes are those that /proc shows of this process. */
    secret_wipe(value, len);
    (void) unsetenv(source->variable);
    TRY(failure_of(rv, INDEXKEY_CAUSE_NONE, source->whose));
    return take_line(source, &text, ret_pin);
}

/* Without echo and without signals, which would leave the terminal so. */
static CK_RV ask(const struct pin_source *source, int terminal, struct secret *text)
{
    struct termios former;
    if (tcgetattr(terminal, &former) != 0)
        return FAIL_TOOL(EXIT_CODE_FAILED, "the terminal cannot be asked for %s", source->whose);
    struct termios silent = former;
    silent.c_lflag &= ~(tcflag_t) (ECHO | ISIG);
    if (tcsetattr(terminal, TCSAFLUSH, &silent) != 0)
        return FAIL_TOOL(EXIT_CODE_FAILED, "the terminal's echo cannot be switched off");
    /* Only now: what is typed before is dropped. */
    (void) dprintf(terminal, "%s: ", source->whose);
    ssize_t got = read(terminal, text->bytes, text->len);
    (void) tcsetattr(terminal, TCSAFLUSH, &former);
    (void) dprintf(terminal, "\n");
    if (got <= 0 || memchr(text->bytes, CONTROL_C, (size_t) got) != NULL)
        return FAIL_TOOL(EXIT_CODE_FAILED, "no PIN was typed");
    text->len = (size_t) got;
    return CKR_OK;
}

static CK_RV read_terminal(const struct pin_source *source, struct secret *ret_pin)
{
    _cleanup_(input_close) int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0)
        return FAIL_TOOL(EXIT_CODE_USAGE, "no terminal to ask for %s: give %s", source->whose,
                         source->file_option);
    _cleanup_(secret_clear) struct secret text = {0};
    TRY(failure_of(secret_new(PIN_MAX, &text), INDEXKEY_CAUSE_NONE, source->whose));
    TRY(ask(source, terminal, &text));
    return take_line(source, &text, ret_pin);
}

CK_RV pin_read(const struct pin_source *source, struct secret *ret_pin)
{
    if (source->file != NULL && source->variable != NULL)
        return FAIL_TOOL(EXIT_CODE_USAGE, "%s is given twice; leave one out", source->whose);
    if (source->variable != NULL)
        return read_variable(source, ret_pin);
    if (source->file == NULL)
        return read_terminal(source, ret_pin);
    _cleanup_(secret_clear) struct secret text = {0};
    TRY(input_read_secret(source->file, source->whose, PIN_MAX, &text));
    return take_line(source, &text, ret_pin);
}
