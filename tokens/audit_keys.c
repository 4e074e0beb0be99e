#include "tokens/audit_keys.h"

#include "base/rv.h"
#include "tokens/derive.h"

CK_RV audit_keys_prepare(struct audit_keys *keys, const unsigned char *serial,
                         const struct secret *token_key)
{
    _cleanup_(secret_clear) struct secret mac_base = {NULL, 0};
    _cleanup_(secret_clear) struct secret root_seed = {NULL, 0};

    TRY(derive_key(token_key, serial, LABEL_AUDIT_MAC, &mac_base));
    TRY(derive_key(token_key, serial, LABEL_AUDIT_SIGN, &root_seed));
    audit_keys_wipe(keys);
    keys->mac_base = secret_move(&mac_base);
    keys->root_seed = secret_move(&root_seed);
    return CKR_OK;
}

void audit_keys_wipe(struct audit_keys *keys)
{
    secret_clear(&keys->mac_base);
    secret_clear(&keys->root_seed);
    secret_clear(&keys->mac_key);
    secret_clear(&keys->seed);
}

CK_RV audit_keys_first_mac(const struct secret *mac_base,
                           const unsigned char writer[AUDIT_WRITER_LEN], uint64_t seq,
                           struct secret *ret_key)
{
    _cleanup_(writer_clear) struct writer info = {0};
    struct view bytes;

    write_raw(&info, view_text(LABEL_AUDIT_MAC));
    write_u64(&info, seq);
    TRY(derive_end_aad(&info, &bytes));
    return crypto_hkdf(mac_base, (struct view){writer, AUDIT_WRITER_LEN}, bytes, SEAL_KEY_LEN,
                       ret_key);
}

CK_RV audit_keys_next_mac(const struct secret *key, struct secret *ret_key)
{
    _cleanup_(secret_clear) struct secret next = {NULL, 0};

    TRY(secret_new(SHA256_LEN, &next));
    TRY(crypto_hmac_sha256(key, view_text(LABEL_AUDIT_NEXT), next.bytes));
    *ret_key = secret_move(&next);
    return CKR_OK;
}
