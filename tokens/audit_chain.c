#include "tokens/audit_chain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cause.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "tokens/audit_result.h"

/* Lines without a signature after which a checkpoint is due. */
#define CHECKPOINT_EVERY 64
#define TIME_LEN 25

/* What the chain has after a line; moved in when the line is written. */
struct successor {
    unsigned char hash[AUDIT_HASH_LEN];
    struct secret mac_key;
    struct secret seed;
};

static void successor_clear(struct successor *next)
{
    secret_clear(&next->mac_key);
    secret_clear(&next->seed);
}

static void draft_time(struct audit_draft *draft)
{
    int64_t now_ms = clock_ms(CLOCK_REALTIME);
    time_t now_s = (time_t) (now_ms / CLOCK_MS_PER_S);
    struct tm utc = {0};
    char seconds[TIME_LEN];
    char text[2 * TIME_LEN];

    (void) gmtime_r(&now_s, &utc);
    (void) strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &utc);
    (void) snprintf(text, sizeof(text), "%s.%03dZ", seconds, (int) (now_ms % CLOCK_MS_PER_S));
    audit_draft_text(draft, AUDIT_TIME, view_text(text));
}

static void draft_origin(struct audit_draft *draft, const struct audit_chain *chain)
{
    audit_draft_number(draft, AUDIT_VERSION, 1);
    draft_time(draft);
    audit_draft_text(draft, AUDIT_TOKEN, view_text(chain->token));
    audit_draft_hex(draft, AUDIT_WRITER, chain->writer, sizeof(chain->writer));
    audit_draft_number(draft, AUDIT_SEQ, chain->seq);
    audit_draft_hex(draft, AUDIT_PREV, chain->prev, sizeof(chain->prev));
    if (chain->has_file)
        audit_draft_hex(draft, AUDIT_ABOVE, chain->file.above, sizeof(chain->file.above));
}

static void draft_event(struct audit_draft *draft, const struct audit_entry *entry)
{
    const struct audit_event *event = entry->event;

    audit_draft_text(draft, AUDIT_EVENT, view_text(event->event));
    if (event->is_intent)
        audit_draft_text(draft, AUDIT_PHASE, view_text("intent"));
    if (event->role != NULL)
        audit_draft_text(draft, AUDIT_ROLE, view_text(event->role));
    audit_draft_number(draft, AUDIT_PID, (uint64_t) getpid());
    audit_draft_number(draft, AUDIT_UID, (uint64_t) geteuid());
    audit_draft_text(draft, AUDIT_PROGRAM, view_text(program_invocation_short_name));
    if (event->key != NULL)
        audit_draft_hex(draft, AUDIT_KEY, event->key->bytes, sizeof(event->key->bytes));
    if (event->label.len > 0)
        audit_draft_text(draft, AUDIT_LABEL, event->label);
    if (event->mechanism != NULL)
        audit_draft_text(draft, AUDIT_MECHANISM, view_text(event->mechanism));
    if (entry->uses != NULL)
        audit_draft_number(draft, AUDIT_USES, *entry->uses);
    if (event->is_intent)
        return;
    audit_draft_text(draft, AUDIT_RESULT, view_text(audit_result_name(event->result).text));
    if (event->cause != INDEXKEY_CAUSE_NONE)
        audit_draft_text(draft, AUDIT_CAUSE, view_text(cause_name(event->cause)));
}

/* The public key of the private one that the next checkpoint will be signed with. */
static CK_RV draft_next_key(struct audit_draft *draft, struct successor *next)
{
    unsigned char public_key[ED25519_PUBLIC_LEN];

    TRY(crypto_random_secret(ED25519_SEED_LEN, &next->seed));
    TRY(crypto_ed25519_public(&next->seed, public_key));
    audit_draft_hex(draft, AUDIT_NEXT, public_key, sizeof(public_key));
    return CKR_OK;
}

static CK_RV draft_mac(struct audit_draft *draft, const struct audit_chain *chain,
                       const struct audit_entry *entry, struct successor *next)
{
    _cleanup_(secret_clear) struct secret first = {NULL, 0};
    const struct secret *key = &chain->keys.mac_key;
    unsigned char mac[SHA256_LEN];

    if (entry->seal == AUDIT_SEAL_LOGIN) {
        TRY(audit_keys_first_mac(&chain->keys.mac_base, chain->writer, chain->seq, &first));
        key = &first;
    }
    if (key->len == 0)
        return CKR_OK;
    TRY(crypto_hmac_sha256(key, audit_draft_so_far(draft), mac));
    audit_draft_hex(draft, AUDIT_MAC, mac, sizeof(mac));
    return audit_keys_next_mac(key, &next->mac_key);
}

