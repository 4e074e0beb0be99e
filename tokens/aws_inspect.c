#include "tokens/aws_inspect.h"

#include <stdio.h>
#include <string.h>

#include "tokens/aws_exchange.h"
#include "tokens/inspection.h"
#include "tokens/json.h"

#define DAY_S INT64_C(86400)
/* AWS takes 90 to 2560. */
#define PERIOD_MAX_DAYS INT64_C(100000)

static const struct aws_act describe_act = {"DescribeKey", "look at the key"};
static const struct aws_act rotation_act = {"GetKeyRotationStatus", "look at the key's rotation"};

static CK_RV make_body(const struct aws *aws, struct view key, struct secret *ret_body)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    json_write_object(&writer, NULL);
    json_write_view(&writer, "KeyId", key);
    json_write_end_object(&writer);
    CK_RV rv = json_write_finish(&writer, ret_body);
    if (rv != CKR_OK)
        return FAIL(rv, "token '%s': no memory for a request to AWS KMS", aws->http.token);
    return CKR_OK;
}

static CK_RV parse(const struct aws_exchange *exchange, const struct http_result *result,
                   struct json **ret_reply)
{
    CK_RV rv = json_parse((struct view){result->body.bytes, result->body.len}, ret_reply);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&exchange->http, result, "it is not the JSON of AWS KMS");
    return rv;
}

static void put_kind(const struct json *reply, struct source_inspection *inspection)
{
    const char *origin = json_text(reply, "KeyMetadata.Origin");
    bool is_multi_region = false;
    (void) json_flag(reply, "KeyMetadata.MultiRegion", &is_multi_region);
    (void) snprintf(inspection->kind, sizeof(inspection->kind), "%.100s%s",
                    origin == NULL ? "" : origin, is_multi_region ? ", multi-Region" : "");
}

static CK_RV take_description(const struct aws_exchange *exchange, const struct http_result *result,
                              struct view wanted, struct source_inspection *inspection)
{
    _cleanup_(json_free) struct json *reply = NULL;
    TRY(parse(exchange, result, &reply));
    const char *arn = json_text(reply, "KeyMetadata.Arn");
    const char *state = json_text(reply, "KeyMetadata.KeyState");
    if (arn == NULL || state == NULL || !aws_key_is_key_arn(view_text(arn)))
        return source_http_fail_reply(&exchange->http, result,
                                      "it has no ARN and state of a KMS key");
    bool fits = wanted.len == 0 ? aws_key_matches(exchange->aws->key, view_text(arn))
                                : view_equal(wanted, view_text(arn));
    if (!fits)
        return source_http_fail_reply(&exchange->http, result,
                                      "it is of another KMS key than was asked for");
    (void) snprintf(inspection->key, sizeof(inspection->key), "%s", arn);
    inspection_put(inspection->state, state);
    put_kind(reply, inspection);
    (void) json_seconds(reply, "KeyMetadata.DeletionDate", &inspection->deletion_s);
    (void) json_seconds(reply, "KeyMetadata.ValidTo", &inspection->expiry_s);
    /* While it is "Updating" (its primary Region, say) it works. */
    inspection->is_usable = strcmp(state, "Enabled") == 0 || strcmp(state, "Updating") == 0;
    return CKR_OK;
}

static CK_RV take_rotation(const struct aws_exchange *exchange, const struct http_result *result,
                           struct source_inspection *inspection)
{
    _cleanup_(json_free) struct json *reply = NULL;
    bool is_on;
    int64_t days = 0;
    int64_t next_s = 0;
    TRY(parse(exchange, result, &reply));
    if (!json_flag(reply, "KeyRotationEnabled", &is_on))
        return source_http_fail_reply(&exchange->http, result, "it has no rotation status");
    (void) json_number(reply, "RotationPeriodInDays", &days);
    (void) json_seconds(reply, "NextRotationDate", &next_s);
    if (is_on && (days <= 0 || days > PERIOD_MAX_DAYS))
        inspection_put(inspection->rotation, "on");
    else
        inspection_put_rotation(inspection, is_on ? days * DAY_S : 0, next_s);
    return CKR_OK;
}

/* By the ARN that DescribeKey told: an alias is not taken. The permission is one of its own, and
 * keys that cannot be rotated automatically have no status. */
static CK_RV ask_rotation(struct aws_exchange *exchange, struct view arn,
                          struct source_inspection *inspection)
{
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    char code[AWS_CODE_LEN_MAX + 1] = "";
    TRY(make_body(exchange->aws, arn, &body));
    TRY(aws_exchange_try(exchange, &rotation_act, &body, &result, code));
    if (result.status == AWS_STATUS_OK)
        return take_rotation(exchange, &result, inspection);
    (void) snprintf(inspection->rotation, sizeof(inspection->rotation), "not told (kms:%s%s%s)",
                    rotation_act.name, code[0] == '\0' ? "" : ": ", code);
    return CKR_OK;
}

CK_RV aws_inspect_key(struct aws *aws, const struct source_call *call, struct view arn,
                      struct source_inspection *ret_inspection)
{
    _cleanup_(aws_exchange_clear) struct aws_exchange exchange = {.aws = aws};
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    struct source_inspection inspection = {.key = ""};
    TRY(make_body(aws, arn.len == 0 ? view_text(aws->key) : arn, &body));
    TRY(aws_exchange_begin(aws, call, &exchange));
    TRY(aws_exchange_send(&exchange, &describe_act, &body, &result));
    TRY(take_description(&exchange, &result, arn, &inspection));
    TRY(ask_rotation(&exchange, view_text(inspection.key), &inspection));
    *ret_inspection = inspection;
    return CKR_OK;
}
