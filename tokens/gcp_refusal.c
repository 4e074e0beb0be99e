#include "tokens/gcp_refusal.h"

#include <stdio.h>
#include <string.h>

#define DETAILS_MAX 8
#define PRECONDITION GCP_REFUSAL_PRECONDITION

static const char enable[] = "gcloud kms keys versions enable";
static const char restore[] =
    "gcloud kms keys versions restore, then enable, before its waiting period ends";
static const char gone[] = "a destroyed key version does not come back: restore what it protected "
                           "from elsewhere";
static const char try_later[] = "try later; see the Google Cloud Service Health page if it lasts";
static const char failing[] = "the service itself fails";
static const char corrupted[] = "what was sent was changed on its way";

static const char is_disabled[] = "the key version is disabled";
static const char is_scheduled[] = "the key version is scheduled for destruction";
static const char is_destroyed[] = "the key version is destroyed";

/* The first row that fits is taken. */
static const struct gcp_refusal refusals[] = {
    {"UNAUTHENTICATED", NULL, INDEXKEY_CAUSE_CREDENTIAL,
     "its access token is not known, expired or revoked", "give it a new credential"},

    {"PERMISSION_DENIED", "SERVICE_DISABLED", INDEXKEY_CAUSE_DISABLED,
     "the Cloud KMS API is disabled in the project",
     "gcloud services enable cloudkms.googleapis.com"},
    {"PERMISSION_DENIED", "BILLING_DISABLED", INDEXKEY_CAUSE_DISABLED,
     "billing is disabled for the project", "enable billing for it"},
    {"PERMISSION_DENIED", "CONSUMER_INVALID", INDEXKEY_CAUSE_DELETED,
     "the project does not exist or is deleted",
     "check project_id; gcloud projects undelete brings a project back for 30 days"},
    {"PERMISSION_DENIED", "SCOPE_INSUFFICIENT", INDEXKEY_CAUSE_CREDENTIAL,
     "its access token has not the scope of Cloud KMS",
     "give the machine or the login the scope cloudkms or cloud-platform"},
    {"PERMISSION_DENIED", "USER_PROJECT_DENIED", INDEXKEY_CAUSE_DENIED,
     "this identity may not use the quota project",
     "grant it roles/serviceusage.serviceUsageConsumer there, or change quota_project_id"},
    {"PERMISSION_DENIED", "SECURITY_POLICY_VIOLATED", INDEXKEY_CAUSE_DENIED,
     "a VPC Service Controls perimeter denies it", "allow this identity and network to enter it"},
    {"PERMISSION_DENIED", "iam.serviceAccounts.getAccessToken", INDEXKEY_CAUSE_DENIED,
     "this identity may not act as the service account",
     "grant it roles/iam.workloadIdentityUser on the service account"},
    {"PERMISSION_DENIED", NULL, INDEXKEY_CAUSE_DENIED, "this identity has not the permission",
     "grant it roles/cloudkms.cryptoKeyEncrypterDecrypter on the key"},

    {PRECONDITION, "DESTROY_SCHEDULED", INDEXKEY_CAUSE_DELETED, is_scheduled, restore},
    {PRECONDITION, "DESTROYED", INDEXKEY_CAUSE_DELETED, is_destroyed, gone},
    {PRECONDITION, "DISABLED", INDEXKEY_CAUSE_DISABLED, is_disabled, enable},
    {PRECONDITION, "PENDING", INDEXKEY_CAUSE_SERVER, "the key version is still being made",
     try_later},
    {PRECONDITION, "crypto_key.purpose", INDEXKEY_CAUSE_CONFIG,
     "the key is not for symmetric encryption",
     "set crypto_key to a key with the purpose encryption"},
    {PRECONDITION, "primary", INDEXKEY_CAUSE_DISABLED, "the key has no primary version",
     "gcloud kms keys set-primary-version"},

    {"NOT_FOUND", NULL, INDEXKEY_CAUSE_DELETED,
     "there is no such key: it is deleted, or the name is wrong",
     "check project_id, location, key_ring and crypto_key"},

    {"INVALID_ARGUMENT", "checksum in field", INDEXKEY_CAUSE_SERVER, corrupted,
     "check the network and what stands in it"},
    {"INVALID_ARGUMENT", "Decryption failed", INDEXKEY_CAUSE_TAMPERED,
     "the wrapped data key was changed, or was wrapped with another context or by another key "
     "(Google does not tell which)",
     "restore the store from a backup, or set the former context.* and crypto_key"},
    {"INVALID_ARGUMENT", "sent to location", INDEXKEY_CAUSE_CONFIG, "the location is wrong",
     "check location, and endpoint if it is set"},

    {"RESOURCE_EXHAUSTED", NULL, INDEXKEY_CAUSE_THROTTLED, "the project's request quota is used up",
     "try later, or ask Google for a higher quota"},
    {"UNAVAILABLE", NULL, INDEXKEY_CAUSE_SERVER, failing, try_later},
    {"INTERNAL", NULL, INDEXKEY_CAUSE_SERVER, failing, try_later},
    {"UNKNOWN", NULL, INDEXKEY_CAUSE_SERVER, failing, try_later},
    {"ABORTED", NULL, INDEXKEY_CAUSE_SERVER, failing, try_later},
    {"CANCELLED", NULL, INDEXKEY_CAUSE_SERVER, failing, try_later},
    {"DEADLINE_EXCEEDED", NULL, INDEXKEY_CAUSE_SERVER, "the service did not finish in time",
     try_later},
    {"UNIMPLEMENTED", NULL, INDEXKEY_CAUSE_CONFIG, "this is no Cloud KMS", "check endpoint"},
};
#define REFUSAL_COUNT (sizeof(refusals) / sizeof(refusals[0]))

