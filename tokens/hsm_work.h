/*
 * One wrap or unwrap by a parent HSM, from its first session call to its last, in a thread that may
 * be left behind (tokens/apart.h).
 */
#pragma once

#include "tokens/apart.h"
#include "tokens/hsm_blob.h"

struct hsm_work {
    struct apart apart;
    struct hsm_parent *parent;
    struct secret pin; /* empty: none */
    struct blob context;
    enum hsm_mechanism mechanism; /* to wrap by, or of a bare blob */
    unsigned char iv[HSM_IV_LEN]; /* random, to wrap by */
    bool wraps;
    struct secret data_key; /* in or out */
    struct blob wrapped;    /* out or in */
    CK_RV rv;               /* out */
    struct hsm_fault fault; /* out, unless rv is CKR_OK */
};

/* Holds the parent. All else is empty, for the caller to fill in; freed with hsm_work_free. NULL
 * when memory is short. */
struct hsm_work *hsm_work_new(struct hsm_parent *parent);
/* Sets NULL. NULL is nothing. */
void hsm_work_free(struct hsm_work **work);
/* Runs it. After a failure `*ret_fault` says why, and nothing is logged; a work that was left
 * behind is gone, and `*work` NULL. */
CK_RV hsm_work_run(struct hsm_work **work, int64_t deadline_ms, const atomic_bool *cancelled,
                   struct hsm_fault *ret_fault);

/* Gives up a hold of the parent, inside, and waits a moment for that. */
void hsm_work_close(struct hsm_parent *parent);
