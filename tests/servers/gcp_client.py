#!/usr/bin/env python3
"""Google's own client against the fake Google (fake_gcp.py), so that the fake is not merely the
mirror of our code: its credentials, encryption with associated data, checksums, refusals.

    gcp.sh run python3 gcp_client.py
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
KEY = "projects/good-project/locations/europe-west3/keyRings/ring/cryptoKeys/index-keys"
SCOPES = ["https://www.googleapis.com/auth/cloudkms"]
AAD = b"\1\0\0\0\7vectors"


class Fake:
    """A process of fake_service.py, which ends with this one."""

    def __init__(self, *arguments):
        command = [sys.executable, str(HERE / "fake_service.py"), "--handler", "fake_gcp:FakeGcp",
                   *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        port = json.loads(self.process.stdout.readline())["port"]
        self.address = f"127.0.0.1:{port}"
        self.url = f"https://{self.address}"

    def do(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def handler(self, what, **members):
        return self.do(do="handler", what=what, **members)


class Trial:
    def __init__(self, folder, fake):
        self.folder = folder
        self.fake = fake
        self.passed = 0

    def credential(self, kind, **members):
        path = str(self.folder / "credentials.json")
        self.fake.handler("credentials", type=kind, url=self.fake.url, file=path, **members)
        if kind == "external_account":
            return identity_pool.Credentials.from_file(path, scopes=SCOPES)
        credential = google.auth.load_credentials_from_file(path, scopes=SCOPES)[0]
        # Else the client shows KMS a JWT of the account's own instead of an access token.
        credential.with_always_use_jwt_access = lambda _: credential
        if kind == "authorized_user":  # whose token_uri it has as a constant
            credential._token_uri = self.fake.url + "/token"
        return credential

    def client(self, credential=None):
        credential = credential or self.credential("service_account")
        return kms_v1.KeyManagementServiceClient(
            credentials=credential, transport="rest",
            client_options=ClientOptions(api_endpoint=self.fake.address))

    def ok(self, what, good):
        if not good:
            sys.exit(f"gcp_client.py: wrong: {what}")
        self.passed += 1

    def refused(self, what, error, call, text=""):
        try:
            call()
        except error as refusal:
            self.ok(f"{what}: {refusal}", text in str(refusal))
            return
        sys.exit(f"gcp_client.py: not refused: {what}")

    def encrypt(self, client, plaintext=b"k" * 32, aad=AAD, **members):
        request = {"name": KEY, "plaintext": plaintext, "additional_authenticated_data": aad,
                   "plaintext_crc32c": google_crc32c.value(plaintext),
                   "additional_authenticated_data_crc32c": google_crc32c.value(aad)}
        request.update(members)
        return client.encrypt(request=request, retry=None)

    def decrypt(self, client, ciphertext, aad=AAD, **members):
        request = {"name": KEY, "ciphertext": ciphertext, "additional_authenticated_data": aad,
                   "ciphertext_crc32c": google_crc32c.value(ciphertext)}
        request.update(members)
        return client.decrypt(request=request, retry=None)

    def both_ways(self, what, client):
        made = self.encrypt(client)
        self.ok(f"{what}: checksums are confirmed", made.verified_plaintext_crc32c and
                made.verified_additional_authenticated_data_crc32c)
        self.ok(f"{what}: name", made.name == KEY + "/cryptoKeyVersions/1")
        self.ok(f"{what}: checksum", made.ciphertext_crc32c == google_crc32c.value(made.ciphertext))
        opened = self.decrypt(client, made.ciphertext)
        self.ok(f"{what}: plaintext", opened.plaintext == b"k" * 32 and opened.used_primary)
        self.ok(f"{what}: its checksum",
                opened.plaintext_crc32c == google_crc32c.value(opened.plaintext))

    # ---- what is tried ----

    def credentials(self):
        self.both_ways("service account", self.client())
        self.both_ways("user", self.client(self.credential("authorized_user")))
        subject = str(self.folder / "subject")
        for source in (subject, "url"):
            for impersonates in (False, True):
                credential = self.credential("external_account", subject=source,
                                             impersonates=impersonates)
                self.both_ways(f"federation {source} {impersonates}", self.client(credential))
        self.both_ways("machine", self.client(compute_engine.Credentials()))

    def wrong_credentials(self):
        for which, kind, text in (("key", "service_account", "Invalid JWT Signature"),
                                  ("account", "service_account", "account not found"),
                                  ("user", "authorized_user", "revoked"),
                                  ("provider", "external_account", "audience")):
            client = self.client(self.credential(kind, subject=str(self.folder / "subject")))
            self.fake.handler("forget", which=which)
            self.refused(f"forgotten {which}", GoogleAuthError, lambda c=client: self.encrypt(c),
                         text)
            self.fake.handler("restore")
        other = self.credential("service_account", alter={"client_email": "other@x"})
        self.refused("another account", GoogleAuthError, lambda: self.encrypt(self.client(other)),
                     "account not found")
        token = google.oauth2.credentials.Credentials("ya29.none")
        # At a 401 it asks for a new one, which this credential has not.
        self.refused("no token", GoogleAuthError, lambda: self.encrypt(self.client(token)),
                     "refresh")
        unscoped = google.oauth2.credentials.Credentials(
            self.scoped_token("https://www.googleapis.com/auth/devstorage"))
        self.refused("another scope", exceptions.Forbidden,
                     lambda: self.encrypt(self.client(unscoped)), "scopes")

    def scoped_token(self, scope):
        credential = self.credential("service_account").with_scopes([scope])
        credential.refresh(google.auth.transport.requests.Request())
        return credential.token

    def refusals(self):
        client = self.client()
        blob = self.encrypt(client).ciphertext
        changed = blob[:-1] + bytes([blob[-1] ^ 1])
        wrong = "verify that 'name' refers to the correct CryptoKey"
        self.refused("tampered", exceptions.BadRequest,
                     lambda: self.decrypt(client, changed), wrong)
        self.refused("other context", exceptions.BadRequest,
                     lambda: self.decrypt(client, blob, b"other"), wrong)
        self.refused("no context", exceptions.BadRequest,
                     lambda: self.decrypt(client, blob, b""), wrong)
        self.refused("no ciphertext", exceptions.BadRequest,
                     lambda: self.decrypt(client, b"nothing"), "ciphertext is invalid")
        self.refused("wrong checksum of ciphertext", exceptions.BadRequest,
                     lambda: self.decrypt(client, blob, ciphertext_crc32c=1), "checksum")
        self.refused("wrong checksum of plaintext", exceptions.BadRequest,
                     lambda: self.encrypt(client, plaintext_crc32c=1), "checksum")
        self.refused("wrong checksum of context", exceptions.BadRequest, lambda: self.encrypt(
            client, additional_authenticated_data_crc32c=1), "checksum")
        self.refused("other key", exceptions.NotFound,
                     lambda: self.encrypt(client, name=KEY + "2"), "not found")
        self.fake.handler("deny", act="decrypt")
        self.refused("denied", exceptions.Forbidden, lambda: self.decrypt(client, blob),
                     "useToDecrypt")
        self.fake.handler("restore")
        self.fake.handler("revoke_tokens")
        self.ok("a refused access token is replaced",
                self.decrypt(client, blob).plaintext == b"k" * 32)

    def secrets(self):
        """Secret Manager: its client checks nothing of the payload's checksum itself."""
        name = "projects/good-project/secrets/index/versions/"
        credential = self.credential("service_account").with_scopes(
            ["https://www.googleapis.com/auth/cloud-platform"])
        credential.with_always_use_jwt_access = lambda _: credential

        def access(version="latest", who=credential):
            client = secretmanager.SecretManagerServiceClient(
                credentials=who, transport="rest",
                client_options=ClientOptions(api_endpoint=self.fake.address))
            return client.access_secret_version(name=name + version, retry=None)

        self.refused("no secret", exceptions.NotFound, access, "not found or has no versions")
        self.fake.handler("secret", name="index", data="Zmlyc3Q=")
        self.fake.handler("secret", name="index", data="c2Vjb25k")
        for version, data, number in (("latest", b"second", 2), ("1", b"first", 1)):
            told = access(version)
            self.ok(f"secret, version {version}", told.payload.data == data and
                    told.payload.data_crc32c == google_crc32c.value(data) and
                    told.name.endswith(f"/secrets/index/versions/{number}"))
        self.refused("no version", exceptions.NotFound, lambda: access("3"), "not found")
        self.refused("scope of KMS alone", exceptions.Forbidden,
                     lambda: access(who=self.credential("service_account")), "scopes")
        for state in ("DISABLED", "DESTROYED"):
            self.fake.handler("secret_state", name="index", state=state)
            self.refused(f"secret {state}", exceptions.BadRequest, access, state)
        self.fake.handler("deny", act="access")
        self.refused("access denied", exceptions.Forbidden, access, "secretmanager.versions.access")
        self.fake.handler("restore")

    def states(self):
        client = self.client()
        blob = self.encrypt(client).ciphertext
        version = KEY + "/cryptoKeyVersions/1"
        for state in ("DISABLED", "DESTROY_SCHEDULED", "DESTROYED"):
            self.fake.handler("state", state=state)
            self.refused(state, exceptions.BadRequest,
                         lambda: self.decrypt(client, blob), state)
            self.refused(state, exceptions.BadRequest, lambda: self.encrypt(client), state)
            told = client.get_crypto_key_version(name=version, retry=None)
            self.ok(f"told {state}", told.name == version and told.state.name == state)
            self.ok(f"told when it goes: {state}",
                    (told.destroy_time is not None) == (state == "DESTROY_SCHEDULED"))
            self.fake.handler("restore")
        self.fake.handler("rotate")
        made = self.encrypt(client)
        self.ok("rotated", made.name == KEY + "/cryptoKeyVersions/2")
        self.key(client)
        opened = self.decrypt(client, blob)
        self.ok("the old version opens", opened.plaintext == b"k" * 32 and not opened.used_primary)

    def key(self, client):
        def told():
            return client.get_crypto_key(name=KEY, retry=None)

        self.ok("told the key", told().name == KEY and told().purpose.name == "ENCRYPT_DECRYPT" and
                told().primary.name == KEY + "/cryptoKeyVersions/2" and
                told().primary.protection_level.name == "SOFTWARE" and not told().rotation_period)
        self.fake.handler("members", of="key", members={
            "rotationPeriod": "7776000s", "nextRotationTime": "2027-03-01T00:00:00.123456Z"})
        self.ok("told its rotation", told().rotation_period.days == 90 and
                told().next_rotation_time.year == 2027)
        self.fake.handler("deny", act="get_key")
        self.refused("key not told", exceptions.Forbidden, told, "cloudkms.cryptoKeys.get")


def tls_fake(folder):
    subprocess.run(["bash", str(HERE / "certificates.sh"), str(folder / "tls")], check=True)
    os.environ["REQUESTS_CA_BUNDLE"] = str(folder / "tls/ca.pem")
    return Fake("--cert", str(folder / "tls/server.pem"), "--key", str(folder / "tls/server.key"))


def main(folder, fake):
    trial = Trial(folder, fake)
    trial.credentials()
    trial.wrong_credentials()
    trial.refusals()
    trial.secrets()
    trial.states()
    print(f"{trial.passed} checks of the fake Google by google-cloud-kms "
          f"{kms_v1.gapic_version.__version__}: ok")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        plain = Fake()
        # Read when the client is imported.
        os.environ["GCE_METADATA_HOST"] = plain.address
        import google.auth
        import google.auth.transport.requests
        import google.oauth2.credentials
        import google_crc32c
        from google.api_core import exceptions
        from google.api_core.client_options import ClientOptions
        from google.auth import compute_engine, identity_pool
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import kms_v1, secretmanager
        main(pathlib.Path(name), tls_fake(pathlib.Path(name)))
