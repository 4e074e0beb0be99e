/* What a token's administrators do, at each source: every act runs in a process of its own, and the
 * next process looks for the data that was written before. The parent never calls the module. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "module/admin.h"
#include "tests/contract/source_matrix.h"

#define IV_LEN 12
#define TAG_LEN 16
#define TEXT_LEN 32
#define VERSIONS 2

#define OK(call)                                                                                   \
    do {                                                                                           \
        CK_RV rv_ = (call);                                                                        \
        ck_assert_msg(rv_ == CKR_OK, "%s: 0x%02lx: %s", #call, rv_, fixture_log());                \
    } while (0)

/* Of the AES key, and of the payload subkey of the index key. */
struct message {
    CK_BYTE iv[IV_LEN];
    CK_BYTE sealed[TEXT_LEN + TAG_LEN];
};

/* What the processes hand on: an application's own store. */
struct handed_on {
    struct message by_aes[VERSIONS];
    struct message by_payload[VERSIONS];
    uint64_t generation; /* of the store, before the token key is another one */
};

/* `act` and `check` are processes, as is `before`, whose token is lost after it. */
struct step {
    void (*before)(void);
    void (*act)(void);
    void (*check)(void);
    bool is_bare; /* nobody is logged in at the act */
};

static const char text[TEXT_LEN] = "written before it, read after it";
static CK_BBOOL yes = CK_TRUE;
static struct handed_on *handed_on;
static bool is_rotated;
static CK_SESSION_HANDLE session;

/* ---- the token of this process ---- */

static void log_in(void)
{
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    OK(C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    OK(C_Login(session, CKU_USER, pin, sizeof(pin) - 1));
}

static struct admin_status status(void)
{
    struct admin_status found;
    OK(admin_token_status(0, &found));
    ck_assert(found.is_open);
    return found;
}

/* At most one object has that label. */
static CK_ULONG count_of(const char *label, CK_OBJECT_HANDLE *ret_key)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;
    OK(C_FindObjectsInit(session, &template, 1));
    OK(C_FindObjects(session, found, 2, &count));
    OK(C_FindObjectsFinal(session));
    ck_assert_uint_le(count, 1);
    if (count == 1)
        *ret_key = found[0];
    return count;
}

static CK_OBJECT_HANDLE find(const char *label)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    ck_assert_msg(count_of(label, &key) == 1, "no key %s", label);
    return key;
}

static void generate(CK_MECHANISM_TYPE type, const char *label)
{
    CK_ULONG len = 32;
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_OBJECT_HANDLE key;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_LABEL, (void *) label, strlen(label)},
    };
    OK(C_GenerateKey(session, &mechanism, template, COUNT_OF(template), &key));
}

/* ---- data ---- */

static void seal(const char *label, struct message *message)
{
    CK_GCM_PARAMS params = {.pIv = message->iv, .ulIvLen = IV_LEN, .ulTagBits = 8 * TAG_LEN};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_ULONG len = sizeof(message->sealed);
    OK(C_GenerateRandom(session, message->iv, IV_LEN));
    OK(C_EncryptInit(session, &mechanism, find(label)));
    OK(C_Encrypt(session, (CK_BYTE_PTR) text, TEXT_LEN, message->sealed, &len));
    ck_assert_uint_eq(len, sizeof(message->sealed));
}

static CK_RV try_open(const char *label, const struct message *message)
{
    struct message copy = *message;
    CK_GCM_PARAMS params = {.pIv = copy.iv, .ulIvLen = IV_LEN, .ulTagBits = 8 * TAG_LEN};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_BYTE opened[sizeof(copy.sealed)];
    CK_ULONG len = sizeof(opened);
    TRY(C_DecryptInit(session, &mechanism, find(label)));
    TRY(C_Decrypt(session, copy.sealed, sizeof(copy.sealed), opened, &len));
    ck_assert_uint_eq(len, TEXT_LEN);
    ck_assert_mem_eq(opened, text, TEXT_LEN);
    return CKR_OK;
}

static void assert_refuses_to_seal(const char *label)
{
    CK_BYTE iv[IV_LEN] = {0};
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = IV_LEN, .ulTagBits = 8 * TAG_LEN};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    ck_assert_uint_eq(C_EncryptInit(session, &mechanism, find(label)),
                      CKR_KEY_FUNCTION_NOT_PERMITTED);
}

