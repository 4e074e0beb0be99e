/*
 * `indexkey provision`: the five subkeys of an index key on another module that cannot derive them,
 * under the labels and ids that they have here, so that the same application works there.
 *
 * Each goes wrapped to the other module's RSA key, which `migrate_to` pins; no value is ever
 * outside of the two modules. Then both are asked the same questions: what one makes the other must
 * make or open.
 */
#pragma once

#include "tools/peer.h"

struct provision_job {
    struct peer from;      /* this module, logged in as who administers its objects */
    struct peer to;        /* the user of the other one, in a read/write session */
    const char *label;     /* the index key's */
    const char *rsa_label; /* of the other module's key pair */
    struct view approvals; /* documents for `two_person = export`; may be empty */
};

/* All of them or none: what was made there goes again after a failure. Nothing is asked of this
 * module before the other one is known to be ready. */
CK_RV provision_transfer(const struct provision_job *job);
/* Vectors for each subkey that this side shows, which must be there: HMACs of a random challenge
 * are equal, AES-GCM goes both ways. `from` is the user's. CKR_FUNCTION_FAILED, logged, when they
 * differ. */
CK_RV provision_check(const struct provision_job *job);
/* The subkey's label on both sides: the index key's, `/` and the purpose. CKR_ARGUMENTS_BAD,
 * logged: it is too long. */
CK_RV provision_label(const struct provision_job *job, unsigned char purpose,
                      char ret_label[PEER_LABEL_LEN]);
