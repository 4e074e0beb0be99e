#include "tools/peer.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"

#define ATTRIBUTE_LEN_MAX 65536U
#define TRIAL_LEN 32

CK_RV peer_failed(const struct peer *peer, const char *function, CK_RV rv)
{
    return FAIL(rv, "%s: %s answers 0x%lx", peer->name, function, rv);
}

/* Up to two, which is enough to tell one from many. */
static CK_RV search(const struct peer *peer, CK_OBJECT_CLASS object_class, const char *label,
                    CK_OBJECT_HANDLE ret_objects[2], CK_ULONG *ret_count)
{
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &object_class, sizeof(object_class)},
        {CKA_LABEL, (char *) label, strlen(label)},
    };
    CK_RV rv = peer->p11->C_FindObjectsInit(peer->session, template, 2);

    if (rv != CKR_OK)
        return peer_failed(peer, "C_FindObjectsInit", rv);
    rv = peer->p11->C_FindObjects(peer->session, ret_objects, 2, ret_count);
    (void) peer->p11->C_FindObjectsFinal(peer->session);
    return rv == CKR_OK ? CKR_OK : peer_failed(peer, "C_FindObjects", rv);
}

CK_RV peer_find(const struct peer *peer, CK_OBJECT_CLASS object_class, const char *label,
                CK_OBJECT_HANDLE *ret_object)
{
    CK_OBJECT_HANDLE objects[2];
    CK_ULONG count = 0;

    TRY(search(peer, object_class, label, objects, &count));
    if (count != 1)
        return FAIL(CKR_OBJECT_HANDLE_INVALID, "%s: %s key '%s'", peer->name,
                    count == 0 ? "there is no" : "there is more than one", label);
    *ret_object = objects[0];
    return CKR_OK;
}

CK_RV peer_count(const struct peer *peer, CK_OBJECT_CLASS object_class, const char *label,
                 CK_ULONG *ret_count)
{
    CK_OBJECT_HANDLE objects[2];

    return search(peer, object_class, label, objects, ret_count);
}

CK_RV peer_lacks(const struct peer *peer, CK_OBJECT_CLASS object_class, const char *label)
{
    CK_ULONG count = 0;

    TRY(peer_count(peer, object_class, label, &count));
    if (count > 0)
        return FAIL(CKR_FUNCTION_REJECTED, "%s: there is a key '%s' already", peer->name, label);
    return CKR_OK;
}

CK_RV peer_attribute(const struct peer *peer, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                     struct blob *ret_value)
{
    _cleanup_(blob_clear) struct blob value = {NULL, 0};
    CK_ATTRIBUTE attribute = {type, NULL, 0};
    CK_RV rv = peer->p11->C_GetAttributeValue(peer->session, object, &attribute, 1);

    if (rv != CKR_OK || attribute.ulValueLen > ATTRIBUTE_LEN_MAX)
        return peer_failed(peer, "C_GetAttributeValue", rv == CKR_OK ? CKR_DEVICE_ERROR : rv);
    value.bytes = mem_alloc(attribute.ulValueLen);
    if (value.bytes == NULL)
        return CKR_HOST_MEMORY;
    value.len = attribute.ulValueLen;
    attribute.pValue = value.bytes;
    rv = peer->p11->C_GetAttributeValue(peer->session, object, &attribute, 1);
    if (rv != CKR_OK || attribute.ulValueLen > value.len)
        return peer_failed(peer, "C_GetAttributeValue", rv == CKR_OK ? CKR_DEVICE_ERROR : rv);
    value.len = attribute.ulValueLen;
    *ret_value = blob_move(&value);
    return CKR_OK;
}

static CK_RV unwrap(const struct peer *peer, const struct peer_rsa *rsa, struct view wrapped,
                    const struct peer_template *template, CK_OBJECT_HANDLE *ret_key)
{
    bool is_sha1 = strcmp(rsa->hash, "SHA1") == 0;
    CK_RSA_PKCS_OAEP_PARAMS params = {
        .hashAlg = is_sha1 ? CKM_SHA_1 : CKM_SHA256,
        .mgf = is_sha1 ? CKG_MGF1_SHA1 : CKG_MGF1_SHA256,
        .source = CKZ_DATA_SPECIFIED,
    };
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_OAEP, &params, sizeof(params)};

    return peer->p11->C_UnwrapKey(peer->session, &mechanism, rsa->private_key,
                                  (CK_BYTE *) wrapped.bytes, wrapped.len, template->entries,
                                  template->count, ret_key);
}

CK_RV peer_unwrap(const struct peer *peer, const struct peer_rsa *rsa, struct view wrapped,
                  const struct peer_template *template, CK_OBJECT_HANDLE *ret_key)
{
    CK_RV rv = unwrap(peer, rsa, wrapped, template, ret_key);

    return rv == CKR_OK ? CKR_OK : peer_failed(peer, "C_UnwrapKey", rv);
}

/* A random value that is thrown away. */
static CK_RV try_hash(const struct peer *peer, struct peer_rsa *rsa, const char *hash)
{
    static CK_BBOOL yes = CK_TRUE;
    static CK_BBOOL no = CK_FALSE;
    CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ATTRIBUTE entries[] = {
        {CKA_CLASS, &object_class, sizeof(object_class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &no, sizeof(no)},
        {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_EXTRACTABLE, &no, sizeof(no)},
    };
    const struct peer_template template = {entries, sizeof(entries) / sizeof(entries[0])};
    _cleanup_(blob_clear) struct blob wrapped = {NULL, 0};
    unsigned char trial[TRIAL_LEN];
    CK_OBJECT_HANDLE key;

    TRY(crypto_random(trial, sizeof(trial)));
    TRY(crypto_rsa_oaep(&rsa->public, hash, (struct view){trial, sizeof(trial)}, &wrapped));
    rsa->hash = hash;
    TRY(unwrap(peer, rsa, blob_view(&wrapped), &template, &key));
    (void) peer->p11->C_DestroyObject(peer->session, key);
    return CKR_OK;
}

void peer_rsa_clear(struct peer_rsa *rsa)
{
    blob_clear(&rsa->modulus);
    blob_clear(&rsa->exponent);
}

CK_RV peer_rsa_find(const struct peer *peer, const char *label, struct peer_rsa *ret_rsa)
{
    _cleanup_(peer_rsa_clear) struct peer_rsa rsa = {0};
    CK_OBJECT_HANDLE public_key;

    TRY(peer_find(peer, CKO_PUBLIC_KEY, label, &public_key));
    TRY(peer_find(peer, CKO_PRIVATE_KEY, label, &rsa.private_key));
    TRY(peer_attribute(peer, public_key, CKA_MODULUS, &rsa.modulus));
    TRY(peer_attribute(peer, public_key, CKA_PUBLIC_EXPONENT, &rsa.exponent));
    rsa.public = (struct rsa_public){blob_view(&rsa.modulus), blob_view(&rsa.exponent)};
    CK_RV rv = try_hash(peer, &rsa, "SHA256");
    if (rv != CKR_OK)
        rv = try_hash(peer, &rsa, "SHA1");
    if (rv != CKR_OK)
        return FAIL(rv,
                    "%s: its key '%s' unwraps no RSA-OAEP, with SHA-256 or SHA-1 (0x%lx); it "
                    "takes CKA_UNWRAP and 2048 bits",
                    peer->name, label, rv);
    *ret_rsa = rsa;
    rsa = (struct peer_rsa){0};
    return CKR_OK;
}
