#include "module/slot.h"

#include "base/clock.h"
#include "base/rv.h"
#include "module/approvals.h"
#include "module/key_policy.h"
#include "module/lifecycle.h"
#include "module/operation_begin.h"
#include "module/policy_pin.h"
#include "module/profile_objects.h"
#include "module/session.h"

/* A token that nobody could guard as its section says is not shown. */
static CK_RV open_token(struct slot *slot, const struct conf *conf,
                        const struct conf_section *section)
{
    _cleanup_(custody_close) struct custody *custody = NULL;

    TRY(custody_open(section, &custody));
    TRY(approvals_open(section, &slot->approvals));
    TRY(key_policies_open(conf, section, &slot->key_policies));
    TRY(policy_pin_digest(conf, section, slot->approvals, slot->policy_digest));
    slot->approvals_folder = config_approvals(section);
    slot->custody = TAKE(custody);
    return CKR_OK;
}

CK_RV slot_open(struct slot *slot, const struct conf *conf, const struct conf_section *section,
                bool may_create_threads)
{
    *slot = (struct slot){.id = section->slot, .name = section->name};
    pthread_rwlockattr_t fair;
    pthread_rwlockattr_init(&fair);
    /* Else a steady stream of creations would keep a logout waiting for ever. */
    pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&slot->changes, &fair);
    pthread_rwlockattr_destroy(&fair);
    pthread_mutex_init(&slot->login_lock, NULL);
    pthread_mutex_init(&slot->lock, NULL);
    gcm_registry_init(&slot->gcm_counts);
    pthread_cond_init(&slot->admin_done, NULL);
    TRY(object_table_new(&slot->objects));
    if (section->bad)
        return CKR_OK;
    CK_RV rv = open_token(slot, conf, section);
    if (rv == CKR_HOST_MEMORY)
        return rv;
    if (rv != CKR_OK)
        return CKR_OK; /* logged: this slot shows no token, the others work */
    TRY(custody_set_direct_keys(slot->custody, conf, may_create_threads));
    slot->due = custody_due(slot->custody);
    slot->audit = custody_audit(slot->custody);
    slot->subkeys = config_subkeys(section);
    slot->policy = config_policy(section);
    slot->has_migrate_to = config_migrate_to(section, slot->migrate_to);
    slot->so_administers = config_so_administers(section);
    slot->aes_default = config_aes_default(section);
    slot->relaxed = config_relaxed(section);
    slot->extract_key = config_extract_key(section);
    slot->undo_window_ms = config_undo_window_ms(section);
    slot->hkdf_data_info = config_hkdf_data_info(section);
    return profile_objects_add(slot);
}

void slot_close(struct slot *slot)
{
    object_table_free(&slot->objects);
    gcm_registry_clear(&slot->gcm_counts);
    key_policies_close(&slot->key_policies);
    approvals_close(&slot->approvals);
    custody_close(&slot->custody);
    pthread_cond_destroy(&slot->admin_done);
    pthread_mutex_destroy(&slot->lock);
    pthread_mutex_destroy(&slot->login_lock);
    pthread_rwlock_destroy(&slot->changes);
}

CK_RV slot_check_token(const struct slot *slot)
{
    return slot->custody == NULL ? CKR_TOKEN_NOT_PRESENT : CKR_OK;
}

void slot_begin_admin(struct slot *slot)
{
    pthread_mutex_lock(&slot->lock);
    while (slot->admin_busy)
        pthread_cond_wait(&slot->admin_done, &slot->lock);
    slot->admin_busy = true;
    pthread_mutex_unlock(&slot->lock);
}

void slot_end_admin(struct slot *slot)
{
    pthread_mutex_lock(&slot->lock);
    slot->admin_busy = false;
    pthread_cond_broadcast(&slot->admin_done);
    pthread_mutex_unlock(&slot->lock);
}

typedef bool operation_match_fn(const void *context, const struct operation *operation);

static void forget_keys(struct slot *slot, operation_match_fn *match, const void *context)
{
    pthread_mutex_lock(&slot->lock);
    for (struct session *session = slot->sessions; session != NULL; session = session->next) {
        pthread_mutex_lock(&session->lock);
        for (int kind = 0; kind < OPERATION_KINDS; kind++) {
            struct operation *operation = &session->operations[kind];
            if (operation->key != NULL && match(context, operation))
                operation_forget(operation);
        }
        pthread_mutex_unlock(&session->lock);
    }
    pthread_mutex_unlock(&slot->lock);
}

static bool is_private(const void *context, const struct operation *operation)
{
    (void) context;
    return object_has(operation->key, FLAG_PRIVATE);
}

/* By handle: a session may hold an older version of the key, or one of its subkeys. */
static bool is_version_of(const void *context, const struct operation *operation)
{
    const struct object *destroyed = context;
    CK_OBJECT_HANDLE handle = operation->key->handle;

    return (handle ^ object_handle_purpose(handle)) == destroyed->handle;
}

static bool is_owned_by(const void *context, const struct operation *operation)
{
    return operation->key->owner == *(const CK_SESSION_HANDLE *) context;
}

/* By what it follows now, not by the version of the key that it began with. */
static bool is_barred(const void *context, const struct operation *operation)
{
    (void) context;
    return lifecycle_check(operation->key, operation_usage(operation->kind)) != CKR_OK;
}

void slot_forget_key(struct slot *slot, const struct object *key)
{
    forget_keys(slot, is_version_of, key);
}

void slot_forget_private(struct slot *slot)
{
    forget_keys(slot, is_private, NULL);
}

void slot_forget_owned(struct slot *slot, CK_SESSION_HANDLE owner)
{
    forget_keys(slot, is_owned_by, &owner);
}

void slot_enforce_states(struct slot *slot)
{
    forget_keys(slot, is_barred, NULL);
}
