/*
 * Operations in a session: the conventions for buffers (PKCS #11 5.2), the order of calls,
 * cancelling, keys that go away in between, and that a kept context gives what a fresh one gives
 * (compared with OpenSSL).
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TAG 16
static const CK_ATTRIBUTE_TYPE crypt_usages[2] = {CKA_ENCRYPT, CKA_DECRYPT};
static const CK_ATTRIBUTE_TYPE mac_usages[2] = {CKA_SIGN, CKA_VERIFY};
static const CK_BYTE key_a[32] = "the first known AES key, a....";
static const CK_BYTE key_b[32] = "the second known AES key, b...";

static struct api api;
static CK_OBJECT_HANDLE aes_a;
static CK_OBJECT_HANDLE aes_b;
static CK_OBJECT_HANDLE mac_key;
static CK_BYTE iv[16] = "initialisation.";
static CK_BYTE text[100];

static void open_token(void)
{
    api_open(&api, "memory:", NULL);
    aes_a = api_import_key(&api, CKK_AES, key_a, crypt_usages);
    aes_b = api_import_key(&api, CKK_AES, key_b, crypt_usages);
    mac_key = api_import_key(&api, CKK_GENERIC_SECRET, key_a, mac_usages);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (CK_BYTE) i;
}

static void close_token(void)
{
    api_close(&api);
}

/* What OpenSSL makes of it; ciphertext and tag. The associated data is the text's beginning. */
static size_t seal(const CK_BYTE *key, size_t iv_len, size_t aad_len, size_t len, CK_BYTE *out)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int written = 0;

    ck_assert(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, NULL, NULL) == 1 &&
              EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_IVLEN, (int) iv_len, NULL) == 1 &&
              EVP_EncryptInit_ex(context, NULL, NULL, key, iv) == 1 &&
              EVP_EncryptUpdate(context, NULL, &written, text, (int) aad_len) == 1 &&
              EVP_EncryptUpdate(context, out, &written, text, (int) len) == 1 &&
              EVP_EncryptFinal_ex(context, out + len, &written) == 1 &&
              EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG, out + len) == 1);
    EVP_CIPHER_CTX_free(context);
    return len + TAG;
}

static CK_GCM_PARAMS gcm_params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
static CK_MECHANISM gcm = {CKM_AES_GCM, &gcm_params, sizeof(gcm_params)};
static CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
static CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};

/* C_*Init of each kind. */
static CK_RV init(CK_FLAGS kind, CK_MECHANISM *cipher, CK_MECHANISM *mac, CK_MECHANISM *digest)
{
    switch (kind) {
    case CKF_ENCRYPT:
        return api.p11->C_EncryptInit(api.session, cipher, aes_a);
    case CKF_DECRYPT:
        return api.p11->C_DecryptInit(api.session, cipher, aes_a);
    case CKF_SIGN:
        return api.p11->C_SignInit(api.session, mac, mac_key);
    case CKF_VERIFY:
        return api.p11->C_VerifyInit(api.session, mac, mac_key);
    default:
        return api.p11->C_DigestInit(api.session, digest);
    }
}

static CK_RV begin(CK_FLAGS kind)
{
    return init(kind, &gcm, &hmac, &sha256);
}

static CK_RV cancel(CK_FLAGS kind)
{
    return init(kind, NULL, NULL, NULL);
}

static CK_RV once(CK_FLAGS kind, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *len)
{
    switch (kind) {
    case CKF_ENCRYPT:
        return api.p11->C_Encrypt(api.session, text, in_len, out, len);
    case CKF_DECRYPT:
        return api.p11->C_Decrypt(api.session, text, in_len, out, len);
    case CKF_SIGN:
        return api.p11->C_Sign(api.session, text, in_len, out, len);
    case CKF_VERIFY:
        return api.p11->C_Verify(api.session, text, in_len, text, 32);
    default:
        return api.p11->C_Digest(api.session, text, in_len, out, len);
    }
}

static CK_RV update(CK_FLAGS kind, CK_BYTE *in, CK_ULONG in_len)
{
    CK_BYTE out[200];
    CK_ULONG len = sizeof(out);

    switch (kind) {
    case CKF_ENCRYPT:
        return api.p11->C_EncryptUpdate(api.session, in, in_len, out, &len);
    case CKF_DECRYPT:
        return api.p11->C_DecryptUpdate(api.session, in, in_len, out, &len);
    case CKF_SIGN:
        return api.p11->C_SignUpdate(api.session, in, in_len);
    case CKF_VERIFY:
        return api.p11->C_VerifyUpdate(api.session, in, in_len);
    default:
        return api.p11->C_DigestUpdate(api.session, in, in_len);
    }
}

