#include "module/admin_check.h"

#include <string.h>

#include "base/rv.h"
#include "module/module.h"
#include "module/slot.h"

_Static_assert(ADMIN_ROOT_KEY_TEXT_MAX == CUSTODY_ROOT_KEY_TEXT_MAX, "a text is copied whole");

static CK_RV check_source(CK_SLOT_ID id, bool *ret_initialized)
{
    struct slot *slot;

    TRY(module_slot(id, &slot));
    TRY(slot_check_token(slot));
    slot_begin_admin(slot);
    CK_RV rv = custody_try_source(slot->custody, ret_initialized);
    slot_end_admin(slot);
    return rv;
}

CK_RV admin_check_source(CK_SLOT_ID slot, bool *ret_initialized)
{
    TRY(module_enter());
    CK_RV rv = check_source(slot, ret_initialized);
    module_leave();
    return rv;
}

static CK_RV check_root_key(CK_SLOT_ID id, struct admin_root_key *ret_key)
{
    struct custody_root_key key;
    struct slot *slot;

    TRY(module_slot(id, &slot));
    TRY(slot_check_token(slot));
    slot_begin_admin(slot);
    CK_RV rv = custody_inspect_source(slot->custody, &key);
    slot_end_admin(slot);
    TRY(rv);
    memcpy(ret_key->text, key.text, sizeof(key.text));
    ret_key->is_usable = key.is_usable;
    ret_key->deletion_s = key.deletion_s;
    ret_key->expiry_s = key.expiry_s;
    return CKR_OK;
}

CK_RV admin_check_root_key(CK_SLOT_ID slot, struct admin_root_key *ret_key)
{
    TRY(module_enter());
    CK_RV rv = check_root_key(slot, ret_key);
    module_leave();
    return rv;
}

bool admin_check_clock(int64_t *ret_ahead_s)
{
    return custody_clock_ahead(ret_ahead_s);
}
