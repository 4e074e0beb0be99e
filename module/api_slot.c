/* PKCS #11 5.5: slot and token management. */
#include "module/api.h"

#include <stdio.h>

#include "include/indexkey.h"
#include "module/mechanism.h"
#include "module/module.h"
#include "module/policy.h"
#include "module/text.h"

static CK_RV list_slots(CK_BBOOL present, CK_SLOT_ID_PTR out, CK_ULONG_PTR count)
{
    size_t slot_count;
    struct slot *slots = module_slots(&slot_count);
    CK_ULONG found = 0;

    for (size_t i = 0; i < slot_count; i++) {
        if (present && slot_check_token(&slots[i]) != CKR_OK)
            continue;
        if (out != NULL && found < *count)
            out[found] = slots[i].id;
        found++;
    }
    CK_RV rv = out != NULL && found > *count ? CKR_BUFFER_TOO_SMALL : CKR_OK;
    *count = found;
    return rv;
}

CK_RV C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
    TRY(module_enter());
    CK_RV rv = pulCount == NULL ? CKR_ARGUMENTS_BAD : list_slots(tokenPresent, pSlotList, pulCount);
    module_leave();
    return rv;
}

static void describe_slot(const struct slot *slot, CK_SLOT_INFO_PTR info)
{
    char text[sizeof(info->slotDescription) + 1];

    snprintf(text, sizeof(text), "indexkey [token %s]", slot->name);
    text_pad(info->slotDescription, sizeof(info->slotDescription), text);
    text_pad(info->manufacturerID, sizeof(info->manufacturerID), TEXT_MANUFACTURER);
    info->flags = slot_check_token(slot) == CKR_OK ? CKF_TOKEN_PRESENT : 0;
    info->hardwareVersion = (CK_VERSION){0, 0};
    info->firmwareVersion = (CK_VERSION){INDEXKEY_VERSION_MAJOR, INDEXKEY_VERSION_MINOR};
}

CK_RV C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
    struct slot *slot;

    TRY(module_enter());
    CK_RV rv = pInfo == NULL ? CKR_ARGUMENTS_BAD : module_slot(slotID, &slot);
    if (rv == CKR_OK)
        describe_slot(slot, pInfo);
    module_leave();
    return rv;
}

static CK_FLAGS pin_flags(const struct custody_pin_state *pin, CK_FLAGS low, CK_FLAGS final_try,
                          CK_FLAGS locked)
{
    return (pin->count_low ? low : 0) | (pin->final_try ? final_try : 0) |
           (pin->locked ? locked : 0);
}

static CK_FLAGS token_flags(const struct slot *slot, const struct custody_info *info)
{
    CK_FLAGS flags =
        CKF_RNG | CKF_LOGIN_REQUIRED | CKF_DUAL_CRYPTO_OPERATIONS | CKF_RESTORE_KEY_NOT_NEEDED;

    if (info->initialized)
        flags |= CKF_TOKEN_INITIALIZED;
    if (info->user.set)
        flags |= CKF_USER_PIN_INITIALIZED;
    if (custody_login_mode(slot->custody) == CUSTODY_LOGIN_AMBIENT)
        flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
    return flags |
           pin_flags(&info->user, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY,
                     CKF_USER_PIN_LOCKED) |
           pin_flags(&info->so, CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED);
}

static CK_RV describe_token(struct slot *slot, CK_TOKEN_INFO_PTR info)
{
    struct custody_info token;

    TRY(slot_check_token(slot));
    TRY(custody_info(slot->custody, &token));
    memset(info, 0, sizeof(*info));
    memcpy(info->label, token.label, sizeof(info->label));
    memcpy(info->serialNumber, token.serial, sizeof(info->serialNumber));
    text_pad(info->manufacturerID, sizeof(info->manufacturerID), TEXT_MANUFACTURER);
    text_pad(info->model, sizeof(info->model), "index key token");
    text_pad(info->utcTime, sizeof(info->utcTime), "");
    info->flags = token_flags(slot, &token);
    info->ulMaxSessionCount = CK_EFFECTIVELY_INFINITE;
    info->ulMaxRwSessionCount = CK_EFFECTIVELY_INFINITE;
    pthread_mutex_lock(&slot->lock);
    info->ulSessionCount = slot->session_count;
    info->ulRwSessionCount = slot->rw_session_count;
    pthread_mutex_unlock(&slot->lock);
    info->ulMaxPinLen = custody_login_mode(slot->custody) == CUSTODY_LOGIN_CREDENTIAL
                            ? CREDENTIAL_LEN_MAX
                            : PIN_LEN_MAX;
    info->ulMinPinLen = PIN_LEN_MIN;
    info->ulTotalPublicMemory = CK_UNAVAILABLE_INFORMATION;
    info->ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
    info->ulTotalPrivateMemory = CK_UNAVAILABLE_INFORMATION;
    info->ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
    info->firmwareVersion = (CK_VERSION){INDEXKEY_VERSION_MAJOR, INDEXKEY_VERSION_MINOR};
    return CKR_OK;
}

