/* Ways to AWS credentials: their order, commands as words, times, what is kept. No network. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/support/token_fixture.h"
#include "tokens/aws_process.h"
#include "tokens/aws_route.h"

/* ---- words of a command ---- */

static const struct {
    const char *text;
    const char *words; /* each in brackets; NULL: refused */
} commands[] = {
    {"/bin/a", "[/bin/a]"},
    {"  /bin/a  b\tc ", "[/bin/a][b][c]"},
    {"a 'b c' d", "[a][b c][d]"},
    {"a \"b 'c' \\\"d\\\" \\\\ \\n\"", "[a][b 'c' \"d\" \\ \\n]"},
    {"a 'b\\' c", "[a][b\\][c]"},
    {"a b\\ c \\'d", "[a][b c]['d]"},
    {"a b'c'\"d\"e", "[a][bcde]"},
    {"a '' \"\"", "[a][][]"},
    {"a $HOME `b` ; c | d # e", "[a][$HOME][`b`][;][c][|][d][#][e]"},
    {"", NULL},
    {" \t ", NULL},
    {"a 'b", NULL},
    {"a \"b", NULL},
    {"a b\\", NULL},
};

START_TEST(a_command_is_split_as_the_aws_cli_does)
{
    char text[128];
    char joined[128] = "";
    char *words[AWS_PROCESS_WORDS_MAX + 1];
    (void) snprintf(text, sizeof(text), "%s", commands[_i].text);
    ck_assert_int_eq(aws_process_split(text, words), commands[_i].words != NULL);
    for (size_t i = 0; commands[_i].words != NULL && words[i] != NULL; i++) {
        size_t len = strlen(joined);
        (void) snprintf(joined + len, sizeof(joined) - len, "[%s]", words[i]);
    }
    ck_assert_str_eq(joined, commands[_i].words == NULL ? "" : commands[_i].words);
}
END_TEST

START_TEST(too_many_words_are_refused)
{
    char text[2 * AWS_PROCESS_WORDS_MAX + 3];
    char *words[AWS_PROCESS_WORDS_MAX + 1];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i % 2 == 0 ? 'a' : ' ';
    text[sizeof(text) - 1] = '\0';
    ck_assert(!aws_process_split(text, words));
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i % 2 == 0 ? 'a' : ' ';
    text[sizeof(text) - 4] = '\0';
    ck_assert(aws_process_split(text, words));
    ck_assert_ptr_null(words[AWS_PROCESS_WORDS_MAX]);
}
END_TEST

/* ---- times ---- */

static const struct {
    const char *text;
    int64_t time_s; /* -1: none */
} times[] = {
    {"1970-01-01T00:00:10Z", 10},
    {"2026-01-31T12:00:00Z", 1769860800},
    {"2026-01-31T12:00:00.123Z", 1769860800},
    {"2026-01-31T12:00:00+00:00", 1769860800},
    {"2026-01-31T12:00:00", -1},
    {"2026-01-31T12:00:00+02:00", -1},
    {"2026-13-31T12:00:00Z", -1},
    {"2026-01-31T12:00:00ZZ", -1},
    {"", -1},
    {"soon", -1},
};

START_TEST(an_expiration_is_read)
{
    int64_t time_s = -1;
    bool good = aws_credentials_read_time(view_text(times[_i].text), &time_s);
    ck_assert_int_eq(good, times[_i].time_s >= 0);
    ck_assert_int_eq(time_s, times[_i].time_s);
}
END_TEST

/* ---- the order ---- */

#define ROLE "arn:aws:iam::111122223333:role/r"

static const struct {
    const char *name;
    const char *value;
    enum aws_base base;
    const char *where; /* NULL: none */
} order[] = {
    /* From the last place to the first: each goes before those above it. */
    {"AWS_EC2_METADATA_DISABLED", "false", AWS_BASE_INSTANCE, "http://169.254.169.254"},
    {"AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://[fd00:ec2::254]/", AWS_BASE_INSTANCE,
     "http://[fd00:ec2::254]"},
    {"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://[fd00:ec2::23]/v1", AWS_BASE_CONTAINER,
     "http://[fd00:ec2::23]/v1"},
    {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x", AWS_BASE_CONTAINER,
     "http://169.254.170.2/v2/x"},
    {"AWS_PROFILE", "process", AWS_BASE_PROCESS, "/bin/a 'b c' # d"},
    {"AWS_PROFILE", "keys", AWS_BASE_KEYS, NULL},
    {"AWS_PROFILE", "web", AWS_BASE_WEB_IDENTITY, "/w"},
    {"AWS_WEB_IDENTITY_TOKEN_FILE", "/token", AWS_BASE_WEB_IDENTITY, "/token"},
    {"AWS_ACCESS_KEY_ID", "ID", AWS_BASE_KEYS, "id is ID"},
};

static const char profiles[] =
    "[process]\ncredential_process = /bin/a 'b c' # d\n"
    "[keys]\naws_access_key_id = K\naws_secret_access_key = s\ncredential_process = /bin/a\n"
    "[web]\nrole_arn = " ROLE "\nweb_identity_token_file = /w\naws_access_key_id = K\n";

