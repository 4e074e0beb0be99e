/*
 * The five subkeys of an index key: equal to an independent computation (OpenSSL's KBKDF, NIST SP
 * 800-108) on both ways, and objects exactly as docs/architecture.md says.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "include/indexkey.h"
#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const CK_BYTE index_value[32] = {
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
    0x01, 0x12, 0x23, 0x34, 0x45, 0x56, 0x67, 0x78, 0x89, 0x9a, 0xab, 0xbc, 0xcd, 0xde, 0xef, 0xf0};

static const struct {
    const char *name;
    const char
        *label; /* written out: the test does not take the derivation's label from indexkey.h */
    CK_BBOOL encrypts;
} purposes[] = {{"token", "indexkey/1/token", CK_FALSE},
                {"centroid", "indexkey/1/centroid", CK_FALSE},
                {"payload", "indexkey/1/payload", CK_TRUE},
                {"item", "indexkey/1/item", CK_TRUE},
                {"query", "indexkey/1/query", CK_FALSE}};

static const CK_MECHANISM_TYPE token_mechanisms[] = {
    CKM_SHA256_HMAC,   CKM_SHA384_HMAC,   CKM_SHA512_HMAC,  CKM_SHA3_224_HMAC,
    CKM_SHA3_256_HMAC, CKM_SHA3_384_HMAC, CKM_SHA3_512_HMAC};

static void kbkdf(const char *label, CK_BYTE out[32])
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "KBKDF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, (char *) "counter", 0),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MAC, (char *) "HMAC", 0),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *) "SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *) index_value,
                                          sizeof(index_value)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *) label, strlen(label)),
        OSSL_PARAM_construct_end(),
    };

    ck_assert_int_eq(EVP_KDF_derive(context, out, 32, params), 1);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
}

static const CK_BYTE iv[12] = "a fixed iv..";
static const CK_BYTE message[] = "a message of some length, longer than a block";

/* What a purpose's key makes of `message`: HMAC-SHA-256, or AES-256-GCM ciphertext and tag. */
static size_t expected_output(size_t purpose, CK_BYTE out[80])
{
    CK_BYTE key[32];
    size_t len = 0;
    int written = 0;

    kbkdf(purposes[purpose].label, key);
    if (!purposes[purpose].encrypts) {
        ck_assert_ptr_nonnull(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, sizeof(key),
                                        message, sizeof(message), out, 80, &len));
        return len;
    }
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    ck_assert_int_eq(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, iv), 1);
    ck_assert_int_eq(EVP_EncryptUpdate(context, out, &written, message, (int) sizeof(message)), 1);
    ck_assert_int_eq(EVP_EncryptFinal_ex(context, out + written, &written), 1);
    ck_assert_int_eq(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, out + sizeof(message)),
                     1);
    EVP_CIPHER_CTX_free(context);
    return sizeof(message) + 16;
}

static void expect_output(struct api *api, size_t purpose, CK_OBJECT_HANDLE key)
{
    CK_GCM_PARAMS gcm = {.pIv = (CK_BYTE *) iv, .ulIvLen = sizeof(iv), .ulTagBits = 128};
    CK_MECHANISM encrypt = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    CK_MECHANISM sign = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE expected[80];
    CK_BYTE out[80];
    CK_ULONG len = sizeof(out);

    if (purposes[purpose].encrypts) {
        OK(api->p11->C_EncryptInit(api->session, &encrypt, key));
        OK(api->p11->C_Encrypt(api->session, (CK_BYTE *) message, sizeof(message), out, &len));
    } else {
        OK(api->p11->C_SignInit(api->session, &sign, key));
        OK(api->p11->C_Sign(api->session, (CK_BYTE *) message, sizeof(message), out, &len));
    }
    ck_assert_uint_eq(len, expected_output(purpose, expected));
    ck_assert_msg(memcmp(out, expected, len) == 0, "%s", purposes[purpose].name);
}

static CK_OBJECT_HANDLE subkey(struct api *api, const char *parent, size_t purpose)
{
    char label[300];

    snprintf(label, sizeof(label), "%s/%s", parent, purposes[purpose].name);
    return api_find(api, label);
}

