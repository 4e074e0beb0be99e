#!/bin/bash
# Azure's own clients against the fake Azure. 77: they cannot be had here.
set -euo pipefail

servers=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../servers
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

bash "$servers/certificates.sh" "$folder"
"$servers/azure.sh" run python3 "$servers/azure_clients.py" "$folder"
