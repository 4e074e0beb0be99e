#include "tokens/kmip_request.h"

#define MAJOR 1
#define MINOR 4
#define STATE "State"

enum { STATUS_SUCCESS = 0 };

/* KMIP 1.4, 9.1.3.2.29. */
enum reason {
    REASON_NOT_FOUND = 1,
    REASON_NOT_AUTHENTICATED = 3,
    REASON_INVALID_MESSAGE = 4,
    REASON_OPERATION_NOT_SUPPORTED = 5,
    REASON_MISSING_DATA = 6,
    REASON_INVALID_FIELD = 7,
    REASON_FEATURE_NOT_SUPPORTED = 8,
    REASON_CRYPTOGRAPHIC_FAILURE = 0x0a,
    REASON_ILLEGAL_OPERATION = 0x0b,
    REASON_PERMISSION_DENIED = 0x0c,
    REASON_ARCHIVED = 0x0d,
    REASON_NO_KEY_VALUE = 0x13,
    REASON_USAGE_LIMIT = 0x1a,
    REASON_GENERAL_FAILURE = 0x100,
};

static const struct refusal {
    uint32_t reason;
    enum indexkey_cause cause;
    const char *why;
    const char *remedy;
} refusals[] = {
#define CHANGED                                                                                    \
    INDEXKEY_CAUSE_TAMPERED,                                                                       \
        "the wrapped data key was changed, or was wrapped under another context or by another "    \
        "key",                                                                                     \
        "restore the store from a backup, or set the former context.* and key_id"
#define NOT_THIS INDEXKEY_CAUSE_CONFIG, "it does not do that with this key"
#define AES_KEY "key_id must name an AES key that may encrypt and decrypt, at a server of KMIP 1.4"
    {REASON_NOT_FOUND, INDEXKEY_CAUSE_DELETED, "it has no such key",
     "restore the key from a backup, or correct key_id"},
    {REASON_NO_KEY_VALUE, INDEXKEY_CAUSE_DELETED, "it has the key's value no more",
     "restore the key from a backup"},
    {REASON_NOT_AUTHENTICATED, INDEXKEY_CAUSE_CREDENTIAL,
     "it does not accept the client's identity",
     "give client_cert a certificate that the server knows"},
    {REASON_PERMISSION_DENIED, INDEXKEY_CAUSE_DENIED,
     "permission denied to the identity of client_cert", "give it the permission"},
    {REASON_ARCHIVED, INDEXKEY_CAUSE_DISABLED, "the key is archived", "recover the key"},
    {REASON_USAGE_LIMIT, INDEXKEY_CAUSE_DISABLED, "the key's usage limit is reached",
     "raise the limit"},
    {REASON_CRYPTOGRAPHIC_FAILURE, CHANGED},
    {REASON_GENERAL_FAILURE, CHANGED},
    {REASON_INVALID_MESSAGE, NOT_THIS, AES_KEY},
    {REASON_OPERATION_NOT_SUPPORTED, NOT_THIS, AES_KEY},
    {REASON_MISSING_DATA, NOT_THIS, AES_KEY},
    {REASON_INVALID_FIELD, NOT_THIS, AES_KEY},
    {REASON_FEATURE_NOT_SUPPORTED, NOT_THIS, AES_KEY},
    {REASON_ILLEGAL_OPERATION, NOT_THIS, AES_KEY},
};

void kmip_request_begin(const struct kmip_call *call, enum kmip_operation operation,
                        struct ttlv_writer *writer)
{
    ttlv_begin(writer, KMIP_REQUEST_MESSAGE);
    ttlv_begin(writer, KMIP_REQUEST_HEADER);
    ttlv_begin(writer, KMIP_VERSION);
    ttlv_number(writer, KMIP_VERSION_MAJOR, TTLV_INTEGER, MAJOR);
    ttlv_number(writer, KMIP_VERSION_MINOR, TTLV_INTEGER, MINOR);
    ttlv_end(writer);
    ttlv_number(writer, KMIP_BATCH_COUNT, TTLV_INTEGER, 1);
    ttlv_end(writer);
    ttlv_begin(writer, KMIP_BATCH_ITEM);
    ttlv_number(writer, KMIP_OPERATION, TTLV_ENUMERATION, operation);
    ttlv_begin(writer, KMIP_REQUEST_PAYLOAD);
    if (call->key_id.len > 0)
        ttlv_string(writer, KMIP_UNIQUE_IDENTIFIER, TTLV_TEXT, call->key_id);
}

