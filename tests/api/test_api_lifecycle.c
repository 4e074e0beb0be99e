/* States of keys: every state, every use, every kind of key, and what is copied or derived. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/api/lifecycle_fixture.h"

#define HOUR_MS (INT64_C(3600) * 1000)
#define SEEN_US (120 * 1000)

static CK_BBOOL yes = CK_TRUE;

static void open_token(void)
{
    api_open(&api, NULL, NULL);
    lifecycle_make_keys();
}

static void close_token(void)
{
    clock_shift(0);
    api_close(&api);
}

static CK_ULONG now_s(void)
{
    return (CK_ULONG) clock_utc_s();
}

/* Ways into a state. */
struct way {
    const char *name;
    CK_ULONG states[4]; /* one after the other; 0: no more */
    long activation;    /* from now, in seconds; 0: none */
    long deactivation;
    int64_t shift_ms; /* after that */
    CK_ULONG wanted;
};

static const struct way ways[] = {
    {"untouched", {0}, 0, 0, 0, INDEXKEY_STATE_ACTIVE},
    {"suspended", {INDEXKEY_STATE_SUSPENDED}, 0, 0, 0, INDEXKEY_STATE_SUSPENDED},
    {"resumed", {INDEXKEY_STATE_SUSPENDED, INDEXKEY_STATE_ACTIVE}, 0, 0, 0, INDEXKEY_STATE_ACTIVE},
    {"deactivated", {INDEXKEY_STATE_DEACTIVATED}, 0, 0, 0, INDEXKEY_STATE_DEACTIVATED},
    {"deactivated and suspended",
     {INDEXKEY_STATE_DEACTIVATED, INDEXKEY_STATE_SUSPENDED},
     0,
     0,
     0,
     INDEXKEY_STATE_SUSPENDED},
    {"deactivated, suspended and resumed",
     {INDEXKEY_STATE_DEACTIVATED, INDEXKEY_STATE_SUSPENDED, INDEXKEY_STATE_ACTIVE},
     0,
     0,
     0,
     INDEXKEY_STATE_DEACTIVATED},
    {"compromised", {INDEXKEY_STATE_COMPROMISED}, 0, 0, 0, INDEXKEY_STATE_COMPROMISED},
    {"not yet active", {0}, 1800, 0, 0, INDEXKEY_STATE_PRE_ACTIVE},
    {"active since its time", {0}, 1800, 7200, HOUR_MS, INDEXKEY_STATE_ACTIVE},
    {"no longer active", {0}, 0, 1800, HOUR_MS, INDEXKEY_STATE_DEACTIVATED},
    {"not yet active and suspended",
     {INDEXKEY_STATE_SUSPENDED},
     1800,
     0,
     0,
     INDEXKEY_STATE_SUSPENDED},
};

static CK_RV go(const struct way *way, CK_OBJECT_HANDLE key)
{
    CK_ULONG activation = way->activation == 0 ? 0 : now_s() + (CK_ULONG) way->activation;
    CK_ULONG deactivation = way->deactivation == 0 ? 0 : now_s() + (CK_ULONG) way->deactivation;
    CK_RV rv = CKR_OK;

    if (activation != 0 || deactivation != 0)
        rv = admin_key_set_times(api.session, key, &activation, &deactivation);
    for (int i = 0; rv == CKR_OK && i < 4 && way->states[i] != 0; i++)
        rv = admin_key_set_state(api.session, key, way->states[i]);
    return rv;
}

