#include "tokens/aws_replicas.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

#define BLANKS " ,"

/* "REGION" or "REGION=ENDPOINT"; false at the end of the list. */
static bool next_item(const char **at, struct view *ret_region, struct view *ret_endpoint)
{
    *at += strspn(*at, BLANKS);
    size_t len = strcspn(*at, BLANKS);
    const char *equals = memchr(*at, '=', len);
    size_t region_len = equals == NULL ? len : (size_t) (equals - *at);
    *ret_region = (struct view){(const unsigned char *) *at, region_len};
    *ret_endpoint = (struct view){NULL, 0};
    if (equals != NULL)
        *ret_endpoint = (struct view){(const unsigned char *) equals + 1, len - region_len - 1};
    *at += len;
    return len > 0;
}

static bool is_endpoint(struct view text)
{
    char url[AWS_ENDPOINT_LEN_MAX];
    struct http_target target;
    if (!aws_credentials_is_text(text, sizeof(url) - 1))
        return false;
    memcpy(url, text.bytes, text.len);
    url[text.len] = '\0';
    return http_url_read(url, &target) == NULL && !target.has_path;
}

const char *aws_replicas_fault(const char *value)
{
    static const char must[] =
        "at most 8 AWS Regions, each with its endpoint if that is not AWS's own: eu-west-1, "
        "us-east-1=https://HOST";
    struct view region;
    struct view endpoint;
    size_t count = 0;
    while (next_item(&value, &region, &endpoint)) {
        if (++count > AWS_REPLICA_COUNT_MAX || !aws_region_is_valid(region) ||
            (endpoint.bytes != NULL && !is_endpoint(endpoint)))
            return must;
    }
    return count == 0 ? must : NULL;
}

CK_RV aws_replicas_read(const char *value, struct aws *aws)
{
    struct view region;
    struct view endpoint;
    aws->replicas = mem_calloc(AWS_REPLICA_COUNT_MAX, sizeof(*aws->replicas));
    if (aws->replicas == NULL)
        return CKR_HOST_MEMORY;
    while (next_item(&value, &region, &endpoint)) {
        struct aws_replica *replica = &aws->replicas[aws->replica_count++];
        memcpy(replica->region, region.bytes, region.len);
        if (endpoint.bytes == NULL)
            continue;
        replica->endpoint = mem_format("%.*s", (int) endpoint.len, (const char *) endpoint.bytes);
        if (replica->endpoint == NULL)
            return CKR_HOST_MEMORY;
    }
    return CKR_OK;
}

void aws_replicas_free(struct aws *aws)
{
    for (size_t i = 0; i < aws->replica_count; i++)
        mem_free(aws->replicas[i].endpoint);
    mem_free(aws->replicas);
}

/* Nobody of this Region has answered, or its KMS is ill. */
static bool is_out_of_reach(CK_RV rv)
{
    enum indexkey_cause cause = cause_last();
    return rv != CKR_OK && (cause == INDEXKEY_CAUSE_UNREACHABLE || cause == INDEXKEY_CAUSE_DNS ||
                            cause == INDEXKEY_CAUSE_TIMEOUT || cause == INDEXKEY_CAUSE_SERVER);
}

static CK_RV send_one(struct aws_exchange *exchange, const struct aws_act *act,
                      aws_replicas_compose *compose, void *context, struct http_result *ret_result)
{
    _cleanup_(secret_clear) struct secret body = {0};
    TRY(compose(context, exchange->session.credentials.region, &body));
    cause_clear();
    return aws_exchange_send(exchange, act, &body, ret_result);
}

CK_RV aws_replicas_send(struct aws_exchange *exchange, const struct aws_act *act,
                        aws_replicas_compose *compose, void *context,
                        struct http_result *ret_result)
{
    const struct source_call *whole = exchange->call;
    const struct aws *aws = exchange->aws;
    struct source_call part = *whole;
    part.deadline_ms = clock_boot_ms() +
                       (whole->deadline_ms - clock_boot_ms()) / (int64_t) (aws->replica_count + 1);
    exchange->call = aws->replica_count == 0 ? whole : &part;
    CK_RV rv = send_one(exchange, act, compose, context, ret_result);
    for (size_t i = 0; i < aws->replica_count && is_out_of_reach(rv); i++) {
        const struct aws_replica *replica = &aws->replicas[i];
        int64_t now_ms = clock_boot_ms();
        if (atomic_load(whole->cancelled) || now_ms >= whole->deadline_ms)
            break;
        part.deadline_ms =
            now_ms + (whole->deadline_ms - now_ms) / (int64_t) (aws->replica_count - i);
        log_line(LOG_LEVEL_WARNING, "token '%s': asks the key's replica in %s instead",
                 exchange->http.token, replica->region);
        aws_exchange_move(exchange, &part, replica->region, replica->endpoint);
        rv = send_one(exchange, act, compose, context, ret_result);
    }
    exchange->call = whole;
    if (rv == CKR_OK)
        cause_clear();
    return rv;
}
