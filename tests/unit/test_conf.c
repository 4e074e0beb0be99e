/* The configuration reader: what it accepts, what it refuses, and in which words. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "tests/unit/conf_fixture.h"

#define TOKEN "[token a]\nsource = file\nkey_file = /k\n"

struct good_case {
    const char *line; /* in a token's section */
    const char *name;
    const char *text;
    uint64_t number;
};

static const struct good_case good_cases[] = {
    {"store = memory:", "store", "memory:", 0},
    {"store=memory:", "store", "memory:", 0},
    {"\t store \t=\t memory: \t", "store", "memory:", 0},
    {"store = memory: ; gone at the end", "store", "memory:", 0},
    {"store = memory:\t;; twice", "store", "memory:", 0},
    {"store = memory:\r", "store", "memory:", 0},
    {"store = sqlite:/a;b # c = d", "store", "sqlite:/a;b # c = d", 0},
    {"context.a = caf\xc3\xa9 \xf0\x9f\x94\x91", "context.a", "caf\xc3\xa9 \xf0\x9f\x94\x91", 0},
    {"context.aws:pi/x-1_2 = y", "context.aws:pi/x-1_2", "y", 0},
    {"context.a = [b]", "context.a", "[b]", 0},
    {"login = ambient", "login", "ambient", 1},
    {"login = pin", "login", "pin", 0},
    {"subkeys = query  token", "subkeys", "query  token", 0x11},
    {"subkeys = none", "subkeys", "none", 0},
    {"lease = 0s", "lease", "0s", 0},
    {"lease = 250ms", "lease", "250ms", 250},
    {"lease = 5s", "lease", "5s", 5000},
    {"lease = 15m", "lease", "15m", 900000},
    {"lease = 1h", "lease", "1h", 3600000},
    {"lease = 7d", "lease", "7d", 604800000},
    {"lease = 18446744073709551615ms", "lease", "18446744073709551615ms", UINT64_MAX},
    {"deadline = 100ms", "deadline", "100ms", 100},
    {"deadline = 5m", "deadline", "5m", 300000},
    {"pin_tries = 1", "pin_tries", "1", 1},
    {"pin_tries = 010", "pin_tries", "010", 10},
    {"slot = 2147483647", "slot", "2147483647", 2147483647},
};

START_TEST(good_values_are_read)
{
    const struct good_case *good = &good_cases[_i];
    _cleanup_(conf_free) struct conf *conf = NULL;
    char text[512];
    size_t count;
    (void) snprintf(text, sizeof(text), TOKEN "%s", good->line);
    ck_assert_uint_eq(conf_fixture_load(text, &conf), CKR_OK);
    ck_assert_uint_eq(conf_fixture_line_count, 0);
    const struct conf_section *token = conf_tokens(conf, &count);
    ck_assert_uint_eq(count, 1);
    ck_assert(!token->bad);
    ck_assert_str_eq(token->name, "a");
    ck_assert_uint_eq(conf_section_line(token), 1);
    ck_assert_str_eq(conf_string(token, good->name, "unset"), good->text);
    ck_assert_uint_eq(conf_uint(token, good->name, UINT64_MAX - 1), good->number);
}
END_TEST

START_TEST(unset_keys_give_the_fallback)
{
    _cleanup_(conf_free) struct conf *conf = NULL;
    size_t count;
    ck_assert_uint_eq(conf_fixture_load("\xef\xbb\xbf# nothing but a token\n" TOKEN, &conf),
                      CKR_OK);
    const struct conf_section *token = conf_tokens(conf, &count);
    ck_assert_ptr_null(conf_string(token, "store", NULL));
    ck_assert_str_eq(conf_string(token, "store", "memory:"), "memory:");
    ck_assert_uint_eq(conf_choice(token, "policy", 1), 1);
    ck_assert_uint_eq(conf_words(token, "subkeys", 0x1f), 0x1f);
    ck_assert_uint_eq(conf_duration_ms(token, "lease", 900000), 900000);
    ck_assert_uint_eq(conf_uint(token, "pin_tries", 7), 7);
    ck_assert_ptr_null(conf_keys(conf, &count));
    ck_assert_uint_eq(count, 0);
    const struct conf_section *module = conf_module(conf);
    ck_assert_uint_eq(conf_section_line(module), 0);
    ck_assert(conf_bool(module, "require_locked_memory", true));
    ck_assert(!conf_bool(module, "require_locked_memory", false));
}
END_TEST

