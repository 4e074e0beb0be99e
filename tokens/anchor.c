#include "tokens/anchor.h"

#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cause.h"
#include "base/clock.h"
#include "tokens/anchor_file.h"
#include "tokens/store.h"

#define SCHEME "file:"
#define FORMAT 1
#define ENTRY_LEN (SERIAL_LEN + 8 + ANCHOR_ID_LEN + SHA256_LEN)
#define ENTRIES_MAX 4
#define HEAD_LEN (4 + 1 + 1)
#define FILE_LEN_MAX (HEAD_LEN + ENTRIES_MAX * ENTRY_LEN)
/* The name gets a suffix while it is replaced. */
#define NAME_LEN_MAX (NAME_MAX - 8)

#define LOCK_WAIT_MS 10000
#define LOCK_PAUSE_NS (500 * 1000L)

static const unsigned char magic[4] = {'I', 'K', 'A', 'N'};

struct anchor {
    struct anchor_file file;
    char *token;
    char *path;
    atomic_bool is_behind;
};

/* What a file holds. */
struct entries {
    unsigned char bytes[ENTRIES_MAX][ENTRY_LEN];
    size_t count;
    bool is_foreign; /* not ours at all, and not empty: nothing that may be overwritten */
};

const char *anchor_check_location(const char *location)
{
    size_t scheme_len = strlen(SCHEME);
    size_t len = strnlen(location, PATH_MAX);
    const char *name = strrchr(location, '/');
    bool is_path = len < PATH_MAX && strncmp(location, SCHEME, scheme_len) == 0 &&
                   location[scheme_len] == '/' && name[1] != '\0' && strlen(name) <= NAME_LEN_MAX;
    return is_path ? NULL : "file:/PATH";
}

CK_RV anchor_new(const char *token, const char *location, const char *store,
                 struct anchor **ret_anchor)
{
    const char *path = location + strlen(SCHEME);
    const char *store_path = strchr(store, ':');
    if (store_path != NULL && strcmp(store_path + 1, path) == 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its anchor is to be another file than its store, in a place "
                          "that is not restored with it",
                          token);
    _cleanup_(anchor_free) struct anchor *anchor = mem_calloc(1, sizeof(*anchor));
    if (anchor == NULL)
        return CKR_HOST_MEMORY;
    anchor->token = mem_strdup(token);
    anchor->path = mem_strdup(path);
    if (anchor->token == NULL || anchor->path == NULL)
        return CKR_HOST_MEMORY;
    anchor->file = (struct anchor_file){anchor->token, anchor->path};
    *ret_anchor = TAKE(anchor);
    return CKR_OK;
}

void anchor_free(struct anchor **anchor)
{
    if (*anchor == NULL)
        return;
    mem_free((*anchor)->token);
    mem_free((*anchor)->path);
    mem_free(*anchor);
    *anchor = NULL;
}

const char *anchor_path(const struct anchor *anchor)
{
    return anchor->path;
}

/* None from a file that is damaged. */
static void parse(struct view file, struct entries *ret_entries)
{
    struct entries entries = {.count = 0};
    struct reader reader = reader_of(file);
    struct view begin = read_raw(&reader, sizeof(magic));
    entries.is_foreign = file.len > 0 && (begin.len != sizeof(magic) ||
                                          memcmp(begin.bytes, magic, sizeof(magic)) != 0);
    uint8_t format = read_u8(&reader);
    size_t count = read_u8(&reader);
    if (!reader.failed && format == FORMAT && count <= ENTRIES_MAX &&
        file.len == HEAD_LEN + count * ENTRY_LEN)
        entries.count = entries.is_foreign ? 0 : count;
    for (size_t i = 0; i < entries.count; i++)
        memcpy(entries.bytes[i], read_raw(&reader, ENTRY_LEN).bytes, ENTRY_LEN);
    *ret_entries = entries;
}

/* STORE_ABSENT, not logged. */
static CK_RV read_entries(const struct anchor *anchor, struct entries *ret_entries)
{
    unsigned char bytes[FILE_LEN_MAX];
    size_t len;
    TRY(anchor_file_read(&anchor->file, bytes, sizeof(bytes), &len));
    /* Of a longer file only the beginning is looked at, which is enough to call it damaged. */
    size_t held = len > sizeof(bytes) ? 0 : len;
    parse((struct view){bytes, held}, ret_entries);
    ret_entries->is_foreign |= held < len;
    return CKR_OK;
}

static CK_RV write_entries(const struct anchor_lock *lock, const struct entries *entries)
{
    unsigned char bytes[FILE_LEN_MAX];
    memcpy(bytes, magic, sizeof(magic));
    bytes[sizeof(magic)] = FORMAT;
    bytes[sizeof(magic) + 1] = (unsigned char) entries->count;
    memcpy(bytes + HEAD_LEN, entries->bytes, entries->count * ENTRY_LEN);
    size_t len = HEAD_LEN + entries->count * ENTRY_LEN;
    return anchor_file_replace(lock, (struct view){bytes, len});
}

