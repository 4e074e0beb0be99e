/*
 * The key is disabled at the KMS while eight threads use it: when the last call succeeds, what is
 * left of the keys in the process, and how the token comes back. On a fake of each KMS, and on a
 * real Vault where there is one. It prints a table.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sqlite3.h>

#include "include/indexkey.h"
#include "module/module.h"
#include "module/slot.h"
#include "tests/contract/behaviour_fixture.h"
#include "tests/contract/own_memory.h"
#include "tests/threads/crew.h"

#define SCRIPT FAKE_SERVICE_FOLDER "/vault.sh"
#define THREAD_COUNT 8
#define LEASE_MS 2000
#define DEADLINE_MS 1000
#define WIPED_WITHIN_MS 1000
#define NEVER INT64_MAX
#define ALL_ACTS "[\"datakey/plaintext\", \"encrypt\", \"decrypt\", \"lookup-self\"]"
#define LOOKUP_ONLY "path \\\"auth/token/lookup-self\\\" { capabilities = [\\\"read\\\"] } "
#define WHOLE_POLICY                                                                               \
    LOOKUP_ONLY "path \\\"transit/+/index-keys\\\" { capabilities = [\\\"update\\\"] } "           \
                "path \\\"transit/datakey/plaintext/index-keys\\\" { capabilities = "              \
                "[\\\"update\\\"] }"
#define POLICY(text) "PUT sys/policies/acl/index-keys '{\"policy\": \"" text "\"}'"
#define MIN_VERSION(number)                                                                        \
    "POST transit/keys/index-keys/config '{\"min_decryption_version\": " number "}'"

#define STATE(name) HANDLER("\"state\", \"state\": \"" name "\"")
#define SLOW "\"kind\": \"delay\", \"seconds\": 0.8"

/* What a denial is at the server: commands of the fake, or requests to the real one. */
struct denial {
    const char *name;
    bool is_real;
    const char *before; /* NULL: nothing */
    const char *fault;  /* of the fake; NULL: none */
    const char *deny;
    const char *allow;
};

static const struct denial vault_denials[] = {
    {"key version disabled", false, HANDLER("\"rotate\""), NULL,
     HANDLER("\"min_version\", \"version\": 2"), HANDLER("\"min_version\", \"version\": 1")},
    {"permission taken away", false, NULL, NULL,
     HANDLER("\"allow\", \"token\": \"good-token\", \"acts\": [\"lookup-self\"]"),
     HANDLER("\"allow\", \"token\": \"good-token\", \"acts\": " ALL_ACTS)},
    {"Vault token revoked", false, NULL, NULL, HANDLER("\"revoke\", \"token\": \"good-token\""),
     HANDLER("\"allow\", \"token\": \"good-token\", \"acts\": " ALL_ACTS)},
    {"key deleted", false, NULL, NULL, HANDLER("\"delete_key\""), HANDLER("\"restore\"")},
    {"denied after 0.8 s", false, HANDLER("\"rotate\""), SLOW,
     HANDLER("\"min_version\", \"version\": 2"), HANDLER("\"min_version\", \"version\": 1")},
    {"real: key version disabled", true, "POST transit/keys/index-keys/rotate", NULL,
     MIN_VERSION("2"), MIN_VERSION("1")},
    {"real: permission taken away", true, NULL, NULL, POLICY(LOOKUP_ONLY), POLICY(WHOLE_POLICY)},
};

static const struct denial aws_denials[] = {
    {"key disabled", false, NULL, NULL, STATE("Disabled"), STATE("Enabled")},
    {"permission taken away", false, NULL, NULL, HANDLER("\"deny\", \"act\": \"Decrypt\""),
     HANDLER("\"restore\"")},
    {"access key deleted", false, NULL, NULL, HANDLER("\"revoke\", \"access\": \"AKIDGOOD\""),
     HANDLER("\"restore\"")},
    {"credentials expired", false, NULL, NULL, HANDLER("\"expire\", \"access\": \"AKIDGOOD\""),
     HANDLER("\"restore\"")},
    {"key pending deletion", false, NULL, NULL, STATE("PendingDeletion"), STATE("Enabled")},
    {"key deleted", false, NULL, NULL, HANDLER("\"delete_key\""), HANDLER("\"restore\"")},
    {"disabled after 0.8 s", false, NULL, SLOW, STATE("Disabled"), STATE("Enabled")},
};

