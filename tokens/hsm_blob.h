/*
 * A wrapped key of `source = hsm` (docs/formats.md): which mechanism and which key wrapped it, and
 * what the parent made. Nothing secret.
 */
#pragma once

#include "base/bytes.h"
#include "tokens/hsm_wrap.h"

struct hsm_blob {
    enum hsm_mechanism mechanism;
    bool is_bare; /* the parent's output alone: a direct key that something else wrapped */
    struct view key_id;
    struct view iv; /* HSM_AES_GCM: HSM_IV_LEN bytes */
    struct view ciphertext;
};

/* Views into `bytes`. What does not begin as ours does is the output of `bare` alone; HSM_AUTO:
 * there is none. False when it is neither. */
bool hsm_blob_read(struct view bytes, enum hsm_mechanism bare, struct hsm_blob *ret_blob);
void hsm_blob_write(struct writer *writer, const struct hsm_blob *blob);
/* What AES-GCM binds: mechanism, key and context; of a bare one the context. */
void hsm_blob_aad(struct writer *aad, const struct hsm_blob *blob, struct view context);
