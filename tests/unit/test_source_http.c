/* What sources over HTTP share: their configuration, and the cause and line of every failure. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cause.h"
#include "tests/unit/http_fixture.h"
#include "tokens/source_http.h"

static const struct conf_key token_keys[] = {{.name = NULL}};
static const struct conf_key remote_keys[] = {
    {.name = "remote_addr", .type = CONF_STRING, .check = source_http_check_url},
    SOURCE_HTTP_KEYS,
    {.name = NULL},
};

static const struct conf_key *source_keys(const char *source)
{
    return strcmp(source, "remote") == 0 ? remote_keys : NULL;
}

static const struct conf_schema schema = {
    .module_keys = token_keys,
    .token_keys = token_keys,
    .source_keys = source_keys,
    .source_names = "remote",
};

static const struct source_http_options remote = {.service = "Remote KMS",
                                                  .endpoint_key = "remote_addr"};
static struct conf *conf;
static struct source_http http;

/* The token `t` with these lines in its section. */
static CK_RV open_with(const char *lines, const struct source_http_options *options)
{
    char path[] = "/tmp/indexkey-remote-XXXXXX";
    size_t count;
    int fd = mkostemp(path, O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(dprintf(fd, "[token t]\nsource = remote\n%s\n", lines), 0);
    ck_assert_int_eq(close(fd), 0);
    CK_RV rv = conf_load(path, &schema, &conf);
    (void) unlink(path);
    ck_assert_uint_eq(rv, CKR_OK);
    const struct conf_section *tokens = conf_tokens(conf, &count);
    ck_assert_uint_eq(count, 1);
    return tokens[0].bad ? CKR_ARGUMENTS_BAD : source_http_open(options, &tokens[0], &http);
}

static void open_on(const char *base)
{
    char lines[600];
    (void) snprintf(lines, sizeof lines, "remote_addr = %s\nca_file = %s\n", base,
                    fake_service_certificate("ca.pem"));
    ck_assert_uint_eq(open_with(lines, &remote), CKR_OK);
}

static CK_RV send_to(const char *path, int64_t deadline_ms, struct http_result *ret_result)
{
    struct source_call call = {.deadline_ms = http_fixture_now_ms() + deadline_ms,
                               .cancelled = &http_fixture_cancelled};
    cause_clear();
    return source_http_send(&http, &call, &(struct http_request){.method = "POST"}, path,
                            ret_result);
}

static void setup(void)
{
    http_fixture_setup();
    conf = NULL;
    http = (struct source_http){.token = NULL};
}

static void teardown(void)
{
    source_http_close(&http);
    conf_free(&conf);
    http_fixture_teardown();
}

static void assert_logged(const char *part)
{
    ck_assert_msg(strstr(fixture_log(), part) != NULL, "no \"%s\" in: %s", part, fixture_log());
    ck_assert_ptr_eq(strchr(fixture_log(), '\n'), strrchr(fixture_log(), '\n'));
}

START_TEST(sends_to_its_endpoint)
{
    struct http_result result;
    open_on(fake_service_url(&http_fixture_tls, "/base//"));
    ck_assert_uint_eq(send_to("/v1/x?y", DEADLINE_MS, &result), CKR_OK);
    ck_assert_int_eq(result.status, 200);
    ck_assert_ptr_nonnull(memmem(result.body.bytes, result.body.len, "\"/base/v1/x\"", 12));
    ck_assert_int_le(llabs(source_http_clock_ahead_s(&result)), 2);
    http_result_clear(&result);
    char longest[3000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    ck_assert_uint_eq(send_to(longest, DEADLINE_MS, &result), CKR_FUNCTION_FAILED);
    ck_assert_int_eq((int) cause_last(), INDEXKEY_CAUSE_CONFIG);
    assert_logged("shorten its names");
}
END_TEST

static const struct {
    const char *fault;
    const char *host;
    enum indexkey_cause cause;
    CK_RV rv;
    const char *logged;
} failures[] = {
    {"\"kind\": \"hang\"", "127.0.0.1", INDEXKEY_CAUSE_TIMEOUT, CKR_DEVICE_ERROR, "raise deadline"},
    {"\"kind\": \"hang\"", "kms.absent", INDEXKEY_CAUSE_DNS, CKR_DEVICE_ERROR, "resolver"},
    {"\"kind\": \"hang\"", "kms.hang", INDEXKEY_CAUSE_DNS, CKR_DEVICE_ERROR, "resolved in time"},
    {"\"kind\": \"hang\"", "kms.here", INDEXKEY_CAUSE_TLS, CKR_DEVICE_ERROR, "ca_file"},
    {"\"kind\": \"close\"", "127.0.0.1", INDEXKEY_CAUSE_UNREACHABLE, CKR_DEVICE_ERROR, "it runs"},
    {"\"kind\": \"endless\"", "127.0.0.1", INDEXKEY_CAUSE_SERVER, CKR_DEVICE_ERROR, "address"},
    {"\"kind\": \"garbage\"", "127.0.0.1", INDEXKEY_CAUSE_SERVER, CKR_DEVICE_ERROR, "address"},
    {"\"kind\": \"redirect\", \"location\": \"https://other.example/\"", "127.0.0.1",
     INDEXKEY_CAUSE_SERVER, CKR_DEVICE_ERROR, "to other.example; redirects are not followed"},
};

START_TEST(each_failure_has_its_cause)
{
    char logged[100];
    struct http_result result = {.attempts = 77};
    fake_service_fault(&http_fixture_tls, "%s, \"times\": -1", failures[_i].fault);
    open_on(fake_service_url_at(&http_fixture_tls, failures[_i].host, ""));
    ck_assert_uint_eq(send_to("/", 700, &result), failures[_i].rv);
    ck_assert_uint_eq(result.attempts, 77);
    ck_assert_int_eq((int) cause_last(), (int) failures[_i].cause);
    (void) snprintf(logged, sizeof logged,
                    "token 't': Remote KMS at %s (remote_addr): %s: ", failures[_i].host,
                    cause_name(failures[_i].cause));
    assert_logged(logged);
    assert_logged(failures[_i].logged);
}
END_TEST

START_TEST(a_refused_connection_is_unreachable)
{
    struct http_result result;
    open_on("https://127.0.0.1:1");
    ck_assert_uint_eq(send_to("/", DEADLINE_MS, &result), CKR_DEVICE_ERROR);
    ck_assert_int_eq((int) cause_last(), INDEXKEY_CAUSE_UNREACHABLE);
}
END_TEST

START_TEST(a_cancelled_call_says_so)
{
    struct http_result result;
    open_on("https://127.0.0.1:1");
    atomic_store(&http_fixture_cancelled, true);
    ck_assert_uint_eq(send_to("/", DEADLINE_MS, &result), CKR_DEVICE_ERROR);
    ck_assert_int_eq((int) cause_last(), INDEXKEY_CAUSE_CANCELLED);
}
END_TEST

static const struct {
    long status;
    enum indexkey_cause cause;
} statuses[] = {
    {400, INDEXKEY_CAUSE_SERVER}, {401, INDEXKEY_CAUSE_CREDENTIAL}, {403, INDEXKEY_CAUSE_DENIED},
    {404, INDEXKEY_CAUSE_CONFIG}, {408, INDEXKEY_CAUSE_TIMEOUT},    {429, INDEXKEY_CAUSE_THROTTLED},
    {500, INDEXKEY_CAUSE_SERVER}, {503, INDEXKEY_CAUSE_SERVER},     {999999, INDEXKEY_CAUSE_SERVER},
    {-1, INDEXKEY_CAUSE_SERVER},
};

START_TEST(each_status_has_its_cause)
{
    char logged[200];
    struct http_result result = {.status = statuses[_i].status, .request_id = "id-7"};
    open_on("https://127.0.0.1:1");
    cause_clear();
    ck_assert_uint_eq(source_http_fail_status(&http, &result, "unwrap the data key"),
                      cause_rv(statuses[_i].cause));
    ck_assert_int_eq((int) cause_last(), (int) statuses[_i].cause);
    (void) snprintf(logged, sizeof logged,
                    "token 't': cannot unwrap the data key: Remote KMS (https://127.0.0.1:1) "
                    "answered with status %ld, request id-7: %s; ",
                    statuses[_i].status, cause_name(statuses[_i].cause));
    assert_logged(logged);
}
END_TEST

START_TEST(a_senseless_reply_is_the_servers)
{
    struct http_result result = {.status = 200};
    open_on("https://127.0.0.1:1");
    ck_assert_uint_eq(source_http_fail_reply(&http, &result, "it has no plaintext"),
                      CKR_DEVICE_ERROR);
    ck_assert_int_eq((int) cause_last(), INDEXKEY_CAUSE_SERVER);
    assert_logged("the answer of Remote KMS (https://127.0.0.1:1) makes no sense: it has no "
                  "plaintext; ");
}
END_TEST

static const struct {
    const char *lines;
    const char *logged;
} bad_sections[] = {
    {"", "Remote KMS needs remote_addr = https://HOST"},
    {"remote_addr = http://kms.example", "must be https, since plain http"},
    {"remote_addr = kms.example", "must be a URL"},
    {"remote_addr = https://kms.example\nca_file = ca.pem", "absolute"},
    {"remote_addr = https://kms.example\nclient_key = /k.pem", "without client_cert"},
};

START_TEST(refuses_a_bad_section)
{
    ck_assert_uint_ne(open_with(bad_sections[_i].lines, &remote), CKR_OK);
    ck_assert_msg(strstr(fixture_log(), bad_sections[_i].logged) != NULL, "%s", fixture_log());
}
END_TEST

START_TEST(an_endpoint_may_have_a_default)
{
    struct source_http_options options = remote;
    options.endpoint_default = "https://kms.eu-west-1.amazonaws.com";
    ck_assert_uint_eq(open_with("", &options), CKR_OK);
    ck_assert_str_eq(http.endpoint, "https://kms.eu-west-1.amazonaws.com");
    ck_assert_str_eq(fixture_log(), "");
}
END_TEST

START_TEST(memory_may_be_short)
{
    char lines[600];
    (void) snprintf(lines, sizeof lines, "remote_addr = https://127.0.0.1\nca_file = %s\n",
                    fake_service_certificate("ca.pem"));
    ck_assert_uint_eq(open_with(lines, &remote), CKR_OK);
    size_t count;
    const struct conf_section *tokens = conf_tokens(conf, &count);
    source_http_close(&http);
    long live = mem_live();
    CK_RV rv = CKR_HOST_MEMORY;
    for (unsigned long nth = 1; rv != CKR_OK; nth++) {
        mem_fail_at(nth, false);
        rv = source_http_open(&remote, &tokens[0], &http);
        mem_fail_at(0, false);
        ck_assert(rv == CKR_OK || rv == CKR_HOST_MEMORY);
        ck_assert(rv == CKR_OK || mem_live() == live);
        ck_assert_uint_lt(nth, 50);
    }
}
END_TEST

START_TEST(escapes_path_segments)
{
    _cleanup_(mem_free_pointer) char *escaped = source_http_escape("a-Z_0.~ /?%\xc3\xa9");
    ck_assert_str_eq(escaped, "a-Z_0.~%20%2F%3F%25%C3%A9");
    _cleanup_(mem_free_pointer) char *empty = source_http_escape("");
    ck_assert_str_eq(empty, "");
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("source http");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, http_fixture_start, http_fixture_stop);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, sends_to_its_endpoint);
    tcase_add_loop_test(cases, each_failure_has_its_cause, 0, COUNT_OF(failures));
    tcase_add_test(cases, a_refused_connection_is_unreachable);
    tcase_add_test(cases, a_cancelled_call_says_so);
    tcase_add_loop_test(cases, each_status_has_its_cause, 0, COUNT_OF(statuses));
    tcase_add_test(cases, a_senseless_reply_is_the_servers);
    tcase_add_loop_test(cases, refuses_a_bad_section, 0, COUNT_OF(bad_sections));
    tcase_add_test(cases, an_endpoint_may_have_a_default);
    tcase_add_test(cases, memory_may_be_short);
    tcase_add_test(cases, escapes_path_segments);
    return fixture_run("source http", cases);
}
