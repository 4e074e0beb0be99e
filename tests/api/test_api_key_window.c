/* Destruction of keys with a window, and the way back. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/api/lifecycle_fixture.h"

#define HOUR_MS (INT64_C(3600) * 1000)
/* A tick, and some. */
#define SEEN_US (120 * 1000)

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

static const CK_BYTE text[32] = "what was written before";

static void open_token(void)
{
    api_open(&api, NULL, "undo_window = 1h");
    lifecycle_make_keys();
}

static void close_token(void)
{
    clock_shift(0);
    api_close(&api);
}

/* What admin_keys_pending tells. */
struct pending_list {
    size_t count;
    CK_BYTE unique_id[16];
    char label[32];
    CK_BYTE id[32];
    size_t id_len;
    CK_ULONG destroy_at;
};

static void note(void *context, const struct admin_pending *key)
{
    struct pending_list *list = context;

    list->count++;
    memcpy(list->unique_id, key->unique_id.bytes, sizeof(list->unique_id));
    snprintf(list->label, sizeof(list->label), "%.*s", (int) key->label.len,
             (const char *) key->label.bytes);
    list->id_len = key->id.len;
    if (key->id.len > 0)
        memcpy(list->id, key->id.bytes, key->id.len);
    list->destroy_at = key->destroy_at;
}

static struct pending_list list_pending(void)
{
    struct pending_list list = {.count = 0};

    OK(admin_keys_pending(api.session, note, &list));
    return list;
}

static struct view view_of(const struct pending_list *list)
{
    return (struct view){list->unique_id, sizeof(list->unique_id)};
}

/* What was copied or derived, while its key waits. */
static void expect_useless(const struct subject *subjects, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strncmp(subjects[i].name, "derived p", 9) == 0)
            EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, lifecycle_use(&subjects[i], USE_DECRYPT));
}

START_TEST(a_destroyed_key_comes_back_as_it_was)
{
    CK_OBJECT_HANDLE key = lifecycle_governor(GOVERNOR_INDEX);
    CK_OBJECT_HANDLE back;
    CK_BYTE sealed[48];
    CK_ULONG now = (CK_ULONG) clock_utc_s();
    struct lifecycle_identity identity = lifecycle_identify(key);
    struct subject subjects[SUBJECTS_MAX];

    OK(lifecycle_encrypt(lifecycle_find("index/item"), 1, text, sealed));
    size_t count = lifecycle_subjects(GOVERNOR_INDEX, subjects);
    lifecycle_set_state(key, INDEXKEY_STATE_DEACTIVATED);
    OK(api.p11->C_DestroyObject(api.session, key));
    for (int restarts = 0; restarts < 2; restarts++) {
        ck_assert_uint_eq(lifecycle_find("index"), 0);
        ck_assert_uint_eq(lifecycle_find("index/item"), 0);
        struct pending_list list = list_pending();
        ck_assert_uint_eq(list.count, 1);
        ck_assert_str_eq(list.label, "index");
        ck_assert_uint_eq(list.id_len, 1);
        ck_assert(list.destroy_at >= now + 3600 && list.destroy_at <= now + 3610);
        if (restarts == 0) {
            EXPECT(CKR_OBJECT_HANDLE_INVALID, api.p11->C_DestroyObject(api.session, key));
            expect_useless(subjects, count);
            api_restart(&api);
        }
    }
    struct pending_list list = list_pending();
    OK(admin_key_undelete(api.session, view_of(&list), &back));
    EXPECT(CKR_OBJECT_HANDLE_INVALID, admin_key_undelete(api.session, view_of(&list), &back));
    for (int restarts = 0; restarts < 2; restarts++) {
        CK_OBJECT_HANDLE found = lifecycle_governor(GOVERNOR_INDEX);
        struct lifecycle_identity after = lifecycle_identify(found);
        ck_assert_mem_eq(&after, &identity, sizeof(identity));
        ck_assert_uint_eq(lifecycle_number(found, CKA_INDEXKEY_STATE), INDEXKEY_STATE_DEACTIVATED);
        ck_assert_uint_eq(lifecycle_number(found, CKA_INDEXKEY_DESTROY_AT), 0);
        ck_assert(lifecycle_decrypts(lifecycle_find("index/item"), 1, sealed, text));
        ck_assert_uint_eq(list_pending().count, 0);
        api_restart(&api);
    }
}
END_TEST

/* The other process destroys the key when it is told to, and has it back. */
static void obey(int orders, int answers)
{
    char order;
    CK_OBJECT_HANDLE back;
    struct pending_list list;

    OK(api.p11->C_Initialize(NULL));
    api_login(&api);
    while (read(orders, &order, 1) == 1) {
        if (order == 'd') {
            OK(api.p11->C_DestroyObject(api.session, lifecycle_find("index")));
        } else {
            list = list_pending();
            OK(admin_key_undelete(api.session, view_of(&list), &back));
        }
        ck_assert_int_eq(write(answers, &order, 1), 1);
    }
    OK(api.p11->C_Finalize(NULL));
}

static void give_order(int orders, int answers, char order)
{
    ck_assert_int_eq(write(orders, &order, 1), 1);
    ck_assert_int_eq(read(answers, &order, 1), 1);
    usleep(SEEN_US);
}

