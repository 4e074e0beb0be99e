#include "tools/object.h"

#include "base/alloc.h"
#include "tools/failure.h"

CK_RV object_bytes(const struct token *token, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                   struct blob *ret_value)
{
    _cleanup_(blob_clear) struct blob value = {0};
    CK_ATTRIBUTE attribute = {.type = type};
    CK_RV rv = C_GetAttributeValue(token->session, object, &attribute, 1);
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID)
        attribute.ulValueLen = 0;
    else
        TRY(token_check(token, rv, "C_GetAttributeValue"));
    value.bytes = mem_alloc(attribute.ulValueLen);
    if (value.bytes == NULL)
        return failure_of(CKR_HOST_MEMORY, INDEXKEY_CAUSE_NONE, "an attribute");
    attribute.pValue = value.bytes;
    if (attribute.ulValueLen > 0)
        TRY(token_check(token, C_GetAttributeValue(token->session, object, &attribute, 1),
                        "C_GetAttributeValue"));
    value.len = attribute.ulValueLen;
    *ret_value = blob_move(&value);
    return CKR_OK;
}

CK_RV object_number(const struct token *token, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                    CK_ULONG fallback, CK_ULONG *ret_value)
{
    CK_ULONG value = 0;
    CK_ATTRIBUTE attribute = {type, &value, sizeof(value)};
    CK_RV rv = C_GetAttributeValue(token->session, object, &attribute, 1);
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID || (rv == CKR_OK && attribute.ulValueLen == 0))
        value = fallback;
    else
        TRY(token_check(token, rv, "C_GetAttributeValue"));
    *ret_value = value;
    return CKR_OK;
}

CK_RV object_flag(const struct token *token, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                  bool *ret_value)
{
    CK_BBOOL value = CK_FALSE;
    CK_ATTRIBUTE attribute = {type, &value, sizeof(value)};
    CK_RV rv = C_GetAttributeValue(token->session, object, &attribute, 1);
    if (rv != CKR_ATTRIBUTE_TYPE_INVALID)
        TRY(token_check(token, rv, "C_GetAttributeValue"));
    *ret_value = value != CK_FALSE;
    return CKR_OK;
}
