#include "module/approvers.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "conf/conf_file.h"

#define PEM_BEGIN "-----BEGIN PUBLIC KEY-----"
#define PEM_END "-----END PUBLIC KEY-----"

/* RFC 8410: SubjectPublicKeyInfo with id-Ed25519 and no parameters, before the 32 bytes. */
static const unsigned char spki_prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                            0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
#define SPKI_LEN (sizeof(spki_prefix) + ED25519_PUBLIC_LEN)
#define SPKI_BASE64_LEN ((SPKI_LEN + 2) / 3 * 4)

struct file {
    const char *at;
    const char *shown;
    size_t line;
    char name[APPROVER_NAME_LEN]; /* of the comment read last; empty: none since the last key */
    struct approvers approvers;
};

static bool is_space(unsigned char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* The next line without blanks at its ends; false at the file's end. */
static bool next_line(struct file *file, struct view *ret_line)
{
    if (*file->at == '\0')
        return false;
    struct view line = {(const unsigned char *) file->at, strcspn(file->at, "\n")};
    file->at += line.len + (file->at[line.len] == '\n' ? 1 : 0);
    file->line++;
    while (line.len > 0 && is_space(line.bytes[0])) {
        line.bytes++;
        line.len--;
    }
    while (line.len > 0 && is_space(line.bytes[line.len - 1]))
        line.len--;
    *ret_line = line;
    return true;
}

static CK_RV refuse(const struct file *file, const char *what)
{
    return FAIL(CKR_FUNCTION_FAILED, "%s:%zu: %s", file->shown, file->line, what);
}

static CK_RV take_name(struct file *file, struct view line)
{
    while (line.len > 0 && (line.bytes[0] == '#' || is_space(line.bytes[0]))) {
        line.bytes++;
        line.len--;
    }
    if (line.len >= APPROVER_NAME_LEN)
        return refuse(file, "the approver's name is too long; 63 bytes are the most");
    if (line.len > 0)
        memcpy(file->name, line.bytes, line.len);
    file->name[line.len] = '\0';
    return CKR_OK;
}

/* The lines up to the end mark, joined. */
static CK_RV read_body(struct file *file, unsigned char text[SPKI_BASE64_LEN])
{
    struct view line;
    size_t len = 0;

    while (next_line(file, &line)) {
        if (view_equal(line, view_text(PEM_END)))
            return len == SPKI_BASE64_LEN ? CKR_OK
                                          : refuse(file, "the key above is no Ed25519 public key");
        if (line.len > SPKI_BASE64_LEN - len)
            break;
        if (line.len > 0)
            memcpy(text + len, line.bytes, line.len);
        len += line.len;
    }
    return refuse(file, "the key does not end, or is no Ed25519 public key");
}

static CK_RV decode_key(struct file *file, unsigned char ret_key[ED25519_PUBLIC_LEN])
{
    _cleanup_(secret_clear) struct secret spki = {NULL, 0};
    unsigned char text[SPKI_BASE64_LEN];

    TRY(read_body(file, text));
    CK_RV rv = crypto_base64_secret((struct view){text, sizeof(text)}, SPKI_LEN, &spki);
    if (rv == CKR_HOST_MEMORY)
        return rv;
    if (rv != CKR_OK || memcmp(spki.bytes, spki_prefix, sizeof(spki_prefix)) != 0)
        return refuse(file, "the key above is no Ed25519 public key");
    memcpy(ret_key, spki.bytes + sizeof(spki_prefix), ED25519_PUBLIC_LEN);
    return CKR_OK;
}

static CK_RV take_key(struct file *file)
{
    struct approvers *approvers = &file->approvers;
    struct approver approver = {{0}, {0}};

    TRY(decode_key(file, approver.key));
    if (file->name[0] == '\0')
        return refuse(file, "the key above has no name; put a line `# NAME` before it");
    memcpy(approver.name, file->name, sizeof(approver.name));
    file->name[0] = '\0';
    for (size_t i = 0; i < approvers->count; i++) {
        if (strcmp(approvers->list[i].name, approver.name) == 0 ||
            memcmp(approvers->list[i].key, approver.key, ED25519_PUBLIC_LEN) == 0)
            return refuse(file, "the key above or its name stands here twice");
    }
    if (approvers->count == APPROVERS_MAX)
        return refuse(file, "more than 16 approvers");
    approvers->list[approvers->count++] = approver;
    return CKR_OK;
}

CK_RV approvers_parse(const char *text, const char *shown, struct approvers *ret_approvers)
{
    struct file file = {.at = text, .shown = shown};
    struct view line;

    while (next_line(&file, &line)) {
        if (line.len == 0)
            continue;
        if (line.bytes[0] == '#')
            TRY(take_name(&file, line));
        else if (view_equal(line, view_text(PEM_BEGIN)))
            TRY(take_key(&file));
        else
            return refuse(&file, "neither a comment nor the beginning of a public key");
    }
    if (file.approvers.count == 0)
        return refuse(&file, "no approver");
    *ret_approvers = file.approvers;
    return CKR_OK;
}

CK_RV approvers_read(const char *path, struct approvers *ret_approvers)
{
    _cleanup_(mem_free_pointer) char *text = NULL;
    size_t len;

    TRY(conf_file_read(path, &text, &len));
    return approvers_parse(text, conf_file_shown(path), ret_approvers);
}
