#include "tokens/gcp_secret.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "tokens/ciphertext.h"
#include "tokens/gcp_grant.h"
#include "tokens/gcp_request.h"
#include "tokens/http_url.h"
#include "tokens/json.h"

#define PARTS_MAX 6
#define PART_LEN_MAX 255
#define LATEST "latest"
#define MORE_IN_NAMES "-_"
#define MORE_IN_PROJECTS "-_.:" /* "example.com:name" */

static const char is_gone[] = "a destroyed version does not come back: add one with gcloud secrets "
                              "versions add";

static const struct gcp_refusal refusals[] = {
    {GCP_REFUSAL_PRECONDITION, "DESTROYED", INDEXKEY_CAUSE_DELETED,
     "the secret's version is destroyed", is_gone},
    {GCP_REFUSAL_PRECONDITION, "DISABLED", INDEXKEY_CAUSE_DISABLED,
     "the secret's version is disabled", "gcloud secrets versions enable"},
    {GCP_REFUSAL_PRECONDITION, "KMS", INDEXKEY_CAUSE_DISABLED,
     "the KMS key that protects the secret itself cannot be used", "look at that key's versions"},
    {"NOT_FOUND", NULL, INDEXKEY_CAUSE_CONFIG,
     "there is no such secret or version, or it was deleted",
     "write it with gcloud secrets create or versions add, or correct secretmanager:NAME"},
    {"PERMISSION_DENIED", "SERVICE_DISABLED", INDEXKEY_CAUSE_DISABLED,
     "the Secret Manager API is disabled in the project",
     "gcloud services enable secretmanager.googleapis.com"},
    {"PERMISSION_DENIED", "SCOPE_INSUFFICIENT", INDEXKEY_CAUSE_CREDENTIAL,
     "its access token has not the scope cloud-platform",
     "give the machine or the login the scope cloud-platform"},
    {"PERMISSION_DENIED", "secretmanager.versions.access", INDEXKEY_CAUSE_DENIED,
     "this identity has not the permission",
     "grant it roles/secretmanager.secretAccessor on the secret"},
    {"INVALID_ARGUMENT", NULL, INDEXKEY_CAUSE_CONFIG, "it does not take the name for one",
     "correct secretmanager:NAME"},
    {"UNIMPLEMENTED", NULL, INDEXKEY_CAUSE_CONFIG, "this is no Secret Manager",
     "check secretmanager_endpoint"},
    {.status = NULL},
};

const char *gcp_secret_endpoint_fault(const char *value)
{
    struct http_target target;
    const char *fault = http_url_read(value, &target);
    if (fault != NULL)
        return fault;
    return target.has_path ? "a URL without a path: https://HOST[:PORT]" : NULL;
}

/* ---- names ---- */

/* Views into what was configured. */
struct name {
    struct view project; /* empty: the token's */
    struct view secret;
    struct view version;
};

/* Letters, digits and those of `more`: it goes into a path as it is. */
static bool is_part(struct view part, const char *more)
{
    for (size_t i = 0; i < part.len; i++) {
        unsigned char c = part.bytes[i];
        if (c >= 0x80 || (!isalnum(c) && (c == '\0' || strchr(more, c) == NULL)))
            return false;
    }
    return part.len > 0 && part.len <= PART_LEN_MAX && part.bytes[0] != '.';
}

/* 0 when one of them is malformed, or there are too many. */
static size_t split(const char *text, struct view parts[PARTS_MAX])
{
    for (size_t count = 0; count < PARTS_MAX;) {
        size_t len = strcspn(text, "/");
        parts[count] = (struct view){(const unsigned char *) text, len};
        if (!is_part(parts[count++], MORE_IN_PROJECTS))
            return 0;
        if (text[len] == '\0')
            return count;
        text += len + 1;
    }
    return 0;
}

static bool is_word(struct view part, const char *word)
{
    return view_equal(part, view_text(word));
}

