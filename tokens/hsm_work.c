#include "tokens/hsm_work.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

/* Calls that a parent does not answer cost a thread each: then no more are made. */
#define CALLS_MAX 32
/* C_Finalize is to come back in half a second (custody_cancel). */
#define CLOSE_MS 400

/* ---- wrapping ---- */

/* What the mechanism of a blob is for, and the URI's type= allows. */
static bool fits_type(const struct hsm_work *work, CK_OBJECT_CLASS key_class)
{
    const CK_ATTRIBUTE *type = hsm_uri_attribute(&work->parent->uri, CKA_CLASS);
    CK_OBJECT_CLASS wanted;
    if (type == NULL || type->ulValueLen != sizeof(wanted))
        return true;
    memcpy(&wanted, type->pValue, sizeof(wanted));
    return (wanted == CKO_SECRET_KEY) == (key_class == CKO_SECRET_KEY);
}

static CK_RV find_key(const struct hsm_work *work, const struct hsm_session *session,
                      enum hsm_mechanism mechanism, bool unwraps, CK_OBJECT_HANDLE *ret_key)
{
    CK_OBJECT_CLASS key_class = hsm_wrap_class(mechanism, unwraps);
    session->fault->step = HSM_FIND_KEY;
    if (!fits_type(work, key_class))
        return hsm_fault_set(session->fault, HSM_NO_KEY);
    return hsm_session_find_key(session, key_class, (struct view){0}, ret_key);
}

/* What was wrapped opens again, here and now: many HSMs have mechanisms that they do not let every
 * key or template use. */
static CK_RV prove(struct hsm_work *work, struct hsm_wrapping *wrapping, struct view wrapped)
{
    _cleanup_(secret_clear) struct secret proof = {0};
    TRY(find_key(work, wrapping->session, wrapping->mechanism, true, &wrapping->key));
    TRY(hsm_unwrap(wrapping, wrapped, &proof));
    return secret_equal(&proof, &work->data_key)
               ? CKR_OK
               : hsm_fault_set(wrapping->session->fault, HSM_ODD_ANSWER);
}

static CK_RV wrap_by(struct hsm_work *work, const struct hsm_session *session,
                     enum hsm_mechanism mechanism)
{
    struct hsm_wrapping wrapping = {.session = session, .mechanism = mechanism};
    struct hsm_blob blob = {.mechanism = mechanism};
    _cleanup_(writer_clear) struct writer aad = {0};
    _cleanup_(blob_clear) struct blob made = {0};
    unsigned char id[HSM_ID_LEN_MAX];
    TRY(find_key(work, session, mechanism, false, &wrapping.key));
    hsm_session_key_id(session, wrapping.key, id, &blob.key_id.len);
    blob.key_id.bytes = id;
    hsm_blob_aad(&aad, &blob, blob_view(&work->context));
    if (aad.failed)
        return hsm_fault_set(session->fault, HSM_NO_MEMORY);
    wrapping.aad = writer_view(&aad);
    memcpy(wrapping.iv, work->iv, HSM_IV_LEN);
    TRY(hsm_wrap(&wrapping, &work->data_key, &made));
    TRY(prove(work, &wrapping, blob_view(&made)));
    if (mechanism == HSM_AES_GCM)
        blob.iv = (struct view){wrapping.iv, HSM_IV_LEN};
    blob.ciphertext = blob_view(&made);
    struct writer writer = {0};
    hsm_blob_write(&writer, &blob);
    if (writer_finish(&writer, &work->wrapped) != CKR_OK)
        return hsm_fault_set(session->fault, HSM_NO_MEMORY);
    return CKR_OK;
}

/* The parent has not this mechanism for this key; another may do. */
static bool is_not_offered(const struct hsm_fault *fault)
{
    switch (fault->trouble) {
    case HSM_NO_KEY:
    case HSM_NOT_SHOWN:
    case HSM_CHANGED:
    case HSM_ODD_ANSWER:
        return true;
    case HSM_REFUSED:
        break;
    default:
        return false;
    }
    static const CK_RV refusals[] = {
        CKR_MECHANISM_INVALID,
        CKR_MECHANISM_PARAM_INVALID,
        CKR_ARGUMENTS_BAD,
        CKR_FUNCTION_NOT_SUPPORTED,
        CKR_KEY_FUNCTION_NOT_PERMITTED,
        CKR_KEY_TYPE_INCONSISTENT,
        CKR_KEY_SIZE_RANGE,
        CKR_KEY_NOT_WRAPPABLE,
        CKR_KEY_UNEXTRACTABLE,
        CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
        CKR_WRAPPING_KEY_SIZE_RANGE,
        CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
        CKR_UNWRAPPING_KEY_SIZE_RANGE,
        CKR_TEMPLATE_INCONSISTENT,
        CKR_TEMPLATE_INCOMPLETE,
        CKR_ATTRIBUTE_TYPE_INVALID,
        CKR_ATTRIBUTE_VALUE_INVALID,
    };
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (fault->rv == refusals[i])
            return true;
    }
    return false;
}

