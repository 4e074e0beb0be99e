#!/usr/bin/env python3
"""PyKMIP's own client: kmip_admin.py PORT TLS-FOLDER COMMAND [ID]

    create            an active AES-256 key that encrypts and decrypts; prints its Unique Identifier
    preactive         so, not activated
    wrapping          an active AES-256 key that wraps, of the bytes 0 to 31
    revoke, compromise, destroy ID
    rounds ID         encrypts and decrypts by CBC, and asks for the state
    fake              encrypts by GCM and asks for the state, with the key of fake_kmip.py
"""
import logging
import sys

from kmip import enums
from kmip.pie.client import ProxyKmipClient
from kmip.pie.objects import SymmetricKey

CBC = {"cryptographic_algorithm": enums.CryptographicAlgorithm.AES,
       "block_cipher_mode": enums.BlockCipherMode.CBC,
       "padding_method": enums.PaddingMethod.PKCS5}

GCM = {"cryptographic_algorithm": enums.CryptographicAlgorithm.AES,
       "block_cipher_mode": enums.BlockCipherMode.GCM, "tag_length": 16}


def create(client, activate):
    uses = enums.CryptographicUsageMask
    key = client.create(enums.CryptographicAlgorithm.AES, 256,
                        cryptographic_usage_mask=[uses.ENCRYPT, uses.DECRYPT])
    if activate:
        client.activate(key)
    print(key)


def wrapping(client):
    key = client.register(SymmetricKey(enums.CryptographicAlgorithm.AES, 256, bytes(range(32)),
                                       masks=[enums.CryptographicUsageMask.WRAP_KEY]))
    client.activate(key)
    print(key)


def rounds(client, key):
    data, _ = client.encrypt(b"a data key, perhaps", key, CBC, bytes(16))
    assert client.decrypt(data, key, CBC, bytes(16)) == b"a data key, perhaps"
    state(client, key)


def fake(client):
    data, _ = client.encrypt(bytes(32), "index-keys", GCM, bytes(12))
    assert len(data) == 32
    state(client, "index-keys")


def state(client, key):
    _, attributes = client.get_attributes(key, ["State"])
    assert attributes[0].attribute_value.value == enums.State.ACTIVE


def main():
    port, tls, command, *rest = sys.argv[1:]
    revoked = {"revoke": enums.RevocationReasonCode.CESSATION_OF_OPERATION,
               "compromise": enums.RevocationReasonCode.KEY_COMPROMISE}
    with ProxyKmipClient("127.0.0.1", int(port), f"{tls}/client.pem", f"{tls}/client.key",
                         f"{tls}/ca.pem", "PROTOCOL_TLSv1_2",
                         kmip_version=enums.KMIPVersion.KMIP_1_4) as client:
        if command == "create":
            create(client, True)
        elif command == "preactive":
            create(client, False)
        elif command == "wrapping":
            wrapping(client)
        elif command == "destroy":
            client.destroy(rest[0])
        elif command == "rounds":
            rounds(client, rest[0])
        elif command == "fake":
            fake(client)
        else:
            client.revoke(revoked[command], rest[0])


# It warns of configuration files that nobody has.
logging.disable(logging.WARNING)
main()
