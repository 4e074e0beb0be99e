/*
 * The two roles of a token: how a PIN and the data key together open the token key.
 *
 *   role key = HKDF(data key, salt = scrypt(PIN), label of the role and the serial)
 *
 * so that neither the store with the PIN, nor the source alone, opens anything. A role without a
 * PIN (login = credential, ambient) has an empty salt in its place.
 */
#pragma once

#include "tokens/token_record.h"

/* Whose key is made or opened; borrowed. */
struct role_context {
    enum custody_role role;
    const unsigned char *serial;
    const struct secret *data_key;
};

/* True for parameters that we are willing to spend memory and time on. */
bool role_stretch_is_bounded(const struct role_stretch *stretch);

/* `pin` NULL makes a role without a PIN. */
CK_RV role_seal(const struct role_context *context, const struct view *pin,
                const struct secret *token_key, struct role_record *ret_role);
/* `pin` is ignored in a role without one. CKR_ENCRYPTED_DATA_INVALID, not logged, when it is wrong.
 * */
CK_RV role_open(const struct role_context *context, const struct role_record *role, struct view pin,
                struct secret *ret_token_key);
