/* `source = kmip` on PyKMIP's server (kmip_real.sh, which has made the keys that the variables
 * name). */
#include "tests/contract/direct_login.h"
#include "tests/contract/real_kmip.h"

#define CONTEXT "context"

struct settings {
    const char *key; /* a variable's name */
    const char *client;
    const char *more;
};

static const struct settings plain = {.key = "KMIP_KEY"};

static void configure(const struct settings *settings)
{
    const struct kms_settings full = {
        .key = real_kmip_variable(settings->key),
        .access = settings->client,
        .more = settings->more,
    };
    real_kmip_configure(&full);
}

static struct source *open_source(const struct settings *settings)
{
    configure(settings);
    return kms_open();
}

static struct source_call call_with(const char *context)
{
    static const struct kms_settings settings;
    return kms_call(&settings, view_text(context));
}

static CK_RV make(const struct settings *settings, struct blob *ret_wrapped)
{
    struct source *source = open_source(settings);
    CK_RV rv = kms_make(source, call_with(CONTEXT), ret_wrapped);
    source_close(&source);
    return rv;
}

static CK_RV unwrap(const struct settings *settings, const char *context,
                    const struct blob *wrapped)
{
    struct source *source = open_source(settings);
    CK_RV rv = kms_unwrap(source, call_with(context), blob_view(wrapped));
    source_close(&source);
    return rv;
}

START_TEST(a_data_key_goes_there_and_back)
{
    struct blob wrapped = {0};
    kms_assert_ok(make(&plain, &wrapped));
    kms_assert_ok(unwrap(&plain, CONTEXT, &wrapped));
    kms_assert_failed(unwrap(&plain, "other", &wrapped), INDEXKEY_CAUSE_TAMPERED,
                      "another context");
    wrapped.bytes[wrapped.len - 1] ^= 1;
    kms_assert_failed(unwrap(&plain, CONTEXT, &wrapped), INDEXKEY_CAUSE_TAMPERED, "was changed");
    blob_clear(&wrapped);
}
END_TEST

START_TEST(a_token_lives_there)
{
    enum indexkey_cause cause;
    configure(&plain);
    kms_init_token();
    kms_assert_ok(kms_login(FIXTURE_PIN, &cause));
    ck_assert_uint_eq(kms_login("wrong-pin", &cause), CKR_PIN_INCORRECT);
    kms_assert_ok(kms_login(FIXTURE_PIN, &cause));
}
END_TEST

static void configure_with(const char *more)
{
    const struct settings settings = {.key = "KMIP_KEY", .more = more};
    configure(&settings);
}

START_TEST(direct_keys_open_at_a_login)
{
    struct source *source = open_source(&plain);
    direct_login_check(source, (struct view){0}, configure_with);
    source_close(&source);
}
END_TEST

START_TEST(a_former_key_opens_after_a_rotation)
{
    struct blob wrapped = {0};
    char more[128];
    kms_assert_ok(make(&plain, &wrapped));
    struct settings rotated = {.key = "KMIP_OTHER_KEY"};
    kms_assert_failed(unwrap(&rotated, CONTEXT, &wrapped), INDEXKEY_CAUSE_CONTEXT,
                      "former_key_ids");
    (void) snprintf(more, sizeof(more), "former_key_ids = 99 %s", real_kmip_variable("KMIP_KEY"));
    rotated.more = more;
    kms_assert_ok(unwrap(&rotated, CONTEXT, &wrapped));
    blob_clear(&wrapped);
}
END_TEST

static const struct {
    const char *command;
    const char *key;
    enum indexkey_cause cause;
    const char *says;
} ends[] = {
    {"revoke", "KMIP_REVOKED", INDEXKEY_CAUSE_DISABLED, "deactivated"},
    {"compromise", "KMIP_COMPROMISED", INDEXKEY_CAUSE_DISABLED, "compromised"},
};

START_TEST(a_key_that_ended_refuses)
{
    struct blob wrapped = {0};
    struct settings settings = {.key = ends[_i].key};
    kms_assert_ok(make(&settings, &wrapped));
    (void) real_kmip_admin(ends[_i].command, real_kmip_variable(ends[_i].key));
    kms_assert_failed(unwrap(&settings, CONTEXT, &wrapped), ends[_i].cause, ends[_i].says);
    /* What has ended may be destroyed. */
    (void) real_kmip_admin("destroy", real_kmip_variable(ends[_i].key));
    kms_assert_failed(unwrap(&settings, CONTEXT, &wrapped), INDEXKEY_CAUSE_DELETED, "no such key");
    blob_clear(&wrapped);
}
END_TEST

static const struct {
    struct settings settings;
    enum indexkey_cause cause;
    const char *says;
} refused[] = {
    {{.key = "KMIP_PREACTIVE"}, INDEXKEY_CAUSE_DISABLED, "pre-active"},
    {{.key = "KMIP_KEY", .client = "stranger"}, INDEXKEY_CAUSE_DENIED, "permission denied"},
    {{.key = "KMIP_KEY", .client = "other-client"}, INDEXKEY_CAUSE_TLS, "client_cert"},
};

