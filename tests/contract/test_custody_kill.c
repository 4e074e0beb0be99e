/*
 * kill -9 at every system call by which a change of the token reaches its store: afterwards the
 * change has happened or has not, what was acknowledged has, and data written before decrypts.
 *
 * Each round is three processes: one prepares, one acts and is killed, one looks. They share
 * `scene`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "include/indexkey.h"
#include "module/admin.h"
#include "tests/support/kill_at.h"
#include "tests/support/postgres_fixture.h"
#include "tests/support/token_fixture.h"

#define WRITES_MAX 400
#define TEXT "written before"
#define SEALED_LEN (sizeof(TEXT) + 16)

static struct scene {
    unsigned int round;
    bool is_acknowledged;
    bool has_other_pin; /* the user's, as acknowledged */
    CK_BYTE iv[12];
    CK_BYTE sealed[SEALED_LEN];
} * scene;

/* Of the change: without a PIN a login takes a third of the time. */
static bool has_pins;
static const char *const pins[] = {FIXTURE_PIN, "another-pin"};
static CK_BBOOL yes = CK_TRUE;
static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
static CK_KEY_TYPE aes = CKK_AES;

/* In the processes of a round: the tests of Check belong to another one. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d, round %u: %s\n%s\n", __LINE__, scene->round, #condition,     \
                    fixture_log());                                                                \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
#define OK(call) MUST((call) == CKR_OK)

/* ---- words for the token ---- */

static CK_SESSION_HANDLE open_session(void)
{
    CK_SESSION_HANDLE session;
    OK(C_Initialize(NULL));
    OK(C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    return session;
}

static CK_RV log_in(CK_SESSION_HANDLE session, CK_USER_TYPE user, const char *pin)
{
    if (user == CKU_USER && !has_pins)
        return C_Login(session, user, NULL, 0);
    return C_Login(session, user, (CK_UTF8CHAR *) (uintptr_t) pin, strlen(pin));
}

static CK_SESSION_HANDLE open_user(void)
{
    CK_SESSION_HANDLE session = open_session();
    OK(log_in(session, CKU_USER, pins[scene->has_other_pin ? 1 : 0]));
    return session;
}

/* "NAME ROUND" */
static size_t label_of(const char *name, char label[32])
{
    return (size_t) snprintf(label, 32, "%s %u", name, scene->round);
}

static void create_key(CK_SESSION_HANDLE session, const char *name, CK_OBJECT_HANDLE *ret_key)
{
    char label[32];
    CK_BYTE value[32] = {7};
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &secret_key, sizeof(secret_key)},
        {CKA_KEY_TYPE, &aes, sizeof(aes)},
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},
        {CKA_DECRYPT, &yes, sizeof(yes)},
        {CKA_VALUE, value, sizeof(value)},
        {CKA_LABEL, label, label_of(name, label)},
    };
    OK(C_CreateObject(session, template, COUNT_OF(template), ret_key));
}

static CK_ULONG find_labelled(CK_SESSION_HANDLE session, struct view label,
                              CK_OBJECT_HANDLE *ret_key)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) (uintptr_t) label.bytes, label.len};
    CK_OBJECT_HANDLE keys[2];
    CK_ULONG count;
    OK(C_FindObjectsInit(session, &template, 1));
    OK(C_FindObjects(session, keys, 2, &count));
    OK(C_FindObjectsFinal(session));
    if (count > 0)
        *ret_key = keys[0];
    return count;
}

static CK_ULONG find_keys(CK_SESSION_HANDLE session, const char *name, CK_OBJECT_HANDLE *ret_key)
{
    char label[32];
    return find_labelled(session, (struct view){(CK_BYTE *) label, label_of(name, label)}, ret_key);
}

static CK_OBJECT_HANDLE find_key(CK_SESSION_HANDLE session, const char *name)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    MUST(find_keys(session, name, &key) == 1);
    return key;
}
static CK_MECHANISM gcm(CK_GCM_PARAMS *params)
{
    *params = (CK_GCM_PARAMS){.pIv = scene->iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128};
    return (CK_MECHANISM){CKM_AES_GCM, params, sizeof(*params)};
}

static void write_data(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    CK_GCM_PARAMS params;
    CK_MECHANISM mechanism = gcm(&params);
    CK_BYTE text[] = TEXT;
    CK_ULONG len = SEALED_LEN;
    OK(C_GenerateRandom(session, scene->iv, sizeof(scene->iv)));
    OK(C_EncryptInit(session, &mechanism, key));
    OK(C_Encrypt(session, text, sizeof(text), scene->sealed, &len));
}

static void read_data(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    CK_GCM_PARAMS params;
    CK_MECHANISM mechanism = gcm(&params);
    CK_BYTE text[SEALED_LEN];
    CK_ULONG len = sizeof(text);
    OK(C_DecryptInit(session, &mechanism, key));
    OK(C_Decrypt(session, scene->sealed, SEALED_LEN, text, &len));
    MUST(len == sizeof(TEXT) && memcmp(text, TEXT, len) == 0);
}

