#include "tests/contract/kms_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "tokens/inspection.h"

static atomic_bool cancelled;

void kms_start(struct fake_service *fake, const char *handler)
{
    struct fake_service_options options = {.handler = handler};
    options.certificates = fake_service_certificates();
    fake_service_start(fake, &options);
}

void kms_stop(struct fake_service *fake)
{
    fake_service_stop(fake);
    fake_service_clean();
}

void kms_reset(struct fake_service *fake)
{
    fake_service_clear(fake);
    fake_service_command(fake, "%s", HANDLER("\"restore\""));
}

const char *kms_or_default(const char *value, const char *fallback)
{
    return value == NULL ? fallback : value;
}

void kms_set_variable(const char *name, const char *value)
{
    if (*value == '\0')
        ck_assert_int_eq(unsetenv(name), 0);
    else
        ck_assert_int_eq(setenv(name, value, 1), 0);
}

static int deadline_of(const struct kms_settings *settings)
{
    return settings->deadline_ms == 0 ? KMS_DEADLINE_MS : settings->deadline_ms;
}

void kms_write_conf(const char *kind, const char *store, const char *lines)
{
    char text[8192];
    int len = snprintf(text, sizeof(text), "[token vectors]\nsource = %s\nstore = %s\n%s\n", kind,
                       store, lines);
    ck_assert_int_lt(len, (int) sizeof(text));
    fixture_write("indexkey.conf", text, 0600);
    kms_set_variable("INDEXKEY_CONF", fixture_path("indexkey.conf"));
}

void kms_configure(const char *kind, const struct kms_settings *settings, const char *lines)
{
    char text[8000];
    const char *ca = kms_or_default(settings->ca, "ca.pem");
    int len = snprintf(text, sizeof(text), "%s\nca_file = %s\ndeadline = %dms\n%s", lines,
                       *ca == '/' ? ca : fake_service_certificate(ca), deadline_of(settings),
                       kms_or_default(settings->more, ""));
    ck_assert_int_lt(len, (int) sizeof(text));
    kms_write_conf(kind, fixture_store(1), text);
}

int kms_refresh_ms(void)
{
    const char *text = getenv("INDEXKEY_REFRESH_MS");

    return text == NULL ? 12000 : atoi(text);
}

/* Borrowed from the configuration, which is freed with conf_free. */
static const struct conf_section *load_token(struct conf **ret_conf)
{
    static const struct conf_key no_keys[] = {{.name = NULL}};
    struct conf_schema schema = {
        .module_keys = no_keys,
        .token_keys = custody_conf_keys,
        .source_keys = custody_source_keys,
        .source_names = custody_source_names(),
    };
    size_t count;
    ck_assert_uint_eq(conf_load(fixture_path("indexkey.conf"), &schema, ret_conf), CKR_OK);
    const struct conf_section *tokens = conf_tokens(*ret_conf, &count);
    ck_assert_uint_eq(count, 1);
    return tokens;
}

CK_RV kms_try_open(struct source **ret_source)
{
    struct conf *conf = NULL;
    const struct conf_section *token = load_token(&conf);
    CK_RV rv = token->bad ? CKR_FUNCTION_FAILED : source_open(token, ret_source);
    conf_free(&conf);
    return rv;
}

struct custody *kms_open_custody(void)
{
    struct conf *conf = NULL;
    struct custody *custody = NULL;
    ck_assert_uint_eq(crypto_init(), CKR_OK); /* C_Finalize may have let it go */
    kms_assert_ok(custody_open(load_token(&conf), &custody));
    conf_free(&conf);
    return custody;
}

struct source *kms_open(void)
{
    struct source *source = NULL;
    kms_assert_ok(kms_try_open(&source));
    return source;
}

void kms_assert_refused(const char *kind, const char *lines, const char *says)
{
    struct source *source = NULL;
    kms_write_conf(kind, "memory:", lines);
    ck_assert_uint_eq(kms_try_open(&source), CKR_FUNCTION_FAILED);
    ck_assert_ptr_null(source);
    ck_assert_msg(strstr(fixture_log(), says) != NULL, "%s", fixture_log());
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_ptr_null(strstr(fixture_log(), "secret@"));
}

struct source_call kms_call(const struct kms_settings *settings, struct view context)
{
    return (struct source_call){
        .context = context,
        .deadline_ms = clock_boot_ms() + deadline_of(settings),
        .cancelled = &cancelled,
    };
}

CK_RV kms_make(struct source *source, struct source_call call, struct blob *ret_wrapped)
{
    struct secret data_key = {0};
    fixture_forget_log();
    cause_clear();
    CK_RV rv = source_make_data_key(source, &call, &data_key, ret_wrapped);
    ck_assert_uint_eq(data_key.len, rv == CKR_OK ? DATA_KEY_LEN : 0);
    secret_clear(&data_key);
    return rv;
}

