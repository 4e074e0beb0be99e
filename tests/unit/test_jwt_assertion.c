/* JWTs: their form by RFC 7515, their signature by OpenSSL's own check, and keys that are none. The
 * contract tests have them checked by a JWT library. */
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "tests/unit/base_fixture.h"
#include "tokens/jwt_assertion.h"

#define CLAIMS "{\"iss\":\"me@example\",\"exp\":1}"
#define PEM_MAX 8192

static EVP_PKEY *key;
static char key_pem[PEM_MAX];

/* PKCS #8, or the traditional PKCS #1; a password encrypts. */
static void write_pem(EVP_PKEY *from, bool traditional, const char *password, char pem[PEM_MAX])
{
    BIO *bio = BIO_new(BIO_s_mem());
    const EVP_CIPHER *cipher = password == NULL ? NULL : EVP_aes_128_cbc();
    int len = password == NULL ? 0 : (int) strlen(password);
    const unsigned char *bytes = (const unsigned char *) password;
    int written =
        traditional
            ? PEM_write_bio_PrivateKey_traditional(bio, from, cipher, bytes, len, NULL, NULL)
            : PEM_write_bio_PKCS8PrivateKey(bio, from, cipher, password, len, NULL, NULL);
    ck_assert_int_eq(written, 1);
    int got = BIO_read(bio, pem, PEM_MAX - 1);
    ck_assert_int_gt(got, 0);
    pem[got] = '\0';
    BIO_free(bio);
}

static void make_key(void)
{
    key = EVP_RSA_gen(2048);
    ck_assert_ptr_nonnull(key);
    write_pem(key, false, NULL, key_pem);
}

static void drop_key(void)
{
    EVP_PKEY_free(key);
}

static void setup(void)
{
    fixture_catch_log();
    secrets_init(false);
    ck_assert_uint_eq(crypto_init(), CKR_OK);
}

static void teardown(void)
{
    ck_assert_uint_eq(secrets_in_use(), 0);
    crypto_finish();
}

static CK_RV sign_with(const char *pem, enum jwt_algorithm algorithm, struct secret *ret_jwt)
{
    static const struct jwt_field fields[] = {{"kid", "a\"b"}, {"x5t#S256", "c-_"}};
    struct jwt_assertion assertion = {
        .algorithm = algorithm,
        .fields = fields,
        .field_count = COUNT_OF(fields),
        .claims = view_text(CLAIMS),
        .key_pem = view_text(pem),
    };
    return jwt_assertion_sign(&assertion, ret_jwt);
}

/* ---- base64url ---- */

static const struct {
    const char *bytes;
    size_t len;
    const char *text;
} coded[] = {
    /* RFC 4648, 10, without the padding. */
    {"", 0, ""},
    {"f", 1, "Zg"},
    {"fo", 2, "Zm8"},
    {"foo", 3, "Zm9v"},
    {"foob", 4, "Zm9vYg"},
    {"fooba", 5, "Zm9vYmE"},
    {"foobar", 6, "Zm9vYmFy"},
    /* RFC 7515, C. */
    {"\x03\xec\xff\xe0\xc1", 5, "A-z_4ME"},
};

START_TEST(base64url_is_as_the_rfcs_have_it)
{
    struct secret text = {0};
    struct view bytes = {(const unsigned char *) coded[_i].bytes, coded[_i].len};
    ck_assert_uint_eq(jwt_assertion_base64url(bytes, &text), CKR_OK);
    ck_assert_uint_eq(text.len, strlen(coded[_i].text));
    ck_assert(view_equal((struct view){text.bytes, text.len}, view_text(coded[_i].text)));
    secret_clear(&text);
}
END_TEST

/* ---- signatures ---- */

static struct view part_of(struct view *rest)
{
    const unsigned char *dot = memchr(rest->bytes, '.', rest->len);
    size_t len = dot == NULL ? rest->len : (size_t) (dot - rest->bytes);
    struct view part = {rest->bytes, len};
    size_t taken = dot == NULL ? len : len + 1;
    *rest = (struct view){rest->bytes + taken, rest->len - taken};
    return part;
}

static size_t decode(struct view text, unsigned char bytes[1024])
{
    char padded[1024];
    size_t len = text.len;
    ck_assert_uint_lt(len + 4, sizeof(padded));
    for (size_t i = 0; i < len; i++) {
        char c = (char) text.bytes[i];
        ck_assert(c != '+' && c != '/' && c != '=');
        padded[i] = c == '-' ? '+' : c == '_' ? '/' : c;
    }
    size_t padding = (4 - len % 4) % 4;
    memset(padded + len, '=', padding);
    int got = EVP_DecodeBlock(bytes, (const unsigned char *) padded, (int) (len + padding));
    ck_assert_int_ge(got, (int) padding);
    return (size_t) got - padding;
}

static void assert_part(struct view part, const char *wanted)
{
    unsigned char bytes[1024];
    size_t len = decode(part, bytes);
    ck_assert_uint_eq(len, strlen(wanted));
    ck_assert_int_eq(memcmp(bytes, wanted, len), 0);
}

