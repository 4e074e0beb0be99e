/*
 * Finding one's way in raw JSON without parsing it: bounded, allocates nothing, and accepts all
 * that json_parse accepts (and more: that checks the rest).
 */
#pragma once

#include "base/bytes.h"

/* `scan` stands at a quote: moves behind the string. `ret_raw` is what stands between the quotes,
 * escapes and all. False at a malformed or endless one. */
bool json_scan_string(struct reader *scan, struct view *ret_raw);
/* Moves to the value that the path names, from the start of the text. False when it is not there,
 * or what comes before it is malformed. */
bool json_scan_to(struct reader *scan, const char *path);
/* False when containers stand deeper than JSON_DEPTH_MAX, or a string does not end. */
bool json_scan_is_shallow(struct view text);
