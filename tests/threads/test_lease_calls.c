/* The lease as an application meets it: renewals nobody notices, a denial that acts as C_Logout, an
 * outage that is ridden out, and a C_Login that heals. The clocks are the test's. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "include/indexkey.h"
#include "tests/support/api_fixture.h"
#include "tests/threads/crew.h"
#include "tests/threads/work.h"

#define LEASE_MS (60 * 1000L)
#define GRACE_MS (600 * 1000L)
#define CONF "lease = 60s\ngrace = 10m\n"

static struct api api;
static char key_file[96];
static char put_away[96];
static int64_t now_ms;

static void pass(int64_t ms)
{
    now_ms += ms;
    clock_shift(now_ms);
}

static void begin(void)
{
    now_ms = 0;
    api_open(&api, NULL, CONF);
    api_import_index_key(&api, WORK_LABEL, work_index_key);
    snprintf(key_file, sizeof(key_file), "%s/root.key", api.folder);
    snprintf(put_away, sizeof(put_away), "%s/root.away", api.folder);
}

static void end(void)
{
    clock_shift(0);
    api_close(&api);
}

static void remove_key(void)
{
    ck_assert_int_eq(rename(key_file, put_away), 0);
}

static void restore_key(void)
{
    ck_assert_int_eq(rename(put_away, key_file), 0);
}

/* A socket in its place cannot be opened (ENXIO), as on a disk with errors. Nobody has said no. */
static void break_key(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    remove_key();
    ck_assert_uint_lt(strlen(key_file), sizeof(address.sun_path));
    strcpy(address.sun_path, key_file);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
    close(fd);
}

static void mend_key(void)
{
    ck_assert_int_eq(unlink(key_file), 0);
    restore_key();
}

static CK_SESSION_INFO session_info(void)
{
    CK_SESSION_INFO info;

    OK(api.p11->C_GetSessionInfo(api.session, &info));
    return info;
}

static void check_works(void)
{
    struct work work = {.p11 = api.p11, .session = api.session, .call = "none"};

    api_find(&api, WORK_LABEL);
    api_expect(work_subkeys(&work), CKR_OK, work.call);
    ck_assert_uint_eq(session_info().state, CKS_RW_USER_FUNCTIONS);
}

static CK_RV encrypt_init(CK_OBJECT_HANDLE key)
{
    static CK_BYTE iv[12] = {4};
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = sizeof(iv), .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};

    return api.p11->C_EncryptInit(api.session, &mechanism, key);
}

/* As after C_Logout. */
static void check_logged_out(CK_OBJECT_HANDLE key)
{
    CK_ATTRIBUTE label = {CKA_LABEL, NULL, 0};
    CK_ATTRIBUTE wanted = {CKA_LABEL, WORK_LABEL, strlen(WORK_LABEL)};

    ck_assert_uint_eq(session_info().state, CKS_RW_PUBLIC_SESSION);
    EXPECT(CKR_KEY_HANDLE_INVALID, encrypt_init(key));
    EXPECT(CKR_OBJECT_HANDLE_INVALID, api.p11->C_GetAttributeValue(api.session, key, &label, 1));
    ck_assert_uint_eq(api_count(&api, &wanted, 1), 0);
    EXPECT(CKR_USER_NOT_LOGGED_IN, api.p11->C_Logout(api.session));
}

static CK_RV log_in(void)
{
    return api.p11->C_Login(api.session, CKU_USER, (CK_UTF8CHAR *) API_USER_PIN,
                            strlen(API_USER_PIN));
}

START_TEST(a_call_renews)
{
    begin();
    for (int i = 0; i < 20; i++) {
        pass(LEASE_MS + 1000);
        check_works();
    }
    /* Without a renewal just now this would be beyond lease and grace. */
    remove_key();
    pass(LEASE_MS / 2);
    check_works();
    restore_key();
    end();
}
END_TEST

START_TEST(denial_acts_as_logout)
{
    CK_BYTE out[64];
    CK_ULONG len = sizeof(out);

    begin();
    CK_OBJECT_HANDLE key = api_find(&api, WORK_LABEL "/payload");
    OK(encrypt_init(key));
    remove_key();
    pass(LEASE_MS + 1000);
    /* The operation ends with the lease, in the first call after it. */
    EXPECT(CKR_OPERATION_NOT_INITIALIZED,
           api.p11->C_EncryptUpdate(api.session, (CK_BYTE *) "text", 4, out, &len));
    ck_assert_uint_eq(session_info().ulDeviceError, INDEXKEY_CAUSE_DELETED);
    check_logged_out(key);
    EXPECT(CKR_FUNCTION_FAILED, log_in());
    ck_assert_uint_eq(session_info().ulDeviceError, INDEXKEY_CAUSE_DELETED);
    restore_key();
    OK(log_in());
    EXPECT(CKR_KEY_HANDLE_INVALID, encrypt_init(key));
    check_works();
    end();
}
END_TEST

