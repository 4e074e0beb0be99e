#include "module/audit_log.h"

#include "base/cause.h"
#include "module/mechanism.h"
#include "tokens/audit_result.h"
#include "tokens/metrics.h"

static const char *role_of(const struct slot *slot)
{
    static const char *const names[] = {
        [ROLE_PUBLIC] = "public", [ROLE_USER] = "user", [ROLE_SO] = "so"};

    return names[slot_role(slot)];
}

/* Session objects come and go with their process: nothing durable names them. */
static bool is_recorded(const struct object *object)
{
    return object == NULL || object->owner == 0;
}

static struct view label_of(const struct object *object)
{
    struct view label = {NULL, 0};

    (void) attributes_bytes(&object->attributes, CKA_LABEL, &label);
    return label;
}

static struct audit_event event_of(const struct slot *slot, const struct audit_act *act)
{
    struct audit_event event = {.event = act->event, .role = role_of(slot)};

    if (act->object != NULL) {
        event.key = &act->object->id;
        event.label = label_of(act->object);
    }
    event.mechanism = act->mechanism == NULL ? NULL : act->mechanism->name;
    return event;
}

CK_RV audit_log_intent(const struct slot *slot, const struct audit_act *act)
{
    if (slot->audit == NULL || !is_recorded(act->object))
        return CKR_OK;
    struct audit_event event = event_of(slot, act);
    event.is_intent = true;
    return audit_write(slot->audit, &event);
}

/* The cause of a refusal stays the one that the caller will ask for. */
static CK_RV result_of(CK_RV rv, enum indexkey_cause cause, CK_RV written)
{
    if (rv == CKR_OK)
        return written;
    cause_set(cause);
    return rv;
}

CK_RV audit_log_outcome(const struct slot *slot, const struct audit_act *act, CK_RV rv)
{
    if (slot->audit == NULL || !is_recorded(act->object))
        return rv;
    struct audit_event event = event_of(slot, act);
    event.result = rv;
    event.cause = rv == CKR_OK ? INDEXKEY_CAUSE_NONE : cause_last();
    return result_of(rv, event.cause, audit_write(slot->audit, &event));
}

CK_RV audit_log_login(const struct slot *slot, enum slot_role role, CK_RV rv)
{
    if (slot->audit == NULL)
        return rv;
    const struct audit_event event = {
        .event = "login",
        .role = role == ROLE_SO ? "so" : "user",
        .result = rv,
        .cause = rv == CKR_OK ? INDEXKEY_CAUSE_NONE : cause_last(),
    };
    return result_of(rv, event.cause, audit_login(slot->audit, &event));
}

void audit_log_logout(const struct slot *slot, const char *event)
{
    if (slot->audit == NULL)
        return;
    const struct audit_event ended = {.event = event, .cause = cause_last()};
    audit_logout(slot->audit, &ended);
}

CK_RV audit_log_bind(const struct slot *slot, const struct object *key,
                     const struct mechanism *mechanism, struct audit_share *share)
{
    const struct audit_use use = {
        .key = is_recorded(key) ? &key->id : NULL,
        .label = is_recorded(key) ? label_of(key) : (struct view){NULL, 0},
        .mechanism = mechanism->name,
    };

    return audit_share_bind(slot->audit, &use, share);
}

CK_RV audit_log_fill(const struct slot *slot, struct audit_share *share)
{
    return audit_share_fill(slot->audit, role_of(slot), share);
}

CK_RV audit_log_use_once(const struct slot *slot, const struct object *key,
                         const struct mechanism *mechanism)
{
    struct audit_share share = {.count = NULL};

    if (slot->audit == NULL)
        return CKR_OK;
    TRY(audit_log_bind(slot, key, mechanism, &share));
    TRY(audit_log_fill(slot, &share));
    share.left--;
    audit_share_give_back(&share);
    return CKR_OK;
}

void audit_log_error(const struct slot *slot, CK_RV rv)
{
    if (slot->audit != NULL)
        metrics_add(audit_metrics(slot->audit), METRICS_ERRORS, audit_result_name(rv).text, 1);
}

static void tell_gauges(struct slot *slot, struct metrics *metrics)
{
    pthread_mutex_lock(&slot->lock);
    int64_t sessions = (int64_t) slot->session_count;
    pthread_mutex_unlock(&slot->lock);
    metrics_set(metrics, METRICS_SESSIONS, sessions);
    metrics_set(metrics, METRICS_OBJECTS, (int64_t) object_table_count(slot->objects));
    metrics_set(metrics, METRICS_LOGGED_IN, slot_role(slot) != ROLE_PUBLIC);
    metrics_set(metrics, METRICS_LEASE_MS, custody_lease_left_ms(slot->custody));
}

void audit_log_metrics(struct slot *slot, bool at_once)
{
    struct metrics *metrics = audit_metrics(slot->audit);

    if (metrics == NULL || (!metrics_are_due(metrics) && !at_once))
        return;
    tell_gauges(slot, metrics);
    audit_tell_metrics(slot->audit);
}
