/* Replies as hostile JSON, secrets taken out before the parser sees them, and requests written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/rv.h"
#include "tests/unit/base_fixture.h"
#include "tokens/json.h"

#define FUZZ_ROUNDS 200000

static long live_before;

static void setup(void)
{
    fixture_catch_log();
    secrets_init(false);
    ck_assert_uint_eq(crypto_init(), CKR_OK);
    struct secret all[8];
    for (size_t i = 0; i < COUNT_OF(all); i++)
        ck_assert_uint_eq(secret_new((size_t) 32 << i, &all[i]), CKR_OK);
    for (size_t i = 0; i < COUNT_OF(all); i++)
        secret_clear(&all[i]);
    live_before = mem_live();
}

static void teardown(void)
{
    ck_assert_uint_eq(secrets_in_use(), 0);
    ck_assert_int_eq(mem_live(), live_before);
    crypto_finish();
}

static struct json *parse(const char *text)
{
    struct json *json = NULL;
    ck_assert_msg(json_parse(view_text(text), &json) == CKR_OK, "%s", text);
    return json;
}

static const char *const refused[] = {
    "",
    " ",
    "null",
    "1",
    "\"text\"",
    "{",
    "}",
    "{\"a\":1",
    "{\"a\":1}}",
    "{\"a\":1} x",
    "{\"a\":1,}",
    "{\"a\":1,\"a\":2}",
    "{\"a\":{\"b\":1,\"\\u0062\":2}}",
    "{\"a\":\"\\u0000\"}",
    "{\"a\":\"\n\"}",
    "{\"a\":\"\xff\"}",
    "{\"a\":\"\xc0\x80\"}",
    "{\"a\":\"\\ud800\"}",
    "{'a':1}",
    "{\"a\":NaN}",
    "{\"a\":01}",
    "{\"a\":99999999999999999999}",
    "[1,2",
    "[\"a]",
    "[\"a\\\"]",
    "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]",
    "{\"a\":[}",
    "<html></html>",
};

START_TEST(refuses_what_is_no_reply)
{
    struct json *json = (struct json *) 1;
    ck_assert_uint_eq(json_parse(view_text(refused[_i]), &json), CKR_DATA_INVALID);
    ck_assert_ptr_eq(json, (struct json *) 1);
    ck_assert_str_eq(fixture_log(), "");
}
END_TEST

START_TEST(refuses_a_nul_and_a_long_text)
{
    struct json *json = NULL;
    ck_assert_uint_eq(json_parse((struct view){(const unsigned char *) "[1]\0", 4}, &json),
                      CKR_DATA_INVALID);
    unsigned char *blanks = calloc(1, JSON_LEN_MAX + 1);
    ck_assert_ptr_nonnull(blanks);
    memset(blanks, ' ', JSON_LEN_MAX + 1);
    memcpy(blanks, "[]", 2);
    ck_assert_uint_eq(json_parse((struct view){blanks, JSON_LEN_MAX + 1}, &json), CKR_DATA_INVALID);
    ck_assert_uint_eq(json_parse((struct view){blanks, JSON_LEN_MAX}, &json), CKR_OK);
    json_free(&json);
    ck_assert_ptr_null(json);
    free(blanks);
}
END_TEST

START_TEST(takes_sixteen_levels)
{
    struct json *json = parse("[[[[[[[[[[[[[[[[\"]]]]\"]]]]]]]]]]]]]]]]");
    ck_assert_str_eq(json_text(json, "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"), "]]]]");
    json_free(&json);
}
END_TEST

static const struct {
    const char *text;
    int64_t seconds; /* -1: none */
} times[] = {
    {"{\"t\": 0}", 0},
    {"{\"t\": 1803859200}", 1803859200},
    {"{\"t\": 1803859200.999}", 1803859200},
    {"{\"t\": 1.8038592E9}", 1803859200},
    {"{\"t\": 253402300799}", 253402300799},
    {"{\"t\": 253402300800}", -1},
    {"{\"t\": 1e300}", -1},
    {"{\"t\": -0.5}", -1},
    {"{\"t\": \"1803859200\"}", -1},
    {"{\"t\": null}", -1},
    {"{\"u\": 1}", -1},
};

