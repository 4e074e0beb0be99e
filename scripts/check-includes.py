#!/usr/bin/env python3
"""Who may include whom. Run in the tree's root.

The layers, from the ground up: include/, base/, conf/, tokens/, module/, tools/. A project include
names the path from the root; a file's own header comes first.
"""
import fnmatch
import os
import re
import sys

import c_source

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)

# What each layer may include, as patterns of paths from the root. store.h comes to module/ through
# sealed_objects.h.
LAYERS = {
    "include": ("include/*",),
    "base": ("include/*", "base/*"),
    "conf": ("include/*", "base/*", "conf/*"),
    "tokens": ("include/*", "base/*", "conf/*", "tokens/*"),
    "module": ("include/*", "base/*", "conf/*", "module/*",
               "tokens/audit.h", "tokens/audit_result.h",
               "tokens/audit_verify.h", "tokens/custody.h", "tokens/metrics.h",
               "tokens/sealed_objects.h"),
    # The command is an application that may also call what the module does not export, and read
    # audit logs, for which no token is needed.
    "tools": ("include/*", "base/*", "conf/*", "tools/*", "module/admin*.h", "module/config.h",
              "tokens/audit*.h"),
    # An application knows the Cryptoki header, and nothing of this project.
    "examples": ("include/cryptoki.h",),
}

# Libraries: the headers, and the only files that may include them.
LIBRARIES = {
    "openssl/*": ("base/crypto.h", "base/crypto*.c", "base/secret.c",
                  "module/mech.h", "module/mech.c", "module/mech_*.c",
                  "module/object_check_value.c"),
    # The TLS options of libcurl's connections, and KMIP's own.
    "openssl/err.h": ("base/crypto.h", "base/crypto*.c", "module/mech.c", "tokens/kmip_wire.c"),
    "openssl/ssl.h": ("tokens/http_library.c", "tokens/kmip_wire.c"),
    "curl/*": ("tokens/http*.[ch]",),
    "p11-kit/*": ("tokens/hsm_*.[ch]",),
    "sqlite3.h": ("tokens/store_sqlite*.[ch]", "tokens/sqlite_*.[ch]", "examples/*"),
    "libpq-fe.h": ("tokens/store_postgres.c", "tokens/postgres_*.[ch]"),
}

# OpenSSL by EVP only: without the headers of single algorithms, these do not declare their calls.
OPENSSL = ("core_names.h", "crypto.h", "err.h", "evp.h", "kdf.h", "params.h", "provider.h",
           "rand.h", "ssl.h")


def matches(path, patterns):
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def check_project(report, path, line, name):
    layer = path.split("/")[0]
    beside = os.path.join(os.path.dirname(path), name)
    if layer in ("include", "examples") and os.path.exists(beside):
        return
    if not os.path.exists(name):
        report.add(path, line, f'"{name}" is no path from the root of the tree')
    elif not matches(name, LAYERS[layer]):
        report.add(path, line, f'{layer}/ may not include "{name}"')


def check_system(report, path, line, name):
    if os.path.exists("include/" + name):
        check_project(report, path, line, "include/" + name)
    # The most particular pattern decides.
    for pattern, allowed in sorted(LIBRARIES.items(), key=lambda row: -len(row[0])):
        if fnmatch.fnmatchcase(name, pattern):
            if not matches(path, allowed):
                report.add(path, line, f"<{name}> is for {', '.join(allowed)}")
            break
    if name.startswith("openssl/") and name.split("/")[1] not in OPENSSL:
        report.add(path, line, f"<{name}>: only EVP and what goes with it: {', '.join(OPENSSL)}")


def check_own_first(report, path, includes):
    own = path[:-2] + ".h"
    names = (own, os.path.basename(own)) if path.startswith("examples/") else (own,)
    if path.endswith(".c") and os.path.exists(own) and includes and includes[0][1] not in names:
        report.add(path, includes[0][0], f'its own header "{names[-1]}" should come first')


def check_file(report, path):
    text = c_source.without_comments(c_source.read(path), keep_literals=True)
    includes = []
    for match in INCLUDE.finditer(text):
        line = c_source.line_of(text, match.start(match.lastindex))
        includes.append((line, match.group(match.lastindex)))
        if match.group(1):
            check_project(report, path, line, match.group(1))
        else:
            check_system(report, path, line, match.group(2))
    check_own_first(report, path, includes)
    if path.endswith(".h") and "#pragma once" not in text:
        report.add(path, 1, "has no #pragma once")


def main():
    report = c_source.Report()
    paths = c_source.files(*LAYERS)
    for path in paths:
        check_file(report, path)
    return report.end(f"includes of {len(paths)} files")


if __name__ == "__main__":
    sys.exit(main())
