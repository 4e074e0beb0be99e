"""Azure Key Vault, Managed HSM, Entra ID and the managed identities for fake_service.py.

    azure.sh run fake_service.py --handler fake_azure:FakeAzure      needs PyJWT and cryptography

Which one answers is told by the Host header and the path, with the port P of the service:

    vectors.vault.here       the vault: resource https://vault.here:P, RSA key `index-keys`, secrets
    vectors.managedhsm.here  the HSM: resource https://managedhsm.here:P, AES key `index-keys`
    any host                 /TENANT/oauth2/v2.0/token (Entra ID), /metadata/identity/oauth2/token
                             (IMDS), /msi/token (App Service)

The application CLIENT_ID has the secret SECRET in the tenant TENANT. The virtual machine has an
identity of its own and the user-assigned one CLIENT_ID; App Service's secret is IDENTITY_HEADER.
Access tokens are JWTs whose signature, issuer, audience and times are checked with PyJWT, as those
of client assertions and federated tokens are.

    {"do": "handler", "what": "save"}              what "restore" goes back to
    {"do": "handler", "what": "restore"}
    {"do": "handler", "what": "deny", "act": A}    get, wrapKey, unwrapKey, encrypt, decrypt,
                                                   getSecret
    {"do": "handler", "what": "secret", "name": N, "value": V, "version": I}  a new version of it
    {"do": "handler", "what": "disable_secret", "name": N}   all its versions
    {"do": "handler", "what": "delete_secret", "name": N}
    {"do": "handler", "what": "rotate"}            a new version of index-keys, in vault and HSM
    {"do": "handler", "what": "disable"}           every version that is there now
    {"do": "handler", "what": "delete_key"}
    {"do": "handler", "what": "make_key"}          of the same name; the old versions are gone
    {"do": "handler", "what": "import", "hex": H}  that AES key as a new version in the HSM
    {"do": "handler", "what": "tenant", "tenant": T}   the vault moves there
    {"do": "handler", "what": "lifetime", "seconds": S}  of access tokens from now on
    {"do": "handler", "what": "revoke_tokens"}     all that were given so far
    {"do": "handler", "what": "add_secret", "file": F}  of the application: what F holds
    {"do": "handler", "what": "forget_secret"}     the application's
    {"do": "handler", "what": "revoke"}            both
    {"do": "handler", "what": "certificate", "file": F}  makes one with its key for CLIENT_ID
    {"do": "handler", "what": "forget_certificates"}
    {"do": "handler", "what": "federate", "file": F, "subject": S, "seconds": N}  writes a
                                                   token of the cluster; SUBJECT is trusted
    {"do": "handler", "what": "attributes", "attributes": {…}}   of what GET of a key answers
    {"do": "handler", "what": "alter", "member": M, "value": V}  of all later answers of keys and
                                                   secrets; null drops it
    {"do": "handler", "what": "encrypt", "count": N}   {"ciphertexts": [of 32 random bytes each, by
                                                   the vault's key]}
    {"do": "handler", "what": "last"}              {"request": the JSON of the key operation that
                                                   came last, "path": its path}
    {"do": "handler", "what": "tokens"}            {"tokens": number of those given}
"""
import base64
import binascii
import copy
import datetime
import json
import os
import re
import time
import urllib.parse
import uuid

import jwt
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CLIENT_ID = "11112222-3333-4444-5555-666677778888"
SYSTEM_ID = "99990000-aaaa-bbbb-cccc-ddddeeeeffff"
SECRET = "good~Secret+/.value"
IDENTITY_HEADER = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"
CLUSTER = "https://oidc.cluster.example/"
SUBJECT = "system:serviceaccount:indexkey:vectors"
FEDERATED_AUDIENCE = "api://AzureADTokenExchange"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY_NAME = "index-keys"
API_VERSIONS = ("7.4", "7.5", "7.6", "2025-07-01", "2026-04-01")
SERVICES = {"vault": "vault.here", "hsm": "managedhsm.here"}
OPERATIONS = {"wrapkey": "wrapKey", "unwrapkey": "unwrapKey",
              "encrypt": "encrypt", "decrypt": "decrypt"}