static CK_OBJECT_HANDLE derive(struct api *api, CK_OBJECT_HANDLE parent, size_t purpose)
{
    struct indexkey_template template;
    struct indexkey_kdf kdf;
    CK_OBJECT_HANDLE key;

    OK(indexkey_kdf_make((enum indexkey_purpose)(purpose + 1), &kdf));
    OK(indexkey_template_make((enum indexkey_purpose)(purpose + 1), &template));
    OK(api->p11->C_DeriveKey(api->session, &kdf.mechanism, parent, template.attributes,
                             template.count, &key));
    return key;
}

START_TEST(equal_to_kbkdf)
{
    struct api api;

    api_open(&api, NULL, NULL);
    CK_OBJECT_HANDLE parent = api_import_index_key(&api, "known", index_value);
    for (size_t i = 0; i < COUNT(purposes); i++) {
        expect_output(&api, i, subkey(&api, "known", i));
        expect_output(&api, i, derive(&api, parent, i));
    }
    api_restart(&api);
    parent = api_find(&api, "known");
    for (size_t i = 0; i < COUNT(purposes); i++) {
        expect_output(&api, i, derive(&api, parent, i));
        expect_output(&api, i, subkey(&api, "known", i));
    }
    api_close(&api);
}
END_TEST

static CK_BBOOL get_flag(struct api *api, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = 0x5a;
    CK_ATTRIBUTE attribute = {type, &value, sizeof(value)};

    OK(api->p11->C_GetAttributeValue(api->session, key, &attribute, 1));
    return value;
}

static CK_ULONG get_number(struct api *api, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type)
{
    CK_ULONG value = 0x5a5a;
    CK_ATTRIBUTE attribute = {type, &value, sizeof(value)};

    OK(api->p11->C_GetAttributeValue(api->session, key, &attribute, 1));
    return value;
}

static CK_ULONG get_bytes(struct api *api, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type, void *out,
                          CK_ULONG size)
{
    CK_ATTRIBUTE attribute = {type, out, size};

    OK(api->p11->C_GetAttributeValue(api->session, key, &attribute, 1));
    return attribute.ulValueLen;
}

/* -1: as `encrypts`, -2: as its opposite. */
static const struct {
    CK_ATTRIBUTE_TYPE type;
    int wanted;
} flags[] = {{CKA_TOKEN, 1},
             {CKA_PRIVATE, 1},
             {CKA_SENSITIVE, 1},
             {CKA_EXTRACTABLE, 0},
             {CKA_MODIFIABLE, 0},
             {CKA_DESTROYABLE, 0},
             {CKA_COPYABLE, 0},
             {CKA_LOCAL, 0},
             {CKA_DERIVE, 0},
             {CKA_WRAP, 0},
             {CKA_UNWRAP, 0},
             {CKA_TRUSTED, 0},
             {CKA_ENCRYPT, -1},
             {CKA_DECRYPT, -1},
             {CKA_SIGN, -2},
             {CKA_VERIFY, -2},
             {CKA_WRAP_WITH_TRUSTED, 0}};

static void expect_attributes(struct api *api, CK_OBJECT_HANDLE key, size_t purpose,
                              CK_BBOOL generated)
{
    CK_BBOOL encrypts = purposes[purpose].encrypts;

    for (size_t i = 0; i < COUNT(flags); i++) {
        int wanted = flags[i].wanted >= 0 ? flags[i].wanted : encrypts == (flags[i].wanted == -1);
        ck_assert_msg(get_flag(api, key, flags[i].type) == wanted, "%s: attribute 0x%lx",
                      purposes[purpose].name, flags[i].type);
    }
    ck_assert_uint_eq(get_flag(api, key, CKA_ALWAYS_SENSITIVE), generated);
    ck_assert_uint_eq(get_flag(api, key, CKA_NEVER_EXTRACTABLE), generated);
    ck_assert_uint_eq(get_number(api, key, CKA_CLASS), CKO_SECRET_KEY);
    ck_assert_uint_eq(get_number(api, key, CKA_KEY_TYPE), encrypts ? CKK_AES : CKK_GENERIC_SECRET);
    ck_assert_uint_eq(get_number(api, key, CKA_VALUE_LEN), 32);
    ck_assert_uint_eq(get_number(api, key, CKA_KEY_GEN_MECHANISM), CK_UNAVAILABLE_INFORMATION);
}

