/* Rotation of keys: versions, labels, races, and what a hold keeps. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/lifecycle_fixture.h"
#include "tests/threads/crew.h"

#define RACERS 16
#define RACE_PROCESSES 4
#define RACE_ROUNDS 6

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

/* SQLite, or the store of the server that the test was started beside. */
static void open_token(void)
{
    const char *server = getenv("POSTGRES_STORE");
    char store[512];

    if (server != NULL)
        snprintf(store, sizeof(store), "%s&schema=versions_%ld", server, (long) getpid());
    api_open(&api, server == NULL ? NULL : store, NULL);
    lifecycle_make_keys();
}

static void close_token(void)
{
    api_close(&api);
}

static CK_OBJECT_HANDLE versioned(const char *label, CK_ULONG version, const char *purpose)
{
    char text[64];

    snprintf(text, sizeof(text), "%s@%lu%s", label, version, purpose);
    return lifecycle_find(text);
}

static const CK_BYTE text[32] = "what was written before";

/* Both versions as they must be after `label` was rotated. */
static void expect_rotated(const char *label, const struct lifecycle_identity *old_identity,
                           const struct lifecycle_identity *new_identity)
{
    CK_OBJECT_HANDLE old_key = versioned(label, 1, "");
    CK_OBJECT_HANDLE new_key = lifecycle_find(label);
    struct lifecycle_identity found_old = lifecycle_identify(old_key);
    struct lifecycle_identity found_new = lifecycle_identify(new_key);

    ck_assert_uint_eq(lifecycle_number(old_key, CKA_INDEXKEY_VERSION), 1);
    ck_assert_uint_eq(lifecycle_number(old_key, CKA_INDEXKEY_STATE), INDEXKEY_STATE_DEACTIVATED);
    ck_assert_uint_eq(lifecycle_number(new_key, CKA_INDEXKEY_VERSION), 2);
    ck_assert_uint_eq(lifecycle_number(new_key, CKA_INDEXKEY_STATE), INDEXKEY_STATE_ACTIVE);
    ck_assert_mem_eq(&found_old, old_identity, sizeof(found_old));
    ck_assert_mem_eq(&found_new, new_identity, sizeof(found_new));
    ck_assert_mem_eq(found_old.line, found_new.line, sizeof(found_old.line));
    ck_assert_uint_eq(found_new.id_len, 16);
    ck_assert_mem_ne(found_old.id, found_new.id, 16);
    ck_assert_mem_ne(found_old.unique_id, found_new.unique_id, 32);
}

START_TEST(a_rotated_index_key_has_two_versions)
{
    CK_OBJECT_HANDLE old_key = lifecycle_governor(GOVERNOR_INDEX);
    CK_OBJECT_HANDLE payload = lifecycle_find("index/payload");
    CK_OBJECT_HANDLE new_key;
    struct lifecycle_identity identities[2] = {lifecycle_identify(old_key)};
    CK_BYTE sealed[2][48];

    OK(lifecycle_encrypt(payload, 1, text, sealed[0]));
    OK(admin_key_rotate(api.session, old_key, &new_key));
    ck_assert_uint_eq(new_key, lifecycle_find("index"));
    ck_assert_uint_eq(old_key, versioned("index", 1, ""));
    identities[1] = lifecycle_identify(new_key);
    for (int restarts = 0; restarts < 2; restarts++) {
        expect_rotated("index", &identities[0], &identities[1]);
        CK_OBJECT_HANDLE old_payload = versioned("index", 1, "/payload");
        CK_OBJECT_HANDLE new_payload = lifecycle_find("index/payload");
        ck_assert(lifecycle_decrypts(old_payload, 1, sealed[0], text));
        ck_assert(!lifecycle_decrypts(new_payload, 1, sealed[0], text));
        EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, lifecycle_encrypt(old_payload, 2, text, sealed[1]));
        OK(lifecycle_encrypt(new_payload, (CK_BYTE) (3 + restarts), text, sealed[1]));
        ck_assert(lifecycle_decrypts(new_payload, (CK_BYTE) (3 + restarts), sealed[1], text));
        /* Search tokens of the old index are still made. */
        struct subject token = {"token", FORM_MAC, true, versioned("index", 1, "/token")};
        lifecycle_expect(&token, 1, INDEXKEY_STATE_DEACTIVATED, "old token subkey");
        api_restart(&api);
    }
}
END_TEST

