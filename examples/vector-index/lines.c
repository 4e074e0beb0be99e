#include "lines.h"

#include <errno.h>
#include <string.h>

#include "util.h"

bool lines_open(const char *path, struct lines *ret_lines)
{
    FILE *file = fopen(path, "rbe");

    if (file == NULL) {
        return fail("cannot open %s: %s", path, strerror(errno));
    }
    ret_lines->file = file;
    ret_lines->path = path;
    ret_lines->number = 0;
    return true;
}

void lines_close(struct lines *lines)
{
    util_fclosep(&lines->file);
}

// Control characters would reach a terminal when the line is shown.
static bool lines_is_text(int byte)
{
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

bool lines_read(struct lines *lines, bool *ret_more)
{
    unsigned long long number = ++lines->number;
    size_t len = 0;
    int byte;

    while ((byte = getc(lines->file)) != EOF && byte != '\n') {
        if (!lines_is_text(byte)) {
            return fail("%s:%llu: byte 0x%02x is not text", lines->path, number,
                        (unsigned int)byte);
        }
        if (len == LINES_MAX_LEN) {
            return fail("%s:%llu: longer than %u bytes", lines->path, number, LINES_MAX_LEN);
        }
        lines->text[len++] = (char)byte;
    }
    if (ferror(lines->file)) {
        return fail("cannot read %s: %s", lines->path, strerror(errno));
    }
    lines->text[len] = '\0';
    *ret_more = byte != EOF || len > 0;
    return true;
}
