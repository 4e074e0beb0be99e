/*
 * CKM_AES_CTR (NIST SP 800-38A, 6.5).
 *
 * The lowest ulCounterBits of the counter block count up from where the caller lets them start. A
 * message that would bring them back to zero is refused before a byte of it is processed: the key
 * stream would repeat, or run into that of the next nonce. So OpenSSL, which counts in all 128
 * bits, never carries out of them.
 */
#include "module/mech_aes_modes.h"

#include <string.h>

#define COUNTER_BITS_MAX (8UL * AES_BLOCK_LEN)

/* Bytes of key stream from this counter block to the end of its counter. */
static uint64_t stream_len(const unsigned char *block, CK_ULONG counter_bits)
{
    uint64_t blocks = 0; /* that come after the first: the counter's bits, inverted */

    for (CK_ULONG i = 0; i < AES_BLOCK_LEN; i++) {
        CK_ULONG bits_behind = 8 * (AES_BLOCK_LEN - 1 - i);
        CK_ULONG bits_here = counter_bits > bits_behind ? counter_bits - bits_behind : 0;
        unsigned char mask = bits_here >= 8 ? 0xff : (unsigned char) ((1U << bits_here) - 1);
        /* Past 64 bits in bytes, no message gets there. */
        if (blocks > UINT64_MAX / 256 / AES_BLOCK_LEN - 1)
            return AES_MODE_NO_LIMIT;
        blocks = blocks << 8 | (unsigned char) (~block[i] & mask);
    }
    return blocks >= UINT64_MAX / AES_BLOCK_LEN ? AES_MODE_NO_LIMIT : (blocks + 1) * AES_BLOCK_LEN;
}

static CK_RV ctr_start(struct operation *operation, const CK_MECHANISM *mechanism)
{
    CK_AES_CTR_PARAMS params;

    if (!mechanism->pParameter || mechanism->ulParameterLen != sizeof(params)) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "%s: no CK_AES_CTR_PARAMS",
                      mech_name(operation));
    }
    memcpy(&params, mechanism->pParameter, sizeof(params));
    if (params.ulCounterBits == 0 || params.ulCounterBits > COUNTER_BITS_MAX) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "%s: a counter of %lu bits",
                      mech_name(operation), params.ulCounterBits);
    }
    const struct aes_mode mode = {
        .unit = 1,
        .len_limit = stream_len(params.cb, params.ulCounterBits),
    };
    return aes_mode_start(operation, params.cb, &mode);
}

const struct cipher_ops mech_aes_ctr = AES_MODE_OPS(ctr_start);
