"""azure_clients.py CERTIFICATES: Azure's own clients against fake_azure.py.

azure-identity, azure-keyvault-keys and azure-keyvault-secrets log in in every way, wrap, unwrap,
read secrets and meet every refusal, so that the fake is what they take for Azure, and not merely
the mirror of our code. CERTIFICATES is a folder of certificates.sh. Prints a line for each case; 0
when all came out right.
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

from azure.core.exceptions import (ClientAuthenticationError, HttpResponseError,
                                   ResourceNotFoundError)
from azure.identity import (CertificateCredential, ClientSecretCredential,
                            ManagedIdentityCredential, WorkloadIdentityCredential)
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys._shared import HttpChallengeCache
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm
from azure.keyvault.secrets import SecretClient

import fake_azure

HERE = pathlib.Path(__file__).resolve().parent
DATA_KEY = bytes(range(32))
# RFC 3394, 4.3, 4.5 and 4.6: under the 256 bits 00 01 … 1F.
RFC3394_KEY = bytes(range(32)).hex()
RFC3394 = (
    ("00112233445566778899AABBCCDDEEFF",
     "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"),
    ("00112233445566778899AABBCCDDEEFF0001020304050607",
     "A8F9BC1612C68B3FF6E6F4FBE30E71E4769C8B80A32CB8958CD5D17D6B254DA1"),
    ("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
     "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"),
)
passed = 0


def resolve_here():
    """Names that end in .here are on this machine."""
    real = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **named):
        return real("127.0.0.1" if str(host).endswith(".here") else host, *arguments, **named)

    socket.getaddrinfo = getaddrinfo


class Fake:
    def __init__(self, certificates):
        command = [sys.executable, str(HERE / "fake_service.py"), "--handler",
                   "fake_azure:FakeAzure", "--cert", f"{certificates}/server.pem",
                   "--key", f"{certificates}/server.key"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.do("handler", what="save")

    def do(self, do, **members):
        self.process.stdin.write(json.dumps({"do": do} | members) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def handler(self, what, **members):
        return self.do("handler", what=what, **members)

    def reset(self):
        self.do("clear")
        self.handler("restore")

    def url(self, host="127.0.0.1"):
        return f"https://{host}:{self.port}"

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def case(name, condition, detail=""):
    global passed
    if not condition:
        sys.exit(f"azure_clients.py: {name}: wrong {detail}")
    passed += 1
    print(f"ok: {name}")


def refused(name, kind, status, text, call):
    try:
        call()
    except kind as error:
        found = getattr(error, "status_code", None)
        case(name, status in (None, found) and text in str(error), f"({found}: {error})")
        return
    sys.exit(f"azure_clients.py: {name}: not refused")


class Clients:
    def __init__(self, fake):
        self.fake = fake
        self.authority = {"authority": fake.url(), "disable_instance_discovery": True}

    def secret(self, value=fake_azure.SECRET):
        return ClientSecretCredential(fake_azure.TENANT, fake_azure.CLIENT_ID, value,
                                      **self.authority)

    def crypto(self, credential):
        """By the newest version of the vault's key, whose public half the client then has: it wraps
        by itself, and unwraps at the server."""
        client = KeyClient(self.fake.url("vectors.vault.here"), credential, retry_total=0)
        return CryptographyClient(client.get_key(fake_azure.KEY_NAME).id, credential,
                                  retry_total=0)

    def remote(self, host):
        """All at the server. A client that may read an AES key takes a random one for it."""
        self.fake.handler("deny", act="get")
        key = f"{self.fake.url(host)}/keys/{fake_azure.KEY_NAME}"
        return CryptographyClient(key, self.secret(), retry_total=0)


def try_credentials(fake, clients, folder):
    def logs_in(name, credential):
        client = clients.crypto(credential)
        wrapped = client.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, DATA_KEY).encrypted_key
        case(name, client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == DATA_KEY)

    certificate = os.path.join(folder, "client.pem")
    token = os.path.join(folder, "token")
    fake.handler("certificate", file=certificate)
    fake.handler("federate", file=token)
    logs_in("client secret", clients.secret())
    logs_in("client certificate", CertificateCredential(
        fake_azure.TENANT, fake_azure.CLIENT_ID, certificate, **clients.authority))
    logs_in("workload identity", WorkloadIdentityCredential(
        tenant_id=fake_azure.TENANT, client_id=fake_azure.CLIENT_ID, token_file_path=token,
        **clients.authority))
    os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = fake.url()
    logs_in("the machine's identity", ManagedIdentityCredential())
    logs_in("a user-assigned identity", ManagedIdentityCredential(client_id=fake_azure.CLIENT_ID))
    os.environ["IDENTITY_ENDPOINT"] = fake.url() + "/msi/token"
    os.environ["IDENTITY_HEADER"] = fake_azure.IDENTITY_HEADER
    logs_in("App Service", ManagedIdentityCredential())
    os.environ["IDENTITY_HEADER"] = "wrong"
    refused("App Service, wrong header", ClientAuthenticationError, None, "",
            lambda: clients.crypto(ManagedIdentityCredential()))
    refused("wrong secret", ClientAuthenticationError, None, "AADSTS7000215",
            lambda: clients.crypto(clients.secret("wrong")))
    fake.handler("forget_certificates")
    refused("unknown certificate", ClientAuthenticationError, None, "AADSTS700027",
            lambda: clients.crypto(CertificateCredential(
                fake_azure.TENANT, fake_azure.CLIENT_ID, certificate, **clients.authority)))
    fake.handler("federate", file=token, subject="system:serviceaccount:a:b")
    refused("federated token of another subject", ClientAuthenticationError, None, "AADSTS700213",
            lambda: clients.crypto(WorkloadIdentityCredential(
                tenant_id=fake_azure.TENANT, client_id=fake_azure.CLIENT_ID,
                token_file_path=token, **clients.authority)))
    fake.reset()


def try_hsm(fake, clients):
    client = clients.remote("vectors.managedhsm.here")
    wrapped = client.wrap_key(KeyWrapAlgorithm.aes_256, DATA_KEY).encrypted_key
    case("A256KW", client.unwrap_key(KeyWrapAlgorithm.aes_256, wrapped).key == DATA_KEY)
    refused("A256KW, tampered", HttpResponseError, 400, "BadParameter",
            lambda: client.unwrap_key(KeyWrapAlgorithm.aes_256, wrapped[1:] + wrapped[:1]))
    sealed = client.encrypt(EncryptionAlgorithm.a256_gcm, DATA_KEY,
                            additional_authenticated_data=b"context")

    def open_with(context):
        return client.decrypt(EncryptionAlgorithm.a256_gcm, sealed.ciphertext, iv=sealed.iv,
                              authentication_tag=sealed.tag,
                              additional_authenticated_data=context).plaintext

    case("A256GCM", open_with(b"context") == DATA_KEY)
    refused("A256GCM with other data", HttpResponseError, 400, "BadParameter",
            lambda: open_with(b"other"))
    fake.handler("import", hex=RFC3394_KEY)
    for data, sealed_data in RFC3394:
        result = client.wrap_key(KeyWrapAlgorithm.aes_256, bytes.fromhex(data)).encrypted_key
        case(f"RFC 3394, {len(data) * 4} bits wrapped", result.hex().upper() == sealed_data,
             result.hex())
        result = client.unwrap_key(KeyWrapAlgorithm.aes_256, bytes.fromhex(sealed_data)).key
        case(f"RFC 3394, {len(data) * 4} bits unwrapped", result.hex().upper() == data)
    fake.reset()


def try_keys(fake, clients):
    client = clients.remote("vectors.vault.here")
    wrapped = client.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, DATA_KEY).encrypted_key
    case("RSA-OAEP-256 at the server",
         client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == DATA_KEY)
    fake.reset()
    client = clients.crypto(clients.secret())
    wrapped = client.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, DATA_KEY).encrypted_key

    def unwrap(blob=wrapped):
        return client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, blob).key

    def again(name, kind, status, text, what, **members):
        fake.handler(what, **members)
        refused(name, kind, status, text, unwrap)
        fake.reset()

    fake.handler("rotate")
    case("the old version unwraps after a rotation", unwrap() == DATA_KEY)
    fake.reset()
    again("disabled", HttpResponseError, 403, "disabled key", "disable")
    again("deleted", ResourceNotFoundError, 404, "KeyNotFound", "delete_key")
    again("made again", ResourceNotFoundError, 404, "KeyNotFound", "make_key")
    again("denied", HttpResponseError, 403, "Forbidden", "deny", act="unwrapKey")
    tampered = bytes([wrapped[0] ^ 1]) + wrapped[1:]
    refused("tampered", HttpResponseError, 400, "BadParameter", lambda: unwrap(tampered))
    fake.do("fault", kind="status", path="unwrapkey", times=-1, status=429,
            headers={"Retry-After": "1"}, body={"error": {"code": "Throttled", "message": "x"}})
    refused("throttled", HttpResponseError, 429, "Throttled", unwrap)
    fake.reset()
    fake.handler("revoke_tokens")
    # Azure's client has it in a cache of its own, and does not ask again as ours does.
    refused("revoked token", ClientAuthenticationError, 401, "AKV10045", unwrap)
    fake.reset()


def try_key_properties(fake, clients):
    client = KeyClient(fake.url("vectors.vault.here"), clients.secret(), retry_total=0)
    first = client.get_key(fake_azure.KEY_NAME)
    case("key", first.properties.enabled and first.key_type == "RSA" and
         first.properties.recovery_level == "Recoverable+Purgeable" and
         first.properties.expires_on is None)
    fake.handler("disable")
    fake.handler("rotate")
    case("newest version", client.get_key(fake_azure.KEY_NAME).properties.version !=
         first.properties.version)
    older = client.get_key(fake_azure.KEY_NAME, first.properties.version)
    case("older version, disabled", older.id == first.id and not older.properties.enabled)
    fake.handler("attributes", attributes={"exp": 1803859200, "nbf": 1700000000})
    told = client.get_key(fake_azure.KEY_NAME).properties
    case("times of a key", told.expires_on.year == 2027 and told.not_before.year == 2023)
    fake.handler("deny", act="get")
    refused("key denied", HttpResponseError, 403, "Forbidden",
            lambda: client.get_key(fake_azure.KEY_NAME))
    fake.reset()


def try_secrets(fake, clients):
    client = SecretClient(fake.url("vectors.vault.here"), clients.secret(), retry_total=0)
    refused("no secret", ResourceNotFoundError, 404, "SecretNotFound",
            lambda: client.get_secret("index-key"))
    fake.handler("secret", name="index-key", value="first", version="0" * 32)
    fake.handler("secret", name="index-key", value="second", version="1" * 32)
    newest = client.get_secret("Index-Key")
    case("secret", newest.value == "second" and newest.properties.version == "1" * 32 and
         newest.name == "index-key")
    case("version of a secret", client.get_secret("index-key", "0" * 32).value == "first")
    refused("no such version", ResourceNotFoundError, 404, "SecretNotFound",
            lambda: client.get_secret("index-key", "2" * 32))
    fake.handler("disable_secret", name="index-key")
    refused("disabled secret", HttpResponseError, 403, "disabled secret",
            lambda: client.get_secret("index-key"))
    fake.handler("deny", act="getSecret")
    refused("secret denied", HttpResponseError, 403, "Forbidden",
            lambda: client.get_secret("index-key"))
    fake.handler("delete_secret", name="index-key")
    fake.reset()


def try_challenge(fake, clients):
    HttpChallengeCache.clear()
    fake.do("fault", kind="status", path="/keys", times=-1, status=401, body="", headers={
        "WWW-Authenticate": f'Bearer authorization="{fake.url()}/{fake_azure.TENANT}", '
                            'resource="https://management.azure.com"'})
    refused("resource of another service", ValueError, None, "does not match",
            lambda: clients.crypto(clients.secret()))
    fake.reset()


def main():
    certificates = sys.argv[1]
    os.environ["REQUESTS_CA_BUNDLE"] = f"{certificates}/ca.pem"
    for name in [name for name in os.environ if name.startswith(("AZURE_", "IDENTITY_"))]:
        del os.environ[name]
    resolve_here()
    fake = Fake(certificates)
    clients = Clients(fake)
    try:
        with tempfile.TemporaryDirectory() as folder:
            try_credentials(fake, clients, folder)
        try_hsm(fake, clients)
        try_keys(fake, clients)
        try_key_properties(fake, clients)
        try_secrets(fake, clients)
        try_challenge(fake, clients)
    finally:
        fake.close()
    print(f"{passed} cases of Azure's clients came out right")


if __name__ == "__main__":
    main()
