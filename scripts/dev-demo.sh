#!/bin/bash
# Builds what the demo needs and runs it.
set -euo pipefail
. scripts/lib.sh

packages_need "${packages_demo[@]}"
if [[ ${1-} == @(vault|aws) ]]; then
    packages_need "${packages_servers[@]}"
    server_prepare "$1" || die "there is no server for the demo: see above"
fi
build=$(build_folder)
say "Building in $build"
build_quietly "$build" || die "the build failed: see above"
exec bash scripts/demo.sh "$build" "$@"