START_TEST(a_time_is_bounded)
{
    int64_t seconds = -1;
    struct json *json = parse(times[_i].text);
    ck_assert_int_eq(json_seconds(json, "t", &seconds), times[_i].seconds >= 0);
    ck_assert_int_eq(seconds, times[_i].seconds);
    json_free(&json);
}
END_TEST

START_TEST(getters_are_typed)
{
    int64_t number = 77;
    bool flag = false;
    struct json *json =
        parse("{\"data\":{\"name\":\"n\",\"version\":3,\"big\":-9007199254740993,\"on\":true,"
              "\"none\":null,\"f\":1.5},\"errors\":[\"first\",{\"code\":9}],\"\":\"empty\"}");
    ck_assert_str_eq(json_text(json, "data.name"), "n");
    ck_assert_str_eq(json_text(json, "errors.0"), "first");
    ck_assert_str_eq(json_text(json, ""), "empty");
    static const char *const no_text[] = {"data",
                                          "data.version",
                                          "data.none",
                                          "data.absent",
                                          "errors",
                                          "errors.2",
                                          "errors.x",
                                          "errors.-1",
                                          "errors.0x",
                                          "errors.",
                                          "data.name.x",
                                          "data.",
                                          "errors.18446744073709551616"};
    for (size_t i = 0; i < COUNT_OF(no_text); i++)
        ck_assert_msg(json_text(json, no_text[i]) == NULL, "%s", no_text[i]);
    ck_assert(json_number(json, "errors.1.code", &number));
    ck_assert_int_eq(number, 9);
    ck_assert(json_number(json, "data.big", &number));
    ck_assert_int_eq(number, -9007199254740993);
    ck_assert(!json_number(json, "data.f", &number));
    ck_assert(!json_number(json, "data.name", &number));
    ck_assert_int_eq(number, -9007199254740993);
    ck_assert(json_flag(json, "data.on", &flag) && flag);
    ck_assert(!json_flag(json, "data.version", &flag));
    ck_assert(json_has(json, "data.on"));
    ck_assert(!json_has(json, "data.none"));
    ck_assert(!json_has(json, "nothing"));
    ck_assert_uint_eq(json_count(json, "errors"), 2);
    ck_assert_uint_eq(json_count(json, "data"), 6);
    ck_assert_uint_eq(json_count(json, "data.name"), 0);
    const char *name = NULL;
    const char *text = NULL;
    ck_assert(json_member(json, "data", 0, &name, &text));
    ck_assert_str_eq(name, "name");
    ck_assert_str_eq(text, "n");
    ck_assert(!json_member(json, "data", 1, &name, &text));
    ck_assert(!json_member(json, "data", 6, &name, &text));
    ck_assert(!json_member(json, "errors", 0, &name, &text));
    ck_assert(!json_member(json, "absent", 0, &name, &text));
    char longest[400];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    ck_assert_ptr_null(json_text(json, longest));
    json_free(&json);
}
END_TEST

