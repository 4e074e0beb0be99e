/* What every source must do, run over all of them; then what is particular to `file` and `env`. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/token_fixture.h"

#define VARIABLE "INDEXKEY_TEST_ROOT"

/* A source under test: how it is configured and how its root key is set (NULL: removed). */
struct subject {
    const char *name;
    const char *key;
    void (*set_root)(const char *root_key);
};

static void set_file(const char *root_key)
{
    (void) unlink(fixture_path("root.key"));
    if (root_key != NULL)
        fixture_write("root.key", root_key, 0600);
}

static void set_variable(const char *root_key)
{
    if (root_key == NULL)
        ck_assert_int_eq(unsetenv(VARIABLE), 0);
    else
        ck_assert_int_eq(setenv(VARIABLE, root_key, 1), 0);
}

static const struct subject subjects[] = {
    {"file", "key_file", set_file},
    {"env", "key_env", set_variable},
};

static atomic_bool cancelled;

static struct source *open_source(const struct subject *subject)
{
    const char *place = subject->set_root == set_file ? fixture_path("root.key") : VARIABLE;
    static const struct conf_key any = {.name = "any"};
    struct conf_entry entries[] = {
        {.name = subject->key, .value = place, .key = &any},
        {.name = "source", .value = subject->name, .key = &any},
    };
    struct conf_section section = {.name = "t", .entries = entries, .entry_count = 2};
    struct source *source = NULL;
    atomic_store(&cancelled, false);
    subject->set_root(fixture_root_key);
    ck_assert_uint_eq(source_open(&section, &source), CKR_OK);
    return source;
}

static struct source_call call_with(const char *context)
{
    return (struct source_call){
        .context = view_text(context),
        .deadline_ms = clock_boot_ms() + 5000,
        .cancelled = &cancelled,
    };
}

static void assert_unwrap(struct source *source, const char *context, struct view wrapped,
                          enum indexkey_cause expected)
{
    struct secret data_key = {0};
    struct source_call call = call_with(context);
    cause_clear();
    fixture_forget_log();
    CK_RV rv = source_unwrap(source, &call, wrapped, &data_key);
    ck_assert_int_eq((int) cause_last(), (int) expected);
    ck_assert_uint_eq(rv, cause_rv(expected));
    ck_assert_uint_eq(fixture_log_count(), expected == INDEXKEY_CAUSE_NONE ? 0 : 1);
    ck_assert_uint_eq(data_key.len, rv == CKR_OK ? DATA_KEY_LEN : 0);
    secret_clear(&data_key);
}

static struct blob make(struct source *source, const char *context)
{
    struct secret data_key = {0};
    struct secret again = {0};
    struct blob wrapped = {0};
    struct source_call call = call_with(context);
    ck_assert_uint_eq(source_make_data_key(source, &call, &data_key, &wrapped), CKR_OK);
    ck_assert_uint_eq(source_unwrap(source, &call, blob_view(&wrapped), &again), CKR_OK);
    ck_assert(secret_equal(&data_key, &again));
    secret_clear(&data_key);
    secret_clear(&again);
    return wrapped;
}

START_TEST(every_source_is_named)
{
    const struct source_ops *ops = source_find(subjects[_i].name);
    ck_assert_ptr_nonnull(ops);
    ck_assert_str_eq(ops->name, subjects[_i].name);
    ck_assert_ptr_nonnull(strstr(source_names(), subjects[_i].name));
    ck_assert_str_eq(ops->keys[0].name, subjects[_i].key);
    ck_assert_ptr_null(source_find("none such"));
}
END_TEST

START_TEST(a_data_key_wraps_and_unwraps)
{
    struct source *source = open_source(&subjects[_i]);
    struct blob first = make(source, "context");
    struct blob second = make(source, "context");
    ck_assert(!view_equal(blob_view(&first), blob_view(&second)));
    blob_clear(&first);
    blob_clear(&second);
    source_close(&source);
    ck_assert_ptr_null(source);
}
END_TEST

