#include "tests/contract/vault_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define DEADLINE_MS 5000

static atomic_bool cancelled;

static int deadline_of(const struct vault_settings *settings)
{
    return settings->deadline_ms == 0 ? DEADLINE_MS : settings->deadline_ms;
}

static const char *or_default(const char *value, const char *fallback)
{
    return value == NULL ? fallback : value;
}

static void set_variable(const char *value)
{
    if (*value == '\0')
        ck_assert_int_eq(unsetenv(VAULT_VARIABLE), 0);
    else
        ck_assert_int_eq(setenv(VAULT_VARIABLE, value, 1), 0);
}

void vault_configure(struct fake_service *fake, const struct vault_settings *settings)
{
    char text[2048];
    const char *ca = or_default(settings->ca, "ca.pem");
    const char *more = or_default(settings->more, "");
    bool has_place = strstr(more, "vault_token_") != NULL;
    set_variable(or_default(settings->token, VAULT_TOKEN_GOOD));
    (void) snprintf(text, sizeof(text),
                    "[token vectors]\nsource = vault\nvault_addr = %s\nca_file = %s\n"
                    "key_name = %s\nstore = %s\ndeadline = %dms\n%s\n%s\n",
                    settings->addr == NULL ? fake_service_url(fake, "") : settings->addr,
                    *ca == '/' ? ca : fake_service_certificate(ca),
                    or_default(settings->key, "index-keys"), fixture_store(1),
                    deadline_of(settings), has_place ? "" : "vault_token_env = " VAULT_VARIABLE,
                    more);
    fixture_write("indexkey.conf", text, 0600);
    ck_assert_int_eq(setenv("INDEXKEY_CONF", fixture_path("indexkey.conf"), 1), 0);
}

CK_RV vault_try_open(struct source **ret_source)
{
    static const struct conf_key no_keys[] = {{.name = NULL}};
    static const struct conf_key *token_keys = custody_conf_keys;
    struct conf_schema schema = {
        .module_keys = no_keys,
        .token_keys = token_keys,
        .source_keys = custody_source_keys,
        .source_names = custody_source_names(),
    };
    struct conf *conf = NULL;
    size_t count;
    ck_assert_uint_eq(conf_load(fixture_path("indexkey.conf"), &schema, &conf), CKR_OK);
    const struct conf_section *tokens = conf_tokens(conf, &count);
    ck_assert_uint_eq(count, 1);
    CK_RV rv = tokens[0].bad ? CKR_FUNCTION_FAILED : source_open(&tokens[0], ret_source);
    conf_free(&conf);
    return rv;
}

struct source *vault_open(struct fake_service *fake, const struct vault_settings *settings)
{
    struct source *source = NULL;
    vault_configure(fake, settings);
    CK_RV rv = vault_try_open(&source);
    ck_assert_msg(rv == CKR_OK, "%s", fixture_log());
    return source;
}

struct source_call vault_call(const struct vault_settings *settings, const char *context)
{
    return (struct source_call){
        .context = view_text(context),
        .deadline_ms = clock_boot_ms() + deadline_of(settings),
        .cancelled = &cancelled,
    };
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

void vault_first_call(void)
{
    log_set_sink(ignore_line, NULL);
    (void) C_Initialize(NULL);
    (void) C_Finalize(NULL);
}

void vault_init_token(void)
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

CK_RV vault_login(const char *pin, enum indexkey_cause *ret_cause)
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
