/* Row seals, the keyring that holds their keys, and the summary over a set of rows. */
#include <string.h>

#include "tests/support/token_fixture.h"
#include "tokens/seal.h"
#include "tokens/summary.h"

static const unsigned char serial[SERIAL_LEN] = {1, 2, 3, 4, 5, 6, 7, 8};
static struct keyring keyring;
static struct keyring *held;

static void open_keyring(void)
{
    struct secret token_key = {0};
    struct secret keys_key = {0};
    struct keys_record record = {.epoch = 1};
    struct blob keys = {0};
    ck_assert_uint_eq(crypto_random_secret(SEAL_KEY_LEN, &token_key), CKR_OK);
    ck_assert_uint_eq(crypto_random_secret(SEAL_KEY_LEN, &record.epoch_key), CKR_OK);
    ck_assert_uint_eq(derive_key(&token_key, serial, LABEL_KEYS, &keys_key), CKR_OK);
    ck_assert_uint_eq(keys_record_encode(serial, &keys_key, &record, &keys), CKR_OK);
    struct keyring_opening opening = {
        .serial = serial,
        .token_key = &token_key,
        .keys_record = blob_view(&keys),
    };
    keyring_init(&keyring);
    ck_assert_uint_eq(keyring_hold(&keyring, &held), CKR_USER_NOT_LOGGED_IN);
    ck_assert_uint_eq(keyring_open(&keyring, &opening), CKR_OK);
    ck_assert_uint_eq(keyring_hold(&keyring, &held), CKR_OK);
    secret_clear(&token_key);
    secret_clear(&keys_key);
    keys_record_clear(&record);
    blob_clear(&keys);
}

static void close_keyring(void)
{
    keyring_release(&held);
    keyring_destroy(&keyring);
}

/* Seals and shows the row as the store will hand it back. */
static struct store_row seal(struct seal_content content, struct sealed_row *ret_sealed)
{
    ck_assert_uint_eq(seal_row(held, &content, ret_sealed), CKR_OK);
    return (struct store_row){
        .id = *content.id,
        .version = content.version,
        .attributes = blob_view(&ret_sealed->attributes),
        .value = blob_view(&ret_sealed->value),
    };
}

static const struct {
    uint32_t attribute_key;
    const char *attributes;
    const char *value;
} contents[] = {
    {0, "attributes", "value"}, {0, "attributes", ""},      {0, "", "value"}, {0, "", ""},
    {1, "attributes", "v"},     {UINT32_MAX, "a", "value"},
};

START_TEST(a_row_opens_to_what_was_sealed)
{
    static const struct object_id id = {{5}};
    struct secret value = {0};
    struct secret opened = {0};
    struct sealed_row sealed = {0};
    struct blob attributes = {0};
    const char *text = contents[_i].value;
    open_keyring();
    ck_assert_uint_eq(secret_from(text, strlen(text), &value), CKR_OK);
    struct seal_content content = {
        .id = &id,
        .version = 3,
        .attribute_key = contents[_i].attribute_key,
        .attributes = view_text(contents[_i].attributes),
        .value = &value,
    };
    struct store_row row = seal(content, &sealed);
    /* docs/formats.md */
    ck_assert_uint_eq(row.attributes.len, 5 + strlen(contents[_i].attributes) + 28);
    ck_assert_uint_eq(row.value.len, value.len == 0 ? 0 : 5 + 60 + value.len + 28);
    ck_assert_uint_eq(seal_value_len(&row), value.len);
    ck_assert_uint_eq(seal_open_attributes(held, &row, &attributes), CKR_OK);
    ck_assert(view_equal(blob_view(&attributes), content.attributes));
    ck_assert_uint_eq(seal_open_value(held, &row, &opened), CKR_OK);
    ck_assert(secret_equal(&opened, &value));
    blob_clear(&attributes);
    secret_clear(&opened);
    secret_clear(&value);
    sealed_row_clear(&sealed);
    close_keyring();
}
END_TEST

