#include "tests/differential/differences.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "tests/differential/specs.h"

const struct difference differences[] = {
    {"size-query-upper-bound", ANY_PEER, "C_*", "*", "size query", WHAT_LENGTH, "CKR_OK", "CKR_OK",
     "a size query may tell more than is written; here it is exact where it can be known", "5.2"},
    {"too-small-length", ANY_PEER, "C_*", "*", "@(small buffer|exact part)", WHAT_LENGTH,
     "CKR_BUFFER_TOO_SMALL", "CKR_BUFFER_TOO_SMALL",
     "the same for the length that is told with CKR_BUFFER_TOO_SMALL", "5.2"},
    {"softhsm-wants-more-room", PEER_SOFTHSM, "C_@(Encrypt|Decrypt)*", "*",
     "@(exact buffer|exact part|small buffer|no input)", WHAT_CODE, "CKR_OK",
     "CKR_BUFFER_TOO_SMALL", "SoftHSM wants room for its upper bound; the output fits", "5.2"},
    {"padding-wants-whole-blocks", PEER_SOFTHSM, "C_DecryptFinal", "CBC_PAD", "small buffer",
     WHAT_CODE, "CKR_BUFFER_TOO_SMALL", "CKR_OK",
     "before the padding is removed only the upper bound is known, and it is what a size query "
     "tells",
     "5.2"},
    {"length-is-told-first", ANY_PEER, "C_@(Encrypt|Decrypt)*", "@(ECB|CBC|CBC_PAD|GCM)",
     "@(size query|small buffer)", WHAT_CODE, "CKR_@(OK|BUFFER_TOO_SMALL)", "CKR_DATA_LEN_RANGE",
     "a size query and a small buffer do not use the data up: what is wrong with it is told when "
     "it is processed",
     "5.2"},
    {"length-is-told-first-decrypting", ANY_PEER, "C_Decrypt*", "@(ECB|CBC|CBC_PAD|GCM)",
     "@(size query|small buffer)", WHAT_CODE, "CKR_@(OK|BUFFER_TOO_SMALL)",
     "CKR_ENCRYPTED_DATA_LEN_RANGE", "the same for ciphertext", "5.2"},
    {"one-operation-a-session", ANY_PEER, "C_*Init", "*", "another operation active", WHAT_CODE,
     "*", "CKR_OPERATION_ACTIVE",
     "operations of several kinds may be active in a session here; peers have one, or one of some "
     "kinds",
     "5.1.6, CKR_OPERATION_ACTIVE"},
    {"failed-operation-is-kept", ANY_PEER, "C_*Init", "*", "after an error", WHAT_CODE, "*",
     "CKR_OPERATION_ACTIVE",
     "an error other than CKR_BUFFER_TOO_SMALL ends the operation; SoftHSM keeps it in some cases",
     "5.8, C_Encrypt"},
    {"one-part-after-parts", ANY_PEER, "C_@(Encrypt|Decrypt|Sign|Verify|Digest)", "*",
     "after parts", WHAT_CODE, "CKR_OPERATION_NOT_INITIALIZED", "*",
     "a one-part call does not end an operation in parts", "5.8, C_Encrypt"},
    {"key-destroyed", ANY_PEER, "C_*", "*", "key destroyed", WHAT_CODE,
     "CKR_OPERATION_NOT_INITIALIZED", "*",
     "a destroyed key's operations end with it (docs/security-model.md); peers work on with a copy",
     "5.7, C_DestroyObject"},
    {"key-destroyed-then-begun", ANY_PEER, "C_*Init", "*", "key destroyed", WHAT_CODE, "*",
     "CKR_OPERATION_ACTIVE", "so the next operation can begin", "5.7, C_DestroyObject"},
    {"roles-are-fixed", ANY_PEER, "C_@(CopyObject|SetAttributeValue)", "*", "@(more uses|to true)",
     WHAT_CODE, "CKR_TEMPLATE_INCONSISTENT", "CKR_OK",
     "policy rule roles-are-fixed: a key gains no use", "4.1.2, 4.1.3"},
    {"as-sensitive-as-its-base", ANY_PEER, "C_DeriveKey", "*", "less sensitive than its base",
     WHAT_CODE, "CKR_@(TEMPLATE_INCONSISTENT|KEY_SIZE_RANGE)", "*",
     "policy rule as-sensitive-as-its-base", "5.18, C_DeriveKey"},
    {"second-key-as-sensitive", PEER_NSS, "C_DeriveKey", "*", "second key not readable", WHAT_CODE,
     "CKR_@(TEMPLATE_INCONSISTENT|KEY_SIZE_RANGE|MECHANISM_PARAM_INVALID)",
     "CKR_@(OK|KEY_FUNCTION_NOT_PERMITTED)",
     "the same rule, for the key that is the salt or is joined", "5.18, C_DeriveKey"},
    {"one-mode-family", ANY_PEER, "C_*Init", "*", "key of another use", WHAT_CODE,
     "CKR_KEY_FUNCTION_NOT_PERMITTED", "CKR_OK",
     "policy rule one-mode-family: E_K(0) of one mode is another's hash key",
     "4.8, CKA_ALLOWED_MECHANISMS"},
    {"key-type-before-use", ANY_PEER, "C_@(*Init|DeriveKey)", "*", "wrong type of key", WHAT_CODE,
     "CKR_KEY_TYPE_INCONSISTENT", "CKR_KEY_FUNCTION_NOT_PERMITTED",
     "the key's type is told before its use", "5.1.6, CKR_KEY_TYPE_INCONSISTENT"},
    {"digest-key-readable", ANY_PEER, "C_DigestKey", "unreadable key", "", WHAT_CODE,
     "CKR_KEY_INDIGESTIBLE", "CKR_OK",
     "a digest of a key that may not be read lets guesses be checked (docs/security-model.md)",
     "5.12, C_DigestKey"},
    {"digest-key-data", ANY_PEER, "C_DigestKey", "data", "", WHAT_CODE, "CKR_KEY_HANDLE_INVALID",
     "*", "a data object is no key", "5.12, C_DigestKey"},
    {"gcm-tag-floor", ANY_PEER, "C_*Init", "GCM", "tag bits too few", WHAT_CODE,
     "CKR_MECHANISM_PARAM_INVALID", "*",
     "tags have 96 to 128 bits (NIST SP 800-38D, 5.2.1.2); shorter ones are found by trying",
     "6, AES-GCM"},
    {"gcm-tag-too-long", ANY_PEER, "C_*Init", "GCM", "tag bits too many", WHAT_CODE,
     "CKR_MECHANISM_PARAM_INVALID", "*", "a wrong parameter is CKR_MECHANISM_PARAM_INVALID",
     "5.1.6, CKR_MECHANISM_PARAM_INVALID"},
    {"gcm-no-iv", ANY_PEER, "C_*Init", "GCM", "no IV", WHAT_CODE, "CKR_MECHANISM_PARAM_INVALID",
     "*", "an empty IV is none (NIST SP 800-38D, 5.2.1.1)", "6, AES-GCM"},
    {"iv-too-short", ANY_PEER, "C_*Init", "CBC*", "IV too short", WHAT_CODE,
     "CKR_MECHANISM_PARAM_INVALID", "*",
     "a wrong parameter is CKR_MECHANISM_PARAM_INVALID; NSS reads behind it",
     "5.1.6, CKR_MECHANISM_PARAM_INVALID"},
    {"generated-keys-have-112-bits", ANY_PEER, "C_GenerateKey", "generic", "short", WHAT_CODE,
     "CKR_KEY_SIZE_RANGE", "CKR_OK", "generated keys have at least 112 bits (NIST SP 800-131A)",
     "6, C_GetMechanismInfo's ulMinKeySize"},
    {"aes-length-generated", PEER_NSS, "C_GenerateKey", "AES", "short", WHAT_CODE,
     "CKR_ATTRIBUTE_VALUE_INVALID", "CKR_KEY_SIZE_RANGE",
     "CKA_VALUE_LEN has a value that no AES key has", "5.1.6, CKR_ATTRIBUTE_VALUE_INVALID"},
    {"aes-length-created", ANY_PEER, "C_CreateObject", "AES key", "AES key of a wrong length",
     WHAT_CODE, "CKR_ATTRIBUTE_VALUE_INVALID", "*",
     "an AES key has 16, 24 or 32 bytes; SoftHSM takes any", "4.1.1; 6, AES secret key objects"},
    {"unique-id", ANY_PEER, "C_GetAttributeValue", "UNIQUE_ID", "*", WHAT_CODE,
     "CKR_@(OK|BUFFER_TOO_SMALL)", "CKR_ATTRIBUTE_TYPE_INVALID",
     "CKA_UNIQUE_ID came with 3.0, the peers are older", "4.4.1"},
    {"sensitive-already", PEER_SOFTHSM, "C_@(CopyObject|SetAttributeValue)", "*",
     "@(sensitive|key)", WHAT_CODE, "CKR_OK", "CKR_ATTRIBUTE_READ_ONLY",
     "CKA_SENSITIVE cannot be changed once it is true; given the value that it has, nothing "
     "changes",
     "4.10, footnote 11"},
    {"wrong-key-handle", PEER_SOFTHSM, "C_@(*Init|DeriveKey)", "*", "wrong key handle", WHAT_CODE,
     "CKR_KEY_HANDLE_INVALID", "CKR_OBJECT_HANDLE_INVALID",
     "a key's handle is told of by CKR_KEY_HANDLE_INVALID", "5.1.6, CKR_KEY_HANDLE_INVALID"},
    {"bad-ciphertext-code", PEER_SOFTHSM, "C_Decrypt?(Final)", "@(CBC*|GCM)",
     "@(tampered|exact buffer)", WHAT_CODE, "CKR_ENCRYPTED_DATA_INVALID", "CKR_GENERAL_ERROR",
     "wrong padding and wrong tags are CKR_ENCRYPTED_DATA_INVALID", "5.10, C_Decrypt"},
    {"bad-ciphertext-length", PEER_SOFTHSM, "C_Decrypt?(Final)", "@(CBC*|GCM)", "tampered",
     WHAT_CODE, "CKR_ENCRYPTED_DATA_LEN_RANGE", "CKR_@(GENERAL_ERROR|BUFFER_TOO_SMALL)",
     "so is a ciphertext whose length cannot be: CKR_ENCRYPTED_DATA_LEN_RANGE", "5.10, C_Decrypt"},
    {"short-hmac-key", PEER_SOFTHSM, "C_@(Sign|Verify)Init", "HMAC*",
     "@(short key|another operation active|after an error)", WHAT_CODE, "CKR_OK",
     "CKR_KEY_SIZE_RANGE",
     "an HMAC key may be shorter than the digest (FIPS 198-1); C_GetMechanismInfo tells the range",
     "6, HMAC; 5.5, C_GetMechanismInfo"},
    {"logout-not-logged-in", PEER_SOFTHSM, "C_Logout", "*", "not logged in", WHAT_CODE,
     "CKR_USER_NOT_LOGGED_IN", "CKR_OK", "nobody is logged in", "5.6, C_Logout"},
    {"template-before-login", PEER_SOFTHSM, "C_@(CreateObject|GenerateKey|CopyObject)", "*", "*",
     WHAT_CODE,
     "CKR_@(ATTRIBUTE_READ_ONLY|ATTRIBUTE_VALUE_INVALID|ATTRIBUTE_TYPE_INVALID|TEMPLATE_INCOMPLETE|"
     "TEMPLATE_INCONSISTENT)",
     "CKR_USER_NOT_LOGGED_IN", "two errors at once: which is told is the token's choice", "5.1.7"},
    {"refused-object-remains", PEER_SOFTHSM, "C_FindObjects", "*", "after a refused object",
     WHAT_LENGTH, "CKR_OK", "CKR_OK",
     "SoftHSM keeps what it had made of a session object that it then refuses",
     "5: a call does all or nothing"},
    {"allowed-mechanisms-unset", PEER_SOFTHSM, "C_GetAttributeValue", "ALLOWED_MECHANISMS", "*",
     WHAT_CODE, "CKR_ATTRIBUTE_TYPE_INVALID", "CKR_OK",
     "unset is not empty: an empty list allows nothing", "4.8"},
    {"no-check-value", PEER_SOFTHSM, "C_GetAttributeValue", "CHECK_VALUE", "*", WHAT_CODE,
     "CKR_ATTRIBUTE_TYPE_INVALID", "CKR_@(OK|BUFFER_TOO_SMALL)",
     "GCM keys and short keys have no check value: it would be part of GHASH's key, or of a guess "
     "(docs/security-model.md)",
     "4.10.2, CKA_CHECK_VALUE is optional"},
    {"null-mechanism-cancels", PEER_SOFTHSM, "C_*Init", "*", "no mechanism", WHAT_CODE, "CKR_OK",
     "CKR_ARGUMENTS_BAD", "no mechanism ends the active operation, if any; SoftHSM is of 2.40",
     "5.8, C_EncryptInit"},
    {"nothing-begun-no-length", PEER_SOFTHSM, "C_*", "*", "@(no length|no count)", WHAT_CODE,
     "CKR_OPERATION_NOT_INITIALIZED", "CKR_ARGUMENTS_BAD",
     "two errors at once: which is told is the token's choice", "5.1.7"},
    {"failed-operation-goes-on", ANY_PEER, "C_*", "*", "after an error", WHAT_CODE,
     "CKR_OPERATION_NOT_INITIALIZED", "*",
     "an error other than CKR_BUFFER_TOO_SMALL ends the operation; SoftHSM keeps it in some cases",
     "5.8, C_Encrypt"},
    {"openers-stay-inside", ANY_PEER, "C_@(CopyObject|SetAttributeValue)", "*",
     "extractable opener", WHAT_CODE, "CKR_TEMPLATE_INCONSISTENT", "CKR_@(OK|ATTRIBUTE_READ_ONLY)",
     "policy rule openers-stay-inside", "4.1.2, 4.1.3"},
    {"wrapped-under-as-strong", ANY_PEER, "C_WrapKey", "*", "stronger than its wrapping key",
     WHAT_CODE, "CKR_WRAPPING_KEY_SIZE_RANGE", "CKR_OK", "policy rule wrapped-under-as-strong",
     "5.18, C_WrapKey"},
    {"unwrapped-keys-are-sensitive", ANY_PEER, "C_UnwrapKey", "*", "readable", WHAT_CODE,
     "CKR_TEMPLATE_INCONSISTENT", "CKR_OK", "policy rule unwrapped-keys-are-sensitive",
     "5.18, C_UnwrapKey"},
    {"hkdf-data-is-listed", PEER_NSS, "C_DeriveKey", "HKDF_DATA",
     "data from a key that is not readable", WHAT_CODE,
     "CKR_@(MECHANISM_PARAM_INVALID|KEY_SIZE_RANGE)",
     "CKR_@(OK|KEY_FUNCTION_NOT_PERMITTED|ATTRIBUTE_VALUE_INVALID)",
     "policy rule hkdf-data-is-listed: the data would be the key that CKM_HKDF_DERIVE makes",
     "6, HKDF"},
    {"no-truncation", PEER_NSS, "C_DeriveKey", "XOR", "shorter than its base", WHAT_CODE,
     "CKR_TEMPLATE_INCONSISTENT", "CKR_OK", "policy rule no-truncation", "5.18, C_DeriveKey"},
    {"ctr-counter-bits", ANY_PEER, "C_*Init", "CTR", "counter bits", WHAT_CODE,
     "CKR_MECHANISM_PARAM_INVALID", "*", "a counter has 1 to 128 bits", "6, AES-CTR"},
    {"nss-wraps-unextractable", PEER_NSS, "C_WrapKey", "*", "unextractable", WHAT_CODE,
     "CKR_KEY_UNEXTRACTABLE", "CKR_OK", "CKA_EXTRACTABLE is false", "5.18, C_WrapKey"},
    {"kw-whole-blocks", ANY_PEER, "C_WrapKey", "KW", "no whole blocks", WHAT_CODE,
     "CKR_KEY_SIZE_RANGE", "CKR_OK",
     "AES-KW wraps whole blocks of 8 bytes (NIST SP 800-38F); CKM_AES_KEY_WRAP_KWP pads",
     "6, AES key wrap"},
    {"wrapped-key-invalid", PEER_SOFTHSM, "C_UnwrapKey", "*", "tampered", WHAT_CODE,
     "CKR_WRAPPED_KEY_INVALID", "CKR_GENERAL_ERROR",
     "a blob that fails its check is CKR_WRAPPED_KEY_INVALID", "5.18, C_UnwrapKey"},
    {"nss-wrapping-is-encryption", PEER_NSS, "C_@(Wrap|Unwrap)Key", "*", "*", WHAT_CODE, "*",
     "CKR_OPERATION_ACTIVE",
     "NSS wraps with the session's own encryption operation: none may be active",
     "5.18, C_WrapKey"},
    {"nss-message-tag", PEER_NSS, "C_DecryptMessage", "GCM", "tampered", WHAT_CODE,
     "CKR_AEAD_DECRYPT_FAILED", "CKR_ENCRYPTED_DATA_INVALID",
     "a wrong tag is CKR_AEAD_DECRYPT_FAILED in the message functions", "5.11, C_DecryptMessage"},
    {"nss-wrapped-length", PEER_NSS, "C_UnwrapKey", "*", "@(wrong length|tampered)", WHAT_CODE,
     "CKR_WRAPPED_KEY_LEN_RANGE", "CKR_DATA_LEN_RANGE",
     "a blob's length is told of by CKR_WRAPPED_KEY_LEN_RANGE", "5.18, C_UnwrapKey"},
    {"unwrapped-attributes", PEER_SOFTHSM, "C_GetAttributeValue", "@(CHECK_VALUE|VALUE_LEN)",
     "unwrapped", WHAT_LENGTH, "CKR_OK", "CKR_OK",
     "an unwrapped key has its length and its check value; SoftHSM leaves them empty",
     "5.18, C_UnwrapKey"},
    {"unwrapped-attributes-bytes", PEER_SOFTHSM, "C_GetAttributeValue", "@(CHECK_VALUE|VALUE_LEN)",
     "unwrapped", WHAT_BYTES, "CKR_OK", "CKR_OK",
     "an unwrapped key has its length and its check value; SoftHSM leaves them empty",
     "5.18, C_UnwrapKey"},
    {"unwrapped-attributes-room", PEER_SOFTHSM, "C_GetAttributeValue", "CHECK_VALUE",
     "small buffer", WHAT_CODE, "CKR_BUFFER_TOO_SMALL", "CKR_OK", "the same: nothing needs no room",
     "5.18, C_UnwrapKey"},
    {"nss-extractable-again", PEER_NSS, "C_CopyObject", "*", "extractable", WHAT_CODE,
     "CKR_ATTRIBUTE_READ_ONLY", "CKR_OK", "CKA_EXTRACTABLE never becomes true",
     "4.10, footnote 12"},
    {"nss-data-value", PEER_NSS, "C_CopyObject", "data", "value", WHAT_CODE,
     "CKR_ATTRIBUTE_READ_ONLY", "CKR_OK", "the value of a data object does not change", "4.5"},
    {"nss-template-unchecked", PEER_NSS, "C_CreateObject", "*",
     "@(boolean of three bytes|read-only attribute|unknown attribute|unknown key type|value "
     "length|attribute of another class)",
     WHAT_CODE, "*", "CKR_OK", "NSS takes what it does not know, and what may not be given",
     "4.1.1"},
    {"nss-unextractable-value", PEER_NSS, "C_GetAttributeValue", "VALUE", "*", WHAT_CODE,
     "CKR_ATTRIBUTE_SENSITIVE", "CKR_OK", "the value of a key that is not extractable is not shown",
     "4.10, footnote 7"},
    {"nss-missing-attributes", PEER_NSS, "C_GetAttributeValue",
     "@(CHECK_VALUE|COPYABLE|DESTROYABLE|KEY_GEN_MECHANISM|TRUSTED|WRAP_WITH_TRUSTED|VALUE_LEN|"
     "OBJECT_ID|START_DATE|ID|APPLICATION)",
     "*", WHAT_CODE, "CKR_@(OK|BUFFER_TOO_SMALL)", "CKR_ATTRIBUTE_TYPE_INVALID",
     "NSS keeps no such attribute unless the template gave it", "4.4.1, 4.7, 4.10"},
    {"nss-data-attributes", PEER_NSS, "C_GetAttributeValue", "@(VALUE_LEN|KEY_TYPE)",
     "@(data|small buffer)", WHAT_CODE, "CKR_ATTRIBUTE_TYPE_INVALID", "CKR_OK",
     "a data object has no such attribute; NSS keeps what the template gave", "4.5"},
    {"nss-key-history", PEER_NSS, "C_GetAttributeValue",
     "@(LOCAL|ALWAYS_SENSITIVE|NEVER_EXTRACTABLE)", "@(generated|derived|copied)", WHAT_BYTES,
     "CKR_OK", "CKR_OK",
     "a generated key is local, and its history begins with its template; NSS does not set this "
     "for session keys",
     "5.18, C_GenerateKey"},
    {"nss-buffer-length", PEER_NSS, "C_GetAttributeValue", "*", "small buffer", WHAT_CODE,
     "CKR_BUFFER_TOO_SMALL", "CKR_OK", "NSS writes the value whatever ulValueLen says",
     "5.7, C_GetAttributeValue"},
    {"nss-one-way-attribute", PEER_NSS, "C_SetAttributeValue", "EXTRACTABLE", "as it is", WHAT_CODE,
     "CKR_OK", "CKR_ATTRIBUTE_READ_ONLY", "given the value that it has, nothing changes",
     "4.10, footnote 12"},
    {"nss-set-order", PEER_NSS, "C_SetAttributeValue", "@(KEY_TYPE|EXTRACTABLE)", "data", WHAT_CODE,
     "CKR_ATTRIBUTE_TYPE_INVALID", "CKR_ATTRIBUTE_READ_ONLY", "a data object has no such attribute",
     "4.5"},
    {"nss-public-token", PEER_NSS, "C_@(GetSessionInfo|GetTokenInfo)", "*", "*", WHAT_BYTES,
     "CKR_OK", "CKR_OK", "NSS's token for session objects has no login", "5.5, C_GetTokenInfo"},
    {"nss-parallel", PEER_NSS, "C_OpenSession", "*", "parallel", WHAT_CODE,
     "CKR_SESSION_PARALLEL_NOT_SUPPORTED", "CKR_OK", "CKF_SERIAL_SESSION must be set",
     "5.6, C_OpenSession"},
    {"nss-search", PEER_NSS, "C_FindObjectsInit", "*", "@(active|another operation active)",
     WHAT_CODE, "CKR_OPERATION_ACTIVE", "CKR_OK", "one search a session; NSS drops the first",
     "5.7, C_FindObjectsInit"},
    {"nss-search-end", PEER_NSS, "C_FindObjectsFinal", "*", "not begun", WHAT_CODE,
     "CKR_OPERATION_NOT_INITIALIZED", "CKR_OK", "no search is active", "5.7, C_FindObjectsFinal"},
    {"general-mac-length", ANY_PEER, "C_@(Sign|Verify)Init", "*_GENERAL",
     "@(MAC too short|MAC too long)", WHAT_CODE, "CKR_MECHANISM_PARAM_INVALID", "*",
     "floors of 80 and 64 bits, and no more than the MAC has; peers are asked for the full MAC, "
     "which is cut, because SoftHSM has no general MACs and NSS 3.87 refuses every length",
     "6, general-length HMAC; docs/security-model.md"},
    {"nss-cmac-verify", PEER_NSS, "C_VerifyInit", "CMAC*", "*", WHAT_CODE, "*",
     "CKR_MECHANISM_INVALID", "NSS lists the mechanism for verification and has none",
     "6, AES-CMAC"},
    {"nss-mac-room", PEER_NSS, "C_@(Sign|SignFinal|Digest|DigestFinal)", "*", "small buffer",
     WHAT_CODE, "CKR_BUFFER_TOO_SMALL", "CKR_OK", "NSS cuts the result to the room", "5.2"},
    {"nss-short-mac-verifies", PEER_NSS, "C_@(Verify|VerifyFinal)", "*", "tampered", WHAT_CODE,
     "CKR_SIGNATURE_LEN_RANGE", "CKR_OK", "NSS compares as many bytes as it is given",
     "5.15, C_Verify"},
    {"nss-mac-error", PEER_NSS, "C_@(Verify|VerifyFinal)", "*", "tampered", WHAT_CODE,
     "CKR_SIGNATURE_INVALID", "*", "NSS tells the last error of the thread, whatever it was",
     "5.15, C_Verify"},
    {"nss-mac-key-type", PEER_NSS, "C_@(Sign|Verify)Init", "@(HMAC|CMAC)*",
     "@(key of another hash|another operation active|after an error|wrong type of key)", WHAT_CODE,
     "CKR_KEY_TYPE_INCONSISTENT", "CKR_@(OK|KEY_SIZE_RANGE)",
     "a key of type CKK_SHA256_HMAC is for that hash alone, and CMAC is for AES; NSS does not look",
     "6, HMAC"},
    {"nss-key-type-after-use", PEER_NSS, "C_*Init", "*", "@(key of another use|wrong type of key)",
     WHAT_CODE, "CKR_KEY_FUNCTION_NOT_PERMITTED", "CKR_KEY_TYPE_INCONSISTENT",
     "the type is right, the use is not", "5.1.6, CKR_KEY_FUNCTION_NOT_PERMITTED"},
    {"nss-derive-flag", PEER_NSS, "C_DeriveKey", "*", "@(key of another use|wrong type of key)",
     WHAT_CODE,
     "CKR_@(KEY_FUNCTION_NOT_PERMITTED|KEY_TYPE_INCONSISTENT|KEY_SIZE_RANGE|MECHANISM_PARAM_"
     "INVALID)",
     "CKR_@(OK|HOST_MEMORY|KEY_SIZE_RANGE|MECHANISM_PARAM_INVALID)",
     "a base key needs CKA_DERIVE and the mechanism's type; NSS looks at neither",
     "5.18, C_DeriveKey"},
    {"nss-derive-order", PEER_NSS, "C_DeriveKey", "*", "@(key of another use|wrong type of key)",
     WHAT_CODE, "CKR_@(TEMPLATE_INCONSISTENT|KEY_SIZE_RANGE)",
     "CKR_@(OK|KEY_FUNCTION_NOT_PERMITTED)",
     "what is derived from the other key would be less sensitive, or have more uses, than policy "
     "allows",
     "5.18, C_DeriveKey"},
    {"hkdf-too-short-to-expand", PEER_NSS, "C_DeriveKey", "HKDF*", "too short to expand", WHAT_CODE,
     "CKR_KEY_SIZE_RANGE", "CKR_OK",
     "a pseudorandom key has at least the hash's length (RFC 5869, 2.3)", "6, HKDF"},
    {"nss-whole-blocks", PEER_NSS, "C_@(Encrypt|Decrypt)Update", "@(CBC*|ECB)",
     "@(|exact part|small buffer|size query|no input|after a size query)", WHAT_CODE,
     "CKR_@(OK|BUFFER_TOO_SMALL)", "CKR_@(DATA_LEN_RANGE|ENCRYPTED_DATA_LEN_RANGE)",
     "a part has any length: what does not fill a block waits", "5.8, C_EncryptUpdate"},
    {"nss-length-code", PEER_NSS, "C_Decrypt", "@(CBC|ECB|GCM)", "@(tampered|after a size query)",
     WHAT_CODE, "CKR_ENCRYPTED_DATA_LEN_RANGE", "CKR_DATA_LEN_RANGE",
     "a ciphertext's length is told of by CKR_ENCRYPTED_DATA_LEN_RANGE", "5.10, C_Decrypt"},
    {"nss-nothing-padded", PEER_NSS, "C_DecryptFinal", "CBC_PAD", "@(tampered|after a size query|)",
     WHAT_CODE, "CKR_ENCRYPTED_DATA_LEN_RANGE", "CKR_OK", "padded text has at least one block",
     "5.10, C_DecryptFinal"},
    {"nss-gcm-in-parts", PEER_NSS, "C_@(Encrypt|Decrypt)@(Update|Final)", "GCM", "*", WHAT_CODE,
     "*", "CKR_OPERATION_NOT_INITIALIZED", "NSS 3.87 has AES-GCM in one part only",
     "5.8, C_EncryptUpdate"},
    {"nss-query-ends", PEER_NSS, "C_*", "*", "@(after a size query|size query|small buffer)",
     WHAT_CODE, "CKR_OK", "CKR_OPERATION_NOT_INITIALIZED",
     "a size query keeps the operation; NSS's C_*Final ends it when nothing is left to write",
     "5.2"},
    {"nss-query-ends-init", PEER_NSS, "C_*Init", "*", "active", WHAT_CODE, "CKR_OPERATION_ACTIVE",
     "CKR_OK", "the same, seen by the next C_*Init", "5.2"},
    {"nss-generate-type", PEER_NSS, "C_GenerateKey", "*", "another type of key", WHAT_CODE,
     "CKR_TEMPLATE_INCONSISTENT", "*", "the mechanism makes keys of one type",
     "5.18, C_GenerateKey"},
};
const size_t differences_count = sizeof(differences) / sizeof(differences[0]);
_Static_assert(sizeof(differences) / sizeof(differences[0]) <= DIFFERENCES_MAX, "too many");