RSA_OPERATIONS = {"RSA-OAEP-256": tuple(OPERATIONS)}
AES_OPERATIONS = {"A256KW": ("wrapkey", "unwrapkey"), "A256GCM": ("encrypt", "decrypt")}
OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
ASSERTION_MAX_S = 24 * 3600


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    """Base64url without padding, as the service wants it, and nothing else."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise Refused(400, "BadParameter", "Property has invalid value")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Refused(Exception):
    """By Key Vault."""

    def __init__(self, status, code, message, inner=None):
        super().__init__(status, code, message)
        error = {"code": code, "message": message}
        if inner:
            error["innererror"] = {"code": inner}
        self.status = status
        self.headers = {}
        self.body = {"error": error}


class Unauthorized(Refused):
    def __init__(self, authority, tenant, resource, message):
        super().__init__(401, "Unauthorized", message)
        self.headers = {"WWW-Authenticate":
                        f'Bearer authorization="{authority}/{tenant}", resource="{resource}"'}


class Denied(Exception):
    """By Entra ID or a managed identity's endpoint."""

    def __init__(self, status, error, code, text):
        super().__init__(status, error, text)
        self.status = status
        self.headers = {}
        self.body = {"error": error, "error_description": f"AADSTS{code}: {text} Trace ID: 0b0b",
                     "error_codes": [code], "trace_id": "0b0b"}


class Version:
    """Of a key; a deep copy of the state shares its material."""

    def __init__(self, material):
        self.id = uuid.uuid4().hex
        self.material = material
        self.enabled = True

    def __deepcopy__(self, _memo):
        twin = copy.copy(self)
        return twin

    def operations(self):
        return AES_OPERATIONS if isinstance(self.material, bytes) else RSA_OPERATIONS

    def apply(self, operation, body):
        algorithm = body.get("alg")
        if operation not in self.operations().get(algorithm, ()):
            raise Refused(400, "BadParameter",
                          f"Key type and algorithm '{algorithm}' do not fit the operation.")
        value = decode(body.get("value"))
        try:
            return getattr(self, "_" + algorithm.lower().replace("-", "_"))(operation, value, body)
        except (ValueError, InvalidTag, keywrap.InvalidUnwrap):
            raise Refused(400, "BadParameter", "The parameter is incorrect.") from None

    def _rsa_oaep_256(self, operation, value, _body):
        if operation in ("wrapkey", "encrypt"):
            return {"value": encode(self.material.public_key().encrypt(value, OAEP))}
        return {"value": encode(self.material.decrypt(value, OAEP))}

    def _a256kw(self, operation, value, _body):
        if operation == "wrapkey":
            return {"value": encode(keywrap.aes_key_wrap(self.material, value))}
        return {"value": encode(keywrap.aes_key_unwrap(self.material, value))}

    def _a256gcm(self, operation, value, body):
        aad = decode(body["aad"]) if "aad" in body else None
        cipher = AESGCM(self.material)
        if operation == "encrypt":
            if "iv" in body:
                raise Refused(400, "BadParameter", "The HSM makes the iv of A256GCM.")
            iv = os.urandom(12)
            sealed = cipher.encrypt(iv, value, aad)
            answer = {"value": encode(sealed[:-16]), "iv": encode(iv), "tag": encode(sealed[-16:])}
            return answer if aad is None else answer | {"aad": body["aad"]}
        return {"value": encode(cipher.decrypt(decode(body.get("iv")),
                                               value + decode(body.get("tag")), aad))}

    def to_jwk(self, kid):
        if isinstance(self.material, bytes):
            return {"kid": kid, "kty": "oct-HSM", "key_ops": sorted(OPERATIONS.values())}
        numbers = self.material.public_key().public_numbers()
        return {"kid": kid, "kty": "RSA", "key_ops": sorted(OPERATIONS.values()),
                "n": encode(numbers.n.to_bytes(256, "big")), "e": encode(b"\1\0\1")}


class State:
    def __init__(self):
        self.keys = {"vault": {KEY_NAME: [Version(rsa_key())]},
                     "hsm": {KEY_NAME: [Version(os.urandom(32))]}}
        self.vault_secrets = {}  # name in lower case: a list of versions
        self.tenant = TENANT
        self.secrets = {SECRET}
        self.certificates = {}  # x5t#S256 or x5t -> PEM of the public key
        self.denied = set()
        self.attributes = {}  # besides those that every key has
        self.alterations = {}
        self.lifetime = 3600
        self.not_before = 0.0
        self.used_assertions = set()


