/*
 * Direct keys by the thousand: what one login asks of Vault, while Vault takes no more than 200
 * requests a second, and what a bad one among them does.
 */
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "tests/contract/vault_fixture.h"

#define KEYS 1000
#define PAGE 250 /* of ciphertexts in one answer of the fake */
#define SECTION_MAX 256
#define RATE "200"

static struct fake_service fake;
/* Error lines since the login, of which there may be one for each key. */
static char errors[KEYS * 512];
static char conf[KEYS * SECTION_MAX + 4096];

static void start_fake(void)
{
    vault_start(&fake);
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

/* [key k0] … with a ciphertext each, by the fake. */
static size_t add_keys(size_t at)
{
    const char *text = NULL;
    for (int i = 0; i < KEYS; i++) {
        if (i % PAGE == 0) {
            fake_service_command(
                &fake, "{\"do\": \"handler\", \"what\": \"encrypt\", \"count\": %d}", PAGE);
            text = fake.answer;
        }
        text = strstr(text, "vault:v1:");
        ck_assert_ptr_nonnull(text);
        size_t len = strcspn(text, "\"");
        at += (size_t) snprintf(conf + at, sizeof(conf) - at,
                                "[key k%d]\ntoken = vectors\nciphertext = %.*s\n", i, (int) len,
                                text);
        ck_assert_uint_lt(at, sizeof(conf));
        text += len;
    }
    return at;
}

/* A token with these keys, initialised. */
static void make_token(void)
{
    static const struct kms_settings settings = {.deadline_ms = 20000};
    kms_reset(&fake);
    vault_configure(&fake, &settings);
    kms_init_token();
    FILE *file = fopen(fixture_path("indexkey.conf"), "r");
    ck_assert_ptr_nonnull(file);
    size_t len = fread(conf, 1, sizeof(conf) - 1, file);
    (void) fclose(file);
    conf[len] = '\0';
    (void) add_keys(len);
}

static void keep_error(enum log_level level, const char *line, void *context)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    (void) context;
    (void) pthread_mutex_lock(&lock);
    size_t len = strlen(errors);
    if (level == LOG_LEVEL_ERROR)
        (void) snprintf(errors + len, sizeof(errors) - len, "%s\n", line);
    (void) pthread_mutex_unlock(&lock);
}

static CK_SESSION_HANDLE log_in(void)
{
    CK_SESSION_HANDLE session;
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    fixture_write("indexkey.conf", conf, 0600);
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    log_set_sink(keep_error, NULL);
    fake_service_clear(&fake);
    int64_t begin_ms = clock_boot_ms();
    ck_assert_uint_eq(C_Login(session, CKU_USER, pin, sizeof(pin) - 1), CKR_OK);
    printf("%d direct keys: %ld ms, %d requests, %d connections\n", KEYS,
           (long) (clock_boot_ms() - begin_ms), fake_service_count(&fake, "requests"),
           fake_service_count(&fake, "connections"));
    return session;
}

static bool is_shown(CK_SESSION_HANDLE session, int index)
{
    char label[16];
    CK_OBJECT_HANDLE found;
    CK_ULONG count;
    (void) snprintf(label, sizeof(label), "k%d", index);
    CK_ATTRIBUTE template = {CKA_LABEL, label, strlen(label)};
    ck_assert_uint_eq(C_FindObjectsInit(session, &template, 1), CKR_OK);
    ck_assert_uint_eq(C_FindObjects(session, &found, 1, &count), CKR_OK);
    ck_assert_uint_eq(C_FindObjectsFinal(session), CKR_OK);
    return count == 1;
}

static int count_shown(CK_SESSION_HANDLE session)
{
    int count = 0;
    for (int i = 0; i < KEYS; i++)
        count += is_shown(session, i) ? 1 : 0;
    return count;
}