static bool take_apart(const char *text, struct name *ret_name)
{
    struct view parts[PARTS_MAX];
    struct name name = {.version = view_text(LATEST)};
    size_t count = split(text, parts);
    size_t at = 0;
    if (count > 3 && is_word(parts[0], "projects") && is_word(parts[2], "secrets")) {
        name.project = parts[1];
        at = 3;
    }
    bool has_version = count == at + 3 && is_word(parts[at + 1], "versions");
    if (count != at + 1 && !has_version)
        return false;
    name.secret = parts[at];
    if (has_version)
        name.version = parts[at + 2];
    if (!is_part(name.secret, MORE_IN_NAMES) || !is_part(name.version, MORE_IN_NAMES))
        return false;
    *ret_name = name;
    return true;
}

static bool is_number(struct view part)
{
    for (size_t i = 0; i < part.len; i++) {
        if (!isdigit(part.bytes[i]))
            return false;
    }
    return part.len > 0;
}

/* Google answers with the project's number, and the number of the version. */
static bool is_answered(const struct name *name, const char *text)
{
    struct view parts[PARTS_MAX];
    return text != NULL && split(text, parts) == PARTS_MAX && is_word(parts[0], "projects") &&
           is_word(parts[2], "secrets") && view_equal(parts[3], name->secret) &&
           is_word(parts[4], "versions") && is_number(parts[5]) &&
           (!is_number(name->version) || view_equal(parts[5], name->version));
}

/* ---- the reply ---- */

static CK_RV take_payload(const struct source_http *http, const struct name *name,
                          struct http_result *result, struct secret *ret_value)
{
    _cleanup_(secret_clear) struct secret value = {0};
    _cleanup_(json_free) struct json *reply = NULL;
    CK_RV rv = json_base64_take(&result->body, "payload.data", 1, CIPHERTEXT_LEN_MAX, &value);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(http, result,
                                      "it has no bytes where Secret Manager puts them");
    TRY(rv);
    rv = json_parse((struct view){result->body.bytes, result->body.len}, &reply);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(http, result, "it is not the JSON of Secret Manager");
    TRY(rv);
    if (!is_answered(name, json_text(reply, "name")))
        return source_http_fail_reply(http, result,
                                      "it is of another secret or version than was asked for");
    if (!gcp_request_crc_is_right(reply, "payload.dataCrc32c",
                                  (struct view){value.bytes, value.len}))
        return source_http_fail_reply(http, result, "its bytes have another checksum than it says");
    *ret_value = secret_move(&value);
    return CKR_OK;
}

/* ---- both ---- */

static char *make_resource(const struct gcp *gcp, const struct name *name)
{
    struct view project = name->project.len > 0 ? name->project : view_text(gcp->project);
    return mem_format("projects/%.*s/secrets/%.*s/versions/%.*s", (int) project.len,
                      (const char *) project.bytes, (int) name->secret.len,
                      (const char *) name->secret.bytes, (int) name->version.len,
                      (const char *) name->version.bytes);
}

CK_RV gcp_secret_read(struct source *source, const struct source_call *call, const char *place,
                      struct secret *ret_value)
{
    static const struct gcp_act act = {
        .method = "access",
        .permission = "secretmanager.versions.access",
        .what = "read a ciphertext",
    };
    struct gcp *gcp = (struct gcp *) source;
    struct name name;
    if (!take_apart(place + strlen(GCP_SECRET_SCHEMES), &name))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': %s is not of the form secretmanager:NAME[/versions/V] or "
                          "secretmanager:projects/P/secrets/NAME[/versions/V]; correct it",
                          gcp->http.token, place);
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(mem_free_pointer) char *resource = make_resource(gcp, &name);
    if (resource == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for a name", gcp->http.token);
    struct source_http http = gcp->http;
    http.service = "Google Secret Manager";
    http.endpoint = gcp->secret_endpoint;
    http.endpoint_key = "secretmanager_endpoint";
    const struct gcp_place where = {
        .http = &http,
        .token = gcp->secret_token,
        .scope = GCP_SCOPE_PLATFORM,
        .resource = resource,
        .refusals = refusals,
    };
    TRY(gcp_request_get(gcp, call, &act, &where, &result));
    return take_payload(&http, &name, &result, ret_value);
}
