/*
 * The shared store: tables in a PostgreSQL schema, for processes on any number of hosts.
 *
 * Two connections, made when they are needed and each under a mutex of its own: one reads and is
 * told of commits, one commits, so that nobody's reading waits for a turn. What a plan reads, it
 * reads by the second, within its transaction; that thread holds the mutex already. A connection
 * that is lost is made anew within POSTGRES_PATIENCE_MS.
 *
 * read_objects hands rows over while the first mutex is held: a callback must not call its own
 * store. libpq shares nothing between connections, so a child of a fork uses stores of its own
 * beside the parent's, and lets go of the parent's sockets.
 */
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cause.h"
#include "base/clock.h"
#include "tokens/postgres_read.h"
#include "tokens/postgres_turn.h"
#include "tokens/stores.h"

/* Notifications come by themselves; a connection that is dead without a word, and a message that
 * was lost, are noticed by asking as often as that. */
#define ASK_MS 1000

struct store_postgres {
    struct store base;
    char *rest; /* of the URI */
    struct postgres_place *place;

    pthread_mutex_t read_mutex;
    struct postgres_session reader;
    int64_t asked_ms; /* when the count was read last; 0: not by this connection */

    pthread_mutex_t write_mutex; /* before the other where both are taken */
    struct postgres_writer writer;

    pthread_mutex_t count_mutex; /* for an instant, after any other */
    uint64_t known;              /* the table's count, as this process knows it */
    uint64_t changes;            /* moves with each new one, and with each new connection */
};

/* The store whose plan this thread is in. */
static _Thread_local struct store_postgres *planning;

static void mutex_release(pthread_mutex_t **mutex)
{
    (void) pthread_mutex_unlock(*mutex);
}

static pthread_mutex_t *mutex_take(pthread_mutex_t *mutex)
{
    (void) pthread_mutex_lock(mutex);
    return mutex;
}

/* Until the end of the scope. */
#define HOLD(mutex)                                                                                \
    __attribute__((cleanup(mutex_release), unused)) pthread_mutex_t *held_ = mutex_take(mutex)

static CK_RV postgres_open(const char *rest, struct store **ret_store)
{
    _cleanup_(mem_free_pointer) struct store_postgres *store = mem_calloc(1, sizeof(*store));
    _cleanup_(mem_free_pointer) char *copy = mem_strdup(rest);
    if (store == NULL || copy == NULL)
        return FAIL(CKR_HOST_MEMORY, "store postgresql: no memory for it");
    TRY(postgres_place_new(rest, &store->place));
    store->base.ops = &store_postgres_ops;
    store->rest = TAKE(copy);
    store->reader =
        (struct postgres_session){.rest = store->rest, .place = store->place, .listens = true};
    store->writer.session = (struct postgres_session){.rest = store->rest, .place = store->place};
    (void) pthread_mutex_init(&store->read_mutex, NULL);
    (void) pthread_mutex_init(&store->write_mutex, NULL);
    (void) pthread_mutex_init(&store->count_mutex, NULL);
    *ret_store = &store->base;
    (void) TAKE(store);
    return CKR_OK;
}

static void postgres_close(struct store *base)
{
    struct store_postgres *store = (struct store_postgres *) base;
    postgres_session_close(&store->reader);
    postgres_session_close(&store->writer.session);
    (void) pthread_mutex_destroy(&store->read_mutex);
    (void) pthread_mutex_destroy(&store->write_mutex);
    (void) pthread_mutex_destroy(&store->count_mutex);
    postgres_place_free(&store->place);
    mem_free(store->rest);
    mem_free(store);
}

static void abandon_session(pthread_mutex_t *mutex, struct postgres_session *session)
{
    /* One that the fork caught at work stays as it is: nobody in this process will touch it. */
    if (pthread_mutex_trylock(mutex) != 0)
        return;
    postgres_link_abandon(&session->link);
    session->ready = false;
    (void) pthread_mutex_unlock(mutex);
}

static void postgres_abandon(struct store *base)
{
    struct store_postgres *store = (struct store_postgres *) base;
    abandon_session(&store->read_mutex, &store->reader);
    abandon_session(&store->write_mutex, &store->writer.session);
}

/* POSTGRES_LOST may come at any time; what was handed over before is not handed over again. */
typedef CK_RV read_fn(struct postgres_session *session, void *context);

