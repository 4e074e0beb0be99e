/* What the configuration allows for keys: hours, label patterns, sections that are refused. */
#include <stdio.h>
#include <string.h>

#include "base/rv.h"
#include "module/config.h"
#include "module/key_rules.h"
#include "tests/support/token_fixture.h"

/* 2026-11-23 was a Monday. */
#define MONDAY INT64_C(1795392000)
#define HOUR 3600
#define DAY (24 * HOUR)

START_TEST(hours_of_the_week)
{
    static const struct {
        const char *text;
        int64_t when;
        bool holds;
    } rows[] = {
        {"Mon-Fri 07:00-19:00 UTC", MONDAY + 7 * HOUR, true},
        {"Mon-Fri 07:00-19:00 UTC", MONDAY + 7 * HOUR - 1, false},
        {"Mon-Fri 07:00-19:00 UTC", MONDAY + 19 * HOUR - 1, true},
        {"Mon-Fri 07:00-19:00 UTC", MONDAY + 19 * HOUR, false},
        {"Mon-Fri 07:00-19:00 UTC", MONDAY + 4 * DAY + 12 * HOUR, true},
        {"Mon-Fri 07:00-19:00 UTC", MONDAY + 5 * DAY + 12 * HOUR, false},
        {"Mon-Fri 07:00-19:00 UTC", MONDAY + 7 * DAY + 12 * HOUR, true},
        {"Sat-Mon 00:00-24:00 UTC", MONDAY, true},
        {"Sat-Mon 00:00-24:00 UTC", MONDAY + DAY - 1, true},
        {"Sat-Mon 00:00-24:00 UTC", MONDAY + DAY, false},
        {"Sat-Mon 00:00-24:00 UTC", MONDAY + 6 * DAY, true},
        {"Sun 23:30-24:00 UTC", MONDAY - 1, true},
        {"Sun 23:30-24:00 UTC", MONDAY - HOUR, false},
        {"Thu 00:00-00:01 UTC", 0, true},
        {"Mon-Sun 00:00-24:00 UTC", -1, false},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct time_window window;
        ck_assert(time_window_parse(rows[i].text, &window));
        ck_assert_msg(time_window_holds(&window, rows[i].when) == rows[i].holds, "row %zu", i);
    }
}
END_TEST

START_TEST(what_is_no_window)
{
    static const char *const texts[] = {
        "",
        "Mon",
        "Mon-Fri",
        "Mon-Fri 07:00-19:00",
        "Mon-Fri 07:00-19:00 CET",
        "Mon-Fri 07:00-19:00 UTC ",
        "Mon-Fri  07:00-19:00 UTC",
        "mon-fri 07:00-19:00 UTC",
        "Mon-Fri 7:00-19:00 UTC",
        "Mon-Fri 07:60-19:00 UTC",
        "Mon-Fri 19:00-07:00 UTC",
        "Mon-Fri 07:00-07:00 UTC",
        "Mon-Fri 07:00-24:01 UTC",
        "Mon- 07:00-19:00 UTC",
    };
    struct time_window window;

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        ck_assert_msg(!time_window_parse(texts[i], &window), "'%s'", texts[i]);
}
END_TEST

START_TEST(labels_and_patterns)
{
    static const struct {
        const char *keys, *label;
        bool named;
    } rows[] = {
        {"pay", "pay", true},
        {"pay", "pay2", false},
        {"pay", "pa", false},
        {"pay*", "pay", true},
        {"pay*", "payments", true},
        {"*", "", true},
        {"pay", "", false},
        {"*ab*ab", "abxab", true},
        {"*ab*ab", "aababab", true},
        {"*ab*ab", "ab", false},
        {"a*b*c", "axxbxxbxc", true},
        {"a*b*c", "axxbxxbxcd", false},
        {"one two", "two", true},
        {"one two", "one two", false},
        /* Versions and subkeys are named by their key. */
        {"pay", "pay@3", true},
        {"pay", "pay/payload", true},
        {"pay", "pay@12/item", true},
        {"pay", "pay/other", false},
        {"pay", "pay@", false},
        {"pay", "pay@x", false},
        {"pay@3", "pay@3", false},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct key_rule rule = {.keys = rows[i].keys};
        ck_assert_msg(key_rule_names(&rule, view_text(rows[i].label)) == rows[i].named,
                      "'%s' and '%s'", rows[i].keys, rows[i].label);
    }
}
END_TEST

START_TEST(the_mechanism_table_fits_the_set)
{
    size_t count;
    const struct mechanism *all = mechanisms_all(&count);
    struct key_rule rule = {.names_mechanisms = true};

    ck_assert_uint_le(count, 8 * MECHANISM_SET_LEN);
    for (size_t i = 0; i < count; i++)
        ck_assert(!key_rule_offers(&rule, &all[i]));
    rule.names_mechanisms = false;
    ck_assert(key_rule_offers(&rule, &all[count - 1]));
}
END_TEST

static CK_RV load(const char *lines)
{
    struct conf *conf = NULL;
    char text[2048];

    snprintf(text, sizeof(text), "[token t]\nsource = file\nkey_file = %s\nstore = memory:\n%s",
             fixture_path("root.key"), lines);
    fixture_write("rules.conf", text, 0600);
    CK_RV rv = conf_load(fixture_path("rules.conf"), config_schema(), &conf);
    if (rv == CKR_OK)
        conf_free(&conf);
    return rv;
}

/* A policy that is not understood must not leave its keys without one. */
START_TEST(bad_policies_refuse_the_file)
{
    static const char *const bad[] = {
        "[policy p]\nkeys = a\n",
        "[policy p]\ntoken = t\n",
        "[policy p]\ntoken = u\nkeys = a\n",
        "[policy p]\ntoken = t\nkeys = a\nallowed_mechanisms = CKM_AES_GMC\n",
        "[policy p]\ntoken = t\nkeys = a\nallowed_purposes = payloads\n",
        "[policy p]\ntoken = t\nkeys = a\ntime_window = always\n",
        "[policy p]\ntoken = t\nkeys = a\nusage_limit = 0\n",
        "[policy p]\ntoken = t\nkeys = a\nusage_limit = 4294967297\n",
        "[policy p]\ntoken = t\nkeys = a\nderivation_labels = hex:0\n",
        "[policy p]\ntoken = t\nkeys = a\nadministrate = so\n",
        "[policy]\ntoken = t\nkeys = a\n",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++)
        ck_assert_msg(load(bad[i]) == CKR_FUNCTION_FAILED, "%s", bad[i]);
    ck_assert_uint_eq(load("[policy p]\ntoken = t\nkeys = a b*\nallowed_purposes = none\n"
                           "allowed_mechanisms = CKM_AES_GCM CKM_SHA256_HMAC\n"
                           "time_window = Mon 00:00-24:00 UTC\nusage_limit = 4294967296\n"
                           "derivation_labels = a hex:00ff\n"),
                      CKR_OK);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("key rules");

    tcase_add_test(cases, hours_of_the_week);
    tcase_add_test(cases, what_is_no_window);
    tcase_add_test(cases, labels_and_patterns);
    tcase_add_test(cases, the_mechanism_table_fits_the_set);
    tcase_add_test(cases, bad_policies_refuse_the_file);
    return fixture_run("key_rules", cases);
}
