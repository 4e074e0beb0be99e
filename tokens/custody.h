/*
 * The source side of a token: initialisation, roles and PINs, login, the lease. The other header
 * that module/ may include from tokens/ is sealed_objects.h.
 *
 * How a token key opens (docs/formats.md has every byte): the source unwraps the data key; each
 * role's key is HKDF(data key, scrypt(PIN)); the token key is sealed under it. The data key is
 * wiped after each use. A MAC under the data key covers the role records, the source, the serial
 * and the context.
 *
 * Locking: the functions here may be called from any thread; those marked [admin] are serialised by
 * the caller for one custody (the slot's busy flag), because they wait for the network while no
 * lock is held. custody_tick may run beside them.
 *
 * Failure: CK_RV as C_Login may return it, cause_last() for ulDeviceError, one log line at the
 * origin.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/secret.h"
#include "conf/conf.h"
#include "tokens/audit.h"
#include "tokens/store.h"

#define TOKEN_LABEL_LEN 32  /* CK_TOKEN_INFO.label, blank-padded */
#define TOKEN_SERIAL_LEN 16 /* CK_TOKEN_INFO.serialNumber, ASCII hex */
#define PIN_LEN_MIN 4
#define PIN_LEN_MAX 255
#define CREDENTIAL_LEN_MAX 4096 /* what stands for a PIN under login = credential */
#define PIN_TRIES 10

struct custody;

enum custody_role { CUSTODY_SO, CUSTODY_USER };

/* What guards the user: `login =`. */
enum custody_login { CUSTODY_LOGIN_PIN, CUSTODY_LOGIN_CREDENTIAL, CUSTODY_LOGIN_AMBIENT };

struct custody_pin_state {
    bool set;
    bool count_low; /* a wrong PIN since the last right one */
    bool final_try;
    bool locked;
};

struct custody_info {
    bool initialized;
    unsigned char label[TOKEN_LABEL_LEN]; /* blanks when not initialised */
    unsigned char serial[TOKEN_SERIAL_LEN];
    struct custody_pin_state so;
    struct custody_pin_state user;
};

/* What the configuration reader must know of this layer: the keys of a token section that it reads,
 * the keys of each source (NULL: no such source), and the sources' names for hints. */
extern const struct conf_key custody_conf_keys[];
extern const struct conf_key custody_direct_key_conf_keys[]; /* of a [key] section */
const struct conf_key *custody_source_keys(const char *source);
const char *custody_source_names(void);

/* Reads the section, opens source and store lazily: no network, no secret. A configuration error is
 * logged with file and line; the slot then shows no token. Freed with custody_close. */
CK_RV custody_open(const struct conf_section *section, struct custody **ret_custody);
/* Wipes what is open, cancels nothing: callers have drained. */
void custody_close(struct custody **custody);

/* The [key] sections of this token: at most once, before the first login. With `may_create_threads`
 * a login asks for many at a time. A bad section is left out, as the log says. CKR_HOST_MEMORY. */
CK_RV custody_set_direct_keys(struct custody *custody, const struct conf *conf,
                              bool may_create_threads);

/* As long as the custody; NULL: neither audit nor metrics are configured (tokens/audit.h). */
struct audit *custody_audit(const struct custody *custody);
/* While somebody is logged in; else CKR_USER_NOT_LOGGED_IN, not logged. */
CK_RV custody_audit_public_key(struct custody *custody,
                               unsigned char ret_public[AUDIT_PUBLIC_KEY_LEN]);
CK_RV custody_audit_mac_key(struct custody *custody, struct secret *ret_key);

enum custody_login custody_login_mode(const struct custody *custody);

/* From the store's token record. An unreachable store is CKR_DEVICE_ERROR. */
CK_RV custody_info(struct custody *custody, struct custody_info *ret_info);

/* A digest that differs after each C_InitToken (and rewrap): SHA-256 of the wrapped data key and
 * of `more`, each length-prefixed. CKR_FUNCTION_FAILED when the token is not initialised: ask
 * custody_info first. */
CK_RV custody_incarnation(struct custody *custody, struct view more, unsigned char ret_digest[32]);

/* [admin] C_InitToken. On an initialised token `so_pin` must be the old SO PIN: it is proved and
 * counted as a login would; all objects go. In the modes without a user PIN the user's role is made
 * too. */
CK_RV custody_init_token(struct custody *custody, struct view so_pin,
                         const unsigned char label[TOKEN_LABEL_LEN]);

