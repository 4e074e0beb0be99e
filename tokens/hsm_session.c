#include "tokens/hsm_session.h"

#include <string.h>

#define SLOT_COUNT_MAX 256
#define TEMPLATE_MAX 3

CK_RV hsm_session_check(const struct hsm_session *session, CK_RV rv)
{
    if (rv != CKR_OK)
        return hsm_fault_refused(session->fault, rv);
    return atomic_load(session->is_left) ? hsm_fault_set(session->fault, HSM_TIMEOUT) : CKR_OK;
}

/* ---- the token ---- */

/* A token that went away meanwhile, or is not initialised, is none. */
static bool slot_fits(const struct hsm_session *session, CK_SLOT_ID slot, CK_TOKEN_INFO *ret_info)
{
    P11KitUri *uri = session->parent->uri.parsed;
    CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(uri);
    CK_SLOT_INFO info;
    if (session->p11->C_GetTokenInfo(slot, ret_info) != CKR_OK ||
        session->p11->C_GetSlotInfo(slot, &info) != CKR_OK)
        return false;
    return (wanted == (CK_SLOT_ID) -1 || wanted == slot) &&
           (ret_info->flags & CKF_TOKEN_INITIALIZED) != 0 &&
           p11_kit_uri_match_slot_info(uri, &info) != 0 &&
           p11_kit_uri_match_token_info(uri, ret_info) != 0;
}

static CK_RV list_slots(const struct hsm_session *session, CK_SLOT_ID slots[SLOT_COUNT_MAX],
                        CK_ULONG *ret_count)
{
    CK_ULONG count = SLOT_COUNT_MAX;
    CK_RV rv = session->p11->C_GetSlotList(CK_TRUE, slots, &count);
    TRY(hsm_session_check(session, rv));
    if (count > SLOT_COUNT_MAX)
        return hsm_fault_set(session->fault, HSM_ODD_ANSWER);
    *ret_count = count;
    return CKR_OK;
}

static CK_RV find_token(const struct hsm_session *session, CK_SLOT_ID *ret_slot,
                        CK_FLAGS *ret_flags)
{
    CK_SLOT_ID slots[SLOT_COUNT_MAX];
    CK_TOKEN_INFO token;
    CK_INFO info;
    CK_ULONG count = 0;
    CK_ULONG found = 0;
    session->fault->step = HSM_FIND_TOKEN;
    TRY(hsm_session_check(session, session->p11->C_GetInfo(&info)));
    if (p11_kit_uri_match_module_info(session->parent->uri.parsed, &info) == 0)
        return hsm_fault_set(session->fault, HSM_NO_TOKEN);
    TRY(list_slots(session, slots, &count));
    for (CK_ULONG i = 0; i < count; i++) {
        if (!slot_fits(session, slots[i], &token))
            continue;
        *ret_slot = slots[i];
        *ret_flags = token.flags;
        found++;
    }
    if (found != 1)
        return hsm_fault_set(session->fault, found == 0 ? HSM_NO_TOKEN : HSM_SEVERAL_TOKENS);
    return CKR_OK;
}

/* ---- session and login ---- */

static CK_RV log_in(const struct hsm_session *session, CK_FLAGS flags, struct view pin)
{
    session->fault->step = HSM_LOGIN;
    if (pin.len == 0 && (flags & CKF_LOGIN_REQUIRED) == 0)
        return CKR_OK;
    if (pin.len == 0 && (flags & CKF_PROTECTED_AUTHENTICATION_PATH) == 0)
        return hsm_fault_set(session->fault, HSM_NO_PIN);
    CK_RV rv = session->p11->C_Login(session->handle, CKU_USER, (CK_UTF8CHAR *) pin.bytes, pin.len);
    /* The application's login, or that of another call of ours. */
    return hsm_session_check(session, rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv);
}

CK_RV hsm_session_open(struct hsm_session *session, struct view pin)
{
    CK_SLOT_ID slot = 0;
    CK_FLAGS flags = 0;
    session->handle = CK_INVALID_HANDLE;
    TRY(hsm_parent_use(session->parent, session->fault, &session->p11, &session->generation));
    TRY(find_token(session, &slot, &flags));
    session->fault->step = HSM_OPEN_SESSION;
    TRY(hsm_session_check(session, session->p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL,
                                                               &session->handle)));
    return log_in(session, flags, pin);
}

void hsm_session_close(struct hsm_session *session)
{
    if (session->handle != CK_INVALID_HANDLE)
        (void) session->p11->C_CloseSession(session->handle);
    session->handle = CK_INVALID_HANDLE;
}

/* ---- the key ---- */

static CK_RV find_two(const struct hsm_session *session, CK_ATTRIBUTE *template,
                      CK_ULONG template_count, CK_OBJECT_HANDLE keys[2], CK_ULONG *ret_count)
{
    CK_FUNCTION_LIST *p11 = session->p11;
    CK_RV rv = p11->C_FindObjectsInit(session->handle, template, template_count);
    TRY(hsm_session_check(session, rv));
    rv = p11->C_FindObjects(session->handle, keys, 2, ret_count);
    CK_RV ended = p11->C_FindObjectsFinal(session->handle);
    TRY(hsm_session_check(session, rv));
    return hsm_session_check(session, ended);
}

CK_RV hsm_session_find_key(const struct hsm_session *session, CK_OBJECT_CLASS key_class,
                           struct view id, CK_OBJECT_HANDLE *ret_key)
{
    const CK_ATTRIBUTE *label = hsm_uri_attribute(&session->parent->uri, CKA_LABEL);
    const CK_ATTRIBUTE *own_id = hsm_uri_attribute(&session->parent->uri, CKA_ID);
    CK_ATTRIBUTE template[TEMPLATE_MAX] = {{CKA_CLASS, &key_class, sizeof(key_class)}};
    CK_ULONG template_count = 1;
    CK_OBJECT_HANDLE keys[2];
    CK_ULONG count = 0;
    session->fault->step = HSM_FIND_KEY;
    if (label != NULL)
        template[template_count++] = *label;
    if (id.len > 0)
        template[template_count++] = (CK_ATTRIBUTE){CKA_ID, (void *) id.bytes, id.len};
    else if (own_id != NULL)
        template[template_count++] = *own_id;
    TRY(find_two(session, template, template_count, keys, &count));
    if (count > 2)
        return hsm_fault_set(session->fault, HSM_ODD_ANSWER);
    if (count != 1)
        return hsm_fault_set(session->fault, count == 0 ? HSM_NO_KEY : HSM_SEVERAL_KEYS);
    *ret_key = keys[0];
    return CKR_OK;
}

void hsm_session_key_id(const struct hsm_session *session, CK_OBJECT_HANDLE key,
                        unsigned char id[HSM_ID_LEN_MAX], size_t *ret_len)
{
    CK_ATTRIBUTE attribute = {CKA_ID, id, HSM_ID_LEN_MAX};
    CK_RV rv = session->p11->C_GetAttributeValue(session->handle, key, &attribute, 1);
    *ret_len = rv == CKR_OK && attribute.ulValueLen <= HSM_ID_LEN_MAX ? attribute.ulValueLen : 0;
}