CK_RV kmip_fail_memory(const struct kmip_call *call)
{
    return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to %s", call->kmip->token, call->what);
}

CK_RV kmip_fail_wire(const struct kmip_call *call, const struct kmip_trouble *trouble)
{
    const char *remedy = "look into the server's own log";
    if (trouble->cause == INDEXKEY_CAUSE_NONE)
        return kmip_fail_memory(call);
    if (trouble->cause == INDEXKEY_CAUSE_TLS)
        remedy = "check ca_file, client_cert, the server's certificate and this machine's clock";
    else if (trouble->cause == INDEXKEY_CAUSE_CANCELLED)
        remedy = "nothing is wrong";
    else if (trouble->cause != INDEXKEY_CAUSE_SERVER)
        remedy = "check kmip_server, that it runs, and the network between, or raise deadline";
    return FAIL_CAUSE(trouble->cause, "token '%s': cannot %s by KMIP at %s:%s: %s: %s; %s",
                      call->kmip->token, call->what, call->kmip->server.host,
                      call->kmip->server.port, cause_name(trouble->cause), trouble->detail, remedy);
}

CK_RV kmip_fail_reply(const struct kmip_call *call, const char *fault)
{
    return FAIL_CAUSE(
        INDEXKEY_CAUSE_SERVER,
        "token '%s': cannot %s by KMIP at %s:%s: its answer makes no sense: %s; check "
        "that this is the server's address",
        call->kmip->token, call->what, call->kmip->server.host, call->kmip->server.port, fault);
}

static CK_RV fail_refused(const struct kmip_call *call, uint32_t reason)
{
    static const struct refusal other = {0, INDEXKEY_CAUSE_SERVER, "it failed",
                                         "look into the server's own log"};
    const struct refusal *refusal = &other;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (refusals[i].reason == reason)
            refusal = &refusals[i];
    }
    return FAIL_CAUSE(
        refusal->cause,
        "token '%s': cannot %s by the key %.*s of KMIP at %s:%s (reason 0x%x): %s; %s",
        call->kmip->token, call->what, (int) call->key_id.len, (const char *) call->key_id.bytes,
        call->kmip->server.host, call->kmip->server.port, reason, refusal->why, refusal->remedy);
}

/* What is in a response with one item. */
static CK_RV read_response(const struct kmip_call *call, struct view message,
                           struct view *ret_payload)
{
    struct view body;
    struct view item;
    struct view payload;
    uint32_t status;
    uint32_t reason = 0;
    if (!ttlv_find(message, KMIP_RESPONSE_MESSAGE, TTLV_STRUCTURE, &body) ||
        !ttlv_find(body, KMIP_BATCH_ITEM, TTLV_STRUCTURE, &item) ||
        !ttlv_find_number(item, KMIP_RESULT_STATUS, TTLV_ENUMERATION, &status))
        return kmip_fail_reply(call, "it is not one result");
    if (status != STATUS_SUCCESS) {
        (void) ttlv_find_number(item, KMIP_RESULT_REASON, TTLV_ENUMERATION, &reason);
        return fail_refused(call, reason);
    }
    if (!ttlv_find(item, KMIP_RESPONSE_PAYLOAD, TTLV_STRUCTURE, &payload))
        return kmip_fail_reply(call, "it has no payload");
    struct view id;
    if (!ttlv_find(payload, KMIP_UNIQUE_IDENTIFIER, TTLV_TEXT, &id) || id.len == 0 ||
        (call->key_id.len > 0 && !view_equal(id, call->key_id)))
        return kmip_fail_reply(call, "it is about another key");
    *ret_payload = payload;
    return CKR_OK;
}

