#include "tools/provision.h"

#include <stdio.h>
#include <string.h>

#include "base/rv.h"
#include "module/admin_export.h"
#include "tools/peer_vectors.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define ID_LEN_MAX 64

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

static bool is_cipher(unsigned char purpose)
{
    return purpose == INDEXKEY_PURPOSE_PAYLOAD || purpose == INDEXKEY_PURPOSE_ITEM;
}

CK_RV provision_label(const struct provision_job *job, unsigned char purpose,
                      char ret_label[PEER_LABEL_LEN])
{
    int len = snprintf(ret_label, PEER_LABEL_LEN, "%s/%s", job->label,
                       indexkey_purpose_name((enum indexkey_purpose) purpose));

    return len > 0 && len < PEER_LABEL_LEN
               ? CKR_OK
               : FAIL(CKR_ARGUMENTS_BAD, "the label of the index key is too long");
}

/* ---- transfer ---- */

struct transfer {
    const struct provision_job *job;
    struct peer_rsa rsa;
    struct blob id; /* the index key's */
    struct admin_exported exported;
    CK_OBJECT_HANDLE made[INDEXKEY_PURPOSE_COUNT];
    size_t made_count;
};

static void transfer_clear(struct transfer *transfer)
{
    peer_rsa_clear(&transfer->rsa);
    blob_clear(&transfer->id);
    admin_exported_clear(&transfer->exported);
}

static void withdraw(struct transfer *transfer)
{
    const struct peer *to = &transfer->job->to;

    while (transfer->made_count > 0) {
        CK_RV rv = to->p11->C_DestroyObject(to->session, transfer->made[--transfer->made_count]);
        if (rv != CKR_OK)
            (void) peer_failed(to, "C_DestroyObject of a key that was made in vain", rv);
    }
}

/* Some modules know no CKA_ALLOWED_MECHANISMS, which is the last entry. */
static CK_RV unwrap(struct transfer *transfer, struct view wrapped, struct peer_template *template)
{
    const struct provision_job *job = transfer->job;
    CK_OBJECT_HANDLE *made = &transfer->made[transfer->made_count];
    CK_RV rv = peer_unwrap(&job->to, &transfer->rsa, wrapped, template, made);

    if (rv == CKR_ATTRIBUTE_TYPE_INVALID) {
        template->count--;
        rv = peer_unwrap(&job->to, &transfer->rsa, wrapped, template, made);
    }
    TRY(rv);
    transfer->made_count++;
    return CKR_OK;
}

static CK_RV put(struct transfer *transfer, const struct admin_wrapped *wrapped)
{
    CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = is_cipher(wrapped->purpose) ? CKK_AES : CKK_GENERIC_SECRET;
    CK_ATTRIBUTE_TYPE uses[2] = {is_cipher(wrapped->purpose) ? CKA_ENCRYPT : CKA_SIGN,
                                 is_cipher(wrapped->purpose) ? CKA_DECRYPT : CKA_VERIFY};
    const CK_MECHANISM_TYPE *mechanisms;
    CK_ULONG mechanism_count;
    char label[PEER_LABEL_LEN];
    unsigned char id[ID_LEN_MAX + 1];

    TRY(provision_label(transfer->job, wrapped->purpose, label));
    TRY(indexkey_mechanisms((enum indexkey_purpose) wrapped->purpose, &mechanisms,
                            &mechanism_count));
    if (transfer->id.len > 0)
        memcpy(id, transfer->id.bytes, transfer->id.len);
    id[transfer->id.len] = wrapped->purpose;
    CK_ATTRIBUTE entries[] = {
        {CKA_CLASS, &object_class, sizeof(object_class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_EXTRACTABLE, &no, sizeof(no)},
        {CKA_LABEL, label, strlen(label)},
        {CKA_ID, id, transfer->id.len + 1},
        {uses[0], &yes, sizeof(yes)},
        {uses[1], &yes, sizeof(yes)},
        {CKA_ALLOWED_MECHANISMS, (void *) mechanisms, mechanism_count * sizeof(*mechanisms)},
    };
    struct peer_template template = {entries, COUNT_OF(entries)};
    return unwrap(transfer, blob_view(&wrapped->bytes), &template);
}

static CK_RV check_room(const struct provision_job *job)
{
    char label[PEER_LABEL_LEN];

    for (unsigned char purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++) {
        TRY(provision_label(job, purpose, label));
        TRY(peer_lacks(&job->to, CKO_SECRET_KEY, label));
    }
    return CKR_OK;
}

CK_RV provision_transfer(const struct provision_job *job)
{
    _cleanup_(transfer_clear) struct transfer transfer = {.job = job};
    CK_OBJECT_HANDLE index_key;
    CK_RV rv = CKR_OK;

    TRY(check_room(job));
    TRY(peer_rsa_find(&job->to, job->rsa_label, &transfer.rsa));
    TRY(peer_find(&job->from, CKO_SECRET_KEY, job->label, &index_key));
    TRY(peer_attribute(&job->from, index_key, CKA_ID, &transfer.id));
    if (transfer.id.len > ID_LEN_MAX)
        return FAIL(CKR_DATA_LEN_RANGE, "the id of '%s' is too long", job->label);
    const struct admin_export request = {
        .form = ADMIN_EXPORT_SUBKEYS,
        .to = transfer.rsa.public,
        .hash = transfer.rsa.hash,
        .approvals = job->approvals,
    };
    TRY(admin_key_export(job->from.session, index_key, &request, &transfer.exported));
    for (size_t i = 0; rv == CKR_OK && i < transfer.exported.count; i++)
        rv = put(&transfer, &transfer.exported.keys[i]);
    if (rv != CKR_OK)
        withdraw(&transfer);
    return rv;
}

/* ---- vectors ---- */

static CK_RV check_one(const struct provision_job *job, unsigned char purpose, size_t *count)
{
    char label[PEER_LABEL_LEN];
    CK_ULONG shown = 0;

    TRY(provision_label(job, purpose, label));
    struct vector_pair pair = {
        .from = &job->from, .to = &job->to, .label = label, .is_cipher = is_cipher(purpose)};
    TRY(peer_count(&job->from, CKO_SECRET_KEY, label, &shown));
    if (shown == 0)
        return CKR_OK;
    TRY(peer_find(&job->from, CKO_SECRET_KEY, label, &pair.from_key));
    TRY(peer_find(&job->to, CKO_SECRET_KEY, label, &pair.to_key));
    TRY(vector_pair_check(&pair));
    (*count)++;
    return CKR_OK;
}

CK_RV provision_check(const struct provision_job *job)
{
    size_t count = 0;

    for (unsigned char purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++)
        TRY(check_one(job, purpose, &count));
    if (count == 0)
        return FAIL(CKR_FUNCTION_FAILED, "this token shows no subkey of '%s' to compare with",
                    job->label);
    return CKR_OK;
}
