#include "tokens/aws_credentials.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cause.h"
#include "tokens/aws_profile.h"

#define SECRET_LEN_MAX 512
#define DEFAULT_PROFILE "default"

/* A set of credentials as it was found; nothing of it is checked yet. */
struct found {
    struct view id;
    struct view secret;
    struct view session_token;
};

/* What one call looks through; the views of its profiles live as long as it does. */
struct search {
    const struct aws_identity *identity;
    const char *profile;
    char *paths[2]; /* by enum aws_profile_file; NULL: none, HOME is not set */
    struct aws_profile profiles[2];
};

static void search_clear(struct search *search)
{
    for (size_t i = 0; i < 2; i++) {
        mem_free(search->paths[i]);
        aws_profile_clear(&search->profiles[i]);
    }
}

void aws_credentials_clear(struct aws_credentials *credentials)
{
    secret_clear(&credentials->secret_access_key);
    secret_clear(&credentials->session_token);
}

/* An empty variable is as good as none. */
static const char *variable(const char *name)
{
    const char *text = secure_getenv(name);
    return text == NULL || *text == '\0' ? NULL : text;
}

static struct view view_variable(const char *name)
{
    const char *text = variable(name);
    struct view none = {0};
    return text == NULL ? none : view_text(text);
}

/* Printable, without blanks: it goes into headers (RFC 9110, 5.5). */
static bool is_graph(struct view text, size_t len_max)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] <= ' ' || text.bytes[i] > '~')
            return false;
    }
    return text.len > 0 && text.len <= len_max;
}

/* AWS's own are words ("\w"); other characters would end its field of the Authorization header. */
static bool is_id(struct view text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!isalnum(text.bytes[i]) && strchr("_-.", text.bytes[i]) == NULL)
            return false;
    }
    return is_graph(text, AWS_ACCESS_KEY_ID_LEN_MAX);
}

static bool is_complete(const struct found *found)
{
    if (found->id.bytes == NULL || found->secret.bytes == NULL)
        return false;
    return is_id(found->id) && is_graph(found->secret, SECRET_LEN_MAX) &&
           (found->session_token.len == 0 ||
            is_graph(found->session_token, AWS_SESSION_TOKEN_LEN_MAX));
}

static CK_RV copy(const struct found *found, struct aws_credentials *credentials)
{
    memcpy(credentials->access_key_id, found->id.bytes, found->id.len);
    credentials->access_key_id[found->id.len] = '\0';
    TRY(secret_from(found->secret.bytes, found->secret.len, &credentials->secret_access_key));
    if (found->session_token.len == 0)
        return CKR_OK;
    return secret_from(found->session_token.bytes, found->session_token.len,
                       &credentials->session_token);
}

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

static CK_RV from_pin(const char *token, struct view pin, struct aws_credentials *credentials)
{
    struct found found;
    found.id = next_part(&pin);
    found.secret = next_part(&pin);
    found.session_token = pin;
    if (!is_complete(&found))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                          "token '%s': what was given as its PIN are no AWS credentials; log in "
                          "with access_key_id:secret_access_key, and :session_token behind it for "
                          "temporary ones",
                          token);
    return copy(&found, credentials);
}

static CK_RV from_environment(const char *token, struct aws_credentials *credentials)
{
    struct found found = {
        .id = view_variable("AWS_ACCESS_KEY_ID"),
        .secret = view_variable("AWS_SECRET_ACCESS_KEY"),
        .session_token = view_variable("AWS_SESSION_TOKEN"),
    };
    if (!is_complete(&found))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': AWS_ACCESS_KEY_ID is set, but with AWS_SECRET_ACCESS_KEY "
                          "and AWS_SESSION_TOKEN it makes no AWS credentials; set them as AWS gave "
                          "them, or unset all three",
                          token);
    return copy(&found, credentials);
}

static CK_RV read_profile(struct search *search, enum aws_profile_file kind)
{
    static const struct {
        const char *variable;
        const char *path;
    } places[] = {
        [AWS_CREDENTIALS_FILE] = {"AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"},
        [AWS_CONFIG_FILE] = {"AWS_CONFIG_FILE", ".aws/config"},
    };
    const char *token = search->identity->token;
    const char *path = variable(places[kind].variable);
    const char *home = variable("HOME");
    if (path == NULL && home == NULL)
        return CKR_OK;
    search->paths[kind] =
        path != NULL ? mem_strdup(path) : mem_format("%s/%s", home, places[kind].path);
    if (search->paths[kind] == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its AWS credentials", token);
    return aws_profile_read(token, kind, search->paths[kind], search->profile,
                            &search->profiles[kind]);
}

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
                      "aws_access_key_id in %s and in %s; put them into one of these places",
                      search->identity->token, environment, search->profile,
                      place_of(search, AWS_CREDENTIALS_FILE), place_of(search, AWS_CONFIG_FILE));
}

/* All three from one file, never a secret of one and an id of the other. */
static CK_RV from_profiles(const struct search *search, struct aws_credentials *credentials)
{
    size_t kind = search->profiles[AWS_CREDENTIALS_FILE].access_key_id.len > 0
                      ? AWS_CREDENTIALS_FILE
                      : AWS_CONFIG_FILE;
    const struct aws_profile *profile = &search->profiles[kind];
    struct found found = {profile->access_key_id, profile->secret_access_key,
                          profile->session_token};
    if (found.id.len == 0)
        return fail_nowhere(search);
    if (!is_complete(&found))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the profile '%s' in %s has an aws_access_key_id, but with "
                          "its aws_secret_access_key and aws_session_token it makes no AWS "
                          "credentials; write them as AWS gave them",
                          search->identity->token, search->profile, search->paths[kind]);
    return copy(&found, credentials);
}

static CK_RV find_region(const struct search *search, struct aws_credentials *credentials)
{
    struct view places[] = {
        view_text(search->identity->region),      view_variable("AWS_REGION"),
        view_variable("AWS_DEFAULT_REGION"),      search->profiles[AWS_CREDENTIALS_FILE].region,
        search->profiles[AWS_CONFIG_FILE].region,
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
    return identity->region[0] != '\0' || variable("AWS_REGION") != NULL ||
           variable("AWS_DEFAULT_REGION") != NULL;
}

CK_RV aws_credentials_read(const struct aws_identity *identity, struct view pin,
                           struct aws_credentials *ret_credentials)
{
    _cleanup_(aws_credentials_clear) struct aws_credentials credentials = {.region = ""};
    _cleanup_(search_clear) struct search search = {.identity = identity};
    const char *named = variable("AWS_PROFILE");
    search.profile = identity->profile != NULL ? identity->profile
                     : named != NULL           ? named
                                               : DEFAULT_PROFILE;
    bool from_variables =
        pin.len == 0 && identity->profile == NULL && variable("AWS_ACCESS_KEY_ID") != NULL;
    bool from_files = pin.len == 0 && !from_variables;
    if (from_files || !region_is_at_hand(identity)) {
        TRY(read_profile(&search, AWS_CREDENTIALS_FILE));
        TRY(read_profile(&search, AWS_CONFIG_FILE));
    }
    if (pin.len > 0)
        TRY(from_pin(identity->token, pin, &credentials));
    else if (from_variables)
        TRY(from_environment(identity->token, &credentials));
    else
        TRY(from_profiles(&search, &credentials));
    TRY(find_region(&search, &credentials));
    *ret_credentials = credentials;
    credentials = (struct aws_credentials){.region = ""};
    return CKR_OK;
}