START_TEST(another_process_hides_a_key_and_has_it_back)
{
    int orders[2];
    int answers[2];
    int status;

    /* The library is down while it is forked. */
    OK(api.p11->C_Finalize(NULL));
    ck_assert_int_eq(pipe(orders) | pipe(answers), 0);
    pid_t other = fork();
    if (other == 0) {
        close(orders[1]);
        obey(orders[0], answers[1]);
        _exit(0);
    }
    close(orders[0]);
    close(answers[1]);
    OK(api.p11->C_Initialize(NULL));
    api_login(&api);
    for (int rounds = 0; rounds < 3; rounds++) {
        ck_assert_uint_ne(lifecycle_find("index"), 0);
        ck_assert_uint_ne(lifecycle_find("index/item"), 0);
        give_order(orders[1], answers[0], 'd');
        ck_assert_uint_eq(lifecycle_find("index"), 0);
        ck_assert_uint_eq(lifecycle_find("index/item"), 0);
        ck_assert_uint_eq(list_pending().count, 1);
        give_order(orders[1], answers[0], 'u');
    }
    close(orders[1]);
    ck_assert_int_eq(waitpid(other, &status, 0), other);
    ck_assert_int_eq(status, 0);
    close(answers[0]);
}
END_TEST

/* In the same process, which has made another object of it. */
START_TEST(a_state_comes_back_with_its_key)
{
    CK_OBJECT_HANDLE key = lifecycle_governor(GOVERNOR_AES);
    CK_OBJECT_HANDLE back;
    CK_BYTE sealed[48];

    lifecycle_set_state(key, INDEXKEY_STATE_SUSPENDED);
    OK(api.p11->C_DestroyObject(api.session, key));
    struct pending_list list = list_pending();
    OK(admin_key_undelete(api.session, view_of(&list), &back));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, lifecycle_encrypt(back, 1, text, sealed));
    lifecycle_set_state(back, INDEXKEY_STATE_ACTIVE);
    OK(lifecycle_encrypt(back, 1, text, sealed));
}
END_TEST

/* A version's label is the token's to give, on a copy into the token too. */
START_TEST(a_session_keys_label_is_not_copied_to_a_versions)
{
    CK_OBJECT_HANDLE session_key = api_make_aes_key(&api, false, "index@3");
    CK_ATTRIBUTE into_token = {CKA_TOKEN, &yes, 1};
    CK_OBJECT_HANDLE copy;

    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           api.p11->C_CopyObject(api.session, session_key, &into_token, 1, &copy));
    ck_assert_uint_eq(lifecycle_find("index@3"), 0);
}
END_TEST

START_TEST(what_is_overdue_goes_for_good)
{
    bool by_login = _i == 1;
    CK_OBJECT_HANDLE back;
    size_t purged = 7;

    OK(api.p11->C_DestroyObject(api.session, lifecycle_governor(GOVERNOR_AES)));
    OK(admin_key_purge(api.session, &purged));
    ck_assert_uint_eq(purged, 0);
    struct pending_list list = list_pending();
    ck_assert_uint_eq(list.count, 1);
    clock_shift(2 * HOUR_MS);
    EXPECT(CKR_OBJECT_HANDLE_INVALID, admin_key_undelete(api.session, view_of(&list), &back));
    if (by_login) {
        api_restart(&api);
    } else {
        OK(admin_key_purge(api.session, &purged));
        ck_assert_uint_eq(purged, 1);
    }
    clock_shift(0);
    ck_assert_uint_eq(list_pending().count, 0);
    EXPECT(CKR_OBJECT_HANDLE_INVALID, admin_key_undelete(api.session, view_of(&list), &back));
    ck_assert(lifecycle_governor(GOVERNOR_INDEX) != 0);
}
END_TEST

/* A key that may not be destroyed, and one that need not wait. */
START_TEST(the_window_is_for_keys_of_the_token)
{
    CK_OBJECT_HANDLE key = lifecycle_governor(GOVERNOR_AES);
    CK_ATTRIBUTE stays = {CKA_DESTROYABLE, &no, 1};
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE data[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_TOKEN, &yes, 1}};
    CK_OBJECT_HANDLE object;

    OK(api.p11->C_SetAttributeValue(api.session, key, &stays, 1));
    EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, key));
    OK(api.p11->C_CreateObject(api.session, data, COUNT(data), &object));
    OK(api.p11->C_DestroyObject(api.session, object));
    OK(api.p11->C_DestroyObject(api.session, api_make_aes_key(&api, false, "session")));
    ck_assert_uint_eq(list_pending().count, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("key windows");
    TCase *window = tcase_create("undo window");

    tcase_add_checked_fixture(window, open_token, close_token);
    tcase_set_timeout(window, 120);
    tcase_add_test(window, a_destroyed_key_comes_back_as_it_was);
    tcase_add_test(window, another_process_hides_a_key_and_has_it_back);
    tcase_add_test(window, a_state_comes_back_with_its_key);
    tcase_add_test(window, a_session_keys_label_is_not_copied_to_a_versions);
    tcase_add_loop_test(window, what_is_overdue_goes_for_good, 0, 2);
    tcase_add_test(window, the_window_is_for_keys_of_the_token);
    suite_add_tcase(suite, window);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
