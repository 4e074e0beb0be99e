/*
 * The configuration as the tool reads it itself, beside the module: for what no C_* function tells.
 */
#pragma once

#include "conf/conf.h"
#include "tools/options.h"

/* The file that C_Initialize would read. Freed with conf_free; *ret_path with mem_free, NULL when
 * there is none. Mistakes go to `take`, line by line. */
CK_RV sections_load(const struct options *options, void (*take)(void *context, const char *text),
                    void *context, struct conf **ret_conf, char **ret_path);

/* NULL when there is none of that name. */
const struct conf_section *sections_find(const struct conf *conf, const char *name);

/* `store =` without a password that may stand in it; freed with mem_free. */
CK_RV sections_store_shown(const char *store, char **ret_text);
