/* The HTTP client against a service that fails in every way: what it sends, what each failure is
 * called, and what it refuses. */
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tests/unit/http_fixture.h"
#include "tokens/http_url.h"

/* What the service heard of the only request. */
static const char *heard(struct fake_service *service)
{
    fake_service_command(service, "{\"do\": \"requests\"}");
    return service->answer;
}

START_TEST(posts_headers_and_body)
{
    const struct http_header headers[] = {
        {"X-Vault-Token", view_text("s.secret")},
        {"Content-Type", view_text("application/json")},
    };
    const char *url = fake_service_url(&http_fixture_tls, "/v1/transit?x=1");
    struct http_request request = http_fixture_request("POST", url, DEADLINE_MS);
    request.headers = headers;
    request.header_count = COUNT_OF(headers);
    request.body = view_text("{\"a\":\"b\"}");
    struct http_result result = http_fixture_send(http_fixture_client, &request);
    http_fixture_expect(&result, HTTP_OK);
    ck_assert_int_eq(result.status, 200);
    static const char expected[] =
        "{\"method\": \"POST\", \"path\": \"/v1/transit\", \"length\": 9}";
    ck_assert_uint_eq(result.body.len, strlen(expected));
    ck_assert_mem_eq(result.body.bytes, expected, result.body.len);
    ck_assert_int_lt(llabs(result.date_s - clock_utc_s()), 5);
    ck_assert_uint_eq(result.attempts, 1);
    ck_assert_str_eq(result.detail, "");
    const char *seen = heard(&http_fixture_tls);
    ck_assert_ptr_nonnull(strstr(seen, "\"x-vault-token\": \"s.secret\""));
    ck_assert_ptr_nonnull(strstr(seen, "\"content-type\": \"application/json\""));
    ck_assert_ptr_nonnull(strstr(seen, "\"user-agent\": \"indexkey/0.1\""));
    ck_assert_ptr_nonnull(strstr(seen, "\"body\": \"{\\\"a\\\":\\\"b\\\"}\""));
    ck_assert_ptr_null(strstr(seen, "expect"));
    ck_assert_ptr_null(strstr(seen, "accept-encoding"));
    ck_assert_str_eq(fixture_log(), "");
    http_result_clear(&result);
}
END_TEST

static const char *const methods[] = {"GET", "POST", "PUT", "LIST", "DELETE"};

START_TEST(sends_every_method)
{
    char expected[100];
    const char *url = fake_service_url(&http_fixture_plain, "/");
    struct http_request request = http_fixture_request(methods[_i], url, DEADLINE_MS);
    struct http_result result = http_fixture_send(http_fixture_client, &request);
    http_fixture_expect(&result, HTTP_OK);
    (void) snprintf(expected, sizeof expected, "{\"method\": \"%s\", ", methods[_i]);
    ck_assert_mem_eq(result.body.bytes, expected, strlen(expected));
    http_result_clear(&result);
}
END_TEST

/* More than libcurl puts into one write, over a kept connection too. */
START_TEST(sends_long_bodies)
{
    static char body[300000];
    char expected[100];
    memset(body, 'b', sizeof body);
    for (size_t i = 0; i < 2; i++) {
        const char *url = fake_service_url(&http_fixture_tls, "/");
        struct http_request request = http_fixture_request("POST", url, DEADLINE_MS);
        request.body = (struct view){(const unsigned char *) body, sizeof body};
        struct http_result result = http_fixture_send(http_fixture_client, &request);
        http_fixture_expect(&result, HTTP_OK);
        (void) snprintf(expected, sizeof expected, "\"length\": %zu}", sizeof body);
        ck_assert_mem_eq(result.body.bytes + result.body.len - strlen(expected), expected,
                         strlen(expected));
        http_result_clear(&result);
    }
    for (size_t i = 0; i < sizeof body; i++)
        ck_assert_int_eq(body[i], 'b');
}
END_TEST