static const struct denial azure_denials[] = {
    {"key disabled", false, NULL, NULL, HANDLER("\"disable\""), HANDLER("\"restore\"")},
    {"permission taken away", false, NULL, NULL, HANDLER("\"deny\", \"act\": \"unwrapKey\""),
     HANDLER("\"restore\"")},
    {"application's tokens and secret revoked", false, NULL, NULL, HANDLER("\"revoke\""),
     HANDLER("\"restore\"")},
    {"key deleted", false, NULL, NULL, HANDLER("\"delete_key\""), HANDLER("\"restore\"")},
    {"disabled after 0.8 s", false, NULL, SLOW, HANDLER("\"disable\""), HANDLER("\"restore\"")},
};

static const struct {
    const char *kms;
    const struct denial *rows;
    size_t count;
} denials[] = {
    {"vault", vault_denials, COUNT_OF(vault_denials)},
    {"aws", aws_denials, COUNT_OF(aws_denials)},
    {"azure", azure_denials, COUNT_OF(azure_denials)},
};

static bool on_vault(void)
{
    return strcmp(behaviour_kms->name, "vault") == 0;
}

static size_t kms_index(void)
{
    size_t i = 0;
    while (strcmp(denials[i].kms, behaviour_kms->name) != 0)
        i++;
    return i;
}

static const struct denial *denial_of(int row)
{
    return &denials[kms_index()].rows[row];
}

static int denial_count(void)
{
    return (int) denials[kms_index()].count;
}

/* ---- the servers ---- */

static char folder[64]; /* the real one's; "": there is none */

static void run(const char *verb, const char *arguments, char *output, size_t size)
{
    char command[1024];
    (void) snprintf(command, sizeof(command), "%s %s %s %s", SCRIPT, verb, folder, arguments);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    size_t len = fread(output, 1, size - 1, pipe);
    output[len] = '\0';
    ck_assert_msg(pclose(pipe) == 0, "%s: %s", command, output);
}

static void ask(const struct denial *denial, const char *what)
{
    char output[4096];
    if (what == NULL)
        return;
    if (denial->is_real)
        run("api", what, output, sizeof(output));
    else
        fake_service_command(&behaviour_fake, "%s", what);
}

/* One on PATH, or one that vault.sh has built; not to build it here, which takes minutes. */
static bool has_vault(void)
{
    return system("{ command -v vault || command -v bao || ls "
                  "\"${INDEXKEY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/indexkey}\""
                  "/vault-server/*/vault; } >/dev/null 2>&1") == 0;
}

static void start(void)
{
    char output[4096];
    behaviour_start();
    if (!on_vault())
        return;
    if (!has_vault()) {
        printf("no real Vault server: run tests/servers/vault.sh build, once\n");
        return;
    }
    strcpy(folder, "/tmp/indexkey-vault-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    run("start", "", output, sizeof(output));
}

static void stop(void)
{
    char output[4096];
    char command[128];
    behaviour_stop();
    if (folder[0] == '\0')
        return;
    run("stop", "", output, sizeof(output));
    (void) snprintf(command, sizeof(command), "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
    folder[0] = '\0'; /* the next source's cases stop nothing */
}

static void read_line(const char *name, char *line, int size)
{
    char path[128];
    (void) snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(line, size, file));
    line[strcspn(line, "\n")] = '\0';
    ck_assert_int_eq(fclose(file), 0);
}

static void make_token(const struct denial *denial, struct kms_settings settings)
{
    char addr[128];
    char token[256];
    char ca[128];
    if (!denial->is_real) {
        behaviour_token(&settings);
        return;
    }
    read_line("address", addr, sizeof(addr));
    read_line("client-token", token, sizeof(token));
    (void) snprintf(ca, sizeof(ca), "%s/tls/ca.pem", folder);
    settings.addr = addr;
    settings.token = token;
    settings.ca = ca;
    behaviour_configure(&settings);
    kms_init_token();
}

/* ---- the keys ---- */

static struct own_memory *memory;

/* SP 800-108 in counter mode with one block, by OpenSSL alone: HMAC(key, 1 || label || 0 || 256).
 */
static void know_subkey(const CK_BYTE index_key[32], enum indexkey_purpose purpose)
{
    const char *label = indexkey_label(purpose);
    size_t label_size = strlen(label) + 1;
    unsigned char input[64] = {0, 0, 0, 1};
    unsigned char subkey[OWN_SECRET_LEN];
    memcpy(input + 4, label, label_size);
    memcpy(input + 4 + label_size, (const unsigned char[]){0, 0, 1, 0}, 4);
    ck_assert_ptr_nonnull(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, index_key, 32, input,
                                    label_size + 8, subkey, sizeof(subkey), NULL));
    own_memory_add(memory, indexkey_purpose_name(purpose), subkey);
    OPENSSL_cleanse(subkey, sizeof(subkey));
}

