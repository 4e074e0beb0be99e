/* CKO_PROFILE: what the token claims of the OASIS profiles. Built in, public, read-only. */
#pragma once

#include "module/slot.h"

CK_RV profile_objects_add(struct slot *slot);
