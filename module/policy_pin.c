#include "module/policy_pin.h"

#include <string.h>

#include "base/rv.h"
#include "module/audit_log.h"
#include "module/row_kinds.h"
#include "module/slot.h"

/* Random ids do not meet it. */
static const struct object_id row_id = {"indexkey/policy/"};

/* In byte order, as sections have their entries. */
static const char *const policy_names[] = {
    "administer",
    "aes_default",
    "allowed_mechanisms",
    "allowed_purposes",
    "approvals_needed",
    "derivation_labels",
    "extract_key",
    "hkdf_data_info",
    "migrate_to",
    "policy",
    "relax",
    "subkeys",
    "time_window",
    "two_person",
    "undo_window",
    "usage_limit",
};

struct pin {
    uint64_t version; /* of the row */
    unsigned char digest[SHA256_LEN];
    struct approvals *approvals;
};

static void pin_clear(struct pin *pin)
{
    approvals_close(&pin->approvals);
}

static void write_text(struct writer *writer, const char *text)
{
    write_string(writer, view_text(text));
}

static void write_policies(const struct conf *conf, const char *token, struct writer *text)
{
    size_t count;
    const struct conf_section *policies = conf_policies(conf, &count);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(conf_string(&policies[i], "token", ""), token) != 0)
            continue;
        write_text(text, policies[i].name);
        write_u32(text, (uint32_t) policies[i].entry_count);
        for (size_t j = 0; j < policies[i].entry_count; j++) {
            write_text(text, policies[i].entries[j].name);
            write_text(text, policies[i].entries[j].value);
        }
    }
}

CK_RV policy_pin_digest(const struct conf *conf, const struct conf_section *token,
                        const struct approvals *approvals, unsigned char ret_digest[SHA256_LEN])
{
    _cleanup_(writer_clear) struct writer text = {0};

    for (size_t i = 0; i < sizeof(policy_names) / sizeof(policy_names[0]); i++) {
        const char *value = NULL;
        for (size_t j = 0; j < token->entry_count && value == NULL; j++)
            if (strcmp(token->entries[j].name, policy_names[i]) == 0)
                value = token->entries[j].value;
        write_text(&text, value == NULL ? "" : value);
    }
    if (approvals != NULL)
        approvals_encode(approvals, &text);
    write_policies(conf, token->name, &text);
    return text.failed ? CKR_HOST_MEMORY : crypto_sha256(writer_view(&text), ret_digest);
}

static CK_RV decode(struct view bytes, const char *folder, struct pin *pin)
{
    struct reader reader = reader_of(bytes);
    uint8_t kind = read_u8(&reader);
    struct view digest = read_raw(&reader, SHA256_LEN);
    CK_RV rv =
        reader.failed ? CKR_DATA_INVALID : approvals_decode(&reader, folder, &pin->approvals);

    if (rv == CKR_HOST_MEMORY)
        return rv;
    if (rv != CKR_OK || kind != ROW_KIND_POLICY || !reader_done(&reader))
        return FAIL(CKR_DEVICE_ERROR, "the pinned policy in the store is of an unknown form "
                                      "(written by a newer version?)");
    memcpy(pin->digest, digest.bytes, SHA256_LEN);
    return CKR_OK;
}

/* Version 0: nothing is pinned. */
static CK_RV read_pin(const struct slot *slot, struct pin *pin)
{
    _cleanup_(blob_clear) struct blob bytes = {NULL, 0};
    CK_RV rv = sealed_objects_attributes(slot->custody, &row_id, &pin->version, &bytes);

    if (rv == CKR_OBJECT_HANDLE_INVALID)
        return CKR_OK;
    TRY(rv);
    return decode(blob_view(&bytes), slot->approvals_folder, pin);
}

/* In place of what was pinned; where the new policy pins nothing, the row goes. */
static CK_RV put_pin(const struct slot *slot, uint64_t version)
{
    _cleanup_(writer_clear) struct writer writer = {0};
    uint64_t new_version;

    if (!approvals_guard(slot->approvals, APPROVAL_POLICY))
        return sealed_objects_destroy(slot->custody, &row_id, version);
    write_u8(&writer, ROW_KIND_POLICY);
    write_raw(&writer, (struct view){slot->policy_digest, SHA256_LEN});
    approvals_encode(slot->approvals, &writer);
    if (writer.failed)
        return CKR_HOST_MEMORY;
    return version == 0 ? sealed_objects_create(slot->custody, &row_id, writer_view(&writer), NULL)
                        : sealed_objects_update(slot->custody, &row_id, version,
                                                writer_view(&writer), &new_version);
}

/* What was used for it is given back when nothing was written; a pin that is written has used it,
 * whatever becomes of the line about it. */
static CK_RV write_pin(struct slot *slot, uint64_t version, const struct approval_grant *grant)
{
    const struct audit_act act = {.event = "pin-policy"};
    CK_RV intent = audit_log_intent(slot, &act);
    CK_RV rv = intent == CKR_OK ? put_pin(slot, version) : intent;

    if (rv != CKR_OK)
        approvals_give_back(slot, grant);
    return intent == CKR_OK ? audit_log_outcome(slot, &act, rv) : intent;
}

static CK_RV change_pin(struct slot *slot, const struct pin *pin)
{
    const struct approval_request request = {
        .operation = APPROVAL_POLICY,
        .subject = {slot->policy_digest, SHA256_LEN},
    };
    struct approval_grant grant;
    CK_RV rv = approvals_take_by(slot, pin->approvals, &request, &grant);

    if (rv == CKR_ACTION_PROHIBITED)
        return FAIL(CKR_FUNCTION_FAILED,
                    "token %s: its policy in the configuration is not the one that was approved: "
                    "approve the change, or undo it",
                    slot->name);
    TRY(rv);
    return write_pin(slot, pin->version, &grant);
}

static CK_RV check_once(struct slot *slot)
{
    const struct approval_grant none = {.count = 0};
    _cleanup_(pin_clear) struct pin pin = {.version = 0};

    TRY(read_pin(slot, &pin));
    if (pin.version == 0)
        return approvals_guard(slot->approvals, APPROVAL_POLICY) ? write_pin(slot, 0, &none)
                                                                 : CKR_OK;
    if (memcmp(pin.digest, slot->policy_digest, SHA256_LEN) == 0)
        return CKR_OK;
    return change_pin(slot, &pin);
}

CK_RV policy_pin_check(struct slot *slot)
{
    CK_RV rv = check_once(slot);

    /* Another process came first. */
    while (rv == CKR_OBJECT_HANDLE_INVALID)
        rv = check_once(slot);
    /* A denial has closed the token meanwhile; the log has the cause. */
    return rv == CKR_USER_NOT_LOGGED_IN ? CKR_FUNCTION_FAILED : rv;
}
