/* The small records, byte for byte, and what hostile bytes of them do. */
#include <string.h>

#include "tests/support/token_fixture.h"

static const unsigned char serial[SERIAL_LEN] = {1, 2, 3, 4, 5, 6, 7, 8};

static struct token_record sample(void)
{
    struct token_record record = {
        .source = view_text("file"),
        .context = view_text("context"),
        .wrapped = view_text("wrapped data key"),
    };
    memcpy(record.serial, serial, SERIAL_LEN);
    memset(record.label, 'L', TOKEN_LABEL_LEN);
    struct role_record *so = &record.roles[CUSTODY_SO];
    so->state = ROLE_PIN;
    so->stretch = (struct role_stretch){.cost = {1 << 14, 8, 1}, .salt = {9, 9}};
    memset(so->sealed_key, 's', SEALED_KEY_LEN);
    return record;
}

static struct secret key_of(unsigned char byte)
{
    unsigned char bytes[DATA_KEY_LEN];
    struct secret key = {0};
    memset(bytes, byte, sizeof(bytes));
    ck_assert_uint_eq(secret_from(bytes, sizeof(bytes), &key), CKR_OK);
    return key;
}

START_TEST(a_record_reads_as_it_was_written)
{
    struct token_record written = sample();
    struct token_record read = {0};
    struct secret key = key_of(7);
    struct secret other = key_of(8);
    struct blob bytes = {0};
    ck_assert_uint_eq(token_record_encode(&written, &key, &bytes), CKR_OK);
    /* docs/formats.md: fixed fields, three strings, two roles, MAC. */
    ck_assert_uint_eq(bytes.len, 1 + 8 + 32 + (4 + 4) + (4 + 7) + (4 + 16) + 2 * 93 + 32);
    ck_assert_uint_eq(bytes.bytes[0], 1);
    ck_assert_mem_eq(bytes.bytes + 1, serial, SERIAL_LEN);
    ck_assert_mem_eq(bytes.bytes + 41, "\0\0\0\4file\0\0\0\7context", 19);
    ck_assert_uint_eq(token_record_parse(&bytes, &read), CKR_OK);
    ck_assert_ptr_null(bytes.bytes);
    ck_assert_mem_eq(read.label, written.label, TOKEN_LABEL_LEN);
    ck_assert(view_equal(read.source, written.source));
    ck_assert(view_equal(read.context, written.context));
    ck_assert(view_equal(read.wrapped, written.wrapped));
    ck_assert_int_eq(read.roles[CUSTODY_SO].state, ROLE_PIN);
    ck_assert_uint_eq(read.roles[CUSTODY_SO].stretch.cost.n, 1 << 14);
    ck_assert_mem_eq(read.roles[CUSTODY_SO].sealed_key, written.roles[CUSTODY_SO].sealed_key,
                     SEALED_KEY_LEN);
    ck_assert_int_eq(read.roles[CUSTODY_USER].state, ROLE_UNSET);
    ck_assert_uint_eq(token_record_verify(&read, &key), CKR_OK);
    ck_assert_uint_eq(token_record_verify(&read, &other), CKR_ENCRYPTED_DATA_INVALID);
    token_record_clear(&read);
    secret_clear(&key);
    secret_clear(&other);
}
END_TEST

START_TEST(every_changed_or_missing_byte_is_noticed)
{
    struct token_record written = sample();
    struct secret key = key_of(7);
    struct blob good = {0};
    ck_assert_uint_eq(token_record_encode(&written, &key, &good), CKR_OK);
    for (size_t bit = 0; bit < 8 * good.len; bit++) {
        struct blob bad = {0};
        struct token_record read = {0};
        ck_assert_uint_eq(blob_from(good.bytes, good.len, &bad), CKR_OK);
        bad.bytes[bit / 8] ^= (unsigned char) (1u << bit % 8);
        CK_RV rv = token_record_parse(&bad, &read);
        ck_assert(rv == CKR_OK || rv == CKR_DATA_INVALID);
        if (rv == CKR_OK)
            ck_assert_uint_eq(token_record_verify(&read, &key), CKR_ENCRYPTED_DATA_INVALID);
        token_record_clear(&read);
    }
    for (size_t len = 0; len < good.len; len++) {
        struct blob bad = {0};
        struct token_record read = {0};
        ck_assert_uint_eq(blob_from(good.bytes, len, &bad), CKR_OK);
        ck_assert_uint_eq(token_record_parse(&bad, &read), CKR_DATA_INVALID);
        ck_assert_ptr_null(bad.bytes);
    }
    blob_clear(&good);
    secret_clear(&key);
}
END_TEST

