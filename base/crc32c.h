/*
 * CRC-32C (Castagnoli; RFC 3720, B.4), with which Google Cloud KMS checks what goes over the wire.
 */
#pragma once

#include "base/bytes.h"

/* Without a table, whose cache lines would tell what was looked up: the bytes may be a key. */
uint32_t crc32c(struct view bytes);
