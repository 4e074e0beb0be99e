#include "module/approvals.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rv.h"
#include "module/approvals_folder.h"
#include "module/config.h"
#include "module/slot.h"

/* Approvals of one thing at one time that are looked at; more is noise. */
#define CANDIDATES_MAX 64
#define SUBJECT_TEXT_LEN (2 * APPROVAL_SUBJECT_MAX + 1)

struct approvals {
    unsigned int operations; /* bits by enum config_two_person */
    size_t needed;
    const char *folder; /* NULL: none */
    struct approvers approvers;
};

/* Which word of `two_person` an operation falls under. */
static const enum config_two_person words[APPROVAL_OPERATIONS] = {
    [APPROVAL_DESTROY] = TWO_PERSON_DESTROY, [APPROVAL_RESET] = TWO_PERSON_DESTROY,
    [APPROVAL_EXPORT] = TWO_PERSON_EXPORT,   [APPROVAL_BACKUP] = TWO_PERSON_EXPORT,
    [APPROVAL_POLICY] = TWO_PERSON_POLICY,
};

CK_RV approvals_open(const struct conf_section *section, struct approvals **ret_approvals)
{
    unsigned int operations = config_two_person(section);
    const char *path = config_approvers(section);

    if (operations == 0)
        return CKR_OK;
    if (path == NULL)
        return FAIL(CKR_FUNCTION_FAILED,
                    "[token %s] in line %zu: two_person needs approvers = file:PATH", section->name,
                    conf_section_line(section));
    _cleanup_(mem_free_pointer) struct approvals *approvals = mem_calloc(1, sizeof(*approvals));
    if (approvals == NULL)
        return CKR_HOST_MEMORY;
    approvals->operations = operations;
    approvals->needed = config_approvals_needed(section);
    approvals->folder = config_approvals(section);
    TRY(approvers_read(path, &approvals->approvers));
    if (approvals->needed > approvals->approvers.count)
        return FAIL(CKR_FUNCTION_FAILED,
                    "[token %s] in line %zu: approvals_needed is %zu, and %s names %zu approvers",
                    section->name, conf_section_line(section), approvals->needed, path,
                    approvals->approvers.count);
    *ret_approvals = TAKE(approvals);
    return CKR_OK;
}

void approvals_close(struct approvals **approvals)
{
    mem_free(*approvals);
    *approvals = NULL;
}

void approvals_encode(const struct approvals *approvals, struct writer *writer)
{
    write_u32(writer, (uint32_t) approvals->needed);
    write_u32(writer, (uint32_t) approvals->approvers.count);
    for (size_t i = 0; i < approvals->approvers.count; i++) {
        write_string(writer, view_text(approvals->approvers.list[i].name));
        write_raw(writer, (struct view){approvals->approvers.list[i].key, ED25519_PUBLIC_LEN});
    }
}

static void decode_approver(struct reader *reader, struct approver *approver)
{
    struct view name = read_string(reader, APPROVER_NAME_LEN - 1);
    struct view key = read_raw(reader, ED25519_PUBLIC_LEN);

    if (reader->failed)
        return;
    if (name.len > 0)
        memcpy(approver->name, name.bytes, name.len);
    memcpy(approver->key, key.bytes, ED25519_PUBLIC_LEN);
}

CK_RV approvals_decode(struct reader *reader, const char *folder, struct approvals **ret_approvals)
{
    _cleanup_(approvals_close) struct approvals *approvals = mem_calloc(1, sizeof(*approvals));

    if (approvals == NULL)
        return CKR_HOST_MEMORY;
    approvals->folder = folder;
    approvals->needed = read_u32(reader);
    approvals->approvers.count = read_u32(reader);
    if (approvals->needed == 0 || approvals->needed > approvals->approvers.count ||
        approvals->approvers.count > APPROVERS_MAX)
        return CKR_DATA_INVALID;
    for (size_t i = 0; i < approvals->approvers.count; i++)
        decode_approver(reader, &approvals->approvers.list[i]);
    if (reader->failed)
        return CKR_DATA_INVALID;
    *ret_approvals = TAKE(approvals);
    return CKR_OK;
}

/* A document that answers, and whose signature is good. */
struct candidate {
    struct approval_use use;
    const struct approver *by;
};