CK_RV C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
    struct slot *slot;

    TRY(module_enter());
    CK_RV rv = pInfo == NULL ? CKR_ARGUMENTS_BAD : module_slot(slotID, &slot);
    if (rv == CKR_OK)
        rv = describe_token(slot, pInfo);
    module_leave();
    return rv;
}

/* Slots and tokens come from the configuration: nothing is ever inserted or removed. */
CK_RV C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR pSlot, CK_VOID_PTR pReserved)
{
    TRY(module_check());
    if (pSlot == NULL || pReserved != NULL)
        return CKR_ARGUMENTS_BAD;
    return (flags & CKF_DONT_BLOCK) != 0 ? CKR_NO_EVENT : module_wait_for_finalize();
}

static CK_RV get_token(CK_SLOT_ID id, struct slot **ret_slot)
{
    struct slot *slot;

    TRY(module_slot(id, &slot));
    TRY(slot_check_token(slot));
    *ret_slot = slot;
    return CKR_OK;
}

static CK_RV list_mechanisms(const struct slot *slot, CK_MECHANISM_TYPE_PTR out, CK_ULONG_PTR count)
{
    size_t all_count;
    const struct mechanism *all = mechanisms_all(&all_count);
    CK_ULONG offered = 0;

    for (size_t i = 0; i < all_count; i++)
        offered += policy_offers(slot, &all[i]);
    CK_RV rv = out != NULL && *count < offered ? CKR_BUFFER_TOO_SMALL : CKR_OK;
    *count = offered;
    if (rv != CKR_OK || out == NULL)
        return rv;
    for (size_t i = 0; i < all_count; i++)
        if (policy_offers(slot, &all[i]))
            *out++ = all[i].type;
    return CKR_OK;
}

CK_RV C_GetMechanismList(CK_SLOT_ID slotID, CK_MECHANISM_TYPE_PTR pMechanismList,
                         CK_ULONG_PTR pulCount)
{
    struct slot *slot;

    TRY(module_enter());
    CK_RV rv = pulCount == NULL ? CKR_ARGUMENTS_BAD : get_token(slotID, &slot);
    if (rv == CKR_OK)
        rv = list_mechanisms(slot, pMechanismList, pulCount);
    module_leave();
    return rv;
}

CK_RV C_GetMechanismInfo(CK_SLOT_ID slotID, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR pInfo)
{
    struct slot *slot;

    TRY(module_enter());
    CK_RV rv = pInfo == NULL ? CKR_ARGUMENTS_BAD : get_token(slotID, &slot);
    const struct mechanism *mechanism = mechanism_find(type);
    if (rv == CKR_OK && (mechanism == NULL || !policy_offers(slot, mechanism)))
        rv = CKR_MECHANISM_INVALID;
    if (rv == CKR_OK)
        *pInfo = (CK_MECHANISM_INFO){
            .ulMinKeySize = mechanism->min_key,
            .ulMaxKeySize = mechanism->max_key,
            .flags = mechanism_flags(mechanism),
        };
    module_leave();
    return rv;
}

CK_RV C_InitToken(CK_SLOT_ID slotID, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen,
                  CK_UTF8CHAR_PTR pLabel)
{
    struct slot *slot;

    TRY(module_enter());
    CK_RV rv = pPin == NULL || pLabel == NULL ? CKR_ARGUMENTS_BAD : module_slot(slotID, &slot);
    if (rv == CKR_OK)
        rv = slot_check_token(slot);
    if (rv == CKR_OK)
        rv = slot_init_token(slot, api_view(pPin, ulPinLen), pLabel);
    module_leave();
    return rv;
}

CK_RV C_InitPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
    struct session_view view;

    TRY(session_look(hSession, &view));
    CK_RV rv = CKR_OK;
    if (view.role != ROLE_SO)
        rv = CKR_USER_NOT_LOGGED_IN;
    else if (pPin == NULL)
        rv = CKR_ARGUMENTS_BAD;
    else
        rv = slot_init_pin(view.slot, api_view(pPin, ulPinLen));
    return session_look_end(&view, rv);
}

CK_RV C_SetPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,
               CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen)
{
    struct session_view view;

    TRY(session_look(hSession, &view));
    CK_RV rv = CKR_OK;
    if ((view.flags & CKF_RW_SESSION) == 0)
        rv = CKR_SESSION_READ_ONLY;
    else if (pOldPin == NULL || pNewPin == NULL)
        rv = CKR_ARGUMENTS_BAD;
    else
        rv = slot_set_pin(view.slot, api_view(pOldPin, ulOldLen), api_view(pNewPin, ulNewLen));
    return session_look_end(&view, rv);
}
