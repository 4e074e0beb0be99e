/* Where the ciphertexts of direct keys stand, what is bound to them, and what is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "tests/support/direct_fixture.h"

#define LEASES "lease = 15m\ngrace = 1h"

static const unsigned char value_bytes[32] = "a value of exactly 32 bytes.....";

static struct view value_view(void)
{
    return (struct view){value_bytes, sizeof(value_bytes)};
}

static void expect_value(struct custody *custody, size_t index, struct view wanted)
{
    struct secret value = direct_value(custody, index);
    ck_assert_msg(value.len == wanted.len && memcmp(value.bytes, wanted.bytes, wanted.len) == 0,
                  "key %zu: %zu bytes\n%s", index, value.len, fixture_log());
    secret_clear(&value);
}

static void encode(const struct blob *bytes, char *text)
{
    (void) EVP_EncodeBlock((unsigned char *) text, bytes->bytes, (int) bytes->len);
}

static void write_binary(const char *name, const struct blob *bytes)
{
    FILE *file = fopen(fixture_path(name), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes->bytes, 1, bytes->len, file), bytes->len);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(every_form_of_a_ciphertext_opens)
{
    struct custody *maker = direct_token(LEASES, "", true);
    struct blob wrapped = {0};
    char text[256];
    char lines[300];
    char sections[2048];
    direct_wrap(maker, (struct view){0}, value_view(), &wrapped);
    custody_close(&maker);
    encode(&wrapped, text);
    (void) snprintf(lines, sizeof(lines), "%.40s\n%s\n", text, text + 40);
    fixture_write("lines.b64", lines, 0644);
    write_binary("raw.blob", &wrapped);
    ck_assert_int_eq(setenv("DIRECT_BLOB", text, 1), 0);
    (void) snprintf(sections, sizeof(sections),
                    "[key inline]\ntoken = vectors\nciphertext = base64:%s\n"
                    "[key variable]\ntoken = vectors\nciphertext = env:DIRECT_BLOB\n"
                    "[key lines]\ntoken = vectors\nciphertext = file:%s\n"
                    "[key raw]\ntoken = vectors\nciphertext = file:%s\n",
                    text, fixture_path("lines.b64"), fixture_path("raw.blob"));
    struct custody *custody = direct_token(LEASES, sections, true);
    fixture_login_user(custody);
    ck_assert_uint_eq(custody_direct_keys_count(custody), 4);
    for (size_t i = 0; i < 4; i++)
        expect_value(custody, i, value_view());
    blob_clear(&wrapped);
    custody_close(&custody);
}
END_TEST

/* In the log: part of the reader's line. */
static const struct {
    const char *ciphertext;
    const char *logged;
} bad_places[] = {
    {"ssm:", "or a parameter of the source's service"},
    {"kv:", "or a parameter of the source's service"},
    {"kv:secret/\xc3\xa9", "printable ASCII after its scheme"},
    {"file:relative", "an absolute path after file:"},
    {"base64:not base64!", "base64 after base64:"},
    {"AQICAHg=", "base64:TEXT, vault:vN:TEXT, env:NAME, file:/PATH or a"},
    {"base64:", "base64:TEXT, vault:vN:TEXT, env:NAME, file:/PATH or a"},
    {"vault:1\nid = 0", "id must be 1 to 32 bytes in hexadecimal"},
    {"vault:1\nid = xy", "id must be 1 to 32 bytes in hexadecimal"},
    {"vault:1\ncheck_value = 0102", "check_value must be the 16 hexadecimal digits"},
    {"vault:1\ntype = des", "type must be"},
};

START_TEST(a_bad_section_is_left_out_with_its_remedy)
{
    char sections[512];
    (void) snprintf(sections, sizeof(sections),
                    "[key bad]\ntoken = vectors\nciphertext = %s\n"
                    "[key good]\ntoken = vectors\nciphertext = vault:7\n",
                    bad_places[_i].ciphertext);
    ck_assert_uint_eq(direct_good_sections(sections), 1);
    ck_assert_msg(strstr(fixture_log(), bad_places[_i].logged) != NULL, "%s", fixture_log());
    struct custody *custody = direct_token(LEASES, sections, true);
    fixture_login_user(custody);
    ck_assert_uint_eq(custody_direct_keys_count(custody), 1);
    ck_assert(direct_is_open(custody, 0));
    custody_close(&custody);
}
END_TEST

