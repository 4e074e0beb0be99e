/*
 * What a store is: rows of ciphertext with versions, changed only by compare-and-swap.
 *
 * A store lies below the sealing layer (tokens/sealed_objects.h). It sees opaque bytes, a name or
 * an object id, and a version; it can neither read nor forge. Two kinds of rows: records   small
 * named ones of the token itself ("token", "attempts", "keys", "summary"); objects   one for each
 * token object: an attribute seal and a value seal.
 *
 * One file a store, with a struct store_ops; tokens/stores.c lists them. Every function may be
 * called from any thread. Failures are logged once by the store and carry a cause
 * (INDEXKEY_CAUSE_STORE, INDEXKEY_CAUSE_STORE_FULL). CKR_STATE_UNSAVEABLE is never used; a lost
 * compare-and-swap is the one unlogged failure, STORE_CONFLICT, and the caller reads again and
 * decides.
 */
#pragma once

#include "base/bytes.h"

#define OBJECT_ID_LEN 16
#define STORE_NAME_MAX 16
#define STORE_BLOB_MAX ((size_t) 1 << 20)

/* Internal to tokens/: a compare-and-swap lost. Never leaves the layer. */
#define STORE_CONFLICT ((CK_RV) (CKR_VENDOR_DEFINED | 0x1D0001UL))
/* Internal to tokens/: no such row. */
#define STORE_ABSENT ((CK_RV) (CKR_VENDOR_DEFINED | 0x1D0002UL))

struct object_id {
    unsigned char bytes[OBJECT_ID_LEN];
};

/* One step of a commit: the row must now have `expected` as its version (0: it must not exist); it
 * gets version expected + 1 and the given bytes, or goes away. */
struct store_change {
    const char *record;             /* a record's name, or NULL: an object */
    const struct object_id *object; /* when record is NULL */
    uint64_t expected;
    uint64_t begins_at; /* the version of a new object, in place of 1; 0: that */
    bool remove;
    bool value_only;        /* an object keeps its version and its attributes */
    struct view attributes; /* a record's bytes; an object's attribute seal */
    struct view value;      /* objects only */
};

/* An object's row as it is handed to a reader; the views live until the callback returns. */
struct store_row {
    struct object_id id;
    uint64_t version;
    struct view attributes;
    struct view value;
};

typedef CK_RV store_row_fn(void *context, const struct store_row *row);
/* An object's row went away. */
typedef CK_RV store_gone_fn(void *context, const struct object_id *id);

/* What came to the objects since an earlier look. */
struct store_look {
    uint64_t since; /* the turn of the earlier look; 0: there was none */
    store_gone_fn *gone;
    store_row_fn *each;
    void *context;
    bool is_whole; /* out, before the first row: `since` is not known any more, and every row comes
                    */
    uint64_t turn; /* out: for the next look */
};

/* Finds the changes of an update. What it hands out stays its own until the update returns. */
typedef CK_RV store_plan_fn(void *context, const struct store_change **ret_changes,
                            size_t *ret_change_count);

struct store;

struct store_ops {
    /* "sqlite", "postgresql", "memory": what stands before the colon in `store =` */
    const char *scheme;

    /* `location` is what follows the colon. Opens lazily: a store that cannot be reached now fails
     * at its first use, so that C_Initialize does not depend on it. Freed with close. */
    CK_RV (*open)(const char *location, struct store **ret_store);
    void (*close)(struct store *store);
    /* In the child of a fork, on the parent's store; NULL where there is nothing to let go. */
    void (*abandon)(struct store *store);

    /* STORE_ABSENT when there is no such record. */
    CK_RV(*read_record)
    (struct store *store, const char *name, struct blob *ret_bytes, uint64_t *ret_version);
    /* Stops at the first callback that fails and returns its value. Reads one consistent snapshot.
     */
    CK_RV (*read_objects)(struct store *store, store_row_fn *each, void *context);
    CK_RV(*read_object)
    (struct store *store, const struct object_id *id, store_row_fn *each, void *context);
    /* read_objects of the rows that were written since `look->since`, and before them the ids of
     * those that went (some of which may have been there never, or may come again as rows). The
     * store's word is not to be trusted: whoever asks holds what results against the summary. */
    CK_RV (*read_changes)(struct store *store, struct store_look *look);

    /* All of it, durably, or none of it. STORE_CONFLICT when any `expected` does not hold. */
    CK_RV (*commit)(struct store *store, const struct store_change *changes, size_t change_count);
    /* A commit whose changes `plan` finds when its turn has come: from then on nobody else commits,
     * so what it reads from this store is what its changes meet, and they lose no race. Anything
     * but CKR_OK from it ends the update, and nothing has changed. STORE_ABSENT without a look at
     * the plan where nothing is that could be read: it is a commit that makes a store. It must not
     * commit, and waits for nothing: reads by other threads may wait for the whole update.
     * STORE_CONFLICT, also from its reads, when the turn was lost with a connection and others have
     * committed since: nothing has changed, and the update is to be asked for anew. */
    CK_RV (*update)(struct store *store, store_plan_fn *plan, void *context);
    /* Removes every row and record of a former token and applies `changes` in the same transaction
     * (C_InitToken), if the record `guard` still has version `guard_version`. */
    CK_RV(*reset)
    (struct store *store, const char *guard, uint64_t guard_version,
     const struct store_change *changes, size_t change_count);

    /* A number that differs from an earlier one when somebody else (another process, another
     * store_open) has committed in between; own commits may move it too. Cheap: asked up to 20
     * times a second. */
    CK_RV (*change_count)(struct store *store, uint64_t *ret_count);

    /* After a commit: what it has replaced goes from the store's files too. A failure means that it
     * is still there, and nothing else. NULL where the store keeps no such traces, or has no say
     * in them (a server's log and backups). */
    CK_RV (*scrub)(struct store *store);
};

/* Every implementation begins with this. */
struct store {
    const struct store_ops *ops;
};

/* `location` as in the configuration: `sqlite:PATH`, `postgresql://…`, `memory:`. Freed with
 * store_close. An unknown scheme is INDEXKEY_CAUSE_CONFIG, with the known ones in the log line. */
CK_RV store_open(const char *location, struct store **ret_store);
void store_close(struct store **store);
/* In the child of a fork, in place of store_close: no lock or file of the parent's is touched. */
void store_abandon(struct store *store);
/* In the child, when it cannot be told which stores the parent had: none of its kind that shares
 * state within a process will open in this one. */
void store_abandon_unknown(void);
/* This thread is inside a store's library, which may have called back (custody_is_inside). */
bool store_is_inside(void);
/* True when some store knows the scheme of `location`: the configuration reader's check. */
bool store_scheme_is_known(const char *location);
