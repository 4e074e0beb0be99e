/* Where the configuration is found, whose file is believed, and what hostile bytes and short memory
 * do. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "conf/conf_file.h"
#include "conf/conf_line.h"
#include "conf/conf_nearest.h"
#include "tests/unit/conf_fixture.h"

static const char small_file[] = "[module]\nrequire_locked_memory = yes\n";

static CK_RV load(void)
{
    struct conf *conf = NULL;
    conf_fixture_forget_lines();
    CK_RV rv = conf_load(conf_fixture_path, &conf_fixture_schema, &conf);
    ck_assert((rv == CKR_OK) == (conf != NULL));
    conf_free(&conf);
    ck_assert_int_eq(mem_live(), conf_fixture_live);
    return rv;
}

static const mode_t file_modes[] = {0600, 0400, 0644, 0640, 0444, 0755,
                                    0620, 0602, 0664, 0666, 0777};

START_TEST(files_that_others_may_write_are_refused)
{
    mode_t mode = file_modes[_i];
    char expected[256];
    conf_fixture_write(small_file, strlen(small_file));
    ck_assert_int_eq(chmod(conf_fixture_path, mode), 0);
    if ((mode & 022) == 0) {
        ck_assert_uint_eq(load(), CKR_OK);
        return;
    }
    ck_assert_uint_eq(load(), CKR_FUNCTION_FAILED);
    (void) snprintf(expected, sizeof(expected),
                    ": refused, others may write it (mode %04o); run chmod go-w on it", mode);
    conf_fixture_assert_logged(expected);
}
END_TEST

START_TEST(folders_that_everyone_may_write_are_refused)
{
    conf_fixture_write(small_file, strlen(small_file));
    ck_assert_int_eq(chmod(conf_fixture_folder, 0777), 0);
    ck_assert_uint_eq(load(), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(
        ": refused, everyone may write its folder; run chmod o-w on the folder");
    ck_assert_int_eq(chmod(conf_fixture_folder, 01777), 0);
    ck_assert_uint_eq(load(), CKR_OK);
    ck_assert_int_eq(chmod(conf_fixture_folder, 0755), 0);
    ck_assert_uint_eq(load(), CKR_OK);
}
END_TEST

START_TEST(files_of_other_users_are_refused)
{
    conf_fixture_write(small_file, strlen(small_file));
    ck_assert_int_eq(chown(conf_fixture_path, 4242, (gid_t) -1), 0);
    ck_assert_uint_eq(load(), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(
        ": refused, owned by user 4242; it must belong to root or to the user "
        "that runs the application (chown)");
    ck_assert_int_eq(chown(conf_fixture_folder, 4242, (gid_t) -1), 0);
    ck_assert_int_eq(seteuid(4242), 0);
    CK_RV rv = load();
    ck_assert_int_eq(seteuid(0), 0);
    ck_assert_uint_eq(rv, CKR_OK);
}
END_TEST

START_TEST(what_is_no_regular_file_is_refused)
{
    char target[160];
    (void) snprintf(target, sizeof(target), "%s/target", conf_fixture_folder);

    ck_assert_int_eq(mkdir(conf_fixture_path, 0700), 0);
    ck_assert_uint_eq(load(), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(": refused, not a regular file");
    ck_assert_int_eq(rmdir(conf_fixture_path), 0);

    /* A FIFO without a writer: a blocking open would never return. */
    ck_assert_int_eq(mkfifo(conf_fixture_path, 0600), 0);
    ck_assert_uint_eq(load(), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(": refused, not a regular file");

    conf_fixture_write(small_file, strlen(small_file));
    ck_assert_int_eq(rename(conf_fixture_path, target), 0);
    ck_assert_int_eq(symlink("target", conf_fixture_path), 0);
    ck_assert_uint_eq(load(), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(": refused, it is a symbolic link; name the file itself");
    ck_assert_int_eq(unlink(target), 0);
}
END_TEST

START_TEST(missing_files_are_errors)
{
    struct conf *conf = NULL;
    char deep[256];
    ck_assert_uint_eq(load(), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(": cannot open the configuration: No such file or directory");
    (void) snprintf(deep, sizeof(deep), "%s/none/indexkey.conf", conf_fixture_folder);
    conf_fixture_forget_lines();
    ck_assert_uint_eq(conf_load(deep, &conf_fixture_schema, &conf), CKR_FUNCTION_FAILED);
    ck_assert_ptr_null(conf);
    ck_assert_uint_eq(conf_fixture_line_count, 1);
}
END_TEST

START_TEST(relative_paths_are_followed)
{
    _cleanup_(conf_free) struct conf *conf = NULL;
    conf_fixture_write(small_file, strlen(small_file));
    ck_assert_int_eq(chdir(conf_fixture_folder), 0);
    ck_assert_uint_eq(conf_load("indexkey.conf", &conf_fixture_schema, &conf), CKR_OK);
    ck_assert(conf_bool(conf_module(conf), "require_locked_memory", false));
}
END_TEST

/* A file of `len` bytes: `head`, then `fill`. */
static CK_RV load_filled(const char *head, char fill, size_t len)
{
    char *text = malloc(len + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, fill, len);
    memcpy(text, head, strlen(head));
    conf_fixture_write(text, len);
    free(text);
    return load();
}

START_TEST(sizes_are_bounded)
{
    ck_assert_uint_eq(load_filled("", '\n', 0), CKR_OK);
    ck_assert_uint_eq(load_filled("[module]\n", '\n', CONF_FILE_MAX), CKR_OK);
    ck_assert_uint_eq(load_filled("[module]\n", '\n', CONF_FILE_MAX + 1), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(": refused, larger than 1048576 bytes");
    ck_assert_uint_eq(load_filled(";", 'x', CONF_LINE_MAX), CKR_OK);
    ck_assert_uint_eq(load_filled(";", 'x', CONF_LINE_MAX + 1), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(":1: the line is longer than 4096 bytes; shorten it");
    ck_assert_uint_eq(load_filled("; a NUL is no line end", '\0', 23), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(":1: byte 23 is a NUL or another control character; remove it");
}
END_TEST

/* `head`, then `count` numbered lines. */
static CK_RV load_lines(const char *head, const char *format, unsigned count)
{
    size_t size = strlen(head) + 64 * (size_t) count + 1;
    char *text = malloc(size);
    ck_assert_ptr_nonnull(text);
    size_t len = (size_t) snprintf(text, size, "%s", head);
    for (unsigned i = 0; i < count; i++)
        len += (size_t) snprintf(text + len, size - len, "%s%u%s", format, i,
                                 format[0] == '[' ? "]\n" : " = x\n");
    conf_fixture_write(text, len);
    free(text);
    return load();
}

START_TEST(counts_are_bounded)
{
    static const char head[] = "[token a]\nsource = env\nkey_env = X\n";
    ck_assert_uint_eq(load_lines(head, "context.", 126), CKR_OK);
    ck_assert_uint_eq(conf_fixture_line_count, 0);
    ck_assert_uint_eq(load_lines(head, "context.", 127), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(":130: more than 128 keys in one section");
    ck_assert_uint_eq(load_lines("", "[token t", 4097), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(":4097: more than 4096 [token] sections");
}
END_TEST

START_TEST(keys_are_bounded)
{
    char text[256];
    char key[CONF_KEY_MAX + 2];
    memset(key, 'k', sizeof(key));
    key[CONF_KEY_MAX + 1] = '\0';
    int len = snprintf(text, sizeof(text), "[module]\n%s = 1\n", key);
    conf_fixture_write(text, (size_t) len);
    ck_assert_uint_eq(load(), CKR_FUNCTION_FAILED);
    conf_fixture_assert_logged(":2: what stands before the = is not a key; use 1 to 64 of the "
                               "characters A-Z a-z 0-9 . _ - : /");
    key[CONF_KEY_MAX] = '\0';
    len = snprintf(text, sizeof(text), "[module]\n%s = 1\n", key);
    conf_fixture_write(text, (size_t) len);
    ck_assert_uint_eq(load(), CKR_FUNCTION_FAILED);
    (void) snprintf(text, sizeof(text), ":2: [module] unknown key '%s'; remove it", key);
    conf_fixture_assert_logged(text);
}
END_TEST

static size_t read_sample(char *text, size_t size)
{
    FILE *file = fopen(SAMPLE_CONF, "re");
    ck_assert_ptr_nonnull(file);
    size_t len = fread(text, 1, size, file);
    ck_assert(len > 0 && len < size);
    ck_assert_int_eq(fclose(file), 0);
    return len;
}

START_TEST(the_sample_is_right)
{
    _cleanup_(conf_free) struct conf *conf = NULL;
    char text[16384];
    size_t count;
    conf_fixture_write(text, read_sample(text, sizeof(text)));
    ck_assert_uint_eq(conf_load(conf_fixture_path, &conf_fixture_schema, &conf), CKR_OK);
    ck_assert_uint_eq(conf_fixture_line_count, 0);
    const struct conf_section *tokens = conf_tokens(conf, &count);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(conf_string(&tokens[0], "store", ""), "sqlite:/var/lib/indexkey/vectors.db");
    ck_assert_uint_eq(conf_words(&tokens[0], "subkeys", 0), 0x1f);
    ck_assert_uint_eq(conf_duration_ms(&tokens[0], "grace", 0), 3600000);
    ck_assert_str_eq(conf_string(&tokens[1], "source", ""), "env");
    ck_assert_uint_eq(conf_choice(&tokens[1], "login", 0), 1);
}
END_TEST

static unsigned next_random(unsigned *state)
{
    *state = *state * 1103515245u + 12345u;
    return *state >> 8;
}

/* One to four edits: a byte replaced, a bit turned, a piece copied over another, the end cut off.
 */
static size_t mutate(char *text, size_t len, unsigned *state)
{
    static const char bytes[] = "[]=;#\n\r\t .:\"'\\%\0\xff\xc3\xe2";
    for (unsigned edits = 1 + next_random(state) % 4; edits > 0 && len > 64; edits--) {
        size_t at = next_random(state) % (len - 32);
        switch (next_random(state) % 4) {
        case 0:
            text[at] = bytes[next_random(state) % sizeof(bytes)];
            break;
        case 1:
            text[at] = (char) (text[at] ^ (1 << next_random(state) % 8));
            break;
        case 2:
            memmove(text + at, text + next_random(state) % (len - 32), 32);
            break;
        default:
            len = next_random(state) % 8 == 0 ? at : len;
            break;
        }
    }
    return len;
}

START_TEST(mutations_are_read_or_refused_with_a_reason)
{
    char sample[16384];
    char text[sizeof(sample)];
    size_t sample_len = read_sample(sample, sizeof(sample));
    unsigned state = 1;
    unsigned refused_count = 0;
    for (int round = 0; round < 1000; round++) {
        memcpy(text, sample, sample_len);
        conf_fixture_write(text, mutate(text, sample_len, &state));
        CK_RV rv = load();
        ck_assert(rv == CKR_OK || rv == CKR_FUNCTION_FAILED);
        ck_assert(rv == CKR_OK || conf_fixture_line_count > 0);
        refused_count += rv != CKR_OK;
    }
    ck_assert_uint_gt(refused_count, 100);
    ck_assert_uint_lt(refused_count, 900);
}
END_TEST

START_TEST(short_memory_is_reported_and_gives_all_back)
{
    char text[16384];
    unsigned long nth = 0;
    CK_RV rv;
    conf_fixture_write(text, read_sample(text, sizeof(text)));
    do {
        mem_fail_at(++nth, 0);
        rv = load();
        mem_fail_at(0, 0);
        ck_assert(rv == CKR_OK || rv == CKR_HOST_MEMORY);
        ck_assert_uint_eq(conf_fixture_line_count, rv == CKR_OK ? 0 : 1);
    } while (rv != CKR_OK);
    ck_assert_uint_gt(nth, 8);
}
END_TEST

static void assert_located(const char *reserved, const char *expected)
{
    _cleanup_(mem_free_pointer) char *path = NULL;
    ck_assert_uint_eq(conf_locate(reserved, &path), CKR_OK);
    ck_assert_ptr_nonnull(path);
    ck_assert_str_eq(path, expected);
}

START_TEST(the_path_comes_from_the_first_place_that_names_one)
{
    char folder[160];
    char file[192];
    char *path = NULL;
    ck_assert_int_eq(unsetenv("INDEXKEY_CONF"), 0);
    ck_assert_int_eq(setenv("XDG_CONFIG_HOME", conf_fixture_folder, 1), 0);
    bool has_system_file = access("/etc/indexkey/indexkey.conf", F_OK) == 0;

    ck_assert_uint_eq(conf_locate(NULL, &path), CKR_OK);
    ck_assert((path != NULL) == has_system_file);
    ck_assert_uint_eq(conf_fixture_line_count, has_system_file ? 0 : 1);
    mem_free(path);

    (void) snprintf(folder, sizeof(folder), "%s/indexkey", conf_fixture_folder);
    (void) snprintf(file, sizeof(file), "%s/indexkey.conf", folder);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(close(fd), 0);
    assert_located(NULL, file);
    ck_assert_int_eq(setenv("INDEXKEY_CONF", "", 1), 0);
    assert_located(NULL, file);
    ck_assert_int_eq(setenv("INDEXKEY_CONF", "/named", 1), 0);
    assert_located(NULL, "/named");
    assert_located("reserved.conf", "reserved.conf");

    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(rmdir(folder), 0);
    ck_assert_int_eq(mem_live(), conf_fixture_live);
}
END_TEST

START_TEST(relative_configuration_homes_are_ignored)
{
    char *path = NULL;
    char parent[160];
    (void) snprintf(parent, sizeof(parent), "%s/indexkey", conf_fixture_folder);
    ck_assert_int_eq(unsetenv("INDEXKEY_CONF"), 0);
    ck_assert_int_eq(setenv("XDG_CONFIG_HOME", ".", 1), 0);
    ck_assert_int_eq(chdir(conf_fixture_folder), 0);
    ck_assert_int_eq(mkdir(parent, 0700), 0);
    conf_fixture_write("", 0);
    ck_assert_int_eq(rename(conf_fixture_path, "indexkey/indexkey.conf"), 0);
    ck_assert_uint_eq(conf_locate(NULL, &path), CKR_OK);
    ck_assert(path == NULL || strcmp(path, "/etc/indexkey/indexkey.conf") == 0);
    mem_free(path);
    ck_assert_int_eq(unlink("indexkey/indexkey.conf"), 0);
    ck_assert_int_eq(rmdir(parent), 0);
}
END_TEST

START_TEST(reserved_is_bounded)
{
    char *path = NULL;
    /* Exactly the bytes that may be looked at, so that a sanitizer sees one more. */
    char *text = malloc(CONF_PATH_MAX);
    ck_assert_ptr_nonnull(text);
    memset(text, 'a', CONF_PATH_MAX);
    ck_assert_uint_eq(conf_locate(text, &path), CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(conf_locate("", &path), CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(conf_locate("a\nb", &path), CKR_ARGUMENTS_BAD);
    ck_assert_ptr_null(path);
    ck_assert_uint_eq(conf_fixture_line_count, 3);
    text[CONF_PATH_MAX - 1] = '\0';
    assert_located(text, text);
    mem_fail_at(1, 0);
    ck_assert_uint_eq(conf_locate(text, &path), CKR_HOST_MEMORY);
    mem_fail_at(0, 0);
    free(text);
}
END_TEST

START_TEST(long_paths_leave_room_for_the_cause)
{
    struct conf *conf = NULL;
    char text[CONF_PATH_MAX];
    memset(text, 'a', sizeof(text));
    text[0] = '/';
    text[sizeof(text) - 1] = '\0';
    ck_assert_uint_eq(conf_load(text, &conf_fixture_schema, &conf), CKR_FUNCTION_FAILED);
    char expected[512];
    (void) snprintf(expected, sizeof(expected),
                    "%.300s: cannot open the configuration: File name too long", text + 1);
    conf_fixture_assert_logged(expected);
}
END_TEST

static const struct {
    const char *wanted;
    const char *known;
    const char *nearest; /* NULL: none is near */
} nearest_cases[] = {
    {"store", "slot store", "store"},
    {"stroe", "slot store", "store"},
    {"key_fle", "key_file key_env", "key_file"},
    {"keyfile", "key_file key_env", "key_file"},
    {"policy_", "policy", "policy"},
    {"", "a", "a"},
    {"ac", "aa ab", "aa"},
    {"x", "store", NULL},
    {"grace", "lease", NULL},
    {"deadlines", "lease deadline grace", "deadline"},
    {"store", "", NULL},
};

START_TEST(the_nearest_name_is_found)
{
    struct conf_nearest nearest = conf_nearest_to(nearest_cases[_i].wanted);
    conf_nearest_offer_words(&nearest, nearest_cases[_i].known);
    if (nearest_cases[_i].nearest == NULL) {
        ck_assert_ptr_null(nearest.best);
        return;
    }
    ck_assert_ptr_nonnull(nearest.best);
    ck_assert_uint_eq(nearest.best_len, strlen(nearest_cases[_i].nearest));
    ck_assert_mem_eq(nearest.best, nearest_cases[_i].nearest, nearest.best_len);
}
END_TEST

START_TEST(long_names_are_near_to_nothing)
{
    char wanted[CONF_NEAREST_MAX + 2];
    memset(wanted, 'a', sizeof(wanted));
    wanted[CONF_NEAREST_MAX] = '\0';
    struct conf_nearest nearest = conf_nearest_to(wanted);
    conf_nearest_offer(&nearest, wanted, CONF_NEAREST_MAX);
    ck_assert_ptr_eq(nearest.best, wanted);
    wanted[CONF_NEAREST_MAX] = 'a';
    wanted[CONF_NEAREST_MAX + 1] = '\0';
    nearest = conf_nearest_to(wanted);
    conf_nearest_offer(&nearest, wanted, CONF_NEAREST_MAX + 1);
    ck_assert_ptr_null(nearest.best);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("conf_file");
    tcase_add_checked_fixture(cases, conf_fixture_setup, conf_fixture_teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, files_that_others_may_write_are_refused, 0, COUNT_OF(file_modes));
    tcase_add_test(cases, folders_that_everyone_may_write_are_refused);
    if (geteuid() == 0)
        tcase_add_test(cases, files_of_other_users_are_refused);
    tcase_add_test(cases, what_is_no_regular_file_is_refused);
    tcase_add_test(cases, missing_files_are_errors);
    tcase_add_test(cases, relative_paths_are_followed);
    tcase_add_test(cases, sizes_are_bounded);
    tcase_add_test(cases, counts_are_bounded);
    tcase_add_test(cases, keys_are_bounded);
    tcase_add_test(cases, the_sample_is_right);
    tcase_add_test(cases, mutations_are_read_or_refused_with_a_reason);
    tcase_add_test(cases, short_memory_is_reported_and_gives_all_back);
    tcase_add_test(cases, the_path_comes_from_the_first_place_that_names_one);
    tcase_add_test(cases, relative_configuration_homes_are_ignored);
    tcase_add_test(cases, reserved_is_bounded);
    tcase_add_test(cases, long_paths_leave_room_for_the_cause);
    tcase_add_loop_test(cases, the_nearest_name_is_found, 0, COUNT_OF(nearest_cases));
    tcase_add_test(cases, long_names_are_near_to_nothing);
    return conf_fixture_run("conf_file", cases);
}