static const struct {
    const char *body;
    const char *path;
    const char *text;  /* NULL: refused, and the body unchanged */
    const char *after; /* NULL: not looked at */
} takes[] = {
    {"{\"a\":\"secret\"}", "a", "secret", "{\"a\":\"\"      }"},
    {" { \"a\" : \"s\" , \"b\":1}", "a", "s", " { \"a\" : \"\"  , \"b\":1}"},
    {"{\"data\":{\"x\":[1,{\"plaintext\":\"no\"}],\"plaintext\":\"yes\"}}", "data.plaintext", "yes",
     "{\"data\":{\"x\":[1,{\"plaintext\":\"no\"}],\"plaintext\":\"\"   }}"},
    {"{\"plaintext\":\"no\",\"data\":{\"plaintext\":\"yes\"}}", "data.plaintext", "yes",
     "{\"plaintext\":\"no\",\"data\":{\"plaintext\":\"\"   }}"},
    {"{\"k\":\"a\\\"}\",\"p\":\"q\"}", "p", "q", "{\"k\":\"a\\\"}\",\"p\":\"\" }"},
    {"{\"n\":-1.5e3,\"t\":true,\"z\":null,\"p\":\"q\"}", "p", "q", NULL},
    {"{\"p\":\"a\\/b\\\\c\\\"d\\n\\u0041\\u007a\"}", "p", "a/b\\c\"d\nAz", NULL},
    {"{\"a\":[1,[\"no\"],{\"p\":\"yes\"}]}", "a.2.p", "yes",
     "{\"a\":[1,[\"no\"],{\"p\":\"\"   }]}"},
    {"[[\"a\"], [ \"b\" , \"c\"]]", "1.1", "c", NULL},
    {"{\"0\":\"member\"}", "0", "member", NULL},
    {"{\"a\":[\"x\"]}", "a.1", NULL, NULL},
    {"{\"a\":[]}", "a.0", NULL, NULL},
    {"{\"a\":[\"x\"]}", "a.p", NULL, NULL},
    {"{\"a\":[\"x\"]}", "a.", NULL, NULL},
    {"{\"a\":[\"x\"]}", "a.99999999999999999999", NULL, NULL},
    {"{\"a\":[\"x\"", "a.1", NULL, NULL},
    {"{\"p\":\"\"}", "p", NULL, NULL},
    {"{\"p\":1}", "p", NULL, NULL},
    {"{\"p\":null}", "p", NULL, NULL},
    {"{\"p\":{\"p\":\"x\"}}", "p", NULL, NULL},
    {"{\"q\":\"x\"}", "p", NULL, NULL},
    {"{\"q\":{\"p\":\"x\"}}", "p", NULL, NULL},
    {"[\"p\",\"x\"]", "p", NULL, NULL},
    {"{\"p\":\"x", "p", NULL, NULL},
    {"{\"p\":\"x\\", "p", NULL, NULL},
    {"{\"p\":\"x\\\"", "p", NULL, NULL},
    {"{\"p\":\"\\u00\"}", "p", NULL, NULL},
    {"{\"p\":\"\\u0000\"}", "p", NULL, NULL},
    {"{\"p\":\"\\u00e9\"}", "p", NULL, NULL},
    {"{\"p\":\"\\u004g\"}", "p", NULL, NULL},
    {"{\"p\":\"\\x41\"}", "p", NULL, NULL},
    {"{\"p\":\"\xc3\xa9\"}", "p", NULL, NULL},
    {"{\"p\":\"a\nb\"}", "p", NULL, NULL},
    {"{\"p\" \"x\"}", "p", NULL, NULL},
    {"{p:\"x\"}", "p", NULL, NULL},
    {"{\"a\":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]],\"p\":\"x\"}", "p", NULL, NULL},
    {"{\"a\":]],\"p\":\"x\"}", "p", NULL, NULL},
    {"{\"a\":", "p", NULL, NULL},
    {"{\"a\"", "p", NULL, NULL},
    {"{", "p", NULL, NULL},
    {"", "p", NULL, NULL},
};

