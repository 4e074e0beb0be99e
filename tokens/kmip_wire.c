#include "tokens/kmip_wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "tokens/kmip_resolve.h"
#include "tokens/kmip_ttlv.h"

/* How late a cancellation may be noticed. */
#define POLL_MS 50
#define RECORD_LEN 4096
#define REASON_MAX 100

struct kmip_wire {
    int socket;
    SSL_CTX *context;
    SSL *ssl;
    BIO *in;  /* what came, for TLS; owned by ssl */
    BIO *out; /* what TLS wants sent */
    int64_t deadline_ms;
    const atomic_bool *cancelled;
    struct kmip_trouble *trouble;
};

__attribute__((format(printf, 3, 4))) static CK_RV
fail(const struct kmip_wire *wire, enum indexkey_cause cause, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void) vsnprintf(wire->trouble->detail, sizeof(wire->trouble->detail), format, args);
    va_end(args);
    wire->trouble->cause = cause;
    return CKR_FUNCTION_FAILED;
}

/* ---- the socket ---- */

static CK_RV wait_for(const struct kmip_wire *wire, short events, const char *what)
{
    for (;;) {
        int64_t left_ms = wire->deadline_ms - clock_boot_ms();
        if (atomic_load(wire->cancelled))
            return fail(wire, INDEXKEY_CAUSE_CANCELLED, "the call was ended by C_Finalize");
        if (left_ms <= 0)
            return fail(wire, INDEXKEY_CAUSE_TIMEOUT, "no %s in time", what);
        struct pollfd polled = {.fd = wire->socket, .events = events};
        int ready = poll(&polled, 1, left_ms < POLL_MS ? (int) left_ms : POLL_MS);
        if (ready > 0)
            return CKR_OK;
        if (ready < 0 && errno != EINTR)
            return fail(wire, INDEXKEY_CAUSE_UNREACHABLE, "poll: %m");
    }
}

