#include "tokens/source_hsm.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "tokens/hsm_blob.h"
#include "tokens/hsm_work.h"
#include "tokens/secret_file.h"

#define PIN_FILE_LEN_MAX 1024
/* Of a data key it has about 600 bytes, under RSA-4096. */
#define WRAPPED_LEN_MAX 2048

struct hsm {
    struct source base;
    char *token;
    char *pin_file; /* NULL: none */
    enum hsm_mechanism mechanism;
    struct hsm_parent *parent;
};

static const struct conf_key hsm_keys[] = {
    {.name = "key_uri",
     .type = CONF_STRING,
     .required = true,
     .help = "the wrapping key: pkcs11:token=NAME;object=KEY?module-path=/PATH/OF/MODULE.so",
     .check = hsm_uri_fault},
    {.name = "wrap_mechanism",
     .type = CONF_CHOICE,
     .choices = HSM_MECHANISM_NAMES,
     .help = "how the parent wraps; by default the first that it has for the key"},
    {.name = "pin_file",
     .type = CONF_PATH,
     .help = "file with the parent's user PIN; the same as pin-source in key_uri"},
    {.name = NULL},
};

static void hsm_close(struct source *source)
{
    struct hsm *hsm = (struct hsm *) source;
    if (hsm->parent != NULL)
        hsm_work_close(hsm->parent);
    mem_free(hsm->token);
    mem_free(hsm->pin_file);
    mem_free(hsm);
}

static CK_RV fail_memory(const char *token)
{
    return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", token);
}

static CK_RV configure(struct hsm *hsm, const struct conf_section *section)
{
    const char *uri = conf_string(section, "key_uri", NULL);
    const char *pin_file = conf_string(section, "pin_file", NULL);
    if (uri == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: source = hsm needs key_uri", section->name,
                          conf_section_line(section));
    hsm->mechanism = (enum hsm_mechanism) conf_choice(section, "wrap_mechanism", HSM_AUTO);
    hsm->token = mem_strdup(section->name);
    if (hsm->token == NULL || hsm_parent_new(uri, &hsm->parent) != CKR_OK)
        return fail_memory(section->name);
    const char *source = hsm->parent->uri.pin_file;
    if (source != NULL && pin_file != NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: pin_file and pin-source in key_uri name two "
                          "PINs; keep one of them",
                          section->name, conf_section_line(section));
    if (source == NULL && pin_file == NULL)
        return CKR_OK;
    hsm->pin_file = mem_strdup(source != NULL ? source : pin_file);
    return hsm->pin_file != NULL ? CKR_OK : fail_memory(section->name);
}

static CK_RV hsm_open(const struct conf_section *section, struct source **ret_source)
{
    struct hsm *hsm = mem_calloc(1, sizeof(*hsm));
    if (hsm == NULL)
        return fail_memory(section->name);
    hsm->base.ops = &source_hsm_ops;
    CK_RV rv = configure(hsm, section);
    if (rv != CKR_OK) {
        hsm_close(&hsm->base);
        return rv;
    }
    *ret_source = &hsm->base;
    return CKR_OK;
}

/* ---- the PIN ---- */

static CK_RV read_pin_file(const struct hsm *hsm, struct secret *ret_pin)
{
    const struct secret_file file = {
        .token = hsm->token,
        .what = "parent's PIN file",
        .path = hsm->pin_file,
        .len_max = PIN_FILE_LEN_MAX,
        .refused = S_IRWXG | S_IRWXO,
    };
    _cleanup_(secret_clear) struct secret text = {0};
    mode_t mode = 0;
    TRY(secret_file_read(&file, &text, &mode));
    while (text.len > 0 && (text.bytes[text.len - 1] == '\n' || text.bytes[text.len - 1] == '\r'))
        text.len--;
    if (text.len == 0 || memchr(text.bytes, '\n', text.len) != NULL)
        return FAIL_CAUSE(
            INDEXKEY_CAUSE_CONFIG,
            "token '%s': its parent's PIN file %s does not exist or does not hold one "
            "line; write the PIN alone into it",
            hsm->token, hsm->pin_file);
    *ret_pin = secret_move(&text);
    return CKR_OK;
}