/* ---- the changes ---- */

struct change {
    const char *name;
    void (*prepare)(CK_SESSION_HANDLE session);
    void (*act)(CK_SESSION_HANDLE session); /* between kill_at_begin and kill_at_end */
    void (*look)(CK_SESSION_HANDLE session);
};

static void prepare_nothing(CK_SESSION_HANDLE session)
{
    (void) session;
}

static void create(CK_SESSION_HANDLE session)
{
    CK_OBJECT_HANDLE key;
    create_key(session, "new", &key);
}

static void look_for_new(CK_SESSION_HANDLE session)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ULONG count = find_keys(session, "new", &key);
    MUST(count == 1 || (count == 0 && !scene->is_acknowledged));
    if (count == 0)
        return;
    write_data(session, key);
    read_data(session, key);
}

static void prepare_old(CK_SESSION_HANDLE session)
{
    CK_OBJECT_HANDLE key;
    create_key(session, "old", &key);
    write_data(session, key);
}

static void destroy(CK_SESSION_HANDLE session)
{
    OK(C_DestroyObject(session, find_key(session, "old")));
}

static void look_for_destroyed(CK_SESSION_HANDLE session)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ULONG count = find_keys(session, "old", &key);
    MUST(count == 0 || (count == 1 && !scene->is_acknowledged));
    if (count == 1)
        read_data(session, key);
}

static void rename_key(CK_SESSION_HANDLE session)
{
    char label[32];
    CK_ATTRIBUTE changed = {CKA_LABEL, label, label_of("renamed", label)};
    OK(C_SetAttributeValue(session, find_key(session, "old"), &changed, 1));
}

static void look_for_renamed(CK_SESSION_HANDLE session)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ULONG before = find_keys(session, "old", &key);
    CK_ULONG after = find_keys(session, "renamed", &key);
    MUST(before + after == 1);
    MUST(after == 1 || !scene->is_acknowledged);
    read_data(session, key);
}

static void set_pin(CK_SESSION_HANDLE session)
{
    const char *from = pins[scene->has_other_pin ? 1 : 0];
    const char *to = pins[scene->has_other_pin ? 0 : 1];
    OK(C_SetPIN(session, (CK_UTF8CHAR *) (uintptr_t) from, strlen(from),
                (CK_UTF8CHAR *) (uintptr_t) to, strlen(to)));
}

static void look_for_old(CK_SESSION_HANDLE session)
{
    read_data(session, find_key(session, "old"));
}

static void rotate(CK_SESSION_HANDLE session)
{
    CK_OBJECT_HANDLE newer;
    OK(admin_key_rotate(session, find_key(session, "old"), &newer));
}

/* The old version reads, whatever its label is; under the first label there is a key that writes.
 */
static void look_for_rotated(CK_SESSION_HANDLE session)
{
    char label[32];
    size_t len = label_of("old", label);
    CK_OBJECT_HANDLE former = CK_INVALID_HANDLE;
    len += (size_t) snprintf(label + len, sizeof(label) - len, "@1");
    CK_ULONG count = find_labelled(session, (struct view){(CK_BYTE *) label, len}, &former);
    CK_OBJECT_HANDLE key = find_key(session, "old");
    MUST(count == 1 || (count == 0 && !scene->is_acknowledged));
    read_data(session, count == 1 ? former : key);
    write_data(session, key);
}

static void shred(CK_SESSION_HANDLE session)
{
    OK(admin_token_shred(session));
}

static struct view pin_now(void)
{
    return has_pins ? view_text(pins[scene->has_other_pin ? 1 : 0]) : (struct view){0};
}

static void rotate_token_key(CK_SESSION_HANDLE session)
{
    (void) session;
    OK(admin_token_rotate_key(0, view_text(FIXTURE_SO_PIN), pin_now()));
}

static void rewrap(CK_SESSION_HANDLE session)
{
    struct admin_rewrap report;
    OK(admin_token_rewrap(session, &report));
}

/* Logging in tells which PIN it is now. */
static const struct change changes[] = {
    {"create", prepare_nothing, create, look_for_new},
    {"destroy", prepare_old, destroy, look_for_destroyed},
    {"set attributes", prepare_old, rename_key, look_for_renamed},
    {"PIN change", prepare_old, set_pin, look_for_old},
    {"rotate", prepare_old, rotate, look_for_rotated},
    {"shred", prepare_old, shred, look_for_old},
    {"rotate the token key", prepare_old, rotate_token_key, look_for_old},
    {"rewrap", prepare_old, rewrap, look_for_old},
};

static bool is_pin_change(const struct change *change)
{
    return change->act == set_pin;
}

