#include "tools/migrate.h"

#include <string.h>

#include "base/rv.h"
#include "module/admin_export.h"
#include "tools/peer_vectors.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

static CK_RV check_derives(const struct peer *to)
{
    CK_MECHANISM_INFO mechanism = {0, 0, 0};
    CK_SESSION_INFO session;
    CK_RV rv = to->p11->C_GetSessionInfo(to->session, &session);

    if (rv != CKR_OK)
        return peer_failed(to, "C_GetSessionInfo", rv);
    rv = to->p11->C_GetMechanismInfo(session.slotID, CKM_SP800_108_COUNTER_KDF, &mechanism);
    if (rv != CKR_OK || (mechanism.flags & CKF_DERIVE) == 0)
        return FAIL(CKR_MECHANISM_INVALID,
                    "%s has no CKM_SP800_108_COUNTER_KDF: provision it with the subkeys", to->name);
    return CKR_OK;
}

/* An index key derives and does nothing else; a module's defaults may say otherwise. */
static CK_RV put(const struct provision_job *job, const struct peer_rsa *rsa, struct blob *id,
                 struct view wrapped)
{
    CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_MECHANISM_TYPE allowed = CKM_SP800_108_COUNTER_KDF;
    CK_OBJECT_HANDLE key;
    CK_ATTRIBUTE entries[] = {
        {CKA_CLASS, &object_class, sizeof(object_class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_EXTRACTABLE, &no, sizeof(no)},
        {CKA_DERIVE, &yes, sizeof(yes)},
        {CKA_SIGN, &no, sizeof(no)},
        {CKA_VERIFY, &no, sizeof(no)},
        {CKA_ENCRYPT, &no, sizeof(no)},
        {CKA_DECRYPT, &no, sizeof(no)},
        {CKA_WRAP, &no, sizeof(no)},
        {CKA_UNWRAP, &no, sizeof(no)},
        {CKA_LABEL, (char *) job->label, strlen(job->label)},
        {CKA_ID, id->bytes, id->len},
        {CKA_ALLOWED_MECHANISMS, &allowed, sizeof(allowed)},
    };
    const struct peer_template template = {entries, COUNT_OF(entries)};

    return peer_unwrap(&job->to, rsa, wrapped, &template, &key);
}

static CK_RV transfer(const struct provision_job *job, const struct peer_rsa *rsa)
{
    _cleanup_(admin_exported_clear) struct admin_exported exported = {.count = 0};
    _cleanup_(blob_clear) struct blob id = {NULL, 0};
    CK_OBJECT_HANDLE index_key;
    const struct admin_export request = {
        .form = ADMIN_EXPORT_INDEX_KEY,
        .to = rsa->public,
        .hash = rsa->hash,
        .approvals = job->approvals,
    };

    TRY(peer_find(&job->from, CKO_SECRET_KEY, job->label, &index_key));
    TRY(peer_attribute(&job->from, index_key, CKA_ID, &id));
    TRY(admin_key_export(job->from.session, index_key, &request, &exported));
    return put(job, rsa, &id, blob_view(&exported.keys[0].bytes));
}

CK_RV migrate_transfer(const struct provision_job *job)
{
    _cleanup_(peer_rsa_clear) struct peer_rsa rsa = {0};

    TRY(check_derives(&job->to));
    TRY(peer_lacks(&job->to, CKO_SECRET_KEY, job->label));
    TRY(peer_rsa_find(&job->to, job->rsa_label, &rsa));
    return transfer(job, &rsa);
}

static CK_RV derive(const struct peer *peer, CK_OBJECT_HANDLE base, enum indexkey_purpose purpose,
                    CK_OBJECT_HANDLE *ret_key)
{
    bool is_cipher = purpose == INDEXKEY_PURPOSE_PAYLOAD || purpose == INDEXKEY_PURPOSE_ITEM;
    CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = is_cipher ? CKK_AES : CKK_GENERIC_SECRET;
    CK_ULONG len = INDEXKEY_KEY_LEN;
    CK_ATTRIBUTE entries[] = {
        {CKA_CLASS, &object_class, sizeof(object_class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_TOKEN, &no, sizeof(no)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_EXTRACTABLE, &no, sizeof(no)},
        {is_cipher ? CKA_ENCRYPT : CKA_SIGN, &yes, sizeof(yes)},
        {is_cipher ? CKA_DECRYPT : CKA_VERIFY, &yes, sizeof(yes)},
    };
    struct indexkey_kdf kdf;

    TRY(indexkey_kdf_make(purpose, &kdf));
    CK_RV rv = peer->p11->C_DeriveKey(peer->session, &kdf.mechanism, base, entries,
                                      COUNT_OF(entries), ret_key);
    return rv == CKR_OK ? CKR_OK : peer_failed(peer, "C_DeriveKey", rv);
}

static CK_RV check_one(const struct provision_job *job, enum indexkey_purpose purpose)
{
    struct vector_pair pair = {
        .from = &job->from,
        .to = &job->to,
        .label = job->label,
        .is_cipher = purpose == INDEXKEY_PURPOSE_PAYLOAD || purpose == INDEXKEY_PURPOSE_ITEM,
    };
    CK_OBJECT_HANDLE from;
    CK_OBJECT_HANDLE to;

    TRY(peer_find(&job->from, CKO_SECRET_KEY, job->label, &from));
    TRY(peer_find(&job->to, CKO_SECRET_KEY, job->label, &to));
    TRY(derive(&job->from, from, purpose, &pair.from_key));
    CK_RV rv = derive(&job->to, to, purpose, &pair.to_key);
    if (rv == CKR_OK) {
        rv = vector_pair_check(&pair);
        (void) job->to.p11->C_DestroyObject(job->to.session, pair.to_key);
    }
    (void) job->from.p11->C_DestroyObject(job->from.session, pair.from_key);
    return rv;
}

CK_RV migrate_check(const struct provision_job *job)
{
    for (int purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++)
        TRY(check_one(job, (enum indexkey_purpose) purpose));
    return CKR_OK;
}
