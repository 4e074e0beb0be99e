#include "tokens/aws_route.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/cause.h"
#include "tokens/aws_profile.h"
#include "tokens/aws_route_internal.h"
#include "tokens/http_url.h"

#define DEFAULT_PROFILE "default"
#define CONTAINER_HOST "http://169.254.170.2"
#define INSTANCE_URL "http://169.254.169.254"

const char *aws_route_variable(const char *name)
{
    const char *text = secure_getenv(name);
    return text == NULL || *text == '\0' ? NULL : text;
}

static struct view view_variable(const char *name)
{
    const char *text = aws_route_variable(name);
    struct view none = {0};
    return text == NULL ? none : view_text(text);
}

CK_RV aws_route_fail_memory(const char *token)
{
    return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its AWS credentials", token);
}

/* Only what is malformed has a cause of its own; its line is the caller's. */
static CK_RV fill(const char *token, const struct aws_keys *keys, struct aws_route *route)
{
    route->base = AWS_BASE_KEYS;
    CK_RV rv = aws_credentials_fill(keys, &route->keys);
    return rv == CKR_OK || rv == CKR_DATA_INVALID ? rv : aws_route_fail_memory(token);
}

static CK_RV set_where(const char *token, enum aws_base base, char *where, struct aws_route *route)
{
    if (where == NULL)
        return aws_route_fail_memory(token);
    route->base = base;
    mem_free(route->where);
    route->where = where;
    return CKR_OK;
}

/* ---- PIN and environment ---- */

/* Up to the next colon, which goes too. */
static struct view next_part(struct view *text)
{
    const unsigned char *colon = text->len == 0 ? NULL : memchr(text->bytes, ':', text->len);
    size_t len = colon == NULL ? text->len : (size_t) (colon - text->bytes);
    struct view part = {text->bytes, len};
    size_t taken = colon == NULL ? len : len + 1;
    *text = (struct view){text->bytes + taken, text->len - taken};
    return part;
}

static CK_RV from_pin(const char *token, struct view pin, struct aws_route *route)
{
    struct aws_keys keys;
    keys.id = next_part(&pin);
    keys.secret = next_part(&pin);
    keys.session_token = pin;
    CK_RV rv = fill(token, &keys, route);
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                          "token '%s': what was given as its PIN are no AWS credentials; log in "
                          "with access_key_id:secret_access_key, and :session_token behind it for "
                          "temporary ones",
                          token);
    return rv;
}

static CK_RV from_environment(const char *token, struct aws_route *route)
{
    struct aws_keys keys = {
        .id = view_variable("AWS_ACCESS_KEY_ID"),
        .secret = view_variable("AWS_SECRET_ACCESS_KEY"),
        .session_token = view_variable("AWS_SESSION_TOKEN"),
    };
    CK_RV rv = fill(token, &keys, route);
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': %s, but with AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN "
                          "it makes no AWS credentials; set them as AWS gave them, or unset all "
                          "three",
                          token,
                          keys.id.len > 0 ? "AWS_ACCESS_KEY_ID is set"
                                          : "AWS_ACCESS_KEY_ID is wanted by credential_source");
    return rv;
}

static CK_RV from_web_identity_variables(const char *token, struct aws_route *route)
{
    const struct aws_role_views role = {.arn = view_variable("AWS_ROLE_ARN"),
                                        .session_name = view_variable("AWS_ROLE_SESSION_NAME")};
    if (role.arn.len == 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': AWS_WEB_IDENTITY_TOKEN_FILE is set, and AWS_ROLE_ARN is "
                          "not; set the role to be assumed, or unset both",
                          token);
    TRY(aws_route_add_role(token, "AWS_ROLE_ARN", &role, route));
    return set_where(token, AWS_BASE_WEB_IDENTITY,
                     mem_strdup(aws_route_variable("AWS_WEB_IDENTITY_TOKEN_FILE")), route);
}