START_TEST(each_place_goes_before_those_behind_it)
{
    struct aws_identity identity = {.token = "vectors", .region = "r"};
    ck_assert_int_eq(unsetenv("HOME"), 0);
    ck_assert_int_eq(setenv("AWS_ROLE_ARN", ROLE, 1), 0);
    ck_assert_int_eq(setenv("AWS_SECRET_ACCESS_KEY", "s", 1), 0);
    fixture_write("credentials", profiles, 0600);
    ck_assert_int_eq(setenv("AWS_SHARED_CREDENTIALS_FILE", fixture_path("credentials"), 1), 0);
    for (size_t i = 0; i < COUNT_OF(order); i++) {
        struct aws_route route = {.base = AWS_BASE_KEYS};
        ck_assert_int_eq(setenv(order[i].name, order[i].value, 1), 0);
        ck_assert_msg(aws_route_find(&identity, (struct view){0}, &route) == CKR_OK, "%s",
                      fixture_log());
        ck_assert_msg(route.base == order[i].base, "%s: %d", order[i].name, (int) route.base);
        if (order[i].base != AWS_BASE_KEYS)
            ck_assert_str_eq(route.where, order[i].where);
        ck_assert_int_eq(aws_route_is_direct(&route), order[i].base == AWS_BASE_KEYS);
        aws_route_clear(&route);
    }
    ck_assert_uint_eq(secrets_in_use(), 0);
}
END_TEST

START_TEST(a_pin_and_a_profile_of_the_section_stand_before_all)
{
    struct aws_identity identity = {
        .token = "vectors", .region = "r", .role = {.arn = (char *) ROLE, .duration_s = 900}};
    struct aws_route route = {.base = AWS_BASE_KEYS};
    char mark[AWS_ROUTE_MARK_SIZE];
    char other[AWS_ROUTE_MARK_SIZE];
    ck_assert_int_eq(setenv("AWS_ACCESS_KEY_ID", "ID", 1), 0);
    ck_assert_int_eq(setenv("AWS_SECRET_ACCESS_KEY", "s", 1), 0);
    fixture_write("credentials", profiles, 0600);
    ck_assert_int_eq(setenv("AWS_SHARED_CREDENTIALS_FILE", fixture_path("credentials"), 1), 0);
    ck_assert_uint_eq(aws_route_find(&identity, view_text("A:B"), &route), CKR_OK);
    ck_assert_str_eq(route.keys.access_key_id, "A");
    ck_assert_uint_eq(route.role_count, 1);
    ck_assert(!aws_route_is_direct(&route));
    ck_assert_uint_eq(aws_route_mark(&route, mark), CKR_OK);
    aws_route_clear(&route);
    identity.profile = "web";
    ck_assert_uint_eq(aws_route_find(&identity, (struct view){0}, &route), CKR_OK);
    ck_assert_int_eq(route.base, AWS_BASE_WEB_IDENTITY);
    ck_assert_uint_eq(route.role_count, 2);
    ck_assert_int_eq(route.roles[0].duration_s, AWS_ROLE_DURATION_S);
    ck_assert_int_eq(route.roles[1].duration_s, 900);
    ck_assert_uint_eq(aws_route_mark(&route, other), CKR_OK);
    ck_assert_str_ne(mark, other);
    aws_route_clear(&route);
}
END_TEST

/* ---- what is kept ---- */

START_TEST(what_is_kept_is_of_its_mark)
{
    struct aws_credentials credentials = {.region = ""};
    struct aws_credentials again = {.region = ""};
    const struct aws_keys keys = {view_text("A"), view_text("s/+="), view_text("t")};
    struct secret text = {0};
    ck_assert_uint_eq(aws_credentials_fill(&keys, &credentials), CKR_OK);
    ck_assert_uint_eq(aws_credentials_pack("mark", &credentials, &text), CKR_OK);
    ck_assert_uint_eq(aws_credentials_unpack(&text, "other", &again), CKR_DATA_INVALID);
    ck_assert_uint_eq(aws_credentials_unpack(&text, "mark", &again), CKR_OK);
    ck_assert_str_eq(again.access_key_id, "A");
    ck_assert(secret_equal(&again.secret_access_key, &credentials.secret_access_key));
    ck_assert(secret_equal(&again.session_token, &credentials.session_token));
    secret_clear(&text);
    aws_credentials_clear(&credentials);
    aws_credentials_clear(&again);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("aws route");
    tcase_add_loop_test(cases, a_command_is_split_as_the_aws_cli_does, 0, (int) COUNT_OF(commands));
    tcase_add_test(cases, too_many_words_are_refused);
    tcase_add_loop_test(cases, an_expiration_is_read, 0, (int) COUNT_OF(times));
    tcase_add_test(cases, each_place_goes_before_those_behind_it);
    tcase_add_test(cases, a_pin_and_a_profile_of_the_section_stand_before_all);
    tcase_add_test(cases, what_is_kept_is_of_its_mark);
    return fixture_run("aws route", cases);
}