START_TEST(every_state_decides_every_use)
{
    const struct way *way = &ways[_i];
    struct subject subjects[SUBJECTS_MAX];

    for (enum governor governor = 0; governor < GOVERNORS; governor++) {
        clock_shift(0);
        size_t count = lifecycle_subjects(governor, subjects);
        lifecycle_expect(subjects, count, INDEXKEY_STATE_ACTIVE, "before");
        OK(go(way, subjects[0].key));
        clock_shift(way->shift_ms);
        lifecycle_expect(subjects, count, way->wanted, way->name);
    }
    clock_shift(0);
    api_restart(&api);
    clock_shift(way->shift_ms);
    for (enum governor governor = 0; governor < GOVERNORS; governor++) {
        CK_OBJECT_HANDLE key = lifecycle_governor(governor);
        ck_assert_uint_eq(lifecycle_number(key, CKA_INDEXKEY_STATE), way->wanted);
        /* What can be made of it now follows it from the beginning. */
        if (lifecycle_wanted(&(struct subject){"", FORM_INDEX, false, 0}, USE_DERIVE,
                             way->wanted) != CKR_OK)
            continue;
        size_t count = lifecycle_subjects(governor, subjects);
        lifecycle_expect(subjects, count, way->wanted, "after the restart");
    }
}
END_TEST

/* The other process: goes each way with a key when it is told which. */
static int obey(int orders, int answers)
{
    char order[2];

    if (api.p11->C_Initialize(NULL) != CKR_OK)
        return 1;
    api_login(&api);
    while (read(orders, order, 2) == 2) {
        CK_RV rv = go(&ways[(int) order[0]], lifecycle_governor((enum governor) order[1]));
        if (rv != CKR_OK || write(answers, order, 1) != 1)
            return 1;
    }
    return api.p11->C_Finalize(NULL) == CKR_OK ? 0 : 1;
}

struct other {
    pid_t process;
    int orders;
    int answers;
};

/* The library is down while it is forked. */
static struct other start_other(void)
{
    int orders[2];
    int answers[2];
    struct other other;

    OK(api.p11->C_Finalize(NULL));
    ck_assert_int_eq(pipe(orders) | pipe(answers), 0);
    other.process = fork();
    if (other.process == 0) {
        alarm(100);
        close(orders[1]);
        _exit(obey(orders[0], answers[1]));
    }
    close(orders[0]);
    close(answers[1]);
    other.orders = orders[1];
    other.answers = answers[0];
    OK(api.p11->C_Initialize(NULL));
    api_login(&api);
    return other;
}

static void order(const struct other *other, int way, enum governor governor)
{
    char text[2] = {(char) way, (char) governor};

    ck_assert_int_eq(write(other->orders, text, 2), 2);
    ck_assert_int_eq(read(other->answers, text, 1), 1);
    usleep(SEEN_US);
}

static void end_other(const struct other *other)
{
    int status;

    close(other->orders);
    ck_assert_int_eq(waitpid(other->process, &status, 0), other->process);
    ck_assert_int_eq(status, 0);
    close(other->answers);
}

START_TEST(another_process_decides)
{
    const struct way *way = &ways[_i];
    struct subject subjects[SUBJECTS_MAX];
    struct other other = start_other();

    for (enum governor governor = 0; governor < GOVERNORS; governor++) {
        clock_shift(0);
        size_t count = lifecycle_subjects(governor, subjects);
        lifecycle_expect(subjects, count, INDEXKEY_STATE_ACTIVE, "before");
        order(&other, _i, governor);
        clock_shift(way->shift_ms);
        lifecycle_expect(subjects, count, way->wanted, way->name);
    }
    end_other(&other);
}
END_TEST