/* The first of them that this key serves for: AES-GCM binds the context, and a public key binds
 * nobody, so RSA comes last. */
static CK_RV wrap_by_any(struct hsm_work *work, const struct hsm_session *session)
{
    bool has_key = false;
    for (int i = HSM_AES_GCM; i <= HSM_MECHANISM_LAST; i++) {
        *session->fault = (struct hsm_fault){.trouble = HSM_NO_TROUBLE};
        if (wrap_by(work, session, (enum hsm_mechanism) i) == CKR_OK)
            return CKR_OK;
        if (!is_not_offered(session->fault))
            return CKR_FUNCTION_FAILED;
        has_key = has_key || session->fault->trouble != HSM_NO_KEY;
    }
    *session->fault = (struct hsm_fault){.step = HSM_WRAP};
    return hsm_fault_set(session->fault, has_key ? HSM_NO_MECHANISM : HSM_NO_KEY);
}

/* ---- unwrapping ---- */

/* The key that wrapped it, by its id: after a rotation key_uri names a newer one of that label. */
static CK_RV find_former_key(const struct hsm_work *work, const struct hsm_session *session,
                             const struct hsm_blob *blob, CK_OBJECT_HANDLE *ret_key)
{
    const CK_ATTRIBUTE *label = hsm_uri_attribute(&work->parent->uri, CKA_LABEL);
    const CK_ATTRIBUTE *id = hsm_uri_attribute(&work->parent->uri, CKA_ID);
    session->fault->step = HSM_FIND_KEY;
    if (label == NULL && id != NULL && blob->key_id.len > 0 &&
        !view_equal(blob->key_id, (struct view){id->pValue, id->ulValueLen}))
        return hsm_fault_set(session->fault, HSM_OTHER_KEY);
    return hsm_session_find_key(session, hsm_wrap_class(blob->mechanism, true), blob->key_id,
                                ret_key);
}

static CK_RV unwrap(struct hsm_work *work, const struct hsm_session *session)
{
    struct hsm_blob blob;
    _cleanup_(writer_clear) struct writer aad = {0};
    if (!hsm_blob_read(blob_view(&work->wrapped), work->mechanism, &blob))
        return hsm_fault_set(session->fault, HSM_NO_FORM);
    struct hsm_wrapping wrapping = {.session = session, .mechanism = blob.mechanism};
    TRY(find_former_key(work, session, &blob, &wrapping.key));
    hsm_blob_aad(&aad, &blob, blob_view(&work->context));
    if (aad.failed)
        return hsm_fault_set(session->fault, HSM_NO_MEMORY);
    wrapping.aad = writer_view(&aad);
    if (blob.iv.len > 0)
        memcpy(wrapping.iv, blob.iv.bytes, HSM_IV_LEN);
    return hsm_unwrap(&wrapping, blob.ciphertext, &work->data_key);
}

/* ---- the work ---- */

/* `ret_generation` is the parent's that was asked, also after a failure. */
static CK_RV attempt(struct hsm_work *work, unsigned int *ret_generation)
{
    _cleanup_(hsm_session_close) struct hsm_session session = {
        .parent = work->parent,
        .fault = &work->fault,
        .is_left = &work->apart.is_left,
    };
    work->fault = (struct hsm_fault){.trouble = HSM_NO_TROUBLE};
    CK_RV rv = hsm_session_open(&session, (struct view){work->pin.bytes, work->pin.len});
    *ret_generation = session.generation;
    TRY(rv);
    if (!work->wraps)
        return unwrap(work, &session);
    return work->mechanism == HSM_AUTO ? wrap_by_any(work, &session)
                                       : wrap_by(work, &session, work->mechanism);
}

/* The application closed our session, logged out or finalised the module: once is no failure. */
static bool is_lost(const struct hsm_fault *fault)
{
    return fault->trouble == HSM_REFUSED &&
           (fault->rv == CKR_SESSION_HANDLE_INVALID || fault->rv == CKR_SESSION_CLOSED ||
            fault->rv == CKR_USER_NOT_LOGGED_IN || fault->rv == CKR_CRYPTOKI_NOT_INITIALIZED);
}

