#include "tokens/aws_refusal.h"

#include <ctype.h>
#include <string.h>

#include "base/rv.h"
#include "tokens/json.h"

#define XML_CODE "<Code>"

static const char check_secret[] =
    "check the secret access key, and the session token of temporary credentials";
static const char check_id[] = "give it credentials that exist and are active";
static const char renew[] = "get new temporary credentials";
static const char complete[] = "check the credentials, and endpoint if it is set";
static const char allow[] = "allow it in the key policy or in the identity's IAM policy";
static const char try_later[] = "try later; see the AWS Health Dashboard if it lasts";
static const char slow_down[] = "try later, or ask AWS for a higher request quota";
static const char check_names[] = "check key_id, context.* and endpoint";

static const char wrong_signature[] = "its signature is refused: the secret access key is wrong";
static const char unknown_id[] = "its access key id or session token is not known";
static const char over[] = "its session token has expired";
static const char unsigned_call[] = "the request is not taken for a signed one";
static const char no_permission[] = "this identity has not the permission";
static const char failing[] = "the service itself fails";
static const char throttling[] = "the account's request quota is used up";
static const char refused_names[] = "it does not take the names that were sent";

/* The first row that fits is taken. */
static const struct aws_refusal refusals[] = {
    {"AccessDeniedException", NULL, INDEXKEY_CAUSE_DENIED, no_permission, allow},
    {"AccessDenied", NULL, INDEXKEY_CAUSE_DENIED, no_permission, allow},
    {"NotAuthorized", NULL, INDEXKEY_CAUSE_DENIED, no_permission, allow},
    {"UnauthorizedOperation", NULL, INDEXKEY_CAUSE_DENIED, no_permission, allow},
    {"OptInRequired", NULL, INDEXKEY_CAUSE_DENIED,
     "the account may not use the service in this Region", "enable the Region for the account"},

    {"InvalidSignatureException", "scoped to", INDEXKEY_CAUSE_CREDENTIAL,
     "its signature is for another Region than the endpoint's", "check aws_region and endpoint"},
    {"InvalidSignatureException", NULL, INDEXKEY_CAUSE_CREDENTIAL, wrong_signature, check_secret},
    {"SignatureDoesNotMatch", NULL, INDEXKEY_CAUSE_CREDENTIAL, wrong_signature, check_secret},
    {"RequestExpired", NULL, INDEXKEY_CAUSE_CREDENTIAL, "its date is not taken",
     "set this machine's clock"},
    {"RequestTimeTooSkewed", NULL, INDEXKEY_CAUSE_CREDENTIAL, "its date is not taken",
     "set this machine's clock"},
    {"UnrecognizedClientException", NULL, INDEXKEY_CAUSE_CREDENTIAL, unknown_id, check_id},
    {"InvalidClientTokenId", NULL, INDEXKEY_CAUSE_CREDENTIAL, unknown_id, check_id},
    {"InvalidAccessKeyId", NULL, INDEXKEY_CAUSE_CREDENTIAL, unknown_id, check_id},
    {"ExpiredTokenException", NULL, INDEXKEY_CAUSE_CREDENTIAL, over, renew},
    {"ExpiredToken", NULL, INDEXKEY_CAUSE_CREDENTIAL, over, renew},
    {"MissingAuthenticationToken", NULL, INDEXKEY_CAUSE_CREDENTIAL, unsigned_call, complete},
    {"MissingAuthenticationTokenException", NULL, INDEXKEY_CAUSE_CREDENTIAL, unsigned_call,
     complete},
    {"IncompleteSignature", NULL, INDEXKEY_CAUSE_CREDENTIAL, unsigned_call, complete},
    {"IncompleteSignatureException", NULL, INDEXKEY_CAUSE_CREDENTIAL, unsigned_call, complete},

    {"InvalidIdentityToken", NULL, INDEXKEY_CAUSE_CREDENTIAL, unknown_id, check_id},
    {"InvalidIdentityTokenException", NULL, INDEXKEY_CAUSE_CREDENTIAL, unknown_id, check_id},
    {"IDPRejectedClaim", NULL, INDEXKEY_CAUSE_CREDENTIAL, unknown_id, check_id},
    {"RegionDisabledException", NULL, INDEXKEY_CAUSE_CONFIG, "STS is not enabled in this Region",
     "enable it for the account, or set sts_endpoint to another Region's"},

    {"DisabledException", NULL, INDEXKEY_CAUSE_DISABLED, "the KMS key is disabled",
     "aws kms enable-key"},
    {"KMSInvalidStateException", "pending deletion", INDEXKEY_CAUSE_DELETED,
     "the KMS key is pending deletion",
     "aws kms cancel-key-deletion, then enable-key, before its waiting period ends"},
    {"KMSInvalidStateException", "pending import", INDEXKEY_CAUSE_DELETED,
     "the KMS key's imported material is deleted or expired", "import the same key material again"},
    {"KMSInvalidStateException", "unavailable", INDEXKEY_CAUSE_SERVER,
     "the KMS key's custom key store is not connected", "connect the key store"},
    {"KMSInvalidStateException", "creating", INDEXKEY_CAUSE_SERVER,
     "the KMS key is still being made", try_later},
    {"KMSInvalidStateException", "updating", INDEXKEY_CAUSE_SERVER, "the KMS key is being changed",
     try_later},
    {"KMSInvalidStateException", NULL, INDEXKEY_CAUSE_DELETED,
     "the KMS key's state allows no use: it is pending deletion, most likely",
     "look at its KeyState with aws kms describe-key"},
    {"NotFoundException", NULL, INDEXKEY_CAUSE_DELETED,
     "the account has no such KMS key or alias in this Region: it is deleted, or the name is wrong",
     "check key_id and aws_region; a deleted KMS key does not come back"},

    {"InvalidCiphertextException", NULL, INDEXKEY_CAUSE_TAMPERED,
     "the wrapped data key was changed, or was wrapped with another context (AWS does not tell "
     "which)",
     "restore the store from a backup, or set the former context.*"},
    {"IncorrectKeyException", NULL, INDEXKEY_CAUSE_CONTEXT,
     "the data key was wrapped under another KMS key", "set the former key_id"},

    {"ThrottlingException", NULL, INDEXKEY_CAUSE_THROTTLED, throttling, slow_down},
    {"Throttling", NULL, INDEXKEY_CAUSE_THROTTLED, throttling, slow_down},
    {"ThrottledException", NULL, INDEXKEY_CAUSE_THROTTLED, throttling, slow_down},
    {"RequestThrottled", NULL, INDEXKEY_CAUSE_THROTTLED, throttling, slow_down},
    {"RequestThrottledException", NULL, INDEXKEY_CAUSE_THROTTLED, throttling, slow_down},
    {"RequestLimitExceeded", NULL, INDEXKEY_CAUSE_THROTTLED, throttling, slow_down},
    {"LimitExceededException", NULL, INDEXKEY_CAUSE_THROTTLED, throttling, slow_down},
    {"TooManyRequestsException", NULL, INDEXKEY_CAUSE_THROTTLED, throttling, slow_down},
    {"SlowDown", NULL, INDEXKEY_CAUSE_THROTTLED, throttling, slow_down},

    {"KeyUnavailableException", NULL, INDEXKEY_CAUSE_SERVER, "the KMS key cannot be used just now",
     try_later},
    {"DependencyTimeoutException", NULL, INDEXKEY_CAUSE_SERVER,
     "a system that KMS depends on did not answer in time", try_later},
    {"KMSInternalException", NULL, INDEXKEY_CAUSE_SERVER, failing, try_later},
    {"InternalFailure", NULL, INDEXKEY_CAUSE_SERVER, failing, try_later},
    {"InternalServiceError", NULL, INDEXKEY_CAUSE_SERVER, failing, try_later},
    {"InternalServerError", NULL, INDEXKEY_CAUSE_SERVER, failing, try_later},
    {"InternalError", NULL, INDEXKEY_CAUSE_SERVER, failing, try_later},
    {"ServiceUnavailable", NULL, INDEXKEY_CAUSE_SERVER, failing, try_later},
    {"ServiceUnavailableException", NULL, INDEXKEY_CAUSE_SERVER, failing, try_later},
    {"IDPCommunicationError", NULL, INDEXKEY_CAUSE_SERVER,
     "it does not reach the identity provider", try_later},
    {"RequestTimeout", NULL, INDEXKEY_CAUSE_SERVER, "it waited in vain for the whole request",
     try_later},
    {"RequestTimeoutException", NULL, INDEXKEY_CAUSE_SERVER,
     "it waited in vain for the whole request", try_later},

    {"InvalidKeyUsageException", NULL, INDEXKEY_CAUSE_CONFIG,
     "the KMS key is not for symmetric encryption",
     "set key_id to a key of SYMMETRIC_DEFAULT and ENCRYPT_DECRYPT"},
    {"InvalidArnException", NULL, INDEXKEY_CAUSE_CONFIG, refused_names, check_names},
    {"ValidationException", NULL, INDEXKEY_CAUSE_CONFIG, refused_names, check_names},
    {"ValidationError", NULL, INDEXKEY_CAUSE_CONFIG, refused_names,
     "check role_arn, external_id, role_session_name and the session's duration"},
    {"InvalidAction", NULL, INDEXKEY_CAUSE_CONFIG, "this is no STS", "check sts_endpoint"},
    {"UnknownOperationException", NULL, INDEXKEY_CAUSE_CONFIG, "this is no KMS", "check endpoint"},
};
#define REFUSAL_COUNT (sizeof(refusals) / sizeof(refusals[0]))