static void expect_names(struct api *api, CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE parent,
                         size_t purpose)
{
    CK_BYTE id[64];
    char unique[128];
    char parent_unique[128];
    CK_BYTE parent_id[64];
    CK_ULONG parent_id_len = get_bytes(api, parent, CKA_ID, parent_id, sizeof(parent_id));
    CK_ULONG id_len = get_bytes(api, key, CKA_ID, id, sizeof(id));
    CK_ULONG parent_unique_len =
        get_bytes(api, parent, CKA_UNIQUE_ID, parent_unique, sizeof(parent_unique));
    CK_ULONG unique_len = get_bytes(api, key, CKA_UNIQUE_ID, unique, sizeof(unique));

    ck_assert_uint_eq(id_len, parent_id_len + 1);
    ck_assert_mem_eq(id, parent_id, parent_id_len);
    ck_assert_uint_eq(id[parent_id_len], purpose + 1);
    ck_assert_uint_gt(unique_len, parent_unique_len);
    ck_assert_mem_eq(unique, parent_unique, parent_unique_len);
}

START_TEST(attributes_of_subkey_objects)
{
    struct api api;

    api_open(&api, "memory:", NULL);
    CK_OBJECT_HANDLE imported = api_import_index_key(&api, "imported", index_value);
    CK_OBJECT_HANDLE generated = api_make_index_key(&api, "generated", 7);
    for (size_t i = 0; i < COUNT(purposes); i++) {
        CK_MECHANISM_TYPE allowed[16];
        CK_MECHANISM_TYPE gcm = CKM_AES_GCM;
        CK_OBJECT_HANDLE key = subkey(&api, "generated", i);
        expect_attributes(&api, key, i, CK_TRUE);
        expect_names(&api, key, generated, i);
        expect_attributes(&api, subkey(&api, "imported", i), i, CK_FALSE);
        expect_names(&api, subkey(&api, "imported", i), imported, i);
        CK_ULONG len = get_bytes(&api, key, CKA_ALLOWED_MECHANISMS, allowed, sizeof(allowed));
        if (purposes[i].encrypts) {
            ck_assert_uint_eq(len, sizeof(gcm));
            ck_assert_mem_eq(allowed, &gcm, sizeof(gcm));
        } else if (strcmp(purposes[i].name, "centroid") != 0) {
            ck_assert_uint_eq(len, sizeof(token_mechanisms));
            ck_assert_mem_eq(allowed, token_mechanisms, sizeof(token_mechanisms));
        } else {
            ck_assert_uint_eq(len, 10 * sizeof(allowed[0])); /* four SHA-3 and six SHA-2 */
        }
    }
    api_close(&api);
}
END_TEST

static CK_OBJECT_HANDLE find_by(struct api *api, CK_ATTRIBUTE_TYPE type, void *value, CK_ULONG len)
{
    CK_ATTRIBUTE template = {type, value, len};
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count;

    OK(api->p11->C_FindObjectsInit(api->session, &template, 1));
    OK(api->p11->C_FindObjects(api->session, found, 2, &count));
    OK(api->p11->C_FindObjectsFinal(api->session));
    ck_assert_uint_eq(count, 1);
    return found[0];
}

