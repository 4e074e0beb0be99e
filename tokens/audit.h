/*
 * The audit log of a token: what module/ and the other files of tokens/ call. docs/audit.md has
 * every byte of a line, and what each protection is worth.
 *
 * A struct audit is one writer: a process and a token. Its lines are one chain; those that it
 * writes while somebody is logged in have a MAC under a key that ratchets forward, and checkpoints
 * are signed. It also counts the uses of keys (struct audit_share), for the log and for the
 * metrics. With neither `audit` nor `metrics` set there is none, and every function here takes
 * NULL: then nothing is written and all is well.
 *
 * Locking: any thread may call. One lock guards the chain and the file; it is held for a write,
 * not for a sync, and is a leaf: a session's or an object's lock may be held by the caller.
 *
 * Failure: CKR_DEVICE_ERROR (INDEXKEY_CAUSE_AUDIT), logged, when a line is not on disk: the caller
 * refuses what it was about to do or to answer. Under `audit_required = no` that is CKR_OK.
 */
#pragma once

#include <stdatomic.h>

#include "base/bytes.h"
#include "base/secret.h"
#include "conf/conf.h"
#include "include/indexkey.h"
#include "tokens/store.h"

#define AUDIT_PUBLIC_KEY_LEN 32
#define AUDIT_LABEL_MAX 256 /* bytes of a label that a line has */

struct audit;
struct metrics;

/* One line. Texts may be hostile; what they must never be is secret. */
struct audit_event {
    const char *event;           /* one word of docs/audit.md */
    bool is_intent;              /* about to be done; the outcome follows in a line of its own */
    const char *role;            /* "user", "so", "public" */
    const struct object_id *key; /* NULL: none */
    struct view label;
    const char *mechanism; /* "CKM_AES_GCM"; NULL: none */
    CK_RV result;          /* of no meaning in an intent */
    enum indexkey_cause cause;
};

/* Keys of a [token] section; the table ends with a NULL name. */
extern const struct conf_key audit_conf_keys[];

/* By the section: *ret_audit is NULL when it asks for neither log nor metrics. The file is opened
 * with the first line. Freed with audit_close. */
CK_RV audit_open(const struct conf_section *section, struct audit **ret_audit);
/* Gives back what was counted ahead, ends the chain. Every share has been given back. */
void audit_close(struct audit **audit);

/* The token key is open: the next audit_login signs. Keeps no reference. */
CK_RV audit_unlock(struct audit *audit, const unsigned char *serial,
                   const struct secret *token_key);
/* The line of a login, failed or not; a good one begins the MACs and is signed by the token's
 * audit key. */
CK_RV audit_login(struct audit *audit, const struct audit_event *event);
/* The login is over, by logout or denial: counts are given back, the last checkpoint is signed, the
 * keys are wiped. */
void audit_logout(struct audit *audit, const struct audit_event *event);
/* One line, on disk when it returns. */
CK_RV audit_write(struct audit *audit, const struct audit_event *event);

/* The token key is about to be replaced, by an act that has its own lines: a line "audit-key" that
 * the former audit key signs names the new one, so that the former public key verifies on. */
CK_RV audit_succeed(struct audit *audit, const unsigned char *serial, const struct secret *former,
                    const struct secret *token_key);

/* What a third party needs to verify the log, and the key of the MACs. */
CK_RV audit_public_key(const unsigned char *serial, const struct secret *token_key,
                       unsigned char ret_public[AUDIT_PUBLIC_KEY_LEN]);
CK_RV audit_mac_key(const unsigned char *serial, const struct secret *token_key,
                    struct secret *ret_key);

/* ---- uses of keys ---- */

struct audit_count;

/* What an operation has taken for itself of a count that was written ahead. Begins as zeros. */
struct audit_share {
    struct audit_count *count;
    uint32_t left;
    uint32_t taken; /* of which `left` are unused */
};

/* Which key and mechanism are used. `key` NULL: a session key; they are counted together. */
struct audit_use {
    const struct object_id *key;
    struct view label;
    const char *mechanism; /* lives as long as the module */
};

/* Finds the count of an empty share: after that the key itself is not needed. */
CK_RV audit_share_bind(struct audit *audit, const struct audit_use *use, struct audit_share *share);
/* Fills it: writes a line when what was reserved before is used up. */
CK_RV audit_share_fill(struct audit *audit, const char *role, struct audit_share *share);
/* What is left goes back to the process's count. In the child of a fork too. */
void audit_share_give_back(struct audit_share *share);

/* ---- metrics ---- */

/* NULL when `metrics` is not set. */
struct metrics *audit_metrics(struct audit *audit);
/* Tells the operations so far and writes the file; when metrics_are_due said so. */
void audit_tell_metrics(struct audit *audit);

/* In the child of a fork: lets the parent's file go. */
void audit_abandon(struct audit *audit);
