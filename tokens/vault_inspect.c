#include "tokens/vault_inspect.h"

#include <stdio.h>

#include "tokens/inspection.h"
#include "tokens/json.h"

#define FIRST_VERSION 1

static const struct vault_act inspect_act = {
    .path = "keys",
    .what = "look at the key",
    .capability = "read",
};

static const struct vault_refusal refusals[] = {
    {VAULT_NOT_FOUND, "no handler for route", INDEXKEY_CAUSE_CONFIG, "nothing is mounted there",
     "correct transit_mount or vault_namespace, or mount it with vault secrets enable transit"},
    {VAULT_NOT_FOUND, "namespace not found", INDEXKEY_CAUSE_CONFIG, "the namespace does not exist",
     "correct vault_namespace"},
    {VAULT_NOT_FOUND, "", INDEXKEY_CAUSE_DELETED, "Vault has no key of this name",
     "restore the key from a backup, or correct key_name"},
    {VAULT_BAD_METHOD, "", INDEXKEY_CAUSE_CONFIG, "what is mounted there is no transit engine",
     "correct transit_mount"},
    {.status = 0},
};

struct versions {
    int64_t newest;
    int64_t oldest; /* that still decrypts */
};

/* What is below min_decryption_version may be made usable again; what is below
 * min_available_version was trimmed and is gone. 0 is no bound. */
static bool read_versions(const struct json *reply, struct versions *ret_versions)
{
    int64_t decrypts;
    int64_t is_there = 0;
    if (!json_number(reply, "data.latest_version", &ret_versions->newest) ||
        !json_number(reply, "data.min_decryption_version", &decrypts))
        return false;
    (void) json_number(reply, "data.min_available_version", &is_there);
    ret_versions->oldest = decrypts > is_there ? decrypts : is_there;
    if (ret_versions->oldest < FIRST_VERSION)
        ret_versions->oldest = FIRST_VERSION;
    return ret_versions->oldest <= ret_versions->newest;
}

/* Deletion of the whole key has to be allowed first. */
static void put_kind(const struct json *reply, struct source_inspection *inspection)
{
    const char *type = json_text(reply, "data.type");
    bool may_be_deleted = false;
    (void) json_flag(reply, "data.deletion_allowed", &may_be_deleted);
    (void) snprintf(inspection->kind, sizeof(inspection->kind), "%.80s, deletion %s",
                    type == NULL ? "transit" : type, may_be_deleted ? "allowed" : "not allowed");
}

static CK_RV take_reply(const struct vault *vault, const struct http_result *result,
                        int64_t version, struct source_inspection *inspection)
{
    _cleanup_(json_free) struct json *reply = NULL;
    struct versions versions = {0};
    int64_t period_s = 0;
    bool is_known =
        json_parse((struct view){result->body.bytes, result->body.len}, &reply) == CKR_OK &&
        read_versions(reply, &versions);
    if (!is_known)
        return source_http_fail_reply(&vault->server.http, result,
                                      "it has no versions of a transit key");
    (void) snprintf(inspection->key, sizeof(inspection->key), "%s/keys/%s", vault->mount,
                    vault->key);
    put_kind(reply, inspection);
    if (version > 0)
        inspection_put_number(inspection->version, version);
    inspection_put_number(inspection->newest_version, versions.newest);
    inspection_put_number(inspection->oldest_version, versions.oldest);
    if (json_number(reply, "data.auto_rotate_period", &period_s))
        inspection_put_rotation(inspection, period_s, 0);
    inspection->is_usable =
        version == 0 || (version >= versions.oldest && version <= versions.newest);
    return CKR_OK;
}

CK_RV vault_inspect_key(const struct vault *vault, const struct source_call *call, int64_t version,
                        struct source_inspection *ret_inspection)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    struct source_inspection inspection = {.key = ""};
    const struct vault_request request = {
        .method = "GET",
        .act = &inspect_act,
        .mount = vault->mount,
        .name = vault->key,
        .refusals = refusals,
    };
    TRY(vault_request_run(vault, call, &request, &result));
    TRY(take_reply(vault, &result, version, &inspection));
    *ret_inspection = inspection;
    return CKR_OK;
}
