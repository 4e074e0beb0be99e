#include "tokens/vault_batch.h"

#include <stdio.h>

#include "tokens/json_scan.h"
#include "tokens/vault_ciphertext.h"

#define PATH_MAX_LEN 48

static const struct vault_act unwrap_act = {
    .path = "decrypt",
    .what = "unwrap direct keys",
    .is_batch = true,
};

/* What goes to Vault: the items whose ciphertext is one. */
struct batch {
    struct source_item *sent[SOURCE_ITEMS_MAX];
    size_t count;
};

static CK_RV make_body(const struct vault *vault, const struct batch *batch,
                       struct secret *ret_body)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    json_write_object(&writer, NULL);
    json_write_array(&writer, "batch_input");
    for (size_t i = 0; i < batch->count; i++) {
        json_write_object(&writer, NULL);
        json_write_view(&writer, "ciphertext", batch->sent[i]->wrapped);
        if (batch->sent[i]->context.len > 0)
            json_write_base64(&writer, "associated_data", batch->sent[i]->context);
        json_write_end_object(&writer);
    }
    json_write_end_array(&writer);
    json_write_end_object(&writer);
    CK_RV rv = json_write_finish(&writer, ret_body);
    if (rv != CKR_OK)
        return FAIL(rv, "token '%s': no memory for a request to Vault", vault->server.http.token);
    return CKR_OK;
}

static bool has_error(const struct secret *body, size_t position)
{
    char path[PATH_MAX_LEN];
    struct reader scan = reader_of((struct view){body->bytes, body->len});
    struct view text;
    (void) snprintf(path, sizeof(path), "data.batch_results.%zu.error", position);
    return json_scan_to(&scan, path) && json_scan_string(&scan, &text) && text.len > 0;
}

/* CKR_DATA_INVALID: no reply to this batch. */
static CK_RV take_values(const struct batch *batch, struct secret *body)
{
    _cleanup_(json_free) struct json *rest = NULL;
    for (size_t i = 0; i < batch->count; i++) {
        char path[PATH_MAX_LEN];
        (void) snprintf(path, sizeof(path), "data.batch_results.%zu.plaintext", i);
        if (has_error(body, i))
            continue;
        TRY(json_base64_take(body, path, 1, VAULT_PLAINTEXT_LEN_MAX, &batch->sent[i]->value));
    }
    TRY(json_parse((struct view){body->bytes, body->len}, &rest));
    return json_count(rest, "data.batch_results") == batch->count ? CKR_OK : CKR_DATA_INVALID;
}

CK_RV vault_batch_unwrap(const struct vault *vault, const struct source_call *call,
                         struct source_item *items, size_t count)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(secret_clear) struct secret body = {0};
    struct batch batch = {.count = 0};
    int64_t version;
    for (size_t i = 0; i < count && i < SOURCE_ITEMS_MAX; i++) {
        if (vault_ciphertext_version(items[i].wrapped, &version))
            batch.sent[batch.count++] = &items[i];
    }
    if (batch.count == 0)
        return CKR_OK;
    TRY(make_body(vault, &batch, &body));
    TRY(vault_request_send(vault, call, &unwrap_act, &body, &result));
    CK_RV rv = take_values(&batch, &result.body);
    for (size_t i = 0; i < batch.count && rv != CKR_OK; i++)
        secret_clear(&batch.sent[i]->value);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&vault->server.http, &result,
                                      "it has not one result for each ciphertext");
    return rv;
}
