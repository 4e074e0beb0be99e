/*
 * Keys below the data key and the token key, and how associated data begins. Every label of
 * docs/formats.md stands here, so that none is used twice.
 */
#pragma once

#include "base/bytes.h"
#include "base/secret.h"

#define SERIAL_LEN 8
#define SEAL_KEY_LEN 32
#define SEAL_FORMAT 1

/* Under the data key. */
#define LABEL_MAC "indexkey/1/seal/mac"
#define LABEL_ROLE_SO "indexkey/1/seal/role/so"
#define LABEL_ROLE_USER "indexkey/1/seal/role/user"
/* Under the token key. */
#define LABEL_KEYS "indexkey/1/seal/keys"
#define LABEL_SUMMARY "indexkey/1/seal/summary"
#define LABEL_SET "indexkey/1/seal/set"
#define LABEL_ATTRIBUTES "indexkey/1/seal/attributes"
#define LABEL_VALUE_ID "indexkey/1/seal/value-id"
#define LABEL_BACKUP "indexkey/1/seal/backup"
#define LABEL_ANCHOR "indexkey/1/seal/anchor"
/* The audit log's (tokens/audit_keys.h); the last is a message under a MAC key. */
#define LABEL_AUDIT_MAC "indexkey/1/audit/mac"
#define LABEL_AUDIT_SIGN "indexkey/1/audit/sign"
#define LABEL_AUDIT_NEXT "indexkey/1/audit/next"
/* Under a root key that we hold ourselves (source = file, env). */
#define LABEL_ROOT_WRAP "indexkey/1/root/wrap"
#define LABEL_ROOT_ID "indexkey/1/root/id"
/* Under the data key: what Azure wrapped, with its context. */
#define LABEL_AZURE_WRAP "indexkey/1/azure/wrap"
/* Under the data key: which object of a KMIP server it is, with its context. */
#define LABEL_KMIP_OBJECT "indexkey/1/kmip/object"

/* Under a direct key: its check value. C_DeriveKey refuses a KDF input that has `indexkey/` in it
 * and is no purpose's, and those begin with a counter. */
#define LABEL_DIRECT_CHECK "indexkey/1/direct/check"

/* Associated data alone. */
#define LABEL_TOKEN_KEY "indexkey/1/seal/token-key"
#define LABEL_OBJECT_ATTRIBUTES "indexkey/1/object/attributes"
#define LABEL_OBJECT_KEY "indexkey/1/object/key"
#define LABEL_OBJECT_VALUE "indexkey/1/object/value"

/* Why bytes that begin with their format are refused, and what to do: the end of a log line. */
const char *derive_refusal(struct view bytes);

/* HKDF-SHA-256 with the serial as salt and the label as info: SEAL_KEY_LEN bytes. */
CK_RV derive_key(const struct secret *key, const unsigned char serial[SERIAL_LEN],
                 const char *label, struct secret *ret_key);
/* The same with a number behind the label: a series of keys of one kind. */
CK_RV derive_numbered_key(const struct secret *key, const unsigned char serial[SERIAL_LEN],
                          const char *label, uint32_t number, struct secret *ret_key);

/* Label, format and serial: the beginning of all associated data. */
void derive_begin_aad(struct writer *aad, const char *label,
                      const unsigned char serial[SERIAL_LEN]);
/* CKR_HOST_MEMORY (logged) when the writer ran out of memory. */
CK_RV derive_end_aad(const struct writer *aad, struct view *ret_view);