START_TEST(every_session_learns_of_a_denial)
{
    CK_SESSION_HANDLE others[3];
    CK_SESSION_INFO info;

    begin();
    for (size_t i = 0; i < 3; i++)
        OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION, NULL, NULL, &others[i]));
    remove_key();
    pass(LEASE_MS + 1000);
    for (size_t i = 0; i < 3; i++) {
        OK(api.p11->C_GetSessionInfo(others[i], &info));
        ck_assert_uint_eq(info.state, CKS_RO_PUBLIC_SESSION);
    }
    restore_key();
    OK(log_in());
    OK(api.p11->C_GetSessionInfo(others[0], &info));
    ck_assert_uint_eq(info.state, CKS_RO_USER_FUNCTIONS);
    end();
}
END_TEST

START_TEST(an_outage_is_ridden_out)
{
    begin();
    break_key();
    for (int64_t passed = 0; passed < GRACE_MS / 2; passed += LEASE_MS) {
        pass(LEASE_MS);
        check_works();
    }
    mend_key();
    pass(LEASE_MS + 1000); /* a retry is put off for a minute at most */
    check_works();
    /* It was renewed: another outage has all its grace. */
    break_key();
    pass(GRACE_MS);
    check_works();
    mend_key();
    end();
}
END_TEST

START_TEST(grace_ends)
{
    begin();
    CK_OBJECT_HANDLE key = api_find(&api, WORK_LABEL "/payload");
    break_key();
    pass(LEASE_MS + GRACE_MS + 1000);
    check_logged_out(key);
    EXPECT(CKR_DEVICE_ERROR, log_in());
    ck_assert_uint_eq(session_info().ulDeviceError, INDEXKEY_CAUSE_SERVER);
    mend_key();
    OK(log_in());
    check_works();
    end();
}
END_TEST

static void keep_busy(struct crew_member *member, void *context)
{
    struct work work = {.p11 = api.p11,
                        .slot = api.slot,
                        .seed = (unsigned int) member->number + 1,
                        .call = "none"};
    atomic_ulong *done = context;

    api_expect(work_open(&work, 0), CKR_OK, "C_OpenSession");
    while (crew_goes_on(member)) {
        api_expect(work_subkeys(&work), CKR_OK, work.call);
        atomic_fetch_add(done, 1);
    }
}

START_TEST(renewals_under_load)
{
    static struct crew crew;
    static atomic_ulong done;

    begin();
    crew_start(&crew, 4, keep_busy, &done);
    for (int i = 0; i < 20; i++) {
        crew_sleep_ms(20);
        pass(LEASE_MS + (i % 2) * (GRACE_MS + 1000));
    }
    crew_run(&crew, 20);
    ck_assert_uint_gt(atomic_load(&done), 20);
    end();
}
END_TEST

static void use_or_lose(struct crew_member *member, void *context)
{
    struct work work = {.p11 = api.p11,
                        .slot = api.slot,
                        .seed = (unsigned int) member->number + 1,
                        .call = "none"};

    (void) context;
    api_expect(work_open(&work, 0), CKR_OK, "C_OpenSession");
    while (crew_goes_on(member)) {
        CK_RV rv = work_subkeys(&work);
        ck_assert_msg(rv == CKR_OK || work_is_loss(&work, rv), "%s: 0x%lx", work.call, rv);
    }
}

/* A login right after a denial stays: the threads that learned of the denial late leave it alone.
 */
START_TEST(denials_under_load)
{
    static struct crew crew;

    begin();
    crew_start(&crew, 4, use_or_lose, NULL);
    for (int i = 0; i < 15; i++) {
        remove_key();
        pass(LEASE_MS + 1000);
        while (session_info().state != CKS_RW_PUBLIC_SESSION)
            crew_sleep_ms(1);
        restore_key();
        OK(log_in());
        ck_assert_uint_eq(session_info().state, CKS_RW_USER_FUNCTIONS);
        check_works();
    }
    crew_run(&crew, 0);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lease");
    TCase *tests = tcase_create("lease");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, a_call_renews);
    tcase_add_test(tests, denial_acts_as_logout);
    tcase_add_test(tests, every_session_learns_of_a_denial);
    tcase_add_test(tests, an_outage_is_ridden_out);
    tcase_add_test(tests, grace_ends);
    tcase_add_test(tests, renewals_under_load);
    tcase_add_test(tests, denials_under_load);
    tcase_set_timeout(tests, 120);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
