/*
 * What is left of AWS credentials in the process, its freed heap included, after calls of KMS that
 * they signed: nothing of the secret access key. Of the session token it prints what libcurl left
 * where it composed the headers (docs/security-model.md, known gaps).
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <openssl/rand.h>

#include "tests/contract/behaviour_fixture.h"
#include "tests/contract/own_memory.h"

#define ACCESS_KEY_ID "AKIDLEAK"
#define SECRET "secret access key"
#define TOKEN "session token"

#define TOKEN_LEN 1024 /* about as long as real ones */

struct known {
    unsigned char secret[OWN_SECRET_LEN];
    unsigned char token[TOKEN_LEN];
};

static struct own_memory *memory;

static void random_text(unsigned char *text, int len)
{
    ck_assert_int_eq(RAND_bytes(text, len), 1);
    for (int i = 0; i < len; i++)
        text[i] = (unsigned char) ('A' + text[i] % 26);
}

/* write(2) alone: stdio would keep a copy in its buffer. */
static void write_part(int file, const void *bytes, size_t len)
{
    ck_assert_int_eq(write(file, bytes, len), (ssize_t) len);
}
#define WRITE_TEXT(file, text) write_part((file), (text), sizeof(text) - 1)

static void write_credentials(const struct known *known)
{
    int file = open(fixture_path("credentials"), O_WRONLY | O_CREAT | O_EXCL, 0600);
    ck_assert_int_ge(file, 0);
    WRITE_TEXT(file, "[default]\naws_access_key_id = " ACCESS_KEY_ID "\naws_secret_access_key = ");
    write_part(file, known->secret, sizeof(known->secret));
    WRITE_TEXT(file, "\naws_session_token = ");
    write_part(file, known->token, sizeof(known->token));
    WRITE_TEXT(file, "\n");
    ck_assert_int_eq(close(file), 0);
}

/* The fake and the profile file know the credentials; this process knows them masked. */
static void make_credentials(struct known *known)
{
    random_text(known->secret, sizeof(known->secret));
    random_text(known->token, sizeof(known->token));
    memory = own_memory_new();
    own_memory_add(memory, SECRET, known->secret);
    for (size_t at = 0; at < TOKEN_LEN; at += TOKEN_LEN / 4)
        own_memory_add(memory, TOKEN, known->token + at);
    write_credentials(known);
    fake_service_command(&behaviour_fake, HANDLER("\"add\", \"file\": \"%s\""),
                         fixture_path("credentials"));
}

static size_t secret_finds(const char *when)
{
    (void) own_memory_search(memory);
    size_t finds = own_memory_finds(memory, SECRET);
    printf("%-36s %s in %zu places, %s in %zu, of %zu MiB\n", when, SECRET, finds, TOKEN,
           own_memory_finds(memory, TOKEN), own_memory_byte_count(memory) >> 20);
    return finds;
}

static void begin(const char *more, struct known *known)
{
    const struct kms_settings settings = {.more = more, .access = "", .secret = ""};
    make_credentials(known);
    /* The search finds what is there. */
    ck_assert_uint_eq(secret_finds("in the test's own hands"), 2);
    behaviour_configure(&settings);
    kms_set_variable("AWS_SHARED_CREDENTIALS_FILE", fixture_path("credentials"));
    kms_init_token();
}

static void end(CK_SESSION_HANDLE session)
{
    ck_assert_uint_eq(C_Logout(session), CKR_OK);
    ck_assert_uint_eq(secret_finds("after C_Logout"), 0);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
    ck_assert_uint_eq(secret_finds("after C_Finalize"), 0);
    own_memory_free(memory);
}

START_TEST(a_profile_leaves_no_secret)
{
    struct known known;
    begin("", &known);
    OPENSSL_cleanse(&known, sizeof(known));
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = behaviour_session();
    ck_assert_uint_eq(behaviour_login(session), CKR_OK);
    ck_assert_uint_eq(secret_finds("logged in by a profile"), 0);
    end(session);
}
END_TEST

static CK_RV log_in_by(const struct known *known, CK_SESSION_HANDLE session)
{
    CK_UTF8CHAR pin[sizeof(ACCESS_KEY_ID) + OWN_SECRET_LEN + TOKEN_LEN + 1] = ACCESS_KEY_ID ":";
    CK_UTF8CHAR *at = pin + sizeof(ACCESS_KEY_ID);
    memcpy(at, known->secret, OWN_SECRET_LEN);
    at[OWN_SECRET_LEN] = ':';
    memcpy(at + OWN_SECRET_LEN + 1, known->token, TOKEN_LEN);
    CK_RV rv = C_Login(session, CKU_USER, pin, sizeof(pin));
    OPENSSL_cleanse(pin, sizeof(pin));
    return rv;
}

/* While logged in the credential is kept once, in secret memory, for the lease's renewal. */
START_TEST(a_credential_login_keeps_one_secret)
{
    struct known known;
    begin("login = credential", &known);
    kms_set_variable("AWS_SHARED_CREDENTIALS_FILE", fixture_path("absent"));
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = behaviour_session();
    CK_RV rv = log_in_by(&known, session);
    OPENSSL_cleanse(&known, sizeof(known));
    ck_assert_uint_eq(rv, CKR_OK);
    ck_assert_uint_eq(secret_finds("logged in by a credential"), 2);
    end(session);
}
END_TEST

static TCase *make_cases(void)
{
    TCase *cases = tcase_create("secrets");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, behaviour_start, behaviour_stop);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_test(cases, a_profile_leaves_no_secret);
    tcase_add_test(cases, a_credential_login_keeps_one_secret);
    return cases;
}

int main(void)
{
    return behaviour_run("secrets", make_cases, "aws");
}
