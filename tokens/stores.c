#include "tokens/stores.h"

#include <string.h>

#include "base/cause.h"

static const struct store_ops *const stores[] = {&store_sqlite_ops, &store_postgres_ops,
                                                 &store_postgres_short_ops, &store_memory_ops};

#define STORE_COUNT (sizeof(stores) / sizeof(stores[0]))
/* For the hint in a log line; kept in the order of `stores`. */
#define STORE_HINT "sqlite:PATH, postgresql://USER@HOST/DATABASE, memory:"

static const struct store_ops *find_ops(const char *location, const char **ret_rest)
{
    const char *colon = strchr(location, ':');
    if (colon == NULL)
        return NULL;
    size_t scheme_len = (size_t) (colon - location);
    for (size_t i = 0; i < STORE_COUNT; i++) {
        const char *scheme = stores[i]->scheme;
        if (strlen(scheme) == scheme_len && memcmp(scheme, location, scheme_len) == 0) {
            *ret_rest = colon + 1;
            return stores[i];
        }
    }
    return NULL;
}

CK_RV store_open(const char *location, struct store **ret_store)
{
    const char *rest;
    const struct store_ops *ops = find_ops(location, &rest);
    /* Not all of it: there may be a password in what follows the colon. */
    if (ops == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG, "store %.*s: unknown kind of store; known are %s",
                          (int) strcspn(location, ":"), location, STORE_HINT);
    return ops->open(rest, ret_store);
}

void store_close(struct store **store)
{
    if (*store != NULL) {
        (*store)->ops->close(*store);
        *store = NULL;
    }
}

void store_abandon(struct store *store)
{
    if (store != NULL && store->ops->abandon != NULL)
        store->ops->abandon(store);
}

void store_abandon_unknown(void)
{
    store_sqlite_refuse();
}

bool store_is_inside(void)
{
    return store_postgres_is_inside();
}

bool store_scheme_is_known(const char *location)
{
    const char *rest;
    return find_ops(location, &rest) != NULL;
}

bool store_name_is_valid(const char *name)
{
    size_t len = strnlen(name, STORE_NAME_MAX + 1);
    return len > 0 && len <= STORE_NAME_MAX;
}

static CK_RV check_change(const struct store_change *change)
{
    if (change->record != NULL && !store_name_is_valid(change->record))
        return FAIL(CKR_GENERAL_ERROR, "store: a record's name has 1 to %d bytes, not \"%.32s\"",
                    STORE_NAME_MAX, change->record);
    if (change->record == NULL && change->object == NULL)
        return FAIL(CKR_GENERAL_ERROR, "store: a change names no row");
    if (change->value_only && (change->record != NULL || change->remove))
        return FAIL(CKR_GENERAL_ERROR, "store: only an object that stays keeps its attributes");
    if (change->begins_at > 0 && (change->expected > 0 || change->begins_at >= INT64_MAX))
        return FAIL(CKR_GENERAL_ERROR, "store: only a new row begins at version %llu",
                    (unsigned long long) change->begins_at);
    /* Versions are signed 64-bit numbers in the databases. */
    if (change->expected >= INT64_MAX ||
        ((change->remove || change->value_only) && change->expected == 0))
        return FAIL(CKR_GENERAL_ERROR, "store: a change cannot expect version %llu",
                    (unsigned long long) change->expected);
    size_t len =
        change->attributes.len > change->value.len ? change->attributes.len : change->value.len;
    if (len > STORE_BLOB_MAX)
        return FAIL(CKR_DEVICE_MEMORY, "store: a row of %zu bytes is over the limit of %zu", len,
                    STORE_BLOB_MAX);
    return CKR_OK;
}

uint64_t store_change_base(const struct store_change *change)
{
    return change->begins_at > 0 ? change->begins_at - 1 : change->expected;
}

CK_RV store_changes_check(const struct store_change *changes, size_t change_count)
{
    for (size_t i = 0; i < change_count; i++)
        TRY(check_change(&changes[i]));
    return CKR_OK;
}

void store_mutex_init(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t recursive;
    (void) pthread_mutexattr_init(&recursive);
    (void) pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    (void) pthread_mutex_init(mutex, &recursive);
    (void) pthread_mutexattr_destroy(&recursive);
}
