/*
 * For the tests of how a token behaves while its KMS fails: a fake KMS that can be cut off, calls
 * through the C_* functions of the static library, real time, and the memory of this process.
 *
 * Each test has a token of its own, by the fixtures of kms_fixture.h. The functions that log in
 * and use keys may be called by any thread, those that command the fake by one.
 */
#pragma once

#include "tests/contract/aws_fixture.h"
#include "tests/contract/azure_fixture.h"
#include "tests/contract/vault_fixture.h"

/* Sanitizers map terabytes of shadow memory and keep freed blocks: no figures of memory there, and
 * no search through it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_PLAIN_MEMORY 0
#elif defined(__has_feature)
#define HAS_PLAIN_MEMORY (!__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer))
#else
#define HAS_PLAIN_MEMORY 1
#endif

/* What differs from KMS to KMS. */
struct behaviour_kms {
    const char *name; /* as `source =` and the figures have it */
    const char *handler;
    void (*configure)(struct fake_service *fake, const struct kms_settings *settings);
    const char *credential; /* what settings have as the ambient one, as a PIN */
    const char *wrong_credential;
    const char *revoke; /* that credential: a command of the fake */
    bool is_asked_for;  /* its fake needs packages (tests/servers): it runs by its name alone */
};

extern struct fake_service behaviour_fake;
/* The one whose tests run. */
extern const struct behaviour_kms *behaviour_kms;

/* For main: runs the cases that `make` makes for each KMS, or for the one that is the program's
 * argument. */
int behaviour_run(const char *name, TCase *(*make)(void), const char *only);

/* Unchecked fixtures, for the fake of behaviour_kms. */
void behaviour_start(void);
void behaviour_stop(void);

/* A fresh state of the fake, the configuration, and a token initialised by it. */
void behaviour_token(const struct kms_settings *settings);
/* The configuration alone. */
void behaviour_configure(const struct kms_settings *settings);
/* Every request from now on goes wrong so, until behaviour_heal. */
void behaviour_fault(const char *fault);
/* Without faults and counts, reachable. */
void behaviour_heal(void);
/* Nothing listens there any more: the kernel refuses the connections of this process. */
void behaviour_cut_off(void);
/* Is called within each connect(2) of this process, on the thread that connects; NULL: none. */
void behaviour_on_connect(void (*function)(void));

/* Milliseconds of the machine's clock, which clock_shift leaves alone. */
int64_t behaviour_now_ms(void);
void behaviour_sleep_ms(long ms);

CK_SESSION_HANDLE behaviour_session(void);
CK_RV behaviour_login(CK_SESSION_HANDLE session);
enum indexkey_cause behaviour_cause(CK_SESSION_HANDLE session);
bool behaviour_is_logged_in(CK_SESSION_HANDLE session);
/* The one object with this label. */
CK_OBJECT_HANDLE behaviour_find(CK_SESSION_HANDLE session, const char *label);
/* A message by AES-GCM, and a MAC by HMAC-SHA-256: the first result that is not CKR_OK, of the
 * function that `*ret_call` then names. */
CK_RV behaviour_encrypt(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, const char **ret_call);
CK_RV behaviour_sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, const char **ret_call);

/* The index key of the tests, with label "shared", as a token object: by the user who is logged in.
 */
CK_OBJECT_HANDLE behaviour_import(CK_SESSION_HANDLE session, CK_BYTE value[32]);
