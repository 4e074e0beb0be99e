#include "tokens/audit.h"

#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cause.h"
#include "tokens/audit_chain.h"
#include "tokens/audit_result.h"
#include "tokens/audit_uses.h"
#include "tokens/derive.h"
#include "tokens/metrics.h"

struct audit {
    char *token;
    char *path;       /* NULL: no file */
    bool writes;      /* false: metrics alone */
    bool is_required; /* what cannot be recorded is refused */
    struct metrics *metrics;

    pthread_mutex_t lock;
    struct audit_chain chain; /* by `lock` */

    /* Taken before `lock`. */
    pthread_mutex_t sync_lock;
    uint64_t synced; /* lines below are on disk; by sync_lock */

    struct audit_uses uses;
};

/* ---- configuration ---- */

static struct view next_word(const char **at)
{
    *at += strspn(*at, " \t");
    struct view word = {(const unsigned char *) *at, strcspn(*at, " \t")};
    *at += word.len;
    return word;
}

#define FILE_PREFIX "file:"
#define FILE_PREFIX_LEN (sizeof(FILE_PREFIX) - 1)

static bool is_file(struct view word)
{
    return word.len > FILE_PREFIX_LEN + 1 &&
           memcmp(word.bytes, FILE_PREFIX "/", FILE_PREFIX_LEN + 1) == 0;
}

static const char *check_audit(const char *value)
{
    struct audit_send send = {.facility = -1};
    size_t files = 0;

    for (struct view word = next_word(&value); word.len > 0; word = next_word(&value)) {
        files += is_file(word);
        if (!is_file(word) && !audit_send_configure(&send, word))
            files = 2;
    }
    return files < 2 ? NULL
                     : "file:/PATH, syslog:FACILITY and journald:, each at most once, with a blank "
                       "between";
}

static const char *check_metrics(const char *value)
{
    return is_file(view_text(value)) ? NULL : "file:/PATH";
}

const struct conf_key audit_conf_keys[] = {
    {.name = "audit",
     .type = CONF_STRING,
     .check = check_audit,
     .help =
         "where the audit log is written: file:/PATH, and copies to syslog:FACILITY, journald:"},
    {.name = "audit_required",
     .type = CONF_BOOL,
     .help = "yes: what cannot be recorded is refused"},
    {.name = "metrics",
     .type = CONF_STRING,
     .check = check_metrics,
     .help = "a text file of counters for Prometheus: file:/PATH"},
    {.name = NULL},
};

static CK_RV configure_log(struct audit *audit, const char *target)
{
    struct audit_send *send = &audit->chain.send;

    audit->writes = true;
    for (struct view word = next_word(&target); word.len > 0; word = next_word(&target)) {
        if (!is_file(word)) {
            (void) audit_send_configure(send, word);
            continue;
        }
        audit->path = mem_format("%.*s", (int) (word.len - FILE_PREFIX_LEN),
                                 (const char *) word.bytes + FILE_PREFIX_LEN);
        if (audit->path == NULL)
            return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its audit log", audit->token);
        audit->chain.has_file = true;
    }
    audit_file_init(&audit->chain.file, audit->token, audit->path);
    return CKR_OK;
}

static void audit_free(struct audit **audit)
{
    struct audit *freed = *audit;

    if (freed == NULL)
        return;
    audit_keys_wipe(&freed->chain.keys);
    if (freed->chain.has_file)
        audit_file_close(&freed->chain.file);
    audit_uses_clear(&freed->uses);
    (void) pthread_mutex_destroy(&freed->lock);
    (void) pthread_mutex_destroy(&freed->sync_lock);
    mem_free(freed->token);
    mem_free(freed->path);
    mem_free(freed);
    *audit = NULL;
}

