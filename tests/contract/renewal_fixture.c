#include "tests/contract/renewal_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/vfs_faults.h"
#include "tokens/seal.h"

#define STEPS_MAX 400

static const char *const suffixes[] = {"", "-wal", "-shm"};

static struct object_id ids[RENEWAL_OBJECTS];
static struct {
    char *bytes;
    size_t len;
} kept;

static const char *text_of(const char *what, int number)
{
    static char text[32];
    (void) snprintf(text, sizeof(text), "%s %d", what, number);
    return text;
}

struct custody *renewal_token(void)
{
    struct custody *custody = objects_token(fixture_store(1));
    for (int i = 0; i < RENEWAL_OBJECTS; i++) {
        char attributes[32];
        (void) snprintf(attributes, sizeof(attributes), "%s", text_of("object", i));
        ids[i] = objects_create(custody, attributes, text_of("value", i));
    }
    return custody;
}

void renewal_check(struct custody *custody)
{
    fixture_forget_log();
    ck_assert_uint_ge(objects_load(custody), RENEWAL_OBJECTS);
    for (int i = 0; i < RENEWAL_OBJECTS; i++)
        objects_assert_value(custody, &ids[i], 1, text_of("value", i));
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
}

void renewal_check_anew(void)
{
    struct custody *custody = fixture_open(fixture_store(1), "");
    fixture_login_user(custody);
    renewal_check(custody);
    custody_close(&custody);
}

static const char *database(const char *suffix)
{
    char name[32];
    (void) snprintf(name, sizeof(name), "token.db%s", suffix);
    return fixture_path(name);
}

/* NULL: there is no such file. */
static char *read_file(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *ret_len = (size_t) ftell(file);
    char *bytes = malloc(*ret_len + 1);
    ck_assert_ptr_nonnull(bytes);
    rewind(file);
    ck_assert_uint_eq(fread(bytes, 1, *ret_len, file), *ret_len);
    (void) fclose(file);
    return bytes;
}

void renewal_keep(void)
{
    free(kept.bytes);
    ck_assert_int_ne(access(database("-wal"), F_OK), 0);
    kept.bytes = read_file(database(""), &kept.len);
    ck_assert_ptr_nonnull(kept.bytes);
}

void renewal_remove_store(void)
{
    for (size_t i = 0; i < COUNT_OF(suffixes); i++)
        (void) unlink(database(suffixes[i]));
}

void renewal_put_back(void)
{
    renewal_remove_store();
    FILE *file = fopen(database(""), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fchmod(fileno(file), 0600), 0);
    ck_assert_uint_eq(fwrite(kept.bytes, 1, kept.len, file), kept.len);
    ck_assert_int_eq(fclose(file), 0);
}

bool renewal_files_hold(struct view bytes)
{
    bool found = false;
    for (size_t i = 0; i < 2; i++) {
        size_t len = 0;
        char *content = read_file(database(suffixes[i]), &len);
        found |= content != NULL && memmem(content, len, bytes.bytes, bytes.len) != NULL;
        free(content);
    }
    return found;
}

struct blob renewal_record(struct custody *custody, const char *name)
{
    struct blob bytes = {0};
    uint64_t version;
    ck_assert_uint_eq(custody->store->ops->read_record(custody->store, name, &bytes, &version),
                      CKR_OK);
    return bytes;
}

static void act_in_child(renewal_act_fn *act, unsigned long nth, enum vfs_fault fault)
{
    secrets_abandon();
    struct custody *custody = fixture_open(fixture_store(1), "");
    fixture_login_user(custody);
    vfs_faults_at(nth, fault, false);
    CK_RV rv = act(custody);
    bool struck = vfs_faults_struck();
    vfs_faults_at(0, fault, false);
    if (struck) {
        /* This process goes on, as far as its login does. */
        struct custody *again = fixture_open(fixture_store(1), "");
        fixture_login_user(again);
        custody_close(&again);
    }
    _exit(struck ? 2 : rv == CKR_OK ? 0 : 1);
}

