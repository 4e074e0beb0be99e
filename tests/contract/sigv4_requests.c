/*
 * Sends signed requests to a service that keeps what it received, for sigv4.sh to compare with
 * botocore's signatures: POST to /, by the source `aws`, and by its signer and the HTTP client
 * alone.
 *
 * One JSON line a request goes to the file that INDEXKEY_SIGV4_CASES names:
 * {"region", "access", "secret", "token", "service", "url", "time": ours, "ahead": seconds that the
 * service is, "answer": what it kept}.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/contract/aws_fixture.h"
#include "tokens/aws_sign.h"
#include "tokens/http_url.h"
#include "tokens/json.h"

#define BY_SOURCE 210
#define BY_CLIENT 110
#define HOUR 3600
#define DAY (24 * HOUR)
#define TOKEN_LEN_MAX 4096
#define BODY_LEN_MAX 2500
#define OPERATIONS 3

static const char *const regions[] = {"eu-central-1",  "us-east-1",     "ap-southeast-2",
                                      "cn-north-1",    "us-gov-west-1", "me-central-1",
                                      "eu-isoe-west-1"};
static const char *const secrets[] = {"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                                      "////++++////++++////++++////++++========", "abc:def%2Fghi",
                                      "a", "!#$&'()*,-.;<=>?@[]^_`{|}~"};
static const char *const contexts[] = {
    "",
    " ",
    "acme",
    " a  b\tc ",
    "\"\\/\b\f\n\r\t",
    "\x01\x1f\x7f",
    "ü\xc3\x9f\xe2\x82\xac",
    "\xf0\x9f\x94\x91\xe6\x97\xa5\xe6\x9c\xac",
    "%2F+&=?#/../",
    "</script><!-- 'x' -->",
    "\xe2\x80\xa8\xe2\x80\xae",
};
static const size_t token_lens[] = {0, 1, 64, 356, 1024, 2048, 2500, TOKEN_LEN_MAX};
/* Of the service's clock: beyond five minutes the source asks again, dated by it. */
static const int offsets_s[] = {0, HOUR, 0, -HOUR, 0, 13 * HOUR, 240, -30 * DAY, 0, 400 * DAY};

#define PICK(rows, i) ((rows)[(size_t) (i) % COUNT_OF(rows)])

struct signed_case {
    const char *region;
    const char *secret;
    char access[32];
    char token[TOKEN_LEN_MAX + 1];
    int offset_s;
    const char *service;
};

static struct fake_service fake;
static FILE *cases;

/* Base64's letters, as session tokens have them. */
static void fill_token(char *token, size_t len, int seed)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    unsigned int state = (unsigned int) seed;
    for (size_t i = 0; i < len; i++) {
        state = state * 1103515245u + 12345u;
        token[i] = letters[(state >> 16) % (sizeof(letters) - 1)];
    }
    token[len] = '\0';
}

static void make_case(int i, struct signed_case *made)
{
    made->region = PICK(regions, i);
    made->secret = PICK(secrets, i / 2);
    made->offset_s = PICK(offsets_s, i / 3);
    made->service = "kms";
    (void) snprintf(made->access, sizeof(made->access), "AKIA%012dEXAM", i);
    fill_token(made->token, PICK(token_lens, i), i);
}

/* With what the service received, which is forgotten there. */
static void keep(const struct signed_case *made, int64_t time_s)
{
    struct json_writer writer = {0};
    struct secret text = {0};
    json_write_object(&writer, NULL);
    json_write_text(&writer, "region", made->region);
    json_write_text(&writer, "access", made->access);
    json_write_text(&writer, "secret", made->secret);
    json_write_text(&writer, "token", made->token);
    json_write_text(&writer, "service", made->service);
    json_write_text(&writer, "url", fake_service_url(&fake, "/"));
    json_write_number(&writer, "time", time_s);
    json_write_number(&writer, "ahead", made->offset_s);
    fake_service_command(&fake, "{\"do\": \"requests\"}");
    json_write_text(&writer, "answer", fake.answer);
    json_write_end_object(&writer);
    ck_assert_uint_eq(json_write_finish(&writer, &text), CKR_OK);
    ck_assert_uint_eq(fwrite(text.bytes, 1, text.len, cases), text.len);
    ck_assert_int_ne(fputc('\n', cases), EOF);
    secret_clear(&text);
    fake_service_clear(&fake);
}

static struct blob make_context(int i)
{
    struct writer writer = {0};
    struct blob context = {0};
    write_u8(&writer, 1);
    write_string(&writer, view_text("vectors"));
    for (int j = 0; j < i % 4; j++) {
        write_string(&writer, view_text(j == 0 ? "tenant" : PICK(contexts, i + j)));
        write_string(&writer, view_text(PICK(contexts, i / 2 + 3 * j)));
    }
    ck_assert_uint_eq(writer_finish(&writer, &context), CKR_OK);
    return context;
}

static const char too_late[] = "\"kind\": \"status\", \"status\": 400, \"body\": "
                               "{\"__type\": \"InvalidSignatureException\"}";

