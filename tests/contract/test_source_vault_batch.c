/*
 * Many ciphertexts with one request to Vault: what a bad one among them does.
 */
#include <string.h>

#include "tests/contract/many_keys.h"
#include "tests/contract/vault_fixture.h"

static struct fake_service fake;

static void start_fake(void)
{
    vault_start(&fake);
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

/* A token with a thousand direct keys, initialised. */
static void make_token(void)
{
    static const struct kms_settings settings = {.deadline_ms = 20000};
    kms_reset(&fake);
    vault_configure(&fake, &settings);
    many_keys_make(&fake, "");
}

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
    char *letter = strstr(many_keys_section(500), "vault:v1:") + 40;
    *letter = *letter == 'A' ? 'B' : 'A';
    memcpy(strstr(many_keys_section(7), "vault:v1:"), "vault:v9:", 9);
    CK_SESSION_HANDLE session = many_keys_log_in(&fake, "vault", 0);
    ck_assert_int_eq(many_keys_count_shown(session), MANY_KEYS - 2);
    ck_assert(!many_keys_is_shown(session, 500));
    ck_assert(!many_keys_is_shown(session, 7));
    ck_assert_ptr_nonnull(strstr(many_keys_errors(),
                                 "[key k500] is not shown until the next C_Login "
                                 "(tampered)"));
    ck_assert_ptr_nonnull(strstr(many_keys_errors(), "[key k7] is not shown until the next C_Login "
                                                     "(tampered)"));
    ck_assert_int_eq(fake_service_count(&fake, "requests"), 1 + (MANY_KEYS + 127) / 128 + 2);
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
    CK_SESSION_HANDLE session = many_keys_log_in(&fake, "vault", 0);
    ck_assert_int_eq(many_keys_count_shown(session), 0);
    ck_assert_ptr_nonnull(strstr(many_keys_errors(),
                                 "[key k999] is not shown until the next C_Login "
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
    tcase_add_loop_test(cases, a_bad_ciphertext_spoils_only_itself, 0, (int) COUNT_OF(spoils));
    tcase_add_loop_test(cases, a_reply_is_taken_whole_or_not_at_all, 0, (int) COUNT_OF(replies));
    tcase_add_test(cases, bad_ones_of_a_thousand_hide_only_themselves);
    tcase_add_test(cases, a_batch_that_is_refused_is_not_asked_for_one_by_one);
    return fixture_run("source vault: batches", cases);
}
