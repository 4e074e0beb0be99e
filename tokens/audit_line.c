#include "tokens/audit_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/rv.h"

#define NUMBER_DIGITS_MAX 20
#define SURROGATES 0x10000

enum form { FORM_TEXT, FORM_NUMBER, FORM_HEX };

static const struct {
    const char *name;
    size_t len; /* of hexadecimal digits */
    enum form form;
    bool required;
} rows[AUDIT_FIELDS] = {
    [AUDIT_VERSION] = {"v", 0, FORM_NUMBER, true},
    [AUDIT_TIME] = {"time", 0, FORM_TEXT, true},
    [AUDIT_TOKEN] = {"token", 0, FORM_TEXT, true},
    [AUDIT_WRITER] = {"writer", 32, FORM_HEX, true},
    [AUDIT_SEQ] = {"seq", 0, FORM_NUMBER, true},
    [AUDIT_PREV] = {"prev", 64, FORM_HEX, true},
    [AUDIT_ABOVE] = {"above", 64, FORM_HEX, false},
    [AUDIT_EVENT] = {"event", 0, FORM_TEXT, true},
    [AUDIT_PHASE] = {"phase", 0, FORM_TEXT, false},
    [AUDIT_ROLE] = {"role", 0, FORM_TEXT, false},
    [AUDIT_PID] = {"pid", 0, FORM_NUMBER, true},
    [AUDIT_UID] = {"uid", 0, FORM_NUMBER, true},
    [AUDIT_PROGRAM] = {"program", 0, FORM_TEXT, true},
    [AUDIT_KEY] = {"key", 32, FORM_HEX, false},
    [AUDIT_LABEL] = {"label", 0, FORM_TEXT, false},
    [AUDIT_MECHANISM] = {"mechanism", 0, FORM_TEXT, false},
    [AUDIT_USES] = {"uses", 0, FORM_NUMBER, false},
    [AUDIT_RESULT] = {"result", 0, FORM_TEXT, false},
    [AUDIT_CAUSE] = {"cause", 0, FORM_TEXT, false},
    [AUDIT_NEXT] = {"next", 64, FORM_HEX, false},
    [AUDIT_MAC] = {"mac", 64, FORM_HEX, false},
    [AUDIT_SIG] = {"sig", 128, FORM_HEX, false},
};

/* ---- writing ---- */

static void put(struct audit_draft *draft, const char *text, size_t len)
{
    draft->failed |= len > AUDIT_LINE_MAX - draft->len;
    if (draft->failed)
        return;
    memcpy(draft->text + draft->len, text, len);
    draft->len += len;
}

static void put_text(struct audit_draft *draft, const char *text)
{
    put(draft, text, strlen(text));
}

static void put_name(struct audit_draft *draft, enum audit_field field)
{
    draft->failed |= (int) field <= draft->last;
    draft->last = (int) field;
    put_text(draft, draft->len == 1 ? "\"" : ",\"");
    put_text(draft, rows[field].name);
    put_text(draft, rows[field].form == FORM_NUMBER ? "\":" : "\":\"");
}

void audit_draft_begin(struct audit_draft *draft)
{
    *draft = (struct audit_draft){.len = 0, .last = -1};
    put_text(draft, "{");
}

/* Bytes of the sequence that `lead` begins; 0: it begins none. */
static size_t sequence_len(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead < 0xe0)
        return 2;
    if (lead >= 0xe0 && lead < 0xf0)
        return 3;
    return lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
}

/* The character at the start of a text, and its bytes; U+FFFD and one byte for what is no UTF-8
 * (RFC 3629). */
static uint32_t next_character(struct view text, size_t *ret_len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, SURROGATES};
    size_t len = sequence_len(text.bytes[0]);

    *ret_len = 1;
    if (len == 1)
        return text.bytes[0];
    if (len == 0 || len > text.len)
        return 0xfffd;
    uint32_t value = text.bytes[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((text.bytes[i] & 0xc0) != 0x80)
            return 0xfffd;
        value = value << 6 | (text.bytes[i] & 0x3f);
    }
    if (value < least[len] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return 0xfffd;
    *ret_len = len;
    return value;
}

static void put_character(struct audit_draft *draft, uint32_t value)
{
    char escaped[16];
    char plain = (char) value;

    if (value >= SURROGATES)
        (void) snprintf(escaped, sizeof(escaped), "\\u%04x\\u%04x",
                        (unsigned int) (0xd800 + ((value - SURROGATES) >> 10)),
                        (unsigned int) (0xdc00 + ((value - SURROGATES) & 0x3ff)));
    else if (value == '"' || value == '\\')
        (void) snprintf(escaped, sizeof(escaped), "\\%c", plain);
    else
        (void) snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned int) value);
    if (value >= ' ' && value < 0x7f && value != '"' && value != '\\')
        put(draft, &plain, 1);
    else
        put_text(draft, escaped);
}

void audit_draft_text(struct audit_draft *draft, enum audit_field field, struct view text)
{
    struct view rest = text;

    if (rest.len > AUDIT_TEXT_MAX)
        rest.len = AUDIT_TEXT_MAX;
    put_name(draft, field);
    while (rest.len > 0) {
        size_t len;
        put_character(draft, next_character(rest, &len));
        rest.bytes += len;
        rest.len -= len;
    }
    put_text(draft, "\"");
}