START_TEST(module_keys_are_read)
{
    _cleanup_(conf_free) struct conf *conf = NULL;
    ck_assert_uint_eq(
        conf_fixture_load("[ module ] ; first\nlog = syslog:info\nrequire_locked_memory = yes\n",
                          &conf),
        CKR_OK);
    const struct conf_section *module = conf_module(conf);
    ck_assert(conf_bool(module, "require_locked_memory", false));
    ck_assert_str_eq(conf_string(module, "log", NULL), "syslog:info");
    ck_assert_str_eq(module->name, "");
}
END_TEST

START_TEST(no_path_is_an_empty_configuration)
{
    _cleanup_(conf_free) struct conf *conf = NULL;
    size_t count = 9;
    ck_assert_uint_eq(conf_load(NULL, &conf_fixture_schema, &conf), CKR_OK);
    (void) conf_tokens(conf, &count);
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(conf_section_line(conf_module(conf)), 0);
}
END_TEST

struct bad_case {
    const char *text;
    const char *line; /* after the path */
};

/* Mistakes that refuse the whole file. */
static const struct bad_case refused_files[] = {
    {"log = stderr:error\n", ":1: a key stands before the first section; put it under [module] or "
                             "[token NAME]"},
    {"[modul]\n", ":1: unknown section [modul] (nearest: 'module'); correct or remove it"},
    {"\n[tokens x]\n", ":2: unknown section [tokens] (nearest: 'token'); correct or remove it"},
    {"[database]\n", ":1: unknown section [database]; remove it"},
    {"[module x]\n", ":1: [module] takes no name; remove it"},
    {"[token]\n", ":1: [token] has no name; write [token NAME]"},
    {"[module\n",
     ":1: a section begins with [module], [token NAME] or [key NAME], alone on its line"},
    {"[module] log = x\n",
     ":1: a section begins with [module], [token NAME] or [key NAME], alone on its line"},
    {"[token a b]\n", ":1: the section's name is not well-formed; use 1 to 32 of the characters "
                      "A-Z a-z 0-9 . _ -"},
    {"[]\n", ":1: the section's name is not well-formed; use 1 to 32 of the characters "
             "A-Z a-z 0-9 . _ -"},
    {"[token a/b]\n", ":1: the section's name is not well-formed; use 1 to 32 of the characters "
                      "A-Z a-z 0-9 . _ -"},
    {"[token aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n",
     ":1: the section's name is not well-formed; use 1 to 32 of the characters A-Z a-z 0-9 . _ -"},
    {"[module]\n\n[module]\n", ":3: section [module] is also in line 1; join them or rename one"},
    {TOKEN "[token a]\n", ":4: section [token a] is also in line 1; join them or rename one"},
    {"[module]\nlogg = stderr:error\n",
     ":2: [module] unknown key 'logg' (nearest: 'log'); correct or remove it"},
    {"[module]\nverbosity = 3\n", ":2: [module] unknown key 'verbosity'; remove it"},
    {"[module]\nlog = stdout\n",
     ":2: [module] log must be stderr, syslog or file:PATH, and a level; correct it"},
    {"[module]\nrequire_locked_memory = true\n",
     ":2: [module] require_locked_memory must be yes or no; correct it"},
    {"[module]\nlog = syslog:info\nlog = syslog:info\n",
     ":3: [module] key 'log' is also set in line 2; remove one of them"},
    {"[module]\nlog =\n", ":2: the key has no value; give one or remove the line"},
    {"[module]\nlog = ; to come\n", ":2: the key has no value; give one or remove the line"},
    {"[module]\nhunter2\n", ":2: not a [section], a `key = value` or a comment; correct the line"},
    {"[module]\nlog: syslog:info\n",
     ":2: not a [section], a `key = value` or a comment; correct the line"},
    {"[module]\n= yes\n",
     ":2: what stands before the = is not a key; use 1 to 64 of the characters "
     "A-Z a-z 0-9 . _ - : /"},
    {"[module]\nkey+bytes=\n", ":2: what stands before the = is not a key; use 1 to 64 of the "
                               "characters A-Z a-z 0-9 . _ - : /"},
    {"[module]\n; \xff\n", ":2: byte 3 is not UTF-8; save the file as UTF-8 text"},
    {"[module]\n; \xc0\xaf\n", ":2: byte 3 is not UTF-8; save the file as UTF-8 text"},
    {"[module]\n; \xed\xa0\x80\n", ":2: byte 3 is not UTF-8; save the file as UTF-8 text"},
    {"[module]\n; \xe0\x9f\xbf\n", ":2: byte 3 is not UTF-8; save the file as UTF-8 text"},
    {"[module]\n; \xf4\x90\x80\x80\n", ":2: byte 3 is not UTF-8; save the file as UTF-8 text"},
    {"[module]\n; \xf5\x80\x80\x80\n", ":2: byte 3 is not UTF-8; save the file as UTF-8 text"},
    {"[module]\n; \xe2\x82", ":2: byte 3 is not UTF-8; save the file as UTF-8 text"},
    {"[module]\nlog = a\x1b[0m\n", ":2: byte 8 is a NUL or another control character; remove it"},
    {"[module]\rlog = x\n", ":1: byte 9 is a NUL or another control character; remove it"},
};