static void expect_same(CK_OBJECT_HANDLE a, CK_OBJECT_HANDLE b, CK_ATTRIBUTE_TYPE type)
{
    CK_BYTE values[2][512];
    CK_ATTRIBUTE first = {type, values[0], sizeof(values[0])};
    CK_ATTRIBUTE second = {type, values[1], sizeof(values[1])};

    CK_RV rv = api.p11->C_GetAttributeValue(api.session, a, &first, 1);
    EXPECT(rv, api.p11->C_GetAttributeValue(api.session, b, &second, 1));
    ck_assert_uint_eq(first.ulValueLen, second.ulValueLen);
    if (rv == CKR_OK)
        ck_assert_mem_eq(values[0], values[1], first.ulValueLen);
}

static CK_BBOOL flag(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = 7;
    CK_ATTRIBUTE attribute = {type, &value, 1};

    OK(api.p11->C_GetAttributeValue(api.session, key, &attribute, 1));
    return value;
}

START_TEST(every_kind_of_key_rotates)
{
    static const CK_ATTRIBUTE_TYPE same[] = {
        CKA_CLASS,
        CKA_KEY_TYPE,
        CKA_VALUE_LEN,
        CKA_TOKEN,
        CKA_PRIVATE,
        CKA_SENSITIVE,
        CKA_ENCRYPT,
        CKA_DECRYPT,
        CKA_SIGN,
        CKA_VERIFY,
        CKA_WRAP,
        CKA_UNWRAP,
        CKA_DERIVE,
        CKA_COPYABLE,
        CKA_TRUSTED,
        CKA_MODIFIABLE,
        CKA_EXTRACTABLE,
        CKA_DESTROYABLE,
        CKA_KEY_GEN_MECHANISM,
        CKA_ALLOWED_MECHANISMS,
    };

    for (enum governor governor = 0; governor < GOVERNORS; governor++) {
        CK_OBJECT_HANDLE old_key = lifecycle_governor(governor);
        CK_OBJECT_HANDLE new_key;
        struct subject subjects[SUBJECTS_MAX];
        size_t count = lifecycle_subjects(governor, subjects);
        OK(admin_key_rotate(api.session, old_key, &new_key));
        for (size_t i = 0; i < COUNT(same); i++)
            expect_same(old_key, new_key, same[i]);
        ck_assert(flag(new_key, CKA_LOCAL) && flag(new_key, CKA_ALWAYS_SENSITIVE));
        ck_assert(flag(new_key, CKA_NEVER_EXTRACTABLE));
        lifecycle_expect(subjects, count, INDEXKEY_STATE_DEACTIVATED, "the old version");
        /* What a wrapping key makes is made by another now. */
        if (governor != GOVERNOR_WRAP) {
            count = lifecycle_subjects(governor, subjects);
            lifecycle_expect(subjects, count, INDEXKEY_STATE_ACTIVE, "the new version");
        }
    }
}
END_TEST

START_TEST(only_the_newest_version_rotates)
{
    CK_OBJECT_HANDLE first = lifecycle_governor(GOVERNOR_AES);
    CK_OBJECT_HANDLE second;
    CK_OBJECT_HANDLE third;
    CK_ATTRIBUTE renamed = {CKA_LABEL, "renamed", 7};

    lifecycle_set_state(first, INDEXKEY_STATE_COMPROMISED);
    OK(admin_key_rotate(api.session, first, &second));
    EXPECT(CKR_ACTION_PROHIBITED, admin_key_rotate(api.session, first, &third));
    OK(api.p11->C_SetAttributeValue(api.session, first, &renamed, 1));
    EXPECT(CKR_ACTION_PROHIBITED, admin_key_rotate(api.session, first, &third));
    ck_assert_uint_eq(lifecycle_number(first, CKA_INDEXKEY_STATE), INDEXKEY_STATE_COMPROMISED);
    OK(admin_key_rotate(api.session, second, &third));
    ck_assert_uint_eq(lifecycle_number(third, CKA_INDEXKEY_VERSION), 3);
    ck_assert_uint_eq(versioned("aes", 2, ""), second);
    ck_assert_mem_eq(lifecycle_identify(first).line, lifecycle_identify(third).line,
                     INDEXKEY_LINE_LEN);
    EXPECT(CKR_ACTION_PROHIBITED,
           admin_key_rotate(api.session, lifecycle_find("index/token"), &third));
    EXPECT(CKR_ARGUMENTS_BAD, admin_key_rotate(api.session, third, NULL));
    /* Version 2 has its number even when nothing newer is left. */
    OK(api.p11->C_DestroyObject(api.session, third));
    EXPECT(CKR_ACTION_PROHIBITED, admin_key_rotate(api.session, second, &third));
}
END_TEST

