/*
 * Why a call to a parent HSM failed: noted by the thread that calls it, told by the caller, since
 * that thread may be left behind and must not log.
 */
#pragma once

#include "base/rv.h"

#define HSM_DETAIL_MAX 200

/* What was being done. */
enum hsm_step {
    HSM_LOAD,
    HSM_INITIALIZE,
    HSM_FIND_TOKEN,
    HSM_OPEN_SESSION,
    HSM_LOGIN,
    HSM_FIND_KEY,
    HSM_WRAP,
    HSM_UNWRAP,
    HSM_SOME_STEP, /* of work that was left behind, which cannot be asked */
};

enum hsm_trouble {
    HSM_NO_TROUBLE,
    HSM_REFUSED, /* by the CK_RV */
    HSM_NOT_LOADED,
    HSM_IS_OURSELVES,
    HSM_IS_PROXY,
    HSM_NO_TOKEN,
    HSM_SEVERAL_TOKENS,
    HSM_NO_PIN,
    HSM_NO_KEY,
    HSM_SEVERAL_KEYS,
    HSM_OTHER_KEY,
    HSM_NO_MECHANISM,
    HSM_CHANGED,    /* a ciphertext that the parent refuses */
    HSM_NO_FORM,    /* a ciphertext that is none */
    HSM_ODD_ANSWER, /* it cannot be meant */
    HSM_NOT_SHOWN,  /* the unwrapped value */
    HSM_TIMEOUT,
    HSM_STUCK, /* too many calls that were left behind */
    HSM_CANCELLED,
    HSM_NO_THREAD,
    HSM_NO_MEMORY,
};

struct hsm_fault {
    enum hsm_trouble trouble;
    enum hsm_step step;
    CK_RV rv;                    /* HSM_REFUSED */
    char detail[HSM_DETAIL_MAX]; /* HSM_NOT_LOADED: what the loader says */
};

/* Answer CKR_FUNCTION_FAILED; the first trouble stands. */
CK_RV hsm_fault_set(struct hsm_fault *fault, enum hsm_trouble trouble);
CK_RV hsm_fault_refused(struct hsm_fault *fault, CK_RV rv);

/* One line, and the cause. `what` was to be done ("unwrap the data key"), `module` is the parent's
 * path. */
CK_RV hsm_fault_tell(const char *token, const char *what, const char *module,
                     const struct hsm_fault *fault);
