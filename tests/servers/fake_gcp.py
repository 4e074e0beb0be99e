"""Google Cloud KMS, Secret Manager, Google's token endpoints and a machine's metadata server for
fake_service.py.

    gcp.sh run fake_service.py --handler fake_gcp:FakeGcp        needs PyJWT, google-crc32c

    /v1/projects/…/locations/…     KMS: encrypt and decrypt of the key KEY, its versions' states
    /v1/projects/P/secrets/…       Secret Manager: access to the versions of secrets of PROJECT
    /token                         OAuth 2.0: signed JWTs of ACCOUNT, refresh tokens of a user
    /v1/token                      the Security Token Service, for subject tokens of PROVIDER
    …/serviceAccounts/ACCOUNT:generateAccessToken
    /subject                       gives subject tokens to who sends "X-Subject: wanted"
    /computeMetadata/v1/…          the metadata server, which insists on its header

Access tokens are checked by each process of this fake, whichever gave them: a plain one is the
metadata server of one with TLS. A user's calls must name the quota project QUOTA_PROJECT. JWTs are
checked with PyJWT, checksums with google-crc32c; encryption is AES-256-GCM under associated data.
Members that the real service does not know are refused, as it does.

    {"do": "handler", "what": "save"}              what "restore" goes back to
    {"do": "handler", "what": "restore"}
    {"do": "handler", "what": "clock", "ahead": S}
    {"do": "handler", "what": "state", "state": S} of version 1: ENABLED, DISABLED,
                                                   DESTROY_SCHEDULED, DESTROYED …
    {"do": "handler", "what": "taciturn"}          refusals do not tell the state of the version
    {"do": "handler", "what": "members", "of": "key", "members": {…}}   of what GET of the key
                                                   answers, or of its versions ("version")
    {"do": "handler", "what": "deny", "act": A}    encrypt, decrypt, get (a version), get_key,
                                                   access, impersonate
    {"do": "handler", "what": "secret", "name": N, "data": base64}  a new version of it
    {"do": "handler", "what": "secret_state", "name": N, "state": S}  of all its versions: ENABLED,
                                                   DISABLED, DESTROYED; null: it is deleted
    {"do": "handler", "what": "delete_key"}
    {"do": "handler", "what": "rotate"}            a new primary version
    {"do": "handler", "what": "corrupt", "member": M}  changes it on its way here, without its
                                                   checksum: plaintext, ciphertext, …
    {"do": "handler", "what": "alter", "member": M, "value": V}  of all later replies of KMS, and of
                                                   Secret Manager's payload (its name is
                                                   "secret"); null drops it
    {"do": "handler", "what": "lifetime", "seconds": S}  of access tokens from now on
    {"do": "handler", "what": "revoke_tokens"}     all that were given so far
    {"do": "handler", "what": "forget", "which": W}  key (the service account's), account, user,
                                                   provider, machine
    {"do": "handler", "what": "credentials", "type": T, "url": BASE, "file": F, …}  writes such a
        credentials file: service_account, authorized_user, external_account with "subject": a file
        to be written, or "url", and "impersonates"; members of "alter" replace the file's
    {"do": "handler", "what": "token"}             {"token": T}, of ACCOUNT
    {"do": "handler", "what": "tokens"}            {"tokens": number given}
    {"do": "handler", "what": "encrypt", "count": N}   {"ciphertexts": [of 32 random bytes each]}
    {"do": "handler", "what": "last"}              {"request": the JSON of the KMS request that came
                                                   last, "path": its path, "headers": …}
"""
import base64
import binascii
import copy
import datetime
import hashlib
import hmac
import json
import os
import re
import struct
import time
import urllib.parse

import google_crc32c
import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fake_gcp_errors import Refused, Unauthorised
from fake_gcp_secrets import PROJECT, SecretManager

