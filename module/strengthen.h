/*
 * What `policy = strengthen` makes of the templates of token keys, and `policy = strict` refuses to
 * need (design: pkcs11-tool cannot ask for CKA_DERIVE and sends SENSITIVE and PRIVATE false).
 */
#pragma once

#include "module/attributes.h"
#include "module/slot.h"

/* An explicit EXTRACTABLE true, or DERIVE false on what becomes an index key, is refused:
 * CKR_TEMPLATE_INCONSISTENT. */
CK_RV strengthen_token_key(const struct slot *slot, enum attribute_origin origin,
                           struct template_result *result);

/* What a direct key may do (module/direct_objects.h): 32 generic bytes without a use of their own
 * are an index key, whatever the policy, since no template asked for it. */
CK_RV strengthen_direct_key(const struct slot *slot, struct attributes *attributes);

/* A session key that C_CopyObject takes into the token. CKR_TEMPLATE_INCONSISTENT under strict. */
CK_RV strengthen_copied_key(const struct slot *slot, struct attributes *attributes);
