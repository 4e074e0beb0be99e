/*
 * An index key out of another PKCS #11 module: by its value where the module gives it, else wrapped
 * there under a key of one use. It is unwrapped in secret memory and comes into the token by
 * C_CreateObject, since the token's policy lets no unwrapped key derive.
 */
#pragma once

#include "base/secret.h"
#include "tools/token.h"

struct import_module;

/* Loads the module of `--from-module`, logs in and finds the key. Freed with import_module_close.
 * Failures are told by failure.h, among them a key that is not extractable (EXIT_CODE_REFUSED). */
CK_RV import_module_open(const struct options *options, struct import_module **ret_module);
void import_module_close(struct import_module **module);

/* Creates `template` here with the key's value. The template has room for one attribute more. */
CK_RV import_module_create(struct import_module *module, const struct token *token,
                           CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *ret_key);