/* ---- container and instance ---- */

static CK_RV from_container(const char *token, struct aws_route *route)
{
    struct http_target target;
    const char *relative = aws_route_variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = aws_route_variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (relative == NULL && full == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': credential_source is EcsContainer, and neither "
                          "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor _FULL_URI is set; this is no "
                          "container of ECS or EKS, or it has no role",
                          token);
    char *url = relative != NULL ? mem_format("%s%s", CONTAINER_HOST, relative) : mem_strdup(full);
    TRY(set_where(token, AWS_BASE_CONTAINER, url, route));
    const char *fault = relative != NULL && relative[0] != '/'
                            ? "a path that begins with a slash"
                            : http_url_read_near(route->where, &target);
    if (fault != NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': %s must be %s; plain http goes to a loopback or link-local "
                          "address only",
                          token,
                          relative != NULL ? "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
                                           : "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                          fault);
    return CKR_OK;
}

static bool instance_is_disabled(void)
{
    const char *text = aws_route_variable("AWS_EC2_METADATA_DISABLED");
    return text != NULL && strcasecmp(text, "true") == 0;
}

static CK_RV from_instance(const char *token, struct aws_route *route)
{
    struct http_target target;
    const char *named = aws_route_variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    if (instance_is_disabled())
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': credential_source is Ec2InstanceMetadata, and "
                          "AWS_EC2_METADATA_DISABLED is true; unset it",
                          token);
    TRY(set_where(token, AWS_BASE_INSTANCE, mem_strdup(named == NULL ? INSTANCE_URL : named),
                  route));
    const char *fault = http_url_read_near(route->where, &target);
    if (fault != NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': AWS_EC2_METADATA_SERVICE_ENDPOINT must be %s; plain http "
                          "goes to a loopback or link-local address only",
                          token, fault);
    size_t len = strlen(route->where);
    while (len > 0 && route->where[len - 1] == '/')
        route->where[--len] = '\0';
    return CKR_OK;
}

/* ---- profiles ---- */

/* What one call looks through; the views of its profiles live as long as it does. */
struct search {
    const struct aws_identity *identity;
    char *profile;
    char *paths[2]; /* by enum aws_profile_file; NULL: none, HOME is not set */
    struct aws_profile profiles[2];
};

static void search_clear(struct search *search)
{
    for (size_t i = 0; i < 2; i++) {
        mem_free(search->paths[i]);
        aws_profile_clear(&search->profiles[i]);
    }
    mem_free(search->profile);
}

static CK_RV read_file(struct search *search, enum aws_profile_file kind)
{
    static const struct {
        const char *variable;
        const char *path;
    } places[] = {
        [AWS_CREDENTIALS_FILE] = {"AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"},
        [AWS_CONFIG_FILE] = {"AWS_CONFIG_FILE", ".aws/config"},
    };
    const char *token = search->identity->token;
    const char *path = aws_route_variable(places[kind].variable);
    const char *home = aws_route_variable("HOME");
    if (path == NULL && home == NULL)
        return CKR_OK;
    if (search->paths[kind] == NULL)
        search->paths[kind] =
            path != NULL ? mem_strdup(path) : mem_format("%s/%s", home, places[kind].path);
    if (search->paths[kind] == NULL)
        return aws_route_fail_memory(token);
    aws_profile_clear(&search->profiles[kind]);
    return aws_profile_read(token, kind, search->paths[kind], search->profile,
                            &search->profiles[kind]);
}

/* `name` may be in the profiles that are forgotten. */
static CK_RV read_profile(struct search *search, struct view name)
{
    char *copy = mem_format("%.*s", (int) name.len, (const char *) name.bytes);
    if (copy == NULL)
        return aws_route_fail_memory(search->identity->token);
    mem_free(search->profile);
    search->profile = copy;
    TRY(read_file(search, AWS_CREDENTIALS_FILE));
    return read_file(search, AWS_CONFIG_FILE);
}