static CK_RV connect_to(struct kmip_wire *wire, const struct kmip_address *address)
{
    int error = 0;
    socklen_t error_len = sizeof(error);
    wire->socket =
        socket(address->bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (wire->socket < 0)
        return fail(wire, INDEXKEY_CAUSE_UNREACHABLE, "no socket: %m");
    if (connect(wire->socket, (const struct sockaddr *) &address->bytes, address->len) != 0 &&
        errno != EINPROGRESS)
        return fail(wire, INDEXKEY_CAUSE_UNREACHABLE, "no connection: %m");
    TRY(wait_for(wire, POLLOUT, "connection"));
    (void) getsockopt(wire->socket, SOL_SOCKET, SO_ERROR, &error, &error_len);
    errno = error;
    return error == 0 ? CKR_OK : fail(wire, INDEXKEY_CAUSE_UNREACHABLE, "no connection: %m");
}

static void close_socket(struct kmip_wire *wire)
{
    if (wire->socket >= 0)
        (void) close(wire->socket);
    wire->socket = -1;
}

/* The addresses in their order, until one answers. */
static CK_RV connect_any(struct kmip_wire *wire, const struct kmip_server *server)
{
    struct kmip_addresses addresses;
    const char *why = NULL;
    const struct kmip_question question = {server->host, server->port, wire->deadline_ms,
                                           wire->cancelled};
    CK_RV rv = kmip_resolve(&question, &addresses, &why);
    if (rv == CKR_HOST_MEMORY)
        return fail(wire, INDEXKEY_CAUSE_NONE, "no memory");
    if (atomic_load(wire->cancelled))
        return fail(wire, INDEXKEY_CAUSE_CANCELLED, "the call was ended by C_Finalize");
    if (rv != CKR_OK)
        return fail(wire, INDEXKEY_CAUSE_DNS, "%s", why);
    rv = CKR_FUNCTION_FAILED;
    for (size_t i = 0; i < addresses.count && rv != CKR_OK; i++) {
        close_socket(wire);
        rv = connect_to(wire, &addresses.addresses[i]);
        if (rv != CKR_OK && wire->trouble->cause != INDEXKEY_CAUSE_UNREACHABLE)
            break;
    }
    return rv;
}

/* ---- TLS on memory ---- */

static CK_RV flush(const struct kmip_wire *wire)
{
    unsigned char bytes[RECORD_LEN];
    for (int len = BIO_read(wire->out, bytes, sizeof(bytes)); len > 0;
         len = BIO_read(wire->out, bytes, sizeof(bytes))) {
        for (int sent = 0; sent < len;) {
            TRY(wait_for(wire, POLLOUT, "room to send"));
            ssize_t more = send(wire->socket, bytes + sent, (size_t) (len - sent), MSG_NOSIGNAL);
            if (more < 0 && errno != EAGAIN && errno != EINTR)
                return fail(wire, INDEXKEY_CAUSE_UNREACHABLE, "the connection broke off: %m");
            sent += more > 0 ? (int) more : 0;
        }
    }
    return CKR_OK;
}

static CK_RV fill(const struct kmip_wire *wire)
{
    unsigned char bytes[RECORD_LEN];
    TRY(wait_for(wire, POLLIN, "whole answer"));
    ssize_t len = recv(wire->socket, bytes, sizeof(bytes), 0);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return CKR_OK;
    if (len < 0)
        return fail(wire, INDEXKEY_CAUSE_UNREACHABLE, "the connection broke off: %m");
    if (len == 0)
        return fail(wire, INDEXKEY_CAUSE_UNREACHABLE, "the server closed the connection");
    return BIO_write(wire->in, bytes, (int) len) == (int) len
               ? CKR_OK
               : fail(wire, INDEXKEY_CAUSE_NONE, "no memory");
}

static CK_RV fail_tls(const struct kmip_wire *wire)
{
    char reason[REASON_MAX] = "";
    long verified = SSL_get_verify_result(wire->ssl);
    if (verified != X509_V_OK)
        return fail(wire, INDEXKEY_CAUSE_TLS, "its certificate: %s",
                    X509_verify_cert_error_string(verified));
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    (void) snprintf(reason, sizeof(reason), "%s", text == NULL ? "no reason" : text);
    return fail(wire, INDEXKEY_CAUSE_TLS, "%s", reason);
}

/* What TLS wants before it can go on, after a call of it that began with no error in the queue
 * (begin_tls): SSL_get_error would take one that the host has left there for ours. */
static CK_RV go_on(const struct kmip_wire *wire, int result)
{
    int error = SSL_get_error(wire->ssl, result);
    /* An alert goes out, too, where the connection still takes it. */
    CK_RV rv = flush(wire);
    switch (error) {
    case SSL_ERROR_WANT_READ:
        TRY(rv);
        return fill(wire);
    case SSL_ERROR_WANT_WRITE:
        return rv;
    case SSL_ERROR_ZERO_RETURN:
        return fail(wire, INDEXKEY_CAUSE_UNREACHABLE, "the server closed the connection");
    default:
        return fail_tls(wire);
    }
}

/* libssl empties the thread's queue at a handshake in any case. */
static SSL *begin_tls(const struct kmip_wire *wire)
{
    ERR_clear_error();
    return wire->ssl;
}

static CK_RV load_certificates(const struct kmip_wire *wire, const struct kmip_server *server)
{
    const char *key = server->client_key != NULL ? server->client_key : server->client_cert;
    bool trusts = server->ca_file != NULL
                      ? SSL_CTX_load_verify_file(wire->context, server->ca_file) == 1
                      : SSL_CTX_set_default_verify_paths(wire->context) == 1;
    if (!trusts)
        return fail(wire, INDEXKEY_CAUSE_TLS, "ca_file cannot be read");
    if (SSL_CTX_use_certificate_chain_file(wire->context, server->client_cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(wire->context, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(wire->context) != 1)
        return fail(wire, INDEXKEY_CAUSE_TLS, "client_cert and client_key cannot be used");
    return CKR_OK;
}

static CK_RV make_tls(struct kmip_wire *wire, const struct kmip_server *server)
{
    wire->context = SSL_CTX_new_ex(crypto_context(), NULL, TLS_client_method());
    if (wire->context == NULL || SSL_CTX_set_min_proto_version(wire->context, TLS1_2_VERSION) != 1)
        return fail(wire, INDEXKEY_CAUSE_NONE, "no memory");
    (void) SSL_CTX_set_options(wire->context, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_verify(wire->context, SSL_VERIFY_PEER, NULL);
    TRY(load_certificates(wire, server));
    wire->ssl = SSL_new(wire->context);
    wire->in = BIO_new(BIO_s_mem());
    wire->out = BIO_new(BIO_s_mem());
    if (wire->ssl == NULL || wire->in == NULL || wire->out == NULL) {
        BIO_free(wire->in);
        BIO_free(wire->out);
        return fail(wire, INDEXKEY_CAUSE_NONE, "no memory");
    }
    SSL_set_bio(wire->ssl, wire->in, wire->out);
    SSL_set_connect_state(wire->ssl);
    bool is_address = kmip_is_address(server->host);
    bool named = is_address
                     ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(wire->ssl), server->host) == 1
                     : SSL_set1_host(wire->ssl, server->host) == 1 &&
                           SSL_set_tlsext_host_name(wire->ssl, server->host) == 1;
    return named ? CKR_OK : fail(wire, INDEXKEY_CAUSE_NONE, "no memory");
}

static CK_RV shake_hands(const struct kmip_wire *wire)
{
    for (;;) {
        int result = SSL_do_handshake(begin_tls(wire));
        if (result == 1)
            return flush(wire);
        TRY(go_on(wire, result));
    }
}

static CK_RV open_wire(struct kmip_wire *wire, const struct kmip_server *server)
{
    CRYPTO_HIDE_ERRORS;
    TRY(make_tls(wire, server));
    TRY(connect_any(wire, server));
    return shake_hands(wire);
}

CK_RV kmip_wire_open(const struct kmip_server *server, const struct source_call *call,
                     struct kmip_wire **ret_wire, struct kmip_trouble *ret_trouble)
{
    struct kmip_wire *wire = mem_calloc(1, sizeof(*wire));
    *ret_trouble = (struct kmip_trouble){.cause = INDEXKEY_CAUSE_NONE};
    if (wire == NULL)
        return CKR_FUNCTION_FAILED;
    wire->socket = -1;
    wire->deadline_ms = call->deadline_ms;
    wire->cancelled = call->cancelled;
    wire->trouble = ret_trouble;
    CK_RV rv = open_wire(wire, server);
    if (rv != CKR_OK) {
        kmip_wire_close(&wire);
        return rv;
    }
    *ret_wire = wire;
    return CKR_OK;
}

void kmip_wire_close(struct kmip_wire **wire)
{
    if (*wire == NULL)
        return;
    SSL_free((*wire)->ssl);
    SSL_CTX_free((*wire)->context);
    close_socket(*wire);
    mem_free(*wire);
    *wire = NULL;
}

/* ---- messages ---- */

static CK_RV send_message(const struct kmip_wire *wire, struct view message)
{
    for (;;) {
        int result = SSL_write(begin_tls(wire), message.bytes, (int) message.len);
        if (result > 0)
            return flush(wire);
        TRY(go_on(wire, result));
    }
}

static CK_RV receive(const struct kmip_wire *wire, unsigned char *bytes, size_t len)
{
    for (size_t have = 0; have < len;) {
        int result = SSL_read(begin_tls(wire), bytes + have, (int) (len - have));
        if (result > 0)
            have += (size_t) result;
        else
            TRY(go_on(wire, result));
    }
    return CKR_OK;
}

CK_RV kmip_wire_exchange(struct kmip_wire *wire, struct view message, uint32_t tag,
                         struct secret *ret_reply, struct kmip_trouble *ret_trouble)
{
    CRYPTO_HIDE_ERRORS;
    _cleanup_(secret_clear) struct secret reply = {0};
    unsigned char head[TTLV_HEAD_LEN];
    *ret_trouble = (struct kmip_trouble){.cause = INDEXKEY_CAUSE_NONE};
    wire->trouble = ret_trouble;
    TRY(send_message(wire, message));
    TRY(receive(wire, head, sizeof(head)));
    size_t len = ttlv_whole_len(head, tag);
    if (len == 0)
        return fail(wire, INDEXKEY_CAUSE_SERVER, "its answer is no message of KMIP, or too long");
    if (secret_new(len, &reply) != CKR_OK)
        return fail(wire, INDEXKEY_CAUSE_NONE, "no memory");
    memcpy(reply.bytes, head, sizeof(head));
    TRY(receive(wire, reply.bytes + sizeof(head), len - sizeof(head)));
    *ret_reply = secret_move(&reply);
    return CKR_OK;
}
