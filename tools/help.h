/*
 * Usage, made from the tables of commands and options.
 */
#pragma once

#include "tools/options.h"

/* Of the command that the options name, or of all. To stdout. */
void help_show(const struct options *options);
