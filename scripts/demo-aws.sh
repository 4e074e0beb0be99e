# The demo's root key in an emulator of AWS KMS. Sourced by demo.sh.

. "$scripts/demo-server.sh"
server_name="AWS KMS"

root_start() {
    step "AWS KMS, by an emulator (ministack) on this machine, over TLS. The KMS key wraps the" \
        "token's keys and never leaves it. The client's access key may use this KMS key only."
    ln -s "$servers/aws.sh" .
    run './aws.sh start ministack server'
    must_work
    run '. server/env; export AWS_ACCESS_KEY_ID=$ACCESS_KEY_ID \
  AWS_SECRET_ACCESS_KEY=$SECRET_ACCESS_KEY'
    must_work
    # The emulator knows none of the caller's own account.
    unset AWS_PROFILE AWS_SESSION_TOKEN
}

root_configure() {
    step "The configuration: one token, its source, its store. After the lease, keys that are in" \
        "use are confirmed with KMS: 15 minutes unless set; here $lease_s s, for the demo's end." \
        "At AWS itself, endpoint and ca_file are left out."
    configure "source = aws
key_id = $KEY_ARN
endpoint = $AWS_ENDPOINT
ca_file = $AWS_CA_BUNDLE
lease = ${lease_s}s"
}

key_uses() {
    ./aws.sh count server Decrypt
}

key_disable() {
    step "The key is disabled at AWS KMS, as by \`aws kms disable-key\`."
    run './aws.sh admin server disable-key'
    must_work
}

refusal='enable-key'