/* ---- the three processes of a round ---- */

static void prepare(void *context)
{
    const struct change *change = context;
    change->prepare(open_user());
    OK(C_Finalize(NULL));
}

static void act(void *context)
{
    const struct change *change = context;
    CK_SESSION_HANDLE session = open_user();
    kill_at_begin();
    change->act(session);
    scene->is_acknowledged = true;
    kill_at_end();
}

/* Only a change that was not acknowledged leaves it open which PIN is the right one. */
static CK_SESSION_HANDLE open_after(const struct change *change)
{
    if (!is_pin_change(change))
        return open_user();
    if (scene->is_acknowledged) {
        scene->has_other_pin = !scene->has_other_pin;
        return open_user();
    }
    CK_SESSION_HANDLE session = open_session();
    if (log_in(session, CKU_USER, pins[scene->has_other_pin ? 1 : 0]) == CKR_OK)
        return session;
    scene->has_other_pin = !scene->has_other_pin;
    OK(log_in(session, CKU_USER, pins[scene->has_other_pin ? 1 : 0]));
    return session;
}

static void look(void *context)
{
    const struct change *change = context;
    change->look(open_after(change));
    MUST(strstr(fixture_log(), "behind the token's back") == NULL);
    OK(C_Finalize(NULL));
}

static void make_token(void *context)
{
    (void) context;
    CK_UTF8CHAR label[TOKEN_LABEL_LEN];
    CK_UTF8CHAR so_pin[] = FIXTURE_SO_PIN;
    memset(label, ' ', sizeof(label));
    OK(C_Initialize(NULL));
    OK(C_InitToken(0, so_pin, sizeof(so_pin) - 1, label));
    OK(C_Finalize(NULL));
    if (!has_pins)
        return;
    CK_SESSION_HANDLE session = open_session();
    OK(log_in(session, CKU_SO, FIXTURE_SO_PIN));
    OK(C_InitPIN(session, (CK_UTF8CHAR *) (uintptr_t) pins[0], strlen(pins[0])));
    OK(C_Finalize(NULL));
}

/* True when it came through: it has fewer writes. */
static bool play_round(const struct change *change, unsigned int nth)
{
    scene->round = nth;
    scene->is_acknowledged = false;
    void *context = (void *) (uintptr_t) change;
    ck_assert_int_eq(kill_at_nth_write(0, prepare, context), KILL_AT_NEVER);
    enum kill_at end = kill_at_nth_write(nth, act, context);
    ck_assert_int_ne(end, KILL_AT_FAILED);
    ck_assert(end == KILL_AT_STRUCK || scene->is_acknowledged);
    ck_assert_int_eq(kill_at_nth_write(0, look, context), KILL_AT_NEVER);
    return end == KILL_AT_NEVER;
}

/* With an anchor and an audit log, whose writes are among those that are killed. */
static void configure(void)
{
    char conf[2048];
    char store[POSTGRES_LOCATION_MAX];
    if (postgres_fixture_is_here())
        postgres_fixture_location(store, "");
    else
        (void) snprintf(store, sizeof(store), "sqlite:%s", fixture_path("token.db"));
    (void) snprintf(conf, sizeof(conf),
                    "[token vectors]\nsource = file\nkey_file = %s\nstore = %s\n"
                    "anchor = file:%s\naudit = file:%s\nlogin = %s\n",
                    fixture_path("root.key"), store, fixture_path("anchor"),
                    fixture_path("audit.jsonl"), has_pins ? "pin" : "ambient");
    fixture_write("indexkey.conf", conf, 0600);
    ck_assert_int_eq(setenv("INDEXKEY_CONF", fixture_path("indexkey.conf"), 1), 0);
}

START_TEST(a_kill_leaves_old_or_new)
{
    const struct change *change = &changes[_i];
    scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(scene, MAP_FAILED);
    has_pins = is_pin_change(change);
    configure();
    ck_assert_int_eq(kill_at_nth_write(0, make_token, NULL), KILL_AT_NEVER);
    unsigned int nth = 1;
    while (!play_round(change, nth))
        ck_assert_uint_lt(++nth, WRITES_MAX);
    printf("%s: killed at each of %u writes\n", change->name, nth - 1);
    (void) fflush(stdout);
    /* A commit is at the very least a write and a sync. */
    ck_assert_uint_gt(nth, 2);
    ck_assert_int_eq(munmap(scene, sizeof(*scene)), 0);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("custody_kill");
    tcase_set_timeout(cases, 280);
    if (postgres_fixture_is_here())
        tcase_add_checked_fixture(cases, postgres_fixture_setup, postgres_fixture_teardown);
    tcase_add_loop_test(cases, a_kill_leaves_old_or_new, 0, COUNT_OF(changes));
    return fixture_run("kill at every write", cases);
}