START_TEST(what_may_not_wrap_is_told)
{
    struct blob wrapped = {0};
    kms_assert_failed(make(&refused[_i].settings, &wrapped), refused[_i].cause, refused[_i].says);
}
END_TEST

/* ---- a server that does not encrypt ---- */

/* The server's wrapping key has the bytes 0 to 31, which fixture_root_key is too. */
static struct settings wrapping(const char *file)
{
    static char line[512];
    (void) snprintf(line, sizeof(line), "wrapping_key_file = %s", fixture_path(file));
    return (struct settings){.key = "KMIP_WRAPPING", .more = line};
}

/* The Unique Identifier in a wrapped key: behind magic, format and the wrapping key's. */
static const char *object_of(const struct blob *wrapped)
{
    static char id[256];
    struct reader reader = reader_of(blob_view(wrapped));
    (void) read_raw(&reader, 5);
    (void) read_string(&reader, 255);
    struct view text = read_string(&reader, 255);
    (void) snprintf(id, sizeof(id), "%.*s", (int) text.len, (const char *) text.bytes);
    return id;
}

START_TEST(an_object_comes_wrapped)
{
    struct blob wrapped = {0};
    struct settings settings = wrapping("root.key");
    kms_assert_ok(make(&settings, &wrapped));
    kms_assert_ok(unwrap(&settings, CONTEXT, &wrapped));
    kms_assert_failed(unwrap(&settings, "other", &wrapped), INDEXKEY_CAUSE_TAMPERED, "context");
    (void) real_kmip_admin("revoke", object_of(&wrapped));
    kms_assert_failed(unwrap(&settings, CONTEXT, &wrapped), INDEXKEY_CAUSE_DISABLED, "deactivated");
    (void) real_kmip_admin("destroy", object_of(&wrapped));
    kms_assert_failed(unwrap(&settings, CONTEXT, &wrapped), INDEXKEY_CAUSE_DELETED, "no such key");
    blob_clear(&wrapped);
}
END_TEST

START_TEST(all_parts_of_an_object_are_bound)
{
    struct blob wrapped = {0};
    struct settings settings = wrapping("root.key");
    kms_assert_ok(make(&settings, &wrapped));
    for (size_t i = 0; i < wrapped.len; i += 5) {
        wrapped.bytes[i] ^= 1;
        ck_assert_uint_ne(unwrap(&settings, CONTEXT, &wrapped), CKR_OK);
        wrapped.bytes[i] ^= 1;
    }
    kms_assert_ok(unwrap(&settings, CONTEXT, &wrapped));
    blob_clear(&wrapped);
}
END_TEST

START_TEST(the_wrapping_key_file_is_checked)
{
    struct blob wrapped = {0};
    struct settings settings = wrapping("root.key");
    struct settings without = {.key = "KMIP_WRAPPING"};
    kms_assert_ok(make(&settings, &wrapped));
    kms_assert_failed(unwrap(&without, CONTEXT, &wrapped), INDEXKEY_CAUSE_CONFIG,
                      "no wrapping_key_file");
    fixture_write("wrapping.key", fixture_other_root_key, 0600);
    settings = wrapping("wrapping.key");
    kms_assert_failed(unwrap(&settings, CONTEXT, &wrapped), INDEXKEY_CAUSE_CONTEXT,
                      "does not open");
    fixture_write("wrapping.key", "no key", 0600);
    kms_assert_failed(unwrap(&settings, CONTEXT, &wrapped), INDEXKEY_CAUSE_CONFIG, "base64");
    fixture_write("wrapping.key", fixture_root_key, 0644);
    kms_assert_failed(unwrap(&settings, CONTEXT, &wrapped), INDEXKEY_CAUSE_CONFIG, "0644");
    blob_clear(&wrapped);
}
END_TEST

START_TEST(a_token_of_an_object_lives_there)
{
    enum indexkey_cause cause;
    struct settings settings = wrapping("root.key");
    configure(&settings);
    kms_init_token();
    kms_assert_ok(kms_login(FIXTURE_PIN, &cause));
    kms_assert_ok(kms_login(FIXTURE_PIN, &cause));
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("PyKMIP");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_test(cases, a_data_key_goes_there_and_back);
    tcase_add_test(cases, a_token_lives_there);
    tcase_add_test(cases, direct_keys_open_at_a_login);
    tcase_add_test(cases, a_former_key_opens_after_a_rotation);
    tcase_add_loop_test(cases, a_key_that_ended_refuses, 0, (int) COUNT_OF(ends));
    tcase_add_loop_test(cases, what_may_not_wrap_is_told, 0, (int) COUNT_OF(refused));
    tcase_add_test(cases, an_object_comes_wrapped);
    tcase_add_test(cases, all_parts_of_an_object_are_bound);
    tcase_add_test(cases, the_wrapping_key_file_is_checked);
    tcase_add_test(cases, a_token_of_an_object_lives_there);
    return fixture_run("source kmip: PyKMIP", cases);
}
