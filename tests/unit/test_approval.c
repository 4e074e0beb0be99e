/* Approvals: their text, their signatures, the people, and that each is used once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rv.h"
#include "module/approvals.h"
#include "module/slot.h"
#include "tests/support/approval_fixture.h"
#include "tests/support/object_fixture.h"

#define SERIAL "0123456789abcdef"
#define OBJECT "00112233445566778899aabbccddeeff"
#define NOW 1800000000

static const unsigned char object_id[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                            0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

static const struct approval_wish wish = {
    (const unsigned char *) SERIAL, APPROVAL_DESTROY, {object_id, sizeof(object_id)}};

static struct approval_text good_text(void)
{
    return (struct approval_text){SERIAL, "destroy", OBJECT, 7, NOW + 3600};
}

static struct view as_view(const char *document, size_t len)
{
    return (struct view){(const unsigned char *) document, len};
}

static bool is_accepted(struct view document, const struct approval_wish *wanted)
{
    unsigned char key[32];
    struct approval approval;

    approval_public_key(1, key);
    return approval_parse(document, &approval) == CKR_OK && approval_is_for(&approval, wanted) &&
           approval_untimely(&approval, NOW) == NULL && approval_is_signed_by(&approval, key);
}

START_TEST(an_approval_says_what_it_says)
{
    char document[APPROVAL_TEXT_MAX];
    struct approval_text text = good_text();
    size_t len = approval_sign(1, &text, document);
    struct approval approval;

    ck_assert(is_accepted(as_view(document, len), &wish));
    ck_assert_uint_eq(approval_parse(as_view(document, len), &approval), CKR_OK);
    ck_assert_int_eq(approval.expires, NOW + 3600);
    ck_assert_uint_eq(approval.nonce[15], 7);
}
END_TEST

START_TEST(every_flipped_bit_is_noticed)
{
    char document[APPROVAL_TEXT_MAX];
    struct approval_text text = good_text();
    size_t len = approval_sign(1, &text, document);

    for (size_t bit = 0; bit < 8 * len; bit++) {
        document[bit / 8] = (char) (document[bit / 8] ^ 1 << bit % 8);
        ck_assert_msg(!is_accepted(as_view(document, len), &wish), "bit %zu", bit);
        document[bit / 8] = (char) (document[bit / 8] ^ 1 << bit % 8);
    }
    ck_assert(is_accepted(as_view(document, len), &wish));
}
END_TEST

START_TEST(cut_and_longer_texts_are_refused)
{
    char document[APPROVAL_TEXT_MAX] = {0};
    struct approval_text text = good_text();
    size_t len = approval_sign(1, &text, document);

    for (size_t cut = 0; cut < len; cut++) {
        char *copy = mem_dup(document, cut); /* so that a read beyond it is noticed */
        ck_assert(!is_accepted(as_view(copy, cut), &wish));
        mem_free(copy);
    }
    ck_assert(!is_accepted(as_view(document, len + 1), &wish));
    ck_assert(!is_accepted((struct view){NULL, 0}, &wish));
}
END_TEST

START_TEST(it_holds_for_one_operation_on_one_thing)
{
    static const struct {
        const char *serial, *operation, *object;
    } others[] = {
        {"0123456789abcdee", "destroy", OBJECT},
        {SERIAL, "export", OBJECT},
        {SERIAL, "reset", OBJECT},
        {SERIAL, "destroy", "00112233445566778899aabbccddeefe"},
        {SERIAL, "destroy", OBJECT OBJECT},
        {SERIAL, "destroy", OBJECT "00"},
        {SERIAL, "DESTROY", OBJECT},
        {SERIAL, "destroy ", OBJECT},
        {SERIAL, "destroy", "00112233445566778899AABBCCDDEEFF"},
    };
    char document[APPROVAL_TEXT_MAX];

    for (size_t i = 0; i < COUNT_OF(others); i++) {
        struct approval_text text = good_text();
        text.serial = others[i].serial;
        text.operation = others[i].operation;
        text.object = others[i].object;
        size_t len = approval_sign(1, &text, document);
        ck_assert_msg(!is_accepted(as_view(document, len), &wish), "row %zu", i);
    }
}
END_TEST

