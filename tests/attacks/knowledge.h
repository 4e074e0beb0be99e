/*
 * What the attacker's bytes are worth: everything that follows from them by less than 2^64 work is
 * computed here, outside of the token, and compared with what must not be known.
 *
 * A sequence has succeeded when the attacker has
 *   - eight bytes or more of the target's value, or a readable key or data object made from it,
 *   - the value of a key that the target gives by one derivation (a subkey; a MAC or an encryption
 *     under a derivation base), or of a subkey's GHASH key,
 *   - the value of a sensitive key that was made from it, or that one made from it derives (a base
 *     that is derived twice, once to sign and once to derive),
 *   - GHASH's key, or 24 bits of it, of a target that GCM is used with,
 *   - an answer to guesses of the target or of a key derived from it,
 *   - output of a key of fewer than 8 bytes that was derived from the target,
 *   - a subkey's value as a key of another kind, or a known key under a subkey's label.
 */
#pragma once

#include "tests/attacks/world.h"

/* What must not be known of the target; made once for each target that starts. */
void knowledge_protect(const struct world *world);

/* What the attacker has; NULL: nothing that counts. Static text. */
const char *knowledge_hit(const struct world *world);
