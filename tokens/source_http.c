#include "tokens/source_http.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/http_url.h"

#define URL_LEN_MAX 2048
#define PERCENT_LEN 3

const char *source_http_check_url(const char *value)
{
    return http_url_fault(value);
}

char *source_http_copy_endpoint(const char *url)
{
    char *copy = mem_strdup(url);
    size_t len = copy == NULL ? 0 : strlen(copy);
    while (len > 0 && copy[len - 1] == '/')
        copy[--len] = '\0';
    return copy;
}

static CK_RV read_endpoint(const struct source_http_options *options,
                           const struct conf_section *section, struct source_http *http)
{
    const char *url = conf_string(section, options->endpoint_key, options->endpoint_default);
    if (url == NULL)
        return FAIL_CAUSE(
            INDEXKEY_CAUSE_CONFIG, "[token %s] in line %zu: %s needs %s = https://HOST[:PORT]",
            section->name, conf_section_line(section), options->service, options->endpoint_key);
    const char *fault = http_url_fault(url);
    if (fault != NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG, "[token %s] in line %zu: %s must be %s",
                          section->name, conf_section_line(section), options->endpoint_key, fault);
    http->endpoint = source_http_copy_endpoint(url);
    if (http->endpoint == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    return CKR_OK;
}

static CK_RV fill(const struct source_http_options *options, const struct conf_section *section,
                  struct source_http *http)
{
    struct http_options client = {
        .ca_file = conf_string(section, "ca_file", NULL),
        .client_cert = conf_string(section, "client_cert", NULL),
        .client_key = conf_string(section, "client_key", NULL),
        .direct = options->direct,
    };
    if (client.client_key != NULL && client.client_cert == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: client_key is of no use without client_cert",
                          section->name, conf_section_line(section));
    http->service = options->service;
    http->endpoint_key = options->endpoint_key;
    http->token = mem_strdup(section->name);
    if (http->token == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    TRY(read_endpoint(options, section, http));
    return http_client_new(&client, &http->client);
}

CK_RV source_http_open(const struct source_http_options *options,
                       const struct conf_section *section, struct source_http *ret_http)
{
    struct source_http http = {.token = NULL};
    CK_RV rv = fill(options, section, &http);
    if (rv != CKR_OK) {
        source_http_close(&http);
        return rv;
    }
    *ret_http = http;
    return CKR_OK;
}

void source_http_close(struct source_http *http)
{
    http_client_free(&http->client);
    mem_free(http->token);
    mem_free(http->endpoint);
    *http = (struct source_http){.token = NULL};
}

static CK_RV fail_transport(const struct source_http *http, const char *url,
                            const struct http_result *result)
{
    static const struct {
        enum indexkey_cause cause;
        const char *remedy;
    } rows[] = {
        [HTTP_DNS] = {INDEXKEY_CAUSE_DNS, "check the name, and this machine's resolver"},
        [HTTP_CONNECT] = {INDEXKEY_CAUSE_UNREACHABLE,
                          "check that it runs, and the network and proxy between"},
        [HTTP_TLS] = {INDEXKEY_CAUSE_TLS, "check ca_file, client_cert, the server's certificate "
                                          "and this machine's clock"},
        [HTTP_TIMEOUT] = {INDEXKEY_CAUSE_TIMEOUT, "check the network, or raise deadline"},
        [HTTP_CANCELLED] = {INDEXKEY_CAUSE_CANCELLED, "nothing is wrong"},
        [HTTP_TOO_BIG] = {INDEXKEY_CAUSE_SERVER, "check that this is the service's address"},
        [HTTP_PROTOCOL] = {INDEXKEY_CAUSE_SERVER, "check that this is the service's address"},
        [HTTP_REDIRECT] = {INDEXKEY_CAUSE_SERVER, "redirects are not followed: set the service's "
                                                  "own address"},
    };
    struct http_target target = {.host = ""};
    (void) http_url_read_near(url, &target);
    return FAIL_CAUSE(rows[result->outcome].cause, "token '%s': %s at %s (%s): %s: %s; %s",
                      http->token, http->service, target.host, http->endpoint_key,
                      cause_name(rows[result->outcome].cause), result->detail,
                      rows[result->outcome].remedy);
}

CK_RV source_http_send(const struct source_http *http, const struct source_call *call,
                       const struct http_request *request, const char *path,
                       struct http_result *ret_result)
{
    struct http_request own = *request;
    char url[URL_LEN_MAX];
    struct http_result result = {.outcome = HTTP_OK};
    if (own.url == NULL) {
        int len = snprintf(url, sizeof url, "%s%s", http->endpoint, path);
        if (len < 0 || (size_t) len >= sizeof url)
            return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                              "token '%s': a URL of %s would be longer than %d bytes; shorten its "
                              "names",
                              http->token, http->service, URL_LEN_MAX);
        own.url = url;
    }
    own.deadline_ms = call->deadline_ms;
    own.cancelled = call->cancelled;
    TRY(http_send(http->client, &own, &result));
    if (result.outcome != HTTP_OK)
        return fail_transport(http, own.url, &result);
    *ret_result = result;
    return CKR_OK;
}

char *source_http_escape(const char *text)
{
    size_t len = strlen(text);
    char *escaped = mem_calloc(len + 1, PERCENT_LEN);
    if (escaped == NULL)
        return NULL;
    char *at = escaped;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char) text[i];
        /* RFC 3986, 2.3: the unreserved characters. */
        if ((c < 0x80 && isalnum(c)) || strchr("-._~", c) != NULL)
            *at++ = (char) c;
        else
            at += snprintf(at, PERCENT_LEN + 1, "%%%02X", c);
    }
    return escaped;
}

struct status_row {
    long first, last;
    enum indexkey_cause cause;
    const char *remedy;
};

static const struct status_row status_rows[] = {
    {401, 401, INDEXKEY_CAUSE_CREDENTIAL, "check the credential"},
    {403, 403, INDEXKEY_CAUSE_DENIED, "give this identity the permission"},
    {404, 404, INDEXKEY_CAUSE_CONFIG, "check the names in this token's section"},
    {408, 408, INDEXKEY_CAUSE_TIMEOUT, "check the service's load"},
    {429, 429, INDEXKEY_CAUSE_THROTTLED, "try later, or ask for a higher limit"},
    {LONG_MIN, LONG_MAX, INDEXKEY_CAUSE_SERVER, "look into the service's own log"},
};

CK_RV source_http_fail_status(const struct source_http *http, const struct http_result *result,
                              const char *what)
{
    const struct status_row *row = status_rows;
    while (result->status < row->first || result->status > row->last)
        row++;
    return FAIL_CAUSE(row->cause,
                      "token '%s': cannot %s: %s (%s) answered with status %ld%s%s: %s; %s",
                      http->token, what, http->service, http->endpoint, result->status,
                      result->request_id[0] != '\0' ? ", request " : "", result->request_id,
                      cause_name(row->cause), row->remedy);
}

CK_RV source_http_fail_reply(const struct source_http *http, const struct http_result *result,
                             const char *fault)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER,
                      "token '%s': the answer of %s (%s%s%s) makes no sense: %s; check that this "
                      "is the service's address",
                      http->token, http->service, http->endpoint,
                      result->request_id[0] != '\0' ? ", request " : "", result->request_id, fault);
}

int64_t source_http_clock_ahead_s(const struct http_result *result)
{
    return result->date_s == 0 ? 0 : result->date_s - clock_utc_s();
}