START_TEST(a_row_is_bound_to_its_id_and_version)
{
    static const struct object_id id = {{5}};
    struct secret value = {0};
    struct sealed_row sealed = {0};
    struct blob attributes = {0};
    open_keyring();
    ck_assert_uint_eq(secret_from("value", 5, &value), CKR_OK);
    struct seal_content content = {
        .id = &id, .version = 3, .attributes = view_text("a"), .value = &value};
    struct store_row good = seal(content, &sealed);
    secret_clear(&value);
    struct store_row rows[] = {good, good, good};
    rows[0].id.bytes[15] ^= 1;
    rows[1].version++;
    rows[2].version = 0;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ck_assert_uint_eq(seal_open_attributes(held, &rows[i], &attributes),
                          CKR_ENCRYPTED_DATA_INVALID);
        ck_assert_uint_eq(seal_open_value(held, &rows[i], &value), CKR_ENCRYPTED_DATA_INVALID);
    }
    sealed_row_clear(&sealed);
    close_keyring();
}
END_TEST

START_TEST(the_same_content_seals_to_other_bytes)
{
    static const struct object_id id = {{5}};
    struct sealed_row sealed[2] = {{{0}, {0}}};
    unsigned char macs[2][SHA256_LEN];
    open_keyring();
    for (size_t i = 0; i < 2; i++) {
        struct store_row row =
            seal((struct seal_content){.id = &id, .version = 1, .attributes = view_text("a")},
                 &sealed[i]);
        ck_assert_uint_eq(seal_set_mac(held, &row, macs[i]), CKR_OK);
    }
    ck_assert_mem_ne(sealed[0].attributes.bytes + 5, sealed[1].attributes.bytes + 5, AEAD_IV_LEN);
    ck_assert_mem_ne(macs[0], macs[1], SHA256_LEN);
    sealed_row_clear(&sealed[0]);
    sealed_row_clear(&sealed[1]);
    close_keyring();
}
END_TEST

START_TEST(a_sum_forgets_the_order_and_what_was_removed)
{
    unsigned char a[SHA256_LEN];
    unsigned char b[SHA256_LEN];
    memset(a, 0xff, sizeof(a));
    memset(b, 0x80, sizeof(b));
    struct summary one = {0};
    struct summary two = {0};
    summary_add(&one, a);
    summary_add(&one, b);
    summary_add(&two, b);
    ck_assert(!summary_same_set(&one, &two));
    summary_add(&two, a);
    ck_assert(summary_same_set(&one, &two));
    ck_assert_uint_eq(one.count, 2);
    /* ff…ff + 80…80 mod 2^256 = 80…7f */
    ck_assert_uint_eq(one.sum[0], 0x80);
    ck_assert_uint_eq(one.sum[SHA256_LEN - 1], 0x7f);
    summary_remove(&one, a);
    summary_remove(&one, b);
    struct summary nothing = {0};
    ck_assert(summary_same_set(&one, &nothing));
    summary_remove(&one, b);
    summary_add(&one, b);
    ck_assert(summary_same_set(&one, &nothing));
}
END_TEST

START_TEST(a_summary_reads_as_it_was_written_and_chooses_the_attribute_key)
{
    struct summary written = {.generation = UINT64_C(5) << 30, .count = 7, .sum = {1, 2, 3}};
    struct summary read = {0};
    struct blob bytes = {0};
    open_keyring();
    ck_assert_uint_eq(summary_seal(held, &written, &bytes), CKR_OK);
    ck_assert_uint_eq(bytes.len, 1 + 48 + 28);
    ck_assert_uint_eq(summary_open(held, blob_view(&bytes), &read), CKR_OK);
    ck_assert(summary_same_set(&written, &read));
    ck_assert_uint_eq(read.generation, written.generation);
    ck_assert_uint_eq(summary_attribute_key(&read), 5);
    read.generation--;
    ck_assert_uint_eq(summary_attribute_key(&read), 4);
    for (size_t len = 0; len < bytes.len; len++) {
        struct view cut = {bytes.bytes, len};
        ck_assert_uint_eq(summary_open(held, cut, &read), CKR_ENCRYPTED_DATA_INVALID);
    }
    blob_clear(&bytes);
    close_keyring();
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("seal");
    tcase_add_loop_test(cases, a_row_opens_to_what_was_sealed, 0, (int) COUNT_OF(contents));
    tcase_add_test(cases, a_row_is_bound_to_its_id_and_version);
    tcase_add_test(cases, the_same_content_seals_to_other_bytes);
    tcase_add_test(cases, a_sum_forgets_the_order_and_what_was_removed);
    tcase_add_test(cases, a_summary_reads_as_it_was_written_and_chooses_the_attribute_key);
    return fixture_run("seal", cases);
}
