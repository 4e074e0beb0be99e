/* The keys of the configuration file that the module itself reads, and the schema with all of them.
 */
#pragma once

#include "conf/conf.h"

enum config_policy { CONFIG_STRENGTHEN, CONFIG_STRICT };
enum config_aes_default { CONFIG_AES_GCM, CONFIG_AES_CBC };

const struct conf_schema *config_schema(void);

/* `subkeys =`: bit p-1 is set when the subkey of purpose p is shown. */
unsigned int config_subkeys(const struct conf_section *token);
enum config_policy config_policy(const struct conf_section *token);
enum config_aes_default config_aes_default(const struct conf_section *token);
