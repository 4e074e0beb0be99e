/*
 * A thousand direct keys: the login of each source that asks a service over HTTP, which takes no
 * more than 200 requests a second. `test_many_keys SOURCE`.
 */
#include <string.h>

#include "tests/contract/aws_fixture.h"
#include "tests/contract/azure_fixture.h"
#include "tests/contract/gcp_fixture.h"
#include "tests/contract/many_keys.h"
#include "tests/contract/vault_fixture.h"

#define RATE 200
#define CONNECTIONS_MAX 8

struct kms {
    const char *name;
    void (*start)(struct fake_service *fake);
    void (*reset)(struct fake_service *fake);
    void (*configure)(struct fake_service *fake, const struct kms_settings *settings);
    const char *before; /* a ciphertext */
    int keys_a_request;
    int other_requests; /* of that login: for the token's own key, for credentials */
    int other_connections;
};

static const struct kms all[] = {
    {"vault", vault_start, kms_reset, vault_configure, "", 128, 1, 0},
    {"aws", aws_start, aws_reset, aws_configure, "base64:", 1, 1, 0},
    /* Its credentials come from another fake. */
    {"gcp", gcp_start, gcp_reset, gcp_configure, "base64:", 1, 1, 0},
    /* The challenge, and an access token of Entra ID: another host, of the same fake. */
    {"azure", azure_start, kms_reset, azure_configure, "base64:", 1, 3, 1},
};

static const struct kms *kms;
static struct fake_service fake;

static void start_fake(void)
{
    kms->start(&fake);
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

static void make_token(void)
{
    static const struct kms_settings settings = {.deadline_ms = 20000};
    kms->reset(&fake);
    kms->configure(&fake, &settings);
    many_keys_make(&fake, kms->before);
}

/* Each key was had, by as few requests as there can be beside those that were throttled. */
static void assert_all_open(const char *name, int keys_a_request, int other_requests)
{
    CK_SESSION_HANDLE session = many_keys_log_in(&fake, name, RATE);
    ck_assert_str_eq(many_keys_errors(), "");
    ck_assert_int_eq(many_keys_count_shown(session), MANY_KEYS);
    ck_assert_int_le(fake_service_count(&fake, "connections"),
                     CONNECTIONS_MAX + kms->other_connections);
    ck_assert_int_eq(fake_service_count(&fake, "requests") - fake_service_count(&fake, "throttled"),
                     (MANY_KEYS + keys_a_request - 1) / keys_a_request + other_requests);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}

START_TEST(a_thousand_under_a_rate_limit)
{
    make_token();
    assert_all_open(kms->name, kms->keys_a_request, kms->other_requests);
}
END_TEST

/* What stands before Vault takes no request as long as a batch is. */
START_TEST(a_thousand_one_by_one)
{
    make_token();
    fake_service_command(&fake, "%s", HANDLER("\"no_batches\""));
    assert_all_open("vault, without batches", 1, 1 + (MANY_KEYS + 127) / 128);
}
END_TEST

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < COUNT_OF(all); i++)
        kms = strcmp(all[i].name, argv[1]) == 0 ? &all[i] : kms;
    if (kms == NULL) {
        (void) fprintf(stderr, "usage: test_many_keys SOURCE\n");
        return 2;
    }
    TCase *cases = tcase_create("many keys");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_test(cases, a_thousand_under_a_rate_limit);
    if (strcmp(kms->name, "vault") == 0)
        tcase_add_test(cases, a_thousand_one_by_one);
    return fixture_run("a thousand direct keys", cases);
}
