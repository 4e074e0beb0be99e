#include "module/approval.h"

#include <string.h>

#define EXPIRES_DIGITS_MAX 12

static const char *const operations[APPROVAL_OPERATIONS] = {
    [APPROVAL_DESTROY] = "destroy", [APPROVAL_RESET] = "reset",   [APPROVAL_EXPORT] = "export",
    [APPROVAL_BACKUP] = "backup",   [APPROVAL_POLICY] = "policy",
};

const char *approval_operation_name(enum approval_operation operation)
{
    return operations[operation];
}

/* Takes `text` off the front; the input fails as a whole when it is not there. */
static void take_text(struct reader *input, const char *text)
{
    struct view taken = read_raw(input, strlen(text));

    if (!view_equal(taken, view_text(text)))
        input->failed = true;
}

/* What stands before the next line break, which goes too. */
static struct view take_line(struct reader *input, const char *name)
{
    take_text(input, name);
    size_t left = input->failed ? 0 : (size_t) (input->end - input->at);
    const unsigned char *end = left == 0 ? NULL : memchr(input->at, '\n', left);

    if (end == NULL) {
        input->failed = true;
        return (struct view){NULL, 0};
    }
    struct view line = read_raw(input, (size_t) (end - input->at));
    take_text(input, "\n");
    return line;
}

/* Lower case alone, so that there is one text for each value. */
static int hex_digit(unsigned char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool decode_hex(struct view text, unsigned char *out, size_t len)
{
    if (text.len != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(text.bytes[2 * i]);
        int low = hex_digit(text.bytes[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (unsigned char) (high << 4 | low);
    }
    return true;
}

static bool decode_subject(struct view text, struct approval *approval)
{
    approval->subject_len = text.len / 2;
    return (approval->subject_len == OBJECT_ID_LEN || approval->subject_len == SHA256_LEN) &&
           decode_hex(text, approval->subject, approval->subject_len);
}

static bool decode_operation(struct view text, enum approval_operation *ret_operation)
{
    for (int i = 0; i < APPROVAL_OPERATIONS; i++) {
        if (view_equal(text, view_text(operations[i]))) {
            *ret_operation = (enum approval_operation) i;
            return true;
        }
    }
    return false;
}

static bool decode_seconds(struct view text, int64_t *ret_seconds)
{
    int64_t seconds = 0;

    if (text.len == 0 || text.len > EXPIRES_DIGITS_MAX || text.bytes[0] == '0')
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9')
            return false;
        seconds = seconds * 10 + (text.bytes[i] - '0');
    }
    *ret_seconds = seconds;
    return true;
}

CK_RV approval_parse(struct view document, struct approval *ret_approval)
{
    struct approval approval = {0};
    struct reader input = reader_of(document);
    unsigned char serial[TOKEN_SERIAL_LEN / 2];

    if (document.bytes == NULL || document.len > APPROVAL_LEN_MAX)
        return CKR_DATA_INVALID;
    take_text(&input, "indexkey approval 1\n");
    struct view token = take_line(&input, "token ");
    struct view operation = take_line(&input, "operation ");
    struct view subject = take_line(&input, "object ");
    struct view nonce = take_line(&input, "nonce ");
    struct view expires = take_line(&input, "expires ");
    approval.signed_text = (struct view){document.bytes, (size_t) (input.at - document.bytes)};
    struct view signature = take_line(&input, "signature ");
    if (!reader_done(&input) || !decode_hex(token, serial, sizeof(serial)) ||
        !decode_operation(operation, &approval.operation) || !decode_subject(subject, &approval) ||
        !decode_hex(nonce, approval.nonce, APPROVAL_NONCE_LEN) ||
        !decode_seconds(expires, &approval.expires) ||
        !decode_hex(signature, approval.signature, ED25519_SIGNATURE_LEN))
        return CKR_DATA_INVALID;
    memcpy(approval.serial, token.bytes, TOKEN_SERIAL_LEN);
    *ret_approval = approval;
    return CKR_OK;
}

bool approval_is_for(const struct approval *approval, const struct approval_wish *wish)
{
    struct view subject = {approval->subject, approval->subject_len};

    return approval->operation == wish->operation && view_equal(subject, wish->subject) &&
           memcmp(approval->serial, wish->serial, TOKEN_SERIAL_LEN) == 0;
}

const char *approval_untimely(const struct approval *approval, int64_t now)
{
    if (approval->expires <= now)
        return "it has expired";
    if (approval->expires - now > APPROVAL_AHEAD_MAX_S)
        return "it expires more than seven days from now";
    return NULL;
}

bool approval_is_signed_by(const struct approval *approval,
                           const unsigned char key[ED25519_PUBLIC_LEN])
{
    return crypto_ed25519_verify(key, approval->signed_text, approval->signature);
}
