#!/bin/bash
# What the fake Azure (fake_azure.py) needs: a JWT library, RSA and AES; and Azure's own clients,
# which test the fake. See README.md here.
#
#   azure.sh setup        installs them once; prints their Python
#   azure.sh run COMMAND [ARG...]   runs it with that Python as python3; 77 where it cannot be had
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
. "$here/lib.sh"

packages=(azure-identity==1.27.0 azure-keyvault-keys==4.11.3 azure-keyvault-secrets==4.12.0
    'PyJWT[crypto]==2.15.1')

setup() {
    local folder
    folder=$(cache_folder)/azure
    venv_make "$folder" "${packages[@]}"
    printf '%s/bin/python3\n' "$folder"
}

run() {
    local python
    if ! python=$(setup); then
        say "skipped: the packages could not be installed: see above"
        exit 77
    fi
    PATH="$(dirname "$python"):$PATH" exec "$@"
}

case ${1-} in
setup) setup ;;
run)
    shift
    run "$@"
    ;;
*)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