struct reading {
    read_fn *read;
    void *context;
    const char *what;
};

static CK_RV read_in_plan(struct store_postgres *store, const struct reading *reading)
{
    struct postgres_writer *writer = &store->writer;
    struct postgres_patience patience = {0};
    CK_RV rv = reading->read(&writer->session, reading->context);
    while (rv == POSTGRES_LOST && postgres_patience_left(&patience)) {
        TRY(postgres_turn_resume(writer));
        rv = reading->read(&writer->session, reading->context);
    }
    return postgres_session_fail(&writer->session, rv, reading->what);
}

static CK_RV try_read(struct store_postgres *store, const struct reading *reading)
{
    if (!store->reader.ready)
        store->asked_ms = 0;
    TRY(postgres_session_open(&store->reader, false));
    CK_RV rv = reading->read(&store->reader, reading->context);
    if (rv == POSTGRES_LOST)
        postgres_session_close(&store->reader);
    return rv;
}

static CK_RV read_from(struct store_postgres *store, const struct reading *reading)
{
    if (planning == store)
        return read_in_plan(store, reading);
    struct postgres_patience patience = {0};
    for (;;) {
        {
            HOLD(&store->read_mutex);
            CK_RV rv = try_read(store, reading);
            if (rv != POSTGRES_LOST || !postgres_patience_left(&patience))
                return postgres_session_fail(&store->reader, rv, reading->what);
        }
        postgres_patience_pause(&patience);
    }
}

static CK_RV postgres_read_record(struct store *base, const char *name, struct blob *ret_bytes,
                                  uint64_t *ret_version)
{
    struct postgres_record_reading record = {.name = name};
    const struct reading reading = {postgres_read_one_record, &record, "reading a record"};
    if (!store_name_is_valid(name))
        return STORE_ABSENT;
    TRY(read_from((struct store_postgres *) base, &reading));
    *ret_bytes = record.bytes;
    *ret_version = record.version;
    return CKR_OK;
}

static void tell_of_bad(const struct store_postgres *store, size_t count)
{
    if (count > 0)
        log_line(LOG_LEVEL_ERROR,
                 "store %s: %zu rows are malformed and left out; restore the schema from a backup",
                 store->place->name, count);
}

static CK_RV postgres_read_objects(struct store *base, store_row_fn *each, void *context)
{
    struct store_postgres *store = (struct store_postgres *) base;
    struct postgres_objects_reading objects = {.each = each, .context = context};
    const struct reading reading = {postgres_read_all_objects, &objects, "reading the objects"};
    CK_RV rv = read_from(store, &reading);
    if (rv == STORE_ABSENT)
        return CKR_OK;
    if (rv == CKR_OK)
        tell_of_bad(store, objects.bad_count);
    return rv;
}

static CK_RV postgres_read_changes(struct store *base, struct store_look *look)
{
    struct store_postgres *store = (struct store_postgres *) base;
    struct postgres_changes_reading changes = {.look = look, .in_plan = planning == store};
    const struct reading reading = {postgres_read_news, &changes, "reading what has changed"};
    CK_RV rv = read_from(store, &reading);
    if (rv == STORE_ABSENT) {
        look->is_whole = true;
        look->turn = 0;
        return CKR_OK;
    }
    if (rv == CKR_OK)
        tell_of_bad(store, changes.bad_count + changes.whole.bad_count);
    return rv;
}

static CK_RV postgres_read_object(struct store *base, const struct object_id *id,
                                  store_row_fn *each, void *context)
{
    struct postgres_object_reading object = {.id = id, .each = each, .context = context};
    const struct reading reading = {postgres_read_one_object, &object, "reading an object"};
    return read_from((struct store_postgres *) base, &reading);
}

struct guarded_plan {
    struct store_postgres *store;
    store_plan_fn *plan;
    void *context;
};

static CK_RV plan_inside(void *context, const struct store_change **ret_changes,
                         size_t *ret_change_count)
{
    const struct guarded_plan *guarded = context;
    struct store_postgres *before = planning;
    planning = guarded->store;
    CK_RV rv = guarded->plan(guarded->context, ret_changes, ret_change_count);
    planning = before;
    return rv;
}

static void count_as_known(struct store_postgres *store, uint64_t number)
{
    HOLD(&store->count_mutex);
    store->known = number;
    store->changes++;
}