CK_RV anchor_key_make(const struct secret *token_key, const unsigned char serial[SERIAL_LEN],
                      struct anchor_key *ret_key)
{
    struct anchor_key key = {.serial = {0}};
    TRY(derive_key(token_key, serial, LABEL_ANCHOR, &key.key));
    memcpy(key.serial, serial, SERIAL_LEN);
    *ret_key = key;
    return CKR_OK;
}

void anchor_key_clear(struct anchor_key *key)
{
    secret_clear(&key->key);
}

static CK_RV make_entry(const struct anchor_key *key, const struct anchor_state *state,
                        unsigned char ret_entry[ENTRY_LEN])
{
    _cleanup_(writer_clear) struct writer message = {0};
    _cleanup_(writer_clear) struct writer entry = {0};
    struct view bytes;
    unsigned char mac[SHA256_LEN];
    derive_begin_aad(&message, LABEL_ANCHOR, key->serial);
    write_u64(&message, state->generation);
    write_raw(&message, (struct view){state->id, ANCHOR_ID_LEN});
    TRY(derive_end_aad(&message, &bytes));
    TRY(crypto_hmac_sha256(&key->key, bytes, mac));
    write_raw(&entry, (struct view){key->serial, SERIAL_LEN});
    write_u64(&entry, state->generation);
    write_raw(&entry, (struct view){state->id, ANCHOR_ID_LEN});
    write_raw(&entry, (struct view){mac, SHA256_LEN});
    TRY(derive_end_aad(&entry, &bytes));
    memcpy(ret_entry, bytes.bytes, ENTRY_LEN);
    return CKR_OK;
}

static CK_RV make_first_entry(const struct anchor_key *key, uint64_t generation,
                              unsigned char ret_entry[ENTRY_LEN])
{
    struct anchor_state state = {.generation = generation};
    TRY(crypto_random(state.id, ANCHOR_ID_LEN));
    return make_entry(key, &state, ret_entry);
}

/* The newest among those that verify, and its place. */
static CK_RV find_own(const struct entries *entries, const struct anchor_key *key, size_t *ret_own,
                      struct anchor_state *ret_state)
{
    bool is_found = false;
    size_t own = 0;
    struct anchor_state newest = {.generation = 0};
    for (size_t i = 0; i < entries->count; i++) {
        unsigned char expected[ENTRY_LEN];
        struct reader reader = reader_of((struct view){entries->bytes[i], ENTRY_LEN});
        (void) read_raw(&reader, SERIAL_LEN);
        struct anchor_state state = {.generation = read_u64(&reader), .is_first = i == 0};
        memcpy(state.id, read_raw(&reader, ANCHOR_ID_LEN).bytes, ANCHOR_ID_LEN);
        TRY(make_entry(key, &state, expected));
        if (!secret_bytes_equal(expected, entries->bytes[i], ENTRY_LEN))
            continue;
        if (!is_found || state.generation > newest.generation) {
            newest = state;
            own = i;
        }
        is_found = true;
    }
    if (!is_found)
        return CKR_ENCRYPTED_DATA_INVALID;
    *ret_own = own;
    *ret_state = newest;
    return CKR_OK;
}

static CK_RV read_own(const struct anchor *anchor, const struct anchor_key *key,
                      struct entries *ret_entries, size_t *ret_own, struct anchor_state *ret_state)
{
    TRY(read_entries(anchor, ret_entries));
    return find_own(ret_entries, key, ret_own, ret_state);
}

CK_RV anchor_fail_unproved(const struct anchor *anchor, CK_RV rv)
{
    cause_set(INDEXKEY_CAUSE_TAMPERED);
    return FAIL(CKR_DEVICE_ERROR,
                "token '%s': its anchor %s %s, so that nobody can tell whether its store was put "
                "back to an older copy; put the right file back, or, if the store is known to be "
                "the newest, run indexkey anchor --accept",
                anchor->token, anchor->path,
                rv == STORE_ABSENT ? "is missing" : "is damaged or another token's");
}

CK_RV anchor_read(const struct anchor *anchor, const struct anchor_key *key,
                  struct anchor_state *ret_state)
{
    struct entries entries;
    size_t own;
    return read_own(anchor, key, &entries, &own, ret_state);
}

static CK_RV fail_busy(const struct anchor *anchor)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "token '%s': another process keeps its anchor %s locked; try again, or end "
                      "that process",
                      anchor->token, anchor->path);
}

static void pause_a_little(void)
{
    (void) nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
}

/* A file under its lock, and what it holds. */
struct turn {
    struct anchor_lock lock;
    struct entries entries;
};

static void turn_end(struct turn *turn)
{
    anchor_lock_release(&turn->lock);
}

