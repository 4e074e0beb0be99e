/* OpenSSL behind base/crypto.h: published vectors, seals that open only as they were made, and what
 * a host's OpenSSL must not notice. */
#include <openssl/err.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/rv.h"
#include "tests/unit/base_fixture.h"

static void setup(void)
{
    fixture_catch_log();
    secrets_init(false);
    ck_assert_uint_eq(crypto_init(), CKR_OK);
}

static void teardown(void)
{
    crypto_finish();
    ck_assert_uint_eq(secrets_in_use(), 0);
    ck_assert_int_eq(mem_live() <= 8, 1); /* one empty slab of each size at most */
}

static size_t unhex(const char *hex, unsigned char *bytes)
{
    size_t len = strlen(hex) / 2;
    for (size_t i = 0; i < len; i++) {
        unsigned value;
        ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &value), 1);
        bytes[i] = (unsigned char) value;
    }
    return len;
}

static struct secret secret_of_hex(const char *hex)
{
    unsigned char bytes[256];
    struct secret secret;
    ck_assert_uint_eq(secret_from(bytes, unhex(hex, bytes), &secret), CKR_OK);
    return secret;
}

static void check_hex(const unsigned char *bytes, size_t len, const char *hex)
{
    unsigned char expected[256];
    ck_assert_uint_eq(unhex(hex, expected), len);
    ck_assert_mem_eq(bytes, expected, len);
}

static const char *const cipher_names[] = {
    "AES-128-ECB",      "AES-192-ECB",      "AES-256-ECB",      "AES-128-CBC",  "AES-192-CBC",
    "AES-256-CBC",      "AES-128-CTR",      "AES-192-CTR",      "AES-256-CTR",  "AES-128-GCM",
    "AES-192-GCM",      "AES-256-GCM",      "AES-128-WRAP",     "AES-192-WRAP", "AES-256-WRAP",
    "AES-128-WRAP-PAD", "AES-192-WRAP-PAD", "AES-256-WRAP-PAD",
};
static const struct {
    const char *name;
    int len;
} digest_rows[] = {
    {"SHA1", 20},         {"SHA224", 28},     {"SHA256", 32},     {"SHA384", 48},
    {"SHA512", 64},       {"SHA512-224", 28}, {"SHA512-256", 32}, {"SHA2-224", 28},
    {"SHA2-256", 32},     {"SHA2-384", 48},   {"SHA2-512", 64},   {"SHA2-512/224", 28},
    {"SHA2-512/256", 32}, {"SHA3-224", 28},   {"SHA3-256", 32},   {"SHA3-384", 48},
    {"SHA3-512", 64},     {"SHAKE128", 16},   {"SHAKE256", 32},
};

START_TEST(every_algorithm_is_found)
{
    for (size_t i = 0; i < COUNT_OF(cipher_names); i++) {
        const EVP_CIPHER *cipher = crypto_cipher(cipher_names[i]);
        ck_assert_msg(cipher != NULL, "%s", cipher_names[i]);
        ck_assert(EVP_CIPHER_is_a(cipher, cipher_names[i]));
    }
    for (size_t i = 0; i < COUNT_OF(digest_rows); i++) {
        const EVP_MD *digest = crypto_digest(digest_rows[i].name);
        ck_assert_msg(digest != NULL, "%s", digest_rows[i].name);
        ck_assert(EVP_MD_is_a(digest, digest_rows[i].name));
        ck_assert_int_eq(EVP_MD_get_size(digest), digest_rows[i].len);
    }
    static const char *const macs[] = {"HMAC", "CMAC", "GMAC"};
    for (size_t i = 0; i < COUNT_OF(macs); i++)
        ck_assert_ptr_nonnull(crypto_mac(macs[i]));
    static const char *const kdfs[] = {"HKDF", "KBKDF", "SCRYPT", "PBKDF2"};
    for (size_t i = 0; i < COUNT_OF(kdfs); i++)
        ck_assert_ptr_nonnull(crypto_kdf(kdfs[i]));
}
END_TEST

