#include "tools/sections.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "module/config.h"
#include "tools/failure.h"

CK_RV sections_load(const struct options *options, void (*take)(void *context, const char *text),
                    void *context, struct conf **ret_conf, char **ret_path)
{
    _cleanup_(mem_free_pointer) char *path = NULL;
    failure_divert(take, context);
    CK_RV rv = conf_locate(options_value(options, OPTION_CONF), &path);
    if (rv == CKR_OK)
        rv = conf_load(path, config_schema(), ret_conf);
    failure_divert(NULL, NULL);
    *ret_path = TAKE(path);
    return rv;
}

const struct conf_section *sections_find(const struct conf *conf, const char *name)
{
    size_t count;
    const struct conf_section *tokens = conf_tokens(conf, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tokens[i].name, name) == 0)
            return &tokens[i];
    }
    return NULL;
}

/* SCHEME://USER:PASSWORD@REST and SCHEME://REST?password=… : what may be secret is left out. */
CK_RV sections_store_shown(const char *store, char **ret_text)
{
    const char *start = strstr(store, "://");
    char *text;
    if (start == NULL) {
        text = mem_strdup(store);
    } else {
        const char *rest = start + strlen("://");
        const char *at = memrchr(rest, '@', strcspn(rest, "?"));
        rest = at == NULL ? rest : at + 1;
        text =
            mem_format("%.*s://%.*s", (int) (start - store), store, (int) strcspn(rest, "?"), rest);
    }
    if (text == NULL)
        return failure_of(CKR_HOST_MEMORY, INDEXKEY_CAUSE_NONE, "a store's name");
    *ret_text = text;
    return CKR_OK;
}
