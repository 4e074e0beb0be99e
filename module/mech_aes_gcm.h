/* The parameter that CKM_AES_GCM and CKM_AES_GMAC share. */
#pragma once

#include "module/mech.h"

/* IV and associated data are still the caller's bytes. */
struct gcm_input {
    struct view iv;
    struct view aad;
    size_t tag_len;
};

/* CK_GCM_PARAMS, or its older form without ulIvBits, told apart by the size.
 * CKR_MECHANISM_PARAM_INVALID for what no message can have. */
CK_RV gcm_input_read(const CK_MECHANISM *mechanism, struct gcm_input *ret_input);
