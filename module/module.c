#include "module/module.h"

#include <pthread.h>
#include <sched.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fork.h"
#include "base/random_buffer.h"
#include "base/secret.h"
#include "module/config.h"
#include "module/key_ledger.h"
#include "module/session.h"
#include "module/slot.h"

static _Atomic unsigned int unmapped = MODULE_DOWN;
_Atomic unsigned int *_Atomic module_word = &unmapped;

/* Serialises C_Initialize and C_Finalize. */
static pthread_mutex_t lifecycle = PTHREAD_MUTEX_INITIALIZER;

/* Calls that C_Finalize has to wait for. Count and word are sequentially consistent: a call that
 * enters sees the word down, or C_Finalize sees the call. */
static atomic_ulong inside;
/* For those who wait, for the count or for C_Finalize. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_changed = PTHREAD_COND_INITIALIZER;
/* How often the gate was shut: a C_Initialize that follows at once must not hide a C_Finalize from
 * those who wait for one. */
static unsigned long shut_count;

static struct {
    struct conf *conf;
    struct slot *slots;
    size_t slot_count;
    bool may_create_threads; /* by C_Initialize's flags */
} module;

/* What a fork left of the parent: locks that nobody will release, slabs that are not mapped,
 * contexts on the heap. Nothing but this thread runs on it. */
static void abandon_parent(void)
{
    /* A lock that the fork caught locked guards something half changed, which is left as it is. */
    bool slots_are_whole = pthread_mutex_trylock(&lifecycle) == 0;

    if (slots_are_whole)
        pthread_mutex_unlock(&lifecycle);
    else
        pthread_mutex_init(&lifecycle, NULL);
    pthread_mutex_init(&gate, NULL);
    pthread_cond_init(&gate_changed, NULL);
    atomic_store(&inside, 0);
    key_ledgers_abandon();
    secrets_abandon();
    sessions_abandon();
    for (size_t i = 0; slots_are_whole && i < module.slot_count; i++)
        custody_abandon(module.slots[i].custody);
    if (!slots_are_whole)
        custody_abandon_unknown();
    random_buffer_abandon();
    crypto_abandon();
    /* The parent's objects stay as unreachable memory: freeing them would take locks of the parent.
     */
    module.conf = NULL;
    module.slots = NULL;
    module.slot_count = 0;
}

/* The first call of a process finds MODULE_UNKNOWN. It is a fork's child where somebody has claimed
 * the word before, in memory that the fork has copied. */
static unsigned int claim(_Atomic unsigned int *word)
{
    static bool was_claimed;
    unsigned int seen = MODULE_UNKNOWN;

    if (atomic_compare_exchange_strong(word, &seen, MODULE_CLAIMING)) {
        if (was_claimed)
            abandon_parent();
        was_claimed = true;
        atomic_store(word, MODULE_DOWN);
        return MODULE_DOWN;
    }
    while ((seen = atomic_load(word)) == MODULE_CLAIMING)
        sched_yield();
    return seen;
}

CK_RV module_check_down(void)
{
    _Atomic unsigned int *word = atomic_load_explicit(&module_word, memory_order_acquire);

    if (atomic_load_explicit(word, memory_order_acquire) == MODULE_UNKNOWN)
        claim(word);
    return CKR_CRYPTOKI_NOT_INITIALIZED;
}

/* The caller's thread is in a call already, and may hold what this one would wait for. */
static CK_RV refuse_reentry(void)
{
    if (!custody_is_inside())
        return CKR_OK;
    return FAIL(CKR_FUNCTION_FAILED,
                "a call from inside libcurl or a parent HSM's module, which this module itself had "
                "called: leave this module out of the OpenSSL configuration that libcurl uses, and "
                "of what the parent's module loads");
}

static bool is_up(void)
{
    return atomic_load(atomic_load(&module_word)) == MODULE_UP;
}

CK_RV module_enter(void)
{
    TRY(module_check());
    TRY(refuse_reentry());
    atomic_fetch_add(&inside, 1);
    if (is_up())
        return CKR_OK;
    module_leave();
    return CKR_CRYPTOKI_NOT_INITIALIZED;
}

void module_leave(void)
{
    if (atomic_fetch_sub(&inside, 1) > 1 || is_up())
        return;
    pthread_mutex_lock(&gate);
    pthread_cond_broadcast(&gate_changed);
    pthread_mutex_unlock(&gate);
}

CK_RV module_wait_for_finalize(void)
{
    TRY(module_check());
    TRY(refuse_reentry());
    pthread_mutex_lock(&gate);
    unsigned long seen = shut_count;
    while (module_check() == CKR_OK && shut_count == seen)
        pthread_cond_wait(&gate_changed, &gate);
    pthread_mutex_unlock(&gate);
    return CKR_CRYPTOKI_NOT_INITIALIZED;
}

