#include "tests/api/people_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct api api;
char people_folder[64];

void people_write(const char *name, const char *text, size_t len)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", people_folder, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(path, 0600), 0);
}

void people_setup(void)
{
    char people[1024] = "";

    snprintf(people_folder, sizeof(people_folder), "/tmp/indexkey-people-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(people_folder));
    approval_add_person(1, "Alice", people, sizeof(people));
    approval_add_person(2, "Bob", people, sizeof(people));
    people_write("people.pem", people, strlen(people));
}

void people_teardown(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", people_folder);
    ck_assert_int_eq(system(command), 0);
}

void people_open_token(const char *operations, unsigned int needed)
{
    char lines[512];

    snprintf(lines, sizeof(lines),
             "two_person = %s\napprovers = file:%s/people.pem\napprovals_needed = %u\n"
             "approvals = %s\n",
             operations, people_folder, needed, people_folder);
    api_open(&api, NULL, lines);
}

void people_token_serial(char ret_serial[17])
{
    CK_TOKEN_INFO info;

    OK(api.p11->C_GetTokenInfo(api.slot, &info));
    memcpy(ret_serial, info.serialNumber, 16);
    ret_serial[16] = '\0';
}

void people_unique_id(CK_OBJECT_HANDLE key, char ret_id[40])
{
    CK_ATTRIBUTE attribute = {CKA_UNIQUE_ID, ret_id, 39};

    OK(api.p11->C_GetAttributeValue(api.session, key, &attribute, 1));
    ret_id[attribute.ulValueLen] = '\0';
}

void people_approve(unsigned int seed, const char *id, unsigned int number)
{
    char document[APPROVAL_TEXT_MAX];
    char serial[17];
    char name[32];

    people_token_serial(serial);
    struct approval_text text = {serial, "destroy", id, number, time(NULL) + 600};
    size_t len = approval_sign(seed, &text, document);
    snprintf(name, sizeof(name), "%u-%u.approval", seed, number);
    people_write(name, document, len);
}

void people_expect_log(const char *words)
{
    char *log = api_log(&api);

    ck_assert_msg(strstr(log, words) != NULL, "no '%s' in the log:\n%s", words, log);
    free(log);
}

void people_wanted_object(char ret_text[65])
{
    char *log = api_log(&api);
    const char *last = NULL;

    for (const char *at = log; (at = strstr(at, "'object ")) != NULL; at++)
        last = at;
    ck_assert_ptr_nonnull(last);
    ck_assert_int_eq(sscanf(last, "'object %64[0-9a-f]'", ret_text), 1);
    free(log);
}

CK_RV people_login_with(const char *lines)
{
    char text[512];

    snprintf(text, sizeof(text), "approvals = %s\n%s", people_folder, lines);
    OK(api.p11->C_Finalize(NULL));
    api_write_conf(&api, NULL, NULL, text);
    OK(api.p11->C_Initialize(NULL));
    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                              &api.session));
    return api.p11->C_Login(api.session, CKU_USER, (CK_UTF8CHAR *) API_USER_PIN,
                            strlen(API_USER_PIN));
}

void people_approve_policy(unsigned int seed, unsigned int number)
{
    char document[APPROVAL_TEXT_MAX];
    char object[65];
    char serial[17];
    char name[32];

    people_wanted_object(object);
    people_token_serial(serial);
    struct approval_text text = {serial, "policy", object, number, time(NULL) + 600};
    size_t len = approval_sign(seed, &text, document);
    snprintf(name, sizeof(name), "%u-%u.approval", seed, number);
    people_write(name, document, len);
}
