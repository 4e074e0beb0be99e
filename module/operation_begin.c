#include "module/operation_begin.h"

#include "base/rv.h"
#include "module/audit_log.h"
#include "module/key_policy.h"
#include "module/key_use.h"
#include "module/lifecycle.h"

static const enum attribute_flag usages[OPERATION_KINDS] = {
    [OPERATION_ENCRYPT] = FLAG_ENCRYPT,
    [OPERATION_DECRYPT] = FLAG_DECRYPT,
    [OPERATION_SIGN] = FLAG_SIGN,
    [OPERATION_VERIFY] = FLAG_VERIFY,
    [OPERATION_MESSAGE_ENCRYPT] = FLAG_ENCRYPT,
    [OPERATION_MESSAGE_DECRYPT] = FLAG_DECRYPT,
    [OPERATION_MESSAGE_SIGN] = FLAG_SIGN,
    [OPERATION_MESSAGE_VERIFY] = FLAG_VERIFY,
    [OPERATION_VERIFY_SIGNATURE] = FLAG_VERIFY,
};

enum attribute_flag operation_usage(enum operation_kind kind)
{
    return usages[kind];
}

/* The time of a key has come that had, or follows, times. */
static bool is_over(const struct operation *operation)
{
    return atomic_load_explicit(&operation->key->is_watched, memory_order_relaxed) &&
           lifecycle_examine(operation->key, usages[operation->kind]) != CKR_OK;
}

/* The session's reference makes it safe to look: a kept key cannot have been freed and replaced.
 * Logout and destruction have wiped it from here, a change has retired it. */
static bool is_kept(const struct operation *operation, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key)
{
    return operation->key != NULL && operation->key->handle == key &&
           operation->mechanism->type == type &&
           !atomic_load_explicit(&operation->key->retired, memory_order_acquire) &&
           !is_over(operation);
}

static bool serves(const struct mechanism *mechanism, enum operation_kind kind)
{
    switch (kind) {
    case OPERATION_ENCRYPT:
    case OPERATION_DECRYPT:
        return mechanism->cipher != NULL;
    case OPERATION_MESSAGE_ENCRYPT:
    case OPERATION_MESSAGE_DECRYPT:
        return mechanism->message != NULL;
    case OPERATION_MESSAGE_SIGN:
    case OPERATION_MESSAGE_VERIFY:
        return mechanism->mac != NULL && mechanism->mac->restart != NULL;
    default:
        return mechanism->mac != NULL;
    }
}

_long_way_ static CK_RV take_key(struct session *session, struct operation *operation,
                                 CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE handle)
{
    const struct mechanism *mechanism = mechanism_find(type);
    struct object *key;

    if (mechanism == NULL || !serves(mechanism, operation->kind))
        return CKR_MECHANISM_INVALID;
    TRY(key_use_get(session->slot, handle, usages[operation->kind], mechanism, &key));
    operation_forget(operation);
    operation->mechanism = mechanism;
    operation->key = key;
    return CKR_OK;
}

static CK_RV start(struct operation *operation, const CK_MECHANISM *mechanism)
{
    switch (operation->kind) {
    case OPERATION_ENCRYPT:
    case OPERATION_DECRYPT:
        return operation->mechanism->cipher->start(operation, mechanism);
    case OPERATION_MESSAGE_ENCRYPT:
    case OPERATION_MESSAGE_DECRYPT:
        return operation->mechanism->message->start(operation, mechanism);
    default:
        return operation->mechanism->mac->start(operation, mechanism);
    }
}

static bool is_counted(const struct operation *operation)
{
    switch (operation->kind) {
    case OPERATION_ENCRYPT:
    case OPERATION_MESSAGE_ENCRYPT:
        return operation->mechanism->family == FAMILY_AES_GCM;
    case OPERATION_SIGN:
        return operation->mechanism->family == FAMILY_AES_GMAC;
    default:
        return false;
    }
}

static bool lacks_share(const struct operation *operation)
{
    return operation->share.left == 0 && is_counted(operation);
}

/* The key itself does not wait with it: its value has to go when a denial comes. */
struct filling {
    const struct slot *slot;
    struct gcm_share share;
};

static void filling_clear(struct filling *filling)
{
    gcm_counts_give_back(&filling->share);
}

static CK_RV fill(void *context)
{
    struct filling *filling = context;

    return gcm_counts_fill(filling->slot, &filling->share);
}

/* After a wait without the session's lock; `key` was its key's handle before. */
static bool is_still(const struct operation *operation, const struct operation *before,
                     CK_OBJECT_HANDLE key)
{
    return operation->key != NULL && operation->key->handle == key &&
           operation->mechanism == before->mechanism && operation->phase == before->phase;
}

/* An empty share of the key's count is filled without the session's lock: the store may be busy,
 * and a denial must get at the session meanwhile. `lost` when the operation is another one then, or
 * its key is gone. */
_long_way_ static CK_RV fill_share(struct session *session, struct operation *operation, CK_RV lost)
{
    _cleanup_(filling_clear) struct filling filling = {.slot = session->slot};
    const struct operation before = *operation;
    CK_OBJECT_HANDLE key = operation->key->handle;
    CK_RV rv = gcm_counts_bind(operation->key, &filling.share);
    /* Another process has destroyed the key since the last look at the store. */
    TRY(rv == CKR_OBJECT_HANDLE_INVALID ? lost : rv);
    while (filling.share.left == 0) {
        TRY(session_wait(session, fill, &filling));
        if (!is_still(operation, &before, key))
            return lost;
    }
    gcm_counts_give_back(&operation->share);
    operation->share = filling.share;
    filling.share = (struct gcm_share){NULL, 0};
    return CKR_OK;
}

