/*
 * Direct keys by the thousand: what one login asks of Vault, while Vault takes no more than 200
 * requests a second, and what a bad one among them does.
 */
#include <string.h>

#include "base/clock.h"
#include "tests/contract/vault_fixture.h"

#define KEYS 1000
#define PAGE 250 /* of ciphertexts in one answer of the fake */
#define SECTION_MAX 256
#define RATE "200"

static struct fake_service fake;
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
            fake_service_command(&fake,
                                 "{\"do\": \"handler\", \"what\": \"encrypt\", \"count\": %d}",
                                 PAGE);
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

static CK_SESSION_HANDLE log_in(void)
{
    CK_SESSION_HANDLE session;
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    fixture_write("indexkey.conf", conf, 0600);
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    fixture_forget_log();
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
    printf("%d shown\n", count_shown(session));
    ck_assert_int_eq(count_shown(session), KEYS);
    ck_assert_ptr_null(strstr(fixture_log(), "error: "));
    ck_assert_int_le(fake_service_count(&fake, "connections"), 8);
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
    return fixture_run("source vault: a thousand direct keys", cases);
}
