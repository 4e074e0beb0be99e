#include "module/session.h"

#include "base/alloc.h"
#include "base/cause.h"
#include "base/rv.h"
#include "module/audit_log.h"
#include "module/module.h"
#include "module/slot_objects.h"

/* Chunks are allocated at need and never freed: a stale handle may look into any of them. */
#define CHUNK_CELLS 64
#define CHUNKS_MAX 2048
#define NO_CELL UINT32_MAX
#define PLACE_BITS 20

static struct session *_Atomic chunks[CHUNKS_MAX];

/* Guards the two below and the creation of chunks; taken alone, at open and close only. */
static pthread_mutex_t cells_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t cell_count;
static uint32_t first_free = NO_CELL;

static struct session *cell_at(uint32_t place)
{
    struct session *chunk =
        atomic_load_explicit(&chunks[place / CHUNK_CELLS], memory_order_acquire);

    return chunk == NULL ? NULL : &chunk[place % CHUNK_CELLS];
}

static struct session *cell_of(CK_SESSION_HANDLE handle)
{
    size_t number = handle & (((size_t) 1 << PLACE_BITS) - 1);

    if (number == 0 || number > (size_t) CHUNKS_MAX * CHUNK_CELLS)
        return NULL;
    return cell_at((uint32_t) (number - 1));
}

static CK_RV add_chunk_locked(void)
{
    size_t index = cell_count / CHUNK_CELLS;

    if (index == CHUNKS_MAX)
        return FAIL(CKR_SESSION_COUNT, "no more than %d sessions can be open: close some",
                    CHUNKS_MAX * CHUNK_CELLS);
    struct session *chunk = mem_calloc(CHUNK_CELLS, sizeof(*chunk));
    if (chunk == NULL)
        return CKR_HOST_MEMORY;
    for (uint32_t i = 0; i < CHUNK_CELLS; i++) {
        struct session *session = &chunk[i];
        pthread_mutex_init(&session->lock, NULL);
        session->place = cell_count + i;
        session->next_free = i + 1 < CHUNK_CELLS ? session->place + 1 : first_free;
    }
    atomic_store_explicit(&chunks[index], chunk, memory_order_release);
    first_free = cell_count;
    cell_count += CHUNK_CELLS;
    return CKR_OK;
}

static CK_RV take_cell(struct session **ret_session)
{
    pthread_mutex_lock(&cells_lock);
    CK_RV rv = first_free == NO_CELL ? add_chunk_locked() : CKR_OK;
    if (rv == CKR_OK) {
        *ret_session = cell_at(first_free);
        first_free = (*ret_session)->next_free;
    }
    pthread_mutex_unlock(&cells_lock);
    return rv;
}

static void give_cell(struct session *session)
{
    pthread_mutex_lock(&cells_lock);
    session->next_free = first_free;
    first_free = session->place;
    pthread_mutex_unlock(&cells_lock);
}

/* The session's lock is let go meanwhile; the gate, passed under it, keeps the slot from
 * C_Finalize. */
static CK_RV tick_unlocked(struct session *session)
{
    struct slot *slot = session->slot;

    TRY(module_enter());
    pthread_mutex_unlock(&session->lock);
    slot_tick(slot);
    module_leave();
    pthread_mutex_lock(&session->lock);
    /* C_Finalize ends a renewal too; what is asked of the session then would miss its keys. */
    return module_check();
}

/* The cell of the handle, locked; the handle may be another one by now. */
static inline CK_RV lock_cell(CK_SESSION_HANDLE handle, struct session **ret_session)
{
    TRY(module_check());
    struct session *session = cell_of(handle); /* NULL for handle 0 */
    if (session == NULL)
        return CKR_SESSION_HANDLE_INVALID;
    pthread_mutex_lock(&session->lock);
    *ret_session = session;
    return CKR_OK;
}

_long_way_ static CK_RV enter_gone(struct session *session)
{
    pthread_mutex_unlock(&session->lock);
    /* C_Finalize closes sessions after it has said that the library is gone. */
    TRY(module_check());
    return CKR_SESSION_HANDLE_INVALID;
}

/* The rest of session_enter where something is due. */
_long_way_ static CK_RV enter_due(struct session *session, CK_SESSION_HANDLE handle)
{
    CK_RV rv = tick_unlocked(session);

    if (rv == CKR_OK && session->handle == handle)
        return CKR_OK;
    CK_RV gone = enter_gone(session);
    return rv == CKR_OK ? gone : rv;
}

