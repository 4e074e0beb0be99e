#!/bin/bash
# Builds what the demo needs and runs it.
set -euo pipefail
. scripts/lib.sh

packages=("${packages_demo[@]}")
[[ ${1-} != @(vault|aws) ]] || packages+=("${packages_servers[@]}")
packages_need "${packages[@]}"
[[ ${1-} != @(vault|aws) ]] || server_prepare "$1" || die "there is no server for the demo: see above"
build=$(build_folder)
say "Building in $build"
build_quietly "$build" || die "the build failed: see above"
exec bash scripts/demo.sh "$build" "$@"
