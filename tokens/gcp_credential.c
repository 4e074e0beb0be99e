#include "tokens/gcp_credential.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cause.h"
#include "tokens/http.h"
#include "tokens/secret_file.h"

#define FILE_LEN_MAX ((size_t) 32768)
#define FILE_VARIABLE "GOOGLE_APPLICATION_CREDENTIALS"
#define FILE_NAME "application_default_credentials.json"
#define NEEDED_MAX 4

static const struct kind {
    const char *name;
    enum gcp_credential_type type;
    const char *key; /* the member with the secret; NULL: none */
    bool takes_client_secret;
    const char *needed[NEEDED_MAX];
    const char *urls[2];
} kinds[] = {
    {"service_account",
     GCP_SERVICE_ACCOUNT,
     "private_key",
     false,
     {"client_email", "private_key_id"},
     {"token_uri"}},
    {"authorized_user", GCP_AUTHORIZED_USER, "refresh_token", true, {"client_id"}, {"token_uri"}},
    {"external_account",
     GCP_EXTERNAL_ACCOUNT,
     NULL,
     true,
     {"audience", "subject_token_type", "token_url"},
     {"token_url", "service_account_impersonation_url"}},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

void gcp_credential_clear(struct gcp_credential *credential)
{
    mem_free(credential->place);
    json_free(&credential->members);
    secret_clear(&credential->key);
    secret_clear(&credential->client_secret);
    *credential = (struct gcp_credential){.place = NULL};
}

const char *gcp_credential_text(const struct gcp_credential *credential, const char *path,
                                const char *fallback)
{
    const char *text = credential->members == NULL ? NULL : json_text(credential->members, path);
    return text == NULL ? fallback : text;
}

/* ---- what it says ---- */

/* What is wrong with it; NULL: nothing. */
static const char *fault_of(const struct kind *kind, const struct gcp_credential *credential)
{
    for (size_t i = 0; i < NEEDED_MAX && kind->needed[i] != NULL; i++) {
        const char *text = gcp_credential_text(credential, kind->needed[i], "");
        if (*text == '\0')
            return kind->needed[i];
    }
    for (size_t i = 0; i < 2 && kind->urls[i] != NULL; i++) {
        const char *url = gcp_credential_text(credential, kind->urls[i], NULL);
        if ((url == NULL && json_has(credential->members, kind->urls[i])) ||
            (url != NULL && http_url_fault(url) != NULL))
            return kind->urls[i];
    }
    return NULL;
}

/* The secrets first: what json_parse reads stays on the heap. */
static CK_RV take_secrets(const struct kind *kind, struct secret *text,
                          struct gcp_credential *credential)
{
    if (kind->key != NULL)
        TRY(json_secret_take(text, kind->key, &credential->key));
    if (!kind->takes_client_secret)
        return CKR_OK;
    CK_RV rv = json_secret_take(text, "client_secret", &credential->client_secret);
    bool is_optional = kind->key == NULL;
    return rv == CKR_DATA_INVALID && is_optional ? CKR_OK : rv;
}

static const struct kind *kind_of(const struct secret *name)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (view_equal((struct view){name->bytes, name->len}, view_text(kinds[i].name)))
            return &kinds[i];
    }
    return NULL;
}

/* CKR_DATA_INVALID, not logged, with `*ret_fault` when it is none. */
static CK_RV parse(struct secret *text, struct gcp_credential *credential, const char **ret_fault)
{
    _cleanup_(secret_clear) struct secret name = {0};
    *ret_fault = "type";
    TRY(json_secret_take(text, "type", &name));
    const struct kind *kind = kind_of(&name);
    if (kind == NULL)
        return CKR_DATA_INVALID;
    credential->type = kind->type;
    *ret_fault = kind->key != NULL ? kind->key : "client_secret";
    TRY(take_secrets(kind, text, credential));
    *ret_fault = "JSON";
    TRY(json_parse((struct view){text->bytes, text->len}, &credential->members));
    *ret_fault = fault_of(kind, credential);
    return *ret_fault == NULL ? CKR_OK : CKR_DATA_INVALID;
}

/* ---- files ---- */