START_TEST(labels_of_versions_are_reserved)
{
    CK_OBJECT_HANDLE key = lifecycle_governor(GOVERNOR_AES);
    CK_OBJECT_HANDLE made;
    CK_ATTRIBUTE reserved = {CKA_LABEL, "key@12", 6};
    CK_ATTRIBUTE free_labels[] = {
        {CKA_LABEL, "key@", 4}, {CKA_LABEL, "key@1a", 6}, {CKA_LABEL, "key12", 5}};
    CK_ATTRIBUTE other_id = {CKA_ID, "new", 3};
    CK_ATTRIBUTE token = {CKA_TOKEN, &yes, 1};
    CK_ATTRIBUTE copied[] = {{CKA_TOKEN, &yes, 1}, {CKA_LABEL, "key@12", 6}};

    EXPECT(CKR_TEMPLATE_INCONSISTENT, api.p11->C_SetAttributeValue(api.session, key, &reserved, 1));
    EXPECT(CKR_TEMPLATE_INCONSISTENT, api.p11->C_CopyObject(api.session, key, copied, 2, &made));
    for (size_t i = 0; i < COUNT(free_labels); i++)
        OK(api.p11->C_SetAttributeValue(api.session, key, &free_labels[i], 1));
    OK(admin_key_rotate(api.session, key, &made));
    /* An older version keeps its label through other changes; a copy of it has no right to it. */
    OK(api.p11->C_SetAttributeValue(api.session, key, &other_id, 1));
    ck_assert_uint_eq(versioned("key12", 1, ""), key);
    EXPECT(CKR_TEMPLATE_INCONSISTENT, api.p11->C_CopyObject(api.session, key, &token, 1, &made));
}
END_TEST

/* One of many who rotate what they find. Whoever wins writes something with what was made. */
struct racer {
    CK_SESSION_HANDLE session;
    CK_ULONG won;
};

static CK_RV find_in(CK_SESSION_HANDLE session, const char *label, CK_OBJECT_HANDLE *ret_key)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};
    CK_ULONG found = 0;
    CK_RV rv = api.p11->C_FindObjectsInit(session, &template, 1);

    if (rv == CKR_OK)
        rv = api.p11->C_FindObjects(session, ret_key, 1, &found);
    if (rv == CKR_OK)
        rv = api.p11->C_FindObjectsFinal(session);
    return rv == CKR_OK && found == 0 ? CKR_OBJECT_HANDLE_INVALID : rv;
}

static void race(struct crew_member *member, void *context)
{
    struct racer *racer = (struct racer *) context + member->number;

    for (int i = 0; i < RACE_ROUNDS; i++) {
        CK_OBJECT_HANDLE key;
        CK_OBJECT_HANDLE made;
        /* Under a rotation a search finds the one or the other, never none. */
        REQUIRE(find_in(racer->session, "aes", &key) == CKR_OK);
        CK_RV rv = admin_key_rotate(racer->session, key, &made);
        REQUIRE_MSG(rv == CKR_OK || rv == CKR_OBJECT_HANDLE_INVALID || rv == CKR_ACTION_PROHIBITED,
                    "rotate: 0x%lx", rv);
        racer->won += rv == CKR_OK;
    }
}

