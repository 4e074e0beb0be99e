/*
 * A search for attacks through the API (docs/security-model.md): every sequence of up to five calls
 * from one sensitive key, and then the same with each rule of the policy switched off, which must
 * find the key again, so that the search is known to look in the right places.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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
    {.name = "extractable MAC key",
     .shape = {.type = CKK_GENERIC_SECRET,
               .value = 3,
               .yes = B(SIGN) | B(VERIFY) | B(EXTRACTABLE)}},
    {.name = "base of derivation bases",
     .shape = {.type = CKK_GENERIC_SECRET, .value = 3, .yes = B(DERIVE), .derives = true}},
    {.name = "AES base of derivation bases",
     .shape = {.type = CKK_AES, .value = 3, .yes = B(DERIVE), .derives = true}},
    {.name = "derivation base, extract_key = yes",
     .shape = {.type = CKK_GENERIC_SECRET, .value = 3, .yes = B(DERIVE)},
     .extract_key = true},
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

/* Defence in depth: nothing is found until the rules beside it are off too. Each is proved by a
 * sequence that it stops while they are off. */
static const struct {
    const char *rule;
    const char *others[RULES_OFF_MAX - 1];
} backed[] = {
    /* A copy or a change that loosens is one of a key that is as it was. */
    {"one-way-attributes", {"as-sensitive-as-its-base"}},
    /* A careless template is mended, and what is not mended is refused. */
    {"token-keys-are-strengthened", {"token-keys-stay-inside", "token-keys-are-sensitive"}},
    {"token-keys-stay-inside", {"token-keys-are-strengthened", "token-keys-are-sensitive"}},
    {"token-keys-are-sensitive", {"token-keys-are-strengthened", "token-keys-stay-inside"}},
    /* A key that is unwrapped from chosen bytes still does not wrap. */
    {"unwrap-excludes-encrypt", {"unwrapped-keys-do-not-wrap"}},
    /* Nor does one that is known and called trusted. */
    {"only-the-so-trusts", {"known-keys-do-not-wrap"}},
    /* Whatever slices a key, what is left has 16 bytes. */
    {"slices-have-16-bytes", {"no-short-pieces"}},
    {"no-slices-of-keys", {"slices-have-16-bytes", "no-short-pieces"}},
};

/* What it stops takes more work than 2^64: nothing is to be found. */
static const struct {
    const char *rule;
    const char *reason;
} beyond[] = {
    {"wrapped-under-as-strong", "2^128 tries, for an AES-256 key under an AES-128 key"},
    {"xor-keeps-the-type", "2^99 work, for AES-256 under related keys"},
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
    ck_assert_msg(exploration.hit == NULL && exploration.others == 0, "%s", text);
}
END_TEST

static bool is_found(const char *const off[RULES_OFF_MAX], const char *name)
{
    unsigned long others = 0;

    for (size_t depth = 1; depth <= DEPTH_MAX; depth++) {
        for (size_t i = 0; i < COUNT(targets); i++) {
            uint64_t flags = targets[i].shape.yes & (B(EXTRACTABLE) | B(DERIVE));
            if (depth > RULE_DEPTH && flags != B(EXTRACTABLE))
                continue;
            struct exploration exploration = {.target = &targets[i], .depth = depth};
            char text[1024];
            memcpy(exploration.off, off, sizeof(exploration.off));
            explore(&api, &exploration);
            others += exploration.others;
            if (exploration.hit == NULL)
                continue;
            explore_describe(&exploration, text, sizeof(text));
            printf("without %s: %s (not counted: %lu that it does not stop)\n", name, text, others);
            return true;
        }
    }
    return false;
}

/* The rules that back this one go off too. */
static void choose_rules(const char *rule, const char *ret_off[RULES_OFF_MAX], char *text,
                         size_t size)
{
    size_t len = (size_t) snprintf(text, size, "%s", rule);

    ret_off[0] = rule;
    for (size_t i = 0; i < COUNT(backed); i++) {
        if (strcmp(backed[i].rule, rule) != 0)
            continue;
        for (size_t j = 0; j < COUNT(backed[i].others) && backed[i].others[j] != NULL; j++) {
            ret_off[j + 1] = backed[i].others[j];
            len += (size_t) snprintf(text + len, size - len, " and %s", backed[i].others[j]);
        }
    }
}

static const char *why_beyond(const char *rule)
{
    for (size_t i = 0; i < COUNT(beyond); i++)
        if (strcmp(beyond[i].rule, rule) == 0)
            return beyond[i].reason;
    return NULL;
}

START_TEST(every_rule_is_needed)
{
    size_t count;
    const char *rule = policy_test_rules(&count)[_i];
    const char *reason = why_beyond(rule);
    const char *off[RULES_OFF_MAX] = {NULL};
    char name[256];

    choose_rules(rule, off, name, sizeof(name));
    if (reason == NULL) {
        ck_assert_msg(is_found(off, name), "without %s: nothing is found", name);
        return;
    }
    ck_assert(!is_found(off, name));
    printf("without %s: nothing, as expected: %s\n", name, reason);
}
END_TEST

static int run(bool rules)
{
    Suite *suite = suite_create(rules ? "attack search, rules" : "attack search, targets");
    TCase *tests = tcase_create("search");
    SRunner *runner = srunner_create(suite);
    size_t rule_count;

    policy_test_rules(&rule_count);
    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, open_token, close_token);
    if (rules)
        tcase_add_loop_test(tests, every_rule_is_needed, 0, (int) rule_count);
    else
        tcase_add_loop_test(tests, nothing_is_found, 0, COUNT(targets));
    tcase_set_timeout(tests, 600);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Two processes, for two cores. A depth as the argument makes a quicker search, for work on the
 * search itself. */
int main(int argc, char **argv)
{
    int status = EXIT_FAILURE;

    if (argc > 1)
        full_depth = strtoul(argv[1], NULL, 10);
    setvbuf(stdout, NULL, _IOLBF, 0);
    pid_t other = fork();
    if (other < 0)
        return EXIT_FAILURE;
    int failed = run(other == 0);
    if (other == 0)
        return failed;
    return waitpid(other, &status, 0) == other && status == 0 ? failed : EXIT_FAILURE;
}