START_TEST(a_thousand_under_a_rate_limit)
{
    make_token();
    fake_service_command(&fake, "%s", HANDLER("\"rate\", \"rate\": " RATE));
    CK_SESSION_HANDLE session = log_in();
    ck_assert_int_eq(count_shown(session), KEYS);
    ck_assert_str_eq(errors, "");
    ck_assert_int_le(fake_service_count(&fake, "connections"), 8);
    ck_assert_int_le(fake_service_count(&fake, "requests"), 20);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

/* ---- a bad one among good ones ---- */

#define FEW 5

static const struct view contexts[2] = {{(const unsigned char *) "context", 7}, {NULL, 0}};

struct few {
    struct source *source;
    char texts[FEW][128];
    struct source_item items[FEW];
};

/* Ciphertexts with and without a context, in turn. */
static void few_begin(struct few *few)
{
    static const struct kms_settings settings;
    kms_reset(&fake);
    few->source = vault_open(&fake, &settings);
    fake_service_command(&fake, "%s",
                         HANDLER("\"encrypt\", \"contexts\": [\"context\", \"\", \"context\", "
                                 "\"\", \"context\"]"));
    const char *text = fake.answer;
    for (size_t i = 0; i < FEW; i++) {
        text = strstr(text, "vault:v1:");
        ck_assert_ptr_nonnull(text);
        (void) snprintf(few->texts[i], sizeof(few->texts[i]), "%.*s", (int) strcspn(text, "\""),
                        text);
        few->items[i] =
            (struct source_item){.wrapped = view_text(few->texts[i]), .context = contexts[i % 2]};
        text++;
    }
    fake_service_clear(&fake);
}

static CK_RV few_unwrap(struct few *few)
{
    static const struct kms_settings settings = {.deadline_ms = 2000};
    struct source_call call = kms_call(&settings, (struct view){0});
    fixture_forget_log();
    cause_clear();
    return few->source->ops->unwrap_many(few->source, &call, few->items, FEW);
}

static int few_open(const struct few *few)
{
    int open = 0;
    for (size_t i = 0; i < FEW; i++)
        open += few->items[i].value.len == 32 ? 1 : 0;
    return open;
}

static void few_end(struct few *few)
{
    for (size_t i = 0; i < FEW; i++)
        secret_clear(&few->items[i].value);
    source_close(&few->source);
}

static void tamper(struct few *few)
{
    char *letter = &few->texts[2][strlen(few->texts[2]) - 8];
    *letter = *letter == 'A' ? 'B' : 'A';
}

static void exchange_context(struct few *few)
{
    few->items[2].context = contexts[1];
}

static void no_ciphertext(struct few *few)
{
    few->items[2].wrapped = (struct view){(const unsigned char *) "\xff\x00\x01", 3};
}

static void empty_ciphertext(struct few *few)
{
    few->items[2].wrapped = (struct view){0};
}

static void (*const spoils[])(struct few *few) = {tamper, exchange_context, no_ciphertext,
                                                  empty_ciphertext};

START_TEST(a_bad_ciphertext_spoils_only_itself)
{
    struct few few = {0};
    few_begin(&few);
    spoils[_i](&few);
    ck_assert_uint_eq(few_unwrap(&few), CKR_OK);
    ck_assert_int_eq(few_open(&few), FEW - 1);
    ck_assert_uint_eq(few.items[2].value.len, 0);
    ck_assert_uint_eq(fixture_log_count(), 0);
    ck_assert_int_eq(fake_service_count(&fake, "requests"), 1);
    few_end(&few);
}
END_TEST

#define VALUE "{\"plaintext\": \"" BASE64_OF_32 "\"}"
#define BASE64_OF_32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define RESULTS(list) "{\"data\": {\"batch_results\": [" list "]}}"
static const struct {
    int status;
    const char *body;
    enum indexkey_cause cause;
} replies[] = {
    {200, "{}", INDEXKEY_CAUSE_SERVER},
    {200, "\"\"", INDEXKEY_CAUSE_SERVER},
    {200, "{\"data\": {\"batch_results\": {}}}", INDEXKEY_CAUSE_SERVER},
    {200, RESULTS(""), INDEXKEY_CAUSE_SERVER},
    {200, RESULTS(VALUE ", " VALUE ", " VALUE ", " VALUE), INDEXKEY_CAUSE_SERVER},
    {200, RESULTS(VALUE ", " VALUE ", " VALUE ", " VALUE ", " VALUE ", " VALUE),
     INDEXKEY_CAUSE_SERVER},
    {200, RESULTS(VALUE ", " VALUE ", {}, " VALUE ", " VALUE), INDEXKEY_CAUSE_SERVER},
    {200, RESULTS(VALUE ", " VALUE ", {\"plaintext\": \"\"}, " VALUE ", " VALUE),
     INDEXKEY_CAUSE_SERVER},
    {200, RESULTS(VALUE ", " VALUE ", {\"plaintext\": \"**\"}, " VALUE ", " VALUE),
     INDEXKEY_CAUSE_SERVER},
    {200, RESULTS(VALUE ", " VALUE ", 7, " VALUE ", " VALUE), INDEXKEY_CAUSE_SERVER},
    {200, RESULTS(VALUE ", " VALUE ", {\"error\": \"no\"}, " VALUE ", " VALUE),
     INDEXKEY_CAUSE_NONE},
    {400, RESULTS(VALUE ", " VALUE ", {\"error\": \"no\"}, " VALUE ", " VALUE),
     INDEXKEY_CAUSE_NONE},
    {400, "{\"errors\": [\"encryption key not found\"]}", INDEXKEY_CAUSE_DELETED},
    {403, "{\"errors\": [\"1 error occurred: permission denied\"]}", INDEXKEY_CAUSE_DENIED},
    {429, "{\"errors\": [\"rate limit quota exceeded\"]}", INDEXKEY_CAUSE_THROTTLED},
    {503, "{\"errors\": [\"Vault is sealed\"]}", INDEXKEY_CAUSE_SERVER},
};

START_TEST(a_reply_is_taken_whole_or_not_at_all)
{
    struct few few = {0};
    few_begin(&few);
    fake_service_fault(&fake,
                       "\"kind\": \"status\", \"path\": \"decrypt\", \"times\": -1, \"status\": "
                       "%d, \"body\": %s",
                       replies[_i].status, replies[_i].body);
    CK_RV rv = few_unwrap(&few);
    if (replies[_i].cause == INDEXKEY_CAUSE_NONE) {
        ck_assert_uint_eq(rv, CKR_OK);
        ck_assert_int_eq(few_open(&few), FEW - 1);
    } else {
        kms_assert_failed(rv, replies[_i].cause, "token 'vectors'");
        ck_assert_int_eq(few_open(&few), 0);
        ck_assert_ptr_null(strstr(fixture_log(), BASE64_OF_32));
    }
    few_end(&few);
}
END_TEST

/* Each that is bad has its own reason in the log, and is asked for once more by itself. */
START_TEST(bad_ones_of_a_thousand_hide_only_themselves)
{
    make_token();
    char *bad = strstr(conf, "[key k500]\n");
    ck_assert_ptr_nonnull(bad);
    char *letter = strstr(bad, "vault:v1:") + 40;
    *letter = *letter == 'A' ? 'B' : 'A';
    bad = strstr(conf, "[key k7]\n");
    memcpy(strstr(bad, "vault:v1:"), "vault:v9:", 9);
    CK_SESSION_HANDLE session = log_in();
    ck_assert_int_eq(count_shown(session), KEYS - 2);
    ck_assert(!is_shown(session, 500));
    ck_assert(!is_shown(session, 7));
    ck_assert_ptr_nonnull(strstr(errors, "[key k500] is not shown until the next C_Login "
                                         "(tampered)"));
    ck_assert_ptr_nonnull(strstr(errors, "[key k7] is not shown until the next C_Login "
                                         "(tampered)"));
    ck_assert_int_eq(fake_service_count(&fake, "requests"), 1 + (KEYS + 127) / 128 + 2);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

/* The Vault token is good for the token's own request, and then no more. */
START_TEST(a_batch_that_is_refused_is_not_asked_for_one_by_one)
{
    make_token();
    fake_service_command(&fake, "%s",
                         HANDLER("\"token\", \"token\": \"good-token\", \"acts\": [\"decrypt\"], "
                                 "\"options\": {\"uses\": 1}"));
    CK_SESSION_HANDLE session = log_in();
    ck_assert_int_eq(count_shown(session), 0);
    ck_assert_ptr_nonnull(strstr(errors, "[key k999] is not shown until the next C_Login "
                                         "(credential)"));
    /* A batch, and its lookup-self, in each of eight. */
    ck_assert_int_le(fake_service_count(&fake, "requests"), 1 + 2 * 8);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("batch");
    tcase_set_timeout(cases, 120);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_test(cases, a_thousand_under_a_rate_limit);
    tcase_add_loop_test(cases, a_bad_ciphertext_spoils_only_itself, 0, (int) COUNT_OF(spoils));
    tcase_add_loop_test(cases, a_reply_is_taken_whole_or_not_at_all, 0, (int) COUNT_OF(replies));
    tcase_add_test(cases, bad_ones_of_a_thousand_hide_only_themselves);
    tcase_add_test(cases, a_batch_that_is_refused_is_not_asked_for_one_by_one);
    return fixture_run("source vault: a thousand direct keys", cases);
}