START_TEST(mistakes_refuse_the_file)
{
    struct conf *conf = NULL;
    ck_assert_uint_eq(conf_fixture_load(refused_files[_i].text, &conf), CKR_FUNCTION_FAILED);
    ck_assert_ptr_null(conf);
    conf_fixture_assert_logged(refused_files[_i].line);
    ck_assert_int_eq(mem_live(), conf_fixture_live);
}
END_TEST

#define ABSENT "; until then this token is absent"

/* Mistakes that cost one token; a good one follows. */
static const struct bad_case refused_tokens[] = {
    {TOKEN "storee = memory:\n",
     ":4: [token a] unknown key 'storee' (nearest: 'store'); correct or remove it" ABSENT},
    {TOKEN "contxt.tenant = x\n", ":4: [token a] unknown key 'contxt.tenant' (nearest: "
                                  "'context.NAME'); correct or remove it" ABSENT},
    {TOKEN "context. = x\n",
     ":4: [token a] unknown key 'context.' (nearest: 'context.NAME'); correct or remove it" ABSENT},
    {TOKEN "colour = red\n", ":4: [token a] unknown key 'colour'; remove it" ABSENT},
    {TOKEN "key_env = X\n",
     ":4: [token a] key 'key_env' belongs to source = env; remove it or change the source" ABSENT},
    {TOKEN "login = pni\n", ":4: [token a] login must be one of pin ambient (nearest: 'pin'); "
                            "correct it" ABSENT},
    {TOKEN "login = 9071-secret\n",
     ":4: [token a] login must be one of pin ambient; correct it" ABSENT},
    {TOKEN "subkeys = token centroids\n",
     ":4: [token a] subkeys must be `none` or some of token centroid payload item query "
     "(nearest: 'centroid'); correct it" ABSENT},
    {TOKEN "subkeys = none token\n",
     ":4: [token a] subkeys must be `none` or some of token centroid "
     "payload item query; correct it" ABSENT},
    {TOKEN "store = oracle:x\n",
     ":4: [token a] store must be sqlite:PATH or memory:; correct it" ABSENT},
    {TOKEN "lease = 15\n", ":4: [token a] lease must be a number and its unit (ms, s, m, h or d), "
                           "such as 5s; correct it" ABSENT},
    {TOKEN "lease = 5 s\n", ":4: [token a] lease must be a number and its unit (ms, s, m, h or d), "
                            "such as 5s; correct it" ABSENT},
    {TOKEN "lease = -5s\n", ":4: [token a] lease must be a number and its unit (ms, s, m, h or d), "
                            "such as 5s; correct it" ABSENT},
    {TOKEN "lease = 18446744073709551616ms\n",
     ":4: [token a] lease must be a number and its unit (ms, s, m, h or d), such as 5s; correct "
     "it" ABSENT},
    {TOKEN "lease = 213503982335d\n",
     ":4: [token a] lease must be a number and its unit (ms, s, m, h or d), such as 5s; correct "
     "it" ABSENT},
    {TOKEN "deadline = 99ms\n",
     ":4: [token a] deadline must be a number and its unit (ms, s, m, h or d), such as 5s, from "
     "100ms to 300000ms; correct it" ABSENT},
    {TOKEN "pin_tries = 11\n",
     ":4: [token a] pin_tries must be a whole number from 1 to 10; correct it" ABSENT},
    {TOKEN "pin_tries = 0x2\n",
     ":4: [token a] pin_tries must be a whole number from 1 to 10; correct it" ABSENT},
    {TOKEN "slot = 2147483648\n",
     ":4: [token a] slot must be a whole number from 0 to 2147483647; correct it" ABSENT},
    {TOKEN "store = memory:\nstore = memory:\n",
     ":5: [token a] key 'store' is also set in line 4; remove one of them" ABSENT},
    {"[token a]\nsource = file\nkey_file = root.key\n",
     ":3: [token a] key_file must be an absolute path; correct it" ABSENT},
    {"[token a]\nsource = file\n",
     ":1: [token a] has no key 'key_file' (the file of the root key); add it" ABSENT},
    {"[token a]\nkey_file = /k\n",
     ":1: [token a] has no key 'source' (where the token's root key lives); add it" ABSENT},
    {"[token a]\nsource = fil\nkey_fil = /k\n",
     ":2: [token a] source must be one of file env (nearest: 'file'); correct it" ABSENT},
    {"[token a]\nsource = aws\n",
     ":2: [token a] source must be one of file env; correct it" ABSENT},
    {"[token a]\n", ":1: [token a] has no key 'source' (where the token's root key lives); add "
                    "it" ABSENT},
};

