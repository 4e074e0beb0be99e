#!/bin/bash
# The fast checks, for every commit. The last line is `N passed, N failed`.
set -euo pipefail
. scripts/lib.sh

packages_need "${packages_check[@]}"
build=$(build_folder)
passed=0 failed=0

check() {
    local name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        say "failed: $name"
    fi
}

# include/ is laid out by hand, in the standard's columns.
sources=(base conf tokens module tools examples tests bench)

# Not a failure yet: the code is not all in the format of .clang-format.
notice_format() {
    local file differ=() all=()
    mapfile -t all < <(find "${sources[@]}" -name '*.[ch]' | sort)
    for file in "${all[@]}"; do
        clang-format "$file" | cmp -s - "$file" || differ+=("$file")
    done
    say "notice: ${#differ[@]} of ${#all[@]} files are not as clang-format writes them"
}

check_shell() {
    local file result=0
    for file in dev .ci/* scripts/*.sh $(find tests examples -name '*.sh'); do
        bash -n "$file" || result=1
    done
    return "$result"
}

check_cppcheck() {
    mkdir -p "$build/cppcheck"
    cppcheck --quiet --cppcheck-build-dir="$build/cppcheck" -j "$(nproc)" \
        --std=c11 --language=c --enable=warning,portability --inline-suppr \
        --suppressions-list=<(sed '/^#/d' scripts/cppcheck-suppressions.txt) \
        --error-exitcode=1 -D_GNU_SOURCE -D__linux__ -D__GNUC__ -I. -Iinclude \
        base conf tokens module tools examples
}

check_exports() {
    build_quietly "$build" &&
        bash scripts/check-exports.sh "$build/module/indexkey-pkcs11.so" \
            include/cryptoki_functions.h
}

notice_format
check sizes python3 scripts/check-size.py
check includes python3 scripts/check-includes.py
check calls python3 scripts/check-calls.py
check conformance python3 scripts/check-conformance.py
check shell check_shell
check cppcheck check_cppcheck
check exports check_exports
say "$passed passed, $failed failed"
((failed == 0))