CK_RV kmip_request_send(const struct kmip_call *call, struct ttlv_writer *writer,
                        struct secret *ret_reply, struct view *ret_payload)
{
    _cleanup_(secret_clear) struct secret reply = {0};
    struct kmip_trouble trouble = {.cause = INDEXKEY_CAUSE_NONE};
    ttlv_end(writer);
    ttlv_end(writer);
    ttlv_end(writer);
    struct view message = ttlv_written(writer);
    if (message.len == 0 ||
        kmip_wire_exchange(call->wire, message, KMIP_RESPONSE_MESSAGE, &reply, &trouble) != CKR_OK)
        return kmip_fail_wire(call, &trouble);
    TRY(read_response(call, (struct view){reply.bytes, reply.len}, ret_payload));
    *ret_reply = secret_move(&reply);
    return CKR_OK;
}

/* ---- the key's state ---- */

static CK_RV check_state(const struct kmip_call *call, uint32_t state)
{
    /* KMIP 1.4, 9.1.3.2.18: from 1. */
    static const struct {
        enum indexkey_cause cause;
        const char *name;
    } states[] = {
        {INDEXKEY_CAUSE_DISABLED, "pre-active"},  {INDEXKEY_CAUSE_NONE, "active"},
        {INDEXKEY_CAUSE_DISABLED, "deactivated"}, {INDEXKEY_CAUSE_DISABLED, "compromised"},
        {INDEXKEY_CAUSE_DELETED, "destroyed"},    {INDEXKEY_CAUSE_DELETED, "destroyed"},
    };
    if (state == 0 || state > sizeof(states) / sizeof(states[0]))
        return kmip_fail_reply(call, "its key has no state that KMIP knows");
    enum indexkey_cause cause = states[state - 1].cause;
    if (cause == INDEXKEY_CAUSE_NONE)
        return CKR_OK;
    return FAIL_CAUSE(
        cause,
        "token '%s': cannot %s by the key %.*s of KMIP at %s:%s: it is %s; activate it, "
        "or restore it from a backup",
        call->kmip->token, call->what, (int) call->key_id.len, (const char *) call->key_id.bytes,
        call->kmip->server.host, call->kmip->server.port, states[state - 1].name);
}

/* A server need not refuse what a deactivated key is asked for. */
CK_RV kmip_request_state(const struct kmip_call *call)
{
    _cleanup_(ttlv_clear) struct ttlv_writer writer = {.len = 0};
    _cleanup_(secret_clear) struct secret reply = {0};
    struct view payload;
    struct view attribute;
    struct view name;
    uint32_t state;
    kmip_request_begin(call, KMIP_GET_ATTRIBUTES, &writer);
    ttlv_string(&writer, KMIP_ATTRIBUTE_NAME, TTLV_TEXT, view_text(STATE));
    TRY(kmip_request_send(call, &writer, &reply, &payload));
    if (!ttlv_find(payload, KMIP_ATTRIBUTE, TTLV_STRUCTURE, &attribute) ||
        !ttlv_find(attribute, KMIP_ATTRIBUTE_NAME, TTLV_TEXT, &name) ||
        !view_equal(name, view_text(STATE)) ||
        !ttlv_find_number(attribute, KMIP_ATTRIBUTE_VALUE, TTLV_ENUMERATION, &state))
        return kmip_fail_reply(call, "it does not tell the key's state");
    return check_state(call, state);
}

CK_RV kmip_call_begin(struct kmip_call *call, const struct source_call *source_call)
{
    struct kmip_trouble trouble;
    if (kmip_wire_open(&call->kmip->server, source_call, &call->wire, &trouble) != CKR_OK)
        return kmip_fail_wire(call, &trouble);
    return kmip_request_state(call);
}

void kmip_call_end(struct kmip_call *call)
{
    kmip_wire_close(&call->wire);
}
