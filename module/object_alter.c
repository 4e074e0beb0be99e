#include "module/object_alter.h"

#include "base/rv.h"
#include "module/new_object.h"
#include "module/slot_objects.h"

CK_RV object_alter_find(const struct session_view *view, CK_OBJECT_HANDLE handle,
                        struct object **ret_object)
{
    _cleanup_(object_release) struct object *object = NULL;

    TRY(object_table_get(view->slot->objects, handle, &object));
    if (object_has(object, FLAG_PRIVATE) && !slot_shows_private(view->slot, view->role))
        return CKR_OBJECT_HANDLE_INVALID;
    *ret_object = TAKE(object);
    return CKR_OK;
}

CK_RV object_alter_find_writable(const struct session_view *view, CK_OBJECT_HANDLE handle,
                                 struct object **ret_object)
{
    struct object *object;
    CK_RV rv = CKR_OK;

    TRY(object_alter_find(view, handle, &object));
    if (object_has(object, FLAG_TOKEN))
        rv = (view->flags & CKF_RW_SESSION) == 0 ? CKR_SESSION_READ_ONLY
                                                 : new_object_check_administrator(view);
    if (rv == CKR_OK)
        *ret_object = object;
    else
        object_release(&object);
    return rv;
}

CK_RV object_alter(const struct session_view *view, CK_OBJECT_HANDLE handle,
                   const struct alteration *alteration)
{
    _cleanup_(object_release) struct object *tried = NULL;

    for (;;) {
        _cleanup_(object_release) struct object *object = NULL;
        TRY(object_alter_find_writable(view, handle, &object));
        if (object == tried)
            return CKR_OBJECT_HANDLE_INVALID;
        CK_RV rv = alteration->apply(view, object, alteration->argument);
        if (rv != CKR_OBJECT_HANDLE_INVALID)
            return rv;
        if (object_has(object, FLAG_TOKEN))
            TRY(slot_objects_refresh(view->slot));
        object_release(&tried);
        tried = TAKE(object);
    }
}
