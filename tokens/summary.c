#include "tokens/summary.h"

#include <string.h>

#include "base/rv.h"

#define CHANGES_PER_KEY_BITS 30

void summary_add(struct summary *summary, const unsigned char mac[SHA256_LEN])
{
    unsigned int carry = 0;
    for (size_t i = SHA256_LEN; i-- > 0;) {
        carry += (unsigned int) summary->sum[i] + mac[i];
        summary->sum[i] = (unsigned char) carry;
        carry >>= 8;
    }
    summary->count++;
}

void summary_remove(struct summary *summary, const unsigned char mac[SHA256_LEN])
{
    unsigned int borrow = 0;
    for (size_t i = SHA256_LEN; i-- > 0;) {
        unsigned int taken = mac[i] + borrow;
        borrow = summary->sum[i] < taken;
        summary->sum[i] = (unsigned char) (summary->sum[i] - taken);
    }
    summary->count--;
}

bool summary_same_set(const struct summary *a, const struct summary *b)
{
    return a->count == b->count && memcmp(a->sum, b->sum, SHA256_LEN) == 0;
}

uint32_t summary_attribute_key(const struct summary *summary)
{
    return (uint32_t) (summary->generation >> CHANGES_PER_KEY_BITS);
}

CK_RV summary_seal(struct keyring *held, const struct summary *summary, struct blob *ret_bytes)
{
    _cleanup_(writer_clear) struct writer aad = {0};
    _cleanup_(writer_clear) struct writer plaintext = {0};
    struct view aad_bytes;
    struct view plaintext_bytes;
    derive_begin_aad(&aad, LABEL_SUMMARY, held->serial);
    write_u64(&plaintext, summary->generation);
    write_u64(&plaintext, summary->count);
    write_raw(&plaintext, (struct view){summary->sum, SHA256_LEN});
    TRY(derive_end_aad(&aad, &aad_bytes));
    TRY(derive_end_aad(&plaintext, &plaintext_bytes));
    _cleanup_(blob_clear) struct blob sealed = {0};
    TRY(crypto_seal(&held->summary_key, aad_bytes, plaintext_bytes, &sealed));
    struct writer writer = {0};
    write_u8(&writer, SEAL_FORMAT);
    write_raw(&writer, blob_view(&sealed));
    return writer_finish(&writer, ret_bytes);
}

CK_RV summary_open(struct keyring *held, struct view bytes, struct summary *ret_summary)
{
    struct reader reader = reader_of(bytes);
    if (read_u8(&reader) != SEAL_FORMAT || reader.failed)
        return CKR_ENCRYPTED_DATA_INVALID;
    struct view sealed = read_raw(&reader, bytes.len - 1);
    _cleanup_(writer_clear) struct writer aad = {0};
    derive_begin_aad(&aad, LABEL_SUMMARY, held->serial);
    struct view aad_bytes;
    TRY(derive_end_aad(&aad, &aad_bytes));
    _cleanup_(secret_clear) struct secret plaintext = {0};
    TRY(crypto_open(&held->summary_key, aad_bytes, sealed, &plaintext));
    struct reader fields = reader_of((struct view){plaintext.bytes, plaintext.len});
    struct summary summary = {.generation = read_u64(&fields), .count = read_u64(&fields)};
    struct view sum = read_raw(&fields, SHA256_LEN);
    if (!reader_done(&fields))
        return CKR_ENCRYPTED_DATA_INVALID;
    memcpy(summary.sum, sum.bytes, SHA256_LEN);
    *ret_summary = summary;
    return CKR_OK;
}
