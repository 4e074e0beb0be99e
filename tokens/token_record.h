/*
 * The small records of a token in the store, byte for byte as in docs/formats.md: "token" with the
 * two roles, "attempts" with the PIN counters, "keys" with the epoch key. ("summary" is in
 * tokens/summary.h.)
 *
 * What is parsed comes from the store and is hostile: every length and number is checked before it
 * is used. Parsers log nothing; they answer CKR_DATA_INVALID or CKR_ENCRYPTED_DATA_INVALID and the
 * caller, who knows the token's name, says it.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/secret.h"
#include "tokens/custody.h"
#include "tokens/derive.h"

#define RECORD_TOKEN "token"
#define RECORD_ATTEMPTS "attempts"
#define RECORD_KEYS "keys"
#define RECORD_SUMMARY "summary"

#define ROLE_COUNT 2
#define ROLE_SALT_LEN 16
#define SEALED_KEY_LEN (SEAL_KEY_LEN + AEAD_OVERHEAD)

/* Two bits lie between any two of them, so that one flipped bit never unsets a role. */
enum role_state {
    ROLE_UNSET = 0x00,
    ROLE_PIN = 0x03,
    ROLE_NO_PIN = 0x05, /* login = credential, ambient: the source alone decides */
};

/* How a PIN is stretched: scrypt's parameters. Zero unless the state is ROLE_PIN. */
struct role_stretch {
    struct scrypt_cost cost;
    unsigned char salt[ROLE_SALT_LEN];
};

struct role_record {
    enum role_state state;
    struct role_stretch stretch;
    unsigned char sealed_key[SEALED_KEY_LEN]; /* the token key under the role's key */
};

struct token_record {
    struct blob bytes; /* as read; empty in a record that was made and not read */
    uint64_t version;  /* of the row it was read from; the reader of the store sets it */
    unsigned char serial[SERIAL_LEN];
    unsigned char label[TOKEN_LABEL_LEN];
    /* Views into `bytes`, or whatever the maker of the record owns. */
    struct view source;
    struct view context;
    struct view wrapped;
    struct role_record roles[ROLE_COUNT]; /* by enum custody_role */
};

/* Takes `bytes` in every case. Freed with token_record_clear. CKR_DATA_INVALID. */
CK_RV token_record_parse(struct blob *bytes, struct token_record *ret_record);
void token_record_clear(struct token_record *record);
/* With the MAC under the data key. */
CK_RV token_record_encode(const struct token_record *record, const struct secret *data_key,
                          struct blob *ret_bytes);
/* The MAC of a record that was read. CKR_ENCRYPTED_DATA_INVALID when it does not verify. */
CK_RV token_record_verify(const struct token_record *record, const struct secret *data_key);

/* A PIN attempt is counted before the PIN is checked. `counted` has those that run now (or were
 * killed) in it, `wrong` only those that are known to have been wrong. */
struct attempts {
    struct {
        uint8_t counted;
        uint8_t wrong;
    } roles[ROLE_COUNT];
};

#define ATTEMPTS_LEN (1 + 2 * ROLE_COUNT)

void attempts_encode(const struct attempts *attempts, unsigned char ret_bytes[ATTEMPTS_LEN]);
CK_RV attempts_parse(struct view bytes, struct attempts *ret_attempts);

#define KEYS_FIRST_EPOCH 1u
/* With a value id key of its own. */
#define KEYS_FORMAT_VALUE_ID 2

/* What the record "keys" holds. */
struct keys_record {
    uint32_t epoch;
    struct secret epoch_key;
    struct secret value_id_key; /* empty until the token key is rotated: derived from that one */
};

void keys_record_clear(struct keys_record *keys);

/* Under `keys_key` (LABEL_KEYS). */
CK_RV keys_record_encode(const unsigned char serial[SERIAL_LEN], const struct secret *keys_key,
                         const struct keys_record *keys, struct blob *ret_bytes);
/* Freed with keys_record_clear. CKR_ENCRYPTED_DATA_INVALID. */
CK_RV keys_record_open(const unsigned char serial[SERIAL_LEN], const struct secret *keys_key,
                       struct view bytes, struct keys_record *ret_keys);
