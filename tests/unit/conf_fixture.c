#include "tests/unit/conf_fixture.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"

static const char *check_store(const char *value)
{
    return strcmp(value, "memory:") == 0 || strncmp(value, "sqlite:/", 8) == 0
               ? NULL
               : "sqlite:PATH or memory:";
}

static const char *check_log(const char *value)
{
    return log_target_is_valid(value) ? NULL : "stderr, syslog or file:PATH, and a level";
}

static const struct conf_key module_keys[] = {
    {.name = "log", .type = CONF_STRING, .check = check_log},
    {.name = "require_locked_memory", .type = CONF_BOOL},
    {.name = NULL},
};

static const struct conf_key token_keys[] = {
    {.name = "store", .type = CONF_STRING, .check = check_store},
    {.name = "anchor", .type = CONF_STRING},
    {.name = "administer", .type = CONF_CHOICE, .choices = "user so"},
    {.name = "undo_window", .type = CONF_DURATION, .max = UINT64_C(366) * 24 * 60 * 60 * 1000},
    {.name = "login", .type = CONF_CHOICE, .choices = "pin ambient"},
    {.name = "subkeys", .type = CONF_WORDS, .choices = "token centroid payload item query"},
    {.name = "policy", .type = CONF_CHOICE, .choices = "strengthen strict"},
    {.name = "aes_default", .type = CONF_CHOICE, .choices = "gcm cbc"},
    {.name = "relax", .type = CONF_WORDS, .choices = "known-keys-do-not-wrap"},
    {.name = "extract_key", .type = CONF_BOOL},
    {.name = "deadline", .type = CONF_DURATION, .min = 100, .max = 300000},
    {.name = "lease", .type = CONF_DURATION},
    {.name = "grace", .type = CONF_DURATION},
    {.name = "pin_tries", .type = CONF_UINT, .min = 1, .max = 10},
    {.name = "context.", .type = CONF_STRING, .prefix = true},
    {.name = NULL},
};

static const struct conf_key file_keys[] = {
    {.name = "key_file", .type = CONF_PATH, .required = true, .help = "the file of the root key"},
    {.name = NULL},
};

static const struct conf_key env_keys[] = {
    {.name = "key_env", .type = CONF_STRING, .required = true, .help = "the root key's variable"},
    {.name = NULL},
};

static const struct conf_key key_keys[] = {
    {.name = "ciphertext", .type = CONF_STRING, .required = true, .help = "the wrapped key"},
    {.name = NULL},
};

static const struct conf_key *source_keys(const char *source)
{
    if (strcmp(source, "file") == 0)
        return file_keys;
    return strcmp(source, "env") == 0 ? env_keys : NULL;
}

const struct conf_schema conf_fixture_schema = {
    .module_keys = module_keys,
    .token_keys = token_keys,
    .source_keys = source_keys,
    .source_names = "file env",
    .key_keys = key_keys,
};

char conf_fixture_folder[64];
char conf_fixture_path[128];
long conf_fixture_live;
static char logged[8192];
size_t conf_fixture_line_count;

static void keep_line(enum log_level level, const char *line, void *context)
{
    static const char prefix[] = "indexkey: error: ";
    (void) context;
    if (level == LOG_LEVEL_ERROR && strncmp(line, prefix, strlen(prefix)) == 0)
        line += strlen(prefix);
    size_t used = strlen(logged);
    (void) snprintf(logged + used, sizeof(logged) - used, "%s%s", used == 0 ? "" : "\n", line);
    conf_fixture_line_count++;
}

void conf_fixture_forget_lines(void)
{
    logged[0] = '\0';
    conf_fixture_line_count = 0;
}

void conf_fixture_setup(void)
{
    strcpy(conf_fixture_folder, "/tmp/indexkey-conf-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(conf_fixture_folder));
    (void) snprintf(conf_fixture_path, sizeof(conf_fixture_path), "%s/indexkey.conf",
                    conf_fixture_folder);
    conf_fixture_forget_lines();
    log_set_sink(keep_line, NULL);
    conf_fixture_live = mem_live();
}

void conf_fixture_teardown(void)
{
    (void) unlink(conf_fixture_path);
    (void) rmdir(conf_fixture_folder);
    log_set_sink(NULL, NULL);
}

void conf_fixture_write(const char *bytes, size_t len)
{
    (void) unlink(conf_fixture_path);
    int fd = open(conf_fixture_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, len), (ssize_t) len);
    ck_assert_int_eq(close(fd), 0);
}

CK_RV conf_fixture_load(const char *text, struct conf **ret_conf)
{
    conf_fixture_write(text, strlen(text));
    conf_fixture_forget_lines();
    return conf_load(conf_fixture_path, &conf_fixture_schema, ret_conf);
}

void conf_fixture_assert_logged_lines(const char *const *expected)
{
    char whole[sizeof(logged)];
    size_t used = 0;
    for (; *expected != NULL; expected++)
        used +=
            (size_t) snprintf(whole + used, sizeof(whole) - used, "%s%s%s", used == 0 ? "" : "\n",
                              **expected == ':' ? conf_fixture_path : "", *expected);
    ck_assert_str_eq(logged, whole);
}

void conf_fixture_assert_logged(const char *expected)
{
    conf_fixture_assert_logged_lines((const char *const[]){expected, NULL});
}

int conf_fixture_run(const char *name, TCase *cases)
{
    Suite *suite = suite_create(name);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