START_TEST(found_by_all_names)
{
    CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
    CK_OBJECT_CLASS data = CKO_DATA;
    CK_KEY_TYPE aes = CKK_AES;
    CK_ATTRIBUTE class_secret = {CKA_CLASS, &secret_key, sizeof(secret_key)};
    CK_ATTRIBUTE type_aes = {CKA_KEY_TYPE, &aes, sizeof(aes)};
    CK_ATTRIBUTE label_and_class[] = {{CKA_LABEL, "found/item", 10},
                                      {CKA_CLASS, &data, sizeof(data)}};
    struct api api;
    char unique[128];

    api_open(&api, "memory:", NULL);
    api_make_index_key(&api, "found", 9);
    for (size_t i = 0; i < COUNT(purposes); i++) {
        CK_OBJECT_HANDLE key = subkey(&api, "found", i);
        CK_BYTE id[] = {9, (CK_BYTE) (i + 1)};
        CK_ULONG len = get_bytes(&api, key, CKA_UNIQUE_ID, unique, sizeof(unique));
        ck_assert_uint_eq(find_by(&api, CKA_ID, id, sizeof(id)), key);
        ck_assert_uint_eq(find_by(&api, CKA_UNIQUE_ID, unique, len), key);
    }
    ck_assert_uint_eq(api_count(&api, &class_secret, 1), 6);
    ck_assert_uint_eq(api_count(&api, &type_aes, 1), 2);
    ck_assert_uint_eq(api_count(&api, label_and_class, 1), 1);
    ck_assert_uint_eq(api_count(&api, label_and_class, 2), 0);
    api_close(&api);
}
END_TEST

START_TEST(stable_over_a_restart)
{
    struct api api;
    char before[COUNT(purposes)][128];
    char after[128];
    CK_ULONG len[COUNT(purposes)];

    api_open(&api, NULL, NULL);
    api_make_index_key(&api, "stable", 1);
    for (size_t i = 0; i < COUNT(purposes); i++)
        len[i] =
            get_bytes(&api, subkey(&api, "stable", i), CKA_UNIQUE_ID, before[i], sizeof(before[i]));
    api_restart(&api);
    for (size_t i = 0; i < COUNT(purposes); i++) {
        ck_assert_uint_eq(
            get_bytes(&api, subkey(&api, "stable", i), CKA_UNIQUE_ID, after, sizeof(after)),
            len[i]);
        ck_assert_mem_eq(after, before[i], len[i]);
    }
    api_close(&api);
}
END_TEST

/* A change of the parent's label or id moves its subkeys; its end is theirs. */
START_TEST(follow_the_parent)
{
    CK_ATTRIBUTE renamed[] = {{CKA_LABEL, "new", 3}, {CKA_ID, "\x42\x43", 2}};
    CK_BYTE id[] = {0x42, 0x43, INDEXKEY_PURPOSE_PAYLOAD};
    CK_ATTRIBUTE old_label = {CKA_LABEL, "old/payload", 11};
    CK_GCM_PARAMS gcm = {.pIv = (CK_BYTE *) iv, .ulIvLen = sizeof(iv), .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    struct api api;
    CK_BYTE out[80];
    CK_ULONG len = sizeof(out);

    api_open(&api, NULL, NULL);
    CK_OBJECT_HANDLE parent = api_import_index_key(&api, "old", index_value);
    CK_OBJECT_HANDLE payload = subkey(&api, "old", 2);
    OK(api.p11->C_SetAttributeValue(api.session, parent, renamed, COUNT(renamed)));
    ck_assert_uint_eq(api_count(&api, &old_label, 1), 0);
    ck_assert_uint_eq(find_by(&api, CKA_ID, id, sizeof(id)), subkey(&api, "new", 2));
    expect_output(&api, 2, subkey(&api, "new", 2));
    expect_output(&api, 2, payload);
    OK(api.p11->C_EncryptInit(api.session, &mechanism, payload));
    OK(api.p11->C_DestroyObject(api.session, parent));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED,
           api.p11->C_Encrypt(api.session, (CK_BYTE *) message, 16, out, &len));
    EXPECT(CKR_KEY_HANDLE_INVALID, api.p11->C_EncryptInit(api.session, &mechanism, payload));
    EXPECT(CKR_OBJECT_HANDLE_INVALID, api.p11->C_DestroyObject(api.session, payload));
    ck_assert_uint_eq(api_count(&api, &(CK_ATTRIBUTE){CKA_LABEL, "new/payload", 11}, 1), 0);
    api_close(&api);
}
END_TEST

