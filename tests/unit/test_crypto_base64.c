/* Base64 into a secret: strict, and the whole alphabet. */
#include <string.h>

#include "base/crypto.h"
#include "base/rv.h"
#include "tests/unit/base_fixture.h"

static const struct {
    const char *text;
    size_t len;
    const char *bytes; /* NULL: refused */
} base64s[] = {
    {"", 0, ""},
    {" \n", 0, ""},
    {"Zg==", 1, "f"},
    {"Zm8=", 2, "fo"},
    {"Zm9v", 3, "foo"},
    {"Zm9vYg==", 4, "foob"},
    {"Zm9vYmE=", 5, "fooba"},
    {"Zm9vYmFy", 6, "foobar"},
    {" \t\r\nZm9vYmFy\r\n", 6, "foobar"},
    {"+/+/", 3, "\xfb\xff\xbf"},
    {"AZaz09+/", 6, "\x01\x96\xb3\xd3\xdf\xbf"},
    {"Zm9vYmFy", 5, NULL},
    {"Zm9vYmFy", 7, NULL},
    {"Zm9v", 4, NULL},
    {"Zg", 1, NULL},
    {"Zg=", 1, NULL},
    {"Zh==", 1, NULL}, /* bits left over */
    {"Zm9=", 2, NULL}, /* bits left over */
    {"Zg=A", 1, NULL},
    {"ZgA=", 1, NULL},
    {"Z===", 1, NULL},
    {"====", 1, NULL},
    {"Zm9=", 3, NULL},
    {"Zm 9vY==", 4, NULL},
    {"Zm9v\nYg==", 4, NULL},
    {"-_-_", 3, NULL},
    {"Zm9\x80", 3, NULL},
    {"Zm9\xff", 3, NULL},
    {"Zm9", 3, NULL},
    {"Zm9v", SIZE_MAX, NULL},
};

START_TEST(base64_is_strict)
{
    struct secret secret = {(unsigned char *) "x", 77};
    CK_RV rv = crypto_base64_secret(view_text(base64s[_i].text), base64s[_i].len, &secret);
    if (base64s[_i].bytes == NULL) {
        ck_assert_uint_eq(rv, CKR_DATA_INVALID);
        ck_assert_uint_eq(secret.len, 77);
        return;
    }
    ck_assert_uint_eq(rv, CKR_OK);
    ck_assert_uint_eq(secret.len, base64s[_i].len);
    ck_assert(secret.len == 0 || memcmp(secret.bytes, base64s[_i].bytes, secret.len) == 0);
    secret_clear(&secret);
}
END_TEST

/* Every byte value, against OpenSSL's encoder and alphabet. */
START_TEST(base64_knows_the_whole_alphabet)
{
    for (unsigned c = 0; c < 256; c++) {
        unsigned char coded[4] = {'A', 'A', 'A', (unsigned char) c};
        bool is_known = c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                         "0123456789+/",
                                         (int) c) != NULL;
        struct secret secret = {NULL, 0};
        CK_RV rv = crypto_base64_secret((struct view){coded, 4}, 3, &secret);
        ck_assert_uint_eq(rv, is_known ? CKR_OK : CKR_DATA_INVALID);
        secret_clear(&secret);
    }
    for (size_t len = 1; len < 200; len++) {
        unsigned char bytes[200];
        unsigned char coded[300];
        ck_assert_uint_eq(crypto_random(bytes, len), CKR_OK);
        int coded_len = EVP_EncodeBlock(coded, bytes, (int) len);
        struct secret secret = {NULL, 0};
        ck_assert_uint_eq(
            crypto_base64_secret((struct view){coded, (size_t) coded_len}, len, &secret), CKR_OK);
        ck_assert_mem_eq(secret.bytes, bytes, len);
        secret_clear(&secret);
    }
}
END_TEST

static void setup(void)
{
    ck_assert_uint_eq(crypto_init(), CKR_OK);
}

int main(void)
{
    TCase *cases = tcase_create("base64");
    tcase_add_checked_fixture(cases, setup, crypto_finish);
    tcase_add_loop_test(cases, base64_is_strict, 0, COUNT_OF(base64s));
    tcase_add_test(cases, base64_knows_the_whole_alphabet);
    return fixture_run("base64", cases);
}
