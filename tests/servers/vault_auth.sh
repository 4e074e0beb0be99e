#!/bin/bash
# Auth methods in a server of vault.sh, each with a role that has the least policy for its key.
#
#   vault_auth.sh setup FOLDER TTL            approle, jwt and cert; tokens of that TTL; writes
#                                             FOLDER/auth-env
#   vault_auth.sh secret-id FOLDER            prints another secret id
#   vault_auth.sh wrap FOLDER                 prints a wrapping token of another secret id
#   vault_auth.sh jwt FOLDER CLAIMS           prints a JWT of FOLDER/jwt.key: a JSON object
#   vault_auth.sh kubernetes FOLDER URL CA JWT
#                                             kubernetes; its TokenReview is at URL, asked with JWT
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
. "$here/lib.sh"
role=index-keys

api() {
    "$here/vault.sh" api "$folder" "$@"
}

# NAME: the first string of that name in the reply on standard input.
reply_string() {
    sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'
}

# FILE: as the inside of a JSON string.
json_text() {
    awk '{ printf "%s\\n", $0 }' "$1"
}

base64url() {
    openssl base64 -A | tr '+/' '-_' | tr -d '='
}

jwt() {
    local head body
    head=$(printf '{"alg":"RS256","typ":"JWT"}' | base64url)
    body=$(printf '%s' "$1" | base64url)
    printf '%s.%s.' "$head" "$body"
    printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -sign "$folder/jwt.key" | base64url
}

secret_id() {
    api POST auth/approle/role/$role/secret-id | reply_string secret_id
}

wrap() {
    . "$folder/env"
    curl --silent --show-error --fail --noproxy '*' --cacert "$VAULT_CACERT" \
        --header "X-Vault-Token: $ROOT_TOKEN" --header 'X-Vault-Wrap-TTL: 120s' --request POST \
        "$VAULT_ADDR/v1/auth/approle/role/$role/secret-id" | reply_string token
}

setup() {
    local token='"token_policies": "'$role'", "token_ttl": "'$1'"'
    api POST sys/auth/approle '{"type": "approle"}'
    api POST auth/approle/role/$role "{$token}"
    openssl genrsa -out "$folder/jwt.key" 2048 2>/dev/null
    openssl rsa -in "$folder/jwt.key" -pubout -out "$folder/jwt.pub" 2>/dev/null
    api POST sys/auth/jwt '{"type": "jwt"}'
    api POST auth/jwt/config "{\"jwt_validation_pubkeys\": \"$(json_text "$folder/jwt.pub")\",
        \"bound_issuer\": \"test\", \"default_role\": \"$role\"}"
    api POST auth/jwt/role/$role "{$token, \"role_type\": \"jwt\", \"user_claim\": \"sub\",
        \"bound_audiences\": [\"vault\"], \"bound_subject\": \"host\"}"
    api POST sys/auth/cert '{"type": "cert"}'
    api POST auth/cert/certs/$role "{$token,
        \"certificate\": \"$(json_text "$folder/tls/ca.pem")\",
        \"allowed_common_names\": \"client\"}"
    {
        printf 'ROLE_ID=%s\n' \
            "$(api GET auth/approle/role/$role/role-id | reply_string role_id)"
        printf 'SECRET_ID=%s\n' "$(secret_id)"
    } >"$folder/auth-env"
}

kubernetes() {
    api POST sys/auth/kubernetes '{"type": "kubernetes"}'
    api POST auth/kubernetes/config "{\"kubernetes_host\": \"$1\",
        \"kubernetes_ca_cert\": \"$(json_text "$2")\", \"token_reviewer_jwt\": \"$3\"}"
    api POST auth/kubernetes/role/$role "{\"bound_service_account_names\": \"app\",
        \"bound_service_account_namespaces\": \"prod\", \"audience\": \"vault\",
        \"token_policies\": \"$role\", \"token_ttl\": \"1h\"}"
}

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

command=${1-} folder=${2-}
[[ -n $folder ]] || usage
shift 2
umask 077
case $command in
setup) setup "${1:-1h}" ;;
secret-id) secret_id ;;
wrap) wrap ;;
jwt) jwt "$1" ;;
kubernetes) (($# == 3)) || usage; kubernetes "$@" ;;
*) usage ;;
esac