START_TEST(takes_a_secret_out)
{
    struct secret body;
    struct secret text = {(unsigned char *) "x", 77};
    const char *before = takes[_i].body;
    ck_assert_uint_eq(secret_from(before, strlen(before), &body), CKR_OK);
    CK_RV rv = json_secret_take(&body, takes[_i].path, &text);
    if (takes[_i].text == NULL) {
        ck_assert_uint_eq(rv, CKR_DATA_INVALID);
        ck_assert_uint_eq(text.len, 77);
        ck_assert(body.len == 0 || memcmp(body.bytes, before, body.len) == 0);
        secret_clear(&body);
        return;
    }
    ck_assert_uint_eq(rv, CKR_OK);
    ck_assert_uint_eq(text.len, strlen(takes[_i].text));
    ck_assert_mem_eq(text.bytes, takes[_i].text, text.len);
    ck_assert_uint_eq(body.len, strlen(before));
    if (takes[_i].after != NULL)
        ck_assert_mem_eq(body.bytes, takes[_i].after, body.len);
    struct json *json = NULL;
    ck_assert_uint_eq(json_parse((struct view){body.bytes, body.len}, &json), CKR_OK);
    ck_assert_str_eq(json_text(json, takes[_i].path), "");
    json_free(&json);
    secret_clear(&text);
    secret_clear(&body);
}
END_TEST

/* What is taken first is the only one: the parser refuses the text with another. */
START_TEST(a_second_secret_of_the_name_is_refused)
{
    static const char text[] = "{\"p\":\"one\",\"\\u0070\":\"two\"}";
    struct secret body;
    struct secret taken;
    struct json *json = NULL;
    ck_assert_uint_eq(secret_from(text, strlen(text), &body), CKR_OK);
    ck_assert_uint_eq(json_secret_take(&body, "p", &taken), CKR_OK);
    ck_assert_uint_eq(json_parse((struct view){body.bytes, body.len}, &json), CKR_DATA_INVALID);
    secret_clear(&taken);
    secret_clear(&body);
}
END_TEST

static const struct {
    const char *text;
    size_t min_len, max_len;
    size_t len; /* SIZE_MAX: refused */
} base64s[] = {
    {"Zm9v", 3, 3, 3},        {"Zm9vYg==", 1, 9, 4},        {"Zm9vYmE=", 5, 5, 5},
    {"Zm9v", 4, 9, SIZE_MAX}, {"Zm9vYg==", 1, 3, SIZE_MAX}, {"Zm9", 1, 9, SIZE_MAX},
    {"====", 0, 9, SIZE_MAX}, {"Zg==Zg==", 0, 9, SIZE_MAX}, {"Zm9v\\n", 0, 9, SIZE_MAX},
    {"    ", 0, 9, SIZE_MAX}, {"Zm-_", 0, 9, SIZE_MAX},     {"Z\\u006d9v", 3, 3, 3},
};

START_TEST(base64_is_bounded)
{
    char text[64];
    (void) snprintf(text, sizeof text, "{\"k\":\"%s\"}", base64s[_i].text);
    struct secret body;
    struct secret bytes = {NULL, 0};
    ck_assert_uint_eq(secret_from(text, strlen(text), &body), CKR_OK);
    CK_RV rv = json_base64_take(&body, "k", base64s[_i].min_len, base64s[_i].max_len, &bytes);
    ck_assert_uint_eq(rv, base64s[_i].len == SIZE_MAX ? CKR_DATA_INVALID : CKR_OK);
    if (rv == CKR_OK) {
        ck_assert_uint_eq(bytes.len, base64s[_i].len);
        ck_assert_mem_eq(bytes.bytes, "fooba", bytes.len < 3 ? bytes.len : 3);
    }
    secret_clear(&bytes);
    secret_clear(&body);
}
END_TEST

