/*
 * Where key bytes are, and where they are not (docs/security-model.md): in a process at work, in
 * its core, in its forked child, after its logout, and in all files that it leaves.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "include/indexkey.h"
#include "module/config.h"
#include "module/row_kinds.h"
#include "tests/leaks/leak_process.h"
#include "tests/leaks/leak_scan.h"
#include "tests/support/token_fixture.h"
#include "tokens/sealed_objects.h"

#define SKIPPED 77

static struct leak_input input;
static struct leak_list *list;

/* PINs that are text, and long enough not to turn up by chance. */
static void random_pin(unsigned char pin[LEAK_PIN_LEN])
{
    unsigned char bytes[LEAK_PIN_LEN];
    ck_assert_uint_eq(crypto_random(bytes, sizeof(bytes)), CKR_OK);
    for (size_t i = 0; i < sizeof(bytes); i++)
        pin[i] = (unsigned char) "ghijklmnopqrstuv"[bytes[i] % 16];
}

static void make_root_key(void)
{
    unsigned char key[LEAK_KEY_LEN];
    char text[64];
    ck_assert_uint_eq(crypto_random(key, sizeof(key)), CKR_OK);
    (void) EVP_EncodeBlock((unsigned char *) text, key, sizeof(key));
    strcat(text, "\n");
    fixture_write("root.key", text, 0600);
    leak_list_add(list, LEAK_SECRET, "root key", key, sizeof(key));
}

static void make_input(void)
{
    random_pin(input.so_pin);
    random_pin(input.user_pin);
    ck_assert_uint_eq(crypto_random(input.index_key, LEAK_KEY_LEN), CKR_OK);
    ck_assert_uint_eq(crypto_random(input.canary, LEAK_KEY_LEN), CKR_OK);
    leak_list_add(list, LEAK_SECRET, "SO PIN", input.so_pin, LEAK_PIN_LEN);
    leak_list_add(list, LEAK_SECRET, "user PIN", input.user_pin, LEAK_PIN_LEN);
    leak_list_add(list, LEAK_SECRET, "index key", input.index_key, LEAK_KEY_LEN);
    leak_list_add(list, LEAK_CANARY, "canary", input.canary, LEAK_KEY_LEN);
}

/* The application uses two of the five, whose contexts OpenSSL keeps. */
static void add_subkeys(void)
{
    static const struct {
        const char *label;
        enum leak_kind kind;
    } purposes[] = {
        {INDEXKEY_LABEL_TOKEN, LEAK_CACHED},   {INDEXKEY_LABEL_CENTROID, LEAK_SECRET},
        {INDEXKEY_LABEL_PAYLOAD, LEAK_CACHED}, {INDEXKEY_LABEL_ITEM, LEAK_SECRET},
        {INDEXKEY_LABEL_QUERY, LEAK_SECRET},
    };
    struct secret key;
    ck_assert_uint_eq(secret_from(input.index_key, LEAK_KEY_LEN, &key), CKR_OK);
    for (size_t i = 0; i < COUNT_OF(purposes); i++) {
        unsigned char message[64] = {0, 0, 0, 1};
        unsigned char subkey[SHA256_LEN];
        size_t len = 4 + strlen(purposes[i].label) + 1;
        memcpy(message + 4, purposes[i].label, strlen(purposes[i].label));
        message[len + 2] = 256 >> 8;
        struct view text = {message, len + 4};
        ck_assert_uint_eq(crypto_hmac_sha256(&key, text, subkey), CKR_OK);
        leak_list_add(list, purposes[i].kind, purposes[i].label, subkey, sizeof(subkey));
    }
    secret_clear(&key);
}

static void add_secret(enum leak_kind kind, const char *name, const struct secret *secret)
{
    ck_assert_uint_eq(secret->len, LEAK_KEY_LEN);
    leak_list_add(list, kind, name, secret->bytes, secret->len);
}

