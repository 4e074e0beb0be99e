#!/usr/bin/env python3
"""Calls that the code may not make. Run in the tree's root."""
import fnmatch
import re
import sys

import c_source

# Names, why not, and the files of the core that may call them all the same.
CORE_RULES = (
    ("malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf",
     "use base/alloc.h: its hook makes allocation N fail", ("base/alloc.c",)),
    ("printf puts putchar vprintf perror", "a module never writes to stdout; use base/log.h",
      ("tools/*",)),
    ("strerror localtime gmtime getpwuid getpwnam setlocale",
     "is not safe with threads", ()),
    # Of a stream that one call opens and closes.
    ("readdir", "is not safe on a stream that threads share", ("module/approvals_folder.c",)),
    ("exit _exit abort atexit on_exit signal sigaction pthread_atfork thrd_create",
     "the process is the host's", ()),
    # There for one call: many unwraps at a login, joined before it returns; a parent HSM's module,
    # which may hang and is then left behind.
    ("pthread_create", "the process is the host's", ("tokens/workers.c",)),
    # A PIN is taken out of the tool's own environment.
    ("setenv putenv unsetenv chdir umask", "the process is the host's", ("tools/pin.c",)),
    ("pthread_exit pthread_cancel longjmp setjmp", "leaves cleanup variables behind", ()),
)

# In examples too.
COMMON_RULES = (
    ("strcpy stpcpy strcat strncpy strncat sprintf vsprintf gets scanf sscanf fscanf",
     "has no bound, or an unsafe one", ()),
    ("strtok", "keeps state", ()),
    ("atoi atol atoll atof", "does not tell errors", ()),
    ("system popen", "runs a shell", ()),
    ("alloca tmpnam tempnam mktemp rand srand random", "is unsafe", ()),
)

MODULE_RULES = (
    ("getpid", "costs a system call at every operation: a fork is seen by base/fork.h", ()),
)


def compile_rules(rules):
    return [(re.compile(r"(?<![\w.>])(" + "|".join(names.split()) + r")\s*\("), why, allowed)
            for names, why, allowed in rules]


def check_file(report, path, rules):
    text = c_source.without_comments(c_source.read(path))
    for pattern, why, allowed in rules:
        if any(fnmatch.fnmatchcase(path, one) for one in allowed):
            continue
        for match in pattern.finditer(text):
            report.add(path, c_source.line_of(text, match.start()), f"{match.group(1)}: {why}")


def main():
    report = c_source.Report()
    common = compile_rules(COMMON_RULES)
    core = common + compile_rules(CORE_RULES)
    module = core + compile_rules(MODULE_RULES)
    paths = c_source.files("examples", *c_source.CORE)
    for path in paths:
        layer = path.split("/")[0]
        check_file(report, path, {"examples": common, "module": module}.get(layer, core))
    return report.end(f"calls of {len(paths)} files")


if __name__ == "__main__":
    sys.exit(main())
