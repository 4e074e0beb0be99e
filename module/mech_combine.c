/*
 * Keys that are put together from bytes or cut out of them (PKCS #11 6, "Miscellaneous simple key
 * derivation mechanisms"): CKM_CONCATENATE_*, CKM_XOR_BASE_AND_DATA and CKM_EXTRACT_KEY_FROM_KEY.
 *
 * Nothing here is one-way. What keeps these mechanisms from giving a key another role, or from
 * shortening it, are rules of the policy (module/policy.c, by derive_form).
 */
#include "module/mech.h"

#include <string.h>

#include "module/policy_rules.h"

static struct view secret_view(const struct secret *secret)
{
    return (struct view){.bytes = secret->bytes, .len = secret->len};
}

/* The key's length: the template's, or all that there is. */
static CK_RV len_read(const struct derive_call *call, size_t whole_len, size_t *ret_len)
{
    size_t wanted = call->outputs->len;

    if (wanted > whole_len)
        return REFUSE(CKR_KEY_SIZE_RANGE, "a key of %zu bytes from %zu", wanted, whole_len);
    *ret_len = wanted ? wanted : whole_len;
    return CKR_OK;
}

/* Cut, data in front would leave one byte of such a key, then two. */
static bool is_guarded(const struct derive_call *call)
{
    bool guarded = attributes_stay_inside(&call->base->attributes);

    for (size_t i = 0; i < call->further->count; i++)
        guarded |= attributes_stay_inside(&call->further->keys[i]->attributes);
    return guarded;
}

static CK_RV concatenate(const struct derive_call *call, struct view first, struct view second,
                         struct secret *ret_value)
{
    _cleanup_(secret_clear) struct secret whole = {0};
    size_t whole_len = first.len + second.len;
    size_t len = 0;

    TRY(len_read(call, whole_len, &len));
    if (len < whole_len && is_guarded(call) && !policy_allows_breach("no-truncation")) {
        log_line(LOG_LEVEL_WARNING, "refused by policy rule no-truncation: what is joined to a "
                                    "sensitive or non-extractable key stays whole");
        return CKR_TEMPLATE_INCONSISTENT;
    }
    TRY(secret_new(whole_len, &whole));
    if (first.len > 0)
        memcpy(whole.bytes, first.bytes, first.len);
    if (second.len > 0)
        memcpy(whole.bytes + first.len, second.bytes, second.len);
    return mech_cut(&whole, len, ret_value);
}

static CK_RV base_and_key(const struct derive_call *call, struct secret *ret_value)
{
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    const struct secret *value = NULL;

    if (!call->mechanism->pParameter || call->mechanism->ulParameterLen != sizeof(handle)) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID,
                      "CKM_CONCATENATE_BASE_AND_KEY: the parameter is no key handle");
    }
    memcpy(&handle, call->mechanism->pParameter, sizeof(handle));
    TRY(mech_further_key(call, handle, &value));
    return concatenate(call, secret_view(call->base_value), secret_view(value), ret_value);
}

static CK_RV base_and_data(const struct derive_call *call, struct secret *ret_value)
{
    struct view data = {0};

    TRY(mech_string_data(call->mechanism, &data));
    return concatenate(call, secret_view(call->base_value), data, ret_value);
}

static CK_RV data_and_base(const struct derive_call *call, struct secret *ret_value)
{
    struct view data = {0};

    TRY(mech_string_data(call->mechanism, &data));
    return concatenate(call, data, secret_view(call->base_value), ret_value);
}

/* The shorter of the two decides the length. */
static CK_RV xor_base_and_data(const struct derive_call *call, struct secret *ret_value)
{
    const struct secret *base = call->base_value;
    _cleanup_(secret_clear) struct secret whole = {0};
    struct view data = {0};
    size_t len = 0;

    TRY(mech_string_data(call->mechanism, &data));
    size_t whole_len = data.len < base->len ? data.len : base->len;
    if (whole_len == 0)
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_XOR_BASE_AND_DATA: no data");
    TRY(len_read(call, whole_len, &len));
    TRY(secret_new(whole_len, &whole));
    for (size_t i = 0; i < whole_len; i++)
        whole.bytes[i] = base->bytes[i] ^ data.bytes[i];
    return mech_cut(&whole, len, ret_value);
}

/* Bit 0 is the highest of the first byte; behind the last bit comes the first again. */
static unsigned char byte_at_bit(const struct secret *base, size_t bit)
{
    unsigned int high = base->bytes[bit / 8 % base->len];
    unsigned int low = base->bytes[(bit / 8 + 1) % base->len];

    return (unsigned char) ((high << 8 | low) >> (8 - bit % 8));
}

static CK_RV extract_key(const struct derive_call *call, struct secret *ret_value)
{
    const struct secret *base = call->base_value;
    _cleanup_(secret_clear) struct secret slice = {0};
    CK_EXTRACT_PARAMS bit = 0;
    size_t len = 0;

    if (!call->mechanism->pParameter || call->mechanism->ulParameterLen != sizeof(bit)) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID,
                      "CKM_EXTRACT_KEY_FROM_KEY: the parameter is no CK_EXTRACT_PARAMS");
    }
    memcpy(&bit, call->mechanism->pParameter, sizeof(bit));
    if (bit >= 8 * base->len)
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_EXTRACT_KEY_FROM_KEY: no bit %lu", bit);
    if (call->outputs->len == 0)
        return REFUSE(CKR_TEMPLATE_INCOMPLETE, "CKM_EXTRACT_KEY_FROM_KEY: no length");
    TRY(len_read(call, base->len, &len));
    TRY(secret_new(len, &slice));
    for (size_t i = 0; i < len; i++)
        slice.bytes[i] = byte_at_bit(base, bit + 8 * i);
    *ret_value = secret_move(&slice);
    return CKR_OK;
}

const struct derive_ops mech_concatenate_base_and_key = {
    .default_type = CKK_GENERIC_SECRET,
    .form = DERIVE_JOINS,
    .history = HISTORY_OF_EVERY_KEY,
    .derive = base_and_key,
};

const struct derive_ops mech_concatenate_base_and_data = {
    .default_type = CKK_GENERIC_SECRET,
    .form = DERIVE_JOINS,
    .derive = base_and_data,
};

const struct derive_ops mech_concatenate_data_and_base = {
    .default_type = CKK_GENERIC_SECRET,
    .form = DERIVE_JOINS,
    .derive = data_and_base,
};

const struct derive_ops mech_xor_base_and_data = {
    .default_type = CKK_GENERIC_SECRET,
    .form = DERIVE_JOINS,
    .derive = xor_base_and_data,
};

const struct derive_ops mech_extract_key = {
    .default_type = CKK_GENERIC_SECRET,
    .form = DERIVE_SLICES,
    .derive = extract_key,
};
