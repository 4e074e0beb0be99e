#include "tests/support/audit_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tokens/audit_file.h"
#include "tokens/audit_line.h"

#define FILES_MAX 8

static struct secret token_key;

static void make_token_key(void)
{
    unsigned char bytes[32];

    memset(bytes, 0x42, sizeof(bytes));
    ck_assert_uint_eq(secret_from(bytes, sizeof(bytes), &token_key), CKR_OK);
}

void audit_fixture_setup(void)
{
    fixture_setup();
    make_token_key();
}

void audit_fixture_in_child(void)
{
    secrets_abandon();
    make_token_key();
}

void audit_fixture_teardown(void)
{
    secret_clear(&token_key);
    fixture_teardown();
}

const struct secret *audit_fixture_token_key(void)
{
    return &token_key;
}

const char *audit_fixture_path(void)
{
    return fixture_path("audit.jsonl");
}

struct audit *audit_fixture_open(const char *more)
{
    static const struct conf_key no_keys[] = {{.name = NULL}};
    const struct conf_schema schema = {
        .module_keys = no_keys,
        .token_keys = audit_conf_keys,
        .source_keys = custody_source_keys,
        .source_names = custody_source_names(),
    };
    struct conf *conf = NULL;
    struct audit *audit = NULL;
    char text[1024];
    char name[32];
    size_t count;

    (void) snprintf(name, sizeof(name), "audit-%ld.conf", (long) getpid());
    (void) snprintf(text, sizeof(text),
                    "[token vectors]\nsource = file\nkey_file = /root.key\naudit = file:%s%s%s\n",
                    audit_fixture_path(), more[0] == '\n' ? "" : " ", more);
    fixture_write(name, text, 0600);
    ck_assert_uint_eq(conf_load(fixture_path(name), &schema, &conf), CKR_OK);
    const struct conf_section *tokens = conf_tokens(conf, &count);
    ck_assert_msg(count == 1 && !tokens[0].bad, "%s", fixture_log());
    ck_assert_uint_eq(audit_open(&tokens[0], &audit), CKR_OK);
    conf_free(&conf);
    return audit;
}

void audit_fixture_login(struct audit *audit)
{
    const struct audit_event login = {.event = "login", .role = "user"};

    ck_assert_uint_eq(audit_unlock(audit, AUDIT_FIXTURE_SERIAL, &token_key), CKR_OK);
    ck_assert_msg(audit_login(audit, &login) == CKR_OK, "%s", fixture_log());
}

void audit_fixture_logout(struct audit *audit)
{
    audit_logout(audit, &(struct audit_event){.event = "logout", .role = "user"});
}

CK_RV audit_fixture_write(struct audit *audit, const char *event, const char *label)
{
    const struct object_id id = {{1, 2, 3}};

    return audit_write(audit, &(struct audit_event){.event = event,
                                                    .role = "user",
                                                    .key = &id,
                                                    .label = view_text(label),
                                                    .mechanism = "CKM_AES_GCM"});
}

int audit_fixture_run(const char *name, TCase *cases)
{
    Suite *suite = suite_create(name);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- texts ---- */

static char *read_file(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "r");
    char *bytes = NULL;
    size_t capacity = 0;

    ck_assert_msg(file != NULL, "%s", path);
    *ret_len = 0;
    for (;;) {
        capacity += 1 << 20;
        bytes = realloc(bytes, capacity);
        ck_assert_ptr_nonnull(bytes);
        size_t got = fread(bytes + *ret_len, 1, capacity - *ret_len, file);
        *ret_len += got;
        if (*ret_len < capacity)
            break;
    }
    ck_assert_int_eq(fclose(file), 0);
    return bytes;
}

void audit_text_read(struct audit_text *text, const char *path)
{
    size_t len;
    char *bytes = read_file(path, &len);

    text->count = 0;
    for (char *at = bytes; at < bytes + len;) {
        char *end = memchr(at, '\n', (size_t) (bytes + len - at));
        size_t line_len = end == NULL ? (size_t) (bytes + len - at) : (size_t) (end - at);
        ck_assert_uint_lt(text->count, AUDIT_LINES_MAX);
        text->lines[text->count++] = strndup(at, line_len);
        at += line_len + 1;
    }
    free(bytes);
}

void audit_text_clear(struct audit_text *text)
{
    while (text->count > 0)
        free(text->lines[--text->count]);
}

void audit_text_drop(struct audit_text *text, size_t index)
{
    free(text->lines[index]);
    text->count--;
    memmove(&text->lines[index], &text->lines[index + 1],
            (text->count - index) * sizeof(text->lines[0]));
}

void audit_text_insert(struct audit_text *text, size_t index, const char *line)
{
    char *copy = strdup(line);

    ck_assert_uint_lt(text->count, AUDIT_LINES_MAX);
    memmove(&text->lines[index + 1], &text->lines[index],
            (text->count - index) * sizeof(text->lines[0]));
    text->lines[index] = copy;
    text->count++;
}