START_TEST(an_unknown_algorithm_is_null)
{
    static const char *const names[] = {"", "A", "AES-256-GCM-SIV", "sha256", "MD5", "ZZZ"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        ck_assert_ptr_null(crypto_cipher(names[i]));
        ck_assert_ptr_null(crypto_digest(names[i]));
        ck_assert_ptr_null(crypto_mac(names[i]));
        ck_assert_ptr_null(crypto_kdf(names[i]));
    }
    ck_assert_ptr_null(crypto_cipher("SHA256"));
}
END_TEST

START_TEST(finish_gives_back_and_init_begins_again)
{
    ck_assert_uint_eq(crypto_init(), CKR_OK);
    OSSL_LIB_CTX *context = crypto_context();
    ck_assert_ptr_nonnull(context);
    crypto_finish();
    crypto_finish();
    unsigned char byte;
    ck_assert_ptr_null(crypto_context());
    ck_assert_ptr_null(crypto_cipher("AES-256-GCM"));
    ck_assert_uint_eq(crypto_random(&byte, 1), CKR_GENERAL_ERROR);
    ck_assert_uint_eq(crypto_init(), CKR_OK);
    ck_assert_ptr_eq(crypto_context(), context);
    ck_assert_uint_eq(crypto_random(&byte, 1), CKR_OK);
}
END_TEST

static void *use_random(void *barrier)
{
    unsigned char bytes[32];
    CK_RV rv = crypto_random(bytes, sizeof bytes);
    (void) pthread_barrier_wait(barrier);
    (void) pthread_barrier_wait(barrier);
    return rv == CKR_OK ? barrier : NULL;
}

/* OpenSSL gives a thread's generator back when the thread ends: here after crypto_finish. */
START_TEST(a_thread_may_outlive_finish)
{
    pthread_barrier_t barrier;
    pthread_t thread;
    void *result = NULL;
    ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, 2), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, use_random, &barrier), 0);
    (void) pthread_barrier_wait(&barrier);
    crypto_finish();
    (void) pthread_barrier_wait(&barrier);
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    ck_assert_ptr_eq(result, &barrier);
    (void) pthread_barrier_destroy(&barrier);
}
END_TEST

