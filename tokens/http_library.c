#include "tokens/http_library.h"

#include <pthread.h>
#include <string.h>

#include <openssl/ssl.h>

#include "base/rv.h"
#include "tokens/http.h"

/* CURLOPT_QUICK_EXIT, without which a resolver that hangs holds the caller. */
#define VERSION_MIN 0x075700

static _Thread_local int inside_depth;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static CK_RV once_rv;

int http_library_enter(void)
{
    return inside_depth++;
}

void http_library_leave(const int *depth)
{
    inside_depth = *depth;
}

bool http_is_inside(void)
{
    return inside_depth > 0;
}

/* http_library_on_tls is handed the context of whatever TLS library libcurl has. */
static bool tls_is_openssl(const curl_version_info_data *info)
{
    return info->ssl_version != NULL && strncmp(info->ssl_version, "OpenSSL/", 8) == 0 &&
           info->ssl_version[8] >= '3';
}

static void init_once(void)
{
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    bool resolves_apart = (info->features & CURL_VERSION_ASYNCHDNS) != 0;
    bool fits = info->version_num >= VERSION_MIN && resolves_apart && tls_is_openssl(info);
    if (code == CURLE_OK && fits)
        return;
    once_rv = FAIL(CKR_FUNCTION_FAILED,
                   "libcurl %s with %s does not serve (%s): sources over HTTP need 7.87 or later, "
                   "with OpenSSL 3 and a threaded resolver",
                   info->version, info->ssl_version != NULL ? info->ssl_version : "no TLS",
                   curl_easy_strerror(code));
}

CK_RV http_library_init(void)
{
    HTTP_INSIDE;
    (void) pthread_once(&once, init_once);
    return once_rv;
}

CURLcode http_library_on_tls(CURL *easy, void *tls_context, void *data)
{
    (void) easy;
    (void) data;
    (void) SSL_CTX_set_options(tls_context, SSL_OP_CLEANSE_PLAINTEXT);
    return CURLE_OK;
}
