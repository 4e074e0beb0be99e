#include "tokens/vault_ciphertext.h"

#include <string.h>

/* Of a data key it has about 90 bytes; of a key of 64 bytes under RSA-4096, 700. */
#define CIPHERTEXT_LEN_MAX 4096
#define CIPHERTEXT_PREFIX "vault:v"
#define VERSION_DIGITS_MAX 9

static bool is_base64(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '=';
}

bool vault_ciphertext_version(struct view text, int64_t *ret_version)
{
    const char *at = (const char *) text.bytes;
    size_t prefix_len = strlen(CIPHERTEXT_PREFIX);
    if (text.len > CIPHERTEXT_LEN_MAX || text.len <= prefix_len ||
        memcmp(at, CIPHERTEXT_PREFIX, prefix_len) != 0)
        return false;
    const char *end = at + text.len;
    const char *digits = at + prefix_len;
    int64_t version = 0;
    for (at = digits; at < end && *at >= '0' && *at <= '9'; at++) {
        if (at - digits == VERSION_DIGITS_MAX)
            return false;
        version = version * 10 + (*at - '0');
    }
    if (version == 0 || *digits == '0' || at == end || *at++ != ':' || at == end)
        return false;
    for (; at < end; at++) {
        if (!is_base64(*at))
            return false;
    }
    *ret_version = version;
    return true;
}