static const struct secret *signer_of(const struct audit_chain *chain,
                                      const struct audit_entry *entry)
{
    switch (entry->seal) {
    case AUDIT_SEAL_LOGIN:
        return &chain->keys.root_seed;
    case AUDIT_SEAL_SUCCESSION:
        return entry->signer;
    default:
        return &chain->keys.seed;
    }
}

static CK_RV draft_signature(struct audit_draft *draft, const struct audit_chain *chain,
                             const struct audit_entry *entry)
{
    unsigned char signature[ED25519_SIGNATURE_LEN];

    if (entry->seal == AUDIT_SEAL_NONE)
        return CKR_OK;
    TRY(crypto_ed25519_sign(signer_of(chain, entry), audit_draft_so_far(draft), signature));
    audit_draft_hex(draft, AUDIT_SIG, signature, sizeof(signature));
    return CKR_OK;
}

static CK_RV make_line(const struct audit_chain *chain, const struct audit_entry *entry,
                       struct audit_draft *draft, struct successor *next)
{
    bool names_key = entry->seal == AUDIT_SEAL_LOGIN || entry->seal == AUDIT_SEAL_CHECKPOINT;
    struct view line;

    audit_draft_begin(draft);
    draft_origin(draft, chain);
    draft_event(draft, entry);
    if (names_key)
        TRY(draft_next_key(draft, next));
    if (entry->seal == AUDIT_SEAL_SUCCESSION)
        audit_draft_hex(draft, AUDIT_NEXT, entry->successor, ED25519_PUBLIC_LEN);
    TRY(draft_mac(draft, chain, entry, next));
    TRY(draft_signature(draft, chain, entry));
    TRY(audit_draft_end(draft, &line));
    return audit_file_hash(line, next->hash);
}

/* The former keys go with their line. */
static void advance(struct audit_chain *chain, enum audit_seal seal, struct successor *next)
{
    struct audit_keys *keys = &chain->keys;

    chain->seq++;
    memcpy(chain->prev, next->hash, sizeof(chain->prev));
    chain->unsigned_count = seal == AUDIT_SEAL_NONE ? chain->unsigned_count + 1 : 0;
    if (seal == AUDIT_SEAL_LOGIN || seal == AUDIT_SEAL_LAST)
        audit_keys_wipe(keys);
    if (seal == AUDIT_SEAL_LAST)
        return;
    if (next->mac_key.len > 0) {
        secret_clear(&keys->mac_key);
        keys->mac_key = secret_move(&next->mac_key);
    }
    if (next->seed.len > 0) {
        secret_clear(&keys->seed);
        keys->seed = secret_move(&next->seed);
    }
}

static CK_RV add_line(struct audit_chain *chain, const struct audit_entry *entry)
{
    _cleanup_(successor_clear) struct successor next = {.mac_key = {NULL, 0}};
    struct audit_draft draft;

    TRY(make_line(chain, entry, &draft, &next));
    struct view line = audit_draft_so_far(&draft);
    if (chain->has_file)
        TRY(audit_file_append(&chain->file, line));
    CK_RV rv = audit_send_line(&chain->send, line);
    /* What stands in the file is part of the chain. */
    if (rv == CKR_OK || chain->has_file)
        advance(chain, entry->seal, &next);
    return rv;
}

static CK_RV add_marker(struct audit_chain *chain, const char *event)
{
    const struct audit_event marker = {.event = event};
    enum audit_seal seal =
        audit_keys_are_open(&chain->keys) ? AUDIT_SEAL_CHECKPOINT : AUDIT_SEAL_NONE;

    return add_line(chain, &(struct audit_entry){.event = &marker, .seal = seal});
}

static CK_RV add_lines(struct audit_chain *chain, const struct audit_entry *entry, bool is_new_file)
{
    if (is_new_file && chain->seq > 0)
        TRY(add_marker(chain, "file"));
    TRY(add_line(chain, entry));
    /* One that fails is due again with the next line. */
    if (audit_keys_are_open(&chain->keys) && chain->unsigned_count >= CHECKPOINT_EVERY)
        (void) add_marker(chain, "checkpoint");
    return CKR_OK;
}

CK_RV audit_chain_add(struct audit_chain *chain, const struct audit_entry *entry)
{
    bool is_new_file = false;

    if (chain->seq == 0)
        TRY(crypto_random(chain->writer, sizeof(chain->writer)));
    if (!chain->has_file)
        return add_lines(chain, entry, false);
    TRY(audit_file_begin(&chain->file, &is_new_file));
    CK_RV rv = add_lines(chain, entry, is_new_file);
    audit_file_end(&chain->file);
    return rv;
}