KEY = f"projects/{PROJECT}/locations/europe-west3/keyRings/ring/cryptoKeys/index-keys"
ACCOUNT = "indexkey@good-project.iam.gserviceaccount.com"
USER = "user@example.com"
CLIENT_ID = "764086051850-good.apps.googleusercontent.com"
CLIENT_SECRET = "good-client-secret"
REFRESH_TOKEN = "1//good-refresh/token"
QUOTA_PROJECT = "quota-project"
POOL = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/pool"
PROVIDER = POOL + "/providers/cluster"
ISSUER = "https://oidc.cluster.example/"
SUBJECT = "system:serviceaccount:indexkey:vectors"
SUBJECT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TYPE = "urn:ietf:params:oauth:token-type:access_token"
# Of a signed JWT, wherever the token endpoint is.
AUDIENCE = "https://oauth2.googleapis.com/token"
SCOPE_KMS = "https://www.googleapis.com/auth/cloudkms"
SCOPE_IAM = "https://www.googleapis.com/auth/iam"
SCOPE_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
SIGNING_KEY = b"what all processes of this fake sign their access tokens with"
JWT_LIFETIME_MAX = 3600
JWT_SKEW_MAX = 300
PREFIX = b"\x0a\x24\x00"
ENCRYPT_FIELDS = {"plaintext", "additionalAuthenticatedData", "plaintextCrc32c",
                  "additionalAuthenticatedDataCrc32c"}
DECRYPT_FIELDS = {"ciphertext", "additionalAuthenticatedData", "ciphertextCrc32c",
                  "additionalAuthenticatedDataCrc32c"}


def new_pem():
    return rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()).decode()


def public_of(pem):
    return serialization.load_pem_private_key(pem.encode(), None).public_key()


class Version:
    def __init__(self, number):
        self.number = number
        self.state = "ENABLED"
        self.material = os.urandom(32)

    @property
    def name(self):
        return f"{KEY}/cryptoKeyVersions/{self.number}"

    def require_enabled(self, taciturn):
        if self.state == "ENABLED":
            return
        if taciturn:
            raise Refused("FAILED_PRECONDITION", "The request cannot be fulfilled.")
        if self.state == "DISABLED":
            raise Refused("FAILED_PRECONDITION",
                          f"{self.name} is not enabled, current state is: {self.state}.")
        raise Refused("FAILED_PRECONDITION",
                      f"The request cannot be fulfilled. Resource {self.name} has value "
                      f"{self.state} in field crypto_key_version.state.")

    def encrypt(self, plaintext, aad):
        nonce = os.urandom(12)
        sealed = AESGCM(self.material).encrypt(nonce, plaintext, aad)
        return PREFIX + struct.pack(">I", self.number) + nonce + sealed

    def decrypt(self, blob, aad):
        try:
            return AESGCM(self.material).decrypt(blob[7:19], blob[19:], aad)
        except (InvalidTag, ValueError):
            raise wrong_key() from None


def wrong_key():
    return Refused("INVALID_ARGUMENT",
                   "Decryption failed: verify that 'name' refers to the correct CryptoKey.")


class State:
    def __init__(self):
        self.versions = {1: Version(1)}
        self.exists = True
        self.secrets = {}
        self.members = {"key": {}, "version": {}}
        self.denied = set()
        self.alterations = {}
        self.corrupted = None
        self.taciturn = False
        self.ahead = 0
        self.lifetime = 3599
        self.not_before = 0.0
        self.known = {"key", "account", "user", "provider", "machine"}


