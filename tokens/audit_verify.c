#include "tokens/audit_verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/rv.h"
#include "tokens/audit_keys.h"
#include "tokens/audit_records.h"

#define TEXT_MAX 256
#define SHOWN_WRITER 9
#define SUCCESSORS_MAX 64

/* One verification. */
struct check {
    const struct audit_verification *asked;
    struct audit_verdict verdict;
    struct audit_records records;
    struct audit_records head;
    /* Audit keys that lines signed by known ones have named. */
    unsigned char successors[SUCCESSORS_MAX][ED25519_PUBLIC_LEN];
    size_t successor_count;
    /* Before this place lines may be signed by former audit keys that were not given. */
    size_t known_from;
};

static void check_clear(struct check *check)
{
    audit_records_clear(&check->records);
    audit_records_clear(&check->head);
}

const char *audit_found_name(enum audit_found kind)
{
    static const char *const names[] = {
        [AUDIT_DROPPED] = "dropped",     [AUDIT_INSERTED] = "inserted",
        [AUDIT_REORDERED] = "reordered", [AUDIT_TRUNCATED] = "truncated",
        [AUDIT_EDITED] = "edited",       [AUDIT_RESEALED] = "re-sealed",
        [AUDIT_FORKED] = "forked",       [AUDIT_TORN] = "torn",
        [AUDIT_UNPROVED] = "unproved",
    };

    return names[kind];
}

/* ---- findings ---- */

/* Where a finding is: a line of a file. */
struct spot {
    const char *file;
    size_t line;
};

static __attribute__((format(printf, 4, 5))) void tell(struct check *check, enum audit_found kind,
                                                       struct spot spot, const char *format, ...)
{
    char text[TEXT_MAX];
    struct audit_finding finding = {kind, spot.file, spot.line, text};
    va_list args;

    va_start(args, format);
    (void) vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    check->verdict.wrong += kind < AUDIT_TORN;
    check->asked->found(check->asked->context, &finding);
}

static struct spot spot_of(const struct check *check, const struct audit_record *record)
{
    return (struct spot){check->asked->files[record->file].name, record->number};
}

struct shown {
    char text[SHOWN_WRITER];
};

/* The first digits of a writer, as a person looks for it. */
static struct shown show(const struct audit_record *record)
{
    struct shown shown;
    struct view writer = record->line.values[AUDIT_WRITER];

    (void) snprintf(shown.text, sizeof(shown.text), "%.*s", SHOWN_WRITER - 1,
                    (const char *) writer.bytes);
    return shown;
}

static void bad_line(void *context, size_t file, size_t number, bool is_torn)
{
    struct check *check = context;
    struct spot spot = {check->asked->files[file].name, number};

    check->verdict.unproved++;
    if (is_torn)
        tell(check, AUDIT_TORN, spot, "the line has no end: its process was killed while it wrote");
    else
        tell(check, AUDIT_EDITED, spot, "this is no line of an audit log");
}

static void bad_head(void *context, size_t file, size_t number, bool is_torn)
{
    struct check *check = context;
    struct spot spot = {check->asked->head.name, number};

    (void) file;
    (void) is_torn;
    tell(check, AUDIT_EDITED, spot, "the head that was kept is no line of an audit log");
}

/* ---- the line above in the file ---- */

static void check_above(struct check *check, const struct audit_record *record)
{
    unsigned char named[AUDIT_HASH_LEN];
    static const unsigned char nothing[AUDIT_HASH_LEN];

    if (record->above_holds || !audit_line_has(&record->line, AUDIT_ABOVE))
        return;
    audit_line_bytes(&record->line, AUDIT_ABOVE, named);
    const struct audit_record *known = audit_records_by_hash(&check->records, named);
    struct spot spot = spot_of(check, record);
    if (memcmp(named, nothing, sizeof(named)) == 0)
        tell(check, AUDIT_INSERTED, spot, "it was the first of its file, and a line stands above");
    else if (known == NULL)
        tell(check, AUDIT_DROPPED, spot,
             "the line that stood above it is not there, or is another one now");
    else if (known->place < record->place)
        tell(check, AUDIT_INSERTED, spot, "line %zu stood above it: there are others between",
             known->number);
    else
        tell(check, AUDIT_REORDERED, spot, "line %zu stood above it", known->number);
}

