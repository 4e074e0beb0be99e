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
    {"do": "handler", "what": "configure_key", "settings": {…}}   of what GET keys/NAME answers
    {"do": "handler", "what": "drop_namespace"}    team-a
    {"do": "handler", "what": "keys"}              {"keys": [names in the root namespace]}
    {"do": "handler", "what": "encrypt", "contexts": ["", "abc"]}    or "count": N
                                                   {"ciphertexts": [of 32 random bytes each]}
    {"do": "handler", "what": "parameter", "path": P, "fields": {…}}   at secret/P
    {"do": "handler", "what": "no_batches"}        they are too long for it

Who may ask is in fake_vault_auth.py:

    {"do": "handler", "what": "login_options", "options": {"ttl": S, "max_ttl": S,
     "renewable": true, "uses": N}}                of tokens that logins give
    {"do": "handler", "what": "token", "token": T, "acts": [...], "options": {...}}
    {"do": "handler", "what": "revoke_logins"}     all tokens that logins gave
    {"do": "handler", "what": "disable_auth", "method": M}
    {"do": "handler", "what": "drop_secret_id"}
    {"do": "handler", "what": "wrap", "token": T, "path": P}   T wraps the secret id
    {"do": "handler", "what": "auth_counts"}       {"logins", "renewals", "unwraps"}
"""
import base64
import binascii
import copy
import hashlib
import hmac
import json
import os

from fake_vault_auth import SECRET_ID, SECRET_ID_PATH, Auth, Refused, Token

KEY_NAME = "index-keys"
MOUNT = "transit"
NONCE_LEN = 12
TAG_LEN = 16


class Key:
    def __init__(self):
        self.versions = [os.urandom(32)]
        self.min_version = 1
        self.settings = {}

    def describe(self, name):
        return {"name": name, "type": "aes256-gcm96", "latest_version": len(self.versions),
                "min_decryption_version": self.min_version, "min_encryption_version": 0,
                "min_available_version": 0, "deletion_allowed": False, "auto_rotate_period": 0,
                "keys": {str(i + 1): 1795397302 for i in range(len(self.versions))},
                **self.settings}

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
        self.auth = Auth()
        self.takes_batches = True
        self.parameters = {}  # of the kv engine at `secret`: {path: fields}
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
        if "batch_results" in (answer.get("data") or {}):
            failed = any("error" in item for item in answer["data"]["batch_results"])
            status = 400 if failed else 200
        return status, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    @staticmethod
    def throttled():
        """As Vault's rate limit quotas refuse, without Retry-After."""
        body = {"errors": ['request path "transit": rate limit quota exceeded']}
        return 429, {"Content-Type": "application/json"}, json.dumps(body).encode()

    def _answer(self, request):
        if self.state.sealed:
            raise Refused(503, "Vault is sealed")
        auth = self.state.auth
        token = request.headers.get("x-vault-token", "")
        path = request.path.removeprefix("/v1/")
        body = json.loads(request.body) if request.body else {}
        namespace = request.headers.get("x-vault-namespace", "").strip("/")
        if path == "auth/token/renew-self":
            return auth.renew(token)
        if path == "sys/wrapping/lookup":
            return auth.look_up_wrapped(body.get("token"))
        if path == "sys/wrapping/unwrap":
            return auth.unwrap(token)
        if path.startswith("auth/") and path.endswith("/login"):
            if namespace not in self.state.namespaces:
                raise Refused(404, "namespace not found")
            return auth.log_in(path.split("/")[1], body)
        user = auth.use(token)
        if path == "auth/token/lookup-self":
            auth.permit(user, "lookup-self")
            return {"data": {"id": token, "ttl": user.left_s()}}
        if namespace not in self.state.namespaces:
            raise Refused(404, "namespace not found")
        mount, _, rest = path.partition("/")
        if mount == "secret":
            auth.permit(user, "kv")
            return self._read_parameter(rest)
        act, _, name = rest.rpartition("/")
        keys = self.state.namespaces[namespace].get(mount)
        if keys is None:
            raise Refused(404, f'no handler for route "{path}". route entry not found.')
        auth.permit(user, act)
        data = self._act(keys, act, name, body)
        return {"request_id": "0b0b", "lease_id": "", "data": data}

    def _act(self, keys, act, name, body):
        if act == "keys":
            if name not in keys:
                raise Refused(404)
            return keys[name].describe(name)
        if act == "encrypt" and name not in keys:
            keys[name] = Key()  # As Vault does for a token that may create.
        if name not in keys:
            raise Refused(400, "encryption key not found")
        key = keys[name]
        if "batch_input" in body and not self.state.takes_batches:
            raise Refused(413, "http: request body too large")
        if "batch_input" in body:
            return self._batch(key, body["batch_input"])
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

    def _read_parameter(self, rest):
        folder, _, name = rest.partition("/")
        if folder != "data" or name not in self.state.parameters:
            raise Refused(404)
        return {"data": {"data": self.state.parameters[name], "metadata": {"version": 1}}}

    def _batch(self, key, items):
        results = []
        for item in items:
            associated = base64.b64decode(item.get("associated_data", ""), validate=True)
            try:
                plaintext = key.decrypt(item["ciphertext"], associated)
                result = {"plaintext": base64.b64encode(plaintext).decode(), "reference": ""}
            except Refused as refused:
                result = {"plaintext": "", "error": refused.errors[0], "reference": ""}
            results.append(result)
        return {"batch_results": results}

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
        self.state.auth.openbao = True

    def control_revoke(self, command):
        del self.state.auth.tokens[command["token"]]

    def control_allow(self, command):
        self.state.auth.tokens[command["token"]] = Token(command["acts"])

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

    def control_configure_key(self, command):
        self._keys()[KEY_NAME].settings = command["settings"]

    def control_drop_namespace(self, _command):
        del self.state.namespaces["team-a"]

    def control_keys(self, _command):
        return {"keys": sorted(self._keys())}

    def control_login_options(self, command):
        self.state.auth.login_options = command["options"]

    def control_revoke_logins(self, _command):
        tokens = self.state.auth.tokens
        for text in [text for text in tokens if text.startswith("hvs.")]:
            del tokens[text]

    def control_token(self, command):
        self.state.auth.tokens[command["token"]] = Token(command["acts"], **command["options"])

    def control_disable_auth(self, command):
        self.state.auth.methods.discard(command["method"])

    def control_drop_secret_id(self, _command):
        self.state.auth.secret_ids.clear()

    def control_wrap(self, command):
        path = command.get("path", SECRET_ID_PATH)
        self.state.auth.wrapped[command["token"]] = (path, SECRET_ID)

    def control_auth_counts(self, _command):
        return self.state.auth.counts

    def control_no_batches(self, _command):
        self.state.takes_batches = False

    def control_parameter(self, command):
        self.state.parameters[command["path"]] = command["fields"]

    def control_encrypt(self, command):
        """Ciphertexts of what is random, one by its context each; "" is none."""
        key = self._keys()[KEY_NAME]
        contexts = command.get("contexts", [""] * command.get("count", 1))
        return {"ciphertexts": [key.encrypt(os.urandom(32), context.encode())
                                for context in contexts]}
