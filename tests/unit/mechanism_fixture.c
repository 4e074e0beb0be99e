#include "tests/unit/mechanism_fixture.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/rv.h"
#include "module/gcm_counts.h"
#include "module/iv_counters.h"
#include "module/key_use.h"

static struct object *salt_key;
static int salt_references;

CK_RV object_value(struct object *object, const struct secret **ret_value)
{
    *ret_value = &object->value;
    return CKR_OK;
}

void object_release(struct object **object)
{
    if (*object && *object == salt_key)
        salt_references--;
    *object = NULL;
}

CK_RV key_use_get(struct slot *slot, CK_OBJECT_HANDLE handle, enum attribute_flag usage,
                  const struct mechanism *mechanism, struct object **ret_key)
{
    (void) slot;
    ck_assert_int_eq(usage, FLAG_DERIVE);
    ck_assert_ptr_nonnull(mechanism->derive);
    if (handle != SALT_KEY_HANDLE || !salt_key)
        return CKR_KEY_HANDLE_INVALID;
    salt_references++;
    *ret_key = salt_key;
    return CKR_OK;
}

CK_RV key_use_value(struct object *key, const struct secret **ret_value)
{
    *ret_value = &key->value;
    return CKR_OK;
}

/* Counting has its own tests (tests/threads/test_gcm_counts.c). */
CK_RV gcm_counts_await(struct object *key, struct gcm_share *share)
{
    (void) key;
    share->left = 1000;
    return CKR_OK;
}

void gcm_counts_give_back(struct gcm_share *share)
{
    share->left = 0;
}

void audit_share_give_back(struct audit_share *share)
{
    share->left = 0;
}

CK_RV iv_counters_next(struct object *key, const struct iv_form *form, unsigned int bits,
                       struct iv_filling *filling, uint64_t *ret_value)
{
    (void) key;
    (void) form;
    (void) bits;
    (void) filling;
    *ret_value = 0;
    return CKR_OK;
}

void mechanism_setup(void)
{
    secrets_init(false);
    ck_assert_uint_eq(crypto_init(), CKR_OK);
    salt_key = NULL;
    salt_references = 0;
}

void mechanism_teardown(void)
{
    crypto_finish();
}

struct view bytes_of(const void *bytes, size_t len)
{
    return (struct view){.bytes = bytes, .len = len};
}

struct view hex(const char *text)
{
    static unsigned char rings[32][1024];
    static unsigned int next;
    unsigned char *ring = rings[next++ % 32];
    size_t len = strlen(text) / 2;

    ck_assert_uint_le(len, sizeof(rings[0]));
    for (size_t i = 0; i < len; i++) {
        unsigned int byte = 0;
        ck_assert_int_eq(sscanf(text + 2 * i, "%2x", &byte), 1);
        ring[i] = (unsigned char) byte;
    }
    return bytes_of(ring, len);
}

struct object *test_key_new(CK_KEY_TYPE type, struct view value)
{
    struct object *key = mem_calloc(1, sizeof(*key));

    ck_assert_ptr_nonnull(key);
    ck_assert_uint_eq(secret_from(value.bytes, value.len, &key->value), CKR_OK);
    key->attributes.key_type = (uint32_t) type;
    key->attributes.value_len = (uint32_t) value.len;
    return key;
}

void test_key_free(struct object *key)
{
    secret_clear(&key->value);
    mem_free(key);
}

void test_salt_key(struct object *key)
{
    salt_key = key;
}

int test_salt_references(void)
{
    return salt_references;
}

struct operation test_operation(enum operation_kind kind, CK_MECHANISM_TYPE type,
                                struct object *key)
{
    struct operation operation = {
        .kind = kind,
        .phase = PHASE_STARTED,
        .mechanism = mechanism_find(type),
        .key = key,
    };

    ck_assert_ptr_nonnull(operation.mechanism);
    return operation;
}

