/*
 * A search for attacks through the API (docs/security-model.md): every sequence of up to five calls
 * from one sensitive key, and then the same with each rule of the policy switched off, which must
 * find the key again, so that the search is known to look in the right places.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "module/policy_rules.h"
#include "tests/attacks/explore.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define B(flag) FLAG_BIT(FLAG_##flag)
#define CIPHER (B(ENCRYPT) | B(DECRYPT))
/* With a rule off; AES keys that may be wrapped are searched deeper, as it takes steps to wrap. */
#define RULE_DEPTH 4

static const struct target targets[] = {
    {.name = "index key",
     .shape = {.type = CKK_GENERIC_SECRET, .value = 3, .yes = B(TOKEN), .label = "victim"},
     .has_subkeys = true},
    {.name = "AES token key",
     .shape = {.type = CKK_AES, .value = 3, .yes = B(TOKEN) | CIPHER, .label = "victim"}},
    {.name = "AES session key", .shape = {.type = CKK_AES, .value = 3, .yes = CIPHER}},
    {.name = "MAC key",
     .shape = {.type = CKK_GENERIC_SECRET, .value = 3, .yes = B(SIGN) | B(VERIFY)}},
    {.name = "AES MAC key", .shape = {.type = CKK_AES, .value = 3, .yes = B(SIGN) | B(VERIFY)}},
    {.name = "derivation base",
     .shape = {.type = CKK_GENERIC_SECRET, .value = 3, .yes = B(DERIVE)}},
    {.name = "AES derivation base", .shape = {.type = CKK_AES, .value = 3, .yes = B(DERIVE)}},
    {.name = "extractable AES key",
     .shape = {.type = CKK_AES, .value = 3, .yes = CIPHER | B(EXTRACTABLE)}},
    {.name = "extractable derivation base",
     .shape = {.type = CKK_GENERIC_SECRET, .value = 3, .yes = B(DERIVE) | B(EXTRACTABLE)},
     .is_refused = true},
    {.name = "extractable AES key, WRAP_WITH_TRUSTED",
     .shape = {.type = CKK_AES, .value = 3, .yes = CIPHER | B(EXTRACTABLE) | B(WRAP_WITH_TRUSTED)}},
    {.name = "wrapping key", .shape = {.type = CKK_AES, .len = 32, .yes = B(WRAP) | B(UNWRAP)}},
    /* What a careless user asks for. */
    {.name = "token key that is not sensitive",
     .shape = {.type = CKK_AES, .value = 3, .yes = B(TOKEN) | CIPHER, .no = B(SENSITIVE)}},
    {.name = "readable token key",
     .shape = {.type = CKK_AES,
               .value = 3,
               .yes = B(TOKEN) | CIPHER | B(EXTRACTABLE),
               .no = B(SENSITIVE)},
     .is_refused = true},
    {.name = "derivation base that signs",
     .shape = {.type = CKK_GENERIC_SECRET, .value = 3, .yes = B(DERIVE) | B(SIGN)},
     .is_refused = true},
    {.name = "AES derivation base that encrypts",
     .shape = {.type = CKK_AES, .value = 3, .yes = B(DERIVE) | CIPHER},
     .is_refused = true},
};

/* Defence in depth: nothing is found until the rules beside it are off too. */
static const struct {
    const char *rule;
    const char *others[3];
} backed[] = {
    /* A copy or a change that loosens is one of a key that is as it was. */
    {"one-way-attributes", {"as-sensitive-as-its-base"}},
    /* A careless template is mended, and what is not mended is refused. */
    {"token-keys-are-strengthened", {"token-keys-stay-inside", "token-keys-are-sensitive"}},
    {"token-keys-stay-inside", {"token-keys-are-strengthened", "token-keys-are-sensitive"}},
    {"token-keys-are-sensitive", {"token-keys-are-strengthened", "token-keys-stay-inside"}},
    /* A base does not leave to begin with. */
    {"unwrapped-keys-do-not-derive", {"openers-stay-inside"}},
    /* A key that is unwrapped from chosen bytes, or that a user calls trusted, still does not wrap.
     */
    {"unwrap-excludes-encrypt", {"known-keys-do-not-wrap"}},
    {"only-the-so-trusts", {"known-keys-do-not-wrap"}},
};

