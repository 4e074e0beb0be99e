/* CKM_AES_CBC and CKM_AES_CBC_PAD; the padding is that of PKCS #7. */
#include "module/mech_aes_modes.h"

static CK_RV start(struct operation *operation, const CK_MECHANISM *mechanism, bool pads)
{
    const struct aes_mode mode = {
        .pads = pads,
        .unit = AES_BLOCK_LEN,
        .len_limit = AES_MODE_NO_LIMIT,
    };

    if (!mechanism->pParameter || mechanism->ulParameterLen != AES_BLOCK_LEN) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "%s: an IV of %lu bytes", mech_name(operation),
                      mechanism->ulParameterLen);
    }
    return aes_mode_start(operation, mechanism->pParameter, &mode);
}

static CK_RV cbc_start(struct operation *operation, const CK_MECHANISM *mechanism)
{
    return start(operation, mechanism, false);
}

static CK_RV cbc_pad_start(struct operation *operation, const CK_MECHANISM *mechanism)
{
    return start(operation, mechanism, true);
}

const struct cipher_ops mech_aes_cbc = AES_MODE_OPS(cbc_start);
const struct cipher_ops mech_aes_cbc_pad = AES_MODE_OPS(cbc_pad_start);
