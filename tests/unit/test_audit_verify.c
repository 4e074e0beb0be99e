/*
 * Logs that were tampered with: each way is noticed with the public key and a line kept elsewhere,
 * and what nobody can notice without one is told as unproved.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/audit_fixture.h"

#define EVENTS 150 /* more than two checkpoints' worth */

static struct audit_text text;
static struct audit_findings findings;
static const struct audit_proof by_key = {.head = NULL};

/* One writer: lines before login, a login, many events, a logout, its end. */
static void write_log(void)
{
    struct audit *audit = audit_fixture_open("");
    char label[32];

    ck_assert_uint_eq(audit_fixture_write(audit, "init-token", ""), CKR_OK);
    audit_fixture_login(audit);
    for (int i = 0; i < EVENTS; i++) {
        (void) snprintf(label, sizeof(label), "key-%03d", i);
        ck_assert_uint_eq(audit_fixture_write(audit, "create", label), CKR_OK);
    }
    audit_fixture_logout(audit);
    audit_close(&audit);
}

static void setup(void)
{
    audit_fixture_setup();
    write_log();
    audit_text_read(&text, audit_fixture_path());
}

static void teardown(void)
{
    audit_text_clear(&text);
    audit_fixture_teardown();
}

static void expect(enum audit_found kind)
{
    ck_assert_msg(findings.counts[kind] > 0, "no finding %s in:\n%s", audit_found_name(kind),
                  findings.all);
}

static void expect_clean(void)
{
    ck_assert_msg(findings.verdict.wrong == 0, "%s", findings.all);
}

/* The last signed line, as a third party keeps it. */
static char *keep_head(void)
{
    return strdup(text.lines[audit_text_find(&text, 0, "logout")]);
}

START_TEST(test_honest_log_is_proved)
{
    char *head = keep_head();
    const struct audit_proof whole = {.head = head, .with_mac = true};

    audit_text_verify(&text, &by_key, &findings);
    expect_clean();
    ck_assert_uint_eq(findings.verdict.lines, text.count);
    ck_assert_uint_eq(findings.verdict.writers, 1);
    ck_assert_uint_ge(findings.verdict.good_signatures, 4);
    /* The line "end" alone stands behind the last signature. */
    ck_assert_uint_eq(findings.verdict.unproved, 1);
    audit_text_verify(&text, &whole, &findings);
    expect_clean();
    free(head);
}
END_TEST

START_TEST(test_another_tokens_key_proves_nothing)
{
    const struct audit_proof proof = {.with_other_key = true};

    audit_text_verify(&text, &proof, &findings);
    expect(AUDIT_RESEALED);
    ck_assert_uint_eq(findings.verdict.good_signatures, 0);
}
END_TEST

/* Each line of the log in its turn, but the last, which "truncated" is about. */
START_TEST(test_each_dropped_line_is_noticed)
{
    for (size_t i = 0; i + 1 < text.count; i++) {
        char *line = strdup(text.lines[i]);
        audit_text_drop(&text, i);
        audit_text_verify(&text, &by_key, &findings);
        ck_assert_msg(findings.verdict.wrong > 0, "line %zu was dropped unnoticed", i + 1);
        expect(AUDIT_DROPPED);
        audit_text_insert(&text, i, line);
        free(line);
    }
}
END_TEST

START_TEST(test_each_pair_of_reordered_lines_is_noticed)
{
    for (size_t i = 0; i + 1 < text.count; i++) {
        audit_text_swap(&text, i, i + 1);
        audit_text_verify(&text, &by_key, &findings);
        expect(AUDIT_REORDERED);
        audit_text_swap(&text, i, i + 1);
    }
}
END_TEST

/* A copy of a line, and one that the chain has never had. */
START_TEST(test_inserted_lines_are_noticed)
{
    for (size_t i = 1; i < text.count; i += 7) {
        audit_text_insert(&text, i, text.lines[i / 2]);
        audit_text_verify(&text, &by_key, &findings);
        expect(AUDIT_INSERTED);
        audit_text_edit(&text, i, "\"pid\":", "\"pid\":");
        char *result = strstr(text.lines[i], "CKR_OK");
        memcpy(result, "CKR_NO", 6);
        audit_text_verify(&text, &by_key, &findings);
        expect(AUDIT_INSERTED);
        audit_text_drop(&text, i);
    }
    audit_text_insert(&text, 3, "no line at all");
    audit_text_verify(&text, &by_key, &findings);
    expect(AUDIT_EDITED);
}
END_TEST

/* Every field of a line, by one character. */
START_TEST(test_every_edited_byte_is_noticed)
{
    size_t index = audit_text_find(&text, 20, "create");
    size_t len = strlen(text.lines[index]);

    for (size_t i = 0; i < len; i++) {
        char *at = &text.lines[index][i];
        char former = *at;
        *at = former == '1' ? '2' : '1';
        audit_text_verify(&text, &by_key, &findings);
        ck_assert_msg(findings.verdict.wrong > 0, "byte %zu was edited unnoticed: %s", i,
                      text.lines[index]);
        *at = former;
    }
    audit_text_edit(&text, index, "CKM_AES_GCM", "CKM_AES_CBC");
    audit_text_verify(&text, &by_key, &findings);
    expect(AUDIT_EDITED);
}
END_TEST