static const struct {
    const char *line;
    unsigned int shown; /* bit i: purposes[i] */
} settings[] = {{"", 0x1f},
                {"subkeys = none", 0},
                {"subkeys = token query", 0x11},
                {"subkeys = payload", 0x04},
                {"subkeys = token centroid payload item query", 0x1f}};

START_TEST(setting_subkeys)
{
    CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
    CK_ATTRIBUTE class_secret = {CKA_CLASS, &secret_key, sizeof(secret_key)};
    CK_ULONG shown = 0;
    struct api api;

    api_open(&api, "memory:", settings[_i].line);
    CK_OBJECT_HANDLE parent = api_import_index_key(&api, "key", index_value);
    for (size_t i = 0; i < COUNT(purposes); i++) {
        char label[32];
        snprintf(label, sizeof(label), "key/%s", purposes[i].name);
        CK_ATTRIBUTE template = {CKA_LABEL, label, strlen(label)};
        CK_ULONG wanted = (settings[_i].shown >> i) & 1;
        ck_assert_msg(api_count(&api, &template, 1) == wanted, "%s: %s", settings[_i].line, label);
        shown += wanted;
        /* C_DeriveKey does not depend on what is shown, and a handle is not guessed from the
         * parent's. */
        expect_output(&api, i, derive(&api, parent, i));
        if (wanted == 0) {
            CK_BBOOL flag;
            CK_ATTRIBUTE attribute = {CKA_TOKEN, &flag, sizeof(flag)};
            EXPECT(CKR_OBJECT_HANDLE_INVALID,
                   api.p11->C_GetAttributeValue(api.session, parent | (i + 1), &attribute, 1));
        }
    }
    ck_assert_uint_eq(api_count(&api, &class_secret, 1), 1 + shown + COUNT(purposes));
    api_close(&api);
}
END_TEST

static CK_RV make_with_label(struct api *api, CK_OBJECT_CLASS class, CK_BBOOL token,
                             const char *label, CK_OBJECT_HANDLE *out)
{
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BYTE value[20] = {1};
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_TOKEN, &token, sizeof(token)},
                               {CKA_LABEL, (void *) label, strlen(label)},
                               {CKA_VALUE, value, sizeof(value)},
                               {CKA_KEY_TYPE, &type, sizeof(type)}};

    return api->p11->C_CreateObject(api->session, template, class == CKO_DATA ? 4 : 5, out);
}

static const struct {
    const char *label;
    CK_RV wanted;
} labels[] = {{"any/token", CKR_TEMPLATE_INCONSISTENT},
              {"any/centroid", CKR_TEMPLATE_INCONSISTENT},
              {"any/payload", CKR_TEMPLATE_INCONSISTENT},
              {"any/item", CKR_TEMPLATE_INCONSISTENT},
              {"any/query", CKR_TEMPLATE_INCONSISTENT},
              {"/query", CKR_TEMPLATE_INCONSISTENT},
              {"a/b/item", CKR_TEMPLATE_INCONSISTENT},
              {"any/token/item", CKR_TEMPLATE_INCONSISTENT},
              {"query", CKR_OK},
              {"any/tokens", CKR_OK},
              {"any/Token", CKR_OK},
              {"any/token/", CKR_OK},
              {"any/token/x", CKR_OK}};

START_TEST(labels_are_reserved)
{
    CK_BBOOL token = CK_TRUE;
    struct api api;

    api_open(&api, "memory:", NULL);
    for (size_t i = 0; i < COUNT(labels); i++) {
        const char *label = labels[i].label;
        CK_ATTRIBUTE change[] = {{CKA_LABEL, (void *) label, strlen(label)},
                                 {CKA_TOKEN, &token, 1}};
        CK_OBJECT_HANDLE key;
        CK_OBJECT_HANDLE out;
        api_expect(make_with_label(&api, CKO_SECRET_KEY, CK_TRUE, label, &out), labels[i].wanted,
                   label);
        api_expect(make_with_label(&api, CKO_DATA, CK_TRUE, label, &out), labels[i].wanted, label);
        OK(make_with_label(&api, CKO_SECRET_KEY, CK_TRUE, "plain", &key));
        api_expect(api.p11->C_CopyObject(api.session, key, change, 1, &out), labels[i].wanted,
                   label);
        api_expect(api.p11->C_SetAttributeValue(api.session, key, change, 1), labels[i].wanted,
                   label);
        OK(make_with_label(&api, CKO_SECRET_KEY, CK_FALSE, label, &key));
        api_expect(api.p11->C_CopyObject(api.session, key, change, 2, &out), labels[i].wanted,
                   label);
        OK(make_with_label(&api, CKO_DATA, CK_FALSE, label, &key));
        api_expect(api.p11->C_CopyObject(api.session, key, change, 2, &out), labels[i].wanted,
                   label);
    }
    api_close(&api);
}
END_TEST