/* The same for counted uses: a line of the audit log may have to be written. */
struct use_filling {
    const struct slot *slot;
    struct audit_share share;
};

static CK_RV fill_uses_share(void *context)
{
    struct use_filling *filling = context;

    return audit_log_fill(filling->slot, &filling->share);
}

_long_way_ static CK_RV fill_uses(struct session *session, struct operation *operation, CK_RV lost)
{
    struct use_filling filling = {.slot = session->slot};
    const struct operation before = *operation;
    CK_OBJECT_HANDLE key = operation->key->handle;

    TRY(audit_log_bind(session->slot, operation->key, operation->mechanism, &filling.share));
    /* After a failure the session may be closed, and with the library the count be gone: what the
     * share has is lost. */
    TRY(session_wait(session, fill_uses_share, &filling));
    bool is_lost = !is_still(operation, &before, key);
    audit_share_give_back(is_lost ? &filling.share : &operation->uses);
    if (is_lost)
        return lost;
    operation->uses = filling.share;
    return CKR_OK;
}

static inline CK_RV count_use(struct session *session, struct operation *operation, CK_RV lost)
{
    if (__builtin_expect(session->slot->audit == NULL, 1))
        return CKR_OK;
    if (operation->uses.left == 0)
        TRY(fill_uses(session, operation, lost));
    operation->uses.left--;
    return CKR_OK;
}

static CK_RV fill_ivs(void *context)
{
    return iv_counters_fill(context);
}

CK_RV operation_await_ivs(struct session *session, struct operation *operation,
                          struct iv_filling *filling)
{
    const struct operation before = *operation;
    CK_OBJECT_HANDLE key = operation->key->handle;
    CK_RV rv = session_wait(session, fill_ivs, filling);

    /* The token was closed under it: as when the sessions have been told already. */
    TRY(rv == CKR_USER_NOT_LOGGED_IN ? CKR_OPERATION_NOT_INITIALIZED : rv);
    return is_still(operation, &before, key) ? CKR_OK : CKR_OPERATION_NOT_INITIALIZED;
}

/* The operation's key was taken from it meanwhile: it is gone, or its state has changed. */
_long_way_ static CK_RV refuse_lost(struct session *session, enum operation_kind kind,
                                    CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE handle)
{
    _cleanup_(object_release) struct object *key = NULL;

    TRY(key_use_get(session->slot, handle, usages[kind], mechanism_find(type), &key));
    return CKR_KEY_HANDLE_INVALID;
}

CK_RV operation_begin(struct session *session, enum operation_kind kind,
                      const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct operation *operation = &session->operations[kind];

    if (mechanism == NULL) {
        operation_end(operation);
        return CKR_OK;
    }
    if (operation->phase != PHASE_IDLE)
        return CKR_OPERATION_ACTIVE;
    if (!is_kept(operation, mechanism->mechanism, key))
        TRY(take_key(session, operation, mechanism->mechanism, key));
    else if (operation->key->attributes.policy != NULL)
        TRY(key_policy_check_time(operation->key));
    if (kind != OPERATION_MESSAGE_ENCRYPT && lacks_share(operation)) { /* it counts messages */
        CK_RV rv = fill_share(session, operation, CKR_KEY_HANDLE_INVALID);
        TRY(rv == CKR_KEY_HANDLE_INVALID ? refuse_lost(session, kind, mechanism->mechanism, key)
                                         : rv);
    }
    if (kind != OPERATION_MESSAGE_ENCRYPT && kind != OPERATION_MESSAGE_DECRYPT)
        TRY(count_use(session, operation, CKR_KEY_HANDLE_INVALID));
    CK_RV rv = start(operation, mechanism);
    if (rv != CKR_OK) {
        operation_forget(operation);
        /* Another process has destroyed the key since the last look at the store. */
        return rv == CKR_OBJECT_HANDLE_INVALID ? CKR_KEY_HANDLE_INVALID : rv;
    }
    operation->phase = PHASE_STARTED;
    return CKR_OK;
}

_short_way_ CK_RV operation_init(CK_SESSION_HANDLE handle, enum operation_kind kind,
                                 const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct session *session;

    TRY(session_enter(handle, &session));
    return session_leave(session, operation_begin(session, kind, mechanism, key));
}

CK_RV operation_active_message(struct session *session, enum operation_kind kind,
                               struct operation **ret_operation)
{
    struct operation *operation;
    struct object *key;

    TRY(operation_active(session, kind, false, &operation));
    if (operation->phase == PHASE_STARTED &&
        (atomic_load_explicit(&operation->key->retired, memory_order_acquire) ||
         is_over(operation))) {
        CK_RV rv = key_use_get(session->slot, operation->key->handle, usages[kind],
                               operation->mechanism, &key);
        if (rv != CKR_OK) {
            operation_forget(operation);
            return CKR_OPERATION_NOT_INITIALIZED;
        }
        gcm_counts_give_back(&operation->share);
        object_release(&operation->key);
        operation->key = key;
    }
    if (operation->phase == PHASE_STARTED && operation->key->attributes.policy != NULL &&
        key_policy_check_time(operation->key) != CKR_OK) {
        operation_forget(operation);
        return CKR_OPERATION_NOT_INITIALIZED;
    }
    if (operation->phase == PHASE_STARTED && lacks_share(operation)) {
        CK_RV rv = fill_share(session, operation, CKR_OPERATION_NOT_INITIALIZED);
        if (rv == CKR_USER_NOT_LOGGED_IN) {
            operation_forget(operation);
            return CKR_OPERATION_NOT_INITIALIZED;
        }
        TRY(rv);
    }
    if (operation->phase == PHASE_STARTED)
        TRY(count_use(session, operation, CKR_OPERATION_NOT_INITIALIZED));
    *ret_operation = operation;
    return CKR_OK;
}