/* Shorter than what is looked for: nothing is found. */
static bool finds(struct view text, const char *wanted, size_t *ret_end)
{
    size_t len = strlen(wanted);
    const unsigned char *at = text.len == 0 ? NULL : memmem(text.bytes, text.len, wanted, len);
    if (at == NULL)
        return false;
    *ret_end = (size_t) (at - text.bytes) + len;
    return true;
}

static void keep_code(struct view text, char ret_code[AWS_CODE_LEN_MAX + 1])
{
    size_t len = 0;
    while (len < text.len && (isalnum(text.bytes[len]) || text.bytes[len] == '.'))
        len++;
    if (len > AWS_CODE_LEN_MAX)
        len = 0;
    if (len > 0)
        memcpy(ret_code, text.bytes, len);
    ret_code[len] = '\0';
}

void aws_refusal_code(struct view body, char ret_code[AWS_CODE_LEN_MAX + 1])
{
    size_t end;
    _cleanup_(json_free) struct json *reply = NULL;
    ret_code[0] = '\0';
    if (json_parse(body, &reply) != CKR_OK) {
        if (finds(body, XML_CODE, &end))
            keep_code((struct view){body.bytes + end, body.len - end}, ret_code);
        return;
    }
    const char *type = json_text(reply, "__type");
    if (type == NULL)
        return;
    /* "com.amazonaws.kms#DisabledException" */
    const char *hash = strrchr(type, '#');
    keep_code(view_text(hash == NULL ? type : hash + 1), ret_code);
}

