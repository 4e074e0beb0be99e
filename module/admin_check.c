#include "module/admin_check.h"

#include "base/rv.h"
#include "module/module.h"
#include "module/slot.h"

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

bool admin_check_clock(int64_t *ret_ahead_s)
{
    return custody_clock_ahead(ret_ahead_s);
}
