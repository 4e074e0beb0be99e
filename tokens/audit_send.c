#include "tokens/audit_send.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cause.h"
#include "tokens/audit_line.h"

#define SYSLOG_SOCKET "/dev/log"
#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define PATIENCE_S 1
#define PREFIX_MAX 128

static const struct {
    const char *name;
    int facility;
} facilities[] = {
    {"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"daemon", LOG_DAEMON},
    {"user", LOG_USER},     {"local0", LOG_LOCAL0},     {"local1", LOG_LOCAL1},
    {"local2", LOG_LOCAL2}, {"local3", LOG_LOCAL3},     {"local4", LOG_LOCAL4},
    {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6},     {"local7", LOG_LOCAL7},
};

static const char *syslog_socket = SYSLOG_SOCKET;
static const char *journal_socket = JOURNAL_SOCKET;

#ifdef INDEXKEY_TEST_HOOKS
void audit_send_test_sockets(const char *syslog_path, const char *journal_path)
{
    syslog_socket = syslog_path == NULL ? SYSLOG_SOCKET : syslog_path;
    journal_socket = journal_path == NULL ? JOURNAL_SOCKET : journal_path;
}
#endif

bool audit_send_configure(struct audit_send *send, struct view word)
{
    char name[PREFIX_MAX];

    if (view_equal(word, view_text("journald:"))) {
        send->journal = true;
        return true;
    }
    for (size_t i = 0; i < sizeof(facilities) / sizeof(facilities[0]); i++) {
        (void) snprintf(name, sizeof(name), "syslog:%s", facilities[i].name);
        if (!view_equal(word, view_text(name)))
            continue;
        send->facility = facilities[i].facility;
        return true;
    }
    return false;
}

static bool send_datagram(const char *path, const char *prefix, struct view line)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    char text[PREFIX_MAX + AUDIT_LINE_MAX];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int len =
        snprintf(text, sizeof(text), "%s%.*s", prefix, (int) line.len, (const char *) line.bytes);
    bool is_sent = len > 0 && (size_t) len < sizeof(text) &&
                   setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
                   sendto(fd, text, (size_t) len, MSG_NOSIGNAL, (const struct sockaddr *) &address,
                          sizeof(address)) == len;
    int saved = errno;
    (void) close(fd);
    errno = saved;
    return is_sent;
}

static CK_RV fail(const struct audit_send *send, const char *what)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_AUDIT,
                      "token '%s': %s does not take a line of its audit log: %m; what must be "
                      "recorded is refused until that is repaired",
                      send->token, what);
}

CK_RV audit_send_line(const struct audit_send *send, struct view line)
{
    char prefix[PREFIX_MAX];

    (void) snprintf(prefix, sizeof(prefix),
                    "<%d>indexkey-audit[%ld]: ", send->facility | LOG_NOTICE, (long) getpid());
    if (send->facility >= 0 && !send_datagram(syslog_socket, prefix, line))
        return fail(send, "syslog");
    if (send->journal &&
        !send_datagram(journal_socket,
                       "SYSLOG_IDENTIFIER=indexkey-audit\nPRIORITY=5\nMESSAGE=", line))
        return fail(send, "the journal");
    return CKR_OK;
}