static CK_RV finish(CK_FLAGS kind, CK_BYTE *out, CK_ULONG *len)
{
    switch (kind) {
    case CKF_ENCRYPT:
        return api.p11->C_EncryptFinal(api.session, out, len);
    case CKF_DECRYPT:
        return api.p11->C_DecryptFinal(api.session, out, len);
    case CKF_SIGN:
        return api.p11->C_SignFinal(api.session, out, len);
    case CKF_VERIFY:
        return api.p11->C_VerifyFinal(api.session, text, 32);
    default:
        return api.p11->C_DigestFinal(api.session, out, len);
    }
}

static const struct {
    CK_FLAGS kind;
    CK_ULONG out_len; /* of 50 bytes in */
} kinds[] = {{CKF_ENCRYPT, 50 + TAG},
             {CKF_DECRYPT, 50 - TAG},
             {CKF_SIGN, 32},
             {CKF_DIGEST, 32},
             {CKF_VERIFY, 0}};
#define KINDS_WITH_OUTPUT 4

START_TEST(buffers)
{
    CK_FLAGS kind = kinds[_i].kind;
    CK_BYTE out[100];
    CK_ULONG len = 0;

    OK(begin(kind));
    OK(once(kind, 50, NULL, &len));
    ck_assert_uint_eq(len, kinds[_i].out_len);
    OK(once(kind, 50, NULL, &len)); /* again: nothing was used up */
    len = kinds[_i].out_len - 1;
    EXPECT(CKR_BUFFER_TOO_SMALL, once(kind, 50, out, &len));
    ck_assert_uint_eq(len, kinds[_i].out_len);
    EXPECT(CKR_OPERATION_ACTIVE, begin(kind)); /* alive */
    EXPECT(kind == CKF_DECRYPT ? CKR_ENCRYPTED_DATA_INVALID : CKR_OK, once(kind, 50, out, &len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, once(kind, 50, out, &len)); /* and over */
    OK(begin(kind));
    EXPECT(CKR_ARGUMENTS_BAD, once(kind, 50, out, NULL));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, once(kind, 50, out, &len));
    OK(begin(kind));
    EXPECT(CKR_ARGUMENTS_BAD, update(kind, NULL, 5));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, update(kind, text, 5));
    OK(begin(kind));
    OK(update(kind, text, 50));
    OK(finish(kind, NULL, &len));
    CK_ULONG needed = kind == CKF_ENCRYPT ? TAG : kinds[_i].out_len;
    ck_assert_uint_eq(len, needed);
    len = needed - 1;
    EXPECT(CKR_BUFFER_TOO_SMALL, finish(kind, out, &len));
    ck_assert_uint_eq(len, needed);
    EXPECT(kind == CKF_DECRYPT ? CKR_ENCRYPTED_DATA_INVALID : CKR_OK, finish(kind, out, &len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, finish(kind, out, &len));
}
END_TEST

START_TEST(order_of_calls)
{
    CK_FLAGS kind = kinds[_i].kind;
    CK_BYTE out[200];
    CK_ULONG len = sizeof(out);

    EXPECT(CKR_OPERATION_NOT_INITIALIZED, once(kind, 50, out, &len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, update(kind, text, 5));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, finish(kind, out, &len));
    OK(begin(kind));
    EXPECT(CKR_OPERATION_ACTIVE, begin(kind));
    OK(update(kind, text, 5));
    EXPECT(CKR_OPERATION_ACTIVE, begin(kind));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED,
           once(kind, 50, out, &len)); /* no single part after parts */
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, update(kind, text, 5));
    OK(begin(kind));
    for (size_t other = 0; other < COUNT(kinds); other++) /* the kinds do not meet */
        if (kinds[other].kind != kind)
            EXPECT(CKR_OPERATION_NOT_INITIALIZED, update(kinds[other].kind, text, 5));
    OK(update(kind, text, 50));
}
END_TEST