START_TEST(writes_what_it_reads)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    struct secret text;
    json_write_object(&writer, NULL);
    json_write_text(&writer, "KeyId", "a\"b\\c\n\x01\x7f\xc3\xa9\xf0\x9f\x98\x80");
    json_write_object(&writer, "Context");
    json_write_text(&writer, "te\"nant", "acme");
    json_write_end_object(&writer);
    json_write_array(&writer, "list");
    json_write_number(&writer, NULL, INT64_MIN);
    json_write_flag(&writer, NULL, true);
    json_write_end_array(&writer);
    json_write_object(&writer, "none");
    json_write_end_object(&writer);
    json_write_base64(&writer, "bytes",
                      (struct view){(const unsigned char *) "\xfb\xff\xbf\x01", 4});
    json_write_end_object(&writer);
    ck_assert_uint_eq(json_write_finish(&writer, &text), CKR_OK);
    static const char expected[] =
        "{\"KeyId\":\"a\\\"b\\\\c\\u000a\\u0001\x7f\xc3\xa9\xf0\x9f\x98\x80\","
        "\"Context\":{\"te\\\"nant\":\"acme\"},"
        "\"list\":[-9223372036854775808,true],\"none\":{},\"bytes\":\"+/+/AQ==\"}";
    ck_assert_uint_eq(text.len, strlen(expected));
    ck_assert_mem_eq(text.bytes, expected, text.len);
    struct json *json = NULL;
    ck_assert_uint_eq(json_parse((struct view){text.bytes, text.len}, &json), CKR_OK);
    ck_assert_str_eq(json_text(json, "KeyId"), "a\"b\\c\n\x01\x7f\xc3\xa9\xf0\x9f\x98\x80");
    json_free(&json);
    secret_clear(&text);
}
END_TEST

static const char *const not_utf8[] = {
    "\xff",
    "\xc0\x80",
    "\xc3",
    "\xc3(",
    "\xe0\x80\x80",
    "\xed\xa0\x80",
    "\xf4\x90\x80\x80",
    "\xf0\x80\x80\x80",
    "\xe2\x82",
    "\x80",
    "\xf5\x80\x80\x80",
};

START_TEST(writes_only_utf8)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    struct secret text;
    json_write_array(&writer, NULL);
    json_write_text(&writer, NULL, not_utf8[_i]);
    json_write_end_array(&writer);
    ck_assert_uint_eq(json_write_finish(&writer, &text), CKR_DATA_INVALID);
}
END_TEST

START_TEST(base64_of_every_length)
{
    for (size_t len = 0; len < 200; len++) {
        unsigned char bytes[200];
        unsigned char coded[300];
        _cleanup_(json_writer_clear) struct json_writer writer = {0};
        struct secret text;
        ck_assert_uint_eq(crypto_random(bytes, sizeof bytes), CKR_OK);
        int coded_len = EVP_EncodeBlock(coded, bytes, (int) len);
        json_write_base64(&writer, NULL, (struct view){bytes, len});
        ck_assert_uint_eq(json_write_finish(&writer, &text), CKR_OK);
        ck_assert_uint_eq(text.len, (size_t) coded_len + 2);
        ck_assert_mem_eq(text.bytes + 1, coded, (size_t) coded_len);
        secret_clear(&text);
    }
}
END_TEST

START_TEST(writer_says_when_memory_is_short)
{
    for (unsigned long nth = 1; nth <= 3; nth++) {
        _cleanup_(json_writer_clear) struct json_writer writer = {0};
        struct secret text;
        char piece[600];
        memset(piece, 'x', sizeof piece - 1);
        piece[sizeof piece - 1] = '\0';
        mem_fail_at(nth, false);
        json_write_array(&writer, NULL);
        json_write_text(&writer, NULL, piece);
        json_write_text(&writer, NULL, piece);
        json_write_end_array(&writer);
        mem_fail_at(0, false);
        ck_assert_uint_eq(json_write_finish(&writer, &text), CKR_HOST_MEMORY);
    }
}
END_TEST

static uint64_t random_state = UINT64_C(0x9e3779b97f4a7c15);

static size_t below(size_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t) (random_state % bound);
}