struct inquiry {
    const struct slot *slot;
    const struct approvals *approvals;
    struct approval_wish wish;
    unsigned char serial[TOKEN_SERIAL_LEN];
    int64_t now;
    struct candidate candidates[CANDIDATES_MAX];
    size_t count;
    struct approvals_used used;
};

static void inquiry_end(struct inquiry *inquiry)
{
    approvals_used_clear(&inquiry->used);
}

static const struct approver *find_signer(const struct approvers *approvers,
                                          const struct approval *approval)
{
    for (size_t i = 0; i < approvers->count; i++)
        if (approval_is_signed_by(approval, approvers->list[i].key))
            return &approvers->list[i];
    return NULL;
}

static void pass_over(const struct inquiry *inquiry, const char *name, const char *why)
{
    log_line(LOG_LEVEL_WARNING, "token %s: approval %s is not used: %s", inquiry->slot->name, name,
             why);
}

/* A copy of one that was seen adds nothing, and may not crowd out others. */
static bool is_known(const struct inquiry *inquiry, const struct approval *approval)
{
    for (size_t i = 0; i < inquiry->count; i++)
        if (memcmp(inquiry->candidates[i].use.nonce, approval->nonce, APPROVAL_NONCE_LEN) == 0)
            return true;
    return false;
}

static void consider(void *context, struct view document, const char *name)
{
    struct inquiry *inquiry = context;
    struct approval approval;

    if (inquiry->count == CANDIDATES_MAX)
        return;
    if (approval_parse(document, &approval) != CKR_OK) {
        pass_over(inquiry, name, "it is no approval of a known form");
        return;
    }
    if (!approval_is_for(&approval, &inquiry->wish) || is_known(inquiry, &approval))
        return; /* the first waits for what it is for */
    const char *untimely = approval_untimely(&approval, inquiry->now);
    const struct approver *by = find_signer(&inquiry->approvals->approvers, &approval);
    if (untimely != NULL || by == NULL) {
        pass_over(inquiry, name, by == NULL ? "no approver has signed it" : untimely);
        return;
    }
    struct candidate *candidate = &inquiry->candidates[inquiry->count++];
    candidate->by = by;
    candidate->use.expires = approval.expires;
    memcpy(candidate->use.nonce, approval.nonce, APPROVAL_NONCE_LEN);
}

/* Each begins with the same line. */
static void consider_given(struct inquiry *inquiry, struct view given)
{
    static const char first_line[] = "indexkey approval 1\n";
    size_t first_len = sizeof(first_line) - 1;

    while (given.len > 0) {
        const unsigned char *next =
            given.len <= first_len ? NULL
                                   : memmem(given.bytes + 1, given.len - 1, first_line, first_len);
        size_t len = next == NULL ? given.len : (size_t) (next - given.bytes);
        consider(inquiry, (struct view){given.bytes, len}, "that was handed over");
        given.bytes += len;
        given.len -= len;
    }
}

static bool has_signer(const struct inquiry *inquiry, const size_t *chosen, size_t count,
                       const struct approver *by)
{
    for (size_t i = 0; i < count; i++)
        if (inquiry->candidates[chosen[i]].by == by)
            return true;
    return false;
}

/* As many as are needed, of different people, none used before. */
static size_t choose(const struct inquiry *inquiry, size_t chosen[APPROVERS_MAX])
{
    size_t count = 0;

    for (size_t i = 0; i < inquiry->count && count < inquiry->approvals->needed; i++) {
        const struct candidate *candidate = &inquiry->candidates[i];
        if (has_signer(inquiry, chosen, count, candidate->by))
            continue;
        if (approvals_used_has(&inquiry->used, &candidate->use)) {
            log_line(LOG_LEVEL_WARNING, "token %s: an approval by %s was used before",
                     inquiry->slot->name, candidate->by->name);
            continue;
        }
        chosen[count++] = i;
    }
    return count;
}

static CK_RV prohibit(const struct inquiry *inquiry, size_t found)
{
    static const char digits[] = "0123456789abcdef";
    const struct view subject = inquiry->wish.subject;
    char text[SUBJECT_TEXT_LEN] = "";

    for (size_t i = 0; i < subject.len && i < APPROVAL_SUBJECT_MAX; i++) {
        text[2 * i] = digits[subject.bytes[i] >> 4];
        text[2 * i + 1] = digits[subject.bytes[i] & 15];
    }
    const char *operation = approval_operation_name(inquiry->wish.operation);
    log_line(LOG_LEVEL_WARNING,
             "token %s: refused by policy rule two-persons: it takes %zu approvals, of %zu there "
             "are good ones: sign 'token %.*s', 'operation %s', 'object %s' "
             "(docs/formats-approvals.md) and put the file into %s",
             inquiry->slot->name, inquiry->approvals->needed, found, TOKEN_SERIAL_LEN,
             (const char *) inquiry->serial, operation, text,
             inquiry->approvals->folder == NULL ? "the folder that `approvals =` would name"
                                                : inquiry->approvals->folder);
    return CKR_ACTION_PROHIBITED;
}

