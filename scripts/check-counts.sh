#!/bin/bash
# Builds with optimisation in a folder of its own, that of ./dev bench, and counts instructions:
#
#   check-counts.sh [--update]
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."
. scripts/lib.sh

if ! type -P valgrind >/dev/null; then
    say "skipped: valgrind is not here"
    [[ ${CI:-} == true ]] && exit 1
    exit 77
fi
build=$(build_folder)-bench
build_release "$build" bench/counts
exec python3 scripts/check-counts.py "$build" "$@"
