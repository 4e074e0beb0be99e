#include "tokens/gcp_key.h"

#include <ctype.h>
#include <string.h>

#define PROJECT_LEN_MAX 128
#define LOCATION_LEN_MAX 63
#define NAME_LEN_MAX 63
#define VERSION_DIGITS_MAX 18
#define VERSION "/cryptoKeyVersions/"

static bool consists_of(const char *text, size_t len_max, bool (*fits)(unsigned char c))
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if (!fits((unsigned char) text[i]))
            return false;
    }
    return len > 0 && len <= len_max;
}

static bool is_small(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

/* Old projects of a domain: "example.com:name". */
static bool fits_project(unsigned char c)
{
    return is_small(c) || c == '.' || c == ':';
}

static bool fits_name(unsigned char c)
{
    return (c < 0x80 && isalnum(c)) || c == '-' || c == '_';
}

const char *gcp_key_project_fault(const char *project)
{
    bool good = consists_of(project, PROJECT_LEN_MAX, fits_project) && project[0] >= 'a' &&
                project[0] <= 'z';
    return good ? NULL : "the id of a project (not its number, not its name)";
}

const char *gcp_key_location_fault(const char *location)
{
    return consists_of(location, LOCATION_LEN_MAX, is_small) ? NULL
                                                             : "a location: europe-west3, global";
}

const char *gcp_key_name_fault(const char *name)
{
    return consists_of(name, NAME_LEN_MAX, fits_name)
               ? NULL
               : "a name of at most 63 letters, digits, - and _";
}

/* "/cryptoKeyVersions/12" */
static bool is_suffix(struct view text)
{
    size_t prefix_len = strlen(VERSION);
    if (text.len <= prefix_len || text.len > prefix_len + VERSION_DIGITS_MAX ||
        memcmp(text.bytes, VERSION, prefix_len) != 0)
        return false;
    for (size_t i = prefix_len; i < text.len; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9')
            return false;
    }
    return true;
}

bool gcp_key_has_version(const char *key, struct view version)
{
    size_t len = strlen(key);
    return version.len > len && memcmp(version.bytes, key, len) == 0 &&
           is_suffix((struct view){version.bytes + len, version.len - len});
}

bool gcp_key_is_version(struct view version)
{
    if (version.len == 0 || version.len > GCP_KEY_VERSION_LEN_MAX)
        return false;
    for (size_t i = 0; i < version.len; i++) {
        unsigned char c = version.bytes[i];
        if (!fits_name(c) && !fits_project(c) && c != '/')
            return false;
    }
    const unsigned char *at = memmem(version.bytes, version.len, VERSION, strlen(VERSION));
    return at != NULL && is_suffix((struct view){at, (size_t) (version.bytes + version.len - at)});
}