/* The credential of the call, else the file's; none where the token asks for none. */
static CK_RV read_pin(const struct hsm *hsm, const struct source_call *call, struct secret *ret_pin)
{
    if (call->credential.len > 0)
        return secret_from(call->credential.bytes, call->credential.len, ret_pin);
    return hsm->pin_file == NULL ? CKR_OK : read_pin_file(hsm, ret_pin);
}

/* ---- calls ---- */

/* What both have in common. Freed with hsm_work_free. */
static CK_RV make_work(const struct hsm *hsm, const struct source_call *call,
                       struct hsm_work **ret_work)
{
    _cleanup_(hsm_work_free) struct hsm_work *work = hsm_work_new(hsm->parent);
    if (work == NULL || blob_from(call->context.bytes, call->context.len, &work->context) != CKR_OK)
        return fail_memory(hsm->token);
    work->mechanism = hsm->mechanism;
    TRY(read_pin(hsm, call, &work->pin));
    *ret_work = TAKE(work);
    return CKR_OK;
}

static CK_RV run(const struct hsm *hsm, const struct source_call *call, struct hsm_work **work)
{
    struct hsm_fault fault;
    bool wraps = (*work)->wraps;
    CK_RV rv = hsm_work_run(work, call->deadline_ms, call->cancelled, &fault);
    if (rv == CKR_OK)
        return CKR_OK;
    return hsm_fault_tell(hsm->token, wraps ? "wrap the data key" : "unwrap the data key",
                          hsm->parent->uri.module, &fault);
}

static CK_RV hsm_wrap_data_key(struct source *source, const struct source_call *call,
                               const struct secret *data_key, struct blob *ret_wrapped)
{
    const struct hsm *hsm = (const struct hsm *) source;
    _cleanup_(hsm_work_free) struct hsm_work *work = NULL;
    TRY(make_work(hsm, call, &work));
    work->wraps = true;
    TRY(secret_from(data_key->bytes, data_key->len, &work->data_key));
    TRY(crypto_random(work->iv, sizeof(work->iv)));
    TRY(run(hsm, call, &work));
    *ret_wrapped = blob_move(&work->wrapped);
    return CKR_OK;
}

static CK_RV hsm_unwrap_data_key(struct source *source, const struct source_call *call,
                                 struct view wrapped, struct secret *ret_data_key)
{
    const struct hsm *hsm = (const struct hsm *) source;
    _cleanup_(hsm_work_free) struct hsm_work *work = NULL;
    if (wrapped.len > WRAPPED_LEN_MAX)
        return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED,
                          "token '%s': its wrapped key is longer than %d bytes; restore the store "
                          "from a backup",
                          hsm->token, WRAPPED_LEN_MAX);
    TRY(make_work(hsm, call, &work));
    if (blob_from(wrapped.bytes, wrapped.len, &work->wrapped) != CKR_OK)
        return fail_memory(hsm->token);
    TRY(run(hsm, call, &work));
    *ret_data_key = secret_move(&work->data_key);
    return CKR_OK;
}

static void hsm_describe(struct source *source, struct view bytes,
                         char ret_text[SOURCE_KEY_TEXT_MAX])
{
    struct hsm_blob blob;
    (void) source;
    if (!hsm_blob_read(bytes, HSM_AUTO, &blob) || blob.key_id.len == 0)
        return;
    size_t used = (size_t) snprintf(ret_text, SOURCE_KEY_TEXT_MAX, "CKA_ID ");
    for (size_t i = 0; i < blob.key_id.len && used + 3 <= SOURCE_KEY_TEXT_MAX; i++, used += 2)
        (void) snprintf(ret_text + used, 3, "%02x", blob.key_id.bytes[i]);
}

const struct source_ops source_hsm_ops = {
    .name = "hsm",
    .keys = hsm_keys,
    .takes_credential = true,
    .open = hsm_open,
    .close = hsm_close,
    .wrap = hsm_wrap_data_key,
    .unwrap = hsm_unwrap_data_key,
    .describe = hsm_describe,
};