/* A key that a session has in use, or keeps from its last use. */
START_TEST(operations_under_way_end)
{
    CK_OBJECT_HANDLE key = lifecycle_find("index/payload");
    CK_BYTE iv[12] = {0};
    CK_GCM_PARAMS params = {iv, sizeof(iv), 96, NULL, 0, 128};
    CK_MECHANISM gcm = {CKM_AES_GCM, &params, sizeof(params)};
    CK_MECHANISM message = {CKM_AES_GCM, NULL, 0};
    CK_BYTE part[16] = {0};
    CK_BYTE out[64];
    CK_ULONG len = sizeof(out);
    CK_GCM_MESSAGE_PARAMS one = {iv, sizeof(iv), 0, CKG_NO_GENERATE, out + 32, 128};

    OK(api.p11->C_EncryptInit(api.session, &gcm, key));
    OK(api.p11->C_EncryptUpdate(api.session, part, sizeof(part), out, &len));
    OK(api.p11->C_DecryptInit(api.session, &gcm, key));
    OK(api.p11->C_MessageEncryptInit(api.session, &message, key));
    lifecycle_set_state(lifecycle_governor(GOVERNOR_INDEX), INDEXKEY_STATE_DEACTIVATED);
    len = sizeof(out);
    EXPECT(CKR_OPERATION_NOT_INITIALIZED,
           api.p11->C_EncryptUpdate(api.session, part, sizeof(part), out, &len));
    len = 16;
    EXPECT(CKR_OPERATION_NOT_INITIALIZED,
           api.p11->C_EncryptMessage(api.session, &one, sizeof(one), NULL, 0, part, 16, out, &len));
    /* What may go on goes on. */
    len = sizeof(out);
    OK(api.p11->C_DecryptUpdate(api.session, part, sizeof(part), out, &len));
    lifecycle_set_state(lifecycle_governor(GOVERNOR_INDEX), INDEXKEY_STATE_SUSPENDED);
    EXPECT(CKR_OPERATION_NOT_INITIALIZED,
           api.p11->C_DecryptUpdate(api.session, part, sizeof(part), out, &len));
}
END_TEST

/* The same key and mechanism as last time is the short way through C_EncryptInit. */
START_TEST(kept_keys_are_watched)
{
    CK_OBJECT_HANDLE key = lifecycle_governor(GOVERNOR_AES);
    CK_OBJECT_HANDLE copy;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE session_object = {CKA_TOKEN, &no, 1};
    CK_ULONG end = now_s() + 1800;
    CK_BYTE text[32] = "until the time has come";
    CK_BYTE sealed[48];

    OK(api.p11->C_CopyObject(api.session, key, &session_object, 1, &copy));
    OK(lifecycle_encrypt(copy, 1, text, sealed));
    OK(admin_key_set_times(api.session, key, NULL, &end));
    OK(lifecycle_encrypt(copy, 2, text, sealed));
    clock_shift(HOUR_MS);
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, lifecycle_encrypt(copy, 3, text, sealed));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, lifecycle_encrypt(key, 3, text, sealed));
    ck_assert(lifecycle_decrypts(copy, 2, sealed, text));
    ck_assert(lifecycle_decrypts(key, 2, sealed, text));
}
END_TEST

/* A copy or a derived key in the token has a state of its own: the one of what it comes from. */
START_TEST(no_state_is_shed)
{
    CK_OBJECT_HANDLE aes = lifecycle_governor(GOVERNOR_AES);
    CK_OBJECT_HANDLE index = lifecycle_governor(GOVERNOR_INDEX);
    CK_ATTRIBUTE token[] = {{CKA_TOKEN, &yes, 1}, {CKA_LABEL, "kept", 4}};
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE session_object = {CKA_TOKEN, &no, 1};
    struct indexkey_kdf kdf;
    struct indexkey_template template;
    CK_OBJECT_HANDLE copy;
    CK_OBJECT_HANDLE derived;

    OK(api.p11->C_CopyObject(api.session, aes, &session_object, 1, &copy));
    for (CK_ULONG state = INDEXKEY_STATE_SUSPENDED; state <= INDEXKEY_STATE_COMPROMISED; state++) {
        CK_OBJECT_HANDLE sources[] = {aes, copy};
        lifecycle_set_state(aes, state);
        for (size_t i = 0; i < COUNT(sources); i++) {
            CK_OBJECT_HANDLE kept;
            OK(api.p11->C_CopyObject(api.session, sources[i], token, 2, &kept));
            ck_assert_uint_eq(lifecycle_number(kept, CKA_INDEXKEY_STATE), state);
            ck_assert_uint_eq(lifecycle_number(kept, CKA_INDEXKEY_VERSION), 1);
            api_restart(&api);
            ck_assert_uint_eq(lifecycle_number(lifecycle_find("kept"), CKA_INDEXKEY_STATE), state);
            OK(api.p11->C_DestroyObject(api.session, lifecycle_find("kept")));
            aes = sources[0] = lifecycle_governor(GOVERNOR_AES);
            OK(api.p11->C_CopyObject(api.session, aes, &session_object, 1, &copy));
            sources[1] = copy;
        }
    }
    index = lifecycle_governor(GOVERNOR_INDEX);
    lifecycle_set_state(index, INDEXKEY_STATE_DEACTIVATED);
    OK(indexkey_kdf_make(INDEXKEY_PURPOSE_PAYLOAD, &kdf));
    OK(indexkey_template_make(INDEXKEY_PURPOSE_PAYLOAD, &template));
    template.no = CK_FALSE;
    template.attributes[3].pValue = &yes; /* CKA_TOKEN */
    OK(api.p11->C_DeriveKey(api.session, &kdf.mechanism, index, template.attributes, template.count,
                            &derived));
    ck_assert_uint_eq(lifecycle_number(derived, CKA_INDEXKEY_STATE), INDEXKEY_STATE_DEACTIVATED);
}
END_TEST

