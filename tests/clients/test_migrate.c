/* An index key that goes as a whole to a module that derives (other_hsm.h), and what is checked
 * there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/rv.h"
#include "tests/clients/other_hsm.h"
#include "tests/support/api_fixture.h"
#include "tools/migrate.h"

static struct api api;
static char folder[64];
static CK_FUNCTION_LIST *other;
static CK_SESSION_HANDLE other_session;
static struct provision_job job;

static CK_BBOOL yes = CK_TRUE;

static void open_both(void)
{
    char conf[128];
    char fingerprint[65];
    char lines[128];
    char key[128];

    snprintf(folder, sizeof(folder), "/tmp/indexkey-other-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(conf, sizeof(conf), "%s/indexkey.conf", folder);
    snprintf(key, sizeof(key), "%s/root.key", folder);
    FILE *file = fopen(conf, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "[token other]\nsource = file\nkey_file = %s\nstore = memory:\n", key);
    ck_assert_int_eq(fclose(file), 0);
    file = fopen(key, "w");
    ck_assert_ptr_nonnull(file);
    fputs("IB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=\n", file);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(conf, 0600), 0);
    ck_assert_int_eq(chmod(key, 0600), 0);
    other_hsm_open(conf, &other, &other_session);
    other_hsm_fingerprint(fingerprint);
    snprintf(lines, sizeof(lines), "migrate_to = sha256:%s\n", fingerprint);
    api_open(&api, "memory:", lines);
    (void) api_make_index_key(&api, "customers", 0x42);
    job = (struct provision_job){
        .from = {"this token", (const CK_FUNCTION_LIST *) api.p11, api.session},
        .to = {"the other module", other, other_session},
        .label = "customers",
        .rsa_label = OTHER_HSM_LABEL,
    };
}

static void close_both(void)
{
    char command[128];

    api_close(&api);
    other_hsm_close();
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(an_index_key_moves_whole)
{
    CK_BBOOL extractable = CK_TRUE;
    CK_BBOOL derives = CK_FALSE;
    CK_BBOOL signs = CK_TRUE;
    CK_BYTE id[4];
    CK_ATTRIBUTE template[] = {
        {CKA_EXTRACTABLE, &extractable, 1},
        {CKA_DERIVE, &derives, 1},
        {CKA_SIGN, &signs, 1},
        {CKA_ID, id, sizeof(id)},
    };
    CK_OBJECT_HANDLE there;

    OK(migrate_transfer(&job));
    OK(migrate_check(&job));
    /* Its subkeys are there too. */
    OK(provision_check(&job));
    OK(peer_find(&job.to, CKO_SECRET_KEY, "customers", &there));
    OK(other->C_GetAttributeValue(other_session, there, template, 4));
    ck_assert(!extractable && derives && !signs);
    ck_assert_uint_eq(template[3].ulValueLen, 1);
    ck_assert_uint_eq(id[0], 0x42);
    /* What is there is not written over. */
    EXPECT(CKR_FUNCTION_REJECTED, migrate_transfer(&job));
}
END_TEST

START_TEST(another_key_is_noticed)
{
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, 1}, {CKA_LABEL, "customers", 9}, {CKA_VALUE_LEN, &len, sizeof(len)}};
    CK_OBJECT_HANDLE key;

    EXPECT(CKR_OBJECT_HANDLE_INVALID, migrate_check(&job));
    OK(other->C_GenerateKey(other_session, &mechanism, template, 3, &key));
    EXPECT(CKR_FUNCTION_FAILED, migrate_check(&job));
    EXPECT(CKR_FUNCTION_FAILED, provision_check(&job));
}
END_TEST

/* No session key of a check stays. */
START_TEST(a_check_leaves_nothing)
{
    CK_ULONG before = api_count(&api, NULL, 0);

    OK(migrate_transfer(&job));
    OK(migrate_check(&job));
    ck_assert_uint_eq(api_count(&api, NULL, 0), before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("migrate");
    TCase *cases = tcase_create("migrate");

    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, open_both, close_both);
    tcase_add_test(cases, an_index_key_moves_whole);
    tcase_add_test(cases, another_key_is_noticed);
    tcase_add_test(cases, a_check_leaves_nothing);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
