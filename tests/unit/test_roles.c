/* Role keys: what opens the token key, and what does not. */
#include <string.h>

#include "tests/support/token_fixture.h"
#include "tokens/roles.h"

static const unsigned char serial[SERIAL_LEN] = {1, 2, 3, 4, 5, 6, 7, 8};
static const unsigned char other_serial[SERIAL_LEN] = {1, 2, 3, 4, 5, 6, 7, 9};
static struct secret data_key;
static struct secret other_key;
static struct secret token_key;

static void make_keys(void)
{
    ck_assert_uint_eq(crypto_random_secret(DATA_KEY_LEN, &data_key), CKR_OK);
    ck_assert_uint_eq(crypto_random_secret(DATA_KEY_LEN, &other_key), CKR_OK);
    ck_assert_uint_eq(crypto_random_secret(SEAL_KEY_LEN, &token_key), CKR_OK);
}

static void clear_keys(void)
{
    secret_clear(&data_key);
    secret_clear(&other_key);
    secret_clear(&token_key);
}

static void assert_open(const struct role_context *context, const struct role_record *role,
                        const char *pin, CK_RV expected)
{
    struct secret opened = {0};
    ck_assert_uint_eq(role_open(context, role, view_text(pin), &opened), expected);
    ck_assert(expected != CKR_OK || secret_equal(&opened, &token_key));
    ck_assert(expected == CKR_OK || opened.bytes == NULL);
    secret_clear(&opened);
}

START_TEST(only_the_same_pin_data_key_role_and_serial_open)
{
    make_keys();
    struct role_context user = {CUSTODY_USER, serial, &data_key};
    struct role_context so = {CUSTODY_SO, serial, &data_key};
    struct role_context other_token = {CUSTODY_USER, other_serial, &data_key};
    struct role_context other_data_key = {CUSTODY_USER, serial, &other_key};
    struct role_record role;
    struct view pin = view_text("1234");
    ck_assert_uint_eq(role_seal(&user, &pin, &token_key, &role), CKR_OK);
    ck_assert_int_eq(role.state, ROLE_PIN);
    ck_assert_uint_eq(role.stretch.cost.n, 1u << 14);
    ck_assert_uint_eq(role.stretch.cost.r, 8);
    ck_assert_uint_eq(role.stretch.cost.p, 1);
    assert_open(&user, &role, "1234", CKR_OK);
    assert_open(&user, &role, "1235", CKR_ENCRYPTED_DATA_INVALID);
    assert_open(&user, &role, "", CKR_ENCRYPTED_DATA_INVALID);
    assert_open(&so, &role, "1234", CKR_ENCRYPTED_DATA_INVALID);
    assert_open(&other_token, &role, "1234", CKR_ENCRYPTED_DATA_INVALID);
    assert_open(&other_data_key, &role, "1234", CKR_ENCRYPTED_DATA_INVALID);
    role.state = ROLE_NO_PIN;
    assert_open(&user, &role, "1234", CKR_ENCRYPTED_DATA_INVALID);
    clear_keys();
}
END_TEST

START_TEST(a_role_without_a_pin_needs_the_data_key_alone)
{
    make_keys();
    struct role_context user = {CUSTODY_USER, serial, &data_key};
    struct role_context other_data_key = {CUSTODY_USER, serial, &other_key};
    struct role_record role;
    ck_assert_uint_eq(role_seal(&user, NULL, &token_key, &role), CKR_OK);
    ck_assert_int_eq(role.state, ROLE_NO_PIN);
    assert_open(&user, &role, "", CKR_OK);
    assert_open(&user, &role, "anything", CKR_OK);
    assert_open(&other_data_key, &role, "", CKR_ENCRYPTED_DATA_INVALID);
    clear_keys();
}
END_TEST

START_TEST(two_sealings_share_neither_salt_nor_bytes)
{
    make_keys();
    struct role_context user = {CUSTODY_USER, serial, &data_key};
    struct role_record roles[2];
    struct view pin = view_text("1234");
    for (size_t i = 0; i < 2; i++)
        ck_assert_uint_eq(role_seal(&user, &pin, &token_key, &roles[i]), CKR_OK);
    ck_assert_mem_ne(roles[0].stretch.salt, roles[1].stretch.salt, ROLE_SALT_LEN);
    ck_assert_mem_ne(roles[0].sealed_key, roles[1].sealed_key, SEALED_KEY_LEN);
    clear_keys();
}
END_TEST

static const struct {
    struct role_stretch stretch;
    bool bounded;
} stretches[] = {
    {{.cost = {1 << 14, 8, 1}}, true},
    {{.cost = {1 << 10, 1, 1}}, true},
    {{.cost = {1 << 17, 1, 4}}, true},
    {{.cost = {1 << 9, 8, 1}}, false},
    {{.cost = {(1 << 14) + 1, 8, 1}}, false},
    {{.cost = {0, 8, 1}}, false},
    {{.cost = {1 << 14, 0, 1}}, false},
    {{.cost = {1 << 14, 8, 0}}, false},
    {{.cost = {1 << 15, 8, 1}}, false},
    {{.cost = {1 << 14, 8, 5}}, false},
    {{.cost = {UINT64_C(1) << 63, 8, 1}}, false},
    {{.cost = {1 << 14, UINT32_MAX, 1}}, false},
    {{.cost = {1 << 14, 8, UINT32_MAX}}, false},
};

START_TEST(what_a_record_may_ask_for_is_bounded)
{
    ck_assert_int_eq(role_stretch_is_bounded(&stretches[_i].stretch), stretches[_i].bounded);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("roles");
    tcase_add_test(cases, only_the_same_pin_data_key_role_and_serial_open);
    tcase_add_test(cases, a_role_without_a_pin_needs_the_data_key_alone);
    tcase_add_test(cases, two_sealings_share_neither_salt_nor_bytes);
    tcase_add_loop_test(cases, what_a_record_may_ask_for_is_bounded, 0, (int) COUNT_OF(stretches));
    return fixture_run("roles", cases);
}