static bool fits(const char *pattern, const char *text)
{
    return fnmatch(pattern, text, FNM_EXTMATCH) == 0;
}

bool difference_find(const struct finding *finding, size_t *ret_place)
{
    for (size_t i = 0; i < differences_count; i++) {
        const struct difference *row = &differences[i];
        if ((row->peer != ANY_PEER && row->peer != (int) finding->peer) ||
            row->what != finding->what)
            continue;
        if (fits(row->functions, call_name(finding->function)) &&
            fits(row->subject, finding->subject) && fits(row->variant, finding->variant) &&
            fits(row->ours, code_name(finding->ours)) &&
            fits(row->theirs, code_name(finding->theirs))) {
            *ret_place = i;
            return true;
        }
    }
    return false;
}

bool differences_are_told(const char *page)
{
    static char text[1 << 16];
    FILE *file = fopen(page, "r");
    bool told = true;

    if (file == NULL) {
        printf("%s cannot be read\n", page);
        return false;
    }
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    for (size_t i = 0; i < differences_count; i++) {
        char name[80];
        snprintf(name, sizeof(name), "| `%s` |", differences[i].name);
        if (strstr(text, name) == NULL) {
            printf("%s does not tell of %s\n", page, differences[i].name);
            told = false;
        }
    }
    return told;
}
