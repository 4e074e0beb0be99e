#include "tests/contract/many_keys.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"

#define PAGE 100 /* of ciphertexts in one answer of the fake */
#define SECTION_MAX 512

/* There may be one for each key. */
static char errors[MANY_KEYS * 512];
static char conf[MANY_KEYS * SECTION_MAX + 4096];

/* The next text of a JSON list of them. */
static const char *next_text(const char *at, size_t *ret_len)
{
    const char *begin = strchr(at, '"');
    ck_assert_ptr_nonnull(begin);
    *ret_len = strcspn(begin + 1, "\"");
    return begin + 1;
}

static const char *next_page(struct fake_service *fake)
{
    fake_service_command(fake, "{\"do\": \"handler\", \"what\": \"encrypt\", \"count\": %d}", PAGE);
    const char *list = strchr(fake->answer, '[');
    ck_assert_ptr_nonnull(list);
    return list;
}

static void add_keys(struct fake_service *fake, size_t at, const char *before)
{
    const char *text = NULL;
    size_t len = 0;
    for (int i = 0; i < MANY_KEYS; i++) {
        text = next_text(i % PAGE == 0 ? next_page(fake) : text + len + 1, &len);
        at += (size_t) snprintf(conf + at, sizeof(conf) - at,
                                "[key k%d]\ntoken = vectors\nciphertext = %s%.*s\n", i, before,
                                (int) len, text);
        ck_assert_uint_lt(at, sizeof(conf));
    }
}

void many_keys_make(struct fake_service *fake, const char *before)
{
    kms_init_token();
    FILE *file = fopen(fixture_path("indexkey.conf"), "r");
    ck_assert_ptr_nonnull(file);
    size_t len = fread(conf, 1, sizeof(conf) - 1, file);
    (void) fclose(file);
    conf[len] = '\0';
    add_keys(fake, len, before);
}

char *many_keys_section(int index)
{
    char title[32];
    (void) snprintf(title, sizeof(title), "[key k%d]\n", index);
    char *section = strstr(conf, title);
    ck_assert_ptr_nonnull(section);
    return section;
}

static void keep_error(enum log_level level, const char *line, void *context)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    (void) context;
    (void) pthread_mutex_lock(&lock);
    size_t len = strlen(errors);
    if (level == LOG_LEVEL_ERROR)
        (void) snprintf(errors + len, sizeof(errors) - len, "%s\n", line);
    (void) pthread_mutex_unlock(&lock);
}

const char *many_keys_errors(void)
{
    return errors;
}

static int count_errors(void)
{
    int count = 0;
    for (const char *line = strchr(errors, '\n'); line != NULL; line = strchr(line + 1, '\n'))
        count++;
    return count;
}

CK_SESSION_HANDLE many_keys_log_in(struct fake_service *fake, const char *name, int rate)
{
    CK_SESSION_HANDLE session;
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    fixture_write("indexkey.conf", conf, 0600);
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    log_set_sink(keep_error, NULL);
    fake_service_clear(fake);
    if (rate > 0)
        fake_service_command(fake, "{\"do\": \"rate\", \"rate\": %d}", rate);
    int64_t begin_ms = clock_boot_ms();
    CK_RV rv = C_Login(session, CKU_USER, pin, sizeof(pin) - 1);
    ck_assert_msg(rv == CKR_OK, "0x%lx: %s", rv, errors);
    printf("%s: %d direct keys: %d requests, %d of them throttled, %d connections, %ld ms, "
           "%d errors\n",
           name, MANY_KEYS, fake_service_count(fake, "requests"),
           fake_service_count(fake, "throttled"), fake_service_count(fake, "connections"),
           (long) (clock_boot_ms() - begin_ms), count_errors());
    (void) fflush(stdout);
    return session;
}

bool many_keys_is_shown(CK_SESSION_HANDLE session, int index)
{
    char label[16];
    CK_OBJECT_HANDLE found;
    CK_ULONG count;
    (void) snprintf(label, sizeof(label), "k%d", index);
    CK_ATTRIBUTE template = {CKA_LABEL, label, strlen(label)};
    ck_assert_uint_eq(C_FindObjectsInit(session, &template, 1), CKR_OK);
    ck_assert_uint_eq(C_FindObjects(session, &found, 1, &count), CKR_OK);
    ck_assert_uint_eq(C_FindObjectsFinal(session), CKR_OK);
    return count == 1;
}

int many_keys_count_shown(CK_SESSION_HANDLE session)
{
    int count = 0;
    for (int i = 0; i < MANY_KEYS; i++)
        count += many_keys_is_shown(session, i) ? 1 : 0;
    return count;
}