/* Every version from 1 to the newest is there once, and opens what was written with its number. */
static CK_ULONG count_versions(const char *label)
{
    CK_ULONG newest = lifecycle_number(lifecycle_find(label), CKA_INDEXKEY_VERSION);
    struct lifecycle_identity identity = lifecycle_identify(lifecycle_find(label));

    for (CK_ULONG version = 1; version < newest; version++) {
        CK_OBJECT_HANDLE key = versioned(label, version, "");
        ck_assert_msg(key != 0, "version %lu is missing", version);
        ck_assert_uint_eq(lifecycle_number(key, CKA_INDEXKEY_VERSION), version);
        ck_assert_mem_eq(lifecycle_identify(key).line, identity.line, INDEXKEY_LINE_LEN);
    }
    CK_ATTRIBUTE line = {CKA_INDEXKEY_LINE, identity.line, sizeof(identity.line)};
    ck_assert_uint_eq(api_count(&api, &line, 1), newest);
    return newest;
}

START_TEST(of_threads_that_rotate_one_wins)
{
    struct crew crew = {0};
    struct racer racers[RACERS] = {{0, 0}};
    CK_ULONG won = 0;

    for (int i = 0; i < RACERS; i++)
        OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                  &racers[i].session));
    crew_start(&crew, RACERS, race, racers);
    crew_join(&crew);
    for (int i = 0; i < RACERS; i++)
        won += racers[i].won;
    ck_assert_uint_gt(won, 0);
    ck_assert_uint_eq(count_versions("aes"), won + 1);
    api_restart(&api);
    ck_assert_uint_eq(count_versions("aes"), won + 1);
}
END_TEST

/* What a process that won has written, for the one that reads. */
struct record {
    char label[16];
    CK_BYTE unique_id[32];
    CK_BYTE sealed[48];
};

static bool write_record(int out, const char *label, CK_OBJECT_HANDLE key)
{
    struct record record = {.label = ""};
    struct lifecycle_identity identity = lifecycle_identify(key);

    memcpy(record.unique_id, identity.unique_id, sizeof(record.unique_id));
    snprintf(record.label, sizeof(record.label), "%s", label);
    CK_RV rv = lifecycle_encrypt(key, 9, text, record.sealed);
    /* Somebody else may have rotated it already. */
    if (rv == CKR_KEY_FUNCTION_NOT_PERMITTED)
        memset(record.sealed, 0, sizeof(record.sealed));
    else if (rv != CKR_OK)
        return false;
    return write(out, &record, sizeof(record)) == sizeof(record);
}

/* A process: rotates, creates and destroys; each acknowledged key goes to the pipe. */
static int compete(int out, int number)
{
    if (api.p11->C_Initialize(NULL) != CKR_OK)
        return 1;
    api_login(&api);
    for (int i = 0; i < RACE_ROUNDS; i++) {
        CK_OBJECT_HANDLE key;
        CK_OBJECT_HANDLE made;
        char own[16];
        if (find_in(api.session, "aes", &key) != CKR_OK)
            return 2;
        CK_RV rv = admin_key_rotate(api.session, key, &made);
        if (rv == CKR_OK && !write_record(out, "aes", made))
            return 3;
        if (rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID && rv != CKR_ACTION_PROHIBITED)
            return 4;
        snprintf(own, sizeof(own), "own-%d-%d", number, i);
        key = api_make_aes_key(&api, true, own);
        if (!write_record(out, own, key) || admin_key_rotate(api.session, key, &made) != CKR_OK ||
            !write_record(out, own, made))
            return 5;
        if (i % 2 == 1 && api.p11->C_DestroyObject(api.session, made) != CKR_OK)
            return 6;
    }
    return api.p11->C_Finalize(NULL) == CKR_OK ? 0 : 7;
}

/* A key that was acknowledged and not destroyed is there, and opens what it has written. */
static bool check_record(const struct record *record)
{
    static const CK_BYTE nothing[48];
    CK_ATTRIBUTE by_id = {CKA_UNIQUE_ID, (void *) record->unique_id, sizeof(record->unique_id)};
    CK_OBJECT_HANDLE key = 0;
    CK_ULONG found = 0;

    OK(api.p11->C_FindObjectsInit(api.session, &by_id, 1));
    OK(api.p11->C_FindObjects(api.session, &key, 1, &found));
    OK(api.p11->C_FindObjectsFinal(api.session));
    if (found == 0)
        return false;
    ck_assert(memcmp(record->sealed, nothing, 48) == 0 ||
              lifecycle_decrypts(key, 9, record->sealed, text));
    return true;
}