/* [admin] The same where the source of the former token is gone for good, and so are its keys: no
 * PIN is proved, and the token gets another serial. For whoever owns the store, and could remove
 * it. */
CK_RV custody_reset_token(struct custody *custody, struct view so_pin,
                          const unsigned char label[TOKEN_LABEL_LEN]);

/* [admin] Asks the source as a login would, without a PIN and by the source's ambient credential,
 * and wipes what comes: the token's data key, whose record must verify, or, while the token is not
 * initialised, a fresh one that the source has to wrap and unwrap. */
CK_RV custody_try_source(struct custody *custody, bool *ret_initialized);
/* How far ahead of ours the source's clock was at this thread's last custody_try_source, in
 * seconds. False when the source told none. */
bool custody_clock_ahead(int64_t *ret_ahead_s);

#define CUSTODY_ROOT_KEY_TEXT_MAX 896

/* What the source says of the root key that wrapped the data key, or would wrap one. Times are
 * seconds of UTC since 1970, 0: none. */
struct custody_root_key {
    char text[CUSTODY_ROOT_KEY_TEXT_MAX]; /* printable */
    bool is_usable;
    int64_t deletion_s;
    int64_t expiry_s;
};

/* [admin] Asks by the credential of the login, if there is one, else by the ambient one. It is a
 * permission of its own, which may be missing where the data key opens.
 * CKR_FUNCTION_NOT_SUPPORTED, not logged, for a source that cannot tell. */
CK_RV custody_inspect_source(struct custody *custody, struct custody_root_key *ret_key);

/* [admin] Opens the token key; the lease starts. Then the user's login asks for the direct keys;
 * those that fail are left out and do not fail the login. Already open (the other role cannot be:
 * the slot logs out first) is a programming error. */
CK_RV custody_login(struct custody *custody, enum custody_role role, struct view pin);
/* Wipes the token key and everything under it. */
void custody_logout(struct custody *custody);

/* [admin] The anchor is set to the store's generation as it is, on the word of the SO, who is
 * proved and counted as at login: for a store that was restored on purpose, or an anchor that was
 * lost. CKR_DEVICE_ERROR and the like as for C_Login. */
CK_RV custody_anchor_accept(struct custody *custody, struct view so_pin, uint64_t *ret_generation);

/* What a counter that must never repeat is bound to, where it is kept among the token's objects: a
 * value that is new after every custody_anchor_accept. CKR_FUNCTION_NOT_SUPPORTED, not logged,
 * without an anchor; CKR_USER_NOT_LOGGED_IN; CKR_DEVICE_ERROR. */
#define CUSTODY_ANCHOR_ID_LEN 16
CK_RV custody_anchor_id(struct custody *custody, unsigned char ret_id[CUSTODY_ANCHOR_ID_LEN]);

/* [admin] C_InitPIN, by the SO who is logged in: sets or resets the user's PIN, unlocks. */
CK_RV custody_init_pin(struct custody *custody, struct view pin);
/* [admin] C_SetPIN. Works logged in or not; the old PIN is proved and counted as at login. While
 * the user's PIN is locked, `old_pin` is taken as the SO PIN: so the SO unlocks without a login. */
CK_RV custody_set_pin(struct custody *custody, enum custody_role role, struct view old_pin,
                      struct view new_pin);

/* [admin] Changes the epoch, while either role is logged in: a new epoch key, under which the
 * values of all objects are sealed anew, in one commit; objects that are open go on. What was
 * removed before can be opened no longer, whatever copies of its rows there are, but with a copy of
 * the store that is as old. CKR_DEVICE_ERROR (cause STORE) also when the epoch has changed and the
 * former key could not be scrubbed from the store's files, because another process reads them: to
 * be done again. */
CK_RV custody_shred(struct custody *custody);

/* A row of the store at one of its versions. */
struct custody_row {
    struct object_id id;
    uint64_t version;
};

/* [admin] The same, and these rows go with it, in the same commit. CKR_OBJECT_HANDLE_INVALID when
 * one of them has another version or is gone: nothing has changed. `rows` is sorted by it. */
CK_RV custody_shred_rows(struct custody *custody, struct custody_row *rows, size_t count);

/* [admin] Another token key: both roles, and all objects, are sealed anew in one commit. Both PINs
 * are proved and counted as at login; `user_pin` is ignored where the user has none. Works logged
 * in or not: whoever is logged in, in this process or another one, is logged out by his next tick.
 * A former copy of the store stays what it was. CKR_DEVICE_ERROR (cause STORE) also as with
 * custody_shred. */
CK_RV custody_rotate_token_key(struct custody *custody, struct view so_pin, struct view user_pin);