START_TEST(another_context_does_not_unwrap)
{
    struct source *source = open_source(&subjects[_i]);
    struct blob wrapped = make(source, "context");
    assert_unwrap(source, "other", blob_view(&wrapped), INDEXKEY_CAUSE_TAMPERED);
    assert_unwrap(source, "", blob_view(&wrapped), INDEXKEY_CAUSE_TAMPERED);
    assert_unwrap(source, "context", blob_view(&wrapped), INDEXKEY_CAUSE_NONE);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(another_root_key_is_told_from_tampering)
{
    struct source *source = open_source(&subjects[_i]);
    struct blob wrapped = make(source, "context");
    subjects[_i].set_root(fixture_other_root_key);
    assert_unwrap(source, "context", blob_view(&wrapped), INDEXKEY_CAUSE_CONTEXT);
    subjects[_i].set_root(fixture_root_key);
    assert_unwrap(source, "context", blob_view(&wrapped), INDEXKEY_CAUSE_NONE);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(no_flipped_or_missing_byte_unwraps)
{
    struct source *source = open_source(&subjects[_i]);
    struct blob wrapped = make(source, "context");
    for (size_t i = 0; i < wrapped.len; i++) {
        wrapped.bytes[i] ^= 1;
        /* Bytes 1 to 8 name the root key. */
        assert_unwrap(source, "context", blob_view(&wrapped),
                      i >= 1 && i <= 8 ? INDEXKEY_CAUSE_CONTEXT : INDEXKEY_CAUSE_TAMPERED);
        wrapped.bytes[i] ^= 1;
        struct view cut = {wrapped.bytes, i};
        assert_unwrap(source, "context", cut, INDEXKEY_CAUSE_TAMPERED);
    }
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(a_root_key_that_is_gone_is_a_denial)
{
    struct source *source = open_source(&subjects[_i]);
    struct blob wrapped = make(source, "context");
    subjects[_i].set_root(NULL);
    assert_unwrap(source, "context", blob_view(&wrapped), INDEXKEY_CAUSE_DELETED);
    ck_assert(cause_is_denial(INDEXKEY_CAUSE_DELETED));
    subjects[_i].set_root(fixture_root_key);
    assert_unwrap(source, "context", blob_view(&wrapped), INDEXKEY_CAUSE_NONE);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

static const char *const bad_keys[] = {
    "",
    "\n",
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= AAEC",
};

START_TEST(what_is_no_key_is_refused_without_showing_it)
{
    struct source *source = open_source(&subjects[_i]);
    struct blob wrapped = make(source, "context");
    for (size_t i = 0; i < COUNT_OF(bad_keys); i++) {
        subjects[_i].set_root(bad_keys[i]);
        assert_unwrap(source, "context", blob_view(&wrapped), INDEXKEY_CAUSE_CONFIG);
        ck_assert(strlen(bad_keys[i]) < 4 || strstr(fixture_log(), bad_keys[i]) == NULL);
        ck_assert_ptr_nonnull(strstr(fixture_log(), "openssl rand -base64 32"));
    }
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(a_cancelled_call_returns)
{
    struct source *source = open_source(&subjects[_i]);
    struct blob wrapped = make(source, "context");
    atomic_store(&cancelled, true);
    assert_unwrap(source, "context", blob_view(&wrapped), INDEXKEY_CAUSE_CANCELLED);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(a_source_without_its_key_does_not_open)
{
    static const struct conf_key any = {.name = "any"};
    struct conf_entry entry = {.name = "source", .value = subjects[_i].name, .key = &any};
    struct conf_section section = {.name = "t", .entries = &entry, .entry_count = 1};
    struct source *source = NULL;
    ck_assert_uint_eq(source_open(&section, &source), CKR_FUNCTION_FAILED);
    ck_assert_ptr_null(source);
    ck_assert_int_eq((int) cause_last(), INDEXKEY_CAUSE_CONFIG);
    ck_assert_uint_eq(fixture_log_count(), 1);
}
END_TEST

static void make_fifo(void)
{
    set_file(NULL);
    ck_assert_int_eq(mkfifo(fixture_path("root.key"), 0600), 0);
}

static void make_link(void)
{
    set_file(NULL);
    fixture_write("target", fixture_root_key, 0600);
    ck_assert_int_eq(symlink(fixture_path("target"), fixture_path("root.key")), 0);
}

static void make_large(void)
{
    char text[4096];
    memset(text, 'A', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    set_file(text);
}

static void make_readable_by_group(void)
{
    set_file(NULL);
    fixture_write("root.key", fixture_root_key, 0640);
}

static void make_writable_by_others(void)
{
    set_file(NULL);
    fixture_write("root.key", fixture_root_key, 0602);
}

static void make_foreign(void)
{
    if (geteuid() == 0)
        ck_assert_int_eq(chown(fixture_path("root.key"), 4242, 4242), 0);
    else
        make_readable_by_group();
}

static void (*const bad_files[])(void) = {
    make_fifo,   make_link, make_large, make_readable_by_group, make_writable_by_others,
    make_foreign};

START_TEST(a_key_file_that_is_unsafe_is_refused)
{
    struct source *source = open_source(&subjects[0]);
    struct blob wrapped = make(source, "context");
    bad_files[_i]();
    assert_unwrap(source, "context", blob_view(&wrapped), INDEXKEY_CAUSE_CONFIG);
    ck_assert_ptr_nonnull(strstr(fixture_log(), fixture_path("root.key")));
    set_file(fixture_root_key);
    assert_unwrap(source, "context", blob_view(&wrapped), INDEXKEY_CAUSE_NONE);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(a_key_file_that_cannot_be_reached_is_no_denial)
{
    struct source *source = open_source(&subjects[0]);
    struct blob wrapped = make(source, "context");
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_unwrap(source, "context", blob_view(&wrapped), INDEXKEY_CAUSE_SERVER);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert(cause_is_transient(INDEXKEY_CAUSE_SERVER));
    assert_unwrap(source, "context", blob_view(&wrapped), INDEXKEY_CAUSE_NONE);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(a_key_file_without_permission_is_a_denial)
{
    /* Permissions do not bind root. */
    if (geteuid() == 0) {
        ck_assert_int_eq(chmod(fixture_path("."), 0755), 0);
        ck_assert_int_eq(seteuid(65534), 0);
    } else {
        ck_assert_int_eq(chmod(fixture_path("root.key"), 0), 0);
    }
    static const struct conf_key any = {.name = "any"};
    struct conf_entry entries[] = {
        {.name = "key_file", .value = fixture_path("root.key"), .key = &any},
        {.name = "source", .value = "file", .key = &any},
    };
    struct conf_section section = {.name = "t", .entries = entries, .entry_count = 2};
    struct source *source = NULL;
    ck_assert_uint_eq(source_open(&section, &source), CKR_OK);
    assert_unwrap(source, "context", (struct view){0}, INDEXKEY_CAUSE_DENIED);
    source_close(&source);
    ck_assert(getuid() != 0 || seteuid(0) == 0);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("sources");
    int count = (int) COUNT_OF(subjects);
    tcase_add_loop_test(cases, every_source_is_named, 0, count);
    tcase_add_loop_test(cases, a_data_key_wraps_and_unwraps, 0, count);
    tcase_add_loop_test(cases, another_context_does_not_unwrap, 0, count);
    tcase_add_loop_test(cases, another_root_key_is_told_from_tampering, 0, count);
    tcase_add_loop_test(cases, no_flipped_or_missing_byte_unwraps, 0, count);
    tcase_add_loop_test(cases, a_root_key_that_is_gone_is_a_denial, 0, count);
    tcase_add_loop_test(cases, what_is_no_key_is_refused_without_showing_it, 0, count);
    tcase_add_loop_test(cases, a_cancelled_call_returns, 0, count);
    tcase_add_loop_test(cases, a_source_without_its_key_does_not_open, 0, count);
    tcase_add_loop_test(cases, a_key_file_that_is_unsafe_is_refused, 0, (int) COUNT_OF(bad_files));
    tcase_add_test(cases, a_key_file_that_cannot_be_reached_is_no_denial);
    tcase_add_test(cases, a_key_file_without_permission_is_a_denial);
    return fixture_run("sources", cases);
}
