#include "tokens/http_url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <curl/curl.h>

#include "base/rv.h"
#include "tokens/http.h"

static void free_url(CURLU **url)
{
    curl_url_cleanup(*url);
}

static void free_part(char **part)
{
    curl_free(*part);
}

struct address {
    unsigned char bytes[16];
    size_t len; /* 4, 16, or 0: a name */
};

/* IPv4 inside IPv6 counts as IPv4, so that a metadata address cannot hide there. */
static struct address address_of(const char *host)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct address address = {.len = 0};
    if (inet_pton(AF_INET, host, address.bytes) == 1) {
        address.len = 4;
    } else if (inet_pton(AF_INET6, host, address.bytes) == 1) {
        address.len = 16;
        if (memcmp(address.bytes, mapped, sizeof mapped) == 0) {
            memmove(address.bytes, address.bytes + sizeof mapped, 4);
            address.len = 4;
        }
    }
    return address;
}

static bool is_loopback(const char *host, const struct address *address)
{
    static const unsigned char v6_loopback[16] = {[15] = 1};
    switch (address->len) {
    case 4:
        return address->bytes[0] == 127;
    case 16:
        return memcmp(address->bytes, v6_loopback, sizeof v6_loopback) == 0;
    default:
        /* libcurl answers this name itself, with loopback addresses only. */
        return strcmp(host, "localhost") == 0;
    }
}

static bool is_near(const char *host, const struct address *address)
{
    static const unsigned char instance[16] = {0xfd, 0, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54};
    static const unsigned char pod[16] = {0xfd, 0, 0x0e, 0xc2, [15] = 0x23};
    switch (address->len) {
    case 4:
        return address->bytes[0] == 169 && address->bytes[1] == 254;
    case 16:
        return (address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80) ||
               memcmp(address->bytes, instance, sizeof instance) == 0 ||
               memcmp(address->bytes, pod, sizeof pod) == 0;
    default:
        return strcmp(host, "metadata.google.internal") == 0;
    }
}

static bool read_host(CURLU *url, struct http_target *target)
{
    _cleanup_(free_part) char *part = NULL;
    if (curl_url_get(url, CURLUPART_HOST, &part, 0) != CURLUE_OK)
        return false;
    const char *host = part;
    size_t len = strlen(host);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len == 0 || len > HTTP_HOST_LEN_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        target->host[i] = (char) tolower((unsigned char) host[i]);
    bool is_bracketed = host != part;
    (void) snprintf(target->authority, sizeof(target->authority), is_bracketed ? "[%s]" : "%s",
                    target->host);
    return true;
}

/* A port that a URL has, though it is the scheme's own, is none (RFC 9110, 4.2.3). */
static void read_port(CURLU *url, struct http_target *target)
{
    _cleanup_(free_part) char *port = NULL;
    size_t len = strlen(target->authority);
    if (curl_url_get(url, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT) == CURLUE_OK)
        (void) snprintf(target->authority + len, sizeof(target->authority) - len, ":%s", port);
}

static bool has_part(CURLU *url, CURLUPart which)
{
    _cleanup_(free_part) char *part = NULL;
    return curl_url_get(url, which, &part, 0) == CURLUE_OK;
}

static bool has_path(CURLU *url)
{
    _cleanup_(free_part) char *path = NULL;
    return curl_url_get(url, CURLUPART_PATH, &path, 0) != CURLUE_OK || strcmp(path, "/") != 0 ||
           has_part(url, CURLUPART_QUERY);
}

static const char *read_url(const char *url, bool takes_near, struct http_target *ret_target)
{
    static const char malformed[] = "a URL: https://HOST[:PORT][/PATH]";
    _cleanup_(free_url) CURLU *parsed = curl_url();
    _cleanup_(free_part) char *scheme = NULL;
    struct http_target target = {.is_tls = false};
    if (parsed == NULL)
        return "read while there is memory";
    if (curl_url_set(parsed, CURLUPART_URL, url, CURLU_DISALLOW_USER) != CURLUE_OK ||
        curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        has_part(parsed, CURLUPART_FRAGMENT) || !read_host(parsed, &target))
        return malformed;
    target.is_tls = strcmp(scheme, "https") == 0;
    if (!target.is_tls && strcmp(scheme, "http") != 0)
        return malformed;
    target.has_path = has_path(parsed);
    read_port(parsed, &target);
    struct address address = address_of(target.host);
    bool loops = is_loopback(target.host, &address);
    bool near = is_near(target.host, &address);
    if (!target.is_tls && !loops && !(near && takes_near))
        return "https, since plain http is for loopback addresses only";
    target.is_name = address.len == 0 && !loops;
    target.is_direct = loops || near;
    *ret_target = target;
    return NULL;
}

const char *http_url_read(const char *url, struct http_target *ret_target)
{
    return read_url(url, false, ret_target);
}

const char *http_url_read_near(const char *url, struct http_target *ret_target)
{
    return read_url(url, true, ret_target);
}

const char *http_url_fault(const char *url)
{
    struct http_target target;
    return http_url_read(url, &target);
}
