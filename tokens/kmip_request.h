/*
 * Requests to a KMIP server (KMIP 1.4), one batch item each, and what its refusals mean.
 *
 * A refusal is told by its result reason; log lines have our words, never the server's.
 */
#pragma once

#include "tokens/kmip_ttlv.h"
#include "tokens/kmip_wire.h"

/* KMIP 1.4, 9.1.3.1. */
enum kmip_tag {
    KMIP_ATTRIBUTE = 0x420008,
    KMIP_ATTRIBUTE_NAME = 0x42000a,
    KMIP_ATTRIBUTE_VALUE = 0x42000b,
    KMIP_BATCH_COUNT = 0x42000d,
    KMIP_BATCH_ITEM = 0x42000f,
    KMIP_BLOCK_CIPHER_MODE = 0x420011,
    KMIP_CRYPTOGRAPHIC_ALGORITHM = 0x420028,
    KMIP_CRYPTOGRAPHIC_LENGTH = 0x42002a,
    KMIP_CRYPTOGRAPHIC_PARAMETERS = 0x42002b,
    KMIP_ENCRYPTION_KEY_INFORMATION = 0x420036,
    KMIP_IV = 0x42003d,
    KMIP_KEY_BLOCK = 0x420040,
    KMIP_KEY_FORMAT_TYPE = 0x420042,
    KMIP_KEY_MATERIAL = 0x420043,
    KMIP_KEY_VALUE = 0x420045,
    KMIP_KEY_WRAPPING_SPECIFICATION = 0x420047,
    KMIP_OBJECT_TYPE = 0x420057,
    KMIP_OPERATION = 0x42005c,
    KMIP_VERSION = 0x420069,
    KMIP_VERSION_MAJOR = 0x42006a,
    KMIP_VERSION_MINOR = 0x42006b,
    KMIP_REQUEST_HEADER = 0x420077,
    KMIP_REQUEST_MESSAGE = 0x420078,
    KMIP_REQUEST_PAYLOAD = 0x420079,
    KMIP_RESPONSE_HEADER = 0x42007a,
    KMIP_RESPONSE_MESSAGE = 0x42007b,
    KMIP_RESPONSE_PAYLOAD = 0x42007c,
    KMIP_RESULT_REASON = 0x42007e,
    KMIP_RESULT_STATUS = 0x42007f,
    KMIP_SYMMETRIC_KEY = 0x42008f,
    KMIP_TEMPLATE_ATTRIBUTE = 0x420091,
    KMIP_UNIQUE_IDENTIFIER = 0x420094,
    KMIP_WRAPPING_METHOD = 0x42009e,
    KMIP_ENCODING_OPTION = 0x4200a3,
    KMIP_DATA = 0x4200c2,
    KMIP_TAG_LENGTH = 0x4200ce,
    KMIP_AAD = 0x4200fe,
    KMIP_AUTHENTICATION_TAG = 0x4200ff,
};

/* KMIP 1.4, 9.1.3.2. */
enum { KMIP_AES = 3, KMIP_MODE_GCM = 9, KMIP_MODE_NIST_KEY_WRAP = 13 };

enum kmip_operation {
    KMIP_REGISTER = 0x03,
    KMIP_GET = 0x0a,
    KMIP_GET_ATTRIBUTES = 0x0b,
    KMIP_ACTIVATE = 0x12,
    KMIP_ENCRYPT = 0x1f,
    KMIP_DECRYPT = 0x20,
};

struct kmip {
    struct source base;
    char *token;
    char *key_id;
    char *former_key_ids;    /* separated by spaces; NULL: none */
    char *wrapping_key_file; /* NULL: the server encrypts and decrypts */
    struct kmip_server server;
};

/* What is asked of one connection. */
struct kmip_call {
    const struct kmip *kmip;
    const char *what;   /* was tried: "unwrap the data key" */
    struct view key_id; /* text; empty for an object that has none yet */
    struct kmip_wire *wire;
};

/* The connection, which kmip_call_end closes, and a key that is active. */
CK_RV kmip_call_begin(struct kmip_call *call, const struct source_call *source_call);
void kmip_call_end(struct kmip_call *call);

/* A request up to its payload, which the caller writes; kmip_request_send ends it. */
void kmip_request_begin(const struct kmip_call *call, enum kmip_operation operation,
                        struct ttlv_writer *writer);
/* The whole answer, and the view of its payload in it. Everything else is logged and has its
 * cause. */
CK_RV kmip_request_send(const struct kmip_call *call, struct ttlv_writer *writer,
                        struct secret *ret_reply, struct view *ret_payload);
/* The key is active; else logged, with its cause. */
CK_RV kmip_request_state(const struct kmip_call *call);

CK_RV kmip_fail_memory(const struct kmip_call *call);
CK_RV kmip_fail_wire(const struct kmip_call *call, const struct kmip_trouble *trouble);
CK_RV kmip_fail_reply(const struct kmip_call *call, const char *fault);
