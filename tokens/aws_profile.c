#include "tokens/aws_profile.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/cause.h"
#include "tokens/secret_file.h"

#define CONFIG_PREFIX "profile"
#define DEFAULT_NAME "default"

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct view trim(struct view text)
{
    while (text.len > 0 && is_blank(text.bytes[0])) {
        text.bytes++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.bytes[text.len - 1]))
        text.len--;
    return text;
}

static struct view next_line(struct view *text)
{
    const unsigned char *end = memchr(text->bytes, '\n', text->len);
    size_t len = end == NULL ? text->len : (size_t) (end - text->bytes);
    struct view line = {text->bytes, len};
    size_t taken = end == NULL ? len : len + 1;
    text->bytes += taken;
    text->len -= taken;
    return line;
}

/* A comment at the end begins with a blank before it: keys and tokens have none inside. */
static struct view without_comment(struct view value)
{
    for (size_t i = 1; i < value.len; i++) {
        if ((value.bytes[i] == '#' || value.bytes[i] == ';') && is_blank(value.bytes[i - 1]))
            return trim((struct view){value.bytes, i});
    }
    return value;
}

static struct view without_quotes(struct view name)
{
    if (name.len >= 2 && (name.bytes[0] == '"' || name.bytes[0] == '\'') &&
        name.bytes[name.len - 1] == name.bytes[0])
        return (struct view){name.bytes + 1, name.len - 2};
    return name;
}

/* Whether "[…]" begins the profile. */
static bool opens_profile(enum aws_profile_file kind, struct view line, const char *wanted)
{
    const unsigned char *end = memchr(line.bytes, ']', line.len);
    if (end == NULL)
        return false;
    struct view name = trim((struct view){line.bytes + 1, (size_t) (end - line.bytes) - 1});
    size_t prefix_len = strlen(CONFIG_PREFIX);
    bool has_prefix = kind == AWS_CONFIG_FILE && name.len > prefix_len &&
                      memcmp(name.bytes, CONFIG_PREFIX, prefix_len) == 0 &&
                      is_blank(name.bytes[prefix_len]);
    if (has_prefix)
        name = trim((struct view){name.bytes + prefix_len, name.len - prefix_len});
    bool may_be_bare = kind == AWS_CREDENTIALS_FILE || strcmp(wanted, DEFAULT_NAME) == 0;
    return (has_prefix || may_be_bare) && view_equal(without_quotes(name), view_text(wanted));
}

static bool is_key(struct view text, const char *name)
{
    return text.len == strlen(name) && strncasecmp((const char *) text.bytes, name, text.len) == 0;
}

static const struct {
    const char *name;
    size_t offset; /* of its view */
} settings[] = {
    {"aws_access_key_id", offsetof(struct aws_profile, access_key_id)},
    {"aws_secret_access_key", offsetof(struct aws_profile, secret_access_key)},
    {"aws_session_token", offsetof(struct aws_profile, session_token)},
    {"region", offsetof(struct aws_profile, region)},
    {"role_arn", offsetof(struct aws_profile, role_arn)},
    {"source_profile", offsetof(struct aws_profile, source_profile)},
    {"credential_source", offsetof(struct aws_profile, credential_source)},
    {"external_id", offsetof(struct aws_profile, external_id)},
    {"role_session_name", offsetof(struct aws_profile, role_session_name)},
    {"duration_seconds", offsetof(struct aws_profile, duration_seconds)},
    {"web_identity_token_file", offsetof(struct aws_profile, web_identity_token_file)},
    {"credential_process", offsetof(struct aws_profile, credential_process)},
};

static void read_setting(struct view line, struct aws_profile *profile)
{
    const unsigned char *equals = memchr(line.bytes, '=', line.len);
    if (equals == NULL)
        return;
    size_t name_len = (size_t) (equals - line.bytes);
    struct view name = trim((struct view){line.bytes, name_len});
    struct view value = trim((struct view){equals + 1, line.len - name_len - 1});
    /* A command's own "#" is the shell's that does not run it. */
    if (!is_key(name, "credential_process"))
        value = without_comment(value);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (is_key(name, settings[i].name))
            *(struct view *) ((char *) profile + settings[i].offset) = value;
    }
}

void aws_profile_parse(enum aws_profile_file kind, struct view text, const char *name,
                       struct aws_profile *profile)
{
    bool inside = false;
    while (text.len > 0) {
        struct view line = next_line(&text);
        /* An indented line belongs to the key before: `s3 =` has its own settings so. */
        if (line.len == 0 || is_blank(line.bytes[0]) || line.bytes[0] == '#' ||
            line.bytes[0] == ';')
            continue;
        if (line.bytes[0] == '[')
            inside = opens_profile(kind, line, name);
        else if (inside)
            read_setting(line, profile);
    }
}

void aws_profile_clear(struct aws_profile *profile)
{
    secret_clear(&profile->text);
    *profile = (struct aws_profile){.text = {NULL, 0}};
}

CK_RV aws_profile_read(const char *token, enum aws_profile_file kind, const char *path,
                       const char *name, struct aws_profile *ret_profile)
{
    struct secret_file file = {
        .token = token,
        .what = kind == AWS_CONFIG_FILE ? "AWS config file" : "AWS credentials file",
        .path = path,
        .len_max = AWS_PROFILE_FILE_LEN_MAX,
        .refused = kind == AWS_CONFIG_FILE ? S_IWGRP | S_IWOTH : S_IWGRP | S_IRWXO,
    };
    _cleanup_(aws_profile_clear) struct aws_profile profile = {.text = {NULL, 0}};
    mode_t mode;
    TRY(secret_file_read(&file, &profile.text, &mode));
    aws_profile_parse(kind, (struct view){profile.text.bytes, profile.text.len}, name, &profile);
    /* A config file is often readable by all, which is well until it holds a secret. */
    if (profile.secret_access_key.len > 0 && (mode & S_IRWXO) != 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its %s %s holds a secret key and can be read by others "
                          "(mode %04o); chmod 600 it, and replace the key if others had access",
                          token, file.what, path, (unsigned int) mode & 07777u);
    *ret_profile = profile;
    profile = (struct aws_profile){.text = {NULL, 0}};
    return CKR_OK;
}