/* The longest names, and none. */
START_TEST(long_and_empty_names)
{
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG key_len = 32;
    char label[256];
    CK_BYTE id[32];
    CK_BYTE got[300];
    struct api api;

    memset(label, 'l', sizeof(label));
    memset(id, 0x11, sizeof(id));
    label[255] = '\0';
    CK_ATTRIBUTE template[] = {{CKA_TOKEN, &yes, 1},
                               {CKA_VALUE_LEN, &key_len, sizeof(key_len)},
                               {CKA_LABEL, label, 255},
                               {CKA_ID, id, sizeof(id)}};
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE key;
    api_open(&api, NULL, NULL);
    OK(api.p11->C_GenerateKey(api.session, &mechanism, template, 4, &key));
    for (size_t i = 0; i < COUNT(purposes); i++) {
        CK_OBJECT_HANDLE found = subkey(&api, label, i);
        ck_assert_uint_eq(get_bytes(&api, found, CKA_LABEL, got, sizeof(got)),
                          256 + strlen(purposes[i].name));
        expect_names(&api, found, key, i);
    }
    OK(api.p11->C_GenerateKey(api.session, &mechanism, template, 2, &key));
    api_restart(&api);
    expect_attributes(&api, api_find(&api, "/item"), 3, CK_TRUE);
    ck_assert_uint_eq(get_bytes(&api, api_find(&api, "/item"), CKA_ID, got, sizeof(got)), 1);
    api_close(&api);
}
END_TEST

/* An own CKA_ALLOWED_MECHANISMS makes a plain derivation key, without subkey objects. */
START_TEST(plain_derivation_keys_have_none)
{
    CK_MECHANISM_TYPE hkdf = CKM_HKDF_DERIVE;
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG key_len = 32;
    CK_ATTRIBUTE template[] = {{CKA_TOKEN, &yes, 1},
                               {CKA_VALUE_LEN, &key_len, sizeof(key_len)},
                               {CKA_LABEL, "plain", 5},
                               {CKA_DERIVE, &yes, 1},
                               {CKA_ALLOWED_MECHANISMS, &hkdf, sizeof(hkdf)}};
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
    CK_ATTRIBUTE class_secret = {CKA_CLASS, &secret_key, sizeof(secret_key)};
    CK_MECHANISM_TYPE allowed[4];
    CK_OBJECT_HANDLE key;
    struct api api;

    api_open(&api, "memory:", NULL);
    OK(api.p11->C_GenerateKey(api.session, &mechanism, template, COUNT(template), &key));
    ck_assert_uint_eq(api_count(&api, &class_secret, 1), 1);
    ck_assert_uint_eq(get_bytes(&api, key, CKA_ALLOWED_MECHANISMS, allowed, sizeof(allowed)),
                      sizeof(hkdf));
    ck_assert_uint_eq(allowed[0], hkdf);
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api subkeys");
    TCase *tests = tcase_create("subkeys");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, equal_to_kbkdf);
    tcase_add_test(tests, attributes_of_subkey_objects);
    tcase_add_test(tests, found_by_all_names);
    tcase_add_test(tests, stable_over_a_restart);
    tcase_add_test(tests, follow_the_parent);
    tcase_add_loop_test(tests, setting_subkeys, 0, COUNT(settings));
    tcase_add_test(tests, labels_are_reserved);
    tcase_add_test(tests, long_and_empty_names);
    tcase_add_test(tests, plain_derivation_keys_have_none);
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