CK_RV audit_open(const struct conf_section *section, struct audit **ret_audit)
{
    const char *target = conf_string(section, "audit", NULL);
    const char *metrics = conf_string(section, "metrics", NULL);

    *ret_audit = NULL;
    if (target == NULL && metrics == NULL)
        return CKR_OK;
    _cleanup_(audit_free) struct audit *audit = mem_calloc(1, sizeof(*audit));
    if (audit == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its audit log", section->name);
    (void) pthread_mutex_init(&audit->lock, NULL);
    (void) pthread_mutex_init(&audit->sync_lock, NULL);
    audit_uses_init(&audit->uses);
    audit->is_required = conf_bool(section, "audit_required", true);
    audit->token = mem_strdup(section->name);
    audit->chain.token = audit->token;
    audit->chain.send = (struct audit_send){.token = audit->token, .facility = -1};
    if (audit->token == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its audit log", section->name);
    if (target != NULL)
        TRY(configure_log(audit, target));
    if (metrics != NULL)
        TRY(metrics_open(section->name, metrics + FILE_PREFIX_LEN, &audit->metrics));
    *ret_audit = TAKE(audit);
    return CKR_OK;
}

/* ---- lines ---- */

/* Threads that wait here meanwhile find their lines on disk. */
static CK_RV sync_to(struct audit *audit, uint64_t seq)
{
    CK_RV rv = CKR_OK;

    (void) pthread_mutex_lock(&audit->sync_lock);
    if (audit->synced < seq) {
        (void) pthread_mutex_lock(&audit->lock);
        uint64_t upto = audit->chain.seq;
        int fd = dup(audit->chain.file.fd);
        (void) pthread_mutex_unlock(&audit->lock);
        rv = audit_file_sync(audit->token, audit->path, fd);
        if (fd >= 0)
            (void) close(fd);
        if (rv == CKR_OK)
            audit->synced = upto;
    }
    (void) pthread_mutex_unlock(&audit->sync_lock);
    return rv;
}

static CK_RV record(struct audit *audit, const struct audit_entry *entry)
{
    (void) pthread_mutex_lock(&audit->lock);
    CK_RV rv = audit_chain_add(&audit->chain, entry);
    uint64_t seq = audit->chain.seq;
    (void) pthread_mutex_unlock(&audit->lock);
    if (rv == CKR_OK && audit->chain.has_file)
        rv = sync_to(audit, seq);
    return audit->is_required ? rv : CKR_OK;
}

CK_RV audit_write(struct audit *audit, const struct audit_event *event)
{
    if (audit == NULL || !audit->writes)
        return CKR_OK;
    return record(audit, &(struct audit_entry){.event = event});
}

/* ---- login ---- */

CK_RV audit_unlock(struct audit *audit, const unsigned char *serial, const struct secret *token_key)
{
    if (audit == NULL || !audit->writes)
        return CKR_OK;
    (void) pthread_mutex_lock(&audit->lock);
    CK_RV rv = audit_keys_prepare(&audit->chain.keys, serial, token_key);
    (void) pthread_mutex_unlock(&audit->lock);
    return rv;
}

/* Of a login that failed; one that goes on meanwhile keeps its keys. */
static void drop_prepared(struct audit *audit)
{
    (void) pthread_mutex_lock(&audit->lock);
    if (!audit_keys_are_open(&audit->chain.keys))
        audit_keys_wipe(&audit->chain.keys);
    (void) pthread_mutex_unlock(&audit->lock);
}

CK_RV audit_login(struct audit *audit, const struct audit_event *event)
{
    struct audit_entry entry = {.event = event};

    if (audit == NULL)
        return CKR_OK;
    metrics_add(audit->metrics, METRICS_LOGINS, audit_result_name(event->result).text, 1);
    if (!audit->writes)
        return CKR_OK;
    (void) pthread_mutex_lock(&audit->lock);
    bool is_prepared = audit_keys_are_prepared(&audit->chain.keys);
    (void) pthread_mutex_unlock(&audit->lock);
    if (event->result == CKR_OK && is_prepared)
        entry.seal = AUDIT_SEAL_LOGIN;
    CK_RV rv = record(audit, &entry);
    if (entry.seal == AUDIT_SEAL_NONE)
        drop_prepared(audit);
    return rv;
}

/* What a walk over the counts gives back. */
struct giving_back {
    struct audit *audit;
    const char *role;
};

static void give_back_locked(void *context, struct audit_count *count)
{
    const struct giving_back *giving = context;
    uint64_t left = atomic_exchange(&count->left, 0);
    const struct audit_event event = {
        .event = "unused",
        .role = giving->role,
        .key = count->has_key ? &count->key : NULL,
        .label = {(const unsigned char *) count->label, count->label_len},
        .mechanism = count->mechanism,
    };

    if (left == 0)
        return;
    /* A line that cannot be written leaves more counted than was used. */
    (void) audit_chain_add(&giving->audit->chain,
                           &(struct audit_entry){.event = &event, .uses = &left});
}

static void give_back(struct audit *audit, const char *role)
{
    struct giving_back giving = {audit, role};

    (void) pthread_mutex_lock(&audit->lock);
    audit_uses_each(&audit->uses, give_back_locked, &giving);
    (void) pthread_mutex_unlock(&audit->lock);
}

void audit_logout(struct audit *audit, const struct audit_event *event)
{
    if (audit == NULL || !audit->writes)
        return;
    give_back(audit, event->role);
    (void) pthread_mutex_lock(&audit->lock);
    bool is_open = audit_keys_are_open(&audit->chain.keys);
    (void) pthread_mutex_unlock(&audit->lock);
    (void) record(audit, &(struct audit_entry){
                             .event = event, .seal = is_open ? AUDIT_SEAL_LAST : AUDIT_SEAL_NONE});
    (void) pthread_mutex_lock(&audit->lock);
    audit_keys_wipe(&audit->chain.keys);
    (void) pthread_mutex_unlock(&audit->lock);
}

static void tell_operations(void *context, struct audit_count *count)
{
    metrics_add(context, METRICS_OPERATIONS, count->mechanism, atomic_exchange(&count->used, 0));
}

struct metrics *audit_metrics(struct audit *audit)
{
    if (audit == NULL || audit->metrics == NULL)
        return NULL;
    return audit->metrics;
}

void audit_tell_metrics(struct audit *audit)
{
    audit_uses_each(&audit->uses, tell_operations, audit->metrics);
    metrics_write(audit->metrics);
}

void audit_close(struct audit **audit)
{
    struct audit *closed = *audit;
    const struct audit_event end = {.event = "end"};

    if (closed == NULL)
        return;
    if (closed->writes && closed->chain.seq > 0) {
        give_back(closed, NULL);
        (void) record(closed, &(struct audit_entry){.event = &end});
    }
    audit_uses_each(&closed->uses, tell_operations, closed->metrics);
    metrics_close(&closed->metrics);
    audit_free(audit);
}

void audit_abandon(struct audit *audit)
{
    if (audit != NULL && audit->chain.has_file)
        audit_file_close(&audit->chain.file);
}

CK_RV audit_succeed(struct audit *audit, const unsigned char *serial, const struct secret *former,
                    const struct secret *token_key)
{
    _cleanup_(secret_clear) struct secret seed = {NULL, 0};
    unsigned char public_key[AUDIT_PUBLIC_KEY_LEN];
    const struct audit_event event = {.event = "audit-key"};
    const struct audit_entry entry = {
        .event = &event,
        .seal = AUDIT_SEAL_SUCCESSION,
        .signer = &seed,
        .successor = public_key,
    };

    if (audit == NULL || !audit->writes)
        return CKR_OK;
    TRY(derive_key(former, serial, LABEL_AUDIT_SIGN, &seed));
    TRY(audit_public_key(serial, token_key, public_key));
    return record(audit, &entry);
}

/* ---- keys for others ---- */

CK_RV audit_public_key(const unsigned char *serial, const struct secret *token_key,
                       unsigned char ret_public[AUDIT_PUBLIC_KEY_LEN])
{
    _cleanup_(secret_clear) struct secret seed = {NULL, 0};

    TRY(derive_key(token_key, serial, LABEL_AUDIT_SIGN, &seed));
    return crypto_ed25519_public(&seed, ret_public);
}

CK_RV audit_mac_key(const unsigned char *serial, const struct secret *token_key,
                    struct secret *ret_key)
{
    return derive_key(token_key, serial, LABEL_AUDIT_MAC, ret_key);
}

/* ---- uses of keys ---- */

static CK_RV reserve(struct audit *audit, const struct audit_use *use, struct audit_count *count)
{
    uint64_t block = audit_uses_block(count);
    const struct audit_event event = {
        .event = "uses",
        .role = use->role,
        .key = use->key,
        .label = use->label,
        .mechanism = use->mechanism,
    };

    if (audit->writes)
        TRY(record(audit, &(struct audit_entry){.event = &event, .uses = &block}));
    (void) atomic_fetch_add(&count->reserved, block);
    (void) atomic_fetch_add(&count->left, block);
    return CKR_OK;
}

CK_RV audit_share_fill(struct audit *audit, const struct audit_use *use, struct audit_share *share)
{
    if (share->count == NULL)
        TRY(audit_uses_find(&audit->uses, use, &share->count));
    audit_uses_settle(share);
    while (share->left == 0) {
        share->left = audit_uses_take(share->count);
        if (share->left == 0)
            TRY(reserve(audit, use, share->count));
    }
    share->taken = share->left;
    return CKR_OK;
}

void audit_share_give_back(struct audit_share *share)
{
    if (share->count == NULL)
        return;
    audit_uses_settle(share);
    (void) atomic_fetch_add(&share->count->left, share->left);
    *share = (struct audit_share){.count = NULL};
}