START_TEST(only_its_signer_counts)
{
    char document[APPROVAL_TEXT_MAX];
    struct approval_text text = good_text();
    size_t len = approval_sign(2, &text, document);

    ck_assert(!is_accepted(as_view(document, len), &wish));
}
END_TEST

START_TEST(it_holds_for_a_time)
{
    static const struct {
        int64_t expires;
        bool is_good;
    } times[] = {
        {NOW - 1, false},
        {NOW, false},
        {NOW + 1, true},
        {NOW + APPROVAL_AHEAD_MAX_S, true},
        {NOW + APPROVAL_AHEAD_MAX_S + 1, false},
        {999999999999, false},
        {0, false},
        {-1, false},
    };
    char document[APPROVAL_TEXT_MAX];

    for (size_t i = 0; i < COUNT_OF(times); i++) {
        struct approval_text text = good_text();
        text.expires = times[i].expires;
        size_t len = approval_sign(1, &text, document);
        ck_assert_msg(is_accepted(as_view(document, len), &wish) == times[i].is_good,
                      "expires %" PRId64, times[i].expires);
    }
}
END_TEST

/* ---- people ---- */

START_TEST(people_are_read)
{
    char text[1024] = "# Two people.\n\n";
    struct approvers approvers;

    approval_add_person(1, "Alice", text, sizeof(text));
    approval_add_person(2, "Bob", text, sizeof(text));
    ck_assert_uint_eq(approvers_parse(text, "people", &approvers), CKR_OK);
    ck_assert_uint_eq(approvers.count, 2);
    ck_assert_str_eq(approvers.list[0].name, "Alice");
    ck_assert_str_eq(approvers.list[1].name, "Bob");
}
END_TEST

START_TEST(nobody_counts_twice)
{
    struct approvers approvers;
    static const struct {
        unsigned int seed;
        const char *name;
    } second[] = {{2, "Alice"}, {1, "Bob"}};

    for (size_t i = 0; i < COUNT_OF(second); i++) {
        char text[1024] = "";
        approval_add_person(1, "Alice", text, sizeof(text));
        approval_add_person(second[i].seed, second[i].name, text, sizeof(text));
        ck_assert_uint_eq(approvers_parse(text, "people", &approvers), CKR_FUNCTION_FAILED);
    }
}
END_TEST

START_TEST(what_is_no_list_of_people_is_refused)
{
    static const char *const texts[] = {
        "",
        "# Alice\n",
        "Alice\n",
        "# Alice\n-----BEGIN PUBLIC KEY-----\n",
        "# Alice\n-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        /* X25519 */
        "# A\n-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AA=\n-----END PUBLIC KEY-----\n",
        /* without a name */
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
        "-----END PUBLIC KEY-----\n",
    };
    struct approvers approvers;

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        ck_assert_msg(approvers_parse(texts[i], "people", &approvers) == CKR_FUNCTION_FAILED,
                      "text %zu", i);
}
END_TEST

/* ---- use ---- */

/* A token that needs `needed` of Alice, Bob and Carol (1, 2, 3) to destroy. */
struct office {
    struct slot slot;
    struct conf *conf;
    char serial[TOKEN_SERIAL_LEN + 1];
};

static const struct conf_key *no_source_keys(const char *source)
{
    return strcmp(source, "file") == 0 ? custody_source_keys(source) : NULL;
}

