#!/bin/bash
# Makes the certificates of the tests: certificates.sh FOLDER
#
#   ca        the authority to trust          other-ca  one that nobody trusts
#   server    for localhost and 127.0.0.1     wrong-name, expired, self-signed, untrusted: bad ones
#   client    for TLS client authentication   other-client: by the other authority
#   stranger  so, of another name
#
# Each is NAME.pem with its key in NAME.key.
set -euo pipefail

folder=$1
mkdir -p "$folder"
cd "$folder"
# The names that end in .here are Azure's services in the tests.
names='subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1,DNS:*.vault.here,DNS:*.managedhsm.here'

# NAME SUBJECT ARGUMENT...: a key and a self-signed certificate.
self_signed() {
    local name=$1 subject=$2
    shift 2
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 \
        -keyout "$name.key" -out "$name.pem" -subj "/CN=$subject" "$@" 2>>openssl.log
}

# AUTHORITY NAME EXTENSIONS START END: a key and a certificate by the authority.
signed() {
    local authority=$1 name=$2 extensions=$3 start=$4 end=$5
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 \
        -keyout "$name.key" -out "$name.csr" -subj "/CN=$name" 2>>openssl.log
    printf '%b\n' "$extensions" >"$name.ext"
    : >index.txt
    openssl ca -batch -notext -config ca.cnf -cert "$authority.pem" -keyfile "$authority.key" \
        -in "$name.csr" -out "$name.pem" -extfile "$name.ext" \
        -startdate "$start" -enddate "$end" 2>>openssl.log
}

cat >ca.cnf <<'END'
[ca]
default_ca = plain
[plain]
database = index.txt
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
rand_serial = yes
[any]
commonName = supplied
END

ca_use=(-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign)
self_signed ca 'indexkey test authority' -days 30 "${ca_use[@]}"
self_signed other-ca 'another test authority' -days 30 "${ca_use[@]}"
self_signed self-signed localhost -days 30 -addext "$names"

now=$(date -u -d '1 hour ago' +%Y%m%d%H%M%SZ)
later=$(date -u -d '20 days' +%Y%m%d%H%M%SZ)
signed ca server "$names" "$now" "$later"
signed ca wrong-name 'subjectAltName=DNS:other.example' "$now" "$later"
signed ca expired "$names" 20200101000000Z 20200201000000Z
signed ca client 'extendedKeyUsage=clientAuth' "$now" "$later"
signed ca stranger 'extendedKeyUsage=clientAuth' "$now" "$later"
signed other-ca untrusted "$names" "$now" "$later"
signed other-ca other-client 'extendedKeyUsage=clientAuth' "$now" "$later"
