/* The last steps of every way in which an object comes to be: create, generate, derive, unwrap. */
#pragma once

#include "module/session.h"

/* Token objects need a read/write session and the user; private ones the user. */
CK_RV new_object_check_session(const struct session_view *view,
                               const struct attributes *attributes);

/* Policy, session and check value are examined; then the object is published. `result` is used up.
 */
CK_RV new_object(const struct session_view *view, enum attribute_origin origin,
                 const struct object *base, struct template_result *result,
                 CK_OBJECT_HANDLE *ret_handle);
