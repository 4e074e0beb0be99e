/* The keys of the configuration file that the module itself reads, and the schema with all of them.
 */
#pragma once

#include "base/bytes.h"
#include "conf/conf.h"

enum config_policy { CONFIG_STRENGTHEN, CONFIG_STRICT };
enum config_aes_default { CONFIG_AES_GCM, CONFIG_AES_CBC };

/* The rules of the policy that a site may switch off, in the order of `relax`'s words. */
enum config_relaxation {
    RELAX_KNOWN_KEYS_WRAP = 1,      /* known-keys-do-not-wrap */
    RELAX_TOKEN_KEYS_LEAVE = 2,     /* token-keys-stay-inside */
    RELAX_WEAKER_WRAPS = 4,         /* wrapped-under-as-strong */
    RELAX_CALLERS_IVS_WRAP = 8,     /* wrapping-ivs-are-fresh */
    RELAX_DERIVED_KEYS_DERIVE = 16, /* derived-keys-do-not-derive */
};

/* What takes two persons, as bits, in the order of `two_person`'s words. */
enum config_two_person { TWO_PERSON_DESTROY = 1, TWO_PERSON_EXPORT = 2, TWO_PERSON_POLICY = 4 };

const struct conf_schema *config_schema(void);

/* `subkeys =`: bit p-1 is set when the subkey of purpose p is shown. */
unsigned int config_subkeys(const struct conf_section *token);
enum config_policy config_policy(const struct conf_section *token);
enum config_aes_default config_aes_default(const struct conf_section *token);
/* `relax =`: RELAX_ bits. */
unsigned int config_relaxed(const struct conf_section *token);
/* `extract_key =`: CKM_EXTRACT_KEY_FROM_KEY is offered. */
bool config_extract_key(const struct conf_section *token);
/* `undo_window =`: how long a destroyed key can be had back; 0: not at all. */
uint64_t config_undo_window_ms(const struct conf_section *token);
/* `hkdf_data_info =`: a list for config_info_is_listed, NULL when the key is not set. */
const char *config_hkdf_data_info(const struct conf_section *token);
/* `migrate_to = sha256:…`; false when it is not set. */
bool config_migrate_to(const struct conf_section *token, unsigned char ret_fingerprint[32]);
/* `administer = so`. */
bool config_so_administers(const struct conf_section *token);
/* `two_person =`: TWO_PERSON_ bits. */
unsigned int config_two_person(const struct conf_section *token);
/* `approvers = file:PATH`: the path, or NULL. */
const char *config_approvers(const struct conf_section *token);
/* `approvals_needed =`, at least 1. */
size_t config_approvals_needed(const struct conf_section *token);
/* `approvals =`: a folder, or NULL. */
const char *config_approvals(const struct conf_section *token);
/* The form of such a list: NULL, or how it must be. */
const char *config_check_info_list(const char *value);
/* True when one of the list's words, as text or after `hex:`, is this info string. */
bool config_info_is_listed(const char *list, struct view info);