/* ---- one writer's chain ---- */

struct chain {
    struct check *check;
    const struct audit_record *last; /* NULL: none yet */
    struct audit_record **run;       /* of by_seq: since here all hangs together */
    unsigned char key[ED25519_PUBLIC_LEN];
    bool has_key;
    bool missed_keys;      /* lines are missing that may have named a key */
    struct secret mac_key; /* of the next line; empty: not known */
    bool is_logged_in;     /* each line has a MAC */
};

static bool is_login(const struct audit_record *record)
{
    return audit_line_is(&record->line, AUDIT_EVENT, "login") &&
           audit_line_has(&record->line, AUDIT_NEXT);
}

static bool verifies(const struct audit_record *record, const unsigned char *public_key)
{
    unsigned char signature[ED25519_SIGNATURE_LEN];

    audit_line_bytes(&record->line, AUDIT_SIG, signature);
    return crypto_ed25519_verify(public_key, audit_line_before(&record->line, AUDIT_SIG),
                                 signature);
}

static bool verifies_by_token(const struct check *check, const struct audit_record *record)
{
    for (size_t i = 0; i < check->asked->public_key_count; i++)
        if (verifies(record, check->asked->public_keys[i]))
            return true;
    for (size_t i = 0; i < check->successor_count; i++)
        if (verifies(record, check->successors[i]))
            return true;
    return false;
}

static bool is_succession(const struct audit_record *record)
{
    return audit_line_is(&record->line, AUDIT_EVENT, "audit-key") &&
           audit_line_has(&record->line, AUDIT_NEXT) && audit_line_has(&record->line, AUDIT_SIG);
}

static bool is_given(const struct check *check, const unsigned char key[ED25519_PUBLIC_LEN])
{
    for (size_t i = 0; i < check->asked->public_key_count; i++)
        if (memcmp(check->asked->public_keys[i], key, ED25519_PUBLIC_LEN) == 0)
            return true;
    return false;
}

/* In the order of the files, in which one key follows another. */
static void learn_successors(struct check *check)
{
    unsigned char next[ED25519_PUBLIC_LEN];

    for (size_t i = 0; i < check->records.count; i++) {
        const struct audit_record *record = &check->records.rows[i];
        if (!is_succession(record))
            continue;
        audit_line_bytes(&record->line, AUDIT_NEXT, next);
        if (!verifies_by_token(check, record)) {
            if (is_given(check, next))
                check->known_from = record->place + 1;
        } else if (check->successor_count < SUCCESSORS_MAX) {
            memcpy(check->successors[check->successor_count++], next, sizeof(next));
        }
    }
}

/* A key that was named by a line kept outside, where the files begin later. */
static bool verifies_by_head(const struct check *check, const struct audit_record *record)
{
    unsigned char key[ED25519_PUBLIC_LEN];

    for (size_t i = 0; i < check->head.count; i++) {
        const struct audit_record *kept = &check->head.rows[i];
        if (!audit_line_has(&kept->line, AUDIT_NEXT) || kept->seq >= record->seq ||
            memcmp(kept->writer, record->writer, sizeof(kept->writer)) != 0)
            continue;
        audit_line_bytes(&kept->line, AUDIT_NEXT, key);
        if (verifies(record, key))
            return true;
    }
    return false;
}

static void take_next_key(struct chain *chain, const struct audit_record *record)
{
    chain->has_key = audit_line_has(&record->line, AUDIT_NEXT);
    chain->missed_keys = false;
    if (chain->has_key)
        audit_line_bytes(&record->line, AUDIT_NEXT, chain->key);
}