void audit_draft_number(struct audit_draft *draft, enum audit_field field, uint64_t number)
{
    char digits[NUMBER_DIGITS_MAX + 1];

    (void) snprintf(digits, sizeof(digits), "%" PRIu64, number);
    put_name(draft, field);
    put_text(draft, digits);
}

void audit_draft_hex(struct audit_draft *draft, enum audit_field field, const void *bytes,
                     size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *at = bytes;

    draft->failed |= 2 * len != rows[field].len;
    put_name(draft, field);
    for (size_t i = 0; i < len; i++) {
        put(draft, &digits[at[i] >> 4], 1);
        put(draft, &digits[at[i] & 15], 1);
    }
    put_text(draft, "\"");
}

struct view audit_draft_so_far(const struct audit_draft *draft)
{
    return (struct view){(const unsigned char *) draft->text, draft->len};
}

CK_RV audit_draft_end(struct audit_draft *draft, struct view *ret_line)
{
    put_text(draft, "}");
    if (draft->failed)
        return FAIL(CKR_GENERAL_ERROR, "a line of the audit log cannot be written: too long");
    *ret_line = audit_draft_so_far(draft);
    return CKR_OK;
}

/* ---- reading ---- */

static bool take(struct view *rest, const char *text)
{
    size_t len = strlen(text);

    if (rest->len < len || memcmp(rest->bytes, text, len) != 0)
        return false;
    rest->bytes += len;
    rest->len -= len;
    return true;
}

static bool is_hex(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static size_t hex_run(struct view text)
{
    size_t len = 0;

    while (len < text.len && is_hex(text.bytes[len]))
        len++;
    return len;
}

/* The bytes of one character of a string; 0: none may stand here. */
static size_t character_len(struct view text)
{
    unsigned char c = text.bytes[0];

    if (c < ' ' || c >= 0x7f || c == '"')
        return 0;
    if (c != '\\')
        return 1;
    if (text.len >= 2 && (text.bytes[1] == '"' || text.bytes[1] == '\\'))
        return 2;
    if (text.len < 6 || text.bytes[1] != 'u' ||
        hex_run((struct view){text.bytes + 2, text.len - 2}) < 4)
        return 0;
    return 6;
}

static size_t text_len(struct view text)
{
    size_t len = 0;

    while (len < text.len) {
        size_t step = character_len((struct view){text.bytes + len, text.len - len});
        if (step == 0)
            break;
        len += step;
    }
    return len;
}

static size_t number_len(struct view text)
{
    size_t len = 0;

    while (len < text.len && text.bytes[len] >= '0' && text.bytes[len] <= '9')
        len++;
    bool is_padded = len > 1 && text.bytes[0] == '0';
    return len >= NUMBER_DIGITS_MAX || is_padded ? 0 : len;
}

static bool take_value(struct view *rest, enum audit_field field, struct view *ret_value)
{
    enum form form = rows[field].form;
    size_t len;

    if (form == FORM_NUMBER)
        len = number_len(*rest);
    else
        len = form == FORM_TEXT ? text_len(*rest) : hex_run(*rest);
    if ((form == FORM_NUMBER && len == 0) || (form == FORM_HEX && len != rows[field].len))
        return false;
    *ret_value = (struct view){rest->bytes, len};
    rest->bytes += len;
    rest->len -= len;
    return form == FORM_NUMBER || take(rest, "\"");
}

static bool take_field(struct view *rest, enum audit_field field, struct view *ret_value)
{
    char name[24];
    bool is_number = rows[field].form == FORM_NUMBER;

    (void) snprintf(name, sizeof(name), "%s\"%s\":%s", field == 0 ? "{" : ",", rows[field].name,
                    is_number ? "" : "\"");
    if (!take(rest, name))
        return !rows[field].required;
    return take_value(rest, field, ret_value);
}

bool audit_line_parse(struct view text, struct audit_line *ret_line)
{
    struct audit_line line = {.text = text};
    struct view rest = text;

    if (text.len > AUDIT_LINE_MAX)
        return false;
    for (int field = 0; field < AUDIT_FIELDS; field++)
        if (!take_field(&rest, (enum audit_field) field, &line.values[field]))
            return false;
    if (!take(&rest, "}") || rest.len > 0 || !audit_line_is(&line, AUDIT_VERSION, "1"))
        return false;
    *ret_line = line;
    return true;
}

bool audit_line_is(const struct audit_line *line, enum audit_field field, const char *text)
{
    return audit_line_has(line, field) && view_equal(line->values[field], view_text(text));
}

uint64_t audit_line_number(const struct audit_line *line, enum audit_field field)
{
    struct view digits = line->values[field];
    uint64_t number = 0;

    for (size_t i = 0; i < digits.len; i++)
        number = number * 10 + (uint64_t) (digits.bytes[i] - '0');
    return number;
}

static unsigned int digit(unsigned char c)
{
    return c <= '9' ? (unsigned int) (c - '0') : (unsigned int) (c - 'a' + 10);
}

void audit_line_bytes(const struct audit_line *line, enum audit_field field, unsigned char *bytes)
{
    struct view digits = line->values[field];

    for (size_t i = 0; i + 1 < digits.len; i += 2)
        bytes[i / 2] = (unsigned char) (digit(digits.bytes[i]) << 4 | digit(digits.bytes[i + 1]));
}

struct view audit_line_before(const struct audit_line *line, enum audit_field field)
{
    /* Back over ,"NAME":" */
    const unsigned char *end = line->values[field].bytes - strlen(rows[field].name) - 5;

    return (struct view){line->text.bytes, (size_t) (end - line->text.bytes)};
}
