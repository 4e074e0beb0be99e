/* Copies of audit lines to syslog and the journal: each arrives whole, or the call is refused. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/audit_fixture.h"
#include "tokens/audit_send.h"

static int bind_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &address, sizeof(address)), 0);
    return fd;
}

START_TEST(test_syslog_and_journal_get_each_line)
{
    struct audit *audit = audit_fixture_open("syslog:local0 journald:");
    char syslog_path[128];
    char journal_path[128];
    char to_syslog[5000] = "";
    char to_journal[5000] = "";
    struct audit_text text;

    (void) snprintf(syslog_path, sizeof(syslog_path), "%s", fixture_path("syslog"));
    (void) snprintf(journal_path, sizeof(journal_path), "%s", fixture_path("journal"));
    audit_send_test_sockets(syslog_path, journal_path);
    int syslog_end = bind_socket(syslog_path);
    ck_assert_uint_eq(audit_fixture_write(audit, "create", "a"), CKR_DEVICE_ERROR);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "the journal does not take a line"));
    ck_assert_int_gt(recv(syslog_end, to_syslog, sizeof(to_syslog) - 1, 0), 0);
    int journal_end = bind_socket(journal_path);
    memset(to_syslog, 0, sizeof(to_syslog));
    ck_assert_uint_eq(audit_fixture_write(audit, "create", "b"), CKR_OK);
    ck_assert_int_gt(recv(syslog_end, to_syslog, sizeof(to_syslog) - 1, 0), 0);
    ck_assert_int_gt(recv(journal_end, to_journal, sizeof(to_journal) - 1, 0), 0);
    audit_text_read(&text, audit_fixture_path());
    ck_assert_uint_eq(text.count, 2);
    ck_assert_int_eq(strncmp(to_syslog, "<133>indexkey-audit[", 20), 0);
    ck_assert_str_eq(strchr(to_syslog, '{'), text.lines[1]);
    ck_assert_str_eq(strstr(to_journal, "MESSAGE=") + 8, text.lines[1]);
    audit_text_clear(&text);
    audit_send_test_sockets(NULL, NULL);
    (void) close(syslog_end);
    (void) close(journal_end);
    (void) unlink(syslog_path);
    (void) unlink(journal_path);
    audit_close(&audit);
}
END_TEST

START_TEST(test_words_are_known_or_refused)
{
    static const char *const unknown[] = {"syslog:",  "syslog:kernel", "syslog:auth2",
                                          "journald", "journald:x",    ""};
    struct audit_send send = {.facility = -1};

    for (size_t i = 0; i < COUNT_OF(unknown); i++)
        ck_assert_msg(!audit_send_configure(&send, view_text(unknown[i])), "%s", unknown[i]);
    ck_assert(send.facility == -1 && !send.journal);
    ck_assert(audit_send_configure(&send, view_text("syslog:authpriv")));
    ck_assert(audit_send_configure(&send, view_text("journald:")));
    ck_assert(send.facility == 10 << 3 && send.journal);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("audit send");
    tcase_add_checked_fixture(cases, audit_fixture_setup, audit_fixture_teardown);
    tcase_add_test(cases, test_syslog_and_journal_get_each_line);
    tcase_add_test(cases, test_words_are_known_or_refused);
    return audit_fixture_run("audit_send", cases);
}
