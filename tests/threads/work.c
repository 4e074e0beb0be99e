#include "tests/threads/work.h"

#include <check.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rv.h"
#include "include/indexkey.h"
#include "tests/support/api_fixture.h"

#define TEXT_MAX 256
#define TAG_LEN 16
#define MAC_LEN 32

#define CALL(work, function, ...)                                                                  \
    do {                                                                                           \
        (work)->call = #function;                                                                  \
        TRY((work)->p11->function(__VA_ARGS__));                                                   \
    } while (0)

const CK_BYTE work_index_key[32] = "an index key that a test may see";

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

CK_RV work_open(struct work *work, CK_FLAGS flags)
{
    CALL(work, C_OpenSession, work->slot, CKF_SERIAL_SESSION | flags, NULL, NULL, &work->session);
    return CKR_OK;
}

CK_RV work_login(struct work *work)
{
    CALL(work, C_Login, work->session, CKU_USER, (CK_UTF8CHAR *) API_USER_PIN,
         strlen(API_USER_PIN));
    return CKR_OK;
}

CK_RV work_find(struct work *work, const char *label, CK_OBJECT_HANDLE *ret_handle)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};
    CK_OBJECT_HANDLE handles[2] = {0, 0};
    CK_ULONG count = 0;

    CALL(work, C_FindObjectsInit, work->session, &template, 1);
    CALL(work, C_FindObjects, work->session, handles, 2, &count);
    CALL(work, C_FindObjectsFinal, work->session);
    REQUIRE_MSG(count <= 1, "%lu objects with the label %s", count, label);
    *ret_handle = handles[0];
    return CKR_OK;
}

static void mac_of(const CK_BYTE key[32], const CK_BYTE *text, size_t len, CK_BYTE ret_mac[MAC_LEN])
{
    REQUIRE((EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, 32, text, len, ret_mac, MAC_LEN,
                       NULL)) != NULL);
}

/* The counter KDF of SP 800-108 with one block: HMAC(key, 1 || label || 0 || 256). */
static void derive_subkey(const struct work *work, const char *label, CK_BYTE ret_value[32])
{
    unsigned char input[64] = {0, 0, 0, 1};
    static const unsigned char length[] = {0, 0, 1, 0};
    size_t label_size = strlen(label) + 1;

    if (work->unchecked)
        return;
    memcpy(input + 4, label, label_size);
    memcpy(input + 4 + label_size, length, sizeof(length));
    mac_of(work_index_key, input, 4 + label_size + sizeof(length), ret_value);
}

/* What one message is made of. */
struct message {
    CK_BYTE iv[12];
    CK_BYTE text[TEXT_MAX];
    CK_BYTE sealed[TEXT_MAX + TAG_LEN];
    CK_ULONG len;
};

static void make_message(struct work *work, struct message *message)
{
    message->len = 1 + (CK_ULONG) rand_r(&work->seed) % TEXT_MAX;
    for (size_t i = 0; i < sizeof(message->iv); i++)
        message->iv[i] = (CK_BYTE) rand_r(&work->seed);
    for (CK_ULONG i = 0; i < message->len; i++)
        message->text[i] = (CK_BYTE) rand_r(&work->seed);
}

static void check_sealed(const struct message *message, const CK_BYTE value[32])
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    CK_BYTE expected[TEXT_MAX + TAG_LEN];
    int len = 0;
    int tail = 0;

    REQUIRE((context) != NULL);
    REQUIRE(EVP_EncryptInit_ex2(context, EVP_aes_256_gcm(), value, message->iv, NULL) == 1);
    REQUIRE(EVP_EncryptUpdate(context, expected, &len, message->text, (int) message->len) == 1);
    REQUIRE(EVP_EncryptFinal_ex(context, expected + len, &tail) == 1);
    REQUIRE(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, expected + len) == 1);
    EVP_CIPHER_CTX_free(context);
    REQUIRE(memcmp(message->sealed, expected, message->len + TAG_LEN) == 0);
}

