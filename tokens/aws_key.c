#include "tokens/aws_key.h"

#include <string.h>

#include "base/alloc.h"

#define ALIAS "alias/"
#define KEY "key/"
#define MULTI_REGION "mrk-"

static bool is_alnum(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Letters, digits, and those of `more`; not empty. */
static bool consists_of(struct view text, const char *more)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = text.bytes[i];
        if (c == '\0' || (!is_alnum(c) && strchr(more, c) == NULL))
            return false;
    }
    return text.len > 0;
}

static bool begins_with(struct view text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.bytes, prefix, len) == 0;
}

static struct view without(struct view text, size_t len)
{
    return (struct view){text.bytes + len, text.len - len};
}

/* The text before the next colon, which goes too. False when there is none. */
static bool next_field(struct view *text, struct view *ret_field)
{
    const unsigned char *colon = text->len == 0 ? NULL : memchr(text->bytes, ':', text->len);
    if (colon == NULL)
        return false;
    size_t len = (size_t) (colon - text->bytes);
    *ret_field = (struct view){text->bytes, len};
    *text = without(*text, len + 1);
    return true;
}

bool aws_region_is_valid(struct view region)
{
    return region.len <= AWS_REGION_LEN_MAX && consists_of(region, "-");
}

static bool is_key_id(struct view text)
{
    return consists_of(text, "-");
}

static bool is_alias_name(struct view text)
{
    return begins_with(text, ALIAS) && consists_of(without(text, strlen(ALIAS)), "/_-");
}

bool aws_arn_read(struct view text, const char *service, struct aws_arn *ret_arn)
{
    struct view prefix;
    struct view of;
    struct aws_arn arn;
    if (text.len > AWS_KEY_LEN_MAX || !next_field(&text, &prefix) ||
        !next_field(&text, &arn.partition) || !next_field(&text, &of) ||
        !next_field(&text, &arn.region) || !next_field(&text, &arn.account))
        return false;
    arn.resource = text;
    if (!view_equal(prefix, view_text("arn")) || !view_equal(of, view_text(service)) ||
        !consists_of(arn.partition, "-") || !aws_region_is_valid(arn.region) ||
        !consists_of(arn.account, ""))
        return false;
    *ret_arn = arn;
    return true;
}

/* Of a key ("key/ID") or an alias ("alias/NAME"), if it is any's. */
static bool read_key_arn(struct view text, struct aws_arn *ret_arn)
{
    return aws_arn_read(text, "kms", ret_arn);
}

static bool names_key(const struct aws_arn *arn)
{
    return begins_with(arn->resource, KEY) && is_key_id(without(arn->resource, strlen(KEY)));
}

const char *aws_key_fault(const char *key)
{
    struct view text = view_text(key);
    struct aws_arn arn;
    bool good = read_key_arn(text, &arn) ? names_key(&arn) || is_alias_name(arn.resource)
                                         : is_key_id(text) || is_alias_name(text);
    return good && text.len <= AWS_KEY_LEN_MAX
               ? NULL
               : "a KMS key: its id, its ARN, alias/NAME, or the alias's ARN";
}

const char *aws_region_fault(const char *region)
{
    return aws_region_is_valid(view_text(region)) ? NULL : "an AWS Region: eu-central-1";
}

struct view aws_key_region(const char *key)
{
    struct aws_arn arn;
    return read_key_arn(view_text(key), &arn) ? arn.region : (struct view){0};
}

bool aws_key_is_alias(const char *key)
{
    struct aws_arn arn;
    struct view text = view_text(key);
    return is_alias_name(read_key_arn(text, &arn) ? arn.resource : text);
}

bool aws_key_is_multi_region(const char *key)
{
    struct aws_arn arn;
    struct view text = view_text(key);
    if (!read_key_arn(text, &arn))
        return begins_with(text, MULTI_REGION);
    return names_key(&arn) && begins_with(arn.resource, KEY MULTI_REGION);
}

char *aws_key_in_region(const char *key, const char *region)
{
    struct aws_arn arn;
    if (!read_key_arn(view_text(key), &arn))
        return mem_strdup(key);
    int before = (int) ((const char *) arn.region.bytes - key);
    return mem_format("%.*s%s%s", before, key, region,
                      (const char *) arn.region.bytes + arn.region.len);
}

bool aws_key_is_key_arn(struct view text)
{
    struct aws_arn arn;
    return read_key_arn(text, &arn) && names_key(&arn);
}

bool aws_key_matches(const char *configured, struct view arn)
{
    struct view wanted = view_text(configured);
    struct aws_arn key;
    struct aws_arn other;
    if (!read_key_arn(arn, &key) || !names_key(&key))
        return false;
    struct view id = without(key.resource, strlen(KEY));
    if (!read_key_arn(wanted, &other))
        return is_alias_name(wanted) || view_equal(id, wanted);
    bool same_account =
        view_equal(key.partition, other.partition) && view_equal(key.account, other.account);
    if (is_alias_name(other.resource))
        return same_account && view_equal(key.region, other.region);
    bool same_region = view_equal(key.region, other.region) || begins_with(id, MULTI_REGION);
    return same_account && same_region && view_equal(key.resource, other.resource);
}
