/*
 * What Cryptoki has no call for: an index key leaves, wrapped to the RSA key of another module.
 *
 * No other key leaves by this way, and to no other RSA key than the one whose fingerprint stands in
 * the configuration (`migrate_to = sha256:…`). With `two_person = export` it takes an approval
 * besides. Not exported by the library: for the tool, which is linked with it.
 */
#pragma once

#include "base/crypto.h"
#include "include/indexkey.h"

/* The key itself, or its five subkeys for a module that cannot derive them. */
enum admin_export_form { ADMIN_EXPORT_INDEX_KEY, ADMIN_EXPORT_SUBKEYS };

struct admin_export {
    enum admin_export_form form;
    struct rsa_public to;
    const char *hash;      /* of RSA-OAEP: "SHA256" or "SHA1" */
    struct view approvals; /* documents, one behind the other; may be empty */
};

struct admin_wrapped {
    unsigned char purpose; /* of the subkey; 0: the index key */
    struct blob bytes;
};

struct admin_exported {
    struct admin_wrapped keys[INDEXKEY_PURPOSE_COUNT];
    size_t count;
};

/* For whoever administers the token's objects. All of them or none, freed with
 * admin_exported_clear. Subkeys whose purpose the key is not allowed are not among them.
 * CKR_KEY_HANDLE_INVALID: no index key; CKR_KEY_UNEXTRACTABLE: `migrate_to` names another RSA key
 * or none; CKR_ACTION_PROHIBITED: an approval is missing; CKR_KEY_FUNCTION_NOT_PERMITTED: its
 * policy. Each with a log line. */
CK_RV admin_key_export(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
                       const struct admin_export *request, struct admin_exported *ret_exported);
void admin_exported_clear(struct admin_exported *exported);