/* No answer is KMS's, so that every call fails once its request was sent. */
static void send_by_source(struct source *source, const struct source_call *call, int i)
{
    struct secret data_key = {0};
    struct blob wrapped = {0};
    unsigned char bytes[DATA_KEY_LEN + 200];
    fill_token((char *) bytes, sizeof(bytes) - 1, i);
    struct view ciphertext = {bytes, 1 + (size_t) i % (sizeof(bytes) - 1)};
    CK_RV rv = CKR_OK;
    ck_assert_uint_eq(secret_from(bytes, DATA_KEY_LEN, &data_key), CKR_OK);
    if (i % OPERATIONS == 0) {
        rv = source->ops->wrap(source, call, &data_key, &wrapped);
    } else {
        struct secret other = {0};
        rv = i % OPERATIONS == 1 ? source->ops->unwrap(source, call, ciphertext, &other)
                                 : source->ops->make_data_key(source, call, &other, &wrapped);
    }
    ck_assert_msg(rv != CKR_OK, "%s", fixture_log());
    secret_clear(&data_key);
}

START_TEST(the_source_signs)
{
    struct signed_case made;
    for (int i = 0; i < BY_SOURCE; i++) {
        make_case(i, &made);
        struct kms_settings settings = {.addr = fake_service_url(&fake, ""),
                                        .region = made.region,
                                        .access = made.access,
                                        .secret = made.secret,
                                        .session_token = made.token};
        struct source *source = aws_open(&fake, &settings);
        struct blob context = make_context(i);
        fake_service_command(&fake, "{\"do\": \"clock\", \"ahead\": %d}", made.offset_s);
        fake_service_fault(&fake, "%s", too_late);
        struct source_call call = kms_call(&settings, blob_view(&context));
        fixture_forget_log();
        send_by_source(source, &call, i);
        keep(&made, clock_utc_s());
        blob_clear(&context);
        source_close(&source);
    }
}
END_TEST

static void fill_credentials(const struct signed_case *made, struct aws_credentials *credentials)
{
    (void) snprintf(credentials->region, sizeof(credentials->region), "%s", made->region);
    (void) snprintf(credentials->access_key_id, sizeof(credentials->access_key_id), "%s",
                    made->access);
    kms_assert_ok(secret_from(made->secret, strlen(made->secret), &credentials->secret_access_key));
    kms_assert_ok(secret_from(made->token, strlen(made->token), &credentials->session_token));
}

static void send_by_client(struct http_client *client, const struct signed_case *made, int i)
{
    static const atomic_bool go_on;
    unsigned char body[BODY_LEN_MAX];
    struct aws_credentials credentials = {.region = ""};
    struct http_target target;
    struct aws_signed headers;
    struct http_result result = {0};
    size_t body_len = (size_t) i * 23 % BODY_LEN_MAX;
    bool is_sts = strcmp(made->service, "sts") == 0;
    for (size_t j = 0; j < body_len; j++)
        body[j] = (unsigned char) (j * 7 + (size_t) i);
    fill_credentials(made, &credentials);
    ck_assert_ptr_null(http_url_read(fake_service_url(&fake, "/"), &target));
    struct aws_signing signing = {
        .credentials = &credentials,
        .host = target.authority,
        .service = made->service,
        .content_type = is_sts ? "application/x-www-form-urlencoded; charset=utf-8"
                               : "application/x-amz-json-1.1",
        .target = is_sts ? NULL : "TrentService.Decrypt",
        .body = {body, body_len},
        .time_s = clock_utc_s(),
    };
    kms_assert_ok(aws_sign(&signing, &headers));
    struct http_request request = {
        .method = "POST",
        .url = fake_service_url(&fake, "/"),
        .headers = headers.headers,
        .header_count = headers.header_count,
        .body = signing.body,
        .deadline_ms = clock_boot_ms() + 5000,
        .cancelled = &go_on,
    };
    ck_assert_uint_eq(http_send(client, &request, &result), CKR_OK);
    ck_assert_int_eq(result.outcome, HTTP_OK);
    http_result_clear(&result);
    aws_credentials_clear(&credentials);
}

/* Any byte in a body, none too. */
START_TEST(the_client_signs)
{
    static const struct http_options options = {0};
    struct http_client *client = NULL;
    struct signed_case made;
    ck_assert_uint_eq(http_client_new(&options, &client), CKR_OK);
    for (int i = 0; i < BY_CLIENT; i++) {
        make_case(i, &made);
        made.offset_s = 0;
        made.service = i % 2 == 0 ? "kms" : "sts";
        send_by_client(client, &made, i);
        keep(&made, clock_utc_s());
    }
    http_client_free(&client);
}
END_TEST

static void start_service(void)
{
    static const struct fake_service_options options = {0};
    const char *path = getenv("INDEXKEY_SIGV4_CASES");
    ck_assert_msg(path != NULL, "INDEXKEY_SIGV4_CASES must name a file");
    cases = fopen(path, "a");
    ck_assert_ptr_nonnull(cases);
    fake_service_start(&fake, &options);
}

static void stop_service(void)
{
    fake_service_stop(&fake);
    ck_assert_int_eq(fclose(cases), 0);
}

int main(void)
{
    TCase *signing = tcase_create("signing");
    tcase_set_timeout(signing, 120);
    tcase_add_checked_fixture(signing, start_service, stop_service);
    tcase_add_test(signing, the_source_signs);
    tcase_add_test(signing, the_client_signs);
    return fixture_run("sigv4 requests", signing);
}