class FakeGcp(SecretManager):
    def __init__(self, _options):
        self.account_pem = new_pem()
        self.cluster_pem = new_pem()
        self.key_id = hashlib.sha256(self.account_pem.encode()).hexdigest()[:40]
        self.state = State()
        self.saved = copy.deepcopy(self.state)
        self.last = {}
        self.given = 0

    def now(self):
        return time.time() + self.state.ahead

    # ---- access tokens ----

    def give(self, subject, scopes, lifetime=None):
        self.given += 1
        lifetime = self.state.lifetime if lifetime is None else lifetime
        body = {"sub": subject, "scopes": scopes, "iat": self.now(),
                "exp": self.now() + lifetime, "n": self.given}
        text = base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")
        mac = hmac.new(SIGNING_KEY, text.encode(), hashlib.sha256).hexdigest()
        return f"ya29.{text}.{mac}"

    def grant(self, subject, scopes):
        return {"access_token": self.give(subject, scopes), "expires_in": self.state.lifetime,
                "token_type": "Bearer"}

    def caller_of(self, request):
        """Whose access token this is, and its scopes."""
        refused = Refused("UNAUTHENTICATED", "Request had invalid authentication credentials. "
                          "Expected OAuth 2 access token, login cookie or other valid "
                          "authentication credential.", "ACCESS_TOKEN_TYPE_UNSUPPORTED")
        found = re.fullmatch(r"Bearer ya29\.([\w-]+)\.([0-9a-f]{64})",
                             request.headers.get("authorization", ""))
        if found is None:
            raise refused
        mac = hmac.new(SIGNING_KEY, found[1].encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mac, found[2]):
            raise refused
        body = json.loads(base64.urlsafe_b64decode(found[1] + "=" * (-len(found[1]) % 4)))
        if body["exp"] <= self.now() or body["iat"] <= self.state.not_before:
            raise refused
        return body["sub"], body["scopes"]

    # ---- token endpoints ----

    def read_jwt(self, text, pem, audience):
        """Checked by PyJWT, but for its times: they are by our clock."""
        claims = jwt.decode(text, public_of(pem), algorithms=["RS256"], audience=audience,
                            options={"require": ["iss", "aud", "exp", "iat"], "verify_exp": False,
                                     "verify_iat": False})
        if abs(claims["iat"] - self.now()) > JWT_SKEW_MAX or claims["exp"] <= self.now() or \
                claims["exp"] - claims["iat"] > JWT_LIFETIME_MAX:
            raise Unauthorised("invalid_grant", "Invalid JWT: Token must be a short-lived token "
                               "(60 minutes) and in a reasonable timeframe. Check your iat and "
                               "exp values in the JWT claim.")
        return claims

    def by_account(self, form):
        signature = Unauthorised("invalid_grant", "Invalid JWT Signature.")
        try:
            header = jwt.get_unverified_header(form["assertion"])
            if header.get("kid") != self.key_id or header.get("typ") != "JWT" or \
                    "key" not in self.state.known:
                raise signature
            claims = self.read_jwt(form["assertion"], self.account_pem, AUDIENCE)
        except jwt.PyJWTError as error:
            raise signature from error
        if claims["iss"] != ACCOUNT or "account" not in self.state.known:
            raise Unauthorised("invalid_grant", "Invalid grant: account not found")
        scopes = claims.get("scope", "").split()
        if not scopes:
            raise Unauthorised("invalid_scope", "Invalid OAuth scope or ID token audience.")
        return self.grant(ACCOUNT, scopes)

    def by_user(self, form):
        if form["client_id"] != CLIENT_ID:
            raise Unauthorised("invalid_client", "The OAuth client was not found.", 401)
        if form["client_secret"] != CLIENT_SECRET:
            raise Unauthorised("invalid_client", "Unauthorized", 401)
        if form["refresh_token"] != REFRESH_TOKEN or "user" not in self.state.known:
            raise Unauthorised("invalid_grant", "Token has been expired or revoked.")
        return self.grant(USER, [SCOPE_PLATFORM])

    def by_subject(self, form):
        wanted = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                  "requested_token_type": ACCESS_TYPE, "subject_token_type": SUBJECT_TYPE}
        for name, value in wanted.items():
            if form[name] != value:
                raise Unauthorised("invalid_request", f"Invalid {name}.")
        if form["audience"] != PROVIDER or "provider" not in self.state.known:
            raise Unauthorised("invalid_target", "The target service indicated by the \"audience\" "
                               "parameters is invalid.")
        try:
            claims = self.read_jwt(form["subject_token"], self.cluster_pem, "https:" + PROVIDER)
        except jwt.PyJWTError as error:
            raise Unauthorised("invalid_grant", f"The ID Token is refused: {error}") from None
        if claims["iss"] != ISSUER or claims["sub"] != SUBJECT:
            raise Unauthorised("invalid_grant", "The issuer in ID Token does not match.")
        answer = self.grant("principal:" + SUBJECT, form["scope"].split())
        answer["issued_token_type"] = ACCESS_TYPE
        return answer

    def token_endpoint(self, request):
        if request.headers.get("content-type") != "application/x-www-form-urlencoded":
            raise Unauthorised("invalid_request", "Bad Request")
        form = dict(urllib.parse.parse_qsl(request.body.decode("ascii"), strict_parsing=True))
        try:
            if request.path == "/v1/token":
                return self.by_subject(form)
            kind = form["grant_type"]
            if kind == "refresh_token":
                return self.by_user(form)
            if kind == "urn:ietf:params:oauth:grant-type:jwt-bearer":
                return self.by_account(form)
            raise Unauthorised("unsupported_grant_type", f"Invalid grant_type: {kind}")
        except KeyError as error:
            raise Unauthorised("invalid_request", f"Missing required parameter: {error}") from None

    def subject_token(self):
        now = int(self.now())
        return jwt.encode({"iss": ISSUER, "sub": SUBJECT, "aud": "https:" + PROVIDER, "iat": now,
                           "exp": now + 600}, self.cluster_pem, algorithm="RS256")

    def subject(self, request):
        if request.headers.get("x-subject") != "wanted":
            return 401, {}, b""
        return 200, {}, json.dumps({"id": {}, "value": self.subject_token()}).encode()

    def impersonate(self, request):
        subject, scopes = self.caller_of(request)
        if subject != "principal:" + SUBJECT or "impersonate" in self.state.denied or \
                request.path != f"/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken":
            raise Refused("PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' "
                          "denied on resource (or it may not exist).", "IAM_PERMISSION_DENIED")
        if not {SCOPE_IAM, SCOPE_PLATFORM} & set(scopes):
            raise Refused("PERMISSION_DENIED", "Request had insufficient authentication scopes.",
                          "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
        body = self.read_json(request, {"scope", "lifetime", "delegates"})
        seconds = min(self.state.lifetime, 3600)
        end = datetime.datetime.fromtimestamp(int(self.now()) + seconds, datetime.timezone.utc)
        return {"accessToken": self.give(ACCOUNT, body["scope"], seconds),
                "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")}

    # ---- the metadata server ----

    def metadata(self, request):
        headers = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}
        if request.headers.get("metadata-flavor") != "Google" or \
                "x-forwarded-for" in request.headers:
            return 403, headers, b"Missing required header"
        path = request.path.removeprefix("/computeMetadata/v1/")
        account = "instance/service-accounts/default/"
        if "machine" not in self.state.known or not path.startswith(account):
            return 404, headers, b"not found"
        headers["Content-Type"] = "application/json"
        if path == account + "token":
            return 200, headers, json.dumps(self.grant(ACCOUNT, [SCOPE_PLATFORM])).encode()
        return 200, headers, json.dumps({"email": ACCOUNT, "aliases": ["default"],
                                         "scopes": [SCOPE_PLATFORM]}).encode()

    # ---- KMS ----

    @staticmethod
    def read_json(request, fields):
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise Refused("INVALID_ARGUMENT", "Invalid JSON payload received.")
        try:
            body = json.loads(request.body)
        except ValueError:
            raise Refused("INVALID_ARGUMENT", "Invalid JSON payload received.") from None
        for name in body:
            if name not in fields:
                raise Refused("INVALID_ARGUMENT",
                              f'Invalid JSON payload received. Unknown name "{name}"')
        return body

    def authorise(self, request, act, permission, resource=KEY, narrow=(SCOPE_KMS,)):
        """`narrow`: scopes of the service alone."""
        subject, scopes = self.caller_of(request)
        if not {SCOPE_PLATFORM, *narrow} & set(scopes):
            raise Refused("PERMISSION_DENIED", "Request had insufficient authentication scopes.",
                          "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
        if subject == USER and request.headers.get("x-goog-user-project") != QUOTA_PROJECT:
            raise Refused("PERMISSION_DENIED", "Caller does not have required permission to use "
                          "project.", "USER_PROJECT_DENIED")
        if act in self.state.denied:
            raise Refused("PERMISSION_DENIED", f"Permission '{permission}' denied on resource "
                          f"'{resource}' (or it may not exist).", "IAM_PERMISSION_DENIED")

    def bytes_of(self, body, name):
        """A member, checked against its checksum where there is one."""
        try:
            data = base64.b64decode(body.get(name, ""), validate=True)
        except (binascii.Error, TypeError):
            raise Refused("INVALID_ARGUMENT", f"Invalid value at '{name}' (TYPE_BYTES)") from None
        if self.state.corrupted == name:
            data = bytes([data[0] ^ 1]) + data[1:]
        crc = body.get(name + "Crc32c")
        if crc is not None and int(crc) != google_crc32c.value(data):
            raise Refused("INVALID_ARGUMENT", f"The checksum in field {name}_crc32c did not match "
                          f"the data in field {name}.")
        return data, crc is not None

    def encrypt(self, body):
        version = self.state.versions[max(self.state.versions)]
        plaintext, has_crc = self.bytes_of(body, "plaintext")
        aad, aad_has_crc = self.bytes_of(body, "additionalAuthenticatedData")
        if not 0 < len(plaintext) <= 65536 or len(aad) > 65536:
            raise Refused("INVALID_ARGUMENT", "The plaintext must be 1 to 65536 bytes.")
        version.require_enabled(self.state.taciturn)
        blob = version.encrypt(plaintext, aad)
        return {"name": version.name, "ciphertext": base64.b64encode(blob).decode(),
                "ciphertextCrc32c": str(google_crc32c.value(blob)),
                "verifiedPlaintextCrc32c": has_crc or None,
                "verifiedAdditionalAuthenticatedDataCrc32c": aad_has_crc or None,
                "protectionLevel": "SOFTWARE"}

    def decrypt(self, body):
        blob, _ = self.bytes_of(body, "ciphertext")
        aad, _ = self.bytes_of(body, "additionalAuthenticatedData")
        if not blob.startswith(PREFIX) or len(blob) < 19 + 16:
            raise Refused("INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid.")
        version = self.state.versions.get(struct.unpack(">I", blob[3:7])[0])
        if version is None:
            raise wrong_key()
        version.require_enabled(self.state.taciturn)
        plaintext = version.decrypt(blob, aad)
        return {"plaintext": base64.b64encode(plaintext).decode(),
                "plaintextCrc32c": str(google_crc32c.value(plaintext)),
                "usedPrimary": version.number == max(self.state.versions) or None,
                "protectionLevel": "SOFTWARE"}

    def version_of(self, name):
        number = name.removeprefix(KEY + "/cryptoKeyVersions/")
        if not name.startswith(KEY + "/") or int(number) not in self.state.versions:
            raise Refused("NOT_FOUND", f"CryptoKeyVersion {name} not found.")
        return self.describe(self.state.versions[int(number)])

    def describe(self, version):
        answer = {"name": version.name, "state": version.state, "protectionLevel": "SOFTWARE",
                  "algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION",
                  "createTime": "2026-01-02T03:04:05.678901234Z",
                  "generateTime": "2026-01-02T03:04:05.678901234Z"}
        if version.state == "DESTROY_SCHEDULED":
            answer["destroyTime"] = "2027-03-01T00:00:00.5Z"
        return answer | self.state.members["version"]

    def describe_key(self):
        if not self.state.exists:
            raise Refused("NOT_FOUND", f"CryptoKey {KEY} not found.")
        primary = self.state.versions[max(self.state.versions)]
        return {"name": KEY, "primary": self.describe(primary),
                "purpose": "ENCRYPT_DECRYPT", "createTime": "2026-01-02T03:04:05.678901234Z",
                "versionTemplate": {"protectionLevel": "SOFTWARE",
                                    "algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION"},
                "destroyScheduledDuration": "2592000s"} | self.state.members["key"]

    def kms(self, request):
        name, _, act = request.path.removeprefix("/v1/").partition(":")
        self.last = {"path": request.path, "headers": request.headers, "request": None}
        if request.method == "GET" and name == KEY:
            self.authorise(request, "get_key", "cloudkms.cryptoKeys.get")
            return self.describe_key()
        if request.method == "GET":
            self.authorise(request, "get", "cloudkms.cryptoKeyVersions.get")
            return self.version_of(name)
        if act not in ("encrypt", "decrypt"):
            raise Refused("NOT_FOUND", "Not found")
        self.authorise(request, act, f"cloudkms.cryptoKeyVersions.useTo{act.capitalize()}")
        if name != KEY or not self.state.exists:
            raise Refused("NOT_FOUND", f"CryptoKey {name} not found.")
        fields = ENCRYPT_FIELDS if act == "encrypt" else DECRYPT_FIELDS
        body = self.last["request"] = self.read_json(request, fields)
        answer = self.encrypt(body) if act == "encrypt" else self.decrypt(body)
        answer.update(self.state.alterations)
        return {name: value for name, value in answer.items() if value is not None}

    # ---- all ----

    def answer_of(self, request):
        if request.path in ("/token", "/v1/token"):
            return self.token_endpoint(request)
        if request.path.endswith(":generateAccessToken"):
            return self.impersonate(request)
        if "/secrets/" in request.path:
            return self.secret_manager(request)
        return self.kms(request)

    def handle(self, request):
        if request.path == "/" or request.path.startswith("/computeMetadata/"):
            return self.metadata(request)
        if request.path == "/subject":
            return self.subject(request)
        headers = {"Content-Type": "application/json; charset=UTF-8", "X-Request-Id": "5f3c-9a"}
        try:
            code, body = 200, self.answer_of(request)
        except (Refused, Unauthorised) as refused:
            code, body = refused.code, refused.body
        return code, headers, json.dumps(body).encode()

    @staticmethod
    def throttled():
        refused = Refused("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Cryptographic "
                          "requests' and limit 'Cryptographic requests per minute'.",
                          "RATE_LIMIT_EXCEEDED")
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        return refused.code, headers, json.dumps(refused.body).encode()

    # ---- control ----

    def control(self, command):
        return getattr(self, "control_" + command["what"])(command) or {}

    def control_save(self, _command):
        self.saved = copy.deepcopy(self.state)

    def control_restore(self, _command):
        self.state = copy.deepcopy(self.saved)

    def control_clock(self, command):
        self.state.ahead = command["ahead"]

    def control_state(self, command):
        self.state.versions[1].state = command["state"]

    def control_members(self, command):
        self.state.members[command["of"]] = command["members"]

    def control_taciturn(self, _command):
        self.state.taciturn = True

    def control_deny(self, command):
        self.state.denied.add(command["act"])

    def control_delete_key(self, _command):
        self.state.exists = False

    def control_rotate(self, _command):
        number = max(self.state.versions) + 1
        self.state.versions[number] = Version(number)

    def control_corrupt(self, command):
        self.state.corrupted = command["member"]

    def control_alter(self, command):
        self.state.alterations[command["member"]] = command["value"]

    def control_lifetime(self, command):
        self.state.lifetime = command["seconds"]

    def control_revoke_tokens(self, _command):
        self.state.not_before = self.now()

    def control_forget(self, command):
        self.state.known.remove(command["which"])

    def control_token(self, _command):
        return {"token": self.give(ACCOUNT, [SCOPE_KMS])}

    def control_tokens(self, _command):
        return {"tokens": self.given}

    def control_encrypt(self, command):
        version = self.state.versions[max(self.state.versions)]
        blobs = [version.encrypt(os.urandom(32), b"") for _ in range(command["count"])]
        return {"ciphertexts": [base64.b64encode(blob).decode() for blob in blobs]}

    def control_last(self, _command):
        return self.last

    def control_credentials(self, command):
        base = command["url"]
        members = getattr(self, "make_" + command["type"])(base, command)
        members.update(command.get("alter", {}))
        members = {name: value for name, value in members.items() if value is not None}
        write(command["file"], json.dumps(members, indent=2))

    def make_service_account(self, base, _command):
        return {"type": "service_account", "project_id": "good-project",
                "private_key_id": self.key_id, "private_key": self.account_pem,
                "client_email": ACCOUNT, "client_id": "1122", "token_uri": base + "/token",
                "universe_domain": "googleapis.com"}

    @staticmethod
    def make_authorized_user(base, _command):
        return {"account": "", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
                "quota_project_id": QUOTA_PROJECT, "refresh_token": REFRESH_TOKEN,
                "token_uri": base + "/token", "type": "authorized_user",
                "universe_domain": "googleapis.com"}

    def make_external_account(self, base, command):
        if command["subject"] == "url":
            source = {"url": base + "/subject", "headers": {"X-Subject": "wanted"},
                      "format": {"type": "json", "subject_token_field_name": "value"}}
        else:
            write(command["subject"], self.subject_token())
            source = {"file": command["subject"], "format": {"type": "text"}}
        members = {"type": "external_account", "audience": PROVIDER,
                   "subject_token_type": SUBJECT_TYPE, "token_url": base + "/v1/token",
                   "credential_source": source, "universe_domain": "googleapis.com"}
        if command.get("impersonates"):
            members["service_account_impersonation_url"] = (
                f"{base}/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken")
        return members


def write(path, text):
    with open(path, "w", encoding="ascii", opener=lambda name, flags:
              os.open(name, flags, 0o600)) as file:
        file.write(text)