/* Two keys that enter a derivation: each can forbid. */
START_TEST(every_key_that_enters_counts)
{
    CK_BYTE value[32] = "joined";
    CK_MECHANISM_TYPE only = CKM_CONCATENATE_BASE_AND_KEY;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
    CK_OBJECT_HANDLE keys[2];
    CK_OBJECT_HANDLE joined;

    for (int i = 0; i < 2; i++) {
        CK_ATTRIBUTE template[] = {
            {CKA_CLASS, &class, sizeof(class)},
            {CKA_KEY_TYPE, &generic, sizeof(generic)},
            {CKA_VALUE, value, sizeof(value)},
            {CKA_TOKEN, &yes, 1},
            {CKA_DERIVE, &yes, 1},
            {CKA_ALLOWED_MECHANISMS, &only, sizeof(only)},
        };
        value[31] = (CK_BYTE) i;
        OK(api.p11->C_CreateObject(api.session, template, COUNT(template), &keys[i]));
    }
    CK_MECHANISM mechanism = {only, &keys[1], sizeof(keys[1])};
    CK_ATTRIBUTE template[] = {{CKA_DERIVE, &yes, 1},
                               {CKA_ALLOWED_MECHANISMS, &only, sizeof(only)}};
    OK(api.p11->C_DeriveKey(api.session, &mechanism, keys[0], template, COUNT(template), &joined));
    for (int i = 0; i < 2; i++) {
        lifecycle_set_state(keys[i], INDEXKEY_STATE_SUSPENDED);
        ck_assert_uint_eq(lifecycle_number(joined, CKA_INDEXKEY_STATE), INDEXKEY_STATE_SUSPENDED);
        CK_MECHANISM with_joined = {only, &joined, sizeof(joined)};
        EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED,
               api.p11->C_DeriveKey(api.session, &with_joined, keys[1 - i], template,
                                    COUNT(template), &joined));
        lifecycle_set_state(keys[i], INDEXKEY_STATE_ACTIVE);
        ck_assert_uint_eq(lifecycle_number(joined, CKA_INDEXKEY_STATE), INDEXKEY_STATE_ACTIVE);
    }
    /* One has ended, the other has not begun: the second says more. */
    CK_ULONG later = (CK_ULONG) clock_utc_s() + 3600;
    OK(admin_key_set_times(api.session, keys[1], &later, NULL));
    lifecycle_set_state(keys[0], INDEXKEY_STATE_DEACTIVATED);
    ck_assert_uint_eq(lifecycle_number(joined, CKA_INDEXKEY_STATE), INDEXKEY_STATE_PRE_ACTIVE);
    CK_ATTRIBUTE into_token = {CKA_TOKEN, &yes, 1};
    EXPECT(CKR_ACTION_PROHIBITED,
           api.p11->C_CopyObject(api.session, joined, &into_token, 1, &keys[0]));
    /* And what is gone is no source any more. */
    OK(api.p11->C_DestroyObject(api.session, keys[1]));
    ck_assert_uint_eq(lifecycle_number(joined, CKA_INDEXKEY_STATE), INDEXKEY_STATE_DESTROY_PENDING);
    CK_ATTRIBUTE token = {CKA_TOKEN, &yes, 1};
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_CopyObject(api.session, joined, &token, 1, &keys[1]));
}
END_TEST

