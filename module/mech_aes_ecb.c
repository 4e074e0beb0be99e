/* CKM_AES_ECB. */
#include "module/mech_aes_modes.h"

static CK_RV ecb_start(struct operation *operation, const CK_MECHANISM *mechanism)
{
    const struct aes_mode mode = {.unit = AES_BLOCK_LEN, .len_limit = AES_MODE_NO_LIMIT};

    TRY(mech_no_parameter(mechanism));
    return aes_mode_start(operation, NULL, &mode);
}

const struct cipher_ops mech_aes_ecb = AES_MODE_OPS(ecb_start);
