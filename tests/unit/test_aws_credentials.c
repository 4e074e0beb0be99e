/* AWS credentials: names of keys, profile files, the environment, the PIN, and their order. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/support/token_fixture.h"
#include "tokens/aws_profile.h"
#include "tokens/aws_route.h"

#define ID "1234abcd-12ab-34cd-56ef-1234567890ab"
#define ARN "arn:aws:kms:eu-central-1:111122223333:"
#define CANARY "CanarySecret/+"

/* ---- names of keys ---- */

static const char *const good_keys[] = {
    ID,
    "mrk-1234abcd12ab34cd56ef1234567890ab",
    "alias/index-keys",
    "alias/team_a/x",
    (ARN "key/" ID),
    (ARN "alias/index-keys"),
    ("arn:aws-cn:kms:cn-north-1:111122223333:key/" ID),
};

START_TEST(names_of_keys_are_taken)
{
    ck_assert_ptr_null(aws_key_fault(good_keys[_i]));
}
END_TEST

static const char *const bad_keys[] = {
    "",
    "alias/",
    "alias/a b",
    "1234/abcd",
    ("key/" ID),
    "arn:aws:kms:eu-central-1:111122223333:",
    "arn:aws:kms:eu-central-1:111122223333:key/",
    "arn:aws:kms:eu-central-1:111122223333:key/a:b",
    ("arn:aws:s3:eu-central-1:111122223333:key/" ID),
    ("arn:aws:kms:eu_central:111122223333:key/" ID),
    ("arn:aws:kms::111122223333:key/" ID),
    ("arn:aws:kms:eu-central-1::key/" ID),
    "arn:aws:kms",
    ("\"" ID),
    "id\nid",
    "schl\xc3\xbcssel",
};

START_TEST(other_names_are_refused)
{
    ck_assert_ptr_nonnull(aws_key_fault(bad_keys[_i]));
    ck_assert(!aws_key_is_key_arn(view_text(bad_keys[_i])));
}
END_TEST

static const struct {
    const char *configured;
    const char *arn;
    bool matches;
} matches[] = {
    {ID, ARN "key/" ID, true},
    {ARN "key/" ID, ARN "key/" ID, true},
    {ID, ID, false},
    {ID, ARN "key/" ID "0", false},
    {ID, ARN "alias/" ID, false},
    {ARN "key/" ID, "arn:aws:kms:us-east-1:111122223333:key/" ID, false},
    {ARN "key/" ID, "arn:aws:kms:eu-central-1:999922223333:key/" ID, false},
    {ARN "key/mrk-12", "arn:aws:kms:us-east-1:111122223333:key/mrk-12", true},
    {ARN "key/mrk-12", "arn:aws:kms:us-east-1:999922223333:key/mrk-12", false},
    {ARN "key/mrk-12", "arn:aws:kms:us-east-1:111122223333:key/mrk-13", false},
    {"alias/x", ARN "key/" ID, true},
    {"alias/x", ARN "alias/x", false},
    {ARN "alias/x", ARN "key/" ID, true},
    {ARN "alias/x", "arn:aws:kms:us-east-1:111122223333:key/" ID, false},
    {ARN "alias/x", "arn:aws:kms:eu-central-1:999922223333:key/" ID, false},
};

START_TEST(a_key_arn_is_what_was_configured_or_not)
{
    ck_assert(aws_key_matches(matches[_i].configured, view_text(matches[_i].arn)) ==
              matches[_i].matches);
}
END_TEST

START_TEST(only_an_arn_has_a_region)
{
    ck_assert(view_equal(aws_key_region(ARN "key/" ID), view_text("eu-central-1")));
    ck_assert_uint_eq(aws_key_region(ID).len, 0);
    ck_assert_uint_eq(aws_key_region("alias/x").len, 0);
    ck_assert(aws_key_is_alias("alias/x") && aws_key_is_alias(ARN "alias/x"));
    ck_assert(!aws_key_is_alias(ID) && !aws_key_is_alias(ARN "key/" ID));
    ck_assert_ptr_nonnull(aws_region_fault("eu central"));
    ck_assert_ptr_nonnull(aws_region_fault(""));
    ck_assert_ptr_nonnull(aws_region_fault("a23456789012345678901234567890123"));
    ck_assert_ptr_null(aws_region_fault("us-gov-west-1"));
}
END_TEST

/* ---- profile files as text ---- */