static bool fits(const struct aws_refusal *row, const char *code, struct view body)
{
    size_t end;
    return strcmp(row->code, code) == 0 && (row->text == NULL || finds(body, row->text, &end));
}

const struct aws_refusal *aws_refusal_find(const char *code, struct view body)
{
    for (size_t i = 0; i < REFUSAL_COUNT; i++) {
        if (fits(&refusals[i], code, body))
            return &refusals[i];
    }
    return NULL;
}

const struct aws_refusal *aws_refusal_find_in(const struct aws_refusal *own, const char *code,
                                              struct view body)
{
    for (; own != NULL && own->code != NULL; own++) {
        if (fits(own, code, body))
            return own;
    }
    return aws_refusal_find(code, body);
}

bool aws_refusal_is_of_signature(const char *code)
{
    static const char *const codes[] = {"InvalidSignatureException", "SignatureDoesNotMatch",
                                        "RequestExpired", "RequestTimeTooSkewed"};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (strcmp(code, codes[i]) == 0)
            return true;
    }
    return false;
}

enum http_verdict aws_refusal_verdict(long status, struct view body)
{
    char code[AWS_CODE_LEN_MAX + 1];
    if (status < 400)
        return HTTP_FINAL;
    aws_refusal_code(body, code);
    const struct aws_refusal *refusal = aws_refusal_find(code, body);
    if (refusal == NULL)
        return http_default_verdict(status, body);
    if (refusal->cause == INDEXKEY_CAUSE_THROTTLED)
        return HTTP_THROTTLED;
    return refusal->cause == INDEXKEY_CAUSE_SERVER ? HTTP_TRANSIENT : HTTP_FINAL;
}
