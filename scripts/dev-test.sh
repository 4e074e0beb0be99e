#!/bin/bash
# Builds and runs the tests, all or the named ones. The last line is `N passed, N failed`.
set -euo pipefail
. scripts/lib.sh

packages_need "${packages_test[@]}"
build=$(build_folder)
if ! { build_setup "$build" -Dtests=true && build_compile "$build"; }; then
    say "The build failed: see above."
    say "0 passed, 1 failed"
    exit 1
fi
for server in vault aws; do
    server_prepare "$server" || say "There is no $server server, so its tests will be skipped."
done
suite_run "$build" "$@"
