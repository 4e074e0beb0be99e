#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "tokens/ciphertext.h"
#include "tokens/context.h"
#include "tokens/direct_keys_internal.h"

#define ID_LEN_MAX 32

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_hex(const char *text, unsigned char *bytes, size_t len_max, size_t *ret_len)
{
    size_t len = strlen(text) / 2;
    if (strlen(text) % 2 != 0 || len == 0 || len > len_max)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = digit_of(text[2 * i]);
        int low = digit_of(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (unsigned char) (high << 4 | low);
    }
    *ret_len = len;
    return true;
}

static const char *check_id(const char *value)
{
    unsigned char id[ID_LEN_MAX];
    size_t len;
    return parse_hex(value, id, sizeof(id), &len) ? NULL : "1 to 32 bytes in hexadecimal: 01";
}

static const char *check_check_value(const char *value)
{
    unsigned char bytes[CUSTODY_CHECK_VALUE_LEN];
    size_t len;
    return parse_hex(value, bytes, sizeof(bytes), &len) && len == sizeof(bytes)
               ? NULL
               : "the 16 hexadecimal digits that the log told at the first login";
}

const struct conf_key custody_direct_key_conf_keys[] = {
    {.name = "ciphertext",
     .type = CONF_STRING,
     .required = true,
     .help = "what the source made: base64:TEXT, vault:vN:TEXT, env:NAME or file:/PATH",
     .check = ciphertext_fault},
    {.name = "id", .type = CONF_STRING, .help = "its CKA_ID, in hexadecimal", .check = check_id},
    /* In the order of enum custody_key_type. */
    {.name = "type",
     .type = CONF_CHOICE,
     .choices = "generic aes",
     .help = "what the bytes are; 32 generic ones are an index key"},
    {.name = "check_value",
     .type = CONF_STRING,
     .help = "pins the key: another one is refused",
     .check = check_check_value},
    {.name = CONTEXT_PREFIX,
     .type = CONF_STRING,
     .prefix = true,
     .help = "what the ciphertext was bound to when it was made"},
    {.name = NULL},
};

CK_RV direct_key_configure(const struct conf_section *section, struct direct_key *key)
{
    unsigned char id[ID_LEN_MAX];
    size_t len = 0;
    const char *text = conf_string(section, "id", NULL);
    const char *pinned = conf_string(section, "check_value", NULL);
    key->name = mem_strdup(section->name);
    key->place = mem_strdup(conf_string(section, "ciphertext", ""));
    if (key->name == NULL || key->place == NULL)
        return CKR_HOST_MEMORY;
    if (text != NULL && parse_hex(text, id, sizeof(id), &len))
        TRY(blob_from(id, len, &key->id));
    key->type = (enum custody_key_type) conf_choice(section, "type", CUSTODY_KEY_GENERIC);
    key->is_pinned = pinned != NULL && parse_hex(pinned, key->pinned, sizeof(key->pinned), &len);
    return context_encode_key(section, &key->context);
}