static void run(struct apart *apart)
{
    struct hsm_work *work = (struct hsm_work *) apart;
    unsigned int generation = 0;
    work->rv = attempt(work, &generation);
    if (work->rv != CKR_OK && is_lost(&work->fault)) {
        if (work->fault.rv == CKR_CRYPTOKI_NOT_INITIALIZED)
            hsm_parent_restart(work->parent, generation);
        work->rv = attempt(work, &generation);
    }
    atomic_fetch_sub(&work->parent->calls, 1);
}

static void free_work(struct apart *apart)
{
    struct hsm_work *work = (struct hsm_work *) apart;
    if (work->parent != NULL)
        hsm_parent_release(work->parent);
    secret_clear(&work->pin);
    secret_clear(&work->data_key);
    blob_clear(&work->context);
    blob_clear(&work->wrapped);
    mem_free(work);
}

struct hsm_work *hsm_work_new(struct hsm_parent *parent)
{
    struct hsm_work *work = mem_calloc(1, sizeof(*work));
    if (work == NULL)
        return NULL;
    apart_init(&work->apart, run, free_work);
    work->parent = hsm_parent_hold(parent);
    return work;
}

static CK_RV fail(struct hsm_fault *ret_fault, enum hsm_trouble trouble)
{
    *ret_fault = (struct hsm_fault){.step = HSM_SOME_STEP};
    return hsm_fault_set(ret_fault, trouble);
}

void hsm_work_free(struct hsm_work **work)
{
    if (*work != NULL)
        apart_free(&(*work)->apart);
    *work = NULL;
}

static enum apart_end run_in_turn(struct hsm_work *work, int64_t deadline_ms,
                                  const atomic_bool *cancelled)
{
    struct hsm_parent *parent = work->parent;
    /* Taken back by the thread. */
    atomic_fetch_add(&parent->calls, 1);
    atomic_store(&parent->was_used, true);
    enum apart_end end = apart_run(&work->apart, deadline_ms, cancelled);
    if (end == APART_NO_THREAD)
        atomic_fetch_sub(&parent->calls, 1);
    return end;
}

CK_RV hsm_work_run(struct hsm_work **work, int64_t deadline_ms, const atomic_bool *cancelled,
                   struct hsm_fault *ret_fault)
{
    struct hsm_parent *parent = (*work)->parent;
    enum apart_end end = apart_turn_take(&parent->turn, deadline_ms, cancelled);
    bool has_turn = end == APART_DONE;
    if (has_turn && atomic_load(&parent->calls) >= CALLS_MAX) {
        apart_turn_end(&parent->turn);
        return fail(ret_fault, HSM_STUCK);
    }
    if (has_turn) {
        end = run_in_turn(*work, deadline_ms, cancelled);
        /* The work may be gone, and the source holds the parent. */
        apart_turn_end(&parent->turn);
    }
    if (end == APART_DONE) {
        *ret_fault = (*work)->fault;
        return (*work)->rv;
    }
    if (has_turn && end != APART_NO_THREAD)
        *work = NULL; /* left behind */
    switch (end) {
    case APART_TIMEOUT:
        return fail(ret_fault, HSM_TIMEOUT);
    case APART_CANCELLED:
        return fail(ret_fault, HSM_CANCELLED);
    default:
        return fail(ret_fault, HSM_NO_THREAD);
    }
}

/* ---- the end ---- */

static void run_close(struct apart *apart)
{
    struct hsm_work *work = (struct hsm_work *) apart;
    hsm_parent_release(work->parent);
    work->parent = NULL;
}

void hsm_work_close(struct hsm_parent *parent)
{
    /* There is nothing to finalise. */
    if (!atomic_load(&parent->was_used)) {
        hsm_parent_release(parent);
        return;
    }
    struct hsm_work *work = mem_calloc(1, sizeof(*work));
    /* Without memory the parent stays as it is, loaded. */
    if (work == NULL)
        return;
    apart_init(&work->apart, run_close, free_work);
    work->parent = parent;
    enum apart_end end = apart_run(&work->apart, clock_boot_ms() + CLOSE_MS, NULL);
    if (end == APART_NO_THREAD)
        work->parent = NULL;
    if (end == APART_NO_THREAD || end == APART_DONE)
        hsm_work_free(&work);
}
