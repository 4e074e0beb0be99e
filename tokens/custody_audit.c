#include "tokens/custody_internal.h"

CK_RV custody_audit_public_key(struct custody *custody,
                               unsigned char ret_public[AUDIT_PUBLIC_KEY_LEN])
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&custody->keyring, &held));
    return audit_public_key(held->serial, &held->token_key, ret_public);
}

CK_RV custody_audit_mac_key(struct custody *custody, struct secret *ret_key)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&custody->keyring, &held));
    return audit_mac_key(held->serial, &held->token_key, ret_key);
}
