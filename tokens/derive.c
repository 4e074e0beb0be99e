#include "tokens/derive.h"

#include "base/crypto.h"
#include "base/rv.h"

CK_RV derive_key(const struct secret *key, const unsigned char serial[SERIAL_LEN],
                 const char *label, struct secret *ret_key)
{
    struct view salt = {serial, SERIAL_LEN};
    return crypto_hkdf(key, salt, view_text(label), SEAL_KEY_LEN, ret_key);
}

CK_RV derive_numbered_key(const struct secret *key, const unsigned char serial[SERIAL_LEN],
                          const char *label, uint32_t number, struct secret *ret_key)
{
    _cleanup_(writer_clear) struct writer info = {0};
    write_raw(&info, view_text(label));
    write_u32(&info, number);
    struct view bytes;
    TRY(derive_end_aad(&info, &bytes));
    return crypto_hkdf(key, (struct view){serial, SERIAL_LEN}, bytes, SEAL_KEY_LEN, ret_key);
}

const char *derive_refusal(struct view bytes)
{
    return bytes.len > 0 && bytes.bytes[0] > SEAL_FORMAT
               ? "was written by a newer version of this module; update the module"
               : "was changed; restore the store from a backup";
}

void derive_begin_aad(struct writer *aad, const char *label, const unsigned char serial[SERIAL_LEN])
{
    write_string(aad, view_text(label));
    write_u8(aad, SEAL_FORMAT);
    write_string(aad, (struct view){serial, SERIAL_LEN});
}

CK_RV derive_end_aad(const struct writer *aad, struct view *ret_view)
{
    if (aad->failed)
        return FAIL(CKR_HOST_MEMORY, "no memory for associated data");
    *ret_view = writer_view(aad);
    return CKR_OK;
}