/* McGrew and Viega, The Galois/Counter Mode, test case 16. */
START_TEST(a_seal_has_the_documented_form)
{
    _cleanup_(secret_clear) struct secret key =
        secret_of_hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    _cleanup_(secret_clear) struct secret plaintext = {NULL, 0};
    unsigned char aad[64];
    unsigned char sealed[256];
    size_t aad_len = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2", aad);
    size_t sealed_len = unhex("cafebabefacedbaddecaf888"
                              "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                              "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
                              "76fc6ece0f4e1768cddf8853bb2d551b",
                              sealed);
    ck_assert_uint_eq(crypto_open(&key, (struct view){aad, aad_len},
                                  (struct view){sealed, sealed_len}, &plaintext),
                      CKR_OK);
    check_hex(plaintext.bytes, plaintext.len,
              "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
              "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
}
END_TEST

/* Lengths at the edges, and some over the pieces in which OpenSSL is fed. */
static const size_t seal_lens[] = {0, 1, 15, 16, 17, 4096, (1 << 20) - 1, 1 << 20, (3 << 20) + 5};

START_TEST(what_is_sealed_is_opened)
{
    _cleanup_(secret_clear) struct secret key = {NULL, 0};
    _cleanup_(secret_clear) struct secret opened = {NULL, 0};
    _cleanup_(blob_clear) struct blob sealed = {NULL, 0};
    ck_assert_uint_eq(crypto_random_secret(AEAD_KEY_LEN, &key), CKR_OK);
    size_t len = seal_lens[_i];
    unsigned char *bytes = malloc(len + 1);
    ck_assert_uint_eq(crypto_random(bytes, len), CKR_OK);
    struct view plaintext = {bytes, len};
    struct view aad = _i % 2 == 0 ? plaintext : (struct view){NULL, 0};
    ck_assert_uint_eq(crypto_seal(&key, aad, plaintext, &sealed), CKR_OK);
    ck_assert_uint_eq(sealed.len, len + AEAD_OVERHEAD);
    ck_assert_uint_eq(crypto_open(&key, aad, blob_view(&sealed), &opened), CKR_OK);
    ck_assert(view_equal((struct view){opened.bytes, opened.len}, plaintext));
    free(bytes);
}
END_TEST

START_TEST(any_changed_bit_is_noticed)
{
    _cleanup_(secret_clear) struct secret key = {NULL, 0};
    _cleanup_(blob_clear) struct blob sealed = {NULL, 0};
    struct secret untouched = {(unsigned char *) "x", 1};
    ck_assert_uint_eq(crypto_random_secret(AEAD_KEY_LEN, &key), CKR_OK);
    ck_assert_uint_eq(crypto_seal(&key, view_text("aad"), view_text("plaintext"), &sealed), CKR_OK);
    for (size_t bit = 0; bit < 8 * sealed.len; bit++) {
        sealed.bytes[bit / 8] ^= (unsigned char) (1 << bit % 8);
        ck_assert_uint_eq(crypto_open(&key, view_text("aad"), blob_view(&sealed), &untouched),
                          CKR_ENCRYPTED_DATA_INVALID);
        sealed.bytes[bit / 8] ^= (unsigned char) (1 << bit % 8);
    }
    for (size_t len = 0; len < sealed.len; len++)
        ck_assert_uint_eq(
            crypto_open(&key, view_text("aad"), (struct view){sealed.bytes, len}, &untouched),
            CKR_ENCRYPTED_DATA_INVALID);
    ck_assert_uint_eq(crypto_open(&key, view_text("Aad"), blob_view(&sealed), &untouched),
                      CKR_ENCRYPTED_DATA_INVALID);
    key.bytes[31] ^= 1;
    ck_assert_uint_eq(crypto_open(&key, view_text("aad"), blob_view(&sealed), &untouched),
                      CKR_ENCRYPTED_DATA_INVALID);
    ck_assert_uint_eq(untouched.len, 1);
    ck_assert_str_eq(fixture_log(), "");
}
END_TEST

START_TEST(one_context_seals_and_opens_in_any_order)
{
    _cleanup_(secret_clear) struct secret key = {NULL, 0};
    _cleanup_(aead_free) struct aead *aead = NULL;
    ck_assert_uint_eq(crypto_random_secret(AEAD_KEY_LEN, &key), CKR_OK);
    ck_assert_uint_eq(aead_new(&key, &aead), CKR_OK);
    unsigned char sealed[2][5 + AEAD_OVERHEAD];
    struct view first = {sealed[0], sizeof sealed[0]};
    struct view other = {sealed[1], sizeof sealed[1]};
    unsigned char opened[5];
    for (int round = 0; round < 4; round++) {
        ck_assert_uint_eq(aead_seal(aead, view_text("a"), view_text("first"), sealed[0]), CKR_OK);
        ck_assert_uint_eq(aead_seal(aead, view_text("a"), view_text("other"), sealed[1]), CKR_OK);
        ck_assert_mem_ne(sealed[0], sealed[1], AEAD_IV_LEN);
        ck_assert_uint_eq(aead_open(aead, view_text("a"), first, opened), CKR_OK);
        ck_assert_mem_eq(opened, "first", 5);
        /* A failure wipes the output and does not spoil the context. */
        ck_assert_uint_eq(aead_open(aead, view_text("b"), other, opened),
                          CKR_ENCRYPTED_DATA_INVALID);
        ck_assert_mem_eq(opened, "\0\0\0\0\0", 5);
        ck_assert_uint_eq(aead_open(aead, view_text("a"), other, opened), CKR_OK);
        ck_assert_mem_eq(opened, "other", 5);
    }
    /* The keyed context and the single call agree. */
    _cleanup_(secret_clear) struct secret plaintext = {NULL, 0};
    ck_assert_uint_eq(crypto_open(&key, view_text("a"), first, &plaintext), CKR_OK);
    ck_assert_mem_eq(plaintext.bytes, "first", 5);
}
END_TEST

START_TEST(a_key_of_another_length_is_refused)
{
    static const size_t key_lens[] = {0, 16, 31, 33};
    for (size_t i = 0; i < COUNT_OF(key_lens); i++) {
        _cleanup_(secret_clear) struct secret key = {NULL, 0};
        struct aead *aead = NULL;
        ck_assert_uint_eq(crypto_random_secret(key_lens[i], &key), CKR_OK);
        ck_assert_uint_eq(aead_new(&key, &aead), CKR_KEY_SIZE_RANGE);
        ck_assert_ptr_null(aead);
    }
}
END_TEST

/* RFC 5869, test cases 1 and 3. */
START_TEST(hkdf_gives_the_rfcs_bytes)
{
    _cleanup_(secret_clear) struct secret ikm =
        secret_of_hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
    _cleanup_(secret_clear) struct secret key = {NULL, 0};
    _cleanup_(secret_clear) struct secret bare = {NULL, 0};
    unsigned char salt[16];
    unsigned char info[16];
    struct view salt_view = {salt, unhex("000102030405060708090a0b0c", salt)};
    struct view info_view = {info, unhex("f0f1f2f3f4f5f6f7f8f9", info)};
    ck_assert_uint_eq(crypto_hkdf(&ikm, salt_view, info_view, 42, &key), CKR_OK);
    check_hex(key.bytes, key.len,
              "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
              "34007208d5b887185865");
    struct view nothing = {NULL, 0};
    ck_assert_uint_eq(crypto_hkdf(&ikm, nothing, nothing, 42, &bare), CKR_OK);
    check_hex(bare.bytes, bare.len,
              "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
              "9d201395faa4b61a96c8");
}
END_TEST

START_TEST(hkdf_has_its_limits)
{
    _cleanup_(secret_clear) struct secret ikm = {NULL, 0};
    _cleanup_(secret_clear) struct secret longest = {NULL, 0};
    struct secret untouched = {(unsigned char *) "x", 1};
    struct view none = {NULL, 0};
    ck_assert_uint_eq(crypto_hkdf(&ikm, none, none, 32, &untouched), CKR_FUNCTION_FAILED);
    ck_assert_uint_eq(crypto_random_secret(32, &ikm), CKR_OK);
    ck_assert_uint_eq(crypto_hkdf(&ikm, none, none, 0, &untouched), CKR_FUNCTION_FAILED);
    ck_assert_uint_eq(crypto_hkdf(&ikm, none, none, 255 * 32 + 1, &untouched), CKR_FUNCTION_FAILED);
    ck_assert_uint_eq(crypto_hkdf(&ikm, none, none, 255 * 32, &longest), CKR_OK);
    ck_assert_uint_eq(untouched.len, 1);
}
END_TEST

/* RFC 4231, test cases 2 and 6; FIPS 180-4's example. */
START_TEST(hmac_and_sha256_give_the_standards_bytes)
{
    unsigned char result[SHA256_LEN];
    _cleanup_(secret_clear) struct secret key = {NULL, 0};
    _cleanup_(secret_clear) struct secret long_key = {NULL, 0};
    ck_assert_uint_eq(secret_from("Jefe", 4, &key), CKR_OK);
    ck_assert_uint_eq(crypto_hmac_sha256(&key, view_text("what do ya want for nothing?"), result),
                      CKR_OK);
    check_hex(result, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    ck_assert_uint_eq(secret_new(131, &long_key), CKR_OK);
    memset(long_key.bytes, 0xaa, 131);
    ck_assert_uint_eq(
        crypto_hmac_sha256(
            &long_key, view_text("Test Using Larger Than Block-Size Key - Hash Key First"), result),
        CKR_OK);
    check_hex(result, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    ck_assert_uint_eq(crypto_sha256(view_text("abc"), result), CKR_OK);
    check_hex(result, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    ck_assert_uint_eq(crypto_sha256((struct view){NULL, 0}, result), CKR_OK);
    check_hex(result, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
END_TEST

START_TEST(an_hmac_context_serves_many_messages)
{
    _cleanup_(secret_clear) struct secret key = {NULL, 0};
    _cleanup_(hmac_free) struct hmac *hmac = NULL;
    unsigned char result[SHA256_LEN];
    unsigned char expected[SHA256_LEN];
    unsigned char message[200] = {0};
    ck_assert_uint_eq(secret_from("Jefe", 4, &key), CKR_OK);
    ck_assert_uint_eq(hmac_new(&key, &hmac), CKR_OK);
    for (size_t len = 0; len <= sizeof message; len++) {
        struct view text = {message, len};
        ck_assert_uint_eq(hmac_sha256(hmac, text, result), CKR_OK);
        ck_assert_uint_eq(crypto_hmac_sha256(&key, text, expected), CKR_OK);
        ck_assert_mem_eq(result, expected, SHA256_LEN);
    }
    hmac_free(&hmac);
    ck_assert_ptr_null(hmac);
}
END_TEST

/* RFC 7914, section 12; the key is the first half of the vector. */
START_TEST(scrypt_gives_the_rfcs_bytes)
{
    _cleanup_(secret_clear) struct secret empty = {NULL, 0};
    _cleanup_(secret_clear) struct secret key = {NULL, 0};
    struct view none = {NULL, 0};
    ck_assert_uint_eq(crypto_scrypt(none, none, &(struct scrypt_cost){16, 1, 1}, &empty), CKR_OK);
    check_hex(empty.bytes, empty.len,
              "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442");
    ck_assert_uint_eq(crypto_scrypt(view_text("password"), view_text("NaCl"),
                                    &(struct scrypt_cost){1024, 8, 16}, &key),
                      CKR_OK);
    check_hex(key.bytes, key.len,
              "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162");
}
END_TEST

static const struct scrypt_cost bad_scrypts[] = {
    {0, 8, 1},
    {1, 8, 1},
    {1000, 8, 1},
    {1024, 0, 1},
    {1024, 8, 0},
    {1024, 8, 17},
    {1 << 20, 8, 1},
    {UINT64_C(1) << 63, 8, 1},
    {1024, UINT32_MAX, 1},
    {1024, 8, UINT32_MAX},
};

START_TEST(scrypt_is_bounded)
{
    struct secret untouched = {(unsigned char *) "x", 1};
    ck_assert_uint_eq(crypto_scrypt(view_text("p"), view_text("s"), &bad_scrypts[_i], &untouched),
                      CKR_DATA_INVALID);
    ck_assert_uint_eq(untouched.len, 1);
}
END_TEST

START_TEST(scrypt_takes_more_than_openssls_default)
{
    _cleanup_(secret_clear) struct secret key = {NULL, 0};
    /* 64 MiB; OpenSSL alone would stop at 32. */
    ck_assert_uint_eq(
        crypto_scrypt(view_text("p"), view_text("s"), &(struct scrypt_cost){1 << 16, 8, 1}, &key),
        CKR_OK);
    ck_assert_uint_eq(key.len, 32);
}
END_TEST

START_TEST(random_bytes_differ)
{
    unsigned char a[32];
    unsigned char b[32];
    ck_assert_uint_eq(crypto_random(a, sizeof a), CKR_OK);
    ck_assert_uint_eq(crypto_random(b, sizeof b), CKR_OK);
    ck_assert_mem_ne(a, b, sizeof a);
    ck_assert_uint_eq(crypto_random(NULL, 0), CKR_OK);
    /* More than the generator gives at once (64 KiB). */
    _cleanup_(secret_clear) struct secret large = {NULL, 0};
    ck_assert_uint_eq(crypto_random_secret(300000, &large), CKR_OK);
    ck_assert_mem_ne(large.bytes + 299968, a, sizeof a);
    ck_assert_mem_ne(large.bytes + 299968, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
}
END_TEST

static int weak_bytes(unsigned char *bytes, int len)
{
    memset(bytes, 0, (size_t) len);
    return 1;
}

/* A host may have replaced OpenSSL's random source; ours stays. */
START_TEST(the_hosts_random_method_is_not_ours)
{
    static const RAND_METHOD method = {NULL, weak_bytes, NULL, NULL, weak_bytes, NULL};
    unsigned char bytes[32] = {0};
    static const unsigned char zeros[32];
    ck_assert_int_eq(RAND_set_rand_method(&method), 1);
    ck_assert_int_eq(RAND_bytes(bytes, sizeof bytes), 1);
    ck_assert_mem_eq(bytes, zeros, sizeof bytes);
    ck_assert_uint_eq(crypto_random(bytes, sizeof bytes), CKR_OK);
    ck_assert_mem_ne(bytes, zeros, sizeof bytes);
    ck_assert_int_eq(RAND_set_rand_method(NULL), 1);
}
END_TEST

START_TEST(the_hosts_error_queue_is_left_alone)
{
    _cleanup_(secret_clear) struct secret key = {NULL, 0};
    struct secret opened = {NULL, 0};
    unsigned char garbage[64] = {0};
    struct view none = {NULL, 0};
    struct view sealed = {garbage, sizeof garbage};
    ck_assert_uint_eq(crypto_random_secret(32, &key), CKR_OK);
    unsigned char mac[SHA256_LEN];
    struct secret empty = {NULL, 0};
    for (int round = 0; round < 2; round++) {
        ck_assert_uint_eq(crypto_open(&key, none, sealed, &opened), CKR_ENCRYPTED_DATA_INVALID);
        ck_assert_uint_eq(crypto_hmac_sha256(&empty, none, mac), CKR_FUNCTION_FAILED);
        if (round == 0)
            ck_assert_uint_eq(ERR_peek_error(), 0);
        ERR_clear_error();
        ERR_raise(ERR_LIB_USER, 42);
    }
    ck_assert_int_eq(ERR_GET_REASON(ERR_get_error()), 42);
    ck_assert_uint_eq(ERR_get_error(), 0);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "indexkey: error: HMAC-SHA-256: OpenSSL: "));
}
END_TEST

static int work_in_child(void *context)
{
    unsigned char parents[32];
    unsigned char childs[32];
    memcpy(parents, context, sizeof parents);
    OSSL_LIB_CTX *before = crypto_context();
    secrets_abandon();
    crypto_abandon();
    if (crypto_context() != NULL || crypto_init() != CKR_OK || crypto_context() == before)
        return 1;
    struct secret key = {NULL, 0};
    struct secret opened = {NULL, 0};
    struct blob sealed = {NULL, 0};
    if (crypto_random_secret(32, &key) != CKR_OK ||
        crypto_seal(&key, view_text("a"), view_text("p"), &sealed) != CKR_OK ||
        crypto_open(&key, view_text("a"), blob_view(&sealed), &opened) != CKR_OK)
        return 2;
    if (crypto_random(childs, sizeof childs) != CKR_OK || memcmp(parents, childs, 32) == 0)
        return 3;
    secret_clear(&key);
    secret_clear(&opened);
    blob_clear(&sealed);
    crypto_finish();
    return 0;
}

START_TEST(a_child_begins_anew)
{
    unsigned char bytes[32];
    ck_assert_uint_eq(crypto_random(bytes, sizeof bytes), CKR_OK);
    ck_assert_int_eq(fixture_in_child(work_in_child, bytes), 0);
    ck_assert_uint_eq(crypto_random(bytes, sizeof bytes), CKR_OK);
    ck_assert_ptr_nonnull(crypto_cipher("AES-256-GCM"));
}
END_TEST

static CK_RV use_everything(void)
{
    _cleanup_(secret_clear) struct secret key = {NULL, 0};
    _cleanup_(secret_clear) struct secret derived = {NULL, 0};
    _cleanup_(secret_clear) struct secret opened = {NULL, 0};
    _cleanup_(secret_clear) struct secret decoded = {NULL, 0};
    _cleanup_(blob_clear) struct blob sealed = {NULL, 0};
    TRY(crypto_random_secret(32, &key));
    TRY(crypto_hkdf(&key, view_text("salt"), view_text("info"), 32, &derived));
    TRY(crypto_seal(&derived, view_text("a"), view_text("plain"), &sealed));
    TRY(crypto_open(&derived, view_text("a"), blob_view(&sealed), &opened));
    return crypto_base64_secret(view_text("Zm9v"), 3, &decoded);
}

START_TEST(every_failed_allocation_is_survived)
{
    ck_assert_uint_eq(use_everything(), CKR_OK);
    long before = mem_live();
    mem_fail_at(0, false);
    ck_assert_uint_eq(use_everything(), CKR_OK);
    unsigned long count = mem_count();
    ck_assert_uint_gt(count, 4);
    for (unsigned long nth = 1; nth <= count; nth++) {
        mem_fail_at(nth, false);
        ck_assert_uint_eq(use_everything(), CKR_HOST_MEMORY);
    }
    mem_fail_at(0, false);
    ck_assert_int_eq(mem_live(), before);
    ck_assert_uint_eq(secrets_in_use(), 0);
}
END_TEST

static void *work_in_thread(void *context)
{
    for (int i = 0; i < 100; i++) {
        if (use_everything() != CKR_OK)
            return NULL;
    }
    return context;
}

START_TEST(threads_work_side_by_side)
{
    pthread_t threads[4];
    int marks[COUNT_OF(threads)];
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work_in_thread, &marks[i]), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *result = NULL;
        ck_assert_int_eq(pthread_join(threads[i], &result), 0);
        ck_assert_ptr_eq(result, &marks[i]);
    }
}
END_TEST

static void add_lifecycle(TCase *cases)
{
    tcase_add_test(cases, every_algorithm_is_found);
    tcase_add_test(cases, an_unknown_algorithm_is_null);
    tcase_add_test(cases, finish_gives_back_and_init_begins_again);
    tcase_add_test(cases, a_thread_may_outlive_finish);
    tcase_add_test(cases, random_bytes_differ);
    tcase_add_test(cases, the_hosts_random_method_is_not_ours);
    tcase_add_test(cases, the_hosts_error_queue_is_left_alone);
    tcase_add_test(cases, a_child_begins_anew);
    tcase_add_test(cases, every_failed_allocation_is_survived);
    tcase_add_test(cases, threads_work_side_by_side);
}

int main(void)
{
    TCase *cases = tcase_create("crypto");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, setup, teardown);
    add_lifecycle(cases);
    tcase_add_test(cases, a_seal_has_the_documented_form);
    tcase_add_loop_test(cases, what_is_sealed_is_opened, 0, COUNT_OF(seal_lens));
    tcase_add_test(cases, any_changed_bit_is_noticed);
    tcase_add_test(cases, one_context_seals_and_opens_in_any_order);
    tcase_add_test(cases, a_key_of_another_length_is_refused);
    tcase_add_test(cases, hkdf_gives_the_rfcs_bytes);
    tcase_add_test(cases, hkdf_has_its_limits);
    tcase_add_test(cases, hmac_and_sha256_give_the_standards_bytes);
    tcase_add_test(cases, an_hmac_context_serves_many_messages);
    tcase_add_test(cases, scrypt_gives_the_rfcs_bytes);
    tcase_add_loop_test(cases, scrypt_is_bounded, 0, COUNT_OF(bad_scrypts));
    tcase_add_test(cases, scrypt_takes_more_than_openssls_default);
    return fixture_run("crypto", cases);
}
