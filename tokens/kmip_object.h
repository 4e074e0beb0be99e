/*
 * A data key that is an object of the KMIP server itself, for servers that neither encrypt nor
 * decrypt: Register stores it, Get answers with it wrapped by the key of the call (KMIP 1.4, 2.1.5:
 * NIST Key Wrap), which this side has in wrapping_key_file.
 */
#pragma once

#include "base/crypto.h"
#include "tokens/kmip_request.h"

/* Views into what the store gave. */
struct kmip_object {
    struct view id;  /* its Unique Identifier */
    struct view mac; /* SHA256_LEN: under the data key, over wrapping key, id and context */
};

/* Stores and activates it. An object stays behind at the server when activation fails. */
CK_RV kmip_object_register(const struct kmip_call *call, const struct secret *data_key,
                           struct view context, struct blob *ret_id,
                           unsigned char ret_mac[SHA256_LEN]);
/* The object must be active, as the key of the call must. CAUSE_TAMPERED where what comes is not
 * what was stored under this context. */
CK_RV kmip_object_get(const struct kmip_call *call, const struct kmip_object *object,
                      struct view context, struct secret *ret_data_key);
