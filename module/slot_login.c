#include "base/cause.h"
#include "module/approvals.h"
#include "module/audit_log.h"
#include "module/direct_objects.h"
#include "module/key_lifecycle.h"
#include "module/module.h"
#include "module/policy_pin.h"
#include "module/session.h"
#include "module/slot.h"
#include "module/slot_objects.h"

/* PKCS #11 5.6.8: who may log in now. */
static CK_RV check_login_locked(const struct slot *slot, enum slot_role wanted)
{
    enum slot_role current = slot_role(slot);

    if (current == wanted)
        return CKR_USER_ALREADY_LOGGED_IN;
    if (current != ROLE_PUBLIC)
        return CKR_USER_ANOTHER_ALREADY_LOGGED_IN;
    if (wanted == ROLE_SO && slot->rw_session_count < slot->session_count)
        return CKR_SESSION_READ_ONLY_EXISTS;
    return CKR_OK;
}

static CK_RV check_login(struct slot *slot, enum slot_role wanted)
{
    pthread_mutex_lock(&slot->lock);
    CK_RV rv = check_login_locked(slot, wanted);
    pthread_mutex_unlock(&slot->lock);
    return rv;
}

/* Sessions may have come or gone while the source was asked. */
static CK_RV enter_role(struct slot *slot, enum slot_role role)
{
    pthread_mutex_lock(&slot->lock);
    CK_RV rv = check_login_locked(slot, role);
    if (rv == CKR_OK && slot->session_count == 0)
        rv = CKR_SESSION_CLOSED;
    if (rv == CKR_OK)
        atomic_store_explicit(&slot->role, role, memory_order_release);
    pthread_mutex_unlock(&slot->lock);
    return rv;
}

/* Under `login_lock`: a login that follows at once loses nothing of its own. */
static void drop_role_locked(struct slot *slot)
{
    atomic_store_explicit(&slot->role, ROLE_PUBLIC, memory_order_release);
    slot_objects_drop_private(slot);
    slot_forget_private(slot);
}

static void close_role(struct slot *slot)
{
    pthread_rwlock_wrlock(&slot->changes);
    pthread_mutex_lock(&slot->login_lock);
    drop_role_locked(slot);
    pthread_mutex_unlock(&slot->login_lock);
    custody_logout(slot->custody);
    pthread_rwlock_unlock(&slot->changes);
}

static void log_out(struct slot *slot)
{
    close_role(slot);
    audit_log_logout(slot, "logout");
}

/* Something is due only while the custody is open. */
static bool is_denied(const struct slot *slot)
{
    return atomic_load(slot->due) == INT64_MAX;
}

/* In one piece: a refresh between the two would find nobody logged in and drop its news. */
static CK_RV load_and_enter(struct slot *slot, enum slot_role role)
{
    CK_RV rv = CKR_OK;

    pthread_rwlock_wrlock(&slot->changes);
    pthread_mutex_lock(&slot->login_lock);
    /* What a change has published since a denial dropped the others. */
    slot_objects_drop_private(slot);
    if (slot_shows_private(slot, role))
        rv = slot_objects_load_locked(slot);
    if (rv == CKR_OK && role == ROLE_USER)
        direct_objects_load_locked(slot);
    /* Whoever learned of it found nobody logged in. The log has the cause. */
    if (rv == CKR_OK && is_denied(slot))
        rv = CKR_FUNCTION_FAILED;
    if (rv == CKR_OK)
        rv = enter_role(slot, role);
    pthread_mutex_unlock(&slot->login_lock);
    pthread_rwlock_unlock(&slot->changes);
    return rv;
}

static CK_RV open_role(struct slot *slot, enum slot_role role, struct view pin)
{
    TRY(check_login(slot, role));
    TRY(custody_login(slot->custody, role == ROLE_SO ? CUSTODY_SO : CUSTODY_USER, pin));
    CK_RV rv = policy_pin_check(slot);
    if (rv == CKR_OK)
        rv = load_and_enter(slot, role);
    if (rv != CKR_OK)
        close_role(slot);
    return rv;
}

CK_RV slot_login(struct slot *slot, CK_USER_TYPE user, struct view pin)
{
    if (user == CKU_CONTEXT_SPECIFIC)
        return CKR_OPERATION_NOT_INITIALIZED; /* no key here has CKA_ALWAYS_AUTHENTICATE */
    if (user != CKU_USER && user != CKU_SO)
        return CKR_USER_TYPE_INVALID;
    enum slot_role role = user == CKU_SO ? ROLE_SO : ROLE_USER;
    slot_begin_admin(slot);
    CK_RV opened = open_role(slot, role, pin);
    CK_RV rv = audit_log_login(slot, role, opened);
    if (opened == CKR_OK && rv != CKR_OK)
        log_out(slot);
    if (rv == CKR_OK && role == ROLE_USER)
        key_lifecycle_purge_overdue(slot);
    slot_end_admin(slot);
    audit_log_metrics(slot, true);
    return rv;
}

CK_RV slot_logout(struct slot *slot)
{
    slot_begin_admin(slot);
    CK_RV rv = slot_role(slot) == ROLE_PUBLIC ? CKR_USER_NOT_LOGGED_IN : CKR_OK;
    if (rv == CKR_OK)
        log_out(slot);
    slot_end_admin(slot);
    return rv;
}