/* What it stops takes more work than 2^64: nothing is to be found. */
static const char *const beyond[] = {
    "wrapped-under-as-strong", /* 2^128, for an AES-256 key under an AES-128 key */
};

static struct api api;
static size_t full_depth = DEPTH_MAX;

static void open_token(void)
{
    world_open(&api);
}

static void close_token(void)
{
    policy_test_switch_off(NULL);
    world_close(&api);
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

START_TEST(nothing_is_found)
{
    const struct target *target = &targets[_i];
    struct exploration exploration = {.target = target, .depth = full_depth};
    struct world world;
    double start = seconds();
    char text[1024];

    CK_RV rv = world_start(&world, &api, target);
    if (rv == CKR_OK)
        world_end(&world);
    ck_assert_uint_eq(rv, target->is_refused ? CKR_TEMPLATE_INCONSISTENT : CKR_OK);
    explore(&api, &exploration);
    explore_describe(&exploration, text, sizeof(text));
    printf("depth %zu: %lu steps, %lu calls, %lu sequences, %lu worlds, %lu merged, %.1f s: %s\n",
           exploration.depth, exploration.steps, exploration.calls, exploration.sequences,
           exploration.worlds, exploration.merged, seconds() - start, text);
    ck_assert_msg(exploration.hit == NULL, "%s", text);
}
END_TEST

static bool is_found(const char *name)
{
    for (size_t depth = 1; depth <= DEPTH_MAX; depth++) {
        for (size_t i = 0; i < COUNT(targets); i++) {
            uint64_t flags = targets[i].shape.yes & (B(EXTRACTABLE) | B(DERIVE));
            if (depth > RULE_DEPTH && flags != B(EXTRACTABLE))
                continue;
            struct exploration exploration = {.target = &targets[i], .depth = depth};
            char text[1024];
            explore(&api, &exploration);
            if (exploration.hit == NULL)
                continue;
            explore_describe(&exploration, text, sizeof(text));
            printf("without %s: %s\n", name, text);
            return true;
        }
    }
    return false;
}

/* The rules that back this one go off too. */
static void switch_off_backing(const char *rule, char *text, size_t size)
{
    for (size_t i = 0; i < COUNT(backed); i++) {
        if (strcmp(backed[i].rule, rule) != 0)
            continue;
        for (size_t j = 0; j < COUNT(backed[i].others) && backed[i].others[j] != NULL; j++) {
            size_t len = strlen(text);
            policy_test_switch_off(backed[i].others[j]);
            snprintf(text + len, size - len, " and %s", backed[i].others[j]);
        }
    }
}

static bool is_beyond(const char *rule)
{
    for (size_t i = 0; i < COUNT(beyond); i++)
        if (strcmp(beyond[i], rule) == 0)
            return true;
    return false;
}

START_TEST(every_rule_is_needed)
{
    size_t count;
    const char *rule = policy_test_rules(&count)[_i];
    char name[192];

    policy_test_switch_off(rule);
    snprintf(name, sizeof(name), "%s", rule);
    switch_off_backing(rule, name, sizeof(name));
    if (is_beyond(rule))
        ck_assert(!is_found(name));
    else
        ck_assert_msg(is_found(name), "without %s: nothing is found", name);
}
END_TEST

/* A depth as the argument makes a quicker search, for work on the search itself. */
int main(int argc, char **argv)
{
    Suite *suite = suite_create("attack search");
    TCase *tests = tcase_create("search");
    SRunner *runner = srunner_create(suite);
    size_t rule_count;

    if (argc > 1)
        full_depth = strtoul(argv[1], NULL, 10);
    policy_test_rules(&rule_count);
    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_loop_test(tests, nothing_is_found, 0, COUNT(targets));
    tcase_add_loop_test(tests, every_rule_is_needed, 0, (int) rule_count);
    tcase_set_timeout(tests, 600);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
