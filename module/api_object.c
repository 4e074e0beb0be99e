/* PKCS #11 5.7: object management. */
#include "module/api.h"

#include "base/alloc.h"
#include "module/approvals.h"
#include "module/audit_log.h"
#include "module/key_lifecycle.h"
#include "module/new_object.h"
#include "module/object_alter.h"
#include "module/object_attributes.h"
#include "module/policy.h"
#include "module/slot_objects.h"

static CK_RV create(const struct session_view *view, CK_ATTRIBUTE_PTR template, CK_ULONG count,
                    CK_OBJECT_HANDLE_PTR out)
{
    _cleanup_(template_result_clear) struct template_result result = {0};

    if (out == NULL || api_bytes_are_bad(template, count))
        return CKR_ARGUMENTS_BAD;
    TRY(attributes_from_template(ORIGIN_CREATE, template, count, CK_UNAVAILABLE_INFORMATION,
                                 &result));
    return new_object(view, ORIGIN_CREATE, NULL, &result, out);
}

CK_RV C_CreateObject(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,
                     CK_OBJECT_HANDLE_PTR phObject)
{
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, create(&view, pTemplate, ulCount, phObject));
}

static CK_RV copy(const struct session_view *view, CK_OBJECT_HANDLE handle,
                  CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR out)
{
    _cleanup_(object_release) struct object *source = NULL;
    _cleanup_(attributes_clear) struct attributes attributes = {0};

    if (out == NULL || api_bytes_are_bad(template, count))
        return CKR_ARGUMENTS_BAD;
    TRY(object_alter_find(view, handle, &source));
    if (!object_has(source, FLAG_COPYABLE))
        return CKR_ACTION_PROHIBITED;
    TRY(attributes_for_copy(&source->attributes, template, count, view->role == ROLE_SO,
                            &attributes));
    if (object_has(source, FLAG_TOKEN))
        attributes.flags |= OF_TOKEN_KEY;
    TRY(policy_changed_object(view->slot, source, &attributes));
    TRY(new_object_check_session(view, &attributes));
    TRY(policy_claim_for_copy(source, &attributes));
    return slot_objects_copy(source, view->handle, &attributes, out);
}

CK_RV C_CopyObject(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                   CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phNewObject)
{
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, copy(&view, hObject, pTemplate, ulCount, phNewObject));
}

/* One line: there was no intent. */
static CK_RV refuse_destruction(const struct slot *slot, const struct object *object, CK_RV rv)
{
    const struct audit_act act = {.event = "destroy", .object = object};

    return object_has(object, FLAG_TOKEN) ? audit_log_outcome(slot, &act, rv) : rv;
}

static CK_RV destroy_approved(struct slot *slot, struct object *object)
{
    const struct approval_request request = {
        .operation = APPROVAL_DESTROY,
        .subject = {object->id.bytes, OBJECT_ID_LEN},
    };
    struct approval_grant grant;

    CK_RV rv = approvals_take(slot, &request, &grant);
    if (rv != CKR_OK)
        return refuse_destruction(slot, object, rv);
    rv = key_lifecycle_destroy(slot, object);
    if (rv != CKR_OK && !slot_objects_is_gone(slot, object))
        approvals_give_back(slot, &grant);
    return rv;
}

static CK_RV destroy(const struct session_view *view, struct object *object, const void *argument)
{
    (void) argument;
    if (!object_has(object, FLAG_DESTROYABLE) || object_has(object, FLAG_INDEXKEY_HOLD))
        return refuse_destruction(view->slot, object, CKR_ACTION_PROHIBITED);
    if (object_has(object, FLAG_TOKEN))
        return destroy_approved(view->slot, object);
    return slot_objects_destroy(view->slot, object);
}

CK_RV C_DestroyObject(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject)
{
    const struct alteration alteration = {.apply = destroy};
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, object_alter(&view, hObject, &alteration));
}