static void tell_unsigned(const struct chain *chain, const struct audit_record *record)
{
    struct check *check = chain->check;
    bool is_by_token = is_login(record) || is_succession(record);

    if (is_by_token && record->place < check->known_from)
        tell(check, AUDIT_UNPROVED, spot_of(check, record),
             "a former audit key signed it, if any did: give that public key");
    else if (!is_by_token && chain->missed_keys)
        tell(check, AUDIT_UNPROVED, spot_of(check, record),
             "its signature's key stands in a line that is missing or not proved");
    else
        tell(check, AUDIT_RESEALED, spot_of(check, record),
             "its signature is wrong: edited, or sealed again by somebody else");
}

static void check_signature(struct chain *chain, struct audit_record **at)
{
    struct check *check = chain->check;
    struct audit_record *record = *at;

    if (!audit_line_has(&record->line, AUDIT_SIG))
        return;
    if (is_login(record) || is_succession(record))
        record->is_signed = verifies_by_token(check, record);
    else
        record->is_signed = (chain->has_key && verifies(record, chain->key)) ||
                            (chain->missed_keys && verifies_by_head(check, record));
    if (!record->is_signed) {
        tell_unsigned(chain, record);
        chain->has_key = false;
        chain->missed_keys = true;
        return;
    }
    check->verdict.good_signatures++;
    if (!is_succession(record))
        take_next_key(chain, record);
    for (struct audit_record **proved = chain->run; proved <= at; proved++)
        (*proved)->is_proved = true;
    chain->run = at;
}

/* Whether a MAC has to be there is known from the lines alone. */
static bool lacks_mac(struct chain *chain, const struct audit_record *record)
{
    bool has_mac = audit_line_has(&record->line, AUDIT_MAC);
    bool lacks = chain->is_logged_in && !has_mac;

    if (is_login(record))
        chain->is_logged_in = true;
    else if (audit_line_has(&record->line, AUDIT_SIG) && !audit_line_has(&record->line, AUDIT_NEXT))
        chain->is_logged_in = false;
    if (lacks)
        tell(chain->check, AUDIT_INSERTED, spot_of(chain->check, record),
             "it has no MAC, though somebody was logged in");
    return !has_mac;
}

static CK_RV check_mac(struct chain *chain, const struct audit_record *record)
{
    unsigned char expected[SHA256_LEN];
    unsigned char mac[SHA256_LEN];
    _cleanup_(secret_clear) struct secret next = {NULL, 0};
    const struct secret *base = chain->check->asked->mac_key;

    if (lacks_mac(chain, record) || base == NULL)
        return CKR_OK;
    if (is_login(record)) {
        secret_clear(&chain->mac_key);
        if (!verifies(record, chain->check->asked->public_keys[0]))
            return CKR_OK; /* of another token key */
        TRY(audit_keys_first_mac(base, record->writer, record->seq, &chain->mac_key));
    }
    if (chain->mac_key.len == 0)
        return CKR_OK;
    TRY(crypto_hmac_sha256(&chain->mac_key, audit_line_before(&record->line, AUDIT_MAC), expected));
    audit_line_bytes(&record->line, AUDIT_MAC, mac);
    if (!secret_bytes_equal(mac, expected, sizeof(mac)))
        tell(chain->check, AUDIT_RESEALED, spot_of(chain->check, record),
             "its MAC is wrong: edited, or sealed again without the token's key");
    TRY(audit_keys_next_mac(&chain->mac_key, &next));
    secret_clear(&chain->mac_key);
    chain->mac_key = secret_move(&next);
    return CKR_OK;
}

/* Between the last line and this one something is missing. */
static void break_chain(struct chain *chain, struct audit_record **at)
{
    chain->run = at;
    chain->missed_keys = true;
    secret_clear(&chain->mac_key);
    chain->is_logged_in = audit_line_has(&(*at)->line, AUDIT_MAC);
}