static struct view setting(const struct search *search, size_t offset)
{
    for (size_t i = 0; i < 2; i++) {
        const char *profile = (const char *) &search->profiles[i];
        struct view value = *(const struct view *) (profile + offset);
        if (value.len > 0)
            return value;
    }
    return (struct view){0};
}
#define SETTING(search, name) setting(search, offsetof(struct aws_profile, name))

static const char *place_of(const struct search *search, enum aws_profile_file kind)
{
    return search->paths[kind] != NULL ? search->paths[kind] : "(HOME is not set)";
}

/* Nobody has refused anything: as with a missing Vault token, this ends no lease before its grace.
 */
static CK_RV fail_nowhere(const struct search *search)
{
    const char *environment = search->identity->profile != NULL
                                  ? "aws_profile is set, so that the environment does not count"
                                  : "AWS_ACCESS_KEY_ID is not set";
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                      "token '%s': no AWS credentials: %s, and the profile '%s' has no "
                      "aws_access_key_id, role_arn or credential_process in %s and in %s; put them "
                      "into one of these places",
                      search->identity->token, environment, search->profile,
                      place_of(search, AWS_CREDENTIALS_FILE), place_of(search, AWS_CONFIG_FILE));
}

/* All three from one file, never a secret of one and an id of the other. */
static CK_RV from_profile_keys(const struct search *search, struct aws_route *route)
{
    size_t kind = search->profiles[AWS_CREDENTIALS_FILE].access_key_id.len > 0
                      ? AWS_CREDENTIALS_FILE
                      : AWS_CONFIG_FILE;
    const struct aws_profile *profile = &search->profiles[kind];
    struct aws_keys keys = {profile->access_key_id, profile->secret_access_key,
                            profile->session_token};
    if (keys.id.len == 0)
        return fail_nowhere(search);
    CK_RV rv = fill(search->identity->token, &keys, route);
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the profile '%s' in %s has an aws_access_key_id, but with "
                          "its aws_secret_access_key and aws_session_token it makes no AWS "
                          "credentials; write them as AWS gave them",
                          search->identity->token, search->profile, search->paths[kind]);
    return rv;
}

static CK_RV from_credential_source(const struct search *search, struct aws_route *route)
{
    const char *token = search->identity->token;
    struct view source = SETTING(search, credential_source);
    if (view_equal(source, view_text("Environment")))
        return from_environment(token, route);
    if (view_equal(source, view_text("EcsContainer")))
        return from_container(token, route);
    if (view_equal(source, view_text("Ec2InstanceMetadata")))
        return from_instance(token, route);
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                      "token '%s': the profile '%s' has a role_arn, and nobody to assume it: set "
                      "its source_profile, web_identity_token_file, or credential_source = "
                      "Environment, EcsContainer or Ec2InstanceMetadata",
                      token, search->profile);
}

/* The profile has no role. */
static CK_RV end_at_profile(const struct search *search, struct aws_route *route)
{
    struct view command = SETTING(search, credential_process);
    bool is_last = search->identity->profile != NULL || route->role_count > 0;
    bool has_container = aws_route_variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != NULL ||
                         aws_route_variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") != NULL;
    if (SETTING(search, access_key_id).len > 0)
        return from_profile_keys(search, route);
    if (command.len > 0)
        return set_where(search->identity->token, AWS_BASE_PROCESS,
                         mem_format("%.*s", (int) command.len, (const char *) command.bytes),
                         route);
    if (!is_last && has_container)
        return from_container(search->identity->token, route);
    if (!is_last && !instance_is_disabled())
        return from_instance(search->identity->token, route);
    return fail_nowhere(search);
}