static void write_version(int version)
{
    seal("data", &handed_on->by_aes[version]);
    seal("index/payload", &handed_on->by_payload[version]);
}

static void assert_old_version_opens(void)
{
    OK(try_open("data@1", &handed_on->by_aes[0]));
    OK(try_open("index@1/payload", &handed_on->by_payload[0]));
}

static void assert_all_opens(void)
{
    assert_old_version_opens();
    OK(try_open("data", &handed_on->by_aes[1]));
    OK(try_open("index/payload", &handed_on->by_payload[1]));
}

/* ---- the acts, and what is so after them ---- */

static void make(void)
{
    OK(C_Finalize(NULL)); /* kms_init_token does both itself */
    kms_init_token();
    OK(C_Initialize(NULL));
    log_in();
    generate(CKM_AES_KEY_GEN, "data");
    generate(CKM_GENERIC_SECRET_KEY_GEN, "index");
    write_version(0);
}

static void rotate_keys(void)
{
    CK_OBJECT_HANDLE newer;
    OK(admin_key_rotate(session, find("data"), &newer));
    OK(admin_key_rotate(session, find("index"), &newer));
}

static void check_versions(void)
{
    assert_old_version_opens();
    ck_assert_uint_ne(try_open("data", &handed_on->by_aes[0]), CKR_OK);
    ck_assert_uint_ne(try_open("index/payload", &handed_on->by_payload[0]), CKR_OK);
    assert_refuses_to_seal("data@1");
    assert_refuses_to_seal("index@1/payload");
    write_version(1);
    assert_all_opens();
    handed_on->generation = status().generation;
}

static void rewrap(void)
{
    struct admin_rewrap report;
    OK(admin_token_rewrap(session, &report));
    ck_assert_msg((strcmp(report.old_key, report.new_key) != 0) == is_rotated, "%s, %s",
                  report.old_key, report.new_key);
}

static void rotate_token_key(void)
{
    OK(admin_token_rotate_key(0, view_text(FIXTURE_SO_PIN), view_text(FIXTURE_PIN)));
}

static void check_token_key(void)
{
    ck_assert_uint_gt(status().generation, handed_on->generation);
    assert_all_opens();
}

static void shred(void)
{
    uint32_t epoch = status().epoch;
    OK(admin_token_shred(session));
    ck_assert_uint_gt(status().epoch, epoch);
}

static void set_state(CK_ULONG state)
{
    OK(admin_key_set_state(session, find("data"), state));
    OK(admin_key_set_state(session, find("index"), state));
}

static void suspend(void)
{
    set_state(INDEXKEY_STATE_SUSPENDED);
}

static void check_suspended(void)
{
    assert_old_version_opens();
    ck_assert_uint_eq(try_open("data", &handed_on->by_aes[1]), CKR_KEY_FUNCTION_NOT_PERMITTED);
    ck_assert_uint_eq(try_open("index/payload", &handed_on->by_payload[1]),
                      CKR_KEY_FUNCTION_NOT_PERMITTED);
}

static void resume(void)
{
    set_state(INDEXKEY_STATE_ACTIVE);
}

static void deactivate(void)
{
    set_state(INDEXKEY_STATE_DEACTIVATED);
}

static void check_deactivated(void)
{
    assert_all_opens();
    assert_refuses_to_seal("data");
    assert_refuses_to_seal("index/payload");
}

static void destroy(void)
{
    OK(C_DestroyObject(session, find("data")));
    OK(C_DestroyObject(session, find("index")));
}

static void check_gone(void)
{
    static const char *const labels[] = {"data", "index", "index/payload"};
    CK_OBJECT_HANDLE key;
    for (size_t i = 0; i < COUNT_OF(labels); i++)
        ck_assert_msg(count_of(labels[i], &key) == 0, "%s is there", labels[i]);
    assert_old_version_opens();
}

struct pending {
    unsigned char ids[2][16];
    size_t count;
};

