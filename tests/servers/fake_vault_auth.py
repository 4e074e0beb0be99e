"""Who may ask the fake Vault: tokens, the auth methods that give them, response wrapping.

It begins with the token `good-token` and, at their default mounts, with the AppRole `role-1` of the
secret id `secret-1`, and the role `index-keys` of kubernetes and jwt for the JWT `good.jwt.text`
and of cert for whoever has a client certificate at all (fake_service.py's --client-ca sees to it).
"""
import secrets
import time

TOKEN = "good-token"
ACTS = ("datakey/plaintext", "encrypt", "decrypt", "lookup-self", "renew-self", "kv", "keys")
ROLE = "index-keys"
ROLE_ID = "role-1"
SECRET_ID = "secret-1"
JWT = "good.jwt.text"
SECRET_ID_PATH = "auth/approle/role/app/secret-id"


class Refused(Exception):
    def __init__(self, status, *errors):
        super().__init__(status, errors)
        self.status = status
        self.errors = errors


class Token:
    def __init__(self, acts, ttl=0, max_ttl=0, renewable=False, uses=0):
        self.acts = acts
        self.ttl = ttl
        self.renewable = renewable
        self.uses = uses  # 0: any number
        now = time.monotonic()
        self.last_s = now + max_ttl if max_ttl else None
        self.end_s = None
        self.extend()

    def extend(self):
        if self.ttl:
            self.end_s = time.monotonic() + self.ttl
            if self.last_s is not None:
                self.end_s = min(self.end_s, self.last_s)

    def left_s(self):
        return 0 if self.end_s is None else max(0, round(self.end_s - time.monotonic()))

    def is_over(self):
        return self.end_s is not None and time.monotonic() >= self.end_s


class Auth:
    def __init__(self):
        self.openbao = False
        self.tokens = {TOKEN: Token(list(ACTS))}
        self.methods = {"approle", "kubernetes", "jwt", "cert"}
        self.secret_ids = {SECRET_ID}
        self.wrapped = {}  # token: (creation_path, secret_id)
        self.login_options = {"ttl": 3600, "renewable": True}
        self.counts = {"logins": 0, "renewals": 0, "unwraps": 0}

    # ---- tokens ----

    def use(self, text):
        """The token of a request, of which each counts as a use."""
        token = self.tokens.get(text)
        if token is None or token.is_over():
            self.tokens.pop(text, None)
            if self.openbao:
                raise Refused(403, "permission denied")
            raise Refused(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
        if token.uses == 1:
            del self.tokens[text]
        token.uses -= 1 if token.uses else 0
        return token

    def permit(self, token, act):
        if act not in token.acts:
            raise Refused(403, "1 error occurred:\n\t* permission denied\n\n")

    def renew(self, text):
        token = self.use(text)
        self.permit(token, "renew-self")
        self.counts["renewals"] += 1
        if not token.renewable:
            raise Refused(400, "lease is not renewable")
        token.extend()
        return self._grant(text, token)

    def _grant(self, text, token):
        return {"auth": {"client_token": text, "accessor": "a", "lease_duration": token.left_s(),
                         "renewable": token.renewable, "mfa_requirement": None}}

    # ---- logins ----

    def log_in(self, method, body):
        if method not in self.methods:
            raise Refused(403, "permission denied")
        self.counts["logins"] += 1
        getattr(self, "_check_" + method)(body)
        text = "hvs." + secrets.token_urlsafe(24)
        self.tokens[text] = Token(list(ACTS), **self.login_options)
        return self._grant(text, self.tokens[text])

    def _check_approle(self, body):
        if not body.get("role_id"):
            raise Refused(400, "missing role_id")
        if not body.get("secret_id"):
            raise Refused(400, "missing secret_id")
        if body["role_id"] != ROLE_ID or body["secret_id"] not in self.secret_ids:
            raise Refused(400, "invalid role or secret ID")

    def _check_kubernetes(self, body):
        if body.get("role") != ROLE:
            raise Refused(400, f'invalid role name "{body.get("role")}"')
        if body.get("jwt") != JWT:
            raise Refused(403, "permission denied")

    def _check_jwt(self, body):
        if body.get("role", ROLE) != ROLE:
            raise Refused(400, f'role "{body["role"]}" could not be found')
        if body.get("jwt") != JWT:
            raise Refused(400, "error validating token: invalid signature")

    def _check_cert(self, body):
        if body.get("name", ROLE) != ROLE:
            raise Refused(400, "failed to match all constraints for this login certificate")

    # ---- response wrapping ----

    def look_up_wrapped(self, token):
        if token not in self.wrapped:
            raise Refused(400, "wrapping token is not valid or does not exist")
        return {"data": {"creation_path": self.wrapped[token][0], "creation_ttl": 60}}

    def unwrap(self, token):
        self.counts["unwraps"] += 1
        if token not in self.wrapped:
            raise Refused(400, "wrapping token is not valid or does not exist")
        return {"data": {"secret_id": self.wrapped.pop(token)[1]}}
