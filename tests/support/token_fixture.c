#include "tests/support/token_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/crypto.h"

const char fixture_root_key[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const char fixture_other_root_key[] = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";

static char folder[64];
static char log_text[65536];
static size_t log_count;
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;

static void keep_line(enum log_level level, const char *line, void *context)
{
    (void) level;
    (void) context;
    (void) pthread_mutex_lock(&log_mutex);
    size_t used = strlen(log_text);
    (void) snprintf(log_text + used, sizeof(log_text) - used, "%s\n", line);
    log_count++;
    (void) pthread_mutex_unlock(&log_mutex);
}

void fixture_forget_log(void)
{
    (void) pthread_mutex_lock(&log_mutex);
    log_text[0] = '\0';
    log_count = 0;
    (void) pthread_mutex_unlock(&log_mutex);
}

const char *fixture_log(void)
{
    return log_text;
}

size_t fixture_log_count(void)
{
    return log_count;
}

const char *fixture_path(const char *name)
{
    static char paths[4][400];
    static size_t next;
    char *path = paths[next++ % COUNT_OF(paths)];
    (void) snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

void fixture_write(const char *name, const char *text, unsigned int mode)
{
    const char *path = fixture_path(name);
    (void) unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t) strlen(text));
    ck_assert_int_eq(close(fd), 0);
}

void fixture_remove(const char *name)
{
    ck_assert_int_eq(unlink(fixture_path(name)), 0);
}

void fixture_setup(void)
{
    strcpy(folder, "/tmp/indexkey-token-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_uint_eq(crypto_init(), CKR_OK);
    fixture_write("root.key", fixture_root_key, 0600);
    fixture_forget_log();
    log_set_sink(keep_line, NULL);
    ck_assert_uint_eq(secrets_in_use(), 0);
}

static void remove_folder(void)
{
    DIR *entries = opendir(folder);
    ck_assert_ptr_nonnull(entries);
    for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        if (entry->d_name[0] != '.')
            (void) unlink(fixture_path(entry->d_name));
    }
    (void) closedir(entries);
    ck_assert_int_eq(rmdir(folder), 0);
}

void fixture_teardown(void)
{
    clock_shift(0);
    mem_fail_at(0, 0);
    remove_folder();
    log_set_sink(NULL, NULL);
    ck_assert_uint_eq(secrets_in_use(), 0);
}

const char *fixture_store(int index)
{
    static char sqlite[160];
    if (index == 0)
        return "memory:";
    (void) snprintf(sqlite, sizeof(sqlite), "sqlite:%s", fixture_path("token.db"));
    return sqlite;
}

CK_RV fixture_try_open(const char *store, const char *more, struct custody **ret_custody)
{
    static const struct conf_key no_keys[] = {{.name = NULL}};
    static const struct conf_key *token_keys = custody_conf_keys;
    struct conf_schema schema = {
        .module_keys = no_keys,
        .token_keys = token_keys,
        .source_keys = custody_source_keys,
        .source_names = custody_source_names(),
    };
    char text[2048];
    bool has_source = strstr(more, "source =") != NULL;
    (void) snprintf(text, sizeof(text), "[token vectors]\nstore = %s\n%s%s%s\n", store,
                    has_source ? "" : "source = file\nkey_file = ",
                    has_source ? "" : fixture_path("root.key\n"), more);
    /* A file for each process: tests fork, and their children write theirs at the same time. */
    char name[32];
    (void) snprintf(name, sizeof(name), "indexkey-%d.conf", (int) getpid());
    fixture_write(name, text, 0600);
    struct conf *conf = NULL;
    size_t count;
    ck_assert_uint_eq(conf_load(fixture_path(name), &schema, &conf), CKR_OK);
    const struct conf_section *tokens = conf_tokens(conf, &count);
    ck_assert_uint_eq(count, 1);
    ck_assert_msg(!tokens[0].bad, "%s", fixture_log());
    CK_RV rv = custody_open(&tokens[0], ret_custody);
    conf_free(&conf);
    return rv;
}

struct custody *fixture_open(const char *store, const char *more)
{
    struct custody *custody = NULL;
    CK_RV rv = fixture_try_open(store, more, &custody);
    ck_assert_msg(rv == CKR_OK, "%s", fixture_log());
    return custody;
}

void fixture_init_token(struct custody *custody)
{
    unsigned char label[TOKEN_LABEL_LEN];
    memset(label, ' ', sizeof(label));
    memcpy(label, "vectors", 7);
    CK_RV rv = custody_init_token(custody, view_text(FIXTURE_SO_PIN), label);
    ck_assert_msg(rv == CKR_OK, "%lx %s", rv, fixture_log());
}

struct custody *fixture_token(const char *store, const char *more)
{
    struct custody *custody = fixture_open(store, more);
    fixture_init_token(custody);
    if (custody_login_mode(custody) == CUSTODY_LOGIN_PIN) {
        ck_assert_uint_eq(custody_login(custody, CUSTODY_SO, view_text(FIXTURE_SO_PIN)), CKR_OK);
        ck_assert_uint_eq(custody_init_pin(custody, view_text(FIXTURE_PIN)), CKR_OK);
        custody_logout(custody);
    }
    return custody;
}

void fixture_login_user(struct custody *custody)
{
    CK_RV rv = custody_login(custody, CUSTODY_USER, view_text(FIXTURE_PIN));
    ck_assert_msg(rv == CKR_OK, "%lx %s", rv, fixture_log());
}

static CK_RV interposed_wrap(struct source *source, const struct source_call *call,
                             const struct secret *data_key, struct blob *ret_wrapped)
{
    struct fixture_source *fixture = (struct fixture_source *) source;
    return fixture->inner->ops->wrap(fixture->inner, call, data_key, ret_wrapped);
}

static CK_RV interposed_unwrap(struct source *source, const struct source_call *call,
                               struct view wrapped, struct secret *ret_data_key)
{
    struct fixture_source *fixture = (struct fixture_source *) source;
    atomic_fetch_add(&fixture->unwrap_count, 1);
    if (call->credential.len > 0)
        (void) snprintf(fixture->credential, sizeof(fixture->credential), "%.*s",
                        (int) call->credential.len, (const char *) call->credential.bytes);
    enum indexkey_cause cause = (enum indexkey_cause) atomic_load(&fixture->fails_with);
    struct timespec delay = {.tv_nsec = atomic_load(&fixture->delay_ms) * 1000000L};
    (void) nanosleep(&delay, NULL);
    if (cause != INDEXKEY_CAUSE_NONE)
        return FAIL_CAUSE(cause, "the scripted source fails: %s", cause_name(cause));
    return fixture->inner->ops->unwrap(fixture->inner, call, wrapped, ret_data_key);
}

static void interposed_close(struct source *source)
{
    struct fixture_source *fixture = (struct fixture_source *) source;
    source_close(&fixture->inner);
    free(fixture);
}

struct fixture_source *fixture_interpose(struct custody *custody)
{
    struct fixture_source *fixture = calloc(1, sizeof(*fixture));
    ck_assert_ptr_nonnull(fixture);
    fixture->ops = *custody->source->ops;
    fixture->ops.takes_credential = true;
    fixture->ops.wrap = interposed_wrap;
    fixture->ops.unwrap = interposed_unwrap;
    fixture->ops.close = interposed_close;
    fixture->base.ops = &fixture->ops;
    fixture->inner = custody->source;
    custody->source = &fixture->base;
    return fixture;
}

int fixture_run(const char *name, TCase *cases)
{
    tcase_add_checked_fixture(cases, fixture_setup, fixture_teardown);
    Suite *suite = suite_create(name);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