CK_MECHANISM test_mechanism(CK_MECHANISM_TYPE type, void *parameter, size_t len)
{
    return (CK_MECHANISM){.mechanism = type, .pParameter = parameter, .ulParameterLen = len};
}

static CK_RV digest_parts(struct operation *operation, const CK_MECHANISM *mechanism,
                          struct view in, size_t part, unsigned char *out)
{
    const struct digest_ops *ops =
        operation->mechanism->digest ? operation->mechanism->digest : operation->mechanism->mac;

    TRY(ops->start(operation, mechanism));
    for (size_t done = 0; done < in.len;) {
        size_t len = part == 0 || in.len - done < part ? in.len - done : part;
        TRY(ops->update(operation, bytes_of(in.bytes + done, len)));
        done += len;
    }
    return ops->finish(operation, out);
}

CK_RV test_digest(struct operation *operation, const CK_MECHANISM *mechanism, struct view in,
                  size_t part, unsigned char *out)
{
    CK_RV rv = digest_parts(operation, mechanism, in, part, out);

    operation_end(operation);
    return rv;
}

/* As module/api_crypt.c: asks for the length, gives just that much room. */
static CK_RV cipher_parts(struct operation *operation, struct view in, size_t part,
                          struct blob *out)
{
    const struct cipher_ops *ops = operation->mechanism->cipher;
    size_t room = 0;
    size_t written = 0;

    for (size_t done = 0; done < in.len;) {
        size_t len = in.len - done < part ? in.len - done : part;
        TRY(ops->output_len(operation, len, false, &room));
        out->bytes = mem_resize(out->bytes, out->len + room + 1, 1);
        ck_assert_ptr_nonnull(out->bytes);
        TRY(ops->update(operation, bytes_of(in.bytes + done, len), out->bytes + out->len,
                        &written));
        ck_assert_uint_eq(written, room);
        out->len += written;
        done += len;
    }
    TRY(ops->output_len(operation, 0, true, &room));
    out->bytes = mem_resize(out->bytes, out->len + room + 1, 1);
    ck_assert_ptr_nonnull(out->bytes);
    TRY(ops->finish(operation, out->bytes + out->len, &written));
    ck_assert_uint_le(written, room);
    out->len += written;
    return CKR_OK;
}

static CK_RV cipher_one_shot(struct operation *operation, struct view in, struct blob *out)
{
    const struct cipher_ops *ops = operation->mechanism->cipher;
    size_t room = 0;

    TRY(ops->output_len(operation, in.len, true, &room));
    out->bytes = mem_alloc(room + 1);
    ck_assert_ptr_nonnull(out->bytes);
    CK_RV rv = ops->one_shot(operation, in, out->bytes, &out->len);
    ck_assert_uint_le(out->len, room);
    return rv;
}

CK_RV test_cipher(struct operation *operation, const CK_MECHANISM *mechanism, struct view in,
                  size_t part, struct blob *ret_out)
{
    struct blob out = {0};
    CK_RV rv = operation->mechanism->cipher->start(operation, mechanism);

    if (rv == CKR_OK) {
        rv = part == 0 ? cipher_one_shot(operation, in, &out)
                       : cipher_parts(operation, in, part, &out);
    }
    operation_end(operation);
    if (rv == CKR_OK)
        *ret_out = out;
    else
        blob_clear(&out);
    return rv;
}

void test_cipher_gives(struct operation *operation, CK_MECHANISM *mechanism, const char *in,
                       size_t part, const char *wanted)
{
    struct blob out = {0};

    ck_assert_uint_eq(test_cipher(operation, mechanism, hex(in), part, &out), CKR_OK);
    ck_assert(view_equal(blob_view(&out), hex(wanted)));
    blob_clear(&out);
}

