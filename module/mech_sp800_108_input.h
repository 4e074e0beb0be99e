/*
 * The input of SP 800-108's PRF calls, as an array of CK_PRF_DATA_PARAM describes it. For
 * mech_sp800_108.c alone.
 *
 * The array is read once, to a list of parts whose lengths are fixed from then on; each PRF call
 * builds its input from them, in one buffer. The buffer is secret: an iteration variable is derived
 * key material, and CK_SP800_108_KEY_HANDLE puts a key's value in.
 */
#pragma once

#include "module/mech.h"

#define KDF_PARTS_MAX 32

enum kdf_part_kind { KDF_BYTES, KDF_NUMBER, KDF_COUNTER, KDF_CHAIN };

struct kdf_part {
    enum kdf_part_kind kind;
    struct view bytes;  /* KDF_BYTES: the caller's, or a held key's */
    size_t width;       /* KDF_NUMBER, KDF_COUNTER: bytes */
    bool little_endian; /* of the two */
    uint64_t number;    /* KDF_NUMBER: the length field's value */
};

struct kdf_input {
    struct kdf_part parts[KDF_PARTS_MAX];
    size_t count;
    struct secret room; /* for the longest input */
};

/* What the serialisation depends on. */
struct kdf_mode {
    bool counts; /* the iteration variable is the counter; else K(i-1) or A(i), and a counter of its
                    own is optional */
    size_t prf_len;
    size_t chain_len_max; /* the longest iteration variable that is no counter */
};

/* CKR_MECHANISM_PARAM_INVALID, CKR_KEY_SIZE_RANGE when the counter is too narrow for the outputs,
 * and what mech_further_key says. `input` begins as zeros and ends, whatever the result, with
 * kdf_input_clear. */
CK_RV kdf_input_read(const struct derive_call *call, const CK_SP800_108_KDF_PARAMS *params,
                     const struct kdf_mode *mode, struct kdf_input *input);
void kdf_input_clear(struct kdf_input *input);

/* The input of a call: iteration variable and counter in their places. Valid until the next one. */
struct view kdf_input_build(struct kdf_input *input, struct view chain, uint32_t counter);
/* A(0) of the double pipeline (SP 800-108, 4.3): without iteration variable and counter. */
struct view kdf_input_fixed(struct kdf_input *input);

/* PRF calls that the outputs take: each key begins with a new one (PKCS #11 6, "Deriving Additional
 * Keys"). */
size_t kdf_blocks(const struct derive_call *call, size_t prf_len);