static void office_open(struct office *office, struct custody *custody, unsigned int needed)
{
    char people[1024] = "";
    char text[1024];
    struct custody_info info;
    struct conf_schema schema = *config_schema();
    size_t count;

    schema.source_keys = no_source_keys;
    memset(office, 0, sizeof(*office));
    approval_add_person(1, "Alice", people, sizeof(people));
    approval_add_person(2, "Bob", people, sizeof(people));
    approval_add_person(3, "Carol", people, sizeof(people));
    fixture_write("people.pem", people, 0600);
    snprintf(text, sizeof(text),
             "[token t]\nsource = file\nkey_file = %s\nstore = memory:\ntwo_person = destroy\n"
             "approvers = file:%s\napprovals_needed = %u\n",
             fixture_path("root.key"), fixture_path("people.pem"), needed);
    fixture_write("office.conf", text, 0600);
    ck_assert_uint_eq(conf_load(fixture_path("office.conf"), &schema, &office->conf), CKR_OK);
    const struct conf_section *section = conf_tokens(office->conf, &count);
    ck_assert_uint_eq(count, 1);
    office->slot.name = "t";
    office->slot.custody = custody;
    ck_assert_uint_eq(approvals_open(section, &office->slot.approvals), CKR_OK);
    ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    memcpy(office->serial, info.serial, TOKEN_SERIAL_LEN);
}

static void office_close(struct office *office)
{
    approvals_close(&office->slot.approvals);
    conf_free(&office->conf);
}

/* Documents by the people in `seeds` (digits), each with a nonce of its own. */
static CK_RV ask(struct office *office, const char *seeds, unsigned int number,
                 struct approval_grant *ret_grant)
{
    char documents[4 * APPROVAL_TEXT_MAX];
    size_t len = 0;

    for (const char *seed = seeds; *seed != '\0'; seed++) {
        struct approval_text text = {office->serial, "destroy", OBJECT,
                                     number + (unsigned int) (seed - seeds), clock_utc_s() + 60};
        len += approval_sign((unsigned int) (*seed - '0'), &text, documents + len);
    }
    struct approval_request request = {
        APPROVAL_DESTROY, {object_id, sizeof(object_id)}, as_view(documents, len)};
    return approvals_take(&office->slot, &request, ret_grant);
}

START_TEST(an_approval_is_used_once)
{
    const char *store = fixture_store(_i);
    struct custody *custody = objects_token(store);
    struct approval_grant grant;
    struct office office;

    office_open(&office, custody, 1);
    ck_assert_uint_eq(ask(&office, "", 0, &grant), CKR_ACTION_PROHIBITED);
    ck_assert_uint_eq(ask(&office, "4", 1, &grant), CKR_ACTION_PROHIBITED);
    ck_assert_uint_eq(ask(&office, "1", 1, &grant), CKR_OK);
    ck_assert_uint_eq(grant.count, 1);
    ck_assert_uint_eq(ask(&office, "1", 1, &grant), CKR_ACTION_PROHIBITED);
    ck_assert_uint_eq(ask(&office, "1", 2, &grant), CKR_OK);
    /* What failed may be tried again. */
    approvals_give_back(&office.slot, &grant);
    ck_assert_uint_eq(ask(&office, "1", 2, &grant), CKR_OK);
    custody_logout(custody);
    fixture_login_user(custody);
    ck_assert_uint_eq(ask(&office, "1", 2, &grant), CKR_ACTION_PROHIBITED);
    ck_assert_uint_eq(objects_load(custody), 1); /* the row; the module knows it */
    ck_assert(approvals_used_is_row(view_text(objects_loaded[0].attributes)));
    office_close(&office);
    custody_close(&custody);
}
END_TEST

START_TEST(each_of_several_is_another_person)
{
    struct custody *custody = objects_token("memory:");
    struct approval_grant grant;
    struct office office;

    office_open(&office, custody, 2);
    ck_assert_uint_eq(ask(&office, "1", 1, &grant), CKR_ACTION_PROHIBITED);
    ck_assert_uint_eq(ask(&office, "11", 1, &grant), CKR_ACTION_PROHIBITED);
    ck_assert_uint_eq(ask(&office, "114", 1, &grant), CKR_ACTION_PROHIBITED);
    /* None of these refusals has used one up. */
    ck_assert_uint_eq(ask(&office, "13", 1, &grant), CKR_OK);
    ck_assert_uint_eq(grant.count, 2);
    ck_assert_uint_eq(ask(&office, "13", 1, &grant), CKR_ACTION_PROHIBITED);
    office_close(&office);
    custody_close(&custody);
}
END_TEST

