#include "tests/unit/http_fixture.h"

#include "base/clock.h"
#include "base/crypto.h"

struct fake_service http_fixture_tls;
struct fake_service http_fixture_plain;
struct http_client *http_fixture_client;
atomic_bool http_fixture_cancelled;

void http_fixture_start(void)
{
    struct fake_service_options tls = {.certificates = fake_service_certificates()};
    fake_service_start(&http_fixture_tls, &tls);
    fake_service_start(&http_fixture_plain, &(struct fake_service_options){.handler = NULL});
}

void http_fixture_stop(void)
{
    fake_service_stop(&http_fixture_tls);
    fake_service_stop(&http_fixture_plain);
    fake_service_clean();
}

void http_fixture_setup(void)
{
    fixture_catch_log();
    secrets_init(false);
    ck_assert_uint_eq(crypto_init(), CKR_OK);
    fake_service_clear(&http_fixture_tls);
    fake_service_clear(&http_fixture_plain);
    atomic_store(&http_fixture_cancelled, false);
    http_fixture_renew_client();
}

void http_fixture_renew_client(void)
{
    struct http_options options = {.ca_file = fake_service_certificate("ca.pem")};
    http_client_free(&http_fixture_client);
    http_fixture_client = http_fixture_new_client(&options);
}

void http_fixture_teardown(void)
{
    http_client_free(&http_fixture_client);
    ck_assert_uint_eq(secrets_in_use(), 0);
    crypto_finish();
}

struct http_client *http_fixture_new_client(const struct http_options *options)
{
    struct http_client *client = NULL;
    ck_assert_uint_eq(http_client_new(options, &client), CKR_OK);
    return client;
}

int64_t http_fixture_now_ms(void)
{
    return clock_boot_ms();
}

struct http_request http_fixture_request(const char *method, const char *url, int64_t deadline_ms)
{
    return (struct http_request){
        .method = method,
        .url = url,
        .deadline_ms = clock_boot_ms() + deadline_ms,
        .cancelled = &http_fixture_cancelled,
    };
}

struct http_result http_fixture_send(struct http_client *client, const struct http_request *request)
{
    struct http_result result = {.outcome = HTTP_OK};
    ck_assert_uint_eq(http_send(client, request, &result), CKR_OK);
    ck_assert(!http_is_inside());
    return result;
}

struct http_result http_fixture_get(const char *path, int64_t deadline_ms)
{
    const char *url = fake_service_url(&http_fixture_tls, path);
    struct http_request request = http_fixture_request("GET", url, deadline_ms);
    return http_fixture_send(http_fixture_client, &request);
}

void http_fixture_expect(const struct http_result *result, enum http_outcome outcome)
{
    ck_assert_msg(result->outcome == outcome, "outcome %d instead of %d, status %ld: %s",
                  (int) result->outcome, (int) outcome, result->status, result->detail);
}