/* PKCS #11 5.4.1. We lock with the system's primitives only. */
static CK_RV check_locking(const CK_C_INITIALIZE_ARGS *args)
{
    int given = (args->CreateMutex != NULL) + (args->DestroyMutex != NULL) +
                (args->LockMutex != NULL) + (args->UnlockMutex != NULL);

    if (given != 0 && given != 4)
        return CKR_ARGUMENTS_BAD;
    if (given == 4 && (args->flags & CKF_OS_LOCKING_OK) == 0)
        return CKR_CANT_LOCK;
    return CKR_OK;
}

static void close_slots(void)
{
    for (size_t i = 0; i < module.slot_count; i++)
        slot_close(&module.slots[i]);
    mem_free(module.slots);
    module.slots = NULL;
    module.slot_count = 0;
    conf_free(&module.conf);
}

static CK_RV open_slots(void)
{
    size_t section_count;
    const struct conf_section *sections = conf_tokens(module.conf, &section_count);

    module.slots = mem_calloc(section_count + 1, sizeof(*module.slots));
    if (module.slots == NULL)
        return CKR_HOST_MEMORY;
    for (size_t i = 0; i < section_count; i++) {
        if (!sections[i].has_slot)
            continue;
        TRY(slot_open(&module.slots[module.slot_count++], module.conf, &sections[i],
                      module.may_create_threads));
    }
    return CKR_OK;
}

static CK_RV load(const char *reserved)
{
    char *path __attribute__((cleanup(mem_free_pointer))) = NULL;

    TRY(conf_locate(reserved, &path));
    TRY(conf_load(path, config_schema(), &module.conf));
    const struct conf_section *section = conf_module(module.conf);
    const char *target = conf_string(section, "log", "stderr:warning");
    if (!log_open(target))
        return FAIL(CKR_FUNCTION_FAILED,
                    "%s:%zu: log = %s: the file cannot be opened for appending; check its folder, "
                    "owner and mode",
                    path == NULL ? "configuration" : path, conf_section_line(section), target);
    secrets_init(conf_bool(section, "require_locked_memory", false));
    TRY(crypto_init());
    random_buffer_init();
    return open_slots();
}

static CK_RV initialize_locked(_Atomic unsigned int *word, const char *reserved, CK_FLAGS flags)
{
    if (atomic_load(word) == MODULE_UP)
        return CKR_CRYPTOKI_ALREADY_INITIALIZED;
    module.may_create_threads = (flags & CKF_LIBRARY_CANT_CREATE_OS_THREADS) == 0;
    CK_RV rv = load(reserved);
    if (rv != CKR_OK) {
        close_slots();
        random_buffer_finish();
        crypto_finish();
        log_close();
        return rv;
    }
    atomic_store(word, MODULE_UP);
    return CKR_OK;
}

CK_RV module_initialize(const CK_C_INITIALIZE_ARGS *args)
{
    _Atomic unsigned int *word;
    const char *reserved = NULL;

    if (args != NULL) {
        TRY(check_locking(args));
        reserved = args->pReserved;
    }
    TRY(refuse_reentry());
    TRY(fork_word(&word));
    atomic_store_explicit(&module_word, word, memory_order_release);
    if (atomic_load(word) <= MODULE_CLAIMING)
        claim(word);
    pthread_mutex_lock(&lifecycle);
    CK_RV rv = initialize_locked(word, reserved, args == NULL ? 0 : args->flags);
    pthread_mutex_unlock(&lifecycle);
    return rv;
}

/* No call enters any more; those that are inside are told to hurry and awaited. */
static void shut_gate(_Atomic unsigned int *word)
{
    pthread_mutex_lock(&gate);
    atomic_store(word, MODULE_DOWN);
    shut_count++;
    for (size_t i = 0; i < module.slot_count; i++)
        if (module.slots[i].custody != NULL)
            custody_cancel(module.slots[i].custody);
    pthread_cond_broadcast(&gate_changed);
    while (atomic_load(&inside) > 0)
        pthread_cond_wait(&gate_changed, &gate);
    pthread_mutex_unlock(&gate);
}

CK_RV module_finalize(void)
{
    TRY(module_check());
    TRY(refuse_reentry());
    pthread_mutex_lock(&lifecycle);
    CK_RV rv = module_check();
    if (rv == CKR_OK) {
        shut_gate(module_word);
        for (size_t i = 0; i < module.slot_count; i++)
            session_close_all(&module.slots[i]);
        close_slots();
        random_buffer_finish();
        crypto_finish();
        log_close();
    }
    pthread_mutex_unlock(&lifecycle);
    return rv;
}

struct slot *module_slots(size_t *ret_count)
{
    *ret_count = module.slot_count;
    return module.slots;
}

CK_RV module_slot(CK_SLOT_ID id, struct slot **ret_slot)
{
    for (size_t i = 0; i < module.slot_count; i++) {
        if (module.slots[i].id == id) {
            *ret_slot = &module.slots[i];
            return CKR_OK;
        }
    }
    return CKR_SLOT_ID_INVALID;
}
