#include "tests/support/fake_service.h"

#include <check.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_LEN_MAX 256
#define ARGUMENT_COUNT_MAX 16
#define PATHS_KEPT 8

static char folder[PATH_LEN_MAX];

static int run(const char *const *arguments)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void) execvp(arguments[0], (char *const *) arguments);
        _exit(127);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

const char *fake_service_certificates(void)
{
    if (folder[0] == '\0') {
        strcpy(folder, "/tmp/indexkey-certs-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(folder));
        const char *const make[] = {"bash", FAKE_SERVICE_FOLDER "/certificates.sh", folder, NULL};
        ck_assert_msg(run(make) == 0, "certificates.sh %s failed: see openssl.log there", folder);
    }
    return folder;
}

void fake_service_clean(void)
{
    if (folder[0] == '\0')
        return;
    const char *const clean[] = {"rm", "-r", folder, NULL};
    (void) run(clean);
    folder[0] = '\0';
}

const char *fake_service_certificate(const char *name)
{
    static char paths[PATHS_KEPT][2 * PATH_LEN_MAX];
    static size_t next;
    char *path = paths[next++ % PATHS_KEPT];
    (void) snprintf(path, sizeof paths[0], "%s/%s", fake_service_certificates(), name);
    return path;
}

static void add(const char **arguments, const char *name, const char *value)
{
    size_t count = 0;
    while (arguments[count] != NULL)
        count++;
    ck_assert_uint_lt(count + 2, ARGUMENT_COUNT_MAX);
    arguments[count] = name;
    arguments[count + 1] = value;
}

static void become_service(const struct fake_service_options *options, const int *to,
                           const int *from)
{
    /* -W: that TLS 1.1 is obsolete is known. */
    const char *arguments[ARGUMENT_COUNT_MAX] = {"python3", "-W", "ignore",
                                                 FAKE_SERVICE_FOLDER "/fake_service.py"};
    if (options->handler != NULL)
        add(arguments, "--handler", options->handler);
    if (options->options != NULL)
        add(arguments, "--options", options->options);
    if (options->certificates != NULL) {
        add(arguments, "--cert", fake_service_certificate("server.pem"));
        add(arguments, "--key", fake_service_certificate("server.key"));
    }
    if (options->wants_client)
        add(arguments, "--client-ca", fake_service_certificate("ca.pem"));
    (void) dup2(to[0], STDIN_FILENO);
    (void) dup2(from[1], STDOUT_FILENO);
    (void) close(to[1]);
    (void) close(from[0]);
    (void) execvp(arguments[0], (char *const *) arguments);
    _exit(127);
}

static void read_answer(struct fake_service *service)
{
    ck_assert_msg(fgets(service->answer, sizeof service->answer, service->answers) != NULL,
                  "fake_service.py has ended");
}

static int number_in(const char *answer, const char *name)
{
    char quoted[64];
    (void) snprintf(quoted, sizeof quoted, "\"%s\": ", name);
    const char *found = strstr(answer, quoted);
    ck_assert_msg(found != NULL, "no %s in %s", name, answer);
    return (int) strtol(found + strlen(quoted), NULL, 10);
}

void fake_service_start(struct fake_service *service, const struct fake_service_options *options)
{
    int to[2];
    int from[2];
    ck_assert_int_eq(pipe(to), 0);
    ck_assert_int_eq(pipe(from), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        become_service(options, to, from);
    (void) close(to[0]);
    (void) close(from[1]);
    service->pid = child;
    service->is_tls = options->certificates != NULL;
    service->commands = fdopen(to[1], "w");
    service->answers = fdopen(from[0], "r");
    ck_assert_ptr_nonnull(service->commands);
    ck_assert_ptr_nonnull(service->answers);
    read_answer(service);
    service->port = number_in(service->answer, "port");
}

void fake_service_stop(struct fake_service *service)
{
    (void) fclose(service->commands);
    (void) kill(service->pid, SIGKILL);
    (void) waitpid(service->pid, NULL, 0);
    (void) fclose(service->answers);
}

void fake_service_command(struct fake_service *service, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void) vfprintf(service->commands, format, args);
    va_end(args);
    (void) fputc('\n', service->commands);
    ck_assert_int_eq(fflush(service->commands), 0);
    read_answer(service);
    ck_assert_msg(strstr(service->answer, "\"error\":") == NULL, "%s", service->answer);
}

void fake_service_fault(struct fake_service *service, const char *format, ...)
{
    char members[4096];
    va_list args;
    va_start(args, format);
    (void) vsnprintf(members, sizeof members, format, args);
    va_end(args);
    fake_service_command(service, "{\"do\": \"fault\", %s}", members);
}

void fake_service_clear(struct fake_service *service)
{
    fake_service_command(service, "{\"do\": \"clear\"}");
}

int fake_service_count(struct fake_service *service, const char *what)
{
    fake_service_command(service, "{\"do\": \"counts\"}");
    return number_in(service->answer, what);
}

const char *fake_service_url_at(struct fake_service *service, const char *host, const char *path)
{
    (void) snprintf(service->url, sizeof service->url, "%s://%s:%d%s",
                    service->is_tls ? "https" : "http", host, service->port, path);
    return service->url;
}

const char *fake_service_url(struct fake_service *service, const char *path)
{
    return fake_service_url_at(service, "127.0.0.1", path);
}
