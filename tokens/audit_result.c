#include "tokens/audit_result.h"

#include <stdio.h>

#include "base/ckr.h"

struct audit_result audit_result_name(CK_RV rv)
{
    struct audit_result result;
    const char *name = ckr_name(rv);

    if (name != NULL)
        (void) snprintf(result.text, sizeof(result.text), "%s", name);
    else
        (void) snprintf(result.text, sizeof(result.text), "CKR_0x%08lx", rv);
    return result;
}