START_TEST(cancelling)
{
    static const CK_FLAGS all = CKF_ENCRYPT | CKF_DECRYPT | CKF_SIGN | CKF_VERIFY | CKF_DIGEST;
    CK_FLAGS kind = kinds[_i].kind;

    OK(cancel(kind)); /* nothing to cancel */
    OK(begin(kind));
    OK(cancel(kind));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, update(kind, text, 5));
    OK(begin(kind));
    OK(update(kind, text, 5));
    OK(cancel(kind));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, update(kind, text, 5));
    OK(begin(kind));
    OK(api.p11->C_SessionCancel(api.session, (all & ~kind) | CKF_FIND_OBJECTS | CKF_MESSAGE_SIGN));
    OK(update(kind, text, 5)); /* not this one */
    OK(api.p11->C_SessionCancel(api.session, kind));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, update(kind, text, 5));
    OK(api.p11->C_SessionCancel(api.session, all));
    OK(begin(kind));
}
END_TEST

START_TEST(verify_always_ends)
{
    CK_BYTE mac[32];
    CK_ULONG len = sizeof(mac);

    OK(begin(CKF_SIGN));
    OK(once(CKF_SIGN, 50, mac, &len));
    for (CK_ULONG signature_len = 31; signature_len <= 33; signature_len++) {
        OK(begin(CKF_VERIFY));
        EXPECT(signature_len == 32 ? CKR_OK : CKR_SIGNATURE_LEN_RANGE,
               api.p11->C_Verify(api.session, text, 50, mac, signature_len));
        EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_Verify(api.session, text, 50, mac, 32));
    }
    mac[31] ^= 1;
    OK(begin(CKF_VERIFY));
    EXPECT(CKR_SIGNATURE_INVALID, api.p11->C_Verify(api.session, text, 50, mac, 32));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_Verify(api.session, text, 50, mac, 32));
    OK(begin(CKF_VERIFY));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_Verify(api.session, text, 50, NULL, 32));
}
END_TEST

/* Lengths, IVs and keys follow one another in one session: each result is that of a fresh context.
 */
static const struct {
    bool other_key;
    CK_ULONG iv_len;
    CK_ULONG aad_len;
    CK_ULONG len;
    bool aborted; /* a part of a message before, then cancelled */
} messages[] = {{false, 12, 0, 100, false}, {false, 12, 20, 50, false}, {false, 12, 0, 100, true},
                {true, 12, 0, 100, false},  {false, 16, 7, 1, false},   {false, 12, 0, 17, true},
                {false, 8, 3, 0, false},    {true, 12, 33, 99, true},   {false, 12, 0, 100, false}};

START_TEST(kept_contexts)
{
    CK_GCM_PARAMS params = {.pIv = iv, .pAAD = text, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};

    for (size_t i = 0; i < COUNT(messages); i++) {
        CK_OBJECT_HANDLE key = messages[i].other_key ? aes_b : aes_a;
        CK_BYTE expected[200];
        CK_BYTE out[200];
        CK_BYTE back[200];
        CK_ULONG len = sizeof(out);
        CK_ULONG back_len = sizeof(back);
        params.ulIvLen = messages[i].iv_len;
        params.ulAADLen = messages[i].aad_len;
        iv[0] = (CK_BYTE) i;
        size_t expected_len = seal(messages[i].other_key ? key_b : key_a, params.ulIvLen,
                                   params.ulAADLen, messages[i].len, expected);
        if (messages[i].aborted) {
            OK(api.p11->C_EncryptInit(api.session, &mechanism, key));
            OK(api.p11->C_EncryptUpdate(api.session, text, 33, out, &len));
            OK(api.p11->C_EncryptInit(api.session, NULL, 0));
            OK(api.p11->C_DecryptInit(api.session, &mechanism, key));
            OK(api.p11->C_DecryptUpdate(api.session, text, 33, out, &len));
            OK(api.p11->C_DecryptInit(api.session, NULL, 0));
        }
        len = sizeof(out);
        OK(api.p11->C_EncryptInit(api.session, &mechanism, key));
        OK(api.p11->C_Encrypt(api.session, text, messages[i].len, out, &len));
        ck_assert_uint_eq(len, expected_len);
        ck_assert_msg(memcmp(out, expected, len) == 0, "message %zu", i);
        OK(api.p11->C_DecryptInit(api.session, &mechanism, key));
        OK(api.p11->C_Decrypt(api.session, out, len, back, &back_len));
        ck_assert_uint_eq(back_len, messages[i].len);
        ck_assert(memcmp(back, text, back_len) == 0);
    }
}
END_TEST