/* A key that leaves would come back without its state. */
START_TEST(a_suspended_key_is_not_wrapped)
{
    CK_MECHANISM key_gen = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_MECHANISM kwp = {CKM_AES_KEY_WRAP_KWP, NULL, 0};
    CK_ULONG len_32 = 32;
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &len_32, sizeof(len_32)},
                               {CKA_SIGN, &yes, 1},
                               {CKA_TOKEN, &yes, 1},
                               {CKA_EXTRACTABLE, &yes, 1}};
    CK_OBJECT_HANDLE key;
    CK_BYTE out[64];
    CK_ULONG len = sizeof(out);

    close_token();
    api_open(&api, NULL, "relax = token-keys-stay-inside");
    lifecycle_make_keys();
    OK(api.p11->C_GenerateKey(api.session, &key_gen, template, COUNT(template), &key));
    CK_OBJECT_HANDLE wrapping = lifecycle_governor(GOVERNOR_WRAP);
    OK(api.p11->C_WrapKey(api.session, &kwp, wrapping, key, out, &len));
    for (CK_ULONG state = INDEXKEY_STATE_SUSPENDED; state <= INDEXKEY_STATE_COMPROMISED; state++) {
        lifecycle_set_state(key, state);
        len = sizeof(out);
        EXPECT(CKR_KEY_NOT_WRAPPABLE,
               api.p11->C_WrapKey(api.session, &kwp, wrapping, key, out, &len));
    }
}
END_TEST

START_TEST(ways_that_there_are_not)
{
    CK_OBJECT_HANDLE key = lifecycle_governor(GOVERNOR_AES);
    CK_OBJECT_HANDLE subkey = lifecycle_find("index/token");
    CK_OBJECT_HANDLE made = api_make_aes_key(&api, false, "session");
    CK_SESSION_HANDLE reader;
    CK_ULONG early = now_s() + 100;
    CK_ULONG late = now_s() + 200;
    CK_ULONG number = INDEXKEY_STATE_ACTIVE;
    CK_ATTRIBUTE state = {CKA_INDEXKEY_STATE, &number, sizeof(number)};

    EXPECT(CKR_ARGUMENTS_BAD, admin_key_set_state(api.session, key, INDEXKEY_STATE_PRE_ACTIVE));
    EXPECT(CKR_ARGUMENTS_BAD,
           admin_key_set_state(api.session, key, INDEXKEY_STATE_DESTROY_PENDING));
    EXPECT(CKR_ARGUMENTS_BAD, admin_key_set_times(api.session, key, &late, &early));
    EXPECT(CKR_ARGUMENTS_BAD, admin_key_set_times(api.session, key, &late, &late));
    EXPECT(CKR_ACTION_PROHIBITED,
           admin_key_set_state(api.session, subkey, INDEXKEY_STATE_SUSPENDED));
    EXPECT(CKR_ACTION_PROHIBITED, admin_key_set_state(api.session, made, INDEXKEY_STATE_SUSPENDED));
    EXPECT(CKR_OBJECT_HANDLE_INVALID,
           admin_key_set_state(api.session, 12345678, INDEXKEY_STATE_SUSPENDED));
    OK(admin_key_set_state(api.session, key, INDEXKEY_STATE_COMPROMISED));
    OK(admin_key_set_state(api.session, key, INDEXKEY_STATE_COMPROMISED));
    EXPECT(CKR_ACTION_PROHIBITED, admin_key_set_state(api.session, key, INDEXKEY_STATE_ACTIVE));
    EXPECT(CKR_ACTION_PROHIBITED, admin_key_set_state(api.session, key, INDEXKEY_STATE_SUSPENDED));
    EXPECT(CKR_ACTION_PROHIBITED,
           admin_key_set_state(api.session, key, INDEXKEY_STATE_DEACTIVATED));
    EXPECT(CKR_ACTION_PROHIBITED, admin_key_set_times(api.session, key, &early, &late));
    EXPECT(CKR_ATTRIBUTE_READ_ONLY, api.p11->C_SetAttributeValue(api.session, key, &state, 1));
    EXPECT(CKR_ATTRIBUTE_READ_ONLY, api.p11->C_CopyObject(api.session, key, &state, 1, &made));
    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION, NULL, NULL, &reader));
    EXPECT(CKR_SESSION_READ_ONLY, admin_key_set_state(reader, key, INDEXKEY_STATE_SUSPENDED));
    EXPECT(CKR_SESSION_READ_ONLY, admin_key_set_times(reader, key, &early, &late));
    EXPECT(CKR_SESSION_READ_ONLY, admin_key_set_hold(reader, key, true));
    EXPECT(CKR_SESSION_READ_ONLY, admin_key_rotate(reader, key, &made));
    OK(api.p11->C_Logout(api.session));
    EXPECT(CKR_USER_NOT_LOGGED_IN, admin_key_set_state(api.session, key, INDEXKEY_STATE_SUSPENDED));
    EXPECT(CKR_SESSION_HANDLE_INVALID, admin_key_set_hold(0, key, true));
}
END_TEST