/* The attribute key's context is kept while logged in, like a subkey's. */
static void add_keyring(const struct keyring *keyring)
{
    struct secret attributes;
    ck_assert_uint_eq(derive_numbered_key(&keyring->token_key, keyring->serial, LABEL_ATTRIBUTES,
                                          keyring->attribute_number, &attributes),
                      CKR_OK);
    add_secret(LEAK_SECRET, "token key", &keyring->token_key);
    add_secret(LEAK_SECRET, "keys key", &keyring->keys_key);
    add_secret(LEAK_SECRET, "summary key", &keyring->summary_key);
    add_secret(LEAK_SECRET, "set key", &keyring->set_key);
    add_secret(LEAK_SECRET, "value id key", &keyring->value_id_key);
    add_secret(LEAK_SECRET, "epoch key", &keyring->epoch_key);
    add_secret(LEAK_CACHED, "attribute key", &attributes);
    secret_clear(&attributes);
}

static CK_RV count_object(void *context, const struct sealed_object *object)
{
    *(size_t *) context += !row_is_no_object(object->attributes);
    return CKR_OK;
}

static void add_stretched_pin(const struct token_record *record, struct view pin)
{
    const struct role_stretch *stretch = &record->roles[CUSTODY_USER].stretch;
    struct view salt = {stretch->salt, sizeof(stretch->salt)};
    struct secret stretched;
    ck_assert_uint_eq(crypto_scrypt(pin, salt, &stretch->cost, &stretched), CKR_OK);
    add_secret(LEAK_SECRET, "stretched PIN", &stretched);
    secret_clear(&stretched);
}

/* Opens the application's token from its store, beside it. */
static void learn_keys(void)
{
    struct conf *conf = NULL;
    struct custody *custody = NULL;
    struct token_record record;
    struct proof proof = {0};
    struct view pin = {input.user_pin, LEAK_PIN_LEN};
    size_t count = 0;
    ck_assert_uint_eq(conf_load(fixture_path("indexkey.conf"), config_schema(), &conf), CKR_OK);
    ck_assert_uint_eq(custody_open(conf_tokens(conf, &count), &custody), CKR_OK);
    ck_assert_uint_eq(custody_read_token(custody, &record), CKR_OK);
    ck_assert_uint_eq(custody_prove(custody, &record, CUSTODY_USER, pin, &proof), CKR_OK);
    add_secret(LEAK_SECRET, "data key", &proof.data_key);
    add_stretched_pin(&record, pin);
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, pin), CKR_OK);
    count = 0;
    ck_assert_uint_eq(sealed_objects_load(custody, count_object, &count), CKR_OK);
    ck_assert_uint_eq(count, 1);
    add_keyring(&custody->keyring);
    proof_clear(&proof);
    token_record_clear(&record);
    custody_close(&custody);
    conf_free(&conf);
}

static void write_conf(void)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "[module]\nlog = file:%s:debug\n[token leaks]\nsource = file\nkey_file = %s\n"
             "store = sqlite:%s\n",
             fixture_path("module.log"), fixture_path("root.key"), fixture_path("token.db"));
    fixture_write("indexkey.conf", text, 0600);
}

static struct leak_process start(bool has_memfd_secret)
{
    write_conf();
    struct leak_process process =
        leak_process_start(fixture_path("indexkey.conf"), &input, has_memfd_secret);
    learn_keys();
    return process;
}

static void setup(void)
{
    fixture_setup();
    list = leak_list_new();
    make_root_key();
    make_input();
    add_subkeys();
}

static void teardown(void)
{
    leak_list_free(list);
    fixture_teardown();
}

static void expect_found(const struct leak_found *found, bool in_memory, bool may_be_cached)
{
    printf("  %zu KiB looked at; %zu mappings nobody can read, %zu only a debugger\n",
           found->byte_count / 1024, found->unreadable_count, found->undumped_count);
    fflush(stdout);
    ck_assert_msg(found->counts[LEAK_SECRET] == 0, "secrets were found");
    ck_assert_msg(may_be_cached || found->counts[LEAK_CACHED] == 0, "cached keys were not wiped");
    ck_assert_msg((found->counts[LEAK_CANARY] > 0) == in_memory, "canary: %zu",
                  found->counts[LEAK_CANARY]);
}

/* At work the keys are in the slabs, which nobody else may see: unreadable, or in no core. Else
 * they are nowhere, and the slabs are looked at too. */
static void expect_process(const char *when, pid_t pid, bool at_work)
{
    struct leak_found found = {0};
    printf("%s:\n", when);
    leak_scan_process(list, pid, !at_work, &found);
    expect_found(&found, true, at_work);
    if (at_work)
        ck_assert_uint_gt(found.unreadable_count + found.undumped_count, 0);
}