/* The attacker computes all hashes anew, after an edit or without a line. */
START_TEST(test_resealed_logs_are_noticed)
{
    size_t index = audit_text_find(&text, 20, "create");
    const struct audit_proof with_mac = {.with_mac = true};

    audit_text_edit(&text, index, "CKM_AES_GCM", "CKM_AES_CBC");
    audit_text_rehash(&text);
    audit_text_verify(&text, &by_key, &findings);
    expect(AUDIT_RESEALED);
    ck_assert_uint_eq(findings.counts[AUDIT_EDITED], 0);
    audit_text_verify(&text, &with_mac, &findings);
    expect(AUDIT_RESEALED);
    audit_text_edit(&text, index, "CKM_AES_CBC", "CKM_AES_GCM");
    audit_text_drop(&text, index + 1);
    audit_text_rehash(&text);
    audit_text_verify(&text, &by_key, &findings);
    expect(AUDIT_RESEALED);
    ck_assert_uint_eq(findings.counts[AUDIT_DROPPED], 0);
}
END_TEST

/* The tail is cut: noticed by what was kept, and told as unproved without it. */
START_TEST(test_truncated_logs_are_noticed_with_a_head_only)
{
    char *head = keep_head();
    const struct audit_proof proof = {.head = head};

    for (size_t left = text.count - 2; left > 1; left -= left > 10 ? 10 : 1) {
        while (text.count > left)
            audit_text_drop(&text, text.count - 1);
        audit_text_verify(&text, &proof, &findings);
        expect(AUDIT_TRUNCATED);
        audit_text_verify(&text, &by_key, &findings);
        expect_clean();
        expect(AUDIT_UNPROVED);
    }
    free(head);
}
END_TEST

/* Without its signed lines a log has nothing to be wrong against. */
START_TEST(test_unsigned_logs_are_unproved)
{
    char *head = keep_head();
    const struct audit_proof proof = {.head = head};

    while (text.count > 1)
        audit_text_drop(&text, 1);
    audit_text_verify(&text, &by_key, &findings);
    expect_clean();
    ck_assert_uint_eq(findings.verdict.unproved, 1);
    audit_text_verify(&text, &proof, &findings);
    expect(AUDIT_TRUNCATED);
    free(head);
}
END_TEST

/* Two continuations of one chain: a copied process, or somebody with the token's keys. */
START_TEST(test_forked_logs_are_noticed)
{
    struct audit_text other = {.count = 0};
    size_t login = audit_text_find(&text, 0, "login");
    char *head = keep_head();
    const struct audit_proof proof = {.head = head};

    ck_assert_int_eq(unlink(audit_fixture_path()), 0);
    write_log();
    audit_text_read(&other, audit_fixture_path());
    /* The same writer twice: the other log's lines under this one's name. */
    size_t count = text.count;
    for (size_t i = login + 1; i < count; i++) {
        char *copy = strdup(text.lines[i]);
        char *result = strstr(copy, "CKR_OK");
        memcpy(result, "CKR_NO", 6);
        audit_text_insert(&text, text.count, copy);
        free(copy);
    }
    audit_text_verify(&text, &by_key, &findings);
    ck_assert_uint_gt(findings.counts[AUDIT_FORKED] + findings.counts[AUDIT_INSERTED], 0);
    /* A log that has another line where one was kept. */
    const char *writer = strstr(head, "\"writer\":\"") + 10;
    for (size_t i = 0; i < other.count; i++)
        memcpy(strstr(other.lines[i], "\"writer\":\"") + 10, writer, 32);
    audit_text_rehash(&other);
    audit_text_verify(&other, &proof, &findings);
    expect(AUDIT_FORKED);
    audit_text_clear(&other);
    free(head);
}
END_TEST

START_TEST(test_torn_lines_are_told)
{
    char torn[200];

    (void) snprintf(torn, sizeof(torn), "%.100s", text.lines[5]);
    audit_text_insert(&text, text.count, torn);
    audit_text_verify(&text, &by_key, &findings);
    expect_clean();
    expect(AUDIT_TORN);
}
END_TEST

/* A line that another key signs, or one of a former checkpoint. */
START_TEST(test_checkpoints_take_their_own_key_only)
{
    size_t first = audit_text_find(&text, 0, "checkpoint");
    size_t second = audit_text_find(&text, first + 1, "checkpoint");
    char *from = strstr(text.lines[first], "\"sig\":\"");
    char *to = strstr(text.lines[second], "\"sig\":\"");

    memcpy(to, from, strlen("\"sig\":\"") + 128);
    audit_text_rehash(&text);
    audit_text_verify(&text, &by_key, &findings);
    expect(AUDIT_RESEALED);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("audit verify");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, test_honest_log_is_proved);
    tcase_add_test(cases, test_another_tokens_key_proves_nothing);
    tcase_add_test(cases, test_each_dropped_line_is_noticed);
    tcase_add_test(cases, test_each_pair_of_reordered_lines_is_noticed);
    tcase_add_test(cases, test_inserted_lines_are_noticed);
    tcase_add_test(cases, test_every_edited_byte_is_noticed);
    tcase_add_test(cases, test_resealed_logs_are_noticed);
    tcase_add_test(cases, test_truncated_logs_are_noticed_with_a_head_only);
    tcase_add_test(cases, test_unsigned_logs_are_unproved);
    tcase_add_test(cases, test_forked_logs_are_noticed);
    tcase_add_test(cases, test_torn_lines_are_told);
    tcase_add_test(cases, test_checkpoints_take_their_own_key_only);
    return audit_fixture_run("audit_verify", cases);
}
