#include "tokens/source.h"

#include <string.h>

#include "base/crypto.h"
#include "tokens/source_aws.h"
#include "tokens/source_azure.h"
#include "tokens/source_env.h"
#include "tokens/source_file.h"
#include "tokens/source_gcp.h"
#include "tokens/source_hsm.h"
#include "tokens/source_kmip.h"
#include "tokens/source_vault.h"

/* A new source is one file and one line here, with its name in `names`. */
static const struct source_ops *const sources[] = {
    &source_file_ops, &source_env_ops,  &source_aws_ops, &source_azure_ops,
    &source_gcp_ops,  &source_kmip_ops, &source_hsm_ops, &source_vault_ops,
};
#define SOURCE_COUNT (sizeof(sources) / sizeof(sources[0]))
static const char names[] = "file env aws azure gcp kmip hsm vault";

const struct source_ops *source_find(const char *name)
{
    for (size_t i = 0; i < SOURCE_COUNT; i++) {
        if (strcmp(sources[i]->name, name) == 0)
            return sources[i];
    }
    return NULL;
}

const char *source_names(void)
{
    return names;
}

CK_RV source_open(const struct conf_section *section, struct source **ret_source)
{
    const char *name = conf_string(section, "source", "");
    const struct source_ops *ops = source_find(name);
    if (ops == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: no source '%s'; set source to one of: %s",
                          section->name, conf_section_line(section), name, names);
    return ops->open(section, ret_source);
}

void source_close(struct source **source)
{
    if (*source != NULL)
        (*source)->ops->close(*source);
    *source = NULL;
}

void source_forget(struct source *source)
{
    if (source->ops->forget != NULL)
        source->ops->forget(source);
}

static bool has_scheme(const char *schemes, const char *place)
{
    size_t len = strcspn(place, ":") + 1;
    for (; schemes != NULL && *schemes != '\0'; schemes += strspn(schemes, " ")) {
        size_t step = strcspn(schemes, " ");
        if (step == len && strncmp(schemes, place, len) == 0)
            return true;
        schemes += step;
    }
    return false;
}

CK_RV source_read_parameter(struct source *source, const struct source_call *call,
                            const char *place, struct secret *ret_value)
{
    if (!has_scheme(source->ops->parameter_schemes, place))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "source = %s has no parameter store for %.*s:; put the ciphertext into a "
                          "file, or correct the scheme",
                          source->ops->name, (int) strcspn(place, ":"), place);
    return source->ops->read_parameter(source, call, place, ret_value);
}

CK_RV source_make_data_key(struct source *source, const struct source_call *call,
                           struct secret *ret_data_key, struct blob *ret_wrapped)
{
    _cleanup_(secret_clear) struct secret data_key = {0};
    _cleanup_(blob_clear) struct blob wrapped = {0};
    if (source->ops->make_data_key != NULL) {
        TRY(source->ops->make_data_key(source, call, &data_key, &wrapped));
    } else {
        TRY(crypto_random_secret(DATA_KEY_LEN, &data_key));
        TRY(source->ops->wrap(source, call, &data_key, &wrapped));
    }
    if (data_key.len != DATA_KEY_LEN)
        return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER,
                          "source %s made a data key of %zu bytes instead of %d; check its key",
                          source->ops->name, data_key.len, DATA_KEY_LEN);
    *ret_data_key = secret_move(&data_key);
    *ret_wrapped = blob_move(&wrapped);
    return CKR_OK;
}

CK_RV source_unwrap(struct source *source, const struct source_call *call, struct view wrapped,
                    struct secret *ret_data_key)
{
    _cleanup_(secret_clear) struct secret data_key = {0};
    TRY(source->ops->unwrap(source, call, wrapped, &data_key));
    if (data_key.len != DATA_KEY_LEN)
        return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED,
                          "source %s unwrapped %zu bytes instead of %d: the stored blob is not "
                          "this token's data key; restore the store from a backup",
                          source->ops->name, data_key.len, DATA_KEY_LEN);
    *ret_data_key = secret_move(&data_key);
    return CKR_OK;
}

CK_RV source_rewrap(struct source *source, const struct source_call *call, struct view wrapped,
                    const struct secret *data_key, struct blob *ret_wrapped)
{
    if (source->ops->rewrap != NULL)
        return source->ops->rewrap(source, call, wrapped, ret_wrapped);
    return source->ops->wrap(source, call, data_key, ret_wrapped);
}

static void make_printable(char *text)
{
    for (char *at = text; *at != '\0'; at++) {
        if (*at < ' ' || *at > '~')
            *at = '?';
    }
}

void source_describe(struct source *source, struct view wrapped, char ret_text[SOURCE_KEY_TEXT_MAX])
{
    memset(ret_text, 0, SOURCE_KEY_TEXT_MAX);
    if (source->ops->describe != NULL)
        source->ops->describe(source, wrapped, ret_text);
    make_printable(ret_text);
}

CK_RV source_inspect(struct source *source, const struct source_call *call, struct view wrapped,
                     struct source_inspection *ret_inspection)
{
    struct source_inspection inspection = {.key = ""};
    char *const texts[] = {
        inspection.key,      inspection.kind,           inspection.version,
        inspection.state,    inspection.oldest_version, inspection.newest_version,
        inspection.rotation,
    };
    if (source->ops->inspect == NULL)
        return CKR_FUNCTION_NOT_SUPPORTED;
    TRY(source->ops->inspect(source, call, wrapped, &inspection));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        make_printable(texts[i]);
    *ret_inspection = inspection;
    return CKR_OK;
}
