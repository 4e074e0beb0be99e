/*
 * The objects that show a token's direct keys (tokens/custody.h): token objects that no store
 * holds.
 *
 * They come at the user's login, with their values, and go at logout; a key that its source refuses
 * goes alone, and its sessions' operations with it. A stored object may have the same label, and a
 * warning says so.
 */
#pragma once

#include "module/slot.h"

/* After the user's login. The caller has slot->changes alone. */
void direct_objects_load_locked(struct slot *slot);
/* After each tick: what opened, changed or went since. */
void direct_objects_refresh(struct slot *slot);