static const struct {
    unsigned char bytes[ATTEMPTS_LEN + 1];
    size_t len;
    CK_RV rv;
} counters[] = {
    {{1, 0, 0, 0, 0}, 5, CKR_OK},
    {{1, 3, 2, PIN_TRIES, PIN_TRIES}, 5, CKR_OK},
    {{2, 0, 0, 0, 0}, 5, CKR_DATA_INVALID},
    {{1, 2, 3, 0, 0}, 5, CKR_DATA_INVALID},
    {{1, PIN_TRIES + 1, 0, 0, 0}, 5, CKR_DATA_INVALID},
    {{1, 0, 0, 255, 255}, 5, CKR_DATA_INVALID},
    {{1, 0, 0, 0, 0}, 4, CKR_DATA_INVALID},
    {{1, 0, 0, 0, 0, 0}, 6, CKR_DATA_INVALID},
    {{0}, 0, CKR_DATA_INVALID},
};

START_TEST(counters_are_checked)
{
    struct attempts attempts = {0};
    struct view bytes = {counters[_i].bytes, counters[_i].len};
    ck_assert_uint_eq(attempts_parse(bytes, &attempts), counters[_i].rv);
    if (counters[_i].rv == CKR_OK) {
        unsigned char again[ATTEMPTS_LEN];
        attempts_encode(&attempts, again);
        ck_assert_mem_eq(again, bytes.bytes, ATTEMPTS_LEN);
    }
}
END_TEST

/* Run 0: as it is made; run 1: with a value id key of its own. */
START_TEST(the_keys_record_opens_under_its_key_and_serial_only)
{
    static const unsigned char other_serial[SERIAL_LEN] = {0};
    struct secret key = key_of(7);
    struct secret other = key_of(8);
    struct keys_record keys = {.epoch = 5, .epoch_key = key_of(9)};
    struct keys_record opened = {0};
    struct blob bytes = {0};
    if (_i == 1)
        keys.value_id_key = key_of(10);
    ck_assert_uint_eq(keys_record_encode(serial, &key, &keys, &bytes), CKR_OK);
    ck_assert_uint_eq(bytes.len, _i == 0 ? 1 + 4 + 60 : 1 + 4 + 92);
    ck_assert_uint_eq(keys_record_open(serial, &key, blob_view(&bytes), &opened), CKR_OK);
    ck_assert_uint_eq(opened.epoch, 5);
    ck_assert(secret_equal(&opened.epoch_key, &keys.epoch_key));
    ck_assert_uint_eq(opened.value_id_key.len, keys.value_id_key.len);
    ck_assert(_i == 0 || secret_equal(&opened.value_id_key, &keys.value_id_key));
    keys_record_clear(&opened);
    ck_assert_uint_eq(keys_record_open(serial, &other, blob_view(&bytes), &opened),
                      CKR_ENCRYPTED_DATA_INVALID);
    ck_assert_uint_eq(keys_record_open(other_serial, &key, blob_view(&bytes), &opened),
                      CKR_ENCRYPTED_DATA_INVALID);
    for (size_t i = 0; i < bytes.len; i++) {
        for (unsigned int bit = 1; bit < 256; bit <<= 1) {
            bytes.bytes[i] ^= (unsigned char) bit;
            ck_assert_uint_eq(keys_record_open(serial, &key, blob_view(&bytes), &opened),
                              CKR_ENCRYPTED_DATA_INVALID);
            bytes.bytes[i] ^= (unsigned char) bit;
        }
    }
    bytes.len--;
    ck_assert_uint_eq(keys_record_open(serial, &key, blob_view(&bytes), &opened),
                      CKR_ENCRYPTED_DATA_INVALID);
    blob_clear(&bytes);
    secret_clear(&key);
    secret_clear(&other);
    keys_record_clear(&keys);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("token_record");
    tcase_add_test(cases, a_record_reads_as_it_was_written);
    tcase_add_test(cases, every_changed_or_missing_byte_is_noticed);
    tcase_add_loop_test(cases, counters_are_checked, 0, (int) COUNT_OF(counters));
    tcase_add_loop_test(cases, the_keys_record_opens_under_its_key_and_serial_only, 0, 2);
    return fixture_run("token_record", cases);
}
