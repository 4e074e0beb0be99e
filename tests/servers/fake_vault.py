"""Vault's transit engine for fake_service.py, as far as the tests need it, in Vault 1.21's words.

    fake_service.py --handler fake_vault:FakeVault

It begins with the token `good-token`, the mount `transit` and the key `index-keys`, both in the
root namespace and in `team-a`. Its encryption is not one that anybody should use: it only notices
each change of ciphertext, context and key.

    {"do": "handler", "what": "save"}              what "restore" goes back to
    {"do": "handler", "what": "restore"}
    {"do": "handler", "what": "seal"}
    {"do": "handler", "what": "openbao"}           says no more than `permission denied`
    {"do": "handler", "what": "revoke", "token": T}
    {"do": "handler", "what": "allow", "token": T, "acts": ["decrypt", …]}   and nothing else
    {"do": "handler", "what": "unmount"}
    {"do": "handler", "what": "delete_key"}
    {"do": "handler", "what": "make_key"}          of the same name
    {"do": "handler", "what": "rotate"}
    {"do": "handler", "what": "min_version", "version": N}
    {"do": "handler", "what": "drop_namespace"}    team-a
    {"do": "handler", "what": "keys"}              {"keys": [names in the root namespace]}
"""
import base64
import binascii
import copy
import hashlib
import hmac
import json
import os

KEY_NAME = "index-keys"
MOUNT = "transit"
TOKEN = "good-token"
ACTS = ("datakey/plaintext", "encrypt", "decrypt", "lookup-self")
NONCE_LEN = 12
TAG_LEN = 16


class Refused(Exception):
    def __init__(self, status, *errors):
        super().__init__(status, errors)
        self.status = status
        self.errors = errors


class Key:
    def __init__(self):
        self.versions = [os.urandom(32)]
        self.min_version = 1

    def _stream(self, version, nonce, length):
        secret = self.versions[version - 1]
        return hashlib.shake_256(secret + nonce).digest(length)

    def _tag(self, version, nonce, data, associated):
        secret = self.versions[version - 1]
        message = len(associated).to_bytes(8, "big") + associated + nonce + data
        return hmac.new(secret, message, hashlib.sha256).digest()[:TAG_LEN]

    def encrypt(self, plaintext, associated):
        version = len(self.versions)
        nonce = os.urandom(NONCE_LEN)
        stream = self._stream(version, nonce, len(plaintext))
        data = bytes(a ^ b for a, b in zip(plaintext, stream))
        sealed = nonce + data + self._tag(version, nonce, data, associated)
        return f"vault:v{version}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, text, associated):
        version, sealed = self._parse(text)
        nonce, data, tag = sealed[:NONCE_LEN], sealed[NONCE_LEN:-TAG_LEN], sealed[-TAG_LEN:]
        if not hmac.compare_digest(tag, self._tag(version, nonce, data, associated)):
            raise Refused(400, "cipher: message authentication failed")
        stream = self._stream(version, nonce, len(data))
        return bytes(a ^ b for a, b in zip(data, stream))

    def _parse(self, text):
        if not text.startswith("vault:v"):
            raise Refused(400, "invalid ciphertext: no prefix")
        number, _, coded = text[len("vault:v"):].partition(":")
        if not number.isdigit():
            raise Refused(400, "invalid ciphertext: version number could not be decoded")
        version = int(number)
        if version > len(self.versions):
            raise Refused(400, "invalid ciphertext: version is too new")
        if version < self.min_version:
            raise Refused(400, "ciphertext or signature version is disallowed by policy (too old)")
        try:
            sealed = base64.b64decode(coded, validate=True)
        except binascii.Error:
            raise Refused(400, "invalid ciphertext: could not decode base64") from None
        if len(sealed) < NONCE_LEN + TAG_LEN:
            raise Refused(400, "invalid ciphertext length")
        return version, sealed