static void keep_pending(void *context, const struct admin_pending *key)
{
    struct pending *pending = context;
    ck_assert_uint_lt(pending->count, COUNT_OF(pending->ids));
    ck_assert_uint_eq(key->unique_id.len, sizeof(pending->ids[0]));
    memcpy(pending->ids[pending->count++], key->unique_id.bytes, key->unique_id.len);
}

static void undelete(void)
{
    struct pending pending = {.count = 0};
    CK_OBJECT_HANDLE key;
    OK(admin_keys_pending(session, keep_pending, &pending));
    ck_assert_uint_eq(pending.count, COUNT_OF(pending.ids));
    for (size_t i = 0; i < pending.count; i++)
        OK(admin_key_undelete(session, (struct view){pending.ids[i], 16}, &key));
}

static CK_RV write_backup(void *context, struct view bytes)
{
    return fwrite(bytes.bytes, 1, bytes.len, context) == bytes.len ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV read_backup(void *context, unsigned char *bytes, size_t len, size_t *ret_len)
{
    *ret_len = fread(bytes, 1, len, context);
    return CKR_OK;
}

static FILE *backup_file(const char *mode)
{
    FILE *file = fopen(fixture_path("token.backup"), mode);
    ck_assert_ptr_nonnull(file);
    return file;
}

static void back_up(void)
{
    FILE *file = backup_file("wb");
    OK(admin_backup(session, write_backup, file));
    ck_assert_int_eq(fclose(file), 0);
}

static void lose_store(void)
{
    fixture_remove("token.db");
    (void) unlink(fixture_path("token.db-wal"));
    (void) unlink(fixture_path("token.db-shm"));
}

static void restore(void)
{
    FILE *file = backup_file("rb");
    CK_TOKEN_INFO info;
    const struct admin_restore what = {
        .read = read_backup, .context = file, .pin = view_text(FIXTURE_PIN)};
    OK(C_GetTokenInfo(0, &info));
    ck_assert((info.flags & CKF_TOKEN_INITIALIZED) == 0);
    OK(admin_restore(0, &what));
    ck_assert_int_eq(fclose(file), 0);
}

static const struct step steps[MATRIX_ACTS_END] = {
    [MATRIX_ROTATE_KEYS] = {.act = rotate_keys, .check = check_versions},
    [MATRIX_REWRAP] = {.act = rewrap, .check = assert_all_opens},
    [MATRIX_TOKEN_KEY] = {.act = rotate_token_key, .check = check_token_key, .is_bare = true},
    [MATRIX_SHRED] = {.act = shred, .check = assert_all_opens},
    [MATRIX_SUSPEND] = {.act = suspend, .check = check_suspended},
    [MATRIX_RESUME] = {.act = resume, .check = assert_all_opens},
    [MATRIX_DEACTIVATE] = {.act = deactivate, .check = check_deactivated},
    [MATRIX_DESTROY] = {.act = destroy, .check = check_gone},
    [MATRIX_UNDELETE] = {.act = undelete, .check = check_deactivated},
    [MATRIX_RESTORE] = {.before = back_up,
                        .act = restore,
                        .check = check_deactivated,
                        .is_bare = true},
};

/* ---- processes ---- */

static void run(void (*work)(void), bool logs_in)
{
    OK(C_Initialize(NULL));
    if (logs_in)
        log_in();
    work();
    OK(C_Finalize(NULL));
}

static void in_new_process(void (*work)(void), bool logs_in, const char *what)
{
    int how = 0;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        run(work, logs_in);
        _exit(EXIT_SUCCESS);
    }
    ck_assert_int_eq(waitpid(child, &how, 0), child);
    ck_assert_msg(how == 0, "%s: status 0x%x", what, how);
}

void matrix_custody_make(bool rotates)
{
    is_rotated = rotates;
    handed_on =
        mmap(NULL, sizeof(*handed_on), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(handed_on != MAP_FAILED);
    in_new_process(make, false, "the first data");
}

void matrix_custody_act(enum matrix_cell cell)
{
    const struct step *step = &steps[cell];
    if (step->before != NULL) {
        in_new_process(step->before, true, "before the act");
        lose_store();
    }
    in_new_process(step->act, !step->is_bare, "the act");
    in_new_process(step->check, true, "after the restart");
}
