#include "base/crc32c.h"

/* The polynomial 0x1EDC6F41, its bits turned round. */
#define POLYNOMIAL 0x82f63b78u

uint32_t crc32c(struct view bytes)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= bytes.bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (POLYNOMIAL & (0u - (crc & 1)));
    }
    return ~crc;
}