CK_RV work_encrypt(struct work *work, CK_OBJECT_HANDLE key, const CK_BYTE value[32])
{
    struct message message;
    make_message(work, &message);
    CK_GCM_PARAMS params = {.pIv = message.iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_BYTE opened[TEXT_MAX];
    CK_ULONG sealed_len = sizeof(message.sealed);
    CK_ULONG opened_len = sizeof(opened);

    CALL(work, C_EncryptInit, work->session, &mechanism, key);
    CALL(work, C_Encrypt, work->session, message.text, message.len, message.sealed, &sealed_len);
    REQUIRE(sealed_len == message.len + TAG_LEN);
    if (!work->unchecked)
        check_sealed(&message, value);
    CALL(work, C_DecryptInit, work->session, &mechanism, key);
    CALL(work, C_Decrypt, work->session, message.sealed, sealed_len, opened, &opened_len);
    REQUIRE(opened_len == message.len);
    REQUIRE(memcmp(opened, message.text, message.len) == 0);
    return CKR_OK;
}

CK_RV work_message(struct work *work, CK_OBJECT_HANDLE key, const CK_BYTE value[32])
{
    struct message message;
    make_message(work, &message);
    CK_GCM_MESSAGE_PARAMS params = {.pIv = message.iv,
                                    .ulIvLen = 12,
                                    .ivGenerator = CKG_GENERATE_RANDOM,
                                    .pTag = message.sealed + message.len,
                                    .ulTagBits = 8UL * TAG_LEN};
    CK_MECHANISM mechanism = {CKM_AES_GCM, NULL, 0};
    CK_BYTE opened[TEXT_MAX];
    CK_ULONG len = message.len;

    CALL(work, C_MessageEncryptInit, work->session, &mechanism, key);
    CALL(work, C_EncryptMessage, work->session, &params, sizeof(params), NULL, 0, message.text, len,
         message.sealed, &len);
    if (!work->unchecked)
        check_sealed(&message, value);
    CALL(work, C_MessageEncryptFinal, work->session);
    CALL(work, C_MessageDecryptInit, work->session, &mechanism, key);
    CALL(work, C_DecryptMessage, work->session, &params, sizeof(params), NULL, 0, message.sealed,
         len, opened, &len);
    REQUIRE(len == message.len);
    REQUIRE(memcmp(opened, message.text, len) == 0);
    CALL(work, C_MessageDecryptFinal, work->session);
    return CKR_OK;
}

CK_RV work_sign(struct work *work, CK_OBJECT_HANDLE key, const CK_BYTE value[32])
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    struct message message;
    CK_BYTE expected[MAC_LEN];
    CK_BYTE mac[MAC_LEN];
    CK_ULONG mac_len = sizeof(mac);

    make_message(work, &message);
    if (!work->unchecked)
        mac_of(value, message.text, message.len, expected);
    CALL(work, C_SignInit, work->session, &mechanism, key);
    CALL(work, C_Sign, work->session, message.text, message.len, mac, &mac_len);
    REQUIRE(mac_len == MAC_LEN);
    if (!work->unchecked)
        REQUIRE(memcmp(mac, expected, MAC_LEN) == 0);
    CALL(work, C_VerifyInit, work->session, &mechanism, key);
    CALL(work, C_Verify, work->session, message.text, message.len, mac, mac_len);
    return CKR_OK;
}

CK_RV work_derive(struct work *work, CK_OBJECT_HANDLE index_key)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_TOKEN, &no, sizeof(no)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},   {CKA_DECRYPT, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)}, {CKA_EXTRACTABLE, &no, sizeof(no)},
    };
    struct indexkey_kdf kdf;
    CK_OBJECT_HANDLE key;
    CK_BYTE value[32] = {0};

    TRY(indexkey_kdf_make(INDEXKEY_PURPOSE_PAYLOAD, &kdf));
    derive_subkey(work, INDEXKEY_LABEL_PAYLOAD, value);
    CALL(work, C_DeriveKey, work->session, &kdf.mechanism, index_key, template, 8, &key);
    TRY(work_encrypt(work, key, value));
    TRY(work_message(work, key, value));
    CALL(work, C_DestroyObject, work->session, key);
    return CKR_OK;
}

CK_RV work_subkeys(struct work *work)
{
    CK_OBJECT_HANDLE payload;
    CK_OBJECT_HANDLE token;
    CK_BYTE payload_value[32] = {0};
    CK_BYTE token_value[32] = {0};

    derive_subkey(work, INDEXKEY_LABEL_PAYLOAD, payload_value);
    derive_subkey(work, INDEXKEY_LABEL_TOKEN, token_value);
    TRY(work_find(work, WORK_LABEL "/payload", &payload));
    TRY(work_find(work, WORK_LABEL "/token", &token));
    if (payload == 0 || token == 0)
        return CKR_OK; /* logged out: private objects do not show */
    TRY(work_encrypt(work, payload, payload_value));
    TRY(work_message(work, payload, payload_value));
    return work_sign(work, token, token_value);
}

