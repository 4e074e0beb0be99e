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

venv_main azure "$@"