START_TEST(kept_macs)
{
    for (CK_ULONG len = 0; len <= 100; len += 20) {
        CK_BYTE expected[64];
        CK_BYTE mac[64];
        CK_ULONG mac_len = sizeof(mac);
        size_t expected_len = 0;
        ck_assert_ptr_nonnull(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key_a, 32, text, len,
                                        expected, sizeof(expected), &expected_len));
        OK(begin(CKF_SIGN));
        OK(update(CKF_SIGN, text, 7)); /* left behind */
        OK(cancel(CKF_SIGN));
        OK(begin(CKF_SIGN));
        OK(once(CKF_SIGN, len, mac, &mac_len));
        ck_assert_uint_eq(mac_len, expected_len);
        ck_assert_mem_eq(mac, expected, expected_len);
        OK(begin(CKF_SIGN));
        OK(update(CKF_SIGN, text, len / 2));
        OK(update(CKF_SIGN, text + len / 2, len - len / 2));
        OK(finish(CKF_SIGN, mac, &mac_len));
        ck_assert_mem_eq(mac, expected, expected_len);
    }
}
END_TEST

START_TEST(in_place)
{
    CK_BYTE expected[200];
    CK_BYTE buffer[200];
    CK_ULONG len = sizeof(buffer);
    size_t expected_len = seal(key_a, 12, 0, 100, expected);

    memcpy(buffer, text, 100);
    OK(begin(CKF_ENCRYPT));
    OK(api.p11->C_Encrypt(api.session, buffer, 100, buffer, &len));
    ck_assert_uint_eq(len, expected_len);
    ck_assert_mem_eq(buffer, expected, expected_len);
    OK(begin(CKF_DECRYPT));
    OK(api.p11->C_Decrypt(api.session, buffer, len, buffer, &len));
    ck_assert_uint_eq(len, 100);
    ck_assert_mem_eq(buffer, text, 100);
    memcpy(buffer + 3, text, 100); /* overlapping, shifted */
    len = sizeof(buffer);
    OK(begin(CKF_ENCRYPT));
    OK(api.p11->C_Encrypt(api.session, buffer + 3, 100, buffer, &len));
    ck_assert_mem_eq(buffer, expected, expected_len);
    memcpy(buffer, text, 100);
    OK(begin(CKF_ENCRYPT));
    for (size_t done = 0; done < 100; done += 25) {
        len = 25;
        OK(api.p11->C_EncryptUpdate(api.session, buffer + done, 25, buffer + done, &len));
    }
    ck_assert_mem_eq(buffer, expected, 100);
}
END_TEST

START_TEST(no_plaintext_before_the_tag)
{
    CK_BYTE sealed[200];
    CK_BYTE out[200];
    CK_BYTE untouched[200];
    size_t sealed_len = seal(key_a, 12, 0, 100, sealed);
    CK_ULONG len;

    memset(untouched, 0x5a, sizeof(untouched));
    for (int tampered = 0; tampered < 2; tampered++) {
        sealed[sealed_len - 1] ^= (CK_BYTE) tampered;
        memcpy(out, untouched, sizeof(out));
        OK(begin(CKF_DECRYPT));
        for (size_t done = 0; done < sealed_len; done += 29) {
            len = sizeof(out);
            OK(api.p11->C_DecryptUpdate(api.session, sealed + done, 29, out, &len));
            ck_assert_uint_eq(len, 0);
        }
        ck_assert_mem_eq(out, untouched, sizeof(out));
        len = sizeof(out);
        EXPECT(tampered ? CKR_ENCRYPTED_DATA_INVALID : CKR_OK, finish(CKF_DECRYPT, out, &len));
        if (!tampered)
            ck_assert(len == 100 && memcmp(out, text, 100) == 0);
        for (size_t i = 0; tampered && i < 100; i++)
            ck_assert_msg(out[i] != text[i] || text[i] == 0, "byte %zu is plaintext", i);
    }
    OK(begin(CKF_DECRYPT));
    EXPECT(CKR_ENCRYPTED_DATA_LEN_RANGE, api.p11->C_Decrypt(api.session, sealed, 15, out, &len));
}
END_TEST