CK_RV session_enter(CK_SESSION_HANDLE handle, struct session **ret_session)
{
    struct session *session;

    TRY(lock_cell(handle, &session));
    if (session->handle != handle)
        return enter_gone(session);
    if (slot_is_due(session->slot))
        TRY(enter_due(session, handle));
    *ret_session = session;
    return CKR_OK;
}

CK_RV session_enter_keyless(CK_SESSION_HANDLE handle, struct session **ret_session)
{
    struct session *session;

    TRY(lock_cell(handle, &session));
    if (session->handle != handle)
        return enter_gone(session);
    *ret_session = session;
    return CKR_OK;
}

CK_RV session_wait(struct session *session, CK_RV (*wait)(void *context), void *context)
{
    CK_SESSION_HANDLE handle = session->handle;

    TRY(module_enter());
    pthread_mutex_unlock(&session->lock);
    CK_RV rv = wait(context);
    module_leave();
    pthread_mutex_lock(&session->lock);
    TRY(module_check());
    if (session->handle == handle && slot_is_due(session->slot))
        TRY(tick_unlocked(session));
    return session->handle == handle ? rv : CKR_SESSION_HANDLE_INVALID;
}

void session_note_failure_locked(struct session *session, CK_RV rv)
{
    /* Closed in a session_wait: the cell may be another session's, and C_Finalize may have freed
     * the slot. */
    if (session->handle != 0 && rv != CKR_SESSION_HANDLE_INVALID) {
        audit_log_error(session->slot, rv);
        session->device_error = cause_last();
    }
    cause_clear();
}

CK_RV session_look(CK_SESSION_HANDLE handle, struct session_view *ret_view)
{
    struct session *session;

    TRY(module_enter());
    CK_RV rv = session_enter(handle, &session);
    if (rv != CKR_OK) {
        module_leave();
        return rv;
    }
    *ret_view = (struct session_view){
        .handle = handle,
        .slot = session->slot,
        .flags = session->flags,
        .role = slot_role(session->slot),
    };
    pthread_mutex_unlock(&session->lock);
    return CKR_OK;
}

CK_RV session_look_end(const struct session_view *view, CK_RV rv)
{
    struct session *session = rv == CKR_OK ? NULL : cell_of(view->handle);

    /* What C_Finalize cut short answers as the calls after it (PKCS #11 5.4.2). */
    if (rv != CKR_OK && cause_last() == INDEXKEY_CAUSE_CANCELLED)
        rv = CKR_CRYPTOKI_NOT_INITIALIZED;

    if (rv != CKR_OK)
        audit_log_error(view->slot, rv);
    if (session != NULL) {
        pthread_mutex_lock(&session->lock);
        if (session->handle == view->handle)
            session->device_error = cause_last();
        pthread_mutex_unlock(&session->lock);
        cause_clear();
    }
    module_leave();
    return rv;
}

bool session_is_open(CK_SESSION_HANDLE handle)
{
    struct session *session = cell_of(handle);

    if (session == NULL)
        return false;
    pthread_mutex_lock(&session->lock);
    bool is_open = session->handle == handle;
    pthread_mutex_unlock(&session->lock);
    return is_open;
}

static void begin_locked(struct session *session, struct slot *slot, CK_FLAGS flags)
{
    session->serial++;
    session->handle = ((CK_SESSION_HANDLE) session->serial << PLACE_BITS) | (session->place + 1);
    session->slot = slot;
    session->flags = flags;
    session->device_error = INDEXKEY_CAUSE_NONE;
    for (int kind = 0; kind < OPERATION_KINDS; kind++)
        session->operations[kind] = (struct operation){.kind = (enum operation_kind) kind};
}

static void enlist_locked(struct slot *slot, struct session *session)
{
    session->next = slot->sessions;
    session->previous = NULL;
    if (slot->sessions != NULL)
        slot->sessions->previous = session;
    slot->sessions = session;
    slot->session_count++;
    slot->rw_session_count += (session->flags & CKF_RW_SESSION) != 0;
}