static const struct {
    enum aws_profile_file kind;
    const char *text;
    const char *name;
    const char *id; /* "": not found */
    const char *secret;
    const char *region;
} texts[] = {
    {AWS_CREDENTIALS_FILE, "[default]\naws_access_key_id = A\naws_secret_access_key=B\n", "default",
     "A", "B", ""},
    {AWS_CREDENTIALS_FILE, "[a]\naws_access_key_id=1\n[b]\naws_access_key_id=2\n[a]\nregion=r\n",
     "a", "1", "", "r"},
    {AWS_CREDENTIALS_FILE, "[ a ]\r\nAWS_ACCESS_KEY_ID\t= A\t \r\naws_secret_access_key = B/= \r\n",
     "a", "A", "B/=", ""},
    {AWS_CREDENTIALS_FILE, "[a]\naws_access_key_id = A # mine\naws_secret_access_key = B;C#D ;x\n",
     "a", "A", "B;C#D", ""},
    {AWS_CREDENTIALS_FILE, "[a]\n# aws_access_key_id = X\n; aws_access_key_id = Y\n", "a", "", "",
     ""},
    {AWS_CREDENTIALS_FILE, "[a]\ns3 =\n  aws_access_key_id = X\nregion = r", "a", "", "", "r"},
    {AWS_CREDENTIALS_FILE, "[a]\naws_access_key_id = 1\naws_access_key_id = 2\n", "a", "2", "", ""},
    {AWS_CREDENTIALS_FILE, "aws_access_key_id = X\n", "default", "", "", ""},
    {AWS_CREDENTIALS_FILE, "[a\naws_access_key_id = X\n", "a", "", "", ""},
    {AWS_CREDENTIALS_FILE, "[a]\naws_access_key_id\n= X\naws_access_key_id_2 = Y\n", "a", "", "",
     ""},
    {AWS_CREDENTIALS_FILE, "[profile a]\naws_access_key_id = X\n", "a", "", "", ""},
    {AWS_CONFIG_FILE, "[profile a]\naws_access_key_id = X\nregion = r\n", "a", "X", "", "r"},
    {AWS_CONFIG_FILE, "[profile \"a b\"]\nregion = r\n[profile 'c']\nregion = s\n", "a b", "", "",
     "r"},
    {AWS_CONFIG_FILE, "[profile 'c']\nregion = s\n", "c", "", "", "s"},
    {AWS_CONFIG_FILE, "[a]\nregion = r\n", "a", "", "", ""},
    {AWS_CONFIG_FILE, "[default]\nregion = r\n", "default", "", "", "r"},
    {AWS_CONFIG_FILE, "[profile default]\nregion = r\n", "default", "", "", "r"},
    {AWS_CONFIG_FILE, "[profilea]\nregion = r\n[profile]\nregion = s\n", "a", "", "", ""},
    {AWS_CREDENTIALS_FILE, "", "default", "", "", ""},
    {AWS_CREDENTIALS_FILE, "[", "default", "", "", ""},
    {AWS_CREDENTIALS_FILE, "[]\n=\n[default]\n=\n==\nregion==x\n", "default", "", "", "=x"},
};

static void assert_view(struct view view, const char *text)
{
    ck_assert_msg(view_equal(view, view_text(text)), "'%.*s' instead of '%s'", (int) view.len,
                  view.bytes == NULL ? "" : (const char *) view.bytes, text);
}

START_TEST(a_profile_is_found_in_a_text)
{
    struct aws_profile profile = {.text = {NULL, 0}};
    aws_profile_parse(texts[_i].kind, view_text(texts[_i].text), texts[_i].name, &profile);
    assert_view(profile.access_key_id, texts[_i].id);
    assert_view(profile.secret_access_key, texts[_i].secret);
    assert_view(profile.region, texts[_i].region);
}
END_TEST

/* Every prefix ends exactly where its heap block does, so that a checker sees a step too far. */
START_TEST(no_prefix_of_a_text_is_left)
{
    size_t len = strlen(texts[_i].text);
    for (size_t i = 0; i <= len; i++) {
        struct aws_profile profile = {.text = {NULL, 0}};
        unsigned char *copy = mem_dup(texts[_i].text, i);
        ck_assert_ptr_nonnull(copy);
        aws_profile_parse(texts[_i].kind, (struct view){copy, i}, texts[_i].name, &profile);
        ck_assert_uint_le(profile.region.len, i);
        mem_free(copy);
    }
}
END_TEST

/* ---- where credentials come from ---- */