#define CUSTODY_KEY_TEXT_MAX 512

/* Key and version at the source, as far as a wrapped key tells them; else "". */
struct custody_rewrap {
    char old_key[CUSTODY_KEY_TEXT_MAX];
    char new_key[CUSTODY_KEY_TEXT_MAX];
};

/* [admin] Wraps the data key under the newest version of the source's key, while either role is
 * logged in. What came of it is opened before it is kept. */
CK_RV custody_rewrap(struct custody *custody, struct custody_rewrap *ret_report);

struct custody_status {
    struct custody_info info;
    const char *source; /* as long as the custody */
    const char *store;
    char wrapping_key[CUSTODY_KEY_TEXT_MAX]; /* "": not told */
    bool is_open;                            /* else nobody is logged in, and the rest is 0 */
    uint32_t epoch;
    uint64_t generation;
    uint64_t row_count; /* objects and invocation counts, as the summary has them */
};

/* What the store tells, without a call to the source. */
CK_RV custody_status(struct custody *custody, struct custody_status *ret_status);

/* All of `bytes` is taken, or the backup fails with what it answers. */
typedef CK_RV custody_write_fn(void *context, struct view bytes);
/* At most `len` bytes; `ret_len` 0 is the end. */
typedef CK_RV custody_read_fn(void *context, unsigned char *bytes, size_t len, size_t *ret_len);

/* [admin] The token as it is at one moment, while either role is logged in: sealed, to be opened
 * with the source and a PIN alone. Takes memory for all of it. */
CK_RV custody_backup(struct custody *custody, custody_write_fn *write, void *context);

struct custody_restore {
    custody_read_fn *read;
    void *context;
    enum custody_role role;
    struct view pin; /* of the backup; not counted */
    bool force;      /* over the token itself, which is then as old as the backup */
};

/* [admin] Into an empty store, or that token's own one, in one commit, once all of the backup is
 * proved. Nobody is logged in in this process. An anchor has to be told of it afterwards. */
CK_RV custody_restore(struct custody *custody, const struct custody_restore *what);

/* When (clock_coarse_ms) the next call into this token has to run custody_tick first; INT64_MAX
 * while nobody is logged in. Read on the data path. */
const _Atomic int64_t *custody_due(const struct custody *custody);

/* lease_left_ms. */
int64_t custody_lease_left_ms(struct custody *custody);

enum custody_news {
    CUSTODY_SAME,    /* go on */
    CUSTODY_CHANGED, /* go on, but the store's objects differ from what was loaded */
    CUSTODY_CLOSED,  /* denied, or out of grace: the token key is wiped, act as C_Logout */
};

/* At most once in 50 ms a call runs this: renews a lease that ran out (single flight; others go on
 * within the grace, or wait for it beyond the grace), and asks the store for changes. No lock is
 * held while it waits. Never fails: what matters is in the news, causes are logged. */
enum custody_news custody_tick(struct custody *custody);

/* Direct keys: keys that are ciphertexts of the source themselves (tokens/direct_keys.h). The
 * module shows those that are open as objects, and looks again when the version went up. */
#define CUSTODY_CHECK_VALUE_LEN 8

enum custody_key_type { CUSTODY_KEY_GENERIC, CUSTODY_KEY_AES };

struct custody_direct_key {
    const char *name; /* as long as the custody */
    struct view id;   /* so too; empty: none was given */
    struct object_id object_id;
    enum custody_key_type type;
    bool is_open;
    struct secret value; /* freed with secret_clear; empty: not open, or taken before */
};

uint64_t custody_direct_keys_version(const struct custody *custody);
size_t custody_direct_keys_count(const struct custody *custody);
/* Key `index` as it is now. A new value is handed over once. */
void custody_direct_key_take(struct custody *custody, size_t index,
                             struct custody_direct_key *ret_key);
/* The value that was taken could not be kept: the source will be asked again. */
void custody_direct_key_lost(struct custody *custody, size_t index);

/* C_Finalize: whatever waits in a source returns within half a second. */
void custody_cancel(struct custody *custody);

/* This thread has called a source and is inside its library, which has called back. */
bool custody_is_inside(void);

/* In the child of a fork: wipes what the parent's keyring keeps on the heap (OpenSSL's contexts);
 * its secrets are not mapped here and its locks may be held for ever. NULL is nothing. */
void custody_abandon(struct custody *custody);
/* In the child, in place of the former for each: the fork caught C_Initialize or C_Finalize at
 * work. */
void custody_abandon_unknown(void);