START_TEST(a_source_without_parameters_says_so)
{
    struct custody *custody =
        direct_token(LEASES, "[key k]\ntoken = vectors\nciphertext = kv:secret/key\n", true);
    fixture_login_user(custody);
    ck_assert(!direct_is_open(custody, 0));
    ck_assert_ptr_nonnull(strstr(fixture_log(), "[key k] is not shown"));
    ck_assert_ptr_nonnull(strstr(fixture_log(), "has no parameter store for kv:"));
    custody_close(&custody);
}
END_TEST

/* What a file or variable may hold that is no ciphertext. */
static const struct {
    const char *content; /* NULL: no file */
    unsigned int mode;
    const char *logged;
} bad_files[] = {
    {NULL, 0, "does not exist"},          {"", 0600, "is empty"},
    {" \n\n", 0600, "is empty"},          {"AAA=A", 0600, "no base64"},
    {"AAECAw==", 0666, "open to others"},
};

START_TEST(a_bad_file_hides_its_key_alone)
{
    char sections[512];
    if (bad_files[_i].content != NULL)
        fixture_write("key.blob", bad_files[_i].content, bad_files[_i].mode);
    (void) snprintf(sections, sizeof(sections),
                    "[key bad]\ntoken = vectors\nciphertext = file:%s\n%s",
                    fixture_path("key.blob"), direct_sections(1));
    struct custody *custody = direct_token(LEASES, sections, true);
    fixture_login_user(custody);
    ck_assert(!direct_is_open(custody, 0));
    ck_assert(direct_is_open(custody, 1));
    ck_assert_ptr_nonnull(strstr(fixture_log(), bad_files[_i].logged));
    ck_assert_ptr_nonnull(strstr(fixture_log(), "[key bad] is not shown until the next C_Login"));
    custody_close(&custody);
}
END_TEST

START_TEST(a_context_is_bound_when_the_section_has_one)
{
    static const char canonical[] = "\1\0\0\0\0\0\0\0\6tenant\0\0\0\4acme";
    struct custody *maker = direct_token(LEASES, "", true);
    struct blob wrapped = {0};
    char text[256];
    char sections[2048];
    direct_wrap(maker, (struct view){(const unsigned char *) canonical, sizeof(canonical) - 1},
                value_view(), &wrapped);
    custody_close(&maker);
    encode(&wrapped, text);
    (void) snprintf(sections, sizeof(sections),
                    "[key right]\ntoken = vectors\nciphertext = base64:%s\ncontext.tenant = acme\n"
                    "[key wrong]\ntoken = vectors\nciphertext = base64:%s\ncontext.tenant = other\n"
                    "[key none]\ntoken = vectors\nciphertext = base64:%s\n%s",
                    text, text, text, direct_sections(1));
    struct custody *custody = direct_token("context.tenant = token\n" LEASES, sections, true);
    fixture_login_user(custody);
    expect_value(custody, 0, value_view());
    ck_assert(!direct_is_open(custody, 1));
    ck_assert(!direct_is_open(custody, 2));
    ck_assert(direct_is_open(custody, 3));
    ck_assert_int_eq(fake_keys[0].context_len, 0);
    blob_clear(&wrapped);
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("direct_keys_conf");
    tcase_add_test(cases, every_form_of_a_ciphertext_opens);
    tcase_add_test(cases, a_source_without_parameters_says_so);
    tcase_add_loop_test(cases, a_bad_section_is_left_out_with_its_remedy, 0,
                        (int) COUNT_OF(bad_places));
    tcase_add_loop_test(cases, a_bad_file_hides_its_key_alone, 0, (int) COUNT_OF(bad_files));
    tcase_add_test(cases, a_context_is_bound_when_the_section_has_one);
    return fixture_run("direct_keys_conf", cases);
}