/* SIGPIPE would end the host. */
START_TEST(a_broken_pipe_is_no_signal)
{
    static char body[300000];
    struct fake_service *service = _i == 0 ? &http_fixture_tls : &http_fixture_plain;
    ck_assert(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    fake_service_fault(service, "\"kind\": \"connection_reset\", \"times\": -1");
    struct http_request request =
        http_fixture_request("POST", fake_service_url(service, "/"), DEADLINE_MS);
    request.body = (struct view){(const unsigned char *) body, sizeof body};
    struct http_result result = http_fixture_send(http_fixture_client, &request);
    http_fixture_expect(&result, HTTP_CONNECT);
    ck_assert_uint_eq(result.attempts, 3);
}
END_TEST

/* https to a port that has no TLS. */
START_TEST(a_plain_service_is_refused)
{
    http_fixture_plain.is_tls = true;
    const char *url = fake_service_url(&http_fixture_plain, "/");
    struct http_request request = http_fixture_request("GET", url, DEADLINE_MS);
    struct http_result result = http_fixture_send(http_fixture_client, &request);
    http_fixture_expect(&result, HTTP_TLS);
    ck_assert_int_eq(fake_service_count(&http_fixture_plain, "requests"), 0);
}
END_TEST

START_TEST(memory_may_be_short)
{
    const struct http_header header = {"X-A", view_text("a")};
    size_t in_use = secrets_in_use();
    CK_RV rv = CKR_HOST_MEMORY;
    unsigned long nth = 0;
    while (rv != CKR_OK) {
        struct http_request request =
            http_fixture_request("POST", fake_service_url(&http_fixture_tls, "/"), DEADLINE_MS);
        struct http_result result = {.attempts = 77};
        request.headers = &header;
        request.header_count = 1;
        mem_fail_at(++nth, false);
        rv = http_send(http_fixture_client, &request, &result);
        mem_fail_at(0, false);
        ck_assert(rv == CKR_OK || (rv == CKR_HOST_MEMORY && result.attempts == 77));
        http_result_clear(&result);
        ck_assert_uint_eq(secrets_in_use(), in_use);
    }
    ck_assert_uint_ge(nth, 3);
}
END_TEST

/* As many as the deadline has room for. */
#define SEVERAL UINT_MAX

struct fault_row {
    const char *fault;
    enum http_outcome outcome;
    long status;
    unsigned attempts; /* when the fault stays */
    const char *detail;
};

#define STATUS(code) "\"kind\": \"status\", \"status\": " #code
static const struct fault_row faults[] = {
    {STATUS(500), HTTP_OK, 500, 3, ""},
    {STATUS(502), HTTP_OK, 502, 3, ""},
    {STATUS(503), HTTP_OK, 503, 3, ""},
    {STATUS(504), HTTP_OK, 504, 3, ""},
    {STATUS(408), HTTP_OK, 408, 3, ""},
    {STATUS(429), HTTP_OK, 429, SEVERAL, ""},
    {STATUS(400), HTTP_OK, 400, 1, ""},
    {STATUS(401), HTTP_OK, 401, 1, ""},
    {STATUS(403), HTTP_OK, 403, 1, ""},
    {STATUS(404), HTTP_OK, 404, 1, ""},
    {STATUS(501), HTTP_OK, 501, 1, ""},
    {STATUS(204), HTTP_OK, 204, 1, ""},
    {"\"kind\": \"truncate\"", HTTP_CONNECT, 0, 3, "transfer closed"},
    {"\"kind\": \"truncate\", \"at\": \"headers\"", HTTP_CONNECT, 0, 3, ""},
    {"\"kind\": \"length\", \"delta\": 10", HTTP_CONNECT, 0, 3, "transfer closed"},
    {"\"kind\": \"length\", \"delta\": -3", HTTP_OK, 200, 1, ""},
    {"\"kind\": \"close\"", HTTP_CONNECT, 0, 3, ""},
    {"\"kind\": \"reset\"", HTTP_CONNECT, 0, 3, ""},
    {"\"kind\": \"connection_reset\"", HTTP_CONNECT, 0, 3, ""},
    {"\"kind\": \"endless\"", HTTP_TOO_BIG, 0, 1, "longer than 65536 bytes"},
    {"\"kind\": \"long_header\"", HTTP_TOO_BIG, 0, 1, "longer than"},
    {"\"kind\": \"garbage\"", HTTP_PROTOCOL, 0, 1, "HTTP/0.9"},
    {"\"kind\": \"redirect\", \"location\": \"https://Evil.example/x\"", HTTP_REDIRECT, 302, 1,
     "it redirects (status 302) to evil.example"},
    {"\"kind\": \"redirect\", \"status\": 307, \"location\": \"http://169.254.169.254/\"",
     HTTP_REDIRECT, 307, 1, "it redirects (status 307)"},
    {"\"kind\": \"redirect\", \"status\": 301, \"location\": \"/v2\"", HTTP_REDIRECT, 301, 1,
     "it redirects (status 301) to 127.0.0.1"},
};

/* Once: healed by a retry where there is one. Always: called by its name in the end. */
START_TEST(calls_each_fault_by_its_name)
{
    const struct fault_row *row = &faults[_i];
    fake_service_fault(&http_fixture_tls, "%s", row->fault);
    struct http_result result = http_fixture_get("/", DEADLINE_MS);
    http_fixture_expect(&result, row->attempts > 1 ? HTTP_OK : row->outcome);
    ck_assert_int_eq(result.status, (row->attempts > 1 ? 200 : row->status));
    ck_assert_uint_eq(result.attempts, (row->attempts > 1 ? 2 : 1));
    http_result_clear(&result);

    fake_service_clear(&http_fixture_tls);
    http_fixture_renew_client();
    fake_service_fault(&http_fixture_tls, "%s, \"times\": -1", row->fault);
    result = http_fixture_get("/", row->attempts == SEVERAL ? DEADLINE_MS : 4 * DEADLINE_MS);
    http_fixture_expect(&result, row->outcome);
    ck_assert_int_eq(result.status, row->status);
    if (row->attempts == SEVERAL)
        ck_assert_uint_gt(result.attempts, 3);
    else
        ck_assert_uint_eq(result.attempts, row->attempts);
    ck_assert_msg(strstr(result.detail, row->detail) != NULL, "%s", result.detail);
    ck_assert_str_eq(fixture_log(), "");
    http_result_clear(&result);
}
END_TEST

static const struct {
    const char *name;
    const char *version;
    const char *detail;
} bad_tls[] = {
    {"wrong-name", "", "127.0.0.1"},
    {"expired", "", "expired"},
    {"self-signed", "", "self-signed"},
    {"untrusted", "", "certificate"},
    {"server", "1.1", ""},
};

START_TEST(refuses_bad_tls_once)
{
    fake_service_fault(&http_fixture_tls,
                       "\"kind\": \"tls\", \"cert\": \"%s/%s.pem\", \"key\": \"%s/%s.key\", "
                       "\"version\": \"%s\", \"times\": -1",
                       fake_service_certificates(), bad_tls[_i].name, fake_service_certificates(),
                       bad_tls[_i].name, bad_tls[_i].version);
    struct http_result result = http_fixture_get("/", DEADLINE_MS);
    http_fixture_expect(&result, HTTP_TLS);
    ck_assert_msg(strstr(result.detail, bad_tls[_i].detail) != NULL, "%s", result.detail);
    ck_assert_uint_eq(result.attempts, 1);
    ck_assert_int_eq(fake_service_count(&http_fixture_tls, "connections"), 1);
    ck_assert_int_eq(fake_service_count(&http_fixture_tls, "requests"), 0);
    http_result_clear(&result);
}
END_TEST

static const char *const bad_ca[] = {"other-ca.pem", "server.key", "absent.pem"};

START_TEST(trusts_its_authority_alone)
{
    struct http_options options = {.ca_file = fake_service_certificate(bad_ca[_i])};
    struct http_client *client = http_fixture_new_client(&options);
    const char *url = fake_service_url(&http_fixture_tls, "/");
    struct http_request request = http_fixture_request("GET", url, DEADLINE_MS);
    struct http_result result = http_fixture_send(client, &request);
    http_fixture_expect(&result, HTTP_TLS);
    ck_assert_uint_eq(result.attempts, 1);
    http_result_clear(&result);
    http_client_free(&client);
    ck_assert_ptr_null(client);
}
END_TEST

/* The system's authorities do not know the service's. */
START_TEST(trusts_the_system_without_ca_file)
{
    struct http_client *client = http_fixture_new_client(&(struct http_options){.direct = true});
    const char *url = fake_service_url(&http_fixture_tls, "/");
    struct http_request request = http_fixture_request("GET", url, DEADLINE_MS);
    struct http_result result = http_fixture_send(client, &request);
    http_fixture_expect(&result, HTTP_TLS);
    http_result_clear(&result);
    http_client_free(&client);
}
END_TEST

static const struct {
    const char *cert;
    enum http_outcome outcome;
} client_certificates[] = {
    {"client", HTTP_OK},
    {"other-client", HTTP_TLS},
    {NULL, HTTP_TLS},
    {"absent", HTTP_TLS},
};

START_TEST(shows_its_certificate)
{
    char cert[300];
    char key[300];
    struct fake_service service;
    struct fake_service_options wants = {.certificates = fake_service_certificates(),
                                         .wants_client = true};
    fake_service_start(&service, &wants);
    const char *name = client_certificates[_i].cert;
    (void) snprintf(cert, sizeof cert, "%s/%s.pem", fake_service_certificates(), name);
    (void) snprintf(key, sizeof key, "%s/%s.key", fake_service_certificates(), name);
    struct http_options options = {.ca_file = fake_service_certificate("ca.pem"),
                                   .client_cert = name == NULL ? NULL : cert,
                                   .client_key = name == NULL ? NULL : key};
    struct http_client *client = http_fixture_new_client(&options);
    const char *url = fake_service_url(&service, "/");
    struct http_request request = http_fixture_request("POST", url, DEADLINE_MS);
    struct http_result result = http_fixture_send(client, &request);
    http_fixture_expect(&result, client_certificates[_i].outcome);
    ck_assert_uint_eq(result.attempts, 1);
    http_result_clear(&result);
    http_client_free(&client);
    fake_service_stop(&service);
}
END_TEST

static const struct {
    const char *url;
    const char *fault; /* NULL: taken */
} urls[] = {
    {"https://vault.example:8200/v1", NULL},
    {"https://[2001:db8::1]:8200/", NULL},
    {"HTTPS://VAULT.example", NULL},
    {"http://127.0.0.1:8200", NULL},
    {"http://127.255.0.9/", NULL},
    {"http://localhost:8200", NULL},
    {"http://LOCALHOST", NULL},
    {"http://[::1]:8200", NULL},
    {"http://vault.example:8200", "https"},
    {"http://10.0.0.1", "https"},
    {"http://128.0.0.1", "https"},
    {"http://127.0.0.1.example", "https"},
    {"http://localhost.example", "https"},
    {"http://[::2]", "https"},
    {"http://0.0.0.0", "https"},
    {"http://169.254.169.254/", "https"},
    {"ftp://127.0.0.1/", "a URL"},
    {"file:///etc/passwd", "a URL"},
    {"https://user@vault.example", "a URL"},
    {"https://user:pw@vault.example", "a URL"},
    {"http://127.0.0.1@vault.example", "a URL"},
    {"https://vault.example/#x", "a URL"},
    {"https://vault example/", "a URL"},
    {"https://", "a URL"},
    {"vault.example", "a URL"},
    {"", "a URL"},
    {"https://vault.example:99999/", "a URL"},
    {"https://vault.example/a\nb", "a URL"},
};

START_TEST(judges_urls)
{
    const char *fault = http_url_fault(urls[_i].url);
    if (urls[_i].fault == NULL) {
        ck_assert_msg(fault == NULL, "%s: %s", urls[_i].url, fault);
        return;
    }
    ck_assert_msg(fault != NULL, "%s", urls[_i].url);
    ck_assert_msg(strncmp(fault, urls[_i].fault, strlen(urls[_i].fault)) == 0, "%s", fault);
    struct http_request request = http_fixture_request("GET", urls[_i].url, DEADLINE_MS);
    struct http_result result = http_fixture_send(http_fixture_client, &request);
    http_fixture_expect(&result, HTTP_PROTOCOL);
    ck_assert_uint_eq(result.attempts, 0);
}
END_TEST

/* Without TLS, for who asks so; by all others they are refused as any plain http is. */
START_TEST(plain_http_reaches_metadata_services)
{
    static const char *const near[] = {"http://metadata.google.internal/x", "http://169.254.1.2",
                                       "http://[fe80::1]", "http://127.0.0.1:1"};
    static const char *const far[] = {"http://metadata.google.internal.example", "http://10.0.0.1",
                                      "http://example", "ftp://169.254.1.2",
                                      "http://u@169.254.1.2"};
    struct http_target target;
    for (size_t i = 0; i < COUNT_OF(near); i++) {
        ck_assert_ptr_null(http_url_read_near(near[i], &target));
        ck_assert(target.is_direct);
        ck_assert(!target.is_tls);
    }
    for (size_t i = 0; i < COUNT_OF(far); i++)
        ck_assert_ptr_nonnull(http_url_read_near(far[i], &target));
    ck_assert_ptr_nonnull(http_url_read("http://metadata.google.internal/x", &target));
    struct http_request request = http_fixture_request("GET", "http://169.254.1.2", 300);
    struct http_result result = http_fixture_send(http_fixture_client, &request);
    http_fixture_expect(&result, HTTP_PROTOCOL);
    request.plain_near = true;
    result = http_fixture_send(http_fixture_client, &request);
    ck_assert_int_ne((int) result.outcome, HTTP_PROTOCOL);
    http_result_clear(&result);
}
END_TEST

START_TEST(googles_metadata_server_is_known_by_its_header)
{
    static const struct {
        const char *header;
        bool known;
    } rows[] = {{"{}", false},
                {"{\"Metadata-Flavor\": \"Google\"}", true},
                {"{\"metadata-flavor\": \"Google\"}", true},
                {"{\"Metadata-Flavor\": \"google\"}", false},
                {"{\"X-Metadata-Flavor\": \"Google\"}", false}};
    fake_service_fault(&http_fixture_tls, "\"kind\": \"status\", \"status\": 200, \"headers\": %s",
                       rows[_i].header);
    struct http_result result = http_fixture_get("/", DEADLINE_MS);
    http_fixture_expect(&result, HTTP_OK);
    ck_assert(result.is_google_metadata == rows[_i].known);
    http_result_clear(&result);
}
END_TEST

/* Port 1 answers nobody: with a proxy there, what passes by it arrives. */
START_TEST(loopback_knows_no_proxy)
{
    static const char *const variables[] = {"https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy",
                                            "ALL_PROXY"};
    for (size_t i = 0; i < COUNT_OF(variables); i++)
        ck_assert_int_eq(setenv(variables[i], "http://127.0.0.1:1", 1), 0);
    struct http_result result = http_fixture_get("/", DEADLINE_MS);
    http_fixture_expect(&result, HTTP_OK);
    http_result_clear(&result);
    const char *url = fake_service_url(&http_fixture_plain, "/");
    struct http_request request = http_fixture_request("GET", url, DEADLINE_MS);
    result = http_fixture_send(http_fixture_client, &request);
    http_fixture_expect(&result, HTTP_OK);
    http_result_clear(&result);
}
END_TEST

/* A host that is not loopback goes to the proxy, which is a service that has no CONNECT; one that
 * no_proxy names, and a direct client, do not. */
START_TEST(others_use_the_proxy_of_the_environment)
{
    static const struct {
        const char *no_proxy;
        bool direct;
        int connections; /* of the proxy */
    } rows[] = {{"", false, 1}, {"vault.absent", false, 0}, {"", true, 0}};
    char proxy[100];
    (void) snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", http_fixture_plain.port);
    ck_assert_int_eq(setenv("https_proxy", proxy, 1), 0);
    ck_assert_int_eq(setenv("no_proxy", rows[_i].no_proxy, 1), 0);
    fake_service_fault(&http_fixture_plain, "%s, \"times\": -1", STATUS(403));
    struct http_options options = {.direct = rows[_i].direct};
    struct http_client *client = http_fixture_new_client(&options);
    struct http_request request = http_fixture_request("GET", "https://vault.absent/", DEADLINE_MS);
    struct http_result result = http_fixture_send(client, &request);
    ck_assert_int_eq(fake_service_count(&http_fixture_plain, "connections") > 0,
                     rows[_i].connections > 0);
    http_fixture_expect(&result, rows[_i].connections > 0 ? HTTP_CONNECT : HTTP_DNS);
    http_client_free(&client);
}
END_TEST

START_TEST(keeps_what_log_lines_need)
{
    fake_service_command(&http_fixture_tls, "{\"do\": \"clock\", \"ahead\": 3600}");
    fake_service_fault(&http_fixture_tls,
                       STATUS(400) ", \"headers\": {\"x-AMZN-RequestId\": \"  7f1b-22 \"}, "
                                   "\"body\": {\"__type\": \"DisabledException\"}");
    struct http_result result = http_fixture_get("/", DEADLINE_MS);
    ck_assert_int_eq(result.status, 400);
    ck_assert_str_eq(result.request_id, "7f1b-22");
    ck_assert_int_lt(llabs(result.date_s - clock_utc_s() - 3600), 5);
    ck_assert_mem_eq(result.body.bytes, "{\"__type\"", 9);
    http_result_clear(&result);
    fake_service_command(&http_fixture_tls, "{\"do\": \"clock\", \"ahead\": 0}");
    fake_service_fault(&http_fixture_tls,
                       STATUS(200) ", \"headers\": {\"X-Request-Id\": \"two words\"}");
    result = http_fixture_get("/", DEADLINE_MS);
    ck_assert_str_eq(result.request_id, "");
    http_result_clear(&result);
}
END_TEST

static enum http_verdict throttling_is_400(long status, struct view body)
{
    static const char sign[] = "Throttling";
    bool says = memmem(body.bytes, body.len, sign, strlen(sign)) != NULL;
    return status == 400 && says ? HTTP_THROTTLED : http_default_verdict(status, body);
}

START_TEST(a_source_knows_its_own_throttling)
{
    fake_service_fault(&http_fixture_tls, STATUS(400) ", \"body\": \"ThrottlingException\"");
    const char *url = fake_service_url(&http_fixture_tls, "/");
    struct http_request request = http_fixture_request("POST", url, DEADLINE_MS);
    request.verdict = throttling_is_400;
    struct http_result result = http_fixture_send(http_fixture_client, &request);
    ck_assert_int_eq(result.status, 200);
    ck_assert_uint_eq(result.attempts, 2);
    http_result_clear(&result);
}
END_TEST

static const struct http_header bad_headers[] = {
    {"X-A", {(const unsigned char *) "a\r\nX-B: b", 9}},
    {"X-A", {(const unsigned char *) "a\nb", 3}},
    {"X-A", {(const unsigned char *) "a\0b", 3}},
    {"X-A", {(const unsigned char *) "", 0}},
    {"X A", {(const unsigned char *) "a", 1}},
    {"X-A:", {(const unsigned char *) "a", 1}},
    {"", {(const unsigned char *) "a", 1}},
};

START_TEST(refuses_headers_that_make_others)
{
    const char *url = fake_service_url(&http_fixture_tls, "/");
    struct http_request request = http_fixture_request("GET", url, DEADLINE_MS);
    struct http_result result = {.attempts = 77};
    request.headers = &bad_headers[_i];
    request.header_count = 1;
    ck_assert_uint_eq(http_send(http_fixture_client, &request, &result), CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(result.attempts, 77);
    ck_assert_int_eq(fake_service_count(&http_fixture_tls, "requests"), 0);
}
END_TEST

static const struct {
    const char *url;
    const char *authority;
} authorities[] = {
    {"https://KMS.example", "kms.example"},
    {"https://kms.example:443/", "kms.example"},
    {"https://kms.example:8443/", "kms.example:8443"},
    {"http://127.0.0.1:80", "127.0.0.1"},
    {"http://127.0.0.1:443", "127.0.0.1:443"},
    {"https://[::1]:8443", "[::1]:8443"},
    {"https://[::1]", "[::1]"},
};

START_TEST(an_authority_is_that_of_the_host_header)
{
    struct http_target target;
    ck_assert_ptr_null(http_url_read(authorities[_i].url, &target));
    ck_assert_str_eq(target.authority, authorities[_i].authority);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("http");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, http_fixture_start, http_fixture_stop);
    tcase_add_checked_fixture(cases, http_fixture_setup, http_fixture_teardown);
    tcase_add_test(cases, posts_headers_and_body);
    tcase_add_loop_test(cases, an_authority_is_that_of_the_host_header, 0, COUNT_OF(authorities));
    tcase_add_loop_test(cases, sends_every_method, 0, COUNT_OF(methods));
    tcase_add_test(cases, sends_long_bodies);
    tcase_add_loop_test(cases, a_broken_pipe_is_no_signal, 0, 2);
    tcase_add_test(cases, a_plain_service_is_refused);
    tcase_add_test(cases, memory_may_be_short);
    tcase_add_loop_test(cases, calls_each_fault_by_its_name, 0, COUNT_OF(faults));
    tcase_add_loop_test(cases, refuses_bad_tls_once, 0, COUNT_OF(bad_tls));
    tcase_add_loop_test(cases, trusts_its_authority_alone, 0, COUNT_OF(bad_ca));
    tcase_add_test(cases, trusts_the_system_without_ca_file);
    tcase_add_loop_test(cases, shows_its_certificate, 0, COUNT_OF(client_certificates));
    tcase_add_loop_test(cases, judges_urls, 0, COUNT_OF(urls));
    tcase_add_test(cases, plain_http_reaches_metadata_services);
    tcase_add_loop_test(cases, googles_metadata_server_is_known_by_its_header, 0, 5);
    tcase_add_test(cases, loopback_knows_no_proxy);
    tcase_add_loop_test(cases, others_use_the_proxy_of_the_environment, 0, 3);
    tcase_add_test(cases, keeps_what_log_lines_need);
    tcase_add_test(cases, a_source_knows_its_own_throttling);
    tcase_add_loop_test(cases, refuses_headers_that_make_others, 0, COUNT_OF(bad_headers));
    return fixture_run("http", cases);
}