START_TEST(of_processes_that_rotate_one_wins)
{
    pid_t processes[RACE_PROCESSES];
    int ends[2];
    struct record record;
    CK_ULONG won = 0;
    CK_ULONG gone = 0;
    CK_ULONG shared = 0;
    int status;

    OK(api.p11->C_Finalize(NULL));
    ck_assert_int_eq(pipe(ends), 0);
    for (int i = 0; i < RACE_PROCESSES; i++) {
        processes[i] = fork();
        if (processes[i] == 0) {
            alarm(100);
            close(ends[0]);
            _exit(compete(ends[1], i));
        }
    }
    close(ends[1]);
    OK(api.p11->C_Initialize(NULL));
    struct record records[RACE_PROCESSES * RACE_ROUNDS * 3];
    while (read(ends[0], &record, sizeof(record)) == sizeof(record))
        records[won++] = record;
    for (int i = 0; i < RACE_PROCESSES; i++) {
        ck_assert_int_eq(waitpid(processes[i], &status, 0), processes[i]);
        ck_assert_int_eq(status, 0);
    }
    close(ends[0]);
    api_login(&api);
    for (CK_ULONG i = 0; i < won; i++) {
        gone += !check_record(&records[i]);
        shared += strcmp(records[i].label, "aes") == 0;
    }
    ck_assert_uint_eq(gone, RACE_PROCESSES * (RACE_ROUNDS / 2));
    ck_assert_uint_gt(shared, 0);
    ck_assert_uint_eq(count_versions("aes"), shared + 1);
}
END_TEST

START_TEST(a_hold_keeps_a_key)
{
    CK_OBJECT_HANDLE key = lifecycle_governor(GOVERNOR_AES);
    CK_OBJECT_HANDLE copy;
    CK_OBJECT_HANDLE made;
    CK_ATTRIBUTE session_object = {CKA_TOKEN, &no, 1};
    CK_BYTE sealed[48];

    OK(lifecycle_encrypt(key, 1, text, sealed));
    OK(admin_key_set_hold(api.session, key, true));
    OK(admin_key_set_hold(api.session, key, true));
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, key));
    ck_assert_uint_eq(flag(key, CKA_INDEXKEY_HOLD), CK_TRUE);
    /* Copies and newer versions are not what is held. */
    OK(api.p11->C_CopyObject(api.session, key, &session_object, 1, &copy));
    OK(api.p11->C_DestroyObject(api.session, copy));
    OK(admin_key_rotate(api.session, key, &made));
    ck_assert_uint_eq(flag(made, CKA_INDEXKEY_HOLD), CK_FALSE);
    OK(api.p11->C_DestroyObject(api.session, made));
    api_restart(&api);
    key = versioned("aes", 1, "");
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, key));
    ck_assert(lifecycle_decrypts(key, 1, sealed, text));
    OK(admin_key_set_hold(api.session, key, false));
    OK(api.p11->C_DestroyObject(api.session, key));
    ck_assert_uint_eq(versioned("aes", 1, ""), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("key versions");
    TCase *rotation = tcase_create("rotation");

    tcase_add_checked_fixture(rotation, open_token, close_token);
    tcase_set_timeout(rotation, 120);
    tcase_add_test(rotation, a_rotated_index_key_has_two_versions);
    tcase_add_test(rotation, every_kind_of_key_rotates);
    tcase_add_test(rotation, only_the_newest_version_rotates);
    tcase_add_test(rotation, labels_of_versions_are_reserved);
    tcase_add_test(rotation, of_threads_that_rotate_one_wins);
    tcase_add_test(rotation, of_processes_that_rotate_one_wins);
    tcase_add_test(rotation, a_hold_keeps_a_key);
    suite_add_tcase(suite, rotation);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
