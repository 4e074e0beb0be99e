/* `source = hsm` on SoftHSM, by tests/examples/on_softhsm.sh; what SoftHSM never does comes from
 * hsm_shim.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/contract/hsm_fixture.h"
#include "tests/contract/source_matrix.h"

#define FIRST_ID 0x31
#define NEXT_ID 0x32
#define PATH_SIZE 512
#define SHIM "hsm_shim.c"

static bool is_shimmed;
static char key[64];

/* ---- the parent, between two uses of it by the module ---- */

static CK_SESSION_HANDLE begin(void)
{
    return hsm_other_user();
}

static void end(void)
{
    ck_assert_uint_eq(hsm_real()->C_Finalize(NULL), CKR_OK);
}

static void prepare(struct kms_settings *settings)
{
    (void) hsm_make_aes(begin(), matrix_key_name(), FIRST_ID, true, true);
    end();
    (void) snprintf(key, sizeof(key), "object=%s", matrix_key_name());
    settings->key = key;
}

static void configure(const struct kms_settings *settings)
{
    const struct hsm_settings full = {
        .key = settings->key,
        .module = is_shimmed ? NULL : getenv("SOFTHSM_MODULE"),
        .more = settings->more,
        .pin = settings->secret,
        .deadline_ms = settings->deadline_ms,
    };
    hsm_configure(&full);
}

static void set_may_decrypt(CK_BBOOL value)
{
    CK_ATTRIBUTE change = {CKA_DECRYPT, &value, sizeof(value)};
    CK_SESSION_HANDLE session = begin();
    CK_OBJECT_HANDLE object = hsm_find_aes(session, matrix_key_name(), FIRST_ID);
    ck_assert_uint_eq(hsm_real()->C_SetAttributeValue(session, object, &change, 1), CKR_OK);
    end();
}

static void disable(struct kms_settings *settings)
{
    (void) settings;
    set_may_decrypt(CK_FALSE);
}

static void enable(void)
{
    set_may_decrypt(CK_TRUE);
}

static void delete_key(struct kms_settings *settings)
{
    (void) settings;
    CK_SESSION_HANDLE session = begin();
    CK_OBJECT_HANDLE object = hsm_find_aes(session, matrix_key_name(), FIRST_ID);
    ck_assert_uint_eq(hsm_real()->C_DestroyObject(session, object), CKR_OK);
    end();
}

static void rotate(struct kms_settings *settings)
{
    (void) hsm_make_aes(begin(), matrix_key_name(), NEXT_ID, true, true);
    end();
    (void) snprintf(key, sizeof(key), "object=%s;id=%%%02x", matrix_key_name(), NEXT_ID);
    settings->key = key;
}

/* The folder of SoftHSM's tokens, or where it is put meanwhile. */
static void token_folder(const char *more, char path[PATH_SIZE])
{
    const char *conf = getenv("SOFTHSM2_CONF");
    ck_assert_ptr_nonnull(conf);
    (void) snprintf(path, PATH_SIZE, "%.*s/tokens%s", (int) (strrchr(conf, '/') - conf), conf,
                    more);
}

static void take_away(struct kms_settings *settings)
{
    char here[PATH_SIZE];
    char away[PATH_SIZE];
    (void) settings;
    token_folder("", here);
    token_folder("-away", away);
    ck_assert_int_eq(rename(here, away), 0);
    ck_assert_int_eq(mkdir(here, 0700), 0);
}

static void bring_back(void)
{
    char here[PATH_SIZE];
    char away[PATH_SIZE];
    token_folder("", here);
    token_folder("-away", away);
    ck_assert_int_eq(rmdir(here), 0);
    ck_assert_int_eq(rename(away, here), 0);
}

/* ---- the shim ---- */

static struct hsm_shim *shim_for(const char *function)
{
    struct hsm_shim *shim = hsm_shim_get();
    is_shimmed = true;
    shim->times = -1;
    shim->function = function;
    return shim;
}

static void deny(struct kms_settings *settings)
{
    (void) settings;
    shim_for("C_DecryptInit")->rv = CKR_ACTION_PROHIBITED;
}

static void throttle(struct kms_settings *settings)
{
    (void) settings;
    shim_for("C_OpenSession")->rv = CKR_SESSION_COUNT;
}

static void hang(struct kms_settings *settings)
{
    (void) settings;
    shim_for("C_Decrypt")->hangs = true;
}

static void heal_shim(void)
{
    hsm_shim_settle(0);
    is_shimmed = false;
}

static const struct matrix_row rows[] = {
    {MATRIX_CREDENTIAL, INDEXKEY_CAUSE_CREDENTIAL, "refuses the PIN",
     .with = {.secret = "wrong-pin"}},
    {MATRIX_DENIED, INDEXKEY_CAUSE_DENIED, "denies", .break_it = deny, .heal = heal_shim,
     .by_fake = SHIM},
    {MATRIX_DISABLED, INDEXKEY_CAUSE_DISABLED, "not permitted", .break_it = disable,
     .heal = enable},
    {MATRIX_DELETED, INDEXKEY_CAUSE_DELETED, "no wrapping key", .break_it = delete_key,
     .stays_broken = true},
    {MATRIX_ROTATED, INDEXKEY_CAUSE_NONE, "", .break_it = rotate},
    {MATRIX_TAMPERED, INDEXKEY_CAUSE_TAMPERED, "was changed", .change = MATRIX_WRAPPED},
    {MATRIX_CONTEXT, INDEXKEY_CAUSE_TAMPERED, "another context", .change = MATRIX_STORED_CONTEXT},
    {MATRIX_THROTTLED, INDEXKEY_CAUSE_THROTTLED, "no session left", .break_it = throttle,
     .heal = heal_shim, .by_fake = SHIM},
    {MATRIX_WRONG_CA, .absent = "a library in the process has no certificate"},
    {MATRIX_SLOW, INDEXKEY_CAUSE_TIMEOUT, "did not come back",
     .with = {.deadline_ms = MATRIX_SHORT_MS}, .break_it = hang, .heal = heal_shim,
     .by_fake = SHIM},
    {MATRIX_UNREACHABLE, INDEXKEY_CAUSE_UNREACHABLE, "no token that key_uri fits",
     .break_it = take_away, .heal = bring_back},
};

const struct matrix_adapter matrix_hsm = {
    .name = "hsm",
    .source = "hsm",
    .server = "SoftHSM",
    .is_for_all = true,
    .rewraps = true,
    .prepare = prepare,
    .configure = configure,
    .rows = rows,
    .row_count = COUNT_OF(rows),
};