void audit_text_swap(struct audit_text *text, size_t a, size_t b)
{
    char *line = text->lines[a];

    text->lines[a] = text->lines[b];
    text->lines[b] = line;
}

void audit_text_edit(struct audit_text *text, size_t index, const char *from, const char *to)
{
    char *at = strstr(text->lines[index], from);

    ck_assert_msg(at != NULL, "no %s in %s", from, text->lines[index]);
    ck_assert_uint_eq(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
}

size_t audit_text_find(const struct audit_text *text, size_t start, const char *event)
{
    char wanted[64];

    (void) snprintf(wanted, sizeof(wanted), "\"event\":\"%s\"", event);
    for (size_t i = start; i < text->count; i++)
        if (strstr(text->lines[i], wanted) != NULL)
            return i;
    ck_abort_msg("no line %s", event);
    return 0;
}

static void put_hash(char *line, const char *name, const unsigned char *hash)
{
    char *at = strstr(line, name) + strlen(name);

    for (size_t i = 0; i < AUDIT_HASH_LEN; i++) {
        char digits[3];
        (void) snprintf(digits, sizeof(digits), "%02x", hash[i]);
        memcpy(at + 2 * i, digits, 2);
    }
}

static void put_number(char **line, size_t number)
{
    char *at = strstr(*line, "\"seq\":") + strlen("\"seq\":");
    char *changed = NULL;

    ck_assert_int_ge(asprintf(&changed, "%.*s%zu%s", (int) (at - *line), *line, number,
                              at + strspn(at, "0123456789")),
                     0);
    free(*line);
    *line = changed;
}

/* One writer, whose numbers are made to follow one another too. */
void audit_text_rehash(struct audit_text *text)
{
    unsigned char hash[AUDIT_HASH_LEN] = {0};

    for (size_t i = 0; i < text->count; i++) {
        put_number(&text->lines[i], i);
        put_hash(text->lines[i], "\"prev\":\"", hash);
        put_hash(text->lines[i], "\"above\":\"", hash);
        ck_assert_uint_eq(audit_file_hash(view_text(text->lines[i]), hash), CKR_OK);
    }
}

/* ---- verification ---- */

static void note(void *context, const struct audit_finding *finding)
{
    struct audit_findings *findings = context;
    size_t len = strlen(findings->all);

    findings->counts[finding->kind]++;
    (void) snprintf(findings->all + len, sizeof(findings->all) - len, "%s:%zu %s: %s\n",
                    finding->file, finding->line, audit_found_name(finding->kind), finding->text);
}

static void verify(const struct audit_input *files, size_t count, const struct audit_proof *proof,
                   struct audit_findings *ret_findings)
{
    unsigned char keys[1][ED25519_PUBLIC_LEN];
    _cleanup_(secret_clear) struct secret mac_key = {NULL, 0};
    struct audit_verification asked = {
        .files = files,
        .file_count = count,
        .public_keys = keys,
        .public_key_count = 1,
        .head = {"head", view_text(proof->head == NULL ? "" : proof->head)},
        .mac_key = proof->with_mac ? &mac_key : NULL,
        .found = note,
        .context = ret_findings,
    };

    *ret_findings = (struct audit_findings){.all = ""};
    ck_assert_uint_eq(audit_public_key(AUDIT_FIXTURE_SERIAL, &token_key, keys[0]), CKR_OK);
    if (proof->with_other_key)
        keys[0][0] ^= 1;
    ck_assert_uint_eq(audit_mac_key(AUDIT_FIXTURE_SERIAL, &token_key, &mac_key), CKR_OK);
    ck_assert_uint_eq(audit_verify(&asked, &ret_findings->verdict), CKR_OK);
}

void audit_text_verify(const struct audit_text *text, const struct audit_proof *proof,
                       struct audit_findings *ret_findings)
{
    struct audit_input file = {.name = "log"};
    size_t len = 0;
    char *bytes = malloc(AUDIT_LINES_MAX * (size_t) 1024);

    for (size_t i = 0; i < text->count; i++) {
        size_t line_len = strlen(text->lines[i]);
        memcpy(bytes + len, text->lines[i], line_len);
        len += line_len;
        bytes[len++] = '\n';
    }
    file.text = (struct view){(const unsigned char *) bytes, len};
    verify(&file, 1, proof, ret_findings);
    free(bytes);
}

void audit_files_verify(const char *const *paths, size_t count, const struct audit_proof *proof,
                        struct audit_findings *ret_findings)
{
    struct audit_input files[FILES_MAX];
    char *bytes[FILES_MAX];

    ck_assert_uint_le(count, FILES_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t len;
        bytes[i] = read_file(paths[i], &len);
        files[i] = (struct audit_input){paths[i], {(const unsigned char *) bytes[i], len}};
    }
    verify(files, count, proof, ret_findings);
    for (size_t i = 0; i < count; i++)
        free(bytes[i]);
}
