#include "tokens/aws_route_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cause.h"

#define ROLE_ARN_LEN_MAX 2048
#define EXTERNAL_ID_LEN_MAX 1224
#define SESSION_NAME_LEN_MAX 64
#define DURATION_DIGITS_MAX 6
#define DECIMAL 10

void aws_role_clear(struct aws_role *role)
{
    mem_free(role->arn);
    mem_free(role->external_id);
    mem_free(role->session_name);
    *role = (struct aws_role){.arn = NULL};
}

void aws_route_clear(struct aws_route *route)
{
    for (size_t i = 0; i < route->role_count; i++)
        aws_role_clear(&route->roles[i]);
    route->role_count = 0;
    mem_free(route->where);
    route->where = NULL;
    aws_credentials_clear(&route->keys);
}

/* ---- what STS takes ---- */

static bool is_of(const char *text, const char *marks, size_t len_max)
{
    size_t len = 0;
    while (isalnum((unsigned char) text[len]) ||
           (text[len] != '\0' && strchr(marks, text[len]) != NULL))
        len++;
    return text[len] == '\0' && len >= 2 && len <= len_max;
}

const char *aws_role_arn_fault(const char *arn)
{
    static const char must[] = "the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME";
    const char *iam = strstr(arn, ":iam::");
    bool good = strncmp(arn, "arn:", strlen("arn:")) == 0 && iam != NULL &&
                strstr(iam, ":role/") != NULL &&
                aws_credentials_is_text(view_text(arn), ROLE_ARN_LEN_MAX);
    return good ? NULL : must;
}

const char *aws_role_external_id_fault(const char *external_id)
{
    return is_of(external_id, "_+=,.@:/-", EXTERNAL_ID_LEN_MAX)
               ? NULL
               : "2 to 1224 letters, digits and _+=,.@:/-";
}

const char *aws_role_session_name_fault(const char *name)
{
    return is_of(name, "_+=,.@-", SESSION_NAME_LEN_MAX) ? NULL
                                                        : "2 to 64 letters, digits and _+=,.@-";
}

/* ---- roles of a route ---- */

static bool read_duration(struct view text, int64_t *ret_duration_s)
{
    char digits[DURATION_DIGITS_MAX + 1] = "";
    *ret_duration_s = AWS_ROLE_DURATION_S;
    if (text.len == 0)
        return true;
    for (size_t i = 0; i < text.len; i++) {
        if (i == DURATION_DIGITS_MAX || !isdigit(text.bytes[i]))
            return false;
        digits[i] = (char) text.bytes[i];
    }
    *ret_duration_s = strtol(digits, NULL, DECIMAL);
    return *ret_duration_s >= AWS_ROLE_DURATION_MIN_S && *ret_duration_s <= AWS_ROLE_DURATION_MAX_S;
}

/* NULL in `*ret_copy` for an empty text. */
static CK_RV copy_text(struct view text, char **ret_copy)
{
    if (text.len == 0)
        return CKR_OK;
    *ret_copy = mem_format("%.*s", (int) text.len, (const char *) text.bytes);
    return *ret_copy == NULL ? CKR_HOST_MEMORY : CKR_OK;
}

static CK_RV copy_role(const struct aws_role_views *views, struct aws_role *role)
{
    TRY(copy_text(views->arn, &role->arn));
    TRY(copy_text(views->external_id, &role->external_id));
    return copy_text(views->session_name, &role->session_name);
}

static CK_RV fail_role(const char *token, const char *place, const char *what, const char *fault)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG, "token '%s': %s of '%s' must be %s", token, what,
                      place, fault);
}

CK_RV aws_route_add_role(const char *token, const char *place, const struct aws_role_views *views,
                         struct aws_route *route)
{
    if (route->role_count == AWS_ROLE_COUNT_MAX)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': source_profile leads through more than %d roles, or in a "
                          "circle, by '%s'",
                          token, AWS_ROLE_COUNT_MAX, place);
    struct aws_role *role = &route->roles[route->role_count];
    const char *fault;
    *role = (struct aws_role){.arn = NULL};
    route->role_count++;
    if (!read_duration(views->duration, &role->duration_s))
        return fail_role(token, place, "duration_seconds", "900 to 43200");
    if (copy_role(views, role) != CKR_OK)
        return aws_route_fail_memory(token);
    fault = aws_role_arn_fault(role->arn);
    if (fault != NULL)
        return fail_role(token, place, "role_arn", fault);
    fault = role->external_id == NULL ? NULL : aws_role_external_id_fault(role->external_id);
    if (fault != NULL)
        return fail_role(token, place, "external_id", fault);
    fault = role->session_name == NULL ? NULL : aws_role_session_name_fault(role->session_name);
    if (fault != NULL)
        return fail_role(token, place, "role_session_name", fault);
    return CKR_OK;
}

static struct view view_or_none(const char *text)
{
    struct view none = {0};
    return text == NULL ? none : view_text(text);
}

CK_RV aws_route_copy_role(const struct aws_identity *identity, struct aws_route *route)
{
    const struct aws_role *role = &identity->role;
    const struct aws_role_views views = {.arn = view_or_none(role->arn),
                                         .external_id = view_or_none(role->external_id),
                                         .session_name = view_or_none(role->session_name)};
    TRY(aws_route_add_role(identity->token, "role_arn", &views, route));
    route->roles[route->role_count - 1].duration_s = role->duration_s;
    return CKR_OK;
}

void aws_route_reverse_roles(struct aws_route *route)
{
    for (size_t i = 0; i < route->role_count / 2; i++) {
        struct aws_role kept = route->roles[i];
        route->roles[i] = route->roles[route->role_count - 1 - i];
        route->roles[route->role_count - 1 - i] = kept;
    }
}

/* ---- what is kept belongs to a route ---- */

bool aws_route_is_direct(const struct aws_route *route)
{
    return route->base == AWS_BASE_KEYS && route->role_count == 0;
}

/* Each part is hashed apart, so that none can end as another begins. */
static CK_RV mix(struct view part, unsigned char chain[2 * SHA256_LEN])
{
    TRY(crypto_sha256(part, chain + SHA256_LEN));
    return crypto_sha256((struct view){chain, (size_t) 2 * SHA256_LEN}, chain);
}

static CK_RV mix_role(const struct aws_role *role, unsigned char chain[2 * SHA256_LEN])
{
    char duration[DURATION_DIGITS_MAX + 1];
    (void) snprintf(duration, sizeof(duration), "%d", (int) role->duration_s);
    TRY(mix(view_text(role->arn), chain));
    TRY(mix(view_or_none(role->external_id), chain));
    TRY(mix(view_or_none(role->session_name), chain));
    return mix(view_text(duration), chain);
}

CK_RV aws_route_mark(const struct aws_route *route, char ret_mark[AWS_ROUTE_MARK_SIZE])
{
    unsigned char chain[2 * SHA256_LEN] = {(unsigned char) route->base};
    const struct secret *secret = &route->keys.secret_access_key;
    const struct secret *session_token = &route->keys.session_token;
    TRY(mix(view_or_none(route->where), chain));
    TRY(mix(view_text(route->keys.access_key_id), chain));
    TRY(mix((struct view){secret->bytes, secret->len}, chain));
    TRY(mix((struct view){session_token->bytes, session_token->len}, chain));
    for (size_t i = 0; i < route->role_count; i++)
        TRY(mix_role(&route->roles[i], chain));
    for (size_t i = 0; i < SHA256_LEN; i++)
        (void) snprintf(ret_mark + 2 * i, 3, "%02x", chain[i]);
    secret_wipe(chain, sizeof(chain));
    return CKR_OK;
}
