#include "tests/support/p11kit_constants.h"

#include <p11-kit/pkcs11.h>

const struct header_number p11kit_constants[] = {
#include "p11kit_names.inc"
};
const size_t p11kit_constants_count = sizeof(p11kit_constants) / sizeof(p11kit_constants[0]);
