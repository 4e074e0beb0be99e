/*
 * Drives the operations of the mechanism table without sessions and slots: keys are made here, and
 * the functions that mechanisms call for keys (object_value, object_release, key_use_get,
 * key_use_value, the counts and ledgers of GCM keys) are this fixture's own.
 */
#pragma once

#include "module/mechanism.h"
#include "module/operation.h"

#define SALT_KEY_HANDLE 77

/* Algorithms ready, no salt key. For checked fixtures. */
void mechanism_setup(void);
void mechanism_teardown(void);

/* Bytes of a text of hexadecimal digits; static storage, 32 calls deep. */
struct view hex(const char *text);
struct view bytes_of(const void *bytes, size_t len);

/* A key with one reference; freed with test_key_free. */
struct object *test_key_new(CK_KEY_TYPE type, struct view value);
void test_key_free(struct object *key);
/* The key behind SALT_KEY_HANDLE. */
void test_salt_key(struct object *key);
/* References given out by key_use_get and not released. */
int test_salt_references(void);

/* An operation as C_*Init leaves it before it calls start. Ends with operation_forget, which leaves
 * the key alone. */
struct operation test_operation(enum operation_kind kind, CK_MECHANISM_TYPE type,
                                struct object *key);
CK_MECHANISM test_mechanism(CK_MECHANISM_TYPE type, void *parameter, size_t len);

/* Start, update in parts of `part` bytes (0: one_shot where there is one), finish. */
CK_RV test_digest(struct operation *operation, const CK_MECHANISM *mechanism, struct view in,
                  size_t part, unsigned char *out);
CK_RV test_cipher(struct operation *operation, const CK_MECHANISM *mechanism, struct view in,
                  size_t part, struct blob *ret_out);

/* test_cipher of hexadecimal `in` gives `wanted`. */
void test_cipher_gives(struct operation *operation, CK_MECHANISM *mechanism, const char *in,
                       size_t part, const char *wanted);
/* Both directions between the hexadecimal `from` and `to`, with the output before, at and behind
 * the input in one buffer. */
void test_overlaps_one_shot(CK_MECHANISM *mechanism, struct object *key, const char *from,
                            const char *to);
/* The same, encrypting by two updates. */
void test_overlaps_parts(CK_MECHANISM *mechanism, struct object *key, const char *from,
                         const char *to);

/* A derivation of one output to which nobody objects; a test may change it before it runs. */
struct test_call {
    struct derive_call call;
    struct derive_output outputs[DERIVE_FURTHER_MAX + 1];
    struct derive_keys further;
};
void test_call_make(struct test_call *call, const CK_MECHANISM *mechanism, struct object *base,
                    size_t len);
/* Gives further keys back. */
CK_RV test_call_derive(struct test_call *call, struct secret *ret_values);

/* The two in one. */
CK_RV test_derive(const CK_MECHANISM *mechanism, struct object *base, size_t len,
                  struct secret *ret_value);
