/*
 * libcurl and its TLS, as the whole process has them: initialised once, left as the host has them.
 */
#pragma once

#include <curl/curl.h>

#include "base/secret.h"

/* Before any other use of libcurl. CKR_FUNCTION_FAILED, logged. */
CK_RV http_library_init(void);

/* Marks a thread as being inside libcurl for the rest of a scope (http_is_inside). */
#define HTTP_INSIDE                                                                                \
    __attribute__((cleanup(http_library_leave), unused)) int http_inside_ = http_library_enter()
int http_library_enter(void);
void http_library_leave(const int *depth);

/* CURLOPT_SSL_CTX_FUNCTION: has OpenSSL wipe what it decrypted once it is read. */
CURLcode http_library_on_tls(CURL *easy, void *tls_context, void *data);