class FakeAzure:
    def __init__(self, _options):
        self.entra_key = rsa_key()
        self.cluster_key = rsa_key()
        self.state = State()
        self.saved = copy.deepcopy(self.state)
        self.last = {}
        self.token_count = 0

    def handle(self, request):
        headers = {"Content-Type": "application/json; charset=utf-8", "x-ms-request-id": "5f3c-9a"}
        try:
            status, answer = 200, self._answer(request)
        except (Refused, Denied) as refused:
            status, answer = refused.status, refused.body
            headers.update(refused.headers)
        if status == 401 and request.headers["host"].startswith("vectors.managedhsm."):
            return status, headers, b"OK"  # All that Managed HSM says beside its challenge.
        return status, headers, json.dumps(answer).encode()

    @staticmethod
    def throttled():
        body = Refused(429, "Throttled", "Request was not processed because too many requests were "
                       "received. Reason: VaultRequestTypeLimitReached").body
        return 429, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(body).encode()

    def _answer(self, request):
        host = request.headers.get("host", "")
        for kind, domain in SERVICES.items():
            name = host.partition(":")[0]
            if name.endswith("." + domain):
                if name != f"vectors.{domain}":
                    raise Refused(404, "VaultNotFound", "There is no such vault.")
                return self._vault(request, kind, "https://" + host.partition(".")[2])
        if request.path == "/metadata/identity/oauth2/token":
            return self._imds(request)
        if request.path == "/msi/token":
            return self._app_service(request)
        return self._entra(request, "https://" + host)

    # ---- Key Vault ----

    def _resources(self, request):
        """Of all services at this port."""
        _, colon, port = request.headers["host"].partition(":")
        return [f"https://{domain}{colon}{port}" for domain in SERVICES.values()]

    def _authenticate(self, request, resource):
        authority = "https://127.0.0.1:" + request.headers["host"].partition(":")[2]

        def refuse(text):
            return Unauthorized(authority, self.state.tenant, resource, text)

        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            raise refuse("AKV10000: Request is missing a Bearer or PoP token.")
        try:
            claims = jwt.decode(token, self.entra_key.public_key(), algorithms=["RS256"],
                                audience=resource,
                                options={"require": ["exp", "nbf", "iss", "aud", "tid"]})
        except jwt.ExpiredSignatureError:
            raise refuse("AKV10058: Token has expired.") from None
        except jwt.InvalidAudienceError:
            raise refuse("AKV10022: Invalid audience.") from None
        except jwt.InvalidTokenError:
            raise refuse("AKV10045: Error validating token.") from None
        issuer = f"https://sts.windows.net/{self.state.tenant}/"
        if claims["iss"] != issuer:
            raise refuse(f"AKV10032: Invalid issuer. Expected one of {issuer}, "
                         f"found {claims['iss']}.")
        if claims["jti_time"] < self.state.not_before:
            raise refuse("AKV10045: Error validating token.")

    def _vault(self, request, kind, resource):
        self._authenticate(request, resource)
        query = dict(urllib.parse.parse_qsl(request.query))
        if query.get("api-version") not in API_VERSIONS:
            raise Refused(400, "BadParameter", "A valid api-version must be specified.")
        parts = request.path.split("/")
        if parts[1] == "secrets" and kind == "vault":
            return self._get_secret(request, parts)
        if parts[1] != "keys":
            raise Refused(404, "NotFound", "Resource not found")
        if request.method == "GET" and len(parts) == 2:
            return {"value": [], "nextLink": None}
        operation = parts.pop() if parts[-1] in OPERATIONS else None
        if operation is not None and request.method != "POST":
            raise Refused(405, "MethodNotAllowed", "The method is not allowed.")
        name = parts[2]
        version = parts[3] if len(parts) > 3 else ""
        if operation is None:
            return self._get_key(kind, request, name, version)
        return self._operate(kind, request, (name, version), operation)

    def _version_of(self, kind, name, version_id):
        versions = self.state.keys[kind].get(name, [])
        for version in reversed(versions):
            if version_id in ("", version.id):
                return version
        raise Refused(404, "KeyNotFound", f"A key with (name/id) {name}/{version_id} was not found "
                      "in this key vault. If you recently deleted this key you may be able to "
                      "recover it using the correct recovery command.")

    def _kid(self, request, name, version):
        return f"https://{request.headers['host']}/keys/{name}/{version.id}"

    def _permit(self, act, action):
        if act in self.state.denied:
            raise Refused(403, "Forbidden", "Caller is not authorized to perform action on "
                          f"resource. Action: 'Microsoft.KeyVault/vaults/{action}'",
                          "ForbiddenByRbac")

    def _get_key(self, kind, request, name, version_id):
        self._permit("get", "keys/read")
        version = self._version_of(kind, name, version_id)
        answer = {"key": version.to_jwk(self._kid(request, name, version)),
                  "attributes": {"enabled": version.enabled, "created": 1, "updated": 1,
                                 "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90,
                                 **self.state.attributes}}
        answer |= self.state.alterations
        return {member: value for member, value in answer.items() if value is not None}

    def _get_secret(self, request, parts):
        if request.method != "GET" or len(parts) not in (3, 4) or \
                not re.fullmatch(r"[0-9a-zA-Z-]+", parts[2]):
            raise Refused(400, "BadParameter", "The request URI contains an invalid name.")
        self._permit("getSecret", "secrets/getSecret/action")
        wanted = parts[3] if len(parts) == 4 else ""
        versions = self.state.vault_secrets.get(parts[2].lower(), [])
        found = [secret for secret in versions if wanted in ("", secret["version"])]
        if not found:
            raise Refused(404, "SecretNotFound", f"A secret with (name/id) {parts[2]} was not "
                          "found in this key vault. If you recently deleted this secret you may "
                          "be able to recover it using the correct recovery command.")
        secret = found[-1]
        if not secret["enabled"]:
            raise Refused(403, "Forbidden", "Operation get is not allowed on a disabled secret.",
                          "SecretDisabled")
        name = f"secrets/{secret['name']}/{secret['version']}"
        answer = {"value": secret["value"], "id": f"https://{request.headers['host']}/{name}",
                  "attributes": {"enabled": True, "created": 1, "updated": 1,
                                 "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90},
                  "tags": {}}
        answer |= self.state.alterations
        return {member: value for member, value in answer.items() if value is not None}

    def _operate(self, kind, request, key, operation):
        act = OPERATIONS[operation]
        self._permit(act, f"keys/{act}/action")
        version = self._version_of(kind, *key)
        if not version.enabled:
            raise Refused(403, "Forbidden", "Operation is not allowed on a disabled key.",
                          "KeyDisabled")
        try:
            body = json.loads(request.body)
        except ValueError:
            raise Refused(400, "BadParameter", "The request body is no JSON.") from None
        self.last = {"request": body, "path": request.path}
        answer = {"kid": self._kid(request, key[0], version)} | version.apply(operation, body)
        answer |= self.state.alterations
        return {member: value for member, value in answer.items() if value is not None}

    # ---- Entra ID ----

    def _grant(self, resource, tenant, subject):
        self.token_count += 1
        now = time.time()
        claims = {"aud": resource, "iss": f"https://sts.windows.net/{tenant}/", "tid": tenant,
                  "appid": subject, "oid": subject, "iat": int(now), "nbf": int(now) - 300,
                  "exp": int(now) + self.state.lifetime, "jti_time": now}
        return jwt.encode(claims, self.entra_key, algorithm="RS256", headers={"kid": "entra"})

    def _entra(self, request, authority):
        tenant, _, rest = request.path[1:].partition("/")
        if not re.fullmatch(r"[0-9a-f-]{36}", tenant):
            raise Denied(400, "invalid_request", 90002, f"Tenant '{tenant}' not found.")
        if request.method == "GET" and rest == "v2.0/.well-known/openid-configuration":
            base = f"{authority}/{tenant}"
            return {"issuer": f"{base}/v2.0", "token_endpoint": f"{base}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize"}
        if request.method != "POST" or rest != "oauth2/v2.0/token":
            raise Denied(404, "not_found", 900144, "There is nothing here.")
        if tenant != TENANT:
            raise Denied(400, "invalid_request", 90002, f"Tenant '{tenant}' not found.")
        if not request.headers.get("content-type", "").startswith(
                "application/x-www-form-urlencoded"):
            raise Denied(400, "invalid_request", 900144, "The body must be a form.")
        form = dict(urllib.parse.parse_qsl(request.body.decode("ascii"), strict_parsing=True))
        if form.get("grant_type") != "client_credentials":
            raise Denied(400, "unsupported_grant_type", 70003, "This grant is not supported.")
        self._identify(form, f"{authority}/{tenant}/oauth2/v2.0/token")
        scope = form.get("scope", "").split(" ")[0]
        resource = scope.removesuffix("/.default")
        if scope == resource or resource not in self._resources(request):
            raise Denied(400, "invalid_resource", 500011,
                         f"The resource principal named {resource} was not found in the tenant.")
        return {"token_type": "Bearer", "expires_in": self.state.lifetime,
                "ext_expires_in": self.state.lifetime,
                "access_token": self._grant(resource, tenant, form["client_id"])}

    def _identify(self, form, audience):
        if form.get("client_id") != CLIENT_ID:
            raise Denied(400, "unauthorized_client", 700016,
                         f"Application with identifier '{form.get('client_id')}' was not found.")
        if "client_secret" in form:
            if form["client_secret"] not in self.state.secrets:
                raise Denied(401, "invalid_client", 7000215, "Invalid client secret provided.")
            return
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise Denied(401, "invalid_client", 7000218,
                         "The request body must contain client_assertion or client_secret.")
        assertion = form["client_assertion"]
        try:
            header = jwt.get_unverified_header(assertion)
            thumbprint = header.get("x5t#S256", header.get("x5t"))
            if thumbprint is not None:
                self._check_certificate(assertion, thumbprint, audience)
            else:
                self._check_federated(assertion)
        except jwt.ExpiredSignatureError:
            raise Denied(401, "invalid_client", 700024,
                         "Client assertion is not within its valid time range.") from None
        except jwt.InvalidTokenError as error:
            raise Denied(401, "invalid_client", 700027,
                         f"Client assertion failed signature validation. {error!r}") from None

    def _check_certificate(self, assertion, thumbprint, audience):
        pem = self.state.certificates.get(thumbprint.rstrip("="))
        if pem is None:
            raise Denied(401, "invalid_client", 700027,
                         "The certificate with this thumbprint is not registered.")
        claims = jwt.decode(assertion, serialization.load_pem_public_key(pem),
                            algorithms=["PS256", "RS256"], audience=audience, issuer=CLIENT_ID,
                            options={"require": ["exp", "iss", "sub", "aud", "jti"]})
        if claims["sub"] != CLIENT_ID or claims["exp"] - time.time() > ASSERTION_MAX_S:
            raise jwt.InvalidTokenError("sub or exp")
        if claims["jti"] in self.state.used_assertions:
            raise jwt.InvalidTokenError("jti was used before")
        self.state.used_assertions.add(claims["jti"])

    def _check_federated(self, assertion):
        claims = jwt.decode(assertion, self.cluster_key.public_key(), algorithms=["RS256"],
                            audience=FEDERATED_AUDIENCE, issuer=CLUSTER,
                            options={"require": ["exp", "iss", "sub", "aud"]})
        if claims["sub"] != SUBJECT:
            raise Denied(401, "invalid_client", 700213,
                         "No matching federated identity record found for presented assertion "
                         f"subject '{claims['sub']}'.")

    # ---- managed identities ----

    def _managed(self, request, api_version):
        query = dict(urllib.parse.parse_qsl(request.query))
        if request.method != "GET" or query.get("api-version") != api_version:
            raise Denied(400, "invalid_request", 90, "A valid api-version must be specified.")
        resource = query.get("resource", "")
        if resource not in self._resources(request):
            raise Denied(400, "invalid_resource", 500011, f"Resource '{resource}' not found.")
        identity = query.get("client_id", SYSTEM_ID)
        if identity not in (SYSTEM_ID, CLIENT_ID):
            raise Denied(400, "invalid_request", 0, "Identity not found")
        token = self._grant(resource, TENANT, identity)
        return {"access_token": token, "client_id": identity, "resource": resource,
                "token_type": "Bearer", "expires_on": str(int(time.time()) + self.state.lifetime)}

    def _imds(self, request):
        if request.headers.get("metadata") != "true" or "x-forwarded-for" in request.headers:
            raise Denied(400, "invalid_request", 0, "Required metadata header not specified")
        answer = self._managed(request, "2018-02-01")
        return answer | {"expires_in": str(self.state.lifetime), "not_before": "1",
                         "ext_expires_in": str(self.state.lifetime)}

    def _app_service(self, request):
        if request.headers.get("x-identity-header") != IDENTITY_HEADER:
            raise Denied(401, "unauthorized", 0, "The X-IDENTITY-HEADER is wrong.")
        return self._managed(request, "2019-08-01")

    # ---- control ----

    def control(self, command):
        return getattr(self, "control_" + command["what"])(command) or {}

    def control_save(self, _command):
        self.saved = copy.deepcopy(self.state)

    def control_restore(self, _command):
        self.state = copy.deepcopy(self.saved)

    def control_deny(self, command):
        self.state.denied.add(command["act"])

    def _add(self, kind, material):
        self.state.keys[kind].setdefault(KEY_NAME, []).append(Version(material))

    def control_rotate(self, _command):
        self._add("vault", rsa_key())
        self._add("hsm", os.urandom(32))

    def control_import(self, command):
        self._add("hsm", binascii.unhexlify(command["hex"]))

    def control_disable(self, _command):
        for keys in self.state.keys.values():
            for version in keys[KEY_NAME]:
                version.enabled = False

    def control_delete_key(self, _command):
        for keys in self.state.keys.values():
            del keys[KEY_NAME]

    def control_make_key(self, command):
        self.control_delete_key(command)
        self.control_rotate(command)

    def control_secret(self, command):
        versions = self.state.vault_secrets.setdefault(command["name"].lower(), [])
        versions.append({"name": command["name"], "value": command["value"], "enabled": True,
                         "version": command.get("version", uuid.uuid4().hex)})

    def control_disable_secret(self, command):
        for secret in self.state.vault_secrets[command["name"].lower()]:
            secret["enabled"] = False

    def control_delete_secret(self, command):
        del self.state.vault_secrets[command["name"].lower()]

    def control_tenant(self, command):
        self.state.tenant = command["tenant"]

    def control_lifetime(self, command):
        self.state.lifetime = command["seconds"]

    def control_revoke_tokens(self, _command):
        self.state.not_before = time.time()

    def control_add_secret(self, command):
        with open(command["file"], encoding="ascii") as file:
            self.state.secrets.add(file.read())

    def control_forget_secret(self, _command):
        self.state.secrets.clear()

    def control_revoke(self, command):
        self.control_forget_secret(command)
        self.control_revoke_tokens(command)

    def control_certificate(self, command):
        key = rsa_key()
        now = datetime.datetime.now(datetime.timezone.utc)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "indexkey")])
        certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
                       .public_key(key.public_key()).serial_number(1)
                       .not_valid_before(now - datetime.timedelta(days=1))
                       .not_valid_after(now + datetime.timedelta(days=1))
                       .sign(key, hashes.SHA256()))
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                    serialization.NoEncryption())
        descriptor = os.open(command["file"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate.public_bytes(serialization.Encoding.PEM) + private)
        public = key.public_key().public_bytes(serialization.Encoding.PEM,
                                               serialization.PublicFormat.SubjectPublicKeyInfo)
        # azure-identity names it by SHA-1, still.
        for digest in (hashes.SHA256(), hashes.SHA1()):
            self.state.certificates[encode(certificate.fingerprint(digest))] = public

    def control_forget_certificates(self, _command):
        self.state.certificates.clear()

    def control_federate(self, command):
        now = int(time.time())
        token = jwt.encode({"iss": CLUSTER, "aud": FEDERATED_AUDIENCE, "iat": now,
                            "sub": command.get("subject", SUBJECT),
                            "exp": now + command.get("seconds", 3600)},
                           self.cluster_key, algorithm="RS256")
        descriptor = os.open(command["file"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token)

    def control_attributes(self, command):
        self.state.attributes = command["attributes"]

    def control_alter(self, command):
        self.state.alterations[command["member"]] = command["value"]

    def control_encrypt(self, command):
        key = self.state.keys["vault"][KEY_NAME][-1].material.public_key()
        blobs = [key.encrypt(os.urandom(32), OAEP) for _ in range(command["count"])]
        return {"ciphertexts": [base64.b64encode(blob).decode() for blob in blobs]}

    def control_last(self, _command):
        return self.last

    def control_tokens(self, _command):
        return {"tokens": self.token_count}