static void check_first(struct chain *chain, struct audit_record **at)
{
    const struct audit_record *record = *at;

    chain->run = at;
    if (record->seq == 0)
        return;
    break_chain(chain, at);
    tell(chain->check, AUDIT_UNPROVED, spot_of(chain->check, record),
         "writer %s begins with its line %" PRIu64
         ": the former ones stand in an older file, or are gone",
         show(record).text, record->seq);
}

/* Against the line before it in the chain. */
static void check_link(struct chain *chain, struct audit_record **at)
{
    const struct audit_record *record = *at;
    const struct audit_record *last = chain->last;
    struct check *check = chain->check;

    if (last == NULL) {
        check_first(chain, at);
        return;
    }
    if (record->place < last->place)
        tell(check, AUDIT_REORDERED, spot_of(check, record),
             "line %" PRIu64 " of writer %s stands before the one that it follows", record->seq,
             show(record).text);
    if (record->seq != last->seq + 1) {
        tell(check, AUDIT_DROPPED, spot_of(check, record),
             "lines %" PRIu64 " to %" PRIu64 " of writer %s are missing before it", last->seq + 1,
             record->seq - 1, show(record).text);
        break_chain(chain, at);
    } else if (memcmp(record->prev, last->hash, sizeof(last->hash)) != 0) {
        tell(check, AUDIT_EDITED, spot_of(check, last),
             "the next line of writer %s names another hash: this one or that was edited",
             show(record).text);
        chain->run = at;
    }
}

/* True when a line of the chain's next number follows this one. */
static bool is_followed(const struct check *check, const struct audit_record *record)
{
    const struct audit_records *records = &check->records;
    struct audit_record **end = records->by_seq + records->count;
    struct audit_record **next = audit_records_by_seq(records, record->writer, record->seq + 1);

    for (; next != NULL && next < end && (*next)->seq == record->seq + 1; next++)
        if (memcmp((*next)->prev, record->hash, sizeof(record->hash)) == 0)
            return true;
    return false;
}

/* Of `count` lines with one number in the chain: the one that the chain goes on from. */
static size_t choose(struct check *check, struct audit_record **rows, size_t count)
{
    size_t chosen = 0;
    size_t followed = 0;

    for (size_t i = 0; i < count; i++) {
        bool is_copy = i > 0 && memcmp(rows[i]->hash, rows[0]->hash, AUDIT_HASH_LEN) == 0;
        if (is_copy || !is_followed(check, rows[i]))
            continue;
        chosen = followed == 0 ? i : chosen;
        followed++;
    }
    for (size_t i = 0; i < count; i++) {
        bool is_copy =
            i != chosen && memcmp(rows[i]->hash, rows[chosen]->hash, AUDIT_HASH_LEN) == 0;
        if (i == chosen)
            continue;
        tell(check, is_copy || followed == 1 ? AUDIT_INSERTED : AUDIT_FORKED,
             spot_of(check, rows[i]), "writer %s has line %" PRIu64 " twice: see line %zu",
             show(rows[i]).text, rows[i]->seq, rows[chosen]->number);
    }
    return chosen;
}

static size_t same_number(const struct check *check, size_t first)
{
    struct audit_record **rows = check->records.by_seq + first;
    size_t count = 1;

    while (first + count < check->records.count && rows[count]->seq == rows[0]->seq &&
           memcmp(rows[count]->writer, rows[0]->writer, AUDIT_WRITER_LEN) == 0)
        count++;
    return count;
}

static void end_chain(struct chain *chain)
{
    if (chain->last != NULL && !audit_line_is(&chain->last->line, AUDIT_EVENT, "end") &&
        chain->check->asked->head.text.len == 0)
        tell(chain->check, AUDIT_UNPROVED, spot_of(chain->check, chain->last),
             "writer %s has no end: it runs, was killed, or was cut off", show(chain->last).text);
    secret_clear(&chain->mac_key);
}