/* A clock that ran ahead makes the row forget; what it forgot stays used. */
START_TEST(a_wrong_clock_opens_no_way)
{
    struct approvals_used used = {0};
    const struct approval_use first = {{1}, NOW + 100};
    const struct approval_use later = {{2}, NOW + APPROVAL_AHEAD_MAX_S + 1000};
    const struct approval_use same_time = {{3}, NOW + 100};

    ck_assert_uint_eq(approvals_used_add(&used, &first, NOW), CKR_OK);
    ck_assert(approvals_used_has(&used, &first));
    ck_assert(!approvals_used_has(&used, &same_time));
    ck_assert_uint_eq(approvals_used_add(&used, &later, NOW + 101), CKR_OK);
    ck_assert_uint_eq(used.count, 1);
    ck_assert(approvals_used_has(&used, &first));
    ck_assert(approvals_used_has(&used, &same_time));
    approvals_used_clear(&used);
}
END_TEST

START_TEST(two_uses_at_once_lose_none)
{
    struct custody *custody = objects_token("memory:");
    const struct approval_use uses[] = {{{1}, NOW + 100}, {{2}, NOW + 100}};
    struct approvals_used a;
    struct approvals_used b;

    for (size_t round = 0; round < 2; round++) {
        ck_assert_uint_eq(approvals_used_read(custody, &a), CKR_OK);
        ck_assert_uint_eq(approvals_used_read(custody, &b), CKR_OK);
        ck_assert_uint_eq(approvals_used_add(&a, &uses[round], NOW), CKR_OK);
        ck_assert_uint_eq(approvals_used_add(&b, &uses[round], NOW), CKR_OK);
        ck_assert_uint_eq(approvals_used_write(custody, &a), CKR_OK);
        ck_assert_uint_eq(approvals_used_write(custody, &b), CKR_OBJECT_HANDLE_INVALID);
        approvals_used_clear(&a);
        approvals_used_clear(&b);
    }
    ck_assert_uint_eq(approvals_used_read(custody, &a), CKR_OK);
    ck_assert(approvals_used_has(&a, &uses[0]) && approvals_used_has(&a, &uses[1]));
    approvals_used_clear(&a);
    custody_close(&custody);
}
END_TEST

START_TEST(the_row_is_bounded)
{
    struct approvals_used used = {0};

    for (unsigned int i = 0; i < APPROVALS_USED_MAX; i++) {
        const struct approval_use use = {{(unsigned char) i, (unsigned char) (i >> 8)}, NOW + 100};
        ck_assert_uint_eq(approvals_used_add(&used, &use, NOW), CKR_OK);
    }
    const struct approval_use last = {{0xff, 0xff}, NOW + 200};
    ck_assert_uint_eq(approvals_used_add(&used, &last, NOW), CKR_DEVICE_MEMORY);
    ck_assert_uint_eq(approvals_used_add(&used, &last, NOW + 150), CKR_OK);
    ck_assert_uint_eq(used.count, 1);
    approvals_used_clear(&used);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("approvals");

    tcase_add_test(cases, an_approval_says_what_it_says);
    tcase_add_test(cases, every_flipped_bit_is_noticed);
    tcase_add_test(cases, cut_and_longer_texts_are_refused);
    tcase_add_test(cases, it_holds_for_one_operation_on_one_thing);
    tcase_add_test(cases, only_its_signer_counts);
    tcase_add_test(cases, it_holds_for_a_time);
    tcase_add_test(cases, people_are_read);
    tcase_add_test(cases, nobody_counts_twice);
    tcase_add_test(cases, what_is_no_list_of_people_is_refused);
    tcase_add_loop_test(cases, an_approval_is_used_once, 0, FIXTURE_STORE_COUNT);
    tcase_add_test(cases, each_of_several_is_another_person);
    tcase_add_test(cases, a_wrong_clock_opens_no_way);
    tcase_add_test(cases, two_uses_at_once_lose_none);
    tcase_add_test(cases, the_row_is_bounded);
    return fixture_run("approval", cases);
}