/* No C_* function shows these: they are taken from where the module keeps them. */
static void know_keyring(void)
{
    struct slot *slot;
    ck_assert_uint_eq(module_slot(0, &slot), CKR_OK);
    const struct keyring *keyring = &slot->custody->keyring;
    own_memory_add(memory, "token key", keyring->token_key.bytes);
    own_memory_add(memory, "keys key", keyring->keys_key.bytes);
    own_memory_add(memory, "summary key", keyring->summary_key.bytes);
    own_memory_add(memory, "set key", keyring->set_key.bytes);
    own_memory_add(memory, "value id key", keyring->value_id_key.bytes);
    own_memory_add(memory, "epoch key", keyring->epoch_key.bytes);
}

static void make_keys(CK_SESSION_HANDLE session)
{
    CK_BYTE index_key[OWN_SECRET_LEN];
    ck_assert_int_eq(RAND_priv_bytes(index_key, sizeof(index_key)), 1);
    memory = own_memory_new();
    own_memory_add(memory, "index key", index_key);
    for (int purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++)
        know_subkey(index_key, (enum indexkey_purpose) purpose);
    (void) behaviour_import(session, index_key);
    OPENSSL_cleanse(index_key, sizeof(index_key));
    know_keyring();
}

/* ---- the threads ---- */

static struct crew crew;
static atomic_int_least64_t last_success_ms;
static atomic_ulong successes;
static atomic_ulong refusals;

static bool is_refusal(const char *call, CK_RV rv)
{
    bool begins = strstr(call, "Init") != NULL;
    return begins ? rv == CKR_KEY_HANDLE_INVALID || rv == CKR_USER_NOT_LOGGED_IN
                  : rv == CKR_OPERATION_NOT_INITIALIZED;
}

static void note(const char *call, CK_RV rv)
{
    if (rv != CKR_OK) {
        ck_assert_msg(is_refusal(call, rv), "%s: 0x%lx", call, rv);
        atomic_fetch_add(&refusals, 1);
        return;
    }
    int64_t now = behaviour_now_ms();
    int64_t last = atomic_load(&last_success_ms);
    while (last < now && !atomic_compare_exchange_weak(&last_success_ms, &last, now))
        continue;
    atomic_fetch_add(&successes, 1);
}

/* With the keys of a session kept from call to call, as applications have them. */
static void keep_busy(struct crew_member *member, void *context)
{
    CK_SESSION_HANDLE session = behaviour_session();
    CK_OBJECT_HANDLE payload = behaviour_find(session, "shared/payload");
    CK_OBJECT_HANDLE token = behaviour_find(session, "shared/token");
    const char *call;
    (void) context;
    while (crew_goes_on(member)) {
        CK_RV rv = behaviour_encrypt(session, payload, &call);
        note(call, rv);
        rv = behaviour_sign(session, token, &call);
        note(call, rv);
    }
}

/* ---- when the denial came ---- */

static atomic_int_least64_t denied_ms;

/* The log says it when the last reply about it was read. */
static void watch_log(enum log_level level, const char *line, void *context)
{
    int64_t never = NEVER;
    (void) level;
    (void) context;
    bool is_denial = strstr(line, "cannot unwrap") != NULL || strstr(line, "cannot log in") != NULL;
    if (is_denial)
        (void) atomic_compare_exchange_strong(&denied_ms, &never, behaviour_now_ms());
}

static int64_t await_denial(int64_t from_ms)
{
    while (atomic_load(&denied_ms) == NEVER) {
        ck_assert_int_lt(behaviour_now_ms(), from_ms + 3 * LEASE_MS);
        behaviour_sleep_ms(2);
    }
    return atomic_load(&denied_ms);
}

