#include "tests/vectors/replay.h"

#include <stdlib.h>
#include <string.h>

#include "tests/vectors/replay_bytes.h"

#define KEY_LEN_MIN 14
#define ITERATIONS_MAX 10000000

static CK_RV generate(const struct replay_token *token, CK_PKCS5_PBKD2_PARAMS2 *params,
                      struct bytes *ret_value)
{
    CK_MECHANISM mechanism = {CKM_PKCS5_PBKD2, params, sizeof(*params)};
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ATTRIBUTE template[] = {
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_VALUE_LEN, &ret_value->len, sizeof(ret_value->len)},
        {CKA_SENSITIVE, &no, sizeof(no)},
        {CKA_EXTRACTABLE, &yes, sizeof(yes)},
    };
    CK_RV rv = token->functions->C_GenerateKey(token->session, &mechanism, template,
                                               sizeof(template) / sizeof(template[0]), &key);

    if (rv != CKR_OK)
        return rv;
    CK_ATTRIBUTE value = {CKA_VALUE, ret_value->at, ret_value->len};
    rv = token->functions->C_GetAttributeValue(token->session, key, &value, 1);
    (void) token->functions->C_DestroyObject(token->session, key);
    return rv;
}

struct replay_result replay_pbkdf2(const struct replay_token *token, const struct replay_file *file,
                                   json_t *group, json_t *test)
{
    CLEARED struct bytes password = bytes_hex(test, "password");
    CLEARED struct bytes salt = bytes_hex(test, "salt");
    CLEARED struct bytes wanted = bytes_hex(test, "dk");
    CK_ULONG len = (CK_ULONG) json_integer_value(json_object_get(test, "dkLen"));
    CLEARED struct bytes value = bytes_new(len);
    CK_PKCS5_PBKD2_PARAMS2 params = {
        .saltSource = CKZ_SALT_SPECIFIED,
        .pSaltSourceData = salt.at,
        .ulSaltSourceDataLen = salt.len,
        .iterations = (CK_ULONG) json_integer_value(json_object_get(test, "iterationCount")),
        .prf = file->mechanism,
        .pPassword = password.at,
        .ulPasswordLen = password.len,
    };
    CK_RV rv = generate(token, &params, &value);

    (void) group;
    if (params.iterations > ITERATIONS_MAX && rv == CKR_MECHANISM_PARAM_INVALID)
        return is_valid(test) ? policy("PBKDF2 has at most 10,000,000 iterations")
                              : outcome(REPLAY_REJECTED);
    if (!is_valid(test)) {
        return len < KEY_LEN_MIN && rv == CKR_KEY_SIZE_RANGE ? outcome(REPLAY_REJECTED)
                                                             : wrong("C_GenerateKey: 0x%lx", rv);
    }
    if (rv != CKR_OK || !bytes_equal(&value, &wanted))
        return wrong("C_GenerateKey gave 0x%lx or another key", rv);
    return outcome(REPLAY_RIGHT);
}
