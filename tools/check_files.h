/*
 * Owners and permissions of the files that a token's section names.
 */
#pragma once

#include "conf/conf.h"
#include "tools/report.h"

void check_files(struct report *report, const struct conf_section *section);
