#include "module/admin.h"

#include "module/audit_log.h"
#include "module/module.h"
#include "module/slot.h"

static CK_RV accept_recorded(struct slot *slot, struct view so_pin, uint64_t *ret_generation)
{
    const struct audit_act act = {.event = "anchor-accept"};

    TRY(audit_log_intent(slot, &act));
    return audit_log_outcome(slot, &act,
                             custody_anchor_accept(slot->custody, so_pin, ret_generation));
}

CK_RV admin_anchor_accept(CK_SLOT_ID slot_id, struct view so_pin, uint64_t *ret_generation)
{
    struct slot *slot;

    TRY(module_enter());
    CK_RV rv = module_slot(slot_id, &slot);
    if (rv == CKR_OK)
        rv = slot_check_token(slot);
    if (rv == CKR_OK) {
        slot_begin_admin(slot);
        rv = accept_recorded(slot, so_pin, ret_generation);
        slot_end_admin(slot);
    }
    module_leave();
    return rv;
}