/* The root key's own file is the one place where it belongs; a core is looked at apart. */
static void expect_files(void)
{
    struct leak_found found = {0};
    size_t count = 0;
    DIR *entries = opendir(fixture_path(""));
    ck_assert_ptr_nonnull(entries);
    printf("files:\n");
    for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "root.key") == 0 ||
            strncmp(entry->d_name, "core", 4) == 0)
            continue;
        leak_scan_file(list, fixture_path(entry->d_name), &found);
        count++;
    }
    ck_assert_int_eq(closedir(entries), 0);
    /* At least configuration, database, log, standard output and error. */
    ck_assert_uint_ge(count, 5);
    expect_found(&found, false, false);
}

START_TEST(test_scanner_knows_each_form)
{
    static const char key[] = "0123456789abcdef\xff\xfe~~~~~~GHIJKLM!";
    static const char *const forms[] = {
        "0123456789abcdef\xff\xfe~~~~~~GHIJKLM!",
        "30313233343536373839616263646566fffe7e7e7e7e7e7e4748494a4b4c4d21",
        "30313233343536373839616263646566FFFE7E7E7E7E7E7E4748494A4B4C4D21",
        "MDEyMzQ1Njc4OWFiY2RlZv/+fn5+fn5+R0hJSktMTSE=",
        "eDAxMjM0NTY3ODlhYmNkZWb//n5+fn5+fkdISUpLTE0h",
        "eHgwMTIzNDU2Nzg5YWJjZGVm//5+fn5+fn5HSElKS0xNIQ==",
        "3210"
        "7654"
        "ba98"
        "fedc"
        "~~\xfe\xff"
        "~~~~"
        "JIHG"
        "!MLK",
    };
    static const char near[] = "0123456789abcdef\xff\xfe~~~~~~GHIJKLM?";
    struct leak_list *one = leak_list_new();
    leak_list_add(one, LEAK_SECRET, "a key", (const unsigned char *) key, LEAK_KEY_LEN);
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        char text[128];
        struct leak_found found = {0};
        int len = snprintf(text, sizeof(text), "ab%sab", forms[i]);
        leak_scan_bytes(one, "a form", (const unsigned char *) text, (size_t) len, &found);
        ck_assert_msg(found.counts[LEAK_SECRET] == 1, "form %zu", i);
    }
    struct leak_found found = {0};
    leak_scan_bytes(one, "another key", (const unsigned char *) near, LEAK_KEY_LEN, &found);
    ck_assert_uint_eq(found.counts[LEAK_SECRET], 0);
    leak_list_free(one);
}
END_TEST

/* The loop index of both tests: whether the kernel has memfd_secret. */
START_TEST(test_process_child_and_logout)
{
    struct leak_process process = start(_i == 1);
    expect_process("eight sessions between C_EncryptInit and C_Encrypt", process.pid, true);
    pid_t child = (pid_t) leak_process_ask(&process, LEAK_FORK, "child ");
    ck_assert_int_gt(child, 1);
    expect_process("forked child after its first call", child, false);
    (void) leak_process_ask(&process, LEAK_GO_ON, "alone");
    (void) leak_process_ask(&process, LEAK_LOGOUT, "out");
    expect_process("after C_Logout", process.pid, false);
    (void) leak_process_ask(&process, LEAK_FINALIZE, "finalized");
    expect_process("after C_Finalize", process.pid, false);
    leak_process_quit(&process);
    expect_files();
}
END_TEST

START_TEST(test_core)
{
    struct leak_process process = start(_i == 1);
    struct leak_found found = {0};
    printf("core, eight sessions between C_EncryptInit and C_Encrypt:\n");
    leak_scan_file(list, leak_process_core(&process), &found);
    expect_found(&found, true, true);
    expect_files();
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("leaks");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, test_scanner_knows_each_form);
    tcase_add_loop_test(cases, test_process_child_and_logout, 0, 2);
    if (leak_process_can_core())
        tcase_add_loop_test(cases, test_core, 0, 2);
    Suite *suite = suite_create("leaks");
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (failed == 0 && !leak_process_can_core()) {
        fprintf(stderr, "skipped: no core: core_pattern names another place, and gcore (gdb) is "
                        "not installed\n");
        return SKIPPED;
    }
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
