#include "module/mac_compute.h"

#include "base/rv.h"

#define MAC_LEN_MAX 64

CK_RV mac_check(struct operation *operation, const struct view *in, struct view signature)
{
    size_t len = operation->mechanism->mac->result_len(operation);
    unsigned char expected[MAC_LEN_MAX];

    if (signature.len != len)
        return CKR_SIGNATURE_LEN_RANGE;
    CK_RV rv = mac_compute(operation, in, expected);
    if (rv == CKR_OK && !secret_bytes_equal(expected, signature.bytes, len))
        rv = CKR_SIGNATURE_INVALID;
    secret_wipe(expected, sizeof(expected));
    return rv;
}