/* Follows source_profile from role to role; the route's are in the wrong order meanwhile. */
static CK_RV from_profiles(struct search *search, struct aws_route *route)
{
    const char *token = search->identity->token;
    for (;;) {
        const struct aws_role_views role = {SETTING(search, role_arn), SETTING(search, external_id),
                                            SETTING(search, role_session_name),
                                            SETTING(search, duration_seconds)};
        struct view file = SETTING(search, web_identity_token_file);
        struct view source = SETTING(search, source_profile);
        if (role.arn.len == 0)
            return end_at_profile(search, route);
        TRY(aws_route_add_role(token, search->profile, &role, route));
        if (file.len > 0)
            return set_where(token, AWS_BASE_WEB_IDENTITY,
                             mem_format("%.*s", (int) file.len, (const char *) file.bytes), route);
        if (source.len == 0)
            return from_credential_source(search, route);
        if (view_equal(source, view_text(search->profile)))
            return from_profile_keys(search, route);
        TRY(read_profile(search, source));
    }
}

/* ---- all of it ---- */

static CK_RV find_region(const struct search *search, struct aws_credentials *credentials)
{
    struct view places[] = {
        view_text(search->identity->region),
        view_variable("AWS_REGION"),
        view_variable("AWS_DEFAULT_REGION"),
        SETTING(search, region),
    };
    size_t count = sizeof(places) / sizeof(places[0]);
    size_t i = 0;
    while (i < count && places[i].len == 0)
        i++;
    if (i == count)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the AWS Region of its key is not known: set aws_region, "
                          "give key_id as an ARN, set AWS_REGION, or set region in the profile "
                          "'%s'",
                          search->identity->token, search->profile);
    if (!aws_region_is_valid(places[i]))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the AWS Region in AWS_REGION, AWS_DEFAULT_REGION or the "
                          "profile '%s' is malformed; it looks like eu-central-1",
                          search->identity->token, search->profile);
    memcpy(credentials->region, places[i].bytes, places[i].len);
    credentials->region[places[i].len] = '\0';
    return CKR_OK;
}

static bool region_is_at_hand(const struct aws_identity *identity)
{
    return identity->region[0] != '\0' || aws_route_variable("AWS_REGION") != NULL ||
           aws_route_variable("AWS_DEFAULT_REGION") != NULL;
}

static CK_RV find(struct search *search, struct view pin, struct aws_route *route)
{
    const struct aws_identity *identity = search->identity;
    const char *named = aws_route_variable("AWS_PROFILE");
    const char *profile = identity->profile != NULL ? identity->profile
                          : named != NULL           ? named
                                                    : DEFAULT_PROFILE;
    bool by_variables = pin.len == 0 && identity->profile == NULL;
    bool has_keys = by_variables && aws_route_variable("AWS_ACCESS_KEY_ID") != NULL;
    bool has_identity = by_variables && aws_route_variable("AWS_WEB_IDENTITY_TOKEN_FILE") != NULL;
    bool from_files = pin.len == 0 && !has_keys && !has_identity;
    search->profile = mem_strdup(profile);
    if (search->profile == NULL)
        return aws_route_fail_memory(identity->token);
    if (from_files || !region_is_at_hand(identity))
        TRY(read_profile(search, view_text(profile)));
    TRY(find_region(search, &route->keys));
    if (pin.len > 0)
        return from_pin(identity->token, pin, route);
    if (has_keys)
        return from_environment(identity->token, route);
    if (has_identity)
        return from_web_identity_variables(identity->token, route);
    return from_profiles(search, route);
}

CK_RV aws_route_find(const struct aws_identity *identity, struct view pin,
                     struct aws_route *ret_route)
{
    _cleanup_(aws_route_clear) struct aws_route route = {.base = AWS_BASE_KEYS};
    _cleanup_(search_clear) struct search search = {.identity = identity};
    TRY(find(&search, pin, &route));
    aws_route_reverse_roles(&route);
    if (identity->role.arn != NULL)
        TRY(aws_route_copy_role(identity, &route));
    *ret_route = route;
    route = (struct aws_route){.base = AWS_BASE_KEYS};
    return CKR_OK;
}
