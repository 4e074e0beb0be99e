#!/bin/bash
# Builds what the demo needs and runs it.
set -euo pipefail
. scripts/lib.sh

packages_need "${packages_demo[@]}"
build=$(build_folder)
say "Building in $build"
build_quietly "$build" || die "the build failed: see above"
bash scripts/demo.sh "$build" "$@"