START_TEST(mistakes_cost_one_token)
{
    _cleanup_(conf_free) struct conf *conf = NULL;
    char text[1024];
    size_t count;
    (void) snprintf(text, sizeof(text), "%s[token b]\nkey_env = X\nsource = env\n",
                    refused_tokens[_i].text);
    ck_assert_uint_eq(conf_fixture_load(text, &conf), CKR_OK);
    conf_fixture_assert_logged(refused_tokens[_i].line);
    const struct conf_section *tokens = conf_tokens(conf, &count);
    ck_assert_uint_eq(count, 2);
    ck_assert(tokens[0].bad);
    ck_assert(tokens[0].has_slot);
    ck_assert_uint_eq(tokens[0].slot, 0);
    ck_assert(!tokens[1].bad);
    ck_assert_uint_eq(tokens[1].slot, 1);
    ck_assert_str_eq(conf_string(&tokens[1], "key_env", ""), "X");
}
END_TEST

START_TEST(every_mistake_has_its_line)
{
    _cleanup_(conf_free) struct conf *conf = NULL;
    size_t count;
    ck_assert_uint_eq(conf_fixture_load(TOKEN "login = 7\nlease = 5\nslot = 3\nfoo = 1\n", &conf),
                      CKR_OK);
    conf_fixture_assert_logged_lines(
        (const char *const[]){":4: [token a] login must be one of pin ambient; correct it" ABSENT,
                              ":5: [token a] lease must be a number and its unit (ms, s, m, h or "
                              "d), such as 5s; correct it" ABSENT,
                              ":7: [token a] unknown key 'foo'; remove it" ABSENT, NULL});
    ck_assert_uint_eq(conf_tokens(conf, &count)->slot, 3);
}
END_TEST

START_TEST(slots_are_stable_and_single)
{
    _cleanup_(conf_free) struct conf *conf = NULL;
    size_t count;
    ck_assert_uint_eq(conf_fixture_load("[token a]\nsource = file\nkey_file = /k\nslot = 7\n"
                                        "[token b]\nsource = file\nkey_file = /k\n"
                                        "[token c]\nsource = file\nkey_file = /k\nslot = 7\n",
                                        &conf),
                      CKR_OK);
    conf_fixture_assert_logged(
        ":8: [token c] slot 7 is that of [token a] (line 1); give each token its own "
        "`slot`" ABSENT);
    const struct conf_section *tokens = conf_tokens(conf, &count);
    ck_assert_uint_eq(count, 3);
    ck_assert(!tokens[0].bad && tokens[0].has_slot && tokens[0].slot == 7);
    ck_assert(!tokens[1].bad && tokens[1].has_slot && tokens[1].slot == 1);
    ck_assert(tokens[2].bad && !tokens[2].has_slot);
}
END_TEST