CK_RV session_open(struct slot *slot, CK_FLAGS flags, CK_SESSION_HANDLE *ret_handle)
{
    struct session *session;
    CK_RV rv = CKR_OK;

    TRY(take_cell(&session));
    pthread_mutex_lock(&slot->lock);
    if (slot_role(slot) == ROLE_SO && (flags & CKF_RW_SESSION) == 0)
        rv = CKR_SESSION_READ_WRITE_SO_EXISTS;
    if (rv == CKR_OK) {
        pthread_mutex_lock(&session->lock);
        begin_locked(session, slot, flags);
        enlist_locked(slot, session);
        *ret_handle = session->handle;
        pthread_mutex_unlock(&session->lock);
    }
    pthread_mutex_unlock(&slot->lock);
    if (rv != CKR_OK)
        give_cell(session);
    return rv;
}

/* True when it was the slot's last. */
static bool delist(struct slot *slot, struct session *session, CK_FLAGS flags)
{
    pthread_mutex_lock(&slot->lock);
    if (session->previous != NULL)
        session->previous->next = session->next;
    else
        slot->sessions = session->next;
    if (session->next != NULL)
        session->next->previous = session->previous;
    slot->session_count--;
    slot->rw_session_count -= (flags & CKF_RW_SESSION) != 0;
    bool last = slot->session_count == 0;
    pthread_mutex_unlock(&slot->lock);
    return last;
}

static void clear_locked(struct session *session)
{
    for (int kind = 0; kind < OPERATION_KINDS; kind++)
        operation_forget(&session->operations[kind]);
    saved_states_free(&session->saved);
    search_clear(&session->search);
    session->searching = false;
    session->handle = 0;
}

CK_RV session_close(CK_SESSION_HANDLE handle)
{
    struct session *session = cell_of(handle);

    if (session == NULL)
        return CKR_SESSION_HANDLE_INVALID;
    pthread_mutex_lock(&session->lock);
    if (handle == 0 || session->handle != handle) {
        pthread_mutex_unlock(&session->lock);
        return CKR_SESSION_HANDLE_INVALID;
    }
    struct slot *slot = session->slot;
    CK_FLAGS flags = session->flags;
    clear_locked(session);
    pthread_mutex_unlock(&session->lock);

    slot_objects_drop_owned(slot, handle);
    bool last = delist(slot, session, flags);
    give_cell(session);
    if (last && slot_role(slot) != ROLE_PUBLIC)
        slot_logout_unused(slot);
    return CKR_OK;
}

/* A session of the slot that nobody is closing already; 0 when there is none. */
static CK_SESSION_HANDLE any_handle(struct slot *slot)
{
    CK_SESSION_HANDLE handle = 0;

    pthread_mutex_lock(&slot->lock);
    for (struct session *session = slot->sessions; session != NULL && handle == 0;
         session = session->next) {
        pthread_mutex_lock(&session->lock);
        handle = session->handle;
        pthread_mutex_unlock(&session->lock);
    }
    pthread_mutex_unlock(&slot->lock);
    return handle;
}

void session_close_all(struct slot *slot)
{
    CK_SESSION_HANDLE handle;

    while ((handle = any_handle(slot)) != 0)
        session_close(handle);
}

CK_STATE session_state(CK_FLAGS flags, enum slot_role role)
{
    bool rw = (flags & CKF_RW_SESSION) != 0;

    if (role == ROLE_SO)
        return CKS_RW_SO_FUNCTIONS;
    if (role == ROLE_USER)
        return rw ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
    return rw ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
}

/* A session whose lock the fork caught locked was in the middle of something: what it keeps cannot
 * be given back, and stays as unreachable memory. */
static void abandon_session(struct session *session)
{
    bool is_whole = pthread_mutex_trylock(&session->lock) == 0;

    if (is_whole && session->handle != 0)
        clear_locked(session);
    if (is_whole)
        pthread_mutex_unlock(&session->lock);
    else
        pthread_mutex_init(&session->lock, NULL);
    session->handle = 0;
    session->searching = false;
    session->saved = NULL;
    session->search = (struct search){NULL, 0, 0, 0};
    session->next_free = session->place + 1;
}

void sessions_abandon(void)
{
    cell_count = 0;
    while (cell_count < CHUNKS_MAX * CHUNK_CELLS && cell_at(cell_count) != NULL)
        abandon_session(cell_at(cell_count++));
    first_free = cell_count > 0 ? 0 : NO_CELL;
    if (cell_count > 0)
        cell_at(cell_count - 1)->next_free = NO_CELL;
    pthread_mutex_init(&cells_lock, NULL);
}
