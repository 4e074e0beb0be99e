/*
 * People who sign approvals: their Ed25519 keys, and documents as docs/formats-approvals.md has
 * them, made with OpenSSL alone.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define APPROVAL_TEXT_MAX 512

/* What a document says. `number` goes into the nonce. */
struct approval_text {
    const char *serial; /* 16 digits */
    const char *operation;
    const char *object;
    unsigned int number;
    int64_t expires;
};

/* Person `seed` signs. Returns the document's length. */
size_t approval_sign(unsigned int seed, const struct approval_text *text,
                     char ret_document[APPROVAL_TEXT_MAX]);
/* `name` and the public key of person `seed`, behind what is in `text` already. */
void approval_add_person(unsigned int seed, const char *name, char *text, size_t size);
void approval_public_key(unsigned int seed, unsigned char ret_key[32]);