/* Cuts, doubles and overwrites with what means something in JSON. */
static size_t mutate(unsigned char *bytes, size_t len, size_t room)
{
    static const char telling[] = "\"\\{}[]:,u0 \t\n\x7f\x80\xff"
                                  "a1-";
    for (size_t i = below(4) + 1; i > 0 && len > 0; i--) {
        size_t at = below(len);
        size_t count = below(len - at) + 1;
        switch (below(5)) {
        case 0:
            bytes[at] = (unsigned char) telling[below(sizeof telling)];
            break;
        case 1:
            bytes[at] ^= (unsigned char) (1U << below(8));
            break;
        case 2:
            len -= count;
            memmove(bytes + at, bytes + at + count, len - at);
            break;
        case 3:
            if (len + count <= room) {
                memmove(bytes + at + count, bytes + at, len - at);
                len += count;
            }
            break;
        default:
            len = at;
        }
    }
    return len;
}

/* Heap blocks of the exact size, so that a sanitizer sees a read beyond the end. What the scanner
 * takes from a text that the parser accepts is what the parser finds there. */
START_TEST(mutated_replies_break_nothing)
{
    static const char seed[] =
        "{\"request_id\":\"b1c2\",\"data\":{\"ciphertext\":\"vault:v1:"
        "8SDd3WHDOjf7mq69CyCqYjBXAiQQ\","
        "\"key_version\":1,\"nested\":[[{\"plaintext\":\"a\\\"b\"}],{}],\"plaintext\":"
        "\"c2VjcmV0IGRhdGEga2V5\\/w==\"},\"warnings\":null}";
    size_t agreed = 0;
    for (size_t round = 0; round < FUZZ_ROUNDS; round++) {
        unsigned char text[2 * sizeof seed];
        memcpy(text, seed, sizeof seed);
        size_t len = mutate(text, sizeof seed - 1, sizeof text);
        unsigned char *exact = malloc(len > 0 ? len : 1);
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, text, len);
        struct secret body = {exact, len};
        struct secret taken = {NULL, 0};
        struct json *whole = NULL;
        struct json *rest = NULL;
        bool accepted = json_parse((struct view){exact, len}, &whole) == CKR_OK;
        bool took = json_secret_take(&body, "data.plaintext", &taken) == CKR_OK;
        bool accepts_rest = json_parse((struct view){exact, len}, &rest) == CKR_OK;
        if (accepted && took) {
            const char *value = json_text(whole, "data.plaintext");
            ck_assert_ptr_nonnull(value);
            ck_assert_uint_eq(strlen(value), taken.len);
            ck_assert_mem_eq(value, taken.bytes, taken.len);
            ck_assert(accepts_rest);
            ck_assert_str_eq(json_text(rest, "data.plaintext"), "");
            agreed++;
        }
        ck_assert(took || accepts_rest == accepted);
        json_free(&whole);
        json_free(&rest);
        secret_clear(&taken);
        free(exact);
    }
    ck_assert_uint_gt(agreed, FUZZ_ROUNDS / 100);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("json");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_loop_test(cases, refuses_what_is_no_reply, 0, COUNT_OF(refused));
    tcase_add_test(cases, refuses_a_nul_and_a_long_text);
    tcase_add_test(cases, takes_sixteen_levels);
    tcase_add_test(cases, getters_are_typed);
    tcase_add_loop_test(cases, a_time_is_bounded, 0, (int) COUNT_OF(times));
    tcase_add_loop_test(cases, takes_a_secret_out, 0, COUNT_OF(takes));
    tcase_add_test(cases, a_second_secret_of_the_name_is_refused);
    tcase_add_loop_test(cases, base64_is_bounded, 0, COUNT_OF(base64s));
    tcase_add_test(cases, writes_what_it_reads);
    tcase_add_loop_test(cases, writes_only_utf8, 0, COUNT_OF(not_utf8));
    tcase_add_test(cases, base64_of_every_length);
    tcase_add_test(cases, writer_says_when_memory_is_short);
    tcase_add_test(cases, mutated_replies_break_nothing);
    return fixture_run("json", cases);
}