static const struct {
    CK_ULONG parameter_len;
    CK_ULONG iv_len;
    CK_ULONG tag_bits;
    CK_RV wanted;
} parameters[] = {
    {48, 12, 128, CKR_OK},
    {40, 12, 128, CKR_OK},
    {48, 12, 96, CKR_OK},
    {48, 1, 128, CKR_OK},
    {48, 16, 120, CKR_OK},
    {48, 0, 128, CKR_MECHANISM_PARAM_INVALID},
    {40, 0, 128, CKR_MECHANISM_PARAM_INVALID},
    {48, 12, 88, CKR_MECHANISM_PARAM_INVALID},
    {48, 12, 136, CKR_MECHANISM_PARAM_INVALID},
    {48, 12, 100, CKR_MECHANISM_PARAM_INVALID},
    {48, 12, 0, CKR_MECHANISM_PARAM_INVALID},
    {48, ~0UL, 128, CKR_MECHANISM_PARAM_INVALID},
    {48, 1UL << 32, 128, CKR_MECHANISM_PARAM_INVALID},
    {32, 12, 128, CKR_MECHANISM_PARAM_INVALID},
    {56, 12, 128, CKR_MECHANISM_PARAM_INVALID},
    {0, 12, 128, CKR_MECHANISM_PARAM_INVALID},
};

START_TEST(gcm_parameters)
{
    static CK_BYTE long_iv[256];

    memcpy(long_iv, iv, sizeof(iv));
    for (size_t i = 0; i < COUNT(parameters); i++) {
        CK_GCM_PARAMS full = {long_iv, parameters[i].iv_len, 0, text, 9, parameters[i].tag_bits};
        /* The form without ulIvBits. */
        struct {
            CK_BYTE_PTR pIv;
            CK_ULONG ulIvLen;
            CK_BYTE_PTR pAAD;
            CK_ULONG ulAADLen;
            CK_ULONG ulTagBits;
        } legacy = {long_iv, parameters[i].iv_len, text, 9, parameters[i].tag_bits};
        CK_BYTE room[56] = {0};
        CK_BYTE expected[200];
        CK_BYTE out[200];
        CK_ULONG len = sizeof(out);
        bool is_legacy = parameters[i].parameter_len == sizeof(legacy);
        memcpy(room, is_legacy ? (void *) &legacy : &full,
               is_legacy ? sizeof(legacy) : sizeof(full));
        CK_MECHANISM mechanism = {CKM_AES_GCM, room, parameters[i].parameter_len};
        char name[32];
        snprintf(name, sizeof(name), "row %zu", i);
        api_expect(api.p11->C_EncryptInit(api.session, &mechanism, aes_a), parameters[i].wanted,
                   name);
        if (parameters[i].wanted != CKR_OK)
            continue;
        seal(key_a, parameters[i].iv_len, 9, 40, expected);
        OK(api.p11->C_Encrypt(api.session, text, 40, out, &len));
        ck_assert_uint_eq(len, 40 + parameters[i].tag_bits / 8);
        ck_assert_msg(memcmp(out, expected, len) == 0, "%s", name);
    }
    EXPECT(CKR_MECHANISM_PARAM_INVALID,
           api.p11->C_EncryptInit(api.session, &(CK_MECHANISM){CKM_AES_GCM, NULL, 48}, aes_a));
    EXPECT(CKR_MECHANISM_PARAM_INVALID,
           api.p11->C_EncryptInit(
               api.session,
               &(CK_MECHANISM){CKM_AES_GCM, &(CK_GCM_PARAMS){NULL, 12, 0, NULL, 0, 128}, 48},
               aes_a));
}
END_TEST

/* Handles are not used again. */
START_TEST(keys_that_go_away)
{
    CK_BYTE out[200];
    CK_ULONG len = sizeof(out);
    CK_OBJECT_HANDLE token_key = api_make_aes_key(&api, true, "gone");

    for (int round = 0; round < 2;
         round++) { /* in the middle, and while only the context is kept */
        CK_OBJECT_HANDLE key = round == 0 ? token_key : aes_b;
        OK(api.p11->C_EncryptInit(api.session, &gcm, key));
        OK(api.p11->C_EncryptUpdate(api.session, text, 5, out, &len));
        if (round == 1)
            OK(api.p11->C_EncryptInit(api.session, NULL, 0));
        OK(api.p11->C_DestroyObject(api.session, key));
        EXPECT(CKR_OPERATION_NOT_INITIALIZED,
               api.p11->C_EncryptUpdate(api.session, text, 5, out, &len));
        EXPECT(CKR_KEY_HANDLE_INVALID, api.p11->C_EncryptInit(api.session, &gcm, key));
        CK_OBJECT_HANDLE fresh = api_make_aes_key(&api, round == 0, "fresh");
        ck_assert_uint_ne(fresh, key);
        EXPECT(CKR_KEY_HANDLE_INVALID, api.p11->C_EncryptInit(api.session, &gcm, key));
    }
    for (size_t i = 0; i < COUNT(kinds); i++)
        OK(begin(kinds[i].kind));
    OK(api.p11->C_Logout(api.session));
    for (size_t i = 0; i < COUNT(kinds); i++)
        EXPECT(kinds[i].kind == CKF_DIGEST ? CKR_OK : CKR_OPERATION_NOT_INITIALIZED,
               update(kinds[i].kind, text, 5));
    EXPECT(CKR_KEY_HANDLE_INVALID, begin(CKF_ENCRYPT));
}
END_TEST

