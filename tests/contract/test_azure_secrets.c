/*
 * What is left of a client secret of Azure in the process, its freed heap included, after an access
 * token was asked for with it: nothing. Under `login = credential` it is kept once, as the PIN.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <openssl/rand.h>

#include "tests/contract/behaviour_fixture.h"
#include "tests/contract/own_memory.h"

#define SECRET "client secret"

static struct own_memory *memory;

static size_t secret_finds(const char *when)
{
    (void) own_memory_search(memory);
    size_t finds = own_memory_finds(memory, SECRET);
    printf("%-36s %s in %zu places, of %zu MiB\n", when, SECRET, finds,
           own_memory_byte_count(memory) >> 20);
    return finds;
}

/* The fake and a file know it; this process knows it masked. write(2) alone: stdio would keep a
 * copy in its buffer. */
static void make_secret(unsigned char secret[OWN_SECRET_LEN])
{
    ck_assert_int_eq(RAND_bytes(secret, OWN_SECRET_LEN), 1);
    for (int i = 0; i < OWN_SECRET_LEN; i++)
        secret[i] = (unsigned char) ('A' + secret[i] % 26);
    memory = own_memory_new();
    own_memory_add(memory, SECRET, secret);
    int file = open(fixture_path("secret"), O_WRONLY | O_CREAT | O_EXCL, 0600);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(write(file, secret, OWN_SECRET_LEN), OWN_SECRET_LEN);
    ck_assert_int_eq(close(file), 0);
    fake_service_command(&behaviour_fake, HANDLER("\"add_secret\", \"file\": \"%s\""),
                         fixture_path("secret"));
}

static void begin(const char *login, unsigned char secret[OWN_SECRET_LEN])
{
    char more[512];
    const struct kms_settings settings = {.more = more, .secret = ""};
    make_secret(secret);
    /* The search finds what is there. */
    ck_assert_uint_eq(secret_finds("in the test's own hands"), 2);
    (void) snprintf(more, sizeof(more), "%s\nclient_secret_file = %s", login,
                    fixture_path("secret"));
    behaviour_configure(&settings);
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

START_TEST(a_secret_file_leaves_no_secret)
{
    unsigned char secret[OWN_SECRET_LEN];
    begin("login = pin", secret);
    OPENSSL_cleanse(secret, sizeof(secret));
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = behaviour_session();
    ck_assert_uint_eq(behaviour_login(session), CKR_OK);
    ck_assert_uint_eq(secret_finds("logged in by a file"), 0);
    end(session);
}
END_TEST

START_TEST(a_credential_login_keeps_one_secret)
{
    unsigned char secret[OWN_SECRET_LEN];
    begin("login = credential", secret);
    fixture_remove("secret");
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = behaviour_session();
    CK_RV rv = C_Login(session, CKU_USER, secret, sizeof(secret));
    OPENSSL_cleanse(secret, sizeof(secret));
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
    tcase_add_test(cases, a_secret_file_leaves_no_secret);
    tcase_add_test(cases, a_credential_login_keeps_one_secret);
    return cases;
}

int main(void)
{
    return behaviour_run("secrets", make_cases, "azure");
}