static CK_RV read_file(const char *token, const char *path, struct gcp_credential *credential,
                       bool *ret_exists)
{
    struct secret_file file = {
        .token = token,
        .what = "Google credentials file",
        .path = path,
        .len_max = FILE_LEN_MAX,
        .refused = S_IWGRP | S_IWOTH,
        .follows_links = true,
    };
    _cleanup_(secret_clear) struct secret text = {0};
    const char *fault = NULL;
    mode_t mode = 0;
    TRY(secret_file_read(&file, &text, &mode));
    *ret_exists = mode != 0;
    if (mode == 0)
        return CKR_OK;
    CK_RV rv = parse(&text, credential, &fault);
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its Google credentials file %s is of no use: check its %s; "
                          "it must be a service account's key, a user's credentials as gcloud auth "
                          "application-default login writes them, or a workload identity "
                          "federation file",
                          token, path, fault);
    TRY(rv);
    /* A federation file holds no secret, and is often readable by all. */
    if (credential->key.len + credential->client_secret.len > 0 && (mode & S_IRWXO) != 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its Google credentials file %s holds a secret and can be "
                          "read by others (mode %04o); chmod 600 it, and replace the key if others "
                          "had access",
                          token, path, (unsigned int) mode & 07777u);
    credential->place = mem_strdup(path);
    if (credential->place == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its Google credentials", token);
    return CKR_OK;
}

static CK_RV read_named(const char *token, const char *path, const char *named_by,
                        struct gcp_credential *credential)
{
    bool exists = false;
    TRY(read_file(token, path, credential, &exists));
    if (exists)
        return CKR_OK;
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                      "token '%s': its Google credentials file %s, which %s names, does not exist; "
                      "put it there, or correct %s",
                      token, path, named_by, named_by);
}

/* An empty variable is as good as none. */
static const char *variable(const char *name)
{
    const char *text = secure_getenv(name);
    return text == NULL || *text == '\0' ? NULL : text;
}

static CK_RV read_gclouds(const char *token, struct gcp_credential *credential, bool *ret_exists)
{
    const char *folder = variable("CLOUDSDK_CONFIG");
    const char *home = variable("HOME");
    *ret_exists = false;
    if (folder == NULL && home == NULL)
        return CKR_OK;
    _cleanup_(mem_free_pointer) char *path = folder != NULL
                                                 ? mem_format("%s/" FILE_NAME, folder)
                                                 : mem_format("%s/.config/gcloud/" FILE_NAME, home);
    if (path == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its Google credentials", token);
    return read_file(token, path, credential, ret_exists);
}

CK_RV gcp_credential_find(const char *token, const char *file,
                          struct gcp_credential *ret_credential)
{
    _cleanup_(gcp_credential_clear) struct gcp_credential credential = {.place = NULL};
    const char *named = variable(FILE_VARIABLE);
    bool exists = true;
    if (file != NULL)
        TRY(read_named(token, file, "credentials_file", &credential));
    else if (named != NULL)
        TRY(read_named(token, named, FILE_VARIABLE, &credential));
    else
        TRY(read_gclouds(token, &credential, &exists));
    if (!exists)
        credential.type = GCP_METADATA_SERVER;
    *ret_credential = credential;
    credential = (struct gcp_credential){.place = NULL};
    return CKR_OK;
}

/* ---- the PIN ---- */

bool gcp_credential_is_json(struct view pin)
{
    return pin.len > 0 && pin.bytes[0] == '{';
}

CK_RV gcp_credential_from_pin(const char *token, struct view pin,
                              struct gcp_credential *ret_credential)
{
    _cleanup_(gcp_credential_clear) struct gcp_credential credential = {.place = NULL};
    _cleanup_(secret_clear) struct secret text = {0};
    const char *fault = "type";
    TRY(secret_from(pin.bytes, pin.len, &text));
    CK_RV rv = parse(&text, &credential, &fault);
    /* A federation file would have this process read files of the PIN's choice and send them. */
    if (rv == CKR_OK && credential.type == GCP_EXTERNAL_ACCOUNT)
        rv = CKR_DATA_INVALID;
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                          "token '%s': what was given as its PIN is no Google credential; log in "
                          "with an access token, or with the JSON of a service account's key or of "
                          "a user's credentials",
                          token);
    TRY(rv);
    credential.is_pin = true;
    credential.place = mem_strdup("its PIN");
    if (credential.place == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its Google credentials", token);
    *ret_credential = credential;
    credential = (struct gcp_credential){.place = NULL};
    return CKR_OK;
}
