#include "module/admin_export.h"

#include <string.h>

#include "base/rv.h"
#include "module/approvals.h"
#include "module/audit_log.h"
#include "module/key_policy.h"
#include "module/lifecycle.h"
#include "module/new_object.h"
#include "module/session.h"
#include "module/subkeys.h"

#define ALL_PURPOSES 0x1fU

void admin_exported_clear(struct admin_exported *exported)
{
    for (size_t i = 0; i < exported->count; i++)
        blob_clear(&exported->keys[i].bytes);
    exported->count = 0;
}

static CK_RV find_index_key(const struct session_view *view, CK_OBJECT_HANDLE handle,
                            struct object **ret_key)
{
    _cleanup_(object_release) struct object *key = NULL;

    CK_RV rv = slot_shows_private(view->slot, view->role)
                   ? object_table_get(view->slot->objects, handle, &key)
                   : CKR_OBJECT_HANDLE_INVALID;
    if (rv == CKR_OBJECT_HANDLE_INVALID)
        return CKR_KEY_HANDLE_INVALID;
    TRY(rv);
    if (!attributes_are_index_key(&key->attributes))
        return FAIL(CKR_KEY_HANDLE_INVALID, "token %s: only index keys migrate to another module",
                    view->slot->name);
    *ret_key = TAKE(key);
    return CKR_OK;
}

static CK_RV check_pin(const struct slot *slot, const struct rsa_public *to,
                       unsigned char ret_fingerprint[SHA256_LEN])
{
    if (crypto_rsa_fingerprint(to, ret_fingerprint) != CKR_OK)
        return FAIL(CKR_KEY_UNEXTRACTABLE,
                    "token %s: what the key is to be wrapped to is no RSA key of 2048 to 16384 "
                    "bits",
                    slot->name);
    if (slot->has_migrate_to && memcmp(ret_fingerprint, slot->migrate_to, SHA256_LEN) == 0)
        return CKR_OK;
    log_line(LOG_LEVEL_WARNING,
             "token %s: refused by policy rule keys-migrate-to-a-pinned-key: migrate_to %s",
             slot->name,
             slot->has_migrate_to ? "has the fingerprint of another RSA key"
                                  : "is not set: it has to have the RSA key's fingerprint");
    return CKR_KEY_UNEXTRACTABLE;
}

/* The index key gives every subkey: one that may not have them all stays. */
static CK_RV check_policy(const struct object *key, enum admin_export_form form)
{
    const struct key_policy *policy = key->attributes.policy;

    if (policy == NULL)
        return CKR_OK;
    TRY(key_policy_check_time(key));
    if (form == ADMIN_EXPORT_SUBKEYS || (policy->purposes & ALL_PURPOSES) == ALL_PURPOSES)
        return CKR_OK;
    log_line(LOG_LEVEL_WARNING,
             "token %s: refused by policy rule purposes-are-allowed: the key may not leave as a "
             "whole, because allowed_purposes leaves out some; its subkeys may",
             key->slot->name);
    return CKR_KEY_FUNCTION_NOT_PERMITTED;
}

static CK_RV wrap_one(const struct admin_export *request, const struct secret *value,
                      unsigned char purpose, struct admin_exported *exported)
{
    struct admin_wrapped *wrapped = &exported->keys[exported->count];

    TRY(crypto_rsa_oaep(&request->to, request->hash, (struct view){value->bytes, value->len},
                        &wrapped->bytes));
    wrapped->purpose = purpose;
    exported->count++;
    return CKR_OK;
}

static CK_RV wrap_all(struct object *key, const struct admin_export *request,
                      struct admin_exported *exported)
{
    const struct secret *value;

    TRY(object_value(key, &value));
    if (request->form == ADMIN_EXPORT_INDEX_KEY)
        return wrap_one(request, value, PURPOSE_NONE, exported);
    for (unsigned char purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++) {
        _cleanup_(secret_clear) struct secret subkey = {NULL, 0};
        if (!key_policy_allows_purpose(key->attributes.policy, purpose))
            continue;
        TRY(subkeys_derive(value, purpose, &subkey));
        TRY(wrap_one(request, &subkey, purpose, exported));
    }
    return CKR_OK;
}

/* What is approved: this key, to that one, in this form. */
static CK_RV take_approval(const struct object *key, const struct admin_export *request,
                           const unsigned char fingerprint[SHA256_LEN],
                           struct approval_grant *ret_grant)
{
    unsigned char text[OBJECT_ID_LEN + SHA256_LEN + 1];
    unsigned char digest[SHA256_LEN];

    memcpy(text, key->id.bytes, OBJECT_ID_LEN);
    memcpy(text + OBJECT_ID_LEN, fingerprint, SHA256_LEN);
    text[OBJECT_ID_LEN + SHA256_LEN] = request->form == ADMIN_EXPORT_SUBKEYS;
    TRY(crypto_sha256((struct view){text, sizeof(text)}, digest));
    const struct approval_request approval = {
        .operation = APPROVAL_EXPORT,
        .subject = {digest, sizeof(digest)},
        .given = request->approvals,
    };
    return approvals_take(key->slot, &approval, ret_grant);
}

static CK_RV export_checked(struct object *key, const struct admin_export *request,
                            struct admin_exported *exported)
{
    unsigned char fingerprint[SHA256_LEN];
    struct approval_grant grant;

    if (!lifecycle_is_active(key))
        return FAIL(CKR_KEY_FUNCTION_NOT_PERMITTED,
                    "token %s: only an active key migrates: it would arrive without its state",
                    key->slot->name);
    TRY(check_pin(key->slot, &request->to, fingerprint));
    TRY(check_policy(key, request->form));
    TRY(wrap_all(key, request, exported));
    return take_approval(key, request, fingerprint, &grant);
}

/* What is not recorded does not leave. */
static CK_RV export_key(const struct session_view *view, CK_OBJECT_HANDLE handle,
                        const struct admin_export *request, struct admin_exported *ret_exported)
{
    _cleanup_(object_release) struct object *key = NULL;
    _cleanup_(admin_exported_clear) struct admin_exported exported = {.count = 0};

    TRY(new_object_check_administrator(view));
    TRY(find_index_key(view, handle, &key));
    const struct audit_act act = {.event = "export", .object = key};
    TRY(audit_log_intent(view->slot, &act));
    TRY(audit_log_outcome(view->slot, &act, export_checked(key, request, &exported)));
    log_line(LOG_LEVEL_NOTICE, "token %s: %s wrapped to the RSA key of migrate_to",
             view->slot->name,
             request->form == ADMIN_EXPORT_SUBKEYS ? "the subkeys of an index key were"
                                                   : "an index key was");
    *ret_exported = exported;
    exported.count = 0;
    return CKR_OK;
}

CK_RV admin_key_export(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
                       const struct admin_export *request, struct admin_exported *ret_exported)
{
    struct session_view view;

    TRY(session_look(session, &view));
    return session_look_end(&view, export_key(&view, key, request, ret_exported));
}
