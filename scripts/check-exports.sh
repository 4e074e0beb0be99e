#!/bin/bash
# A module exports the functions of Cryptoki and nothing else: check-exports.sh MODULE.so HEADER
# HEADER is the table of C_ functions (include/cryptoki_functions.h).
set -euo pipefail

module=$1 header=$2

exported=$(nm -D --defined-only --format=posix "$module" | cut -d ' ' -f 1 | sort -u)
[[ $exported ]] || {
    echo "$module: exports nothing"
    exit 1
}
strangers=$(grep -v '^C_[A-Z]' <<<"$exported" || true)
if [[ $strangers ]]; then
    echo "$module: exports what is not Cryptoki's:" $strangers
    exit 1
fi
missing=$(comm -13 <(printf '%s\n' "$exported") <(grep -o '\bX(C_[A-Za-z0-9]*)' "$header" |
    sed 's/^X(//; s/)$//' | sort -u))
if [[ $missing ]]; then
    echo "$module: does not export:" $missing
    exit 1
fi
echo "exports: ok, $(wc -l <<<"$exported") functions"
