/*
 * Another PKCS #11 module that a command line names: loaded, a token of it, its user logged in.
 * Failures are told by failure.h.
 */
#pragma once

#include "tools/failure.h"
#include "tools/options.h"

/* The options that name it. */
struct other_module_options {
    enum option_id module;
    enum option_id token;
    enum option_id pin_file;
    enum option_id pin_env;
};

struct other_module {
    CK_FUNCTION_LIST *calls;   /* NULL until C_Initialize has succeeded */
    CK_SESSION_HANDLE session; /* read/write */
};

/* The first initialised token where no option names one. Closed with other_module_close. */
CK_RV other_module_open(const struct options *options, const struct other_module_options *names,
                        struct other_module *ret_module);
void other_module_close(struct other_module *module);

/* An answer of a C_* function there. */
CK_RV other_module_check(CK_RV rv, const char *call);