static bool is_unused(struct slot *slot)
{
    pthread_mutex_lock(&slot->lock);
    bool unused = slot->session_count == 0;
    pthread_mutex_unlock(&slot->lock);
    return unused;
}

void slot_logout_unused(struct slot *slot)
{
    slot_begin_admin(slot);
    if (slot_role(slot) != ROLE_PUBLIC && is_unused(slot))
        log_out(slot);
    slot_end_admin(slot);
}

/* custody_init_token, custody_reset_token. */
typedef CK_RV init_fn(struct custody *custody, struct view so_pin,
                      const unsigned char label[TOKEN_LABEL_LEN]);

/* What takes two persons to destroy takes two to make away with as a whole. */
static CK_RV check_approval(struct slot *slot, const unsigned char label[TOKEN_LABEL_LEN])
{
    unsigned char digest[SHA256_LEN];
    struct custody_info info;
    struct approval_grant grant;

    if (slot->approvals == NULL)
        return CKR_OK;
    TRY(custody_info(slot->custody, &info));
    if (!info.initialized)
        return CKR_OK;
    TRY(custody_incarnation(slot->custody, (struct view){label, TOKEN_LABEL_LEN}, digest));
    const struct approval_request request = {.operation = APPROVAL_RESET,
                                             .subject = {digest, sizeof(digest)}};
    CK_RV rv = approvals_take(slot, &request, &grant);
    return rv == CKR_ACTION_PROHIBITED ? CKR_TOKEN_WRITE_PROTECTED : rv;
}

static CK_RV init_approved(struct slot *slot, init_fn *init, struct view so_pin,
                           const unsigned char label[TOKEN_LABEL_LEN])
{
    TRY(check_approval(slot, label));
    return init(slot->custody, so_pin, label);
}

static CK_RV init_audited(struct slot *slot, init_fn *init, const struct audit_act *act,
                          struct view so_pin, const unsigned char label[TOKEN_LABEL_LEN])
{
    slot_begin_admin(slot);
    CK_RV rv = is_unused(slot) ? audit_log_intent(slot, act) : CKR_SESSION_EXISTS;
    if (rv == CKR_OK)
        rv = audit_log_outcome(slot, act, init_approved(slot, init, so_pin, label));
    slot_end_admin(slot);
    return rv;
}

CK_RV slot_init_token(struct slot *slot, struct view so_pin,
                      const unsigned char label[TOKEN_LABEL_LEN])
{
    const struct audit_act act = {.event = "init-token"};

    return init_audited(slot, custody_init_token, &act, so_pin, label);
}

CK_RV slot_reset_token(struct slot *slot, struct view so_pin,
                       const unsigned char label[TOKEN_LABEL_LEN])
{
    const struct audit_act act = {.event = "reset-token"};

    return init_audited(slot, custody_reset_token, &act, so_pin, label);
}

CK_RV slot_init_pin(struct slot *slot, struct view pin)
{
    const struct audit_act act = {.event = "init-pin"};

    slot_begin_admin(slot);
    CK_RV rv = slot_role(slot) == ROLE_SO ? audit_log_intent(slot, &act) : CKR_USER_NOT_LOGGED_IN;
    if (rv == CKR_OK)
        rv = audit_log_outcome(slot, &act, custody_init_pin(slot->custody, pin));
    slot_end_admin(slot);
    return rv;
}

CK_RV slot_set_pin(struct slot *slot, struct view old_pin, struct view new_pin)
{
    const struct audit_act act = {.event = "set-pin"};

    slot_begin_admin(slot);
    enum custody_role role = slot_role(slot) == ROLE_SO ? CUSTODY_SO : CUSTODY_USER;
    CK_RV rv = audit_log_intent(slot, &act);
    if (rv == CKR_OK)
        rv = audit_log_outcome(slot, &act, custody_set_pin(slot->custody, role, old_pin, new_pin));
    slot_end_admin(slot);
    return rv;
}

/* A denial acts as C_Logout, so that a later C_Login heals without C_Finalize. A login that
 * succeeded since the denial is left alone. Not an administrative act, nor a change of objects: one
 * that waits for the source, or for other processes at the store, would hold up the wipe, while
 * other sessions go on with keys that are open already. */
static void close_denied(struct slot *slot)
{
    pthread_mutex_lock(&slot->login_lock);
    bool ends = slot_role(slot) != ROLE_PUBLIC && is_denied(slot);
    if (ends)
        drop_role_locked(slot);
    pthread_mutex_unlock(&slot->login_lock);
    if (!ends)
        return;
    audit_log_logout(slot, "lease-over");
    /* What a change had begun is published by then. */
    pthread_rwlock_wrlock(&slot->changes);
    if (slot_role(slot) == ROLE_PUBLIC)
        slot_objects_drop_private(slot);
    pthread_rwlock_unlock(&slot->changes);
}

void slot_tick(struct slot *slot)
{
    enum custody_news news = custody_tick(slot->custody);

    audit_log_metrics(slot, false);
    if (news == CUSTODY_CLOSED) {
        close_denied(slot);
        return;
    }
    if (news == CUSTODY_CHANGED || atomic_load(&slot->is_stale))
        slot_objects_refresh(slot);
    direct_objects_refresh(slot);
    cause_clear(); /* what was ridden out here is not why the caller's own call fails */
}
