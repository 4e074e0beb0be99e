/* The last steps of every way in which an object comes to be: create, generate, derive, unwrap. */
#pragma once

#include "module/session.h"

/* Token objects need a read/write session and who administers them; private ones somebody who sees
 * them. */
CK_RV new_object_check_session(const struct session_view *view,
                               const struct attributes *attributes);

/* Who makes, changes and destroys token objects (`administer =`): CKR_ACTION_PROHIBITED. */
CK_RV new_object_check_administrator(const struct session_view *view);

/* Policy, session and check value are examined. */
CK_RV new_object_check(const struct session_view *view, enum attribute_origin origin,
                       const struct object *base, struct template_result *result);
/* After the check: into the store and the table. `result` is used up. */
CK_RV new_object_publish(const struct session_view *view, struct template_result *result,
                         CK_OBJECT_HANDLE *ret_handle);
/* The two in one. */
CK_RV new_object(const struct session_view *view, enum attribute_origin origin,
                 const struct object *base, struct template_result *result,
                 CK_OBJECT_HANDLE *ret_handle);