static bool verifies(enum jwt_algorithm algorithm, struct view input, struct view signature)
{
    unsigned char bytes[1024];
    size_t len = decode(signature, bytes);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *settings = NULL;
    ck_assert_int_eq(EVP_DigestVerifyInit(context, &settings, EVP_sha256(), NULL, key), 1);
    if (algorithm == JWT_PS256) {
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING), 1);
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, SHA256_LEN), 1);
    }
    int good = EVP_DigestVerify(context, bytes, len, input.bytes, input.len);
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return good == 1;
}

static void assert_jwt(const struct secret *jwt, enum jwt_algorithm algorithm)
{
    struct view rest = {jwt->bytes, jwt->len};
    struct view header = part_of(&rest);
    struct view claims = part_of(&rest);
    struct view input = {jwt->bytes, header.len + 1 + claims.len};
    assert_part(
        header,
        algorithm == JWT_PS256
            ? "{\"alg\":\"PS256\",\"typ\":\"JWT\",\"kid\":\"a\\\"b\",\"x5t#S256\":\"c-_\"}"
            : "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"a\\\"b\",\"x5t#S256\":\"c-_\"}");
    assert_part(claims, CLAIMS);
    ck_assert(verifies(algorithm, input, rest));
    input.len--;
    ck_assert(!verifies(algorithm, input, rest));
}

START_TEST(a_jwt_is_signed)
{
    static const enum jwt_algorithm algorithms[] = {JWT_RS256, JWT_PS256};
    char traditional[PEM_MAX];
    struct secret jwt = {0};
    ck_assert_uint_eq(sign_with(key_pem, algorithms[_i], &jwt), CKR_OK);
    assert_jwt(&jwt, algorithms[_i]);
    secret_clear(&jwt);
    write_pem(key, true, NULL, traditional);
    ck_assert_ptr_nonnull(strstr(traditional, "BEGIN RSA PRIVATE KEY"));
    ck_assert_uint_eq(sign_with(traditional, algorithms[_i], &jwt), CKR_OK);
    assert_jwt(&jwt, algorithms[_i]);
    secret_clear(&jwt);
}
END_TEST

/* ---- keys that are none ---- */

static void assert_no_key(const char *pem)
{
    struct secret jwt = {0};
    ck_assert_uint_eq(sign_with(pem, JWT_RS256, &jwt), CKR_DATA_INVALID);
    ck_assert_uint_eq(jwt.len, 0);
    ck_assert_str_eq(fixture_log(), "");
    ck_assert_uint_eq(ERR_peek_error(), 0);
}

START_TEST(what_is_no_key_is_refused)
{
    static char long_text[CRYPTO_PEM_LEN_MAX + 2];
    char pem[PEM_MAX];
    assert_no_key("");
    assert_no_key("no key");
    assert_no_key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    memset(long_text, '\n', sizeof(long_text) - 1);
    assert_no_key(long_text);
    strcpy(pem, key_pem);
    pem[strlen(pem) / 2] = '\0';
    assert_no_key(pem);
}
END_TEST

START_TEST(an_encrypted_key_is_refused)
{
    char pem[PEM_MAX];
    write_pem(key, _i == 1, "password", pem);
    assert_no_key(pem);
}
END_TEST

START_TEST(other_keys_are_refused)
{
    char pem[PEM_MAX];
    EVP_PKEY *others[] = {EVP_RSA_gen(1024), EVP_EC_gen("P-256"),
                          EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        ck_assert_ptr_nonnull(others[i]);
        write_pem(others[i], false, NULL, pem);
        EVP_PKEY_free(others[i]);
        assert_no_key(pem);
    }
    BIO *bio = BIO_new(BIO_s_mem());
    ck_assert_int_eq(PEM_write_bio_PUBKEY(bio, key), 1);
    int len = BIO_read(bio, pem, sizeof(pem) - 1);
    pem[len] = '\0';
    BIO_free(bio);
    assert_no_key(pem);
}
END_TEST

START_TEST(no_lack_of_memory_harms)
{
    for (unsigned long nth = 1;; nth++) {
        struct secret jwt = {0};
        mem_fail_at(nth, false);
        CK_RV rv = sign_with(key_pem, JWT_RS256, &jwt);
        bool reached = mem_count() >= nth;
        mem_fail_at(0, false);
        secret_clear(&jwt);
        ck_assert_uint_eq(secrets_in_use(), 0);
        if (!reached) {
            ck_assert_uint_eq(rv, CKR_OK);
            ck_assert_uint_gt(nth, 4);
            break;
        }
        ck_assert_uint_eq(rv, CKR_HOST_MEMORY);
    }
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("JWT");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, make_key, drop_key);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_loop_test(cases, base64url_is_as_the_rfcs_have_it, 0, (int) COUNT_OF(coded));
    tcase_add_loop_test(cases, a_jwt_is_signed, 0, 2);
    tcase_add_test(cases, what_is_no_key_is_refused);
    tcase_add_loop_test(cases, an_encrypted_key_is_refused, 0, 2);
    tcase_add_test(cases, other_keys_are_refused);
    tcase_add_test(cases, no_lack_of_memory_harms);
    return fixture_run("JWT assertions", cases);
}
