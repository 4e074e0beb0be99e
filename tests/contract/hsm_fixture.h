/*
 * For the tests of `source = hsm`: a SoftHSM token as the parent (tests/examples/on_softhsm.sh has
 * made it) with wrapping keys of several kinds, reached through hsm_shim.h, and a token that is
 * configured for it.
 */
#pragma once

#include "tests/contract/hsm_shim.h"
#include "tests/contract/kms_fixture.h"

#define HSM_TOKEN "vectors" /* the parent's label */
#define HSM_PIN "123456"
#define HSM_AES "index-aes"
#define HSM_GCM_ONLY "gcm-only"
#define HSM_WRAP_ONLY "wrap-only"
#define HSM_RSA "index-rsa"
#define HSM_USELESS "useless"

/* NULL is a default that works. */
struct hsm_settings {
    const char *key;   /* attributes of the URI: "object=index-aes" */
    const char *token; /* of the URI: "token=vectors" */
    const char *module;
    const char *query; /* more of the URI: "&pin-source=file:/PIN" */
    const char *more;  /* lines */
    const char *pin;   /* in the PIN file; "": there is no pin_file */
    int deadline_ms;
};

/* An unchecked fixture: makes the parent's keys. */
void hsm_start(void);

/* A PIN file and the configuration. */
void hsm_configure(const struct hsm_settings *settings);
struct source *hsm_open(const struct hsm_settings *settings);
struct source_call hsm_call(const struct hsm_settings *settings, struct view context);

/* The switches, as they stood at first. Waits for threads that were let go. */
void hsm_shim_reset(void);
/* So, and until what they held of secret memory is given back. */
void hsm_shim_settle(size_t secrets);
struct hsm_shim *hsm_shim_get(void);

/* The parent itself, as another user of it in this process, without the shim. */
const CK_FUNCTION_LIST *hsm_real(void);
CK_SESSION_HANDLE hsm_real_session(void);
/* So, initialised by that user. */
CK_SESSION_HANDLE hsm_other_user(void);
/* A 256-bit AES key with that label, id and uses. */
CK_OBJECT_HANDLE hsm_make_aes(CK_SESSION_HANDLE session, const char *label, CK_BYTE id,
                              bool encrypts, bool wraps);
/* Its one secret key with that label and id. */
CK_OBJECT_HANDLE hsm_find_aes(CK_SESSION_HANDLE session, const char *label, CK_BYTE id);