/* Makes the file if need be. */
static CK_RV turn_begin(const struct anchor *anchor, struct turn *turn)
{
    int64_t end_ms = clock_boot_ms() + LOCK_WAIT_MS;
    CK_RV rv = anchor_file_try_lock(&anchor->file, true, &turn->lock);
    while (rv == STORE_CONFLICT && clock_boot_ms() < end_ms) {
        pause_a_little();
        rv = anchor_file_try_lock(&anchor->file, true, &turn->lock);
    }
    if (rv == STORE_CONFLICT)
        return fail_busy(anchor);
    TRY(rv);
    TRY(read_entries(anchor, &turn->entries));
    if (turn->entries.is_foreign)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': %s is no anchor and is left as it is; name another file, or "
                          "remove it",
                          anchor->token, anchor->path);
    return CKR_OK;
}

static CK_RV replace_all(const struct anchor_lock *lock, const unsigned char entry[ENTRY_LEN])
{
    struct entries entries = {.count = 1};
    memcpy(entries.bytes[0], entry, ENTRY_LEN);
    return write_entries(lock, &entries);
}

CK_RV anchor_admit(const struct anchor *anchor, const struct anchor_key *key, uint64_t generation)
{
    unsigned char entry[ENTRY_LEN];
    TRY(make_first_entry(key, generation, entry));
    _cleanup_(turn_end) struct turn turn = {.lock = ANCHOR_LOCK_NONE};
    TRY(turn_begin(anchor, &turn));
    struct entries *entries = &turn.entries;
    /* Where killed attempts have filled it, the oldest of them gives way, and not the first. */
    if (entries->count == ENTRIES_MAX) {
        entries->count--;
        memmove(entries->bytes + 1, entries->bytes + 2, (ENTRIES_MAX - 2) * ENTRY_LEN);
    }
    memcpy(entries->bytes[entries->count++], entry, ENTRY_LEN);
    return write_entries(&turn.lock, entries);
}

CK_RV anchor_accept(struct anchor *anchor, const struct anchor_key *key, uint64_t generation)
{
    unsigned char entry[ENTRY_LEN];
    TRY(make_first_entry(key, generation, entry));
    _cleanup_(turn_end) struct turn turn = {.lock = ANCHOR_LOCK_NONE};
    TRY(turn_begin(anchor, &turn));
    TRY(replace_all(&turn.lock, entry));
    atomic_store(&anchor->is_behind, false);
    return CKR_OK;
}

/* What is to be written unless it is done: the own entry, as new as wanted, and what was admitted
 * after it, whose commit may be under way. What stands before it is superseded. */
static CK_RV look(const struct anchor *anchor, const struct anchor_key *key, uint64_t generation,
                  struct entries *ret_next, bool *ret_is_done)
{
    struct entries found;
    struct anchor_state state;
    size_t own;
    TRY(read_own(anchor, key, &found, &own, &state));
    struct entries next = {.count = found.count - own};
    memcpy(next.bytes, found.bytes + own, next.count * ENTRY_LEN);
    *ret_is_done = own == 0 && state.generation >= generation;
    if (state.generation < generation)
        state.generation = generation;
    TRY(make_entry(key, &state, next.bytes[0]));
    *ret_next = next;
    return CKR_OK;
}

/* Of many processes that wait for the lock most find that another has done it. */
static CK_RV advance(const struct anchor *anchor, const struct anchor_key *key, uint64_t generation)
{
    struct entries next;
    bool done = false;
    int64_t end_ms = clock_boot_ms() + LOCK_WAIT_MS;
    TRY(look(anchor, key, generation, &next, &done));
    while (!done) {
        _cleanup_(anchor_lock_release) struct anchor_lock lock = ANCHOR_LOCK_NONE;
        CK_RV rv = anchor_file_try_lock(&anchor->file, false, &lock);
        if (rv != CKR_OK && rv != STORE_CONFLICT)
            return rv;
        TRY(look(anchor, key, generation, &next, &done));
        if (rv == CKR_OK)
            return done ? CKR_OK : write_entries(&lock, &next);
        if (clock_boot_ms() >= end_ms)
            return fail_busy(anchor);
        pause_a_little();
    }
    return CKR_OK;
}

CK_RV anchor_advance(struct anchor *anchor, const struct anchor_key *key, uint64_t generation)
{
    CK_RV rv = advance(anchor, key, generation);
    atomic_store(&anchor->is_behind, rv != CKR_OK);
    return rv;
}

CK_RV anchor_settle(struct anchor *anchor, const struct anchor_key *key, uint64_t generation)
{
    TRY(advance(anchor, key, generation));
    atomic_store(&anchor->is_behind, false);
    return CKR_OK;
}

bool anchor_is_behind(const struct anchor *anchor)
{
    return atomic_load(&anchor->is_behind);
}
