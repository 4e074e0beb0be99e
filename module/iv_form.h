/*
 * The IVs that a key's counter makes. A key keeps the first form: under another, equal IVs could
 * come from different counts.
 */
#pragma once

#include "include/cryptoki.h"

#define IV_FORM_BASE_MAX 16

struct iv_form {
    CK_ULONG generator;
    CK_ULONG iv_len;
    CK_ULONG fixed_bits;
    unsigned char
        base[IV_FORM_BASE_MAX]; /* what CKG_GENERATE_COUNTER_XOR counts onto, else zeros */
};
