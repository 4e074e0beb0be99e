#include "tests/contract/parameters.h"

#include <string.h>

#include "base/alloc.h"

#define CANARY "AQICAHcanary"
#define TEXT_MAX 1024
#define ALLOCATION_MAX 200

void parameters_check(struct fake_service *fake, struct source *source,
                      const struct parameter_row *row)
{
    static const struct kms_settings settings;
    struct secret value = {0};
    if (row->script != NULL)
        fake_service_command(fake, "%s", row->script);
    struct source_call call = kms_call(&settings, (struct view){0});
    fixture_forget_log();
    CK_RV rv = source_read_parameter(source, &call, row->place, &value);
    if (row->cause == INDEXKEY_CAUSE_NONE) {
        kms_assert_ok(rv);
        ck_assert_uint_eq(value.len, strlen(row->says));
        ck_assert_mem_eq(value.bytes, row->says, value.len);
    } else {
        kms_assert_failed(rv, row->cause, row->says);
        ck_assert_ptr_null(value.bytes);
    }
    ck_assert_msg(strstr(fixture_log(), CANARY) == NULL, "%s", fixture_log());
    secret_clear(&value);
}

void parameters_check_memory(struct source *source, const char *place)
{
    static const struct kms_settings settings;
    struct secret value = {0};
    struct source_call call = kms_call(&settings, (struct view){0});
    /* Tokens and challenges are there from now on. */
    kms_assert_ok(source_read_parameter(source, &call, place, &value));
    secret_clear(&value);
    size_t in_use = secrets_in_use();
    long live = mem_live();
    CK_RV rv = CKR_HOST_MEMORY;
    unsigned long nth = 1;
    for (; rv != CKR_OK && nth < ALLOCATION_MAX; nth++) {
        mem_fail_at(nth, false);
        rv = source_read_parameter(source, &call, place, &value);
        ck_assert_msg(rv == CKR_OK || rv == CKR_HOST_MEMORY, "allocation %lu: %lx %s", nth, rv,
                      fixture_log());
        secret_clear(&value);
        ck_assert_uint_eq(secrets_in_use(), in_use);
        ck_assert_int_eq(mem_live(), live);
    }
    mem_fail_at(0, false);
    ck_assert_uint_gt(nth, 4);
    ck_assert_uint_lt(nth, ALLOCATION_MAX);
}

const char *parameters_sections(const char *plain, const char *named, const char *absent)
{
    static char text[TEXT_MAX];
    (void) snprintf(text, sizeof(text),
                    "\n[key plain]\ntoken = vectors\nciphertext = %s\n"
                    "[key named]\ntoken = vectors\nciphertext = %s\n"
                    "[key absent]\ntoken = vectors\nciphertext = %s\n",
                    plain, named, absent);
    return text;
}

const char *parameters_ciphertext(struct fake_service *fake)
{
    static char text[TEXT_MAX];
    static const char begin[] = "[\"";
    fake_service_command(fake, "%s", HANDLER("\"encrypt\", \"count\": 1"));
    const char *at = strstr(fake->answer, begin);
    ck_assert_ptr_nonnull(at);
    at += strlen(begin);
    (void) snprintf(text, sizeof(text), "%.*s", (int) strcspn(at, "\""), at);
    return text;
}

static size_t count_of(CK_SESSION_HANDLE session, const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};
    CK_OBJECT_HANDLE found;
    CK_ULONG count;
    ck_assert_uint_eq(C_FindObjectsInit(session, &template, 1), CKR_OK);
    ck_assert_uint_eq(C_FindObjects(session, &found, 1, &count), CKR_OK);
    ck_assert_uint_eq(C_FindObjectsFinal(session), CKR_OK);
    return count;
}

void parameters_assert_login(void)
{
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    CK_SESSION_HANDLE session;
    kms_init_token();
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    fixture_forget_log();
    ck_assert_uint_eq(C_Login(session, CKU_USER, pin, sizeof(pin) - 1), CKR_OK);
    ck_assert_msg(count_of(session, "plain") == 1, "%s", fixture_log());
    ck_assert_msg(count_of(session, "named") == 1, "%s", fixture_log());
    ck_assert_uint_eq(count_of(session, "absent"), 0);
    ck_assert_msg(strstr(fixture_log(), "[key absent] is not shown until the next C_Login "
                                        "(config)") != NULL,
                  "%s", fixture_log());
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