static CK_RV transact(struct store_postgres *store, const struct postgres_transaction *transaction)
{
    HOLD(&store->write_mutex);
    TRY(postgres_turn_run(&store->writer, transaction));
    count_as_known(store, store->writer.turn);
    return CKR_OK;
}

static CK_RV postgres_commit(struct store *base, const struct store_change *changes,
                             size_t change_count)
{
    TRY(store_changes_check(changes, change_count));
    return transact(
        (struct store_postgres *) base,
        &(struct postgres_transaction){.changes = changes, .change_count = change_count});
}

static CK_RV postgres_update(struct store *base, store_plan_fn *plan, void *context)
{
    struct guarded_plan guarded = {(struct store_postgres *) base, plan, context};
    return transact(guarded.store,
                    &(struct postgres_transaction){.plan = plan_inside, .plan_context = &guarded});
}

static CK_RV postgres_reset(struct store *base, const char *guard, uint64_t guard_version,
                            const struct store_change *changes, size_t change_count)
{
    TRY(store_changes_check(changes, change_count));
    return transact((struct store_postgres *) base,
                    &(struct postgres_transaction){.guard = guard,
                                                   .guard_version = guard_version,
                                                   .changes = changes,
                                                   .change_count = change_count});
}

static bool is_known(struct store_postgres *store, const char *payload)
{
    char known[24];
    HOLD(&store->count_mutex);
    (void) snprintf(known, sizeof(known), "%llu", (unsigned long long) store->known);
    return strcmp(known, payload) == 0;
}

/* True when the count is to be read: somebody else has committed, or it is time to make sure. What
 * the notification says is not taken from it: everyone who may connect can send one. */
static bool is_news(struct store_postgres *store)
{
    char payload[24];
    bool news = store->asked_ms == 0 || clock_boot_ms() - store->asked_ms >= ASK_MS;
    while (postgres_link_notice(&store->reader.link, payload, sizeof(payload)))
        news = news || !is_known(store, payload);
    return news;
}

static CK_RV look_for_changes(struct postgres_session *session, void *context)
{
    struct store_postgres *store = context;
    _cleanup_(postgres_result_clear) PGresult *row = NULL;
    uint64_t number;
    TRY(postgres_link_look(&session->link));
    if (!is_news(store))
        return CKR_OK;
    TRY(postgres_link_ask(&session->link, &postgres_statements[POSTGRES_READ_COUNT], NULL, &row));
    if (!postgres_number(row, 0, 0, &number))
        return postgres_read_malformed(session, "the table \"store\"");
    store->asked_ms = clock_boot_ms();
    HOLD(&store->count_mutex);
    store->changes += number != store->known ? 1 : 0;
    store->known = number;
    return CKR_OK;
}

static uint64_t changes_now(struct store_postgres *store)
{
    HOLD(&store->count_mutex);
    return store->changes;
}

static CK_RV postgres_change_count(struct store *base, uint64_t *ret_count)
{
    struct store_postgres *store = (struct store_postgres *) base;
    const struct reading reading = {look_for_changes, store, "asking for changes"};
    HOLD(&store->read_mutex);
    /* Once more with a new connection, and no longer: this is asked all the time. */
    CK_RV rv = try_read(store, &reading);
    if (rv == POSTGRES_LOST)
        rv = try_read(store, &reading);
    if (rv != CKR_OK && rv != STORE_ABSENT)
        return postgres_session_fail(&store->reader, rv, reading.what);
    *ret_count = changes_now(store);
    return CKR_OK;
}

bool store_postgres_is_inside(void)
{
    return postgres_link_is_inside();
}

#define OPS(name)                                                                                  \
    {                                                                                              \
        .scheme = (name), .open = postgres_open, .close = postgres_close,                          \
        .abandon = postgres_abandon, .read_record = postgres_read_record,                          \
        .read_objects = postgres_read_objects, .read_object = postgres_read_object,                \
        .read_changes = postgres_read_changes, .commit = postgres_commit,                          \
        .update = postgres_update, .reset = postgres_reset, .change_count = postgres_change_count, \
    }

const struct store_ops store_postgres_ops = OPS("postgresql");
/* libpq's other name for the same. */
const struct store_ops store_postgres_short_ops = OPS("postgres");