class State:
    def __init__(self):
        self.sealed = False
        self.openbao = False
        self.tokens = {TOKEN: list(ACTS)}
        self.namespaces = {name: {MOUNT: {KEY_NAME: Key()}} for name in ("", "team-a")}


class FakeVault:
    def __init__(self, _options):
        self.state = State()
        self.saved = copy.deepcopy(self.state)

    def handle(self, request):
        try:
            status, answer = 200, self._answer(request)
        except Refused as refused:
            status, answer = refused.status, {"errors": list(refused.errors)}
        return status, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    def _answer(self, request):
        if self.state.sealed:
            raise Refused(503, "Vault is sealed")
        acts = self._acts_of(request.headers.get("x-vault-token", ""))
        path = request.path.removeprefix("/v1/")
        if path == "auth/token/lookup-self":
            self._permit(acts, "lookup-self")
            return {"data": {"id": request.headers["x-vault-token"], "ttl": 3600}}
        namespace = request.headers.get("x-vault-namespace", "").strip("/")
        if namespace not in self.state.namespaces:
            raise Refused(404, "namespace not found")
        mount, _, rest = path.partition("/")
        act, _, name = rest.rpartition("/")
        keys = self.state.namespaces[namespace].get(mount)
        if keys is None:
            raise Refused(404, f'no handler for route "{path}". route entry not found.')
        self._permit(acts, act)
        data = self._act(keys, act, name, json.loads(request.body))
        return {"request_id": "0b0b", "lease_id": "", "data": data}

    def _acts_of(self, token):
        if token in self.state.tokens:
            return self.state.tokens[token]
        if self.state.openbao:
            raise Refused(403, "permission denied")
        raise Refused(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")

    def _permit(self, acts, act):
        if act not in acts:
            raise Refused(403, "1 error occurred:\n\t* permission denied\n\n")

    def _act(self, keys, act, name, body):
        if act == "encrypt" and name not in keys:
            keys[name] = Key()  # As Vault does for a token that may create.
        if name not in keys:
            raise Refused(400, "encryption key not found")
        key = keys[name]
        associated = base64.b64decode(body.get("associated_data", ""), validate=True)
        if act == "decrypt":
            plaintext = key.decrypt(body["ciphertext"], associated)
            return {"plaintext": base64.b64encode(plaintext).decode()}
        if act == "encrypt":
            return {"ciphertext": key.encrypt(base64.b64decode(body["plaintext"]), associated),
                    "key_version": len(key.versions)}
        # transit/datakey knows no associated data, and says nothing when there is some.
        plaintext = os.urandom(body["bits"] // 8)
        return {"ciphertext": key.encrypt(plaintext, b""), "key_version": len(key.versions),
                "plaintext": base64.b64encode(plaintext).decode()}

    def control(self, command):
        return getattr(self, "control_" + command["what"])(command) or {}

    def _keys(self):
        return self.state.namespaces[""][MOUNT]

    def control_save(self, _command):
        self.saved = copy.deepcopy(self.state)

    def control_restore(self, _command):
        self.state = copy.deepcopy(self.saved)

    def control_seal(self, _command):
        self.state.sealed = True

    def control_openbao(self, _command):
        self.state.openbao = True

    def control_revoke(self, command):
        del self.state.tokens[command["token"]]

    def control_allow(self, command):
        self.state.tokens[command["token"]] = command["acts"]

    def control_unmount(self, _command):
        del self.state.namespaces[""][MOUNT]

    def control_delete_key(self, _command):
        del self._keys()[KEY_NAME]

    def control_make_key(self, _command):
        self._keys()[KEY_NAME] = Key()

    def control_rotate(self, _command):
        self._keys()[KEY_NAME].versions.append(os.urandom(32))

    def control_min_version(self, command):
        self._keys()[KEY_NAME].min_version = command["version"]

    def control_drop_namespace(self, _command):
        del self.state.namespaces["team-a"]

    def control_keys(self, _command):
        return {"keys": sorted(self._keys())}