START_TEST(states_are_attributes)
{
    CK_OBJECT_HANDLE key = lifecycle_governor(GOVERNOR_INDEX);
    CK_OBJECT_HANDLE subkey = lifecycle_find("index/item");
    CK_ULONG wanted = INDEXKEY_STATE_SUSPENDED;
    CK_ATTRIBUTE search = {CKA_INDEXKEY_STATE, &wanted, sizeof(wanted)};
    CK_ULONG times[2] = {now_s() - 100, now_s() + 100};
    CK_BYTE lines[2][INDEXKEY_LINE_LEN];
    CK_BBOOL hold = CK_TRUE;
    CK_ATTRIBUTE line = {CKA_INDEXKEY_LINE, lines[0], INDEXKEY_LINE_LEN};
    CK_ATTRIBUTE held = {CKA_INDEXKEY_HOLD, &hold, 1};

    ck_assert_uint_eq(lifecycle_number(key, CKA_INDEXKEY_VERSION), 1);
    ck_assert_uint_eq(lifecycle_number(key, CKA_INDEXKEY_DESTROY_AT), 0);
    OK(api.p11->C_GetAttributeValue(api.session, key, &held, 1));
    ck_assert(!hold);
    OK(api.p11->C_GetAttributeValue(api.session, key, &line, 1));
    line.pValue = lines[1];
    OK(api.p11->C_GetAttributeValue(api.session, subkey, &line, 1));
    ck_assert_mem_eq(lines[0], lines[1], INDEXKEY_LINE_LEN);
    OK(admin_key_set_times(api.session, key, &times[0], &times[1]));
    ck_assert_uint_eq(lifecycle_number(key, CKA_INDEXKEY_ACTIVATION), times[0]);
    subkey = lifecycle_find("index/item");
    ck_assert_uint_eq(lifecycle_number(subkey, CKA_INDEXKEY_DEACTIVATION), times[1]);
    ck_assert_uint_eq(api_count(&api, &search, 1), 0);
    lifecycle_set_state(key, INDEXKEY_STATE_SUSPENDED);
    ck_assert_uint_eq(api_count(&api, &search, 1), 1 + INDEXKEY_PURPOSE_COUNT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("life cycle");
    TCase *states = tcase_create("states");

    tcase_add_checked_fixture(states, open_token, close_token);
    tcase_set_timeout(states, 120);
    tcase_add_loop_test(states, every_state_decides_every_use, 0, COUNT(ways));
    tcase_add_loop_test(states, another_process_decides, 0, COUNT(ways));
    tcase_add_test(states, operations_under_way_end);
    tcase_add_test(states, kept_keys_are_watched);
    tcase_add_test(states, no_state_is_shed);
    tcase_add_test(states, every_key_that_enters_counts);
    tcase_add_test(states, a_suspended_key_is_not_wrapped);
    tcase_add_test(states, ways_that_there_are_not);
    tcase_add_test(states, states_are_attributes);
    suite_add_tcase(suite, states);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
