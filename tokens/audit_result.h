/* Names of results, for audit lines and metrics. */
#pragma once

#include "include/cryptoki.h"

struct audit_result {
    char text[40];
};

/* "CKR_OK"; "CKR_0x00000042" for one that is not in the table. */
struct audit_result audit_result_name(CK_RV rv);