static void begin(const struct denial *denial, CK_SESSION_HANDLE *ret_session,
                  const struct kms_settings *settings)
{
    make_token(denial, *settings);
    atomic_store(&denied_ms, NEVER);
    log_set_sink(watch_log, NULL);
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    *ret_session = behaviour_session();
    ck_assert_uint_eq(behaviour_login(*ret_session), CKR_OK);
    make_keys(*ret_session);
    ask(denial, denial->before);
    crew_start(&crew, THREAD_COUNT, keep_busy, NULL);
}

/* The sessions' contexts are found, so that the search would find what is left of them. */
static void check_search(void)
{
    if (!HAS_PLAIN_MEMORY)
        return;
    ck_assert_uint_gt(own_memory_search(memory), 0);
    ck_assert_uint_gt(own_memory_finds(memory, "payload"), 0);
    ck_assert_uint_gt(own_memory_finds(memory, "token"), 0);
    ck_assert_uint_gt(own_memory_finds(memory, "token key"), 0);
}

/* What is found is printed; a failed test must not lose it. */
static size_t left_in_memory(void)
{
    (void) setvbuf(stdout, NULL, _IOLBF, 0);
    return HAS_PLAIN_MEMORY ? own_memory_search(memory) : 0;
}

/* What C_Login brings back is usable, by sessions that saw the denial too. */
static void check_healed(const struct denial *denial, CK_SESSION_HANDLE session)
{
    const char *call;
    ck_assert(!behaviour_is_logged_in(session));
    ck_assert_uint_ne(behaviour_login(session), CKR_OK);
    ask(denial, denial->allow);
    if (denial->fault != NULL)
        fake_service_clear(&behaviour_fake);
    ck_assert_uint_eq(behaviour_login(session), CKR_OK);
    ck_assert_uint_eq(behaviour_encrypt(session, behaviour_find(session, "shared/payload"), &call),
                      CKR_OK);
}

static void end(void)
{
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
    own_memory_free(memory);
}

START_TEST(a_denial_ends_all_use_in_time)
{
    const struct denial *denial = denial_of(_i);
    const struct kms_settings settings = {.more = "lease = 2s", .deadline_ms = DEADLINE_MS};
    CK_SESSION_HANDLE session;
    if (denial->is_real && folder[0] == '\0')
        return;
    begin(denial, &session, &settings);
    behaviour_sleep_ms(300);
    check_search();
    if (denial->fault != NULL)
        behaviour_fault(denial->fault);
    int64_t disabled = behaviour_now_ms();
    ask(denial, denial->deny);
    int64_t denied = await_denial(disabled);
    behaviour_sleep_ms((long) (denied + WIPED_WITHIN_MS - behaviour_now_ms()));
    unsigned long refused = atomic_load(&refusals);
    size_t left = left_in_memory();
    int64_t last = atomic_load(&last_success_ms);
    printf("%-5s %-27s last success %5ld ms after, denial %5ld ms after, %zu key bytes' places in "
           "%zu MiB, %lu calls before, %lu refused\n",
           behaviour_kms->name, denial->name, (long) (last - disabled), (long) (denied - disabled),
           left, own_memory_byte_count(memory) >> 20, atomic_load(&successes), refused);
    ck_assert_int_gt(last, disabled);
    ck_assert_int_le(last, disabled + LEASE_MS + DEADLINE_MS);
    ck_assert_uint_eq(left, 0);
    ck_assert_uint_gt(refused, THREAD_COUNT);
    check_healed(denial, session);
    crew_run(&crew, 20);
    end();
}
END_TEST

#define SET_PIN_DEADLINE_MS 5000

static void set_pin(struct crew_member *member, void *context)
{
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    (void) member;
    CK_RV rv = C_SetPIN(behaviour_session(), pin, sizeof(pin) - 1, pin, sizeof(pin) - 1);
    ck_assert_uint_eq(rv, CKR_DEVICE_ERROR);
    *(int64_t *) context = behaviour_now_ms();
}

