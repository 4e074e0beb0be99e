/*
 * For the tests of the HTTP client: a TLS and a plain service, and a client that trusts the first.
 */
#pragma once

#include "tests/support/fake_service.h"
#include "tests/unit/base_fixture.h"
#include "tokens/http.h"

#define DEADLINE_MS 5000
/* What a call may take beyond its deadline. */
#define LATE_MS 250

extern struct fake_service http_fixture_tls;
extern struct fake_service http_fixture_plain;
extern struct http_client *http_fixture_client;
extern atomic_bool http_fixture_cancelled;

/* Unchecked: once for all tests. */
void http_fixture_start(void);
void http_fixture_stop(void);
/* Checked: faults and counts are forgotten, the client is new. */
void http_fixture_setup(void);
void http_fixture_teardown(void);

/* Without the connections of the former one. */
void http_fixture_renew_client(void);
struct http_client *http_fixture_new_client(const struct http_options *options);
/* A request with this deadline from now; the URL is not copied. */
struct http_request http_fixture_request(const char *method, const char *url, int64_t deadline_ms);
/* GET from the TLS service, over the fixture's client. Cleared by http_result_clear. */
struct http_result http_fixture_get(const char *path, int64_t deadline_ms);
struct http_result http_fixture_send(struct http_client *client,
                                     const struct http_request *request);
int64_t http_fixture_now_ms(void);
/* Ends a test where the outcome is another one, with the detail. */
void http_fixture_expect(const struct http_result *result, enum http_outcome outcome);