/* Output before, at and behind the input in one buffer, one-shot. */
void test_overlaps_one_shot(CK_MECHANISM *mechanism, struct object *key, const char *from,
                            const char *to)
{
    static const enum operation_kind kinds[] = {OPERATION_ENCRYPT, OPERATION_DECRYPT};

    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        struct operation operation = test_operation(kinds[k], mechanism->mechanism, key);
        struct view in = hex(kinds[k] == OPERATION_ENCRYPT ? from : to);
        struct view wanted = hex(kinds[k] == OPERATION_ENCRYPT ? to : from);
        for (size_t shift = 0; shift <= 200; shift++) {
            unsigned char buffer[400];
            size_t len = 0;
            memcpy(buffer + 100, in.bytes, in.len);
            ck_assert_uint_eq(operation.mechanism->cipher->start(&operation, mechanism), CKR_OK);
            ck_assert_uint_eq(operation.mechanism->cipher->one_shot(
                                  &operation, bytes_of(buffer + 100, in.len), buffer + shift, &len),
                              CKR_OK);
            operation_end(&operation);
            ck_assert(view_equal(bytes_of(buffer + shift, len), wanted));
        }
        operation_forget(&operation);
    }
}

/* The same with two updates, the first of an odd length. */
void test_overlaps_parts(CK_MECHANISM *mechanism, struct object *key, const char *from,
                         const char *to)
{
    struct operation operation = test_operation(OPERATION_ENCRYPT, mechanism->mechanism, key);
    const struct cipher_ops *ops = operation.mechanism->cipher;
    struct view in = hex(from);
    struct view wanted = hex(to);

    for (size_t shift = 80; shift <= 120; shift++) {
        unsigned char buffer[400];
        unsigned char result[400];
        size_t first = 0;
        size_t second = 0;
        size_t last = 0;
        memcpy(buffer + 100, in.bytes + 5, in.len - 5);
        ck_assert_uint_eq(ops->start(&operation, mechanism), CKR_OK);
        ck_assert_uint_eq(ops->update(&operation, bytes_of(in.bytes, 5), result, &first), CKR_OK);
        ck_assert_uint_eq(
            ops->update(&operation, bytes_of(buffer + 100, in.len - 5), buffer + shift, &second),
            CKR_OK);
        memcpy(result + first, buffer + shift, second);
        ck_assert_uint_eq(ops->finish(&operation, result + first + second, &last), CKR_OK);
        operation_end(&operation);
        ck_assert(view_equal(bytes_of(result, first + second + last), wanted));
    }
    operation_forget(&operation);
}

static CK_RV allow_all(void *context, size_t output, struct view prf_input)
{
    (void) context;
    (void) output;
    (void) prf_input;
    return CKR_OK;
}

static CK_RV allow_all_info(void *context, struct view info)
{
    (void) context;
    (void) info;
    return CKR_OK;
}

void test_call_make(struct test_call *call, const CK_MECHANISM *mechanism, struct object *base,
                    size_t len)
{
    memset(call, 0, sizeof(*call));
    call->outputs[0] = (struct derive_output){.key_type = CKK_GENERIC_SECRET, .len = len};
    call->call = (struct derive_call){
        .mechanism = mechanism,
        .base = base,
        .base_value = &base->value,
        .outputs = call->outputs,
        .output_count = 1,
        .further = &call->further,
        .allow = allow_all,
        .allow_info = allow_all_info,
    };
}

CK_RV test_call_derive(struct test_call *call, struct secret *ret_values)
{
    const struct mechanism *mechanism = mechanism_find(call->call.mechanism->mechanism);

    CK_RV rv = mechanism->derive->derive(&call->call, ret_values);
    for (size_t i = 0; i < call->further.count; i++)
        object_release(&call->further.keys[i]);
    call->further.count = 0;
    return rv;
}

CK_RV test_derive(const CK_MECHANISM *mechanism, struct object *base, size_t len,
                  struct secret *ret_value)
{
    struct test_call call;

    test_call_make(&call, mechanism, base, len);
    return test_call_derive(&call, ret_value);
}
