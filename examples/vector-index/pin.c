#include "pin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

#define PIN_VARIABLE "VECTOR_INDEX_PIN"

void pin_wipe(struct pin *pin)
{
    explicit_bzero(pin, sizeof *pin);
}

static bool pin_check(struct pin *pin, const char *where)
{
    if (pin->len > 0 && pin->text[pin->len - 1] == '\n') {
        pin->len--;
        if (pin->len > 0 && pin->text[pin->len - 1] == '\r') {
            pin->len--;
        }
    }
    if (pin->len == 0 || pin->len > PIN_MAX_LEN) {
        return fail("the PIN in %s must have 1 to %u bytes", where, PIN_MAX_LEN);
    }
    if (memchr(pin->text, '\0', pin->len) != NULL || memchr(pin->text, '\n', pin->len) != NULL) {
        return fail("the PIN in %s has more than one line, or a zero byte", where);
    }
    return true;
}

static bool pin_read_fd(int fd, const char *where, struct pin *pin)
{
    pin->len = 0;
    while (pin->len < sizeof pin->text) {
        ssize_t got = read(fd, pin->text + pin->len, sizeof pin->text - pin->len);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail("cannot read the PIN from %s: %s", where, strerror(errno));
        }
        if (got == 0) {
            break;
        }
        pin->len += (size_t)got;
    }
    return pin_check(pin, where);
}

static bool pin_read_file(const char *path, struct pin *pin)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok;

    if (fd < 0) {
        return fail("cannot open the PIN file %s: %s", path, strerror(errno));
    }
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & S_IRWXO) != 0) {
        ok = fail("the PIN file %s is open to every user: chmod 600 it", path);
    } else {
        ok = pin_read_fd(fd, path, pin);
    }
    close(fd);
    return ok;
}

// The variable's own bytes are wiped too, so that neither a child nor a later core has the PIN.
static bool pin_read_environment(struct pin *pin)
{
    char *value = getenv(PIN_VARIABLE);

    if (value == NULL) {
        return fail("no PIN: give --pin-file, --pin-fd or the variable " PIN_VARIABLE);
    }

    size_t len = strlen(value);

    pin->len = len < sizeof pin->text ? len : sizeof pin->text;
    memcpy(pin->text, value, pin->len);
    explicit_bzero(value, len);
    unsetenv(PIN_VARIABLE);
    return pin_check(pin, PIN_VARIABLE);
}

bool pin_read(const struct pin_source *source, struct pin *ret_pin)
{
    if (source->file != NULL) {
        return pin_read_file(source->file, ret_pin);
    }
    if (source->fd >= 0) {
        return pin_read_fd(source->fd, "the descriptor of --pin-fd", ret_pin);
    }
    return pin_read_environment(ret_pin);
}
