#include "tokens/http_transfer.h"

#include <string.h>

#include "base/clock.h"
#include "base/rv.h"
#include "tokens/http_library.h"
#include "tokens/http_outcome.h"

#define USER_AGENT "indexkey/0.1"
/* How late a cancellation may be noticed. */
#define POLL_MS 50

/* CURLOPT_READFUNCTION, not CURLOPT_POSTFIELDS, which libcurl would copy behind the headers. */
static size_t on_send(char *bytes, size_t size, size_t count, void *data)
{
    struct http_transfer *transfer = data;
    struct view body = transfer->request->body;
    size_t room = size * count;
    size_t left = body.len - transfer->sent;
    size_t len = left < room ? left : room;
    if (len > 0)
        memcpy(bytes, body.bytes + transfer->sent, len);
    transfer->sent += len;
    return len;
}

/* libcurl rewinds when a kept connection turns out to be closed. */
static int on_seek(void *data, curl_off_t offset, int origin)
{
    struct http_transfer *transfer = data;
    if (origin != SEEK_SET || offset < 0 || (size_t) offset > transfer->request->body.len)
        return CURL_SEEKFUNC_FAIL;
    transfer->sent = (size_t) offset;
    return CURL_SEEKFUNC_OK;
}

/* Sees headers and body in libcurl's own buffer after they were written to the connection, and
 * wipes them: they hold tokens and keys. */
static int on_debug(CURL *easy, curl_infotype type, char *bytes, size_t len, void *data)
{
    (void) easy;
    (void) data;
    if ((type == CURLINFO_HEADER_OUT || type == CURLINFO_DATA_OUT) && len > 0)
        explicit_bzero(bytes, len);
    return 0;
}

/* The first failure of a row of curl_easy_setopt. */
static void note(CURLcode *first, CURLcode code)
{
    if (*first == CURLE_OK)
        *first = code;
}
#define SET(option, value) note(&code, curl_easy_setopt(easy, (option), (value)))

static CURLcode set_connection(const struct http_transfer *transfer)
{
    CURL *easy = transfer->easy;
    const struct http_settings *settings = transfer->settings;
    CURLcode code = CURLE_OK;
    SET(CURLOPT_URL, transfer->request->url);
    SET(CURLOPT_PROTOCOLS_STR, transfer->target.is_tls ? "https" : "http");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    if (settings->direct || transfer->target.is_direct)
        SET(CURLOPT_PROXY, "");
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    return code;
}

static CURLcode set_tls(const struct http_transfer *transfer)
{
    CURL *easy = transfer->easy;
    const struct http_settings *settings = transfer->settings;
    CURLcode code = CURLE_OK;
    SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSL_CTX_FUNCTION, http_library_on_tls);
    if (settings->ca_file != NULL) {
        SET(CURLOPT_CAINFO, settings->ca_file);
        /* Else the system's folder would be trusted as well. */
        SET(CURLOPT_CAPATH, NULL);
    }
    if (settings->client_cert != NULL) {
        SET(CURLOPT_SSLCERT, settings->client_cert);
        SET(CURLOPT_SSLKEY,
            settings->client_key != NULL ? settings->client_key : settings->client_cert);
    }
    return code;
}

static CURLcode set_callbacks(struct http_transfer *transfer)
{
    CURL *easy = transfer->easy;
    CURLcode code = CURLE_OK;
    SET(CURLOPT_ERRORBUFFER, transfer->error);
    SET(CURLOPT_WRITEFUNCTION, http_reply_on_body);
    SET(CURLOPT_WRITEDATA, &transfer->reply);
    SET(CURLOPT_HEADERFUNCTION, http_reply_on_header);
    SET(CURLOPT_HEADERDATA, &transfer->reply);
    SET(CURLOPT_READFUNCTION, on_send);
    SET(CURLOPT_READDATA, transfer);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, transfer);
    SET(CURLOPT_DEBUGFUNCTION, on_debug);
    SET(CURLOPT_VERBOSE, 1L);
    return code;
}

static CURLcode set_request(struct http_transfer *transfer)
{
    CURL *easy = transfer->easy;
    const struct http_request *request = transfer->request;
    CURLcode code = CURLE_OK;
    bool has_body = strcmp(request->method, "POST") == 0 || strcmp(request->method, "PUT") == 0;
    SET(has_body ? CURLOPT_POST : CURLOPT_HTTPGET, 1L);
    SET(CURLOPT_CUSTOMREQUEST, request->method);
    if (has_body)
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->body.len);
    SET(CURLOPT_USERAGENT, USER_AGENT);
    SET(CURLOPT_HTTPHEADER, http_headers_list(&transfer->headers));
    return code;
}

