#include "tests/api/message_fixture.h"

#include <string.h>

#include <openssl/evp.h>

struct api api;
CK_OBJECT_HANDLE message_aes;
CK_OBJECT_HANDLE message_hmac;
const CK_BYTE message_key[32] = "the key of the message tests....";
CK_BYTE message_text[200];

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

CK_OBJECT_HANDLE message_import(CK_KEY_TYPE type, const CK_BYTE value[32], CK_ATTRIBUTE_TYPE use,
                                CK_ATTRIBUTE_TYPE other_use)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_PRIVATE, &no, 1},
                               {CKA_VALUE, (void *) value, 32},
                               {use, &yes, 1},
                               {other_use, &yes, 1}};
    CK_OBJECT_HANDLE key;

    OK(api.p11->C_CreateObject(api.session, template, COUNT(template), &key));
    return key;
}

void message_setup(void)
{
    api_open(&api, "memory:", NULL);
    message_aes = message_import(CKK_AES, message_key, CKA_ENCRYPT, CKA_DECRYPT);
    message_hmac = message_import(CKK_GENERIC_SECRET, message_key, CKA_SIGN, CKA_VERIFY);
    for (size_t i = 0; i < sizeof(message_text); i++)
        message_text[i] = (CK_BYTE) (i * 7);
}

void message_teardown(void)
{
    api_close(&api);
}

void message_prepare(struct message *message, CK_BYTE seed, CK_GENERATOR_FUNCTION generator)
{
    memset(message, 0, sizeof(*message));
    memset(message->iv, seed, sizeof(message->iv));
    message->out_len = sizeof(message->out);
    message->params = (CK_GCM_MESSAGE_PARAMS){
        .pIv = message->iv,
        .ulIvLen = 12,
        .ivGenerator = generator,
        .pTag = message->tag,
        .ulTagBits = 8UL * MESSAGE_TAG,
    };
}

CK_RV message_encrypt_init(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM gcm = {CKM_AES_GCM, NULL, 0};

    return api.p11->C_MessageEncryptInit(session, &gcm, key);
}

CK_RV message_decrypt_init(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM gcm = {CKM_AES_GCM, NULL, 0};

    return api.p11->C_MessageDecryptInit(session, &gcm, key);
}

CK_RV message_encrypt(CK_SESSION_HANDLE session, struct message *message, CK_ULONG aad_len,
                      CK_ULONG len)
{
    message->out_len = sizeof(message->out);
    return api.p11->C_EncryptMessage(session, &message->params, sizeof(message->params),
                                     message_text, aad_len, message_text, len, message->out,
                                     &message->out_len);
}

CK_RV message_decrypt(CK_SESSION_HANDLE session, struct message *message, CK_ULONG aad_len,
                      CK_BYTE *out, CK_ULONG *out_len)
{
    return api.p11->C_DecryptMessage(session, &message->params, sizeof(message->params),
                                     message_text, aad_len, message->out, message->out_len, out,
                                     out_len);
}

void message_assert_as_openssl(const struct message *message, size_t aad_len, size_t len)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    CK_BYTE wanted[256];
    CK_BYTE tag[MESSAGE_TAG];
    int written = 0;

    REQUIRE(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, NULL, NULL) == 1 &&
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_IVLEN, (int) message->params.ulIvLen,
                                NULL) == 1 &&
            EVP_EncryptInit_ex(context, NULL, NULL, message_key, message->iv) == 1 &&
            EVP_EncryptUpdate(context, NULL, &written, message_text, (int) aad_len) == 1 &&
            EVP_EncryptUpdate(context, wanted, &written, message_text, (int) len) == 1 &&
            EVP_EncryptFinal_ex(context, wanted + len, &written) == 1 &&
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG,
                                (int) (message->params.ulTagBits / 8), tag) == 1);
    EVP_CIPHER_CTX_free(context);
    ck_assert_uint_eq(message->out_len, len);
    ck_assert_mem_eq(message->out, wanted, len);
    ck_assert_mem_eq(message->tag, tag, message->params.ulTagBits / 8);
}