static CK_RV note_use(struct inquiry *inquiry, const size_t *chosen, size_t count,
                      struct approval_grant *grant)
{
    grant->count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct candidate *candidate = &inquiry->candidates[chosen[i]];
        grant->uses[grant->count++] = candidate->use;
        if (inquiry->wish.operation != APPROVAL_RESET)
            TRY(approvals_used_add(&inquiry->used, &candidate->use, inquiry->now));
    }
    return inquiry->wish.operation == APPROVAL_RESET
               ? CKR_OK
               : approvals_used_write(inquiry->slot->custody, &inquiry->used);
}

static void tell(const struct inquiry *inquiry, const size_t *chosen, size_t count)
{
    for (size_t i = 0; i < count; i++)
        log_line(LOG_LEVEL_NOTICE, "token %s: %s approved by %s", inquiry->slot->name,
                 approval_operation_name(inquiry->wish.operation),
                 inquiry->candidates[chosen[i]].by->name);
}

/* CKR_OBJECT_HANDLE_INVALID: somebody else noted a use meanwhile. */
static CK_RV take_once(struct inquiry *inquiry, struct approval_grant *ret_grant)
{
    size_t chosen[APPROVERS_MAX] = {0};

    if (inquiry->wish.operation != APPROVAL_RESET) {
        approvals_used_clear(&inquiry->used);
        TRY(approvals_used_read(inquiry->slot->custody, &inquiry->used));
    }
    size_t count = choose(inquiry, chosen);
    if (count < inquiry->approvals->needed)
        return prohibit(inquiry, count);
    TRY(note_use(inquiry, chosen, count, ret_grant));
    tell(inquiry, chosen, count);
    return CKR_OK;
}

CK_RV approvals_take_by(struct slot *slot, const struct approvals *approvals,
                        const struct approval_request *request, struct approval_grant *ret_grant)
{
    struct custody_info info;

    _cleanup_(inquiry_end) struct inquiry inquiry = {
        .slot = slot,
        .approvals = approvals,
        .wish = {inquiry.serial, request->operation, request->subject},
        .now = clock_utc_s(),
    };
    TRY(custody_info(slot->custody, &info));
    memcpy(inquiry.serial, info.serial, TOKEN_SERIAL_LEN);
    consider_given(&inquiry, request->given);
    if (approvals->folder != NULL)
        approvals_folder_each(approvals->folder, consider, &inquiry);
    CK_RV rv = take_once(&inquiry, ret_grant);
    while (rv == CKR_OBJECT_HANDLE_INVALID)
        rv = take_once(&inquiry, ret_grant);
    return rv;
}

bool approvals_guard(const struct approvals *approvals, enum approval_operation operation)
{
    return approvals != NULL && (approvals->operations & words[operation]) != 0;
}

CK_RV approvals_take(struct slot *slot, const struct approval_request *request,
                     struct approval_grant *ret_grant)
{
    ret_grant->count = 0;
    return approvals_guard(slot->approvals, request->operation)
               ? approvals_take_by(slot, slot->approvals, request, ret_grant)
               : CKR_OK;
}

static CK_RV give_back_once(struct slot *slot, const struct approval_grant *grant)
{
    _cleanup_(approvals_used_clear) struct approvals_used used = {0};

    TRY(approvals_used_read(slot->custody, &used));
    for (size_t i = 0; i < grant->count; i++)
        approvals_used_remove(&used, &grant->uses[i]);
    return approvals_used_write(slot->custody, &used);
}

void approvals_give_back(struct slot *slot, const struct approval_grant *grant)
{
    CK_RV rv = grant->count == 0 ? CKR_OK : give_back_once(slot, grant);

    while (rv == CKR_OBJECT_HANDLE_INVALID)
        rv = give_back_once(slot, grant);
}