static CK_RV check_chains(struct check *check)
{
    struct audit_record **rows = check->records.by_seq;
    struct chain chain = {.check = check};
    CK_RV rv = CKR_OK;

    for (size_t i = 0; i < check->records.count && rv == CKR_OK;) {
        size_t count = same_number(check, i);
        struct audit_record **at = &rows[i + (count == 1 ? 0 : choose(check, &rows[i], count))];
        if (chain.last == NULL ||
            memcmp(chain.last->writer, (*at)->writer, AUDIT_WRITER_LEN) != 0) {
            end_chain(&chain);
            chain = (struct chain){.check = check};
            check->verdict.writers++;
        }
        check_link(&chain, at);
        check_signature(&chain, at);
        rv = check_mac(&chain, *at);
        chain.last = *at;
        i += count;
    }
    end_chain(&chain);
    return rv;
}

/* ---- what is proved ---- */

/* A good signature covers the lines above it too, whoever wrote them, as far up as each line names
 * the one above. */
static void spread_proof(struct check *check)
{
    bool covers = false;

    for (size_t i = check->records.count; i-- > 0;) {
        struct audit_record *record = &check->records.rows[i];
        const struct audit_record *below = i + 1 < check->records.count ? record + 1 : NULL;
        bool is_above = below != NULL && below->file == record->file &&
                        below->number == record->number + 1 && below->above_holds;
        covers = record->is_signed || (covers && is_above);
        record->is_proved |= covers;
    }
}

static void tell_end(struct check *check, const struct audit_record *last)
{
    tell(check, AUDIT_UNPROVED, spot_of(check, last),
         "without a line that was kept elsewhere nothing shows that no later ones were cut off");
}

static void tell_unproved(struct check *check)
{
    const struct audit_record *first = NULL;
    size_t count = 0;

    for (size_t i = 0; i < check->records.count; i++) {
        const struct audit_record *record = &check->records.rows[i];
        if (!record->is_proved && first == NULL)
            first = record;
        count += !record->is_proved;
        bool is_last = i + 1 == check->records.count || record[1].file != record->file;
        if (is_last && check->asked->head.text.len == 0)
            tell_end(check, record);
    }
    check->verdict.unproved += count;
    if (first != NULL)
        tell(check, AUDIT_UNPROVED, spot_of(check, first),
             "%zu lines from here on stand under no signature", count);
}

static void check_head(struct check *check)
{
    for (size_t i = 0; i < check->head.count; i++) {
        const struct audit_record *kept = &check->head.rows[i];
        struct audit_record **found =
            audit_records_by_seq(&check->records, kept->writer, kept->seq);
        bool has_later = audit_records_by_seq(&check->records, kept->writer, kept->seq + 1) != NULL;
        struct spot spot = {check->asked->head.name, kept->number};
        if (found == NULL)
            tell(check, has_later ? AUDIT_DROPPED : AUDIT_TRUNCATED, spot,
                 "line %" PRIu64 " of writer %s, which was kept here, is not in the log", kept->seq,
                 show(kept).text);
        else if (audit_records_by_hash(&check->records, kept->hash) == NULL)
            tell(check, AUDIT_FORKED, spot,
                 "line %" PRIu64 " of writer %s is another one in the log (%s:%zu)", kept->seq,
                 show(kept).text, check->asked->files[(*found)->file].name, (*found)->number);
    }
}

CK_RV audit_verify(const struct audit_verification *verification, struct audit_verdict *ret_verdict)
{
    _cleanup_(check_clear) struct check check = {.asked = verification};

    TRY(audit_records_read(verification->files, verification->file_count, bad_line, &check,
                           &check.records));
    TRY(audit_records_read(&verification->head, 1, bad_head, &check, &check.head));
    check.verdict.lines = check.records.count;
    for (size_t i = 0; i < check.records.count; i++)
        check_above(&check, &check.records.rows[i]);
    learn_successors(&check);
    TRY(check_chains(&check));
    spread_proof(&check);
    tell_unproved(&check);
    check_head(&check);
    *ret_verdict = check.verdict;
    return CKR_OK;
}
