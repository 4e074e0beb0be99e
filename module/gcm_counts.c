#include "module/gcm_counts.h"

#include "base/rv.h"
#include "module/key_ledger.h"
#include "module/slot.h"

/* NIST SP 800-38D, 8.3. */
#define INVOCATIONS_MAX ((uint64_t) 1 << 32)
#define SHARE_BLOCK 256

static CK_RV exhausted(const struct object *key)
{
    log_line(LOG_LEVEL_WARNING,
             "token %s: a GCM key has used up its IVs (SP 800-38D, 8.3): make a new key",
             key->slot->name);
    return CKR_KEY_EXHAUSTED;
}

CK_RV gcm_counts_take(struct object *key, struct gcm_share *share)
{
    struct key_ledger *ledger;

    if (share->left == 0) {
        TRY(key_ledger_of(key, &ledger));
        uint64_t before = atomic_load(&ledger->invocations);
        do {
            if (before >= INVOCATIONS_MAX)
                return exhausted(key);
        } while (
            !atomic_compare_exchange_weak(&ledger->invocations, &before, before + SHARE_BLOCK));
        share->left = SHARE_BLOCK;
    }
    share->left--;
    return CKR_OK;
}

CK_RV gcm_counts_next(struct object *key, unsigned int bits, uint64_t *ret_value)
{
    uint64_t limit = bits >= 64 ? UINT64_MAX : (uint64_t) 1 << bits;
    struct key_ledger *ledger;

    if (object_has(key, FLAG_TOKEN) || (key->attributes.flags & OF_TOKEN_KEY) != 0) {
        log_line(LOG_LEVEL_WARNING,
                 "token %s: no IV counter for this key: it is or comes from a token key, whose "
                 "counter would have to outlive this process; use CKG_GENERATE_RANDOM",
                 key->slot->name);
        return CKR_MECHANISM_PARAM_INVALID;
    }
    TRY(key_ledger_of(key, &ledger));
    if (ledger->is_inherited) {
        log_line(LOG_LEVEL_WARNING,
                 "token %s: no IV counter for this key: the parent of this process counts on with "
                 "the same key",
                 key->slot->name);
        return CKR_MECHANISM_PARAM_INVALID;
    }
    uint64_t value = atomic_load(&ledger->counter);
    do {
        if (value >= limit)
            return exhausted(key);
    } while (!atomic_compare_exchange_weak(&ledger->counter, &value, value + 1));
    *ret_value = value;
    return CKR_OK;
}
