#include "tools/check_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"

/* What a file holds decides who may see it. */
enum content {
    CONTENT_PUBLIC, /* certificates */
    CONTENT_SECRET, /* keys, PINs, credentials */
    CONTENT_OURS,   /* made by the module: store, anchor, audit log */
};

static const char *const public_keys[] = {"ca_file", "client_cert"};

/* What the module makes itself, as SCHEME:PATH. */
static const struct {
    const char *key;
    const char *scheme;
} made[] = {
    {"store", "sqlite:"},
    {"anchor", "file:"},
    {"audit", "file:"},
};

static enum content content_of(const char *key)
{
    for (size_t i = 0; i < sizeof(public_keys) / sizeof(public_keys[0]); i++) {
        if (strcmp(public_keys[i], key) == 0)
            return CONTENT_PUBLIC;
    }
    return CONTENT_SECRET;
}

static bool folder_is_safe(struct report *report, const char *key, const char *path)
{
    struct stat status;
    char folder[CONF_PATH_MAX];
    const char *slash = strrchr(path, '/');
    (void) snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int) (slash - path), path);
    if (stat(folder, &status) != 0) {
        report_fail(report, key, EXIT_CODE_CONFIG, "%s: its folder is not there; make it", path);
        return false;
    }
    if ((status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0) {
        report_fail(report, key, EXIT_CODE_CONFIG,
                    "%s: everyone may write its folder, and so replace it; run chmod o-w %s", path,
                    folder);
        return false;
    }
    return true;
}

static void check_missing(struct report *report, const char *key, const char *path,
                          enum content content)
{
    char text[128];
    if (errno == ENOENT && content == CONTENT_OURS)
        report_ok(report, key, "%s: not there yet; it is made when it is needed", path);
    else
        report_fail(report, key, EXIT_CODE_CONFIG, "%s: %s", path,
                    strerror_r(errno, text, sizeof(text)));
}

static void check_path(struct report *report, const char *key, const char *path,
                       enum content content)
{
    struct stat status;
    if (!folder_is_safe(report, key, path))
        return;
    if (stat(path, &status) != 0) {
        check_missing(report, key, path, content);
        return;
    }
    unsigned mode = (unsigned) status.st_mode & 07777U;
    unsigned others = content == CONTENT_PUBLIC ? (unsigned) S_IWOTH : (unsigned) S_IRWXO;
    unsigned group = content == CONTENT_PUBLIC ? (unsigned) S_IWGRP : (unsigned) S_IRWXG;
    const char *remedy = content == CONTENT_PUBLIC ? "go-w" : "go-rwx";
    if (status.st_uid != 0 && status.st_uid != geteuid())
        report_fail(report, key, EXIT_CODE_CONFIG,
                    "%s: owned by user %lu; it must belong to root or to the user that runs the "
                    "application (chown)",
                    path, (unsigned long) status.st_uid);
    else if ((mode & others) != 0)
        report_fail(report, key, EXIT_CODE_CONFIG,
                    "%s: other users may reach it (mode %04o); run chmod %s on it", path, mode,
                    remedy);
    else if ((mode & group) != 0)
        report_warn(report, key, "%s: its group may reach it (mode %04o); run chmod %s on it", path,
                    mode, remedy);
    else
        report_ok(report, key, "%s: mode %04o", path, mode);
}

static void check_made(struct report *report, const struct conf_entry *entry)
{
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
        size_t len = strlen(made[i].scheme);
        if (strcmp(made[i].key, entry->name) == 0 &&
            strncmp(entry->value, made[i].scheme, len) == 0 && entry->value[len] == '/')
            check_path(report, entry->name, entry->value + len, CONTENT_OURS);
    }
}

void check_files(struct report *report, const struct conf_section *section)
{
    for (size_t i = 0; i < section->entry_count; i++) {
        const struct conf_entry *entry = &section->entries[i];
        if (entry->key == NULL)
            continue;
        if (entry->key->type == CONF_PATH)
            check_path(report, entry->name, entry->value, content_of(entry->name));
        else
            check_made(report, entry);
    }
}
