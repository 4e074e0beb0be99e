#include "module/key_ledger.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/rv.h"

#define BUCKETS 1024

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct key_ledger *buckets[BUCKETS];

static struct key_ledger **bucket_of(const unsigned char fingerprint[SHA256_LEN])
{
    return &buckets[(fingerprint[0] << 8 | fingerprint[1]) % BUCKETS];
}

static struct key_ledger *find_locked(const unsigned char fingerprint[SHA256_LEN])
{
    struct key_ledger *ledger = *bucket_of(fingerprint);

    while (ledger != NULL && memcmp(ledger->fingerprint, fingerprint, SHA256_LEN) != 0)
        ledger = ledger->next;
    return ledger;
}

static CK_RV find_or_add_locked(const unsigned char fingerprint[SHA256_LEN],
                                struct key_ledger **ret_ledger)
{
    struct key_ledger *ledger = find_locked(fingerprint);

    if (ledger == NULL) {
        ledger = mem_calloc(1, sizeof(*ledger));
        if (ledger == NULL)
            return CKR_HOST_MEMORY;
        memcpy(ledger->fingerprint, fingerprint, SHA256_LEN);
        ledger->next = *bucket_of(fingerprint);
        *bucket_of(fingerprint) = ledger;
    }
    *ret_ledger = ledger;
    return CKR_OK;
}

/* Two threads may come with the same key at once: the first enters it. */
static CK_RV attach(struct object *key, const unsigned char fingerprint[SHA256_LEN],
                    struct key_ledger **ret_ledger)
{
    struct key_ledger *ledger = NULL;

    pthread_mutex_lock(&lock);
    CK_RV rv = find_or_add_locked(fingerprint, &ledger);
    if (rv == CKR_OK && atomic_load(&key->ledger) == NULL) {
        ledger->references++;
        atomic_store_explicit(&key->ledger, ledger, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    if (rv == CKR_OK)
        *ret_ledger = ledger;
    return rv;
}

CK_RV key_ledger_of(struct object *key, struct key_ledger **ret_ledger)
{
    static const char purpose[] = "indexkey key ledger";
    struct key_ledger *known = atomic_load_explicit(&key->ledger, memory_order_acquire);
    unsigned char fingerprint[SHA256_LEN];
    const struct secret *value;

    if (known != NULL) {
        *ret_ledger = known;
        return CKR_OK;
    }
    TRY(object_value(key, &value));
    TRY(crypto_hmac_sha256(value, view_text(purpose), fingerprint));
    CK_RV rv = attach(key, fingerprint, ret_ledger);
    secret_wipe(fingerprint, sizeof(fingerprint));
    return rv;
}

bool key_ledger_keeps_form(struct key_ledger *ledger, const struct iv_form *form)
{
    pthread_mutex_lock(&lock);
    if (!ledger->has_form)
        ledger->form = *form;
    ledger->has_form = true;
    const struct iv_form *kept = &ledger->form;
    bool keeps = kept->generator == form->generator && kept->iv_len == form->iv_len &&
                 kept->fixed_bits == form->fixed_bits &&
                 memcmp(kept->base, form->base, sizeof(kept->base)) == 0;
    pthread_mutex_unlock(&lock);
    return keeps;
}

static void unlink_locked(struct key_ledger *ledger)
{
    struct key_ledger **at = bucket_of(ledger->fingerprint);

    while (*at != ledger)
        at = &(*at)->next;
    *at = ledger->next;
}

void key_ledger_release(struct key_ledger *ledger)
{
    if (ledger == NULL)
        return;
    pthread_mutex_lock(&lock);
    bool is_last = --ledger->references == 0 && atomic_load(&ledger->counter) == 0;
    if (is_last)
        unlink_locked(ledger);
    pthread_mutex_unlock(&lock);
    if (is_last)
        mem_free(ledger);
}

void key_ledgers_abandon(void)
{
    pthread_mutex_init(&lock, NULL);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct key_ledger *ledger = buckets[i]; ledger != NULL; ledger = ledger->next)
            ledger->is_inherited = true;
}