CK_RV kms_unwrap(struct source *source, struct source_call call, struct view wrapped)
{
    struct secret data_key = {0};
    fixture_forget_log();
    cause_clear();
    CK_RV rv = source_unwrap(source, &call, wrapped, &data_key);
    ck_assert_uint_eq(data_key.len, rv == CKR_OK ? DATA_KEY_LEN : 0);
    secret_clear(&data_key);
    return rv;
}

CK_RV kms_make_in(struct source *source, struct view context, struct blob *ret_wrapped)
{
    static const struct kms_settings plain;

    return kms_make(source, kms_call(&plain, context), ret_wrapped);
}

CK_RV kms_unwrap_in(struct source *source, struct view context, struct view wrapped)
{
    static const struct kms_settings plain;

    return kms_unwrap(source, kms_call(&plain, context), wrapped);
}

CK_RV kms_inspect(struct source *source, struct view wrapped, struct source_inspection *ret_key)
{
    static const struct kms_settings plain;
    struct source_call call = kms_call(&plain, (struct view){0});
    fixture_forget_log();
    cause_clear();
    return source_inspect(source, &call, wrapped, ret_key);
}

const char *kms_told(const struct source_inspection *key)
{
    static char text[2048];
    inspection_tell(key, text, sizeof(text));
    for (const char *at = text; *at != '\0'; at++)
        ck_assert_msg(*at >= ' ' && *at <= '~', "%d in %s", *at, text);
    return text;
}

void kms_assert_sent(struct fake_service *fake, const char *part, bool sent)
{
    fake_service_command(fake, "%s", HANDLER("\"last\""));
    ck_assert_msg((strstr(fake->answer, part) != NULL) == sent, "%s in %s", part, fake->answer);
}

void kms_assert_ok(CK_RV rv)
{
    ck_assert_msg(rv == CKR_OK, "%lx: %s", rv, fixture_log());
}

void kms_assert_failed(CK_RV rv, enum indexkey_cause cause, const char *says)
{
    ck_assert_msg(cause_last() == cause, "%s, wanted %s: %s", cause_name(cause_last()),
                  cause_name(cause), fixture_log());
    ck_assert_uint_eq(rv, cause_rv(cause));
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_msg(strstr(fixture_log(), says) != NULL, "no '%s' in: %s", says, fixture_log());
}

void kms_assert_not_told(struct source *source, struct view wrapped, enum indexkey_cause cause,
                         const char *says)
{
    struct source_inspection key = {.key = "untouched"};

    kms_assert_failed(kms_inspect(source, wrapped, &key), cause, says);
    ck_assert_str_eq(key.key, "untouched");
}

void kms_end(struct source *source, struct blob *wrapped)
{
    source_close(&source);
    blob_clear(wrapped);
}

static CK_SESSION_HANDLE open_session(void)
{
    CK_SESSION_HANDLE session;
    CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    ck_assert_uint_eq(C_OpenSession(0, flags, NULL, NULL, &session), CKR_OK);
    return session;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, const char *pin)
{
    return C_Login(session, user, (CK_UTF8CHAR_PTR) pin, pin == NULL ? 0 : strlen(pin));
}

/* C_InitToken has made the user's role where `login` knows no PIN. */
static bool has_user_pin(void)
{
    CK_TOKEN_INFO info;
    ck_assert_uint_eq(C_GetTokenInfo(0, &info), CKR_OK);
    return (info.flags & CKF_USER_PIN_INITIALIZED) != 0;
}

static void ignore_line(enum log_level level, const char *line, void *context)
{
    (void) level;
    (void) line;
    (void) context;
}

void kms_first_call(void)
{
    log_set_sink(ignore_line, NULL);
    (void) C_Initialize(NULL);
    (void) C_Finalize(NULL);
}

void kms_init_token(void)
{
    CK_UTF8CHAR label[] = "vectors                         ";
    CK_UTF8CHAR so_pin[] = FIXTURE_SO_PIN;
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    CK_RV rv = C_InitToken(0, so_pin, sizeof(so_pin) - 1, label);
    ck_assert_msg(rv == CKR_OK, "%lx %s", rv, fixture_log());
    if (!has_user_pin()) {
        CK_SESSION_HANDLE session = open_session();
        ck_assert_uint_eq(login(session, CKU_SO, FIXTURE_SO_PIN), CKR_OK);
        ck_assert_uint_eq(C_InitPIN(session, pin, sizeof(pin) - 1), CKR_OK);
    }
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}

CK_RV kms_login(const char *pin, enum indexkey_cause *ret_cause)
{
    CK_SESSION_INFO info;
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = open_session();
    fixture_forget_log();
    CK_RV rv = login(session, CKU_USER, pin);
    ck_assert_uint_eq(C_GetSessionInfo(session, &info), CKR_OK);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
    *ret_cause = (enum indexkey_cause) info.ulDeviceError;
    return rv;
}