/* The bytes that the object takes in the store or would take there. */
static CK_RV object_size(const struct session_view *view, CK_OBJECT_HANDLE handle, CK_ULONG_PTR out)
{
    _cleanup_(object_release) struct object *object = NULL;
    _cleanup_(blob_clear) struct blob encoded = {NULL, 0};

    if (out == NULL)
        return CKR_ARGUMENTS_BAD;
    TRY(object_alter_find(view, handle, &object));
    TRY(attributes_encode(&object->attributes, &encoded));
    *out = encoded.len + object->attributes.value_len;
    return CKR_OK;
}

CK_RV C_GetObjectSize(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ULONG_PTR pulSize)
{
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, object_size(&view, hObject, pulSize));
}

static CK_RV get_values(const struct session_view *view, CK_OBJECT_HANDLE handle,
                        CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
    _cleanup_(object_release) struct object *object = NULL;

    if (api_bytes_are_bad(template, count))
        return CKR_ARGUMENTS_BAD;
    TRY(object_alter_find(view, handle, &object));
    return object_get_attributes(object, template, count);
}

CK_RV C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                          CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, get_values(&view, hObject, pTemplate, ulCount));
}

struct template_argument {
    CK_ATTRIBUTE_PTR template;
    CK_ULONG count;
};

static CK_RV set_values(const struct session_view *view, struct object *object,
                        const void *argument)
{
    const struct template_argument *wanted = argument;
    _cleanup_(attributes_clear) struct attributes changed = {0};

    if (!object_has(object, FLAG_MODIFIABLE))
        return CKR_ACTION_PROHIBITED;
    TRY(attributes_change(&object->attributes, wanted->template, wanted->count,
                          view->role == ROLE_SO, &changed));
    TRY(policy_changed_object(view->slot, object, &changed));
    return slot_objects_change(view->slot, object, &changed, "set-attributes");
}

CK_RV C_SetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                          CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
    const struct template_argument wanted = {pTemplate, ulCount};
    const struct alteration alteration = {set_values, &wanted};
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, api_bytes_are_bad(pTemplate, ulCount)
                                       ? CKR_ARGUMENTS_BAD
                                       : object_alter(&view, hObject, &alteration));
}

static CK_RV find_init(struct session *session, CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
    if (api_bytes_are_bad(template, count))
        return CKR_ARGUMENTS_BAD;
    if (session->searching)
        return CKR_OPERATION_ACTIVE;
    bool with_private = slot_shows_private(session->slot, slot_role(session->slot));
    TRY(object_search(session->slot, template, count, with_private, &session->search));
    session->searching = true;
    return CKR_OK;
}

CK_RV C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
    struct session *session;

    TRY(session_enter(hSession, &session));
    return session_leave(session, find_init(session, pTemplate, ulCount));
}

static CK_RV find_next(struct session *session, CK_OBJECT_HANDLE_PTR out, CK_ULONG max,
                       CK_ULONG_PTR out_count)
{
    struct search *search = &session->search;

    if (!session->searching)
        return CKR_OPERATION_NOT_INITIALIZED;
    if (out_count == NULL || api_bytes_are_bad(out, max))
        return CKR_ARGUMENTS_BAD;
    CK_ULONG given = search->count - search->next;
    if (given > max)
        given = max;
    if (given > 0)
        memcpy(out, search->handles + search->next, given * sizeof(*out));
    search->next += given;
    *out_count = given;
    return CKR_OK;
}

CK_RV C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject,
                    CK_ULONG ulMaxObjectCount, CK_ULONG_PTR pulObjectCount)
{
    struct session *session;

    TRY(session_enter(hSession, &session));
    return session_leave(session, find_next(session, phObject, ulMaxObjectCount, pulObjectCount));
}

CK_RV C_FindObjectsFinal(CK_SESSION_HANDLE hSession)
{
    struct session *session;

    TRY(session_enter(hSession, &session));
    if (!session->searching)
        return session_leave(session, CKR_OPERATION_NOT_INITIALIZED);
    search_end(&session->search);
    session->searching = false;
    return session_leave(session, CKR_OK);
}
