#include "tokens/roles.h"

#include <string.h>

#include "base/rv.h"

/* About 50 ms and 16 MiB an attempt. */
#define STRETCH_N (1u << 14)
#define STRETCH_R 8u
#define STRETCH_P 1u

/* A record is read before its MAC can be checked; no parameter in it may cost more than this. */
#define STRETCH_N_MIN (1u << 10)
#define STRETCH_N_MAX (1u << 20)
#define STRETCH_R_MAX 32u
#define STRETCH_P_MAX 4u
#define STRETCH_BLOCKS_MAX (1u << 17) /* n * r, of 128 bytes each: 16 MiB */

bool role_stretch_is_bounded(const struct role_stretch *stretch)
{
    uint64_t n = stretch->cost.n;
    return n >= STRETCH_N_MIN && n <= STRETCH_N_MAX && (n & (n - 1)) == 0 && stretch->cost.r >= 1 &&
           stretch->cost.r <= STRETCH_R_MAX && stretch->cost.p >= 1 &&
           stretch->cost.p <= STRETCH_P_MAX && n * stretch->cost.r <= STRETCH_BLOCKS_MAX;
}

static const char *role_label(enum custody_role role)
{
    return role == CUSTODY_SO ? LABEL_ROLE_SO : LABEL_ROLE_USER;
}

static CK_RV role_key(const struct role_context *context, const struct role_record *role,
                      struct view pin, struct secret *ret_key)
{
    _cleanup_(secret_clear) struct secret stretched = {0};
    const struct role_stretch *stretch = &role->stretch;
    if (role->state == ROLE_PIN)
        TRY(crypto_scrypt(pin, (struct view){stretch->salt, ROLE_SALT_LEN}, &stretch->cost,
                          &stretched));
    _cleanup_(writer_clear) struct writer info = {0};
    write_string(&info, view_text(role_label(context->role)));
    write_string(&info, (struct view){context->serial, SERIAL_LEN});
    struct view info_bytes;
    TRY(derive_end_aad(&info, &info_bytes));
    struct view salt = {stretched.bytes, stretched.len};
    return crypto_hkdf(context->data_key, salt, info_bytes, SEAL_KEY_LEN, ret_key);
}

static void role_aad(struct writer *aad, const struct role_context *context,
                     const struct role_record *role)
{
    derive_begin_aad(aad, LABEL_TOKEN_KEY, context->serial);
    write_string(aad, view_text(role_label(context->role)));
    write_u8(aad, (uint8_t) role->state);
}

CK_RV role_seal(const struct role_context *context, const struct view *pin,
                const struct secret *token_key, struct role_record *ret_role)
{
    struct role_record role = {.state = pin == NULL ? ROLE_NO_PIN : ROLE_PIN};
    if (pin != NULL) {
        role.stretch = (struct role_stretch){.cost = {STRETCH_N, STRETCH_R, STRETCH_P}};
        TRY(crypto_random(role.stretch.salt, ROLE_SALT_LEN));
    }
    _cleanup_(secret_clear) struct secret key = {0};
    struct view no_pin = {NULL, 0};
    TRY(role_key(context, &role, pin == NULL ? no_pin : *pin, &key));
    _cleanup_(writer_clear) struct writer aad = {0};
    role_aad(&aad, context, &role);
    struct view aad_bytes;
    TRY(derive_end_aad(&aad, &aad_bytes));
    _cleanup_(blob_clear) struct blob sealed = {0};
    TRY(crypto_seal(&key, aad_bytes, (struct view){token_key->bytes, token_key->len}, &sealed));
    if (sealed.len != SEALED_KEY_LEN)
        return FAIL(CKR_GENERAL_ERROR, "a token key of %zu bytes cannot be sealed", token_key->len);
    memcpy(role.sealed_key, sealed.bytes, SEALED_KEY_LEN);
    *ret_role = role;
    return CKR_OK;
}

CK_RV role_open(const struct role_context *context, const struct role_record *role, struct view pin,
                struct secret *ret_token_key)
{
    _cleanup_(secret_clear) struct secret key = {0};
    TRY(role_key(context, role, pin, &key));
    _cleanup_(writer_clear) struct writer aad = {0};
    role_aad(&aad, context, role);
    struct view aad_bytes;
    TRY(derive_end_aad(&aad, &aad_bytes));
    struct view sealed = {role->sealed_key, SEALED_KEY_LEN};
    return crypto_open(&key, aad_bytes, sealed, ret_token_key);
}