static CURLcode set_all(struct http_transfer *transfer)
{
    CURLcode code = set_connection(transfer);
    note(&code, set_tls(transfer));
    note(&code, set_callbacks(transfer));
    note(&code, set_request(transfer));
    return code;
}

CK_RV http_transfer_make(const struct http_settings *settings, const struct http_request *request,
                         struct http_transfer *transfer)
{
    HTTP_INSIDE;
    transfer->settings = settings;
    transfer->request = request;
    transfer->reply.body_max = settings->reply_max;
    TRY(http_headers_make(request, &transfer->headers));
    transfer->easy = curl_easy_init();
    if (transfer->easy == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for a request to %s", transfer->target.host);
    CURLcode code = set_all(transfer);
    if (code != CURLE_OK)
        return FAIL(code == CURLE_OUT_OF_MEMORY ? CKR_HOST_MEMORY : CKR_FUNCTION_FAILED,
                    "libcurl refuses a request to %s: %s", transfer->target.host,
                    curl_easy_strerror(code));
    return CKR_OK;
}

void http_transfer_clear(struct http_transfer *transfer)
{
    HTTP_INSIDE;
    curl_easy_cleanup(transfer->easy);
    transfer->easy = NULL;
    http_headers_clear(&transfer->headers);
    http_reply_clear(&transfer->reply);
}

static bool is_done(CURLM *multi, CURLcode *ret_code)
{
    int left;
    for (;;) {
        const CURLMsg *message = curl_multi_info_read(multi, &left);
        if (message == NULL)
            return false;
        if (message->msg == CURLMSG_DONE) {
            *ret_code = message->data.result;
            return true;
        }
    }
}

static CK_RV drive(const struct http_request *request, CURLM *multi, enum http_end *ret_end,
                   CURLcode *ret_code)
{
    for (;;) {
        int64_t left_ms = request->deadline_ms - clock_boot_ms();
        bool cancelled = atomic_load(request->cancelled);
        if (cancelled || left_ms <= 0) {
            *ret_end = cancelled ? HTTP_END_CANCELLED : HTTP_END_DEADLINE;
            return CKR_OK;
        }
        int running;
        CURLMcode failed = curl_multi_perform(multi, &running);
        if (failed == CURLM_OK && is_done(multi, ret_code)) {
            *ret_end = HTTP_END_DONE;
            return CKR_OK;
        }
        int poll_ms = left_ms < POLL_MS ? (int) left_ms : POLL_MS;
        if (failed == CURLM_OK)
            failed = curl_multi_poll(multi, NULL, 0, poll_ms, NULL);
        if (failed != CURLM_OK)
            return FAIL(CKR_HOST_MEMORY, "libcurl cannot go on: %s", curl_multi_strerror(failed));
    }
}

CK_RV http_transfer_run(struct http_transfer *transfer, CURLM *multi,
                        struct http_attempt *ret_attempt)
{
    HTTP_INSIDE;
    CURLcode code = CURLE_OK;
    enum http_end end = HTTP_END_DONE;
    http_reply_reset(&transfer->reply);
    transfer->sent = 0;
    transfer->error[0] = '\0';
    int64_t left_ms = transfer->request->deadline_ms - clock_boot_ms();
    int64_t connect_ms = transfer->settings->connect_ms;
    if (connect_ms > left_ms)
        connect_ms = left_ms > 0 ? left_ms : 1;
    (void) curl_easy_setopt(transfer->easy, CURLOPT_CONNECTTIMEOUT_MS, (long) connect_ms);
    CURLMcode added = curl_multi_add_handle(multi, transfer->easy);
    if (added != CURLM_OK)
        return FAIL(CKR_HOST_MEMORY, "libcurl cannot begin: %s", curl_multi_strerror(added));
    CK_RV rv = drive(transfer->request, multi, &end, &code);
    if (rv == CKR_OK)
        *ret_attempt = http_outcome_of(transfer, end, code);
    (void) curl_multi_remove_handle(multi, transfer->easy);
    if (rv == CKR_OK && transfer->reply.lacks_memory)
        return FAIL(CKR_HOST_MEMORY, "no memory for the reply of %s", transfer->target.host);
    return rv;
}
