#include "tokens/gcp_inspect.h"

#include <stdio.h>
#include <string.h>

#include "tokens/gcp_grant.h"
#include "tokens/gcp_key.h"
#include "tokens/inspection.h"

#define PERIOD_DIGITS_MAX 12

static const struct gcp_refusal refusals[] = {
    {"PERMISSION_DENIED", "denied on resource", INDEXKEY_CAUSE_DENIED,
     "this identity has not the permission", "grant it roles/cloudkms.viewer on the key"},
    {.status = NULL},
};

static CK_RV get(struct gcp *gcp, const struct source_call *call, const struct gcp_act *act,
                 const char *name, struct json **ret_reply)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(json_free) struct json *reply = NULL;
    const struct gcp_place place = {
        .http = &gcp->http,
        .token = gcp->token,
        .scope = GCP_SCOPE_KMS,
        .resource = name,
        .refusals = refusals,
    };
    TRY(gcp_request_get(gcp, call, act, &place, &result));
    CK_RV rv = json_parse((struct view){result.body.bytes, result.body.len}, &reply);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&gcp->http, &result,
                                      "it is not the JSON of Google Cloud KMS");
    TRY(rv);
    const char *told = json_text(reply, "name");
    if (told == NULL || strcmp(told, name) != 0)
        return source_http_fail_reply(&gcp->http, &result,
                                      "it is of another key, or version, than was asked for");
    *ret_reply = TAKE(reply);
    return CKR_OK;
}

/* "7776000s", perhaps with a fraction; 0 for anything else. */
static int64_t read_period(const char *text)
{
    int64_t period_s = 0;
    size_t len = text == NULL ? 0 : strspn(text, "0123456789");
    if (len > PERIOD_DIGITS_MAX)
        return 0;
    for (size_t i = 0; i < len; i++)
        period_s = 10 * period_s + (text[i] - '0');
    return period_s;
}

static int64_t read_time(const struct json *reply, const char *path)
{
    const char *text = json_text(reply, path);
    int64_t time_s = 0;
    return text != NULL && gcp_grant_read_time(text, &time_s) && time_s > 0 ? time_s : 0;
}

/* Behind the last slash. */
static void put_number(char ret_fact[SOURCE_FACT_MAX], const char *version)
{
    const char *slash = strrchr(version, '/');
    inspection_put(ret_fact, slash == NULL ? version : slash + 1);
}

/* `ret_primary` is "" for a key without one. */
static CK_RV look_at_key(struct gcp *gcp, const struct source_call *call,
                         struct source_inspection *inspection,
                         char ret_primary[GCP_KEY_VERSION_LEN_MAX + 1])
{
    static const struct gcp_act act = {
        .permission = "cloudkms.cryptoKeys.get",
        .what = "look at the key",
    };
    _cleanup_(json_free) struct json *reply = NULL;
    TRY(get(gcp, call, &act, gcp->key, &reply));
    const char *primary = json_text(reply, "primary.name");
    ret_primary[0] = '\0';
    if (primary != NULL && gcp_key_has_version(gcp->key, view_text(primary)))
        (void) snprintf(ret_primary, GCP_KEY_VERSION_LEN_MAX + 1, "%s", primary);
    put_number(inspection->newest_version, ret_primary);
    inspection_put_rotation(inspection, read_period(json_text(reply, "rotationPeriod")),
                            read_time(reply, "nextRotationTime"));
    return CKR_OK;
}

static CK_RV look_at_version(struct gcp *gcp, const struct source_call *call, const char *name,
                             struct source_inspection *inspection)
{
    static const struct gcp_act act = {
        .permission = "cloudkms.cryptoKeyVersions.get",
        .what = "look at the key version",
    };
    _cleanup_(json_free) struct json *reply = NULL;
    TRY(get(gcp, call, &act, name, &reply));
    inspection_put(inspection->state, json_text(reply, "state"));
    inspection_put(inspection->kind, json_text(reply, "protectionLevel"));
    inspection->deletion_s = read_time(reply, "destroyTime");
    inspection->is_usable = strcmp(inspection->state, "ENABLED") == 0;
    return CKR_OK;
}

CK_RV gcp_inspect_key(struct gcp *gcp, const struct source_call *call, struct view version,
                      struct source_inspection *ret_inspection)
{
    struct source_inspection inspection = {.key = ""};
    char name[GCP_KEY_VERSION_LEN_MAX + 1];
    TRY(look_at_key(gcp, call, &inspection, name));
    if (version.len > 0) {
        (void) snprintf(name, sizeof(name), "%.*s", (int) version.len,
                        (const char *) version.bytes);
        put_number(inspection.version, name);
    }
    (void) snprintf(inspection.key, sizeof(inspection.key), "%s", gcp->key);
    if (name[0] != '\0')
        TRY(look_at_version(gcp, call, name, &inspection));
    *ret_inspection = inspection;
    return CKR_OK;
}