static void clear_environment(void)
{
    static const char *const names[] = {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
        "AWS_REGION",        "AWS_DEFAULT_REGION",    "AWS_CONFIG_FILE",   "HOME"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        ck_assert_int_eq(unsetenv(names[i]), 0);
    ck_assert_int_eq(setenv("AWS_EC2_METADATA_DISABLED", "true", 1), 0);
    ck_assert_int_eq(setenv("AWS_SHARED_CREDENTIALS_FILE", fixture_path("credentials"), 1), 0);
    ck_assert_int_eq(setenv("AWS_CONFIG_FILE", fixture_path("config"), 1), 0);
}

static void set_three(const char *id, const char *secret, const char *token)
{
    ck_assert_int_eq(setenv("AWS_ACCESS_KEY_ID", id, 1), 0);
    ck_assert_int_eq(setenv("AWS_SECRET_ACCESS_KEY", secret, 1), 0);
    ck_assert_int_eq(setenv("AWS_SESSION_TOKEN", token, 1), 0);
}

static struct aws_identity identity_of(const char *profile, const char *region)
{
    return (struct aws_identity){.token = "vectors", .profile = profile, .region = region};
}

/* `keys`: "access_key_id:secret_access_key". */
static void assert_found(const struct aws_identity *identity, const char *pin, const char *keys,
                         const char *session_token, const char *region)
{
    char joined[256];
    struct aws_route found = {.base = AWS_BASE_KEYS};
    fixture_forget_log();
    ck_assert_msg(aws_route_find(identity, view_text(pin), &found) == CKR_OK, "%s", fixture_log());
    (void) snprintf(joined, sizeof(joined), "%s:%.*s", found.keys.access_key_id,
                    (int) found.keys.secret_access_key.len,
                    (const char *) found.keys.secret_access_key.bytes);
    assert_view(view_text(joined), keys);
    assert_view((struct view){found.keys.session_token.bytes, found.keys.session_token.len},
                session_token);
    ck_assert_str_eq(found.keys.region, region);
    ck_assert_uint_eq(fixture_log_count(), 0);
    aws_route_clear(&found);
}

static void assert_refused(const struct aws_identity *identity, const char *pin,
                           enum indexkey_cause cause, const char *says)
{
    struct aws_route found = {.keys.region = "untouched"};
    fixture_forget_log();
    cause_clear();
    ck_assert_uint_eq(aws_route_find(identity, view_text(pin), &found), cause_rv(cause));
    ck_assert_msg(cause_last() == cause, "%s: %s", cause_name(cause_last()), fixture_log());
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_msg(strstr(fixture_log(), says) != NULL, "no '%s' in: %s", says, fixture_log());
    ck_assert_ptr_null(strstr(fixture_log(), CANARY));
    ck_assert_str_eq(found.keys.region, "untouched");
    ck_assert_uint_eq(secrets_in_use(), 0);
}

START_TEST(the_environment_comes_first_then_the_files)
{
    struct aws_identity identity = identity_of(NULL, "");
    clear_environment();
    fixture_write("credentials",
                  "[default]\naws_access_key_id=FILE\naws_secret_access_key=s\n"
                  "aws_session_token=t\n[p]\naws_access_key_id=P\n"
                  "aws_secret_access_key=q\nregion=of-p\n",
                  0600);
    fixture_write("config",
                  "[default]\naws_access_key_id=CONFIG\naws_secret_access_key=c\n"
                  "region=of-config\n",
                  0600);
    assert_found(&identity, "", "FILE:s", "t", "of-config");
    ck_assert_int_eq(setenv("AWS_PROFILE", "p", 1), 0);
    assert_found(&identity, "", "P:q", "", "of-p");
    ck_assert_int_eq(setenv("AWS_DEFAULT_REGION", "of-default", 1), 0);
    assert_found(&identity, "", "P:q", "", "of-default");
    ck_assert_int_eq(setenv("AWS_REGION", "of-variable", 1), 0);
    set_three("ENV", "e", "");
    assert_found(&identity, "", "ENV:e", "", "of-variable");
    set_three("ENV", "e", "token");
    assert_found(&identity, "", "ENV:e", "token", "of-variable");
    identity = identity_of("p", "of-section");
    assert_found(&identity, "", "P:q", "", "of-section");
    fixture_remove("credentials");
    identity = identity_of("default", "");
    assert_found(&identity, "", "CONFIG:c", "", "of-variable");
    fixture_remove("config");
}
END_TEST

START_TEST(a_rotated_file_is_seen)
{
    struct aws_identity identity = identity_of(NULL, "r");
    clear_environment();
    fixture_write("credentials", "[default]\naws_access_key_id=A\naws_secret_access_key=1\n", 0600);
    assert_found(&identity, "", "A:1", "", "r");
    fixture_write("credentials", "[default]\naws_access_key_id=B\naws_secret_access_key=2\n", 0640);
    assert_found(&identity, "", "B:2", "", "r");
    fixture_remove("credentials");
    assert_refused(&identity, "", INDEXKEY_CAUSE_CONFIG, fixture_path("credentials"));
}
END_TEST

START_TEST(the_files_are_in_the_home)
{
    struct aws_identity identity = identity_of(NULL, "r");
    clear_environment();
    ck_assert_int_eq(unsetenv("AWS_SHARED_CREDENTIALS_FILE"), 0);
    ck_assert_int_eq(unsetenv("AWS_CONFIG_FILE"), 0);
    assert_refused(&identity, "", INDEXKEY_CAUSE_CONFIG, "HOME is not set");
    ck_assert_int_eq(setenv("HOME", fixture_path("home"), 1), 0);
    assert_refused(&identity, "", INDEXKEY_CAUSE_CONFIG, "home/.aws/credentials");
    identity = identity_of("p", "r");
    assert_refused(&identity, "", INDEXKEY_CAUSE_CONFIG, "environment does not count");
}
END_TEST

static const struct {
    const char *id;
    const char *secret;
    const char *token;
} bad_variables[] = {
    {"A", "", ""},
    {"A", CANARY " x", ""},
    {"A", CANARY "\n", ""},
    {"A:B", CANARY, ""},
    {"A B", CANARY, ""},
    {"A/B", CANARY, ""},
    {"A,B", CANARY, ""},
    {"A", CANARY, "t\r\nX-Evil: 1"},
    {"A\xc3\xbc", CANARY, ""},
};

START_TEST(a_bad_environment_is_refused)
{
    struct aws_identity identity = identity_of(NULL, "r");
    clear_environment();
    set_three(bad_variables[_i].id, bad_variables[_i].secret, bad_variables[_i].token);
    assert_refused(&identity, "", INDEXKEY_CAUSE_CONFIG, "AWS_SECRET_ACCESS_KEY");
}
END_TEST

START_TEST(a_pin_stands_alone)
{
    struct aws_identity identity = identity_of(NULL, "r");
    clear_environment();
    set_three("ENV", "e", "token");
    assert_found(&identity, "A:B", "A:B", "", "r");
    assert_found(&identity, "A:B:", "A:B", "", "r");
    assert_found(&identity, "A:B/+=:t/+=", "A:B/+=", "t/+=", "r");
}
END_TEST

static const char *const bad_pins[] = {
    "A", ":", "A:", ":B", "::t", " A:B", ("A:" CANARY " "), "A:B\n", "A:B: t"};

START_TEST(a_bad_pin_is_a_wrong_credential)
{
    struct aws_identity identity = identity_of(NULL, "r");
    clear_environment();
    set_three("ENV", "e", "");
    assert_refused(&identity, bad_pins[_i], INDEXKEY_CAUSE_CREDENTIAL,
                   "access_key_id:secret_access_key");
}
END_TEST

START_TEST(a_region_must_be_known)
{
    struct aws_identity identity = identity_of(NULL, "");
    clear_environment();
    set_three("A", "B", "");
    assert_refused(&identity, "", INDEXKEY_CAUSE_CONFIG, "set aws_region");
    assert_refused(&identity, "A:B", INDEXKEY_CAUSE_CONFIG, "set aws_region");
    ck_assert_int_eq(setenv("AWS_REGION", "eu/../central", 1), 0);
    assert_refused(&identity, "", INDEXKEY_CAUSE_CONFIG, "malformed");
}
END_TEST

/* ---- files that are not to be trusted ---- */

#define SECTION "[default]\naws_access_key_id=A\naws_secret_access_key=" CANARY "\n"

static void make_readable_by_others(void)
{
    fixture_write("credentials", SECTION, 0644);
}

static void make_writable_by_group(void)
{
    fixture_write("credentials", SECTION, 0620);
}

static void make_config_readable(void)
{
    fixture_write("config", SECTION, 0644);
}

static void make_config_writable(void)
{
    fixture_write("config", "[default]\nregion=r\n", 0646);
}

static void make_link(void)
{
    fixture_write("target", SECTION, 0600);
    ck_assert_int_eq(symlink(fixture_path("target"), fixture_path("credentials")), 0);
}

static void make_fifo(void)
{
    ck_assert_int_eq(mkfifo(fixture_path("credentials"), 0600), 0);
}

static void make_long(void)
{
    char *text = malloc(AWS_PROFILE_FILE_LEN_MAX + 2);
    ck_assert_ptr_nonnull(text);
    memset(text, '\n', AWS_PROFILE_FILE_LEN_MAX + 1);
    text[AWS_PROFILE_FILE_LEN_MAX + 1] = '\0';
    fixture_write("credentials", text, 0600);
    free(text);
}

static void make_foreign(void)
{
    if (geteuid() != 0) {
        make_readable_by_others();
        return;
    }
    fixture_write("credentials", SECTION, 0600);
    ck_assert_int_eq(chown(fixture_path("credentials"), 4242, 4242), 0);
}

static void make_half(void)
{
    fixture_write("credentials", "[default]\naws_access_key_id=A\n", 0600);
    fixture_write("config", SECTION, 0600);
}

static void (*const bad_files[])(void) = {make_readable_by_others,
                                          make_writable_by_group,
                                          make_config_readable,
                                          make_config_writable,
                                          make_link,
                                          make_fifo,
                                          make_long,
                                          make_foreign,
                                          make_half};

START_TEST(an_unsafe_or_partial_file_is_refused)
{
    struct aws_identity identity = identity_of(NULL, "r");
    clear_environment();
    bad_files[_i]();
    assert_refused(&identity, "", INDEXKEY_CAUSE_CONFIG, "/indexkey-token-");
}
END_TEST

START_TEST(a_config_file_without_secrets_may_be_read_by_all)
{
    struct aws_identity identity = identity_of(NULL, "");
    clear_environment();
    set_three("A", "B", "");
    fixture_write("config", "[default]\nregion = of-config\n", 0644);
    assert_found(&identity, "", "A:B", "", "of-config");
}
END_TEST

START_TEST(no_lack_of_memory_leaks_or_crashes)
{
    struct aws_identity identity = identity_of(NULL, "");
    clear_environment();
    fixture_write("credentials",
                  "[default]\naws_access_key_id=A\naws_secret_access_key=B\n"
                  "aws_session_token=t\nregion=r\n",
                  0600);
    /* base/secret.h keeps an empty slab of each size. */
    assert_found(&identity, "", "A:B", "t", "r");
    for (unsigned long nth = 1;; nth++) {
        struct aws_route found = {.base = AWS_BASE_KEYS};
        long before = mem_live();
        mem_fail_at(nth, false);
        CK_RV rv = aws_route_find(&identity, (struct view){0}, &found);
        bool reached = mem_count() >= nth;
        mem_fail_at(0, false);
        aws_route_clear(&found);
        ck_assert_int_eq(mem_live(), before);
        ck_assert_uint_eq(secrets_in_use(), 0);
        if (!reached) {
            ck_assert_uint_eq(rv, CKR_OK);
            ck_assert_uint_gt(nth, 4);
            return;
        }
        ck_assert_uint_eq(rv, CKR_HOST_MEMORY);
    }
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("aws credentials");
    tcase_add_loop_test(cases, names_of_keys_are_taken, 0, (int) COUNT_OF(good_keys));
    tcase_add_loop_test(cases, other_names_are_refused, 0, (int) COUNT_OF(bad_keys));
    tcase_add_loop_test(cases, a_key_arn_is_what_was_configured_or_not, 0, (int) COUNT_OF(matches));
    tcase_add_test(cases, only_an_arn_has_a_region);
    tcase_add_loop_test(cases, a_profile_is_found_in_a_text, 0, (int) COUNT_OF(texts));
    tcase_add_loop_test(cases, no_prefix_of_a_text_is_left, 0, (int) COUNT_OF(texts));
    tcase_add_test(cases, the_environment_comes_first_then_the_files);
    tcase_add_test(cases, a_rotated_file_is_seen);
    tcase_add_test(cases, the_files_are_in_the_home);
    tcase_add_loop_test(cases, a_bad_environment_is_refused, 0, (int) COUNT_OF(bad_variables));
    tcase_add_test(cases, a_pin_stands_alone);
    tcase_add_loop_test(cases, a_bad_pin_is_a_wrong_credential, 0, (int) COUNT_OF(bad_pins));
    tcase_add_test(cases, a_region_must_be_known);
    tcase_add_loop_test(cases, an_unsafe_or_partial_file_is_refused, 0, (int) COUNT_OF(bad_files));
    tcase_add_test(cases, a_config_file_without_secrets_may_be_read_by_all);
    tcase_add_test(cases, no_lack_of_memory_leaks_or_crashes);
    return fixture_run("aws credentials", cases);
}
