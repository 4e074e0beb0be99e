#!/bin/bash
# What the fake Google Cloud (fake_gcp.py) needs: a JWT library, AES-GCM and Google's CRC-32C; and
# Google's own client, which tests the fake. See README.md here.
#
#   gcp.sh setup                  installs them once; prints their Python
#   gcp.sh run COMMAND [ARG...]   runs it with that Python as python3; 77 where it cannot be had
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
. "$here/lib.sh"

packages=(google-cloud-kms==3.18.0 google-cloud-secret-manager==2.32.0 google-auth==2.62.2
    google-crc32c==1.9.0 requests==2.34.2 'PyJWT[crypto]==2.15.1')

venv_main gcp "$@"
