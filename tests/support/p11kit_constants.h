/*
 * What p11-kit's PKCS #11 header says, for a test that includes another one: two such headers do
 * not meet in one file, so each file makes a table of its own from the same list of names.
 */
#pragma once

#include <stddef.h>

/* The number of a constant ("CKR_OK"), of a structure's bytes ("sizeof CK_INFO") or of a member's
 * offset ("CK_INFO.flags"). */
struct header_number {
    const char *name;
    unsigned long number;
};

/* Entries of p11kit_names.inc, which header_names.py makes. */
#define CONSTANT(name) {#name, (name)},
#define SIZE(type) {"sizeof " #type, sizeof(type)},
#define MEMBER(type, member) {#type "." #member, offsetof(type, member)},

/* Static; never freed. */
extern const struct header_number p11kit_constants[];
extern const size_t p11kit_constants_count;