/* True when it came through without meeting its fault. */
static bool try_step(renewal_act_fn *act, unsigned long nth, enum vfs_fault fault)
{
    int status = 0;
    renewal_put_back();
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        act_in_child(act, nth, fault);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    bool was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    ck_assert_msg(fault == VFS_FAULT_KILL ? was_killed || status == 0
                                          : WIFEXITED(status) && WEXITSTATUS(status) != 1,
                  "step %lu: status %d", nth, status);
    return status == 0;
}

static void strike_everywhere(renewal_act_fn *act, void (*check)(void), enum vfs_fault fault)
{
    unsigned long nth = 1;
    vfs_faults_install();
    renewal_keep();
    for (;; nth++) {
        bool is_through = try_step(act, nth, fault);
        check();
        if (is_through)
            break;
        ck_assert_uint_lt(nth, STEPS_MAX);
    }
    /* At the very least the transaction's writes, their sync, and the checkpoint. */
    ck_assert_uint_gt(nth, 3);
}

void renewal_kill_everywhere(renewal_act_fn *act, void (*check)(void))
{
    strike_everywhere(act, check, VFS_FAULT_KILL);
}

void renewal_fail_everywhere(renewal_act_fn *act, void (*check)(void))
{
    strike_everywhere(act, check, VFS_FAULT_IO);
    strike_everywhere(act, check, VFS_FAULT_FULL);
}

#define BATCH 1000

struct stored_row {
    struct object_id id;
    struct sealed_row sealed;
};

static void put_batch(struct custody *custody, uint32_t first, struct stored_row *rows)
{
    static const unsigned char attributes[200];
    static struct store_change changes[BATCH];
    struct secret value = {0};
    struct keyring *held = NULL;
    ck_assert_uint_eq(secret_from(attributes, RENEWAL_VALUE_LEN, &value), CKR_OK);
    ck_assert_uint_eq(keyring_hold(&custody->keyring, &held), CKR_OK);
    for (uint32_t i = 0; i < BATCH; i++) {
        uint32_t number = first + i;
        rows[i] =
            (struct stored_row){.id = {{(unsigned char) (number >> 16),
                                        (unsigned char) (number >> 8), (unsigned char) number}}};
        struct seal_content content = {.id = &rows[i].id,
                                       .version = 1,
                                       .attributes = {attributes, sizeof(attributes)},
                                       .value = &value};
        ck_assert_uint_eq(seal_row(held, &content, &rows[i].sealed), CKR_OK);
        changes[i] = (struct store_change){.object = &rows[i].id,
                                           .attributes = blob_view(&rows[i].sealed.attributes),
                                           .value = blob_view(&rows[i].sealed.value)};
    }
    keyring_release(&held);
    ck_assert_uint_eq(custody->store->ops->commit(custody->store, changes, BATCH), CKR_OK);
    for (uint32_t i = 0; i < BATCH; i++)
        sealed_row_clear(&rows[i].sealed);
    secret_clear(&value);
}

static long peak_kib(void)
{
    struct rusage usage;
    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

struct object_id renewal_put_many(struct custody *custody)
{
    static struct stored_row rows[BATCH];
    for (uint32_t i = 0; i < RENEWAL_MANY; i += BATCH)
        put_batch(custody, i, rows);
    return rows[BATCH - 1].id;
}

void renewal_measure(struct custody *custody, renewal_act_fn *act, const char *what)
{
    long before = peak_kib();
    int64_t begin = clock_boot_ms();
    CK_RV rv = act(custody);
    int64_t took = clock_boot_ms() - begin;
    ck_assert_msg(rv == CKR_OK, "%lx %s", rv, fixture_log());
    printf("%d objects: %s in %lld ms with %ld MiB\n", RENEWAL_MANY, what, (long long) took,
           (peak_kib() - before) / 1024);
    /* A second or two; the rest is for sanitizers and busy machines. */
    ck_assert_int_lt(took, 30000);
}
