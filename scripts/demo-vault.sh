# The demo's root key in a Vault server. Sourced by demo.sh.

. "$scripts/demo-server.sh"
server_name=Vault

root_start() {
    step "A Vault server on this machine, over TLS. Its transit key index-keys wraps the token's" \
        "keys and never leaves it. The client's Vault token may use this key, and nothing else."
    ln -s "$servers/vault.sh" .
    run './vault.sh start server'
    must_work
    run '. server/env; export VAULT_TOKEN=$CLIENT_TOKEN'
    must_work
}

root_configure() {
    step "The configuration: one token, its source, its store. After the lease, keys that are in" \
        "use are confirmed with Vault: 15 minutes unless set; here $lease_s s, for the demo's end."
    configure "source = vault
vault_addr = $VAULT_ADDR
ca_file = $VAULT_CACERT
key_name = $KEY_NAME
lease = ${lease_s}s"
}

key_uses() {
    ./vault.sh count server transit/decrypt/
}

key_disable() {
    step "The key is disabled at Vault: what it wrapped so far shall not be unwrapped any more."
    run './vault.sh api server POST transit/keys/index-keys/rotate >/dev/null'
    must_work
    run './vault.sh api server POST transit/keys/index-keys/config \
  "{\"min_decryption_version\": 2}" >/dev/null'
    must_work
}

refusal='min_decryption_version; lower it'