/* The session holds the version before the change. The key is destroyed, or its session closed. */
START_TEST(changed_key_goes_away)
{
    CK_ATTRIBUTE label = {CKA_LABEL, "new", 3};
    CK_SESSION_HANDLE mine = api.session;
    CK_BYTE out[200];
    CK_ULONG len = sizeof(out);

    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION, NULL, NULL, &api.session));
    CK_OBJECT_HANDLE key = api_make_aes_key(&api, false, "old");
    OK(api.p11->C_EncryptInit(mine, &gcm, key));
    OK(api.p11->C_SetAttributeValue(mine, key, &label, 1));
    OK(_i == 0 ? api.p11->C_DestroyObject(mine, key) : api.p11->C_CloseSession(api.session));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_EncryptUpdate(mine, text, 5, out, &len));
    api.session = mine;
}
END_TEST

/* A key that loses a usage loses it for the kept context too. */
START_TEST(usage_taken_away)
{
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE no_encrypt = {CKA_ENCRYPT, &no, 1};
    CK_BYTE out[200];
    CK_ULONG len = sizeof(out);

    OK(begin(CKF_ENCRYPT));
    OK(once(CKF_ENCRYPT, 10, out, &len));
    OK(api.p11->C_SetAttributeValue(api.session, aes_a, &no_encrypt, 1));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, begin(CKF_ENCRYPT));
    OK(begin(CKF_DECRYPT));
    /* The key stays with the mode of its first use over the change. */
    CK_MECHANISM cbc = {CKM_AES_CBC, iv, sizeof(iv)};
    OK(cancel(CKF_DECRYPT));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, api.p11->C_DecryptInit(api.session, &cbc, aes_a));
}
END_TEST

START_TEST(interleaved_sessions)
{
    CK_SESSION_HANDLE sessions[2] = {api.session, 0};
    CK_OBJECT_HANDLE keys[2] = {aes_a, aes_b};
    CK_BYTE expected[2][200];
    CK_BYTE out[2][200];
    CK_ULONG len;

    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION, NULL, NULL, &sessions[1]));
    seal(key_a, 12, 0, 100, expected[0]);
    seal(key_b, 12, 0, 100, expected[1]);
    for (int swap = 0; swap < 2; swap++) { /* then each session with the other's key */
        for (int i = 0; i < 2; i++)
            OK(api.p11->C_EncryptInit(sessions[i ^ swap], &gcm, keys[i]));
        for (size_t done = 0; done < 100; done += 20)
            for (int i = 0; i < 2; i++) {
                len = 20;
                OK(api.p11->C_EncryptUpdate(sessions[i ^ swap], text + done, 20, out[i] + done,
                                            &len));
            }
        for (int i = 0; i < 2; i++) {
            len = TAG;
            OK(api.p11->C_EncryptFinal(sessions[i ^ swap], out[i] + 100, &len));
            ck_assert_mem_eq(out[i], expected[i], 100 + TAG);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api operations");
    TCase *tests = tcase_create("operations");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_loop_test(tests, buffers, 0, KINDS_WITH_OUTPUT);
    tcase_add_loop_test(tests, order_of_calls, 0, COUNT(kinds));
    tcase_add_loop_test(tests, cancelling, 0, COUNT(kinds));
    tcase_add_test(tests, verify_always_ends);
    tcase_add_test(tests, kept_contexts);
    tcase_add_test(tests, kept_macs);
    tcase_add_test(tests, in_place);
    tcase_add_test(tests, no_plaintext_before_the_tag);
    tcase_add_test(tests, gcm_parameters);
    tcase_add_test(tests, keys_that_go_away);
    tcase_add_loop_test(tests, changed_key_goes_away, 0, 2);
    tcase_add_test(tests, usage_taken_away);
    tcase_add_test(tests, interleaved_sessions);
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