START_TEST(key_sections_name_their_token)
{
    _cleanup_(conf_free) struct conf *conf = NULL;
    size_t count;
    ck_assert_uint_eq(conf_fixture_load("[key k1]\ntoken = a\nciphertext = file:/c\n"
                                        "[key k2]\ntoken = aa\nciphertext = file:/c\n" TOKEN,
                                        &conf),
                      CKR_OK);
    conf_fixture_assert_logged(
        ":5: [key k2] token must name a [token] section (nearest: 'a'); correct it; until "
        "then this key is absent");
    const struct conf_section *keys = conf_keys(conf, &count);
    ck_assert_uint_eq(count, 2);
    ck_assert(!keys[0].bad && keys[1].bad);
    ck_assert(!conf_tokens(conf, &count)->bad);
}
END_TEST

START_TEST(key_sections_are_bad_alone)
{
    _cleanup_(conf_free) struct conf *conf = NULL;
    size_t count;
    ck_assert_uint_eq(conf_fixture_load("[key k1]\ntoken = vectors\nciphertext = file:/c\n"
                                        "[key k2]\nciphertext = file:/c\n"
                                        "[key k3]\ntoken = a\nsource = file\n" TOKEN,
                                        &conf),
                      CKR_OK);
    conf_fixture_assert_logged_lines((const char *const[]){
        ":2: [key k1] token must name a [token] section; correct it; until then this key is absent",
        ":4: [key k2] has no key 'token' (the token that shows the key); add it; until then this "
        "key is absent",
        ":8: [key k3] unknown key 'source'; remove it; until then this key is absent",
        ":6: [key k3] has no key 'ciphertext' (the wrapped key); add it; until then this key is "
        "absent",
        NULL});
    const struct conf_section *keys = conf_keys(conf, &count);
    ck_assert_uint_eq(count, 3);
    ck_assert(keys[0].bad && keys[1].bad && keys[2].bad);
}
END_TEST

START_TEST(key_sections_are_unknown_without_their_table)
{
    struct conf *conf = NULL;
    struct conf_schema no_keys = conf_fixture_schema;
    no_keys.key_keys = NULL;
    conf_fixture_write("[key k]\n", 8);
    ck_assert_uint_eq(conf_load(conf_fixture_path, &no_keys, &conf), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(":1: unknown section [key]; remove it");
}
END_TEST

START_TEST(prefix_keys_come_in_byte_order)
{
    static const char *const expected[][2] = {{"A", "4"}, {"B.x", "2"}, {"a", "3"}, {"b", "1"}};
    _cleanup_(conf_free) struct conf *conf = NULL;
    const char *rest;
    const char *value;
    size_t cursor = 0;
    size_t count;
    ck_assert_uint_eq(
        conf_fixture_load(TOKEN "context.b = 1\ncontext.B.x = 2\nlease = 1s\ncontext.a = 3\n"
                                "context.A = 4\n",
                          &conf),
        CKR_OK);
    const struct conf_section *token = conf_tokens(conf, &count);
    for (size_t i = 0; i < 4; i++) {
        ck_assert(conf_next(token, "context.", &cursor, &rest, &value));
        ck_assert_str_eq(rest, expected[i][0]);
        ck_assert_str_eq(value, expected[i][1]);
    }
    ck_assert(!conf_next(token, "context.", &cursor, &rest, &value));
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("conf");
    tcase_add_checked_fixture(cases, conf_fixture_setup, conf_fixture_teardown);
    tcase_add_loop_test(cases, good_values_are_read, 0, COUNT_OF(good_cases));
    tcase_add_test(cases, unset_keys_give_the_fallback);
    tcase_add_test(cases, module_keys_are_read);
    tcase_add_test(cases, no_path_is_an_empty_configuration);
    tcase_add_loop_test(cases, mistakes_refuse_the_file, 0, COUNT_OF(refused_files));
    tcase_add_loop_test(cases, mistakes_cost_one_token, 0, COUNT_OF(refused_tokens));
    tcase_add_test(cases, every_mistake_has_its_line);
    tcase_add_test(cases, slots_are_stable_and_single);
    tcase_add_test(cases, key_sections_name_their_token);
    tcase_add_test(cases, key_sections_are_bad_alone);
    tcase_add_test(cases, key_sections_are_unknown_without_their_table);
    tcase_add_test(cases, prefix_keys_come_in_byte_order);
    return conf_fixture_run("conf", cases);
}