/* An administrative call that waits for the KMS holds up neither the wipe nor the end of use. */
START_TEST(a_denial_does_not_wait_for_c_setpin)
{
    const struct denial *denial = denial_of(0);
    const struct kms_settings settings = {.more = "lease = 2s", .deadline_ms = SET_PIN_DEADLINE_MS};
    static struct crew setter;
    CK_SESSION_HANDLE session;
    int64_t set_pin_ended = 0;
    begin(denial, &session, &settings);
    behaviour_sleep_ms(200);
    fake_service_fault(&behaviour_fake, "\"kind\": \"hang\"");
    crew_start(&setter, 1, set_pin, &set_pin_ended);
    behaviour_sleep_ms(200);
    int64_t disabled = behaviour_now_ms();
    ask(denial, denial->deny);
    int64_t denied = await_denial(disabled);
    behaviour_sleep_ms((long) (denied + WIPED_WITHIN_MS - behaviour_now_ms()));
    size_t left = left_in_memory();
    crew_join(&setter);
    int64_t last = atomic_load(&last_success_ms);
    printf("%-5s %-27s last success %5ld ms after, denial %5ld ms after, C_SetPIN %5ld ms after\n",
           behaviour_kms->name, "denied during C_SetPIN", (long) (last - disabled),
           (long) (denied - disabled), (long) (set_pin_ended - disabled));
    ck_assert_int_gt(set_pin_ended, denied + WIPED_WITHIN_MS);
    ck_assert_uint_eq(left, 0);
    ck_assert_int_le(last, denied + 250);
    check_healed(denial, session);
    crew_run(&crew, 20);
    end();
}
END_TEST

struct creation {
    sqlite3 *other;
    CK_SESSION_HANDLE session;
    int64_t ended_ms;
};

/* Another process in the middle of a change. */
static void occupy_store(struct creation *creation)
{
    const char *path = strchr(fixture_store(1), ':') + 1;
    ck_assert_int_eq(sqlite3_open(path, &creation->other), SQLITE_OK);
    /* The busy threads have the store take note of what they encrypt. */
    ck_assert_int_eq(sqlite3_busy_timeout(creation->other, 5000), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(creation->other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
}

static void create_key(struct crew_member *member, void *context)
{
    struct creation *creation = context;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE;
    CK_BYTE value[OWN_SECRET_LEN] = {7};
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VALUE, value, sizeof(value)},
    };
    CK_OBJECT_HANDLE handle;
    (void) member;
    /* Sealed before the denial, it may still succeed. */
    (void) C_CreateObject(creation->session, template, COUNT_OF(template), &handle);
    creation->ended_ms = behaviour_now_ms();
}

/* Neither does a change of objects that waits for other processes at the store. */
START_TEST(a_denial_does_not_wait_for_the_store)
{
    const struct denial *denial = denial_of(0);
    const struct kms_settings settings = {.more = "lease = 2s", .deadline_ms = DEADLINE_MS};
    static struct crew creator;
    struct creation creation = {.other = NULL};
    CK_SESSION_HANDLE session;
    begin(denial, &session, &settings);
    behaviour_sleep_ms(200);
    creation.session = behaviour_session();
    occupy_store(&creation);
    int64_t disabled = behaviour_now_ms();
    ask(denial, denial->deny);
    crew_start(&creator, 1, create_key, &creation);
    int64_t denied = await_denial(disabled);
    behaviour_sleep_ms((long) (denied + WIPED_WITHIN_MS - behaviour_now_ms()));
    size_t left = left_in_memory();
    int64_t last = atomic_load(&last_success_ms);
    ck_assert_int_eq(sqlite3_close(creation.other), SQLITE_OK);
    crew_join(&creator);
    printf("%-5s %-27s last success %5ld ms after, denial %5ld ms after, C_CreateObject %5ld ms "
           "after, %zu key bytes' places\n",
           behaviour_kms->name, "denied during a change", (long) (last - disabled),
           (long) (denied - disabled), (long) (creation.ended_ms - disabled), left);
    ck_assert_int_gt(creation.ended_ms, denied + WIPED_WITHIN_MS);
    ck_assert_uint_eq(left, 0);
    ck_assert_int_le(last, denied + 250);
    check_healed(denial, session);
    crew_run(&crew, 20);
    end();
}
END_TEST

static TCase *make_cases(void)
{
    TCase *cases = tcase_create("revocation");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, start, stop);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_denial_ends_all_use_in_time, 0, denial_count());
    tcase_add_test(cases, a_denial_does_not_wait_for_c_setpin);
    tcase_add_test(cases, a_denial_does_not_wait_for_the_store);
    return cases;
}

int main(int argc, char **argv)
{
    return behaviour_run("revocation", make_cases, argc > 1 ? argv[1] : NULL);
}