const char *gcp_refusal_status(const struct json *reply)
{
    return reply == NULL ? NULL : json_text(reply, "error.status");
}

/* "reason" of google.rpc.ErrorInfo. */
static bool has_reason(const struct json *reply, const char *text)
{
    for (int i = 0; i < DETAILS_MAX; i++) {
        char path[sizeof("error.details.0.reason")];
        (void) snprintf(path, sizeof(path), "error.details.%d.reason", i);
        const char *reason = json_text(reply, path);
        if (reason != NULL && strstr(reason, text) != NULL)
            return true;
    }
    return false;
}

static bool says(const struct json *reply, const char *text)
{
    const char *message = json_text(reply, "error.message");
    return (message != NULL && strstr(message, text) != NULL) || has_reason(reply, text);
}

static bool fits(const struct gcp_refusal *row, const struct json *reply, const char *status)
{
    return strcmp(row->status, status) == 0 && (row->text == NULL || says(reply, row->text));
}

const struct gcp_refusal *gcp_refusal_find(const struct json *reply)
{
    const char *status = gcp_refusal_status(reply);
    for (size_t i = 0; i < REFUSAL_COUNT && status != NULL; i++) {
        if (fits(&refusals[i], reply, status))
            return &refusals[i];
    }
    return NULL;
}

const struct gcp_refusal *gcp_refusal_find_in(const struct gcp_refusal *own,
                                              const struct json *reply)
{
    const char *status = gcp_refusal_status(reply);
    for (; own != NULL && own->status != NULL && status != NULL; own++) {
        if (fits(own, reply, status))
            return own;
    }
    return gcp_refusal_find(reply);
}

const struct gcp_refusal *gcp_refusal_of_state(const char *state)
{
    for (size_t i = 0; i < REFUSAL_COUNT; i++) {
        if (strcmp(refusals[i].status, PRECONDITION) == 0 && strcmp(refusals[i].text, state) == 0)
            return &refusals[i];
    }
    return NULL;
}

enum http_verdict gcp_refusal_verdict(long status, struct view body)
{
    _cleanup_(json_free) struct json *reply = NULL;
    if (status < 400 || json_parse(body, &reply) != CKR_OK)
        return http_default_verdict(status, body);
    const struct gcp_refusal *refusal = gcp_refusal_find(reply);
    if (refusal == NULL)
        return http_default_verdict(status, body);
    if (refusal->cause == INDEXKEY_CAUSE_THROTTLED)
        return HTTP_THROTTLED;
    return refusal->cause == INDEXKEY_CAUSE_SERVER ? HTTP_TRANSIENT : HTTP_FINAL;
}