CK_RV work_own_object(struct work *work, CK_BBOOL token, const char *label)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_MECHANISM_TYPE gcm = CKM_AES_GCM;
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &token, sizeof(token)},         {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_LABEL, (void *) label, strlen(label)}, {CKA_ENCRYPT, &yes, sizeof(yes)},
        {CKA_PRIVATE, &yes, sizeof(yes)},           {CKA_ALLOWED_MECHANISMS, &gcm, sizeof(gcm)},
    };
    char renamed[64];
    CK_ATTRIBUTE change = {CKA_LABEL, renamed, strlen(label) + 2};
    CK_OBJECT_HANDLE key;
    CK_OBJECT_HANDLE found;

    snprintf(renamed, sizeof(renamed), "%s-2", label);
    CALL(work, C_GenerateKey, work->session, &mechanism, template, 6, &key);
    TRY(work_find(work, label, &found));
    REQUIRE_MSG(found == key || found == 0, "%s is not the key that was made", label);
    CALL(work, C_SetAttributeValue, work->session, key, &change, 1);
    TRY(work_find(work, label, &found));
    REQUIRE_MSG(found == 0, "%s is still found after a change", label);
    CALL(work, C_DestroyObject, work->session, key);
    TRY(work_find(work, renamed, &found));
    REQUIRE_MSG(found == 0, "%s is still found after its end", label);
    return CKR_OK;
}

bool work_is_loss(const struct work *work, CK_RV rv)
{
    static const struct {
        const char *call;
        CK_RV rv;
    } rows[] = {
        {"C_EncryptInit", CKR_KEY_HANDLE_INVALID},
        {"C_EncryptInit", CKR_USER_NOT_LOGGED_IN},
        {"C_DecryptInit", CKR_KEY_HANDLE_INVALID},
        {"C_DecryptInit", CKR_USER_NOT_LOGGED_IN},
        {"C_MessageEncryptInit", CKR_KEY_HANDLE_INVALID},
        {"C_MessageEncryptInit", CKR_USER_NOT_LOGGED_IN},
        {"C_MessageDecryptInit", CKR_KEY_HANDLE_INVALID},
        {"C_MessageDecryptInit", CKR_USER_NOT_LOGGED_IN},
        {"C_SignInit", CKR_KEY_HANDLE_INVALID},
        {"C_SignInit", CKR_USER_NOT_LOGGED_IN},
        {"C_VerifyInit", CKR_KEY_HANDLE_INVALID},
        {"C_VerifyInit", CKR_USER_NOT_LOGGED_IN},
        {"C_DeriveKey", CKR_KEY_HANDLE_INVALID},
        {"C_DeriveKey", CKR_USER_NOT_LOGGED_IN},
        {"C_GenerateKey", CKR_USER_NOT_LOGGED_IN},
        {"C_Encrypt", CKR_OPERATION_NOT_INITIALIZED},
        {"C_Decrypt", CKR_OPERATION_NOT_INITIALIZED},
        {"C_EncryptMessage", CKR_OPERATION_NOT_INITIALIZED},
        {"C_MessageEncryptFinal", CKR_OPERATION_NOT_INITIALIZED},
        {"C_DecryptMessage", CKR_OPERATION_NOT_INITIALIZED},
        {"C_MessageDecryptFinal", CKR_OPERATION_NOT_INITIALIZED},
        {"C_Sign", CKR_OPERATION_NOT_INITIALIZED},
        {"C_Verify", CKR_OPERATION_NOT_INITIALIZED},
        {"C_SetAttributeValue", CKR_OBJECT_HANDLE_INVALID},
        {"C_SetAttributeValue", CKR_USER_NOT_LOGGED_IN},
        {"C_DestroyObject", CKR_OBJECT_HANDLE_INVALID},
        {"C_DestroyObject", CKR_USER_NOT_LOGGED_IN},
        {"C_Login", CKR_USER_ALREADY_LOGGED_IN},
        {"C_Logout", CKR_USER_NOT_LOGGED_IN},
        {"C_Login", CKR_SESSION_CLOSED},
    };

    if (rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_SESSION_CLOSED)
        return true;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].rv == rv && strcmp(rows[i].call, work->call) == 0)
            return true;
    return false;
}

/* Called through one type, with zeros for arguments: no argument is looked at before the library is
 * found to be down, and the calling conventions of Linux let a callee ignore what it does not take.
 */
typedef CK_RV any_function(CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG,
                           CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG);

#define ROW(function) {#function, (void (*)(void)) p11->function},

const char *work_first_alive(CK_FUNCTION_LIST_3_2 *p11)
{
    static const char *const always[] = {"C_Initialize", "C_GetFunctionList", "C_GetInterfaceList",
                                         "C_GetInterface"};
    const struct {
        const char *name;
        void (*function)(void);
    } rows[] = {CK_FUNCTIONS_3_2(ROW)};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool skipped = false;
        for (size_t j = 0; j < sizeof(always) / sizeof(always[0]); j++)
            skipped = skipped || strcmp(rows[i].name, always[j]) == 0;
        any_function *function = (any_function *) rows[i].function;
        if (!skipped &&
            function(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) != CKR_CRYPTOKI_NOT_INITIALIZED)
            return rows[i].name;
    }
    return NULL;
}
