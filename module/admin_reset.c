#include "module/admin_reset.h"

#include "base/rv.h"
#include "module/module.h"
#include "module/slot.h"

static CK_RV reset(CK_SLOT_ID slot_id, struct view so_pin, const unsigned char label[32])
{
    struct slot *slot;

    TRY(module_slot(slot_id, &slot));
    TRY(slot_check_token(slot));
    return slot_reset_token(slot, so_pin, label);
}

CK_RV admin_token_reset(CK_SLOT_ID slot_id, struct view so_pin, const unsigned char label[32])
{
    TRY(module_enter());
    CK_RV rv = reset(slot_id, so_pin, label);
    module_leave();
    return rv;
}
