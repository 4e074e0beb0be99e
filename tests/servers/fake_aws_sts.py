"""AWS KMS with what gives temporary credentials: STS, a container's service, an instance's.

    fake_service.py --handler fake_aws_sts:FakeAwsSts

Beside fake_aws.py's: the roles ROLE (wants the external id EXTERNAL_ID) and ROLE_NEXT, both
assumed by any credentials and by the web identity WEB_TOKEN (without an external id); GET
/container with the Authorization CONTAINER_TOKEN; IMDSv2 at /latest, with the role `instance-role`.
Each gives credentials of `lifetime` seconds that no longer serve when those are over. It refuses
parameters that STS does not know, version 1 of the metadata service, and sessions that it did not
begin.

    {"do": "handler", "what": "lifetime", "seconds": S}   of what is given from now on; 900
    {"do": "handler", "what": "trust", "arn": A}          null: no role trusts anybody
    {"do": "handler", "what": "given"}                    {"given": N} sets of credentials
    {"do": "handler", "what": "forget"}                   all that were given
    {"do": "handler", "what": "spoil", "member": M, "value": V}  of what is given; null drops it
    {"do": "handler", "what": "multi"}                    Decrypt is by a multi-Region key, in any
                                                          Region, and opens every ciphertext
    {"do": "handler", "what": "assumed"}                  {"roles": the requests to STS}
"""
import base64
import json
import time
import urllib.parse

from fake_aws import REGION, FakeAws, Refused

ROLE = "arn:aws:iam::111122223333:role/index-keys"
ROLE_NEXT = "arn:aws:iam::444455556666:role/next"
EXTERNAL_ID = "external-17"
WEB_TOKEN = "web.identity.token"
CONTAINER_TOKEN = "container-token"
INSTANCE_ROLE = "instance-role"
CREDENTIALS = "/latest/meta-data/iam/security-credentials/"
PARAMETERS = {"Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds", "ExternalId",
              "WebIdentityToken"}
XML_CODES = {"UnrecognizedClientException": "InvalidClientTokenId",
             "InvalidSignatureException": "SignatureDoesNotMatch",
             "ExpiredTokenException": "ExpiredToken",
             "MissingAuthenticationTokenException": "MissingAuthenticationToken"}


class FakeAwsSts(FakeAws):
    def __init__(self, options):
        super().__init__(options)
        self.count = 0
        self.forget()

    def forget(self):
        self.lifetime = 900
        self.trusting = {ROLE, ROLE_NEXT}
        self.given = {}
        self.spoiled = {}
        self.assumed = []
        self.multi = False
        self.sessions = set()
        self.count = 0

    def _authenticate(self, request, service="kms"):
        super()._authenticate(request, service)
        access = request.headers["authorization"].split("Credential=")[1].split("/")[0]
        if time.time() >= self.given.get(access, time.time() + 1):
            raise Refused("ExpiredTokenException", "The security token has expired")

    def _region_of(self, request):
        return request.headers["authorization"].split("/")[2] if self.multi else REGION

    def _act(self, act, body):
        if not self.multi or act in self.state.denied:
            return super()._act(act, body)
        return {"KeyId": body["KeyId"], "Plaintext": base64.b64encode(bytes(32)).decode()}

    def _give(self, seconds):
        self.count += 1
        access, secret, token = (f"{name}{self.count}" for name in
                                 ("ASIATEMP", "temporary/secret", "temporary-token"))
        self.state.credentials[access] = (secret, token)
        ends = int(time.time()) + seconds
        self.given[access] = ends
        made = {"AccessKeyId": access, "SecretAccessKey": secret, "Token": token,
                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))}
        made.update(self.spoiled)
        return {name: value for name, value in made.items() if value is not None}

    # ---- STS ----

    def _assume(self, request):
        pairs = urllib.parse.parse_qsl(request.body.decode("ascii"), strict_parsing=True,
                                       keep_blank_values=True)
        form = dict(pairs)
        if len(form) != len(pairs) or set(form) - PARAMETERS or form["Version"] != "2011-06-15":
            raise Refused("ValidationError", "parameters")
        self.assumed.append(form)
        if not 900 <= int(form["DurationSeconds"]) <= 43200 or not form["RoleSessionName"]:
            raise Refused("ValidationError", "DurationSeconds")
        by_web = form["Action"] == "AssumeRoleWithWebIdentity"
        if by_web and "authorization" in request.headers:
            raise Refused("ValidationError", "it must not be signed")
        if by_web and form["WebIdentityToken"] != WEB_TOKEN:
            raise Refused("InvalidIdentityToken", "something new")
        if not by_web:
            if form["Action"] != "AssumeRole" or "WebIdentityToken" in form:
                raise Refused("InvalidAction", "Action")
            self._authenticate(request, "sts")
        named = form.get("ExternalId") == EXTERNAL_ID or by_web or form["RoleArn"] != ROLE
        if form["RoleArn"] not in self.trusting or not named:
            raise Refused("AccessDenied", "something new", 403)
        made = self._give(min(self.lifetime, int(form["DurationSeconds"])))
        made["SessionToken"] = made.pop("Token", "")
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in made.items())
        action = form["Action"]
        return (f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
                f"<{action}Result><Credentials>{inner}</Credentials></{action}Result>"
                f"</{action}Response>")

    def _sts(self, request):
        headers = {"Content-Type": "text/xml", "x-amzn-RequestId": "sts-1"}
        try:
            return 200, headers, self._assume(request).encode()
        except (KeyError, ValueError) as error:
            refused = Refused("ValidationError", repr(error))
        except Refused as caught:
            refused = caught
        code = XML_CODES.get(refused.code, refused.code)
        text = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"
        return refused.status, headers, text.encode()

    # ---- metadata ----

    def _container(self, request):
        if request.headers.get("authorization") != CONTAINER_TOKEN:
            return 401, {}, b"{}"
        return 200, {}, json.dumps(self._give(self.lifetime)).encode()

    def _instance(self, request):
        if request.path == "/latest/api/token":
            seconds = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
            if request.method != "PUT" or not seconds.isdigit() or int(seconds) > 21600:
                return 400, {}, b""
            self.sessions.add(f"session-{len(self.sessions)}==")
            return 200, {}, f"session-{len(self.sessions) - 1}==".encode()
        if request.headers.get("x-aws-ec2-metadata-token") not in self.sessions:
            return 401, {}, b""
        if request.path == CREDENTIALS:
            return 200, {}, INSTANCE_ROLE.encode()
        if request.path != CREDENTIALS + INSTANCE_ROLE:
            return 404, {}, b""
        return 200, {}, json.dumps({"Code": "Success", "Type": "AWS-HMAC",
                                    **self._give(self.lifetime)}).encode()

    def handle(self, request):
        if request.path == "/container":
            return self._container(request)
        if request.path.startswith("/latest/"):
            return self._instance(request)
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return self._sts(request)
        return super().handle(request)

    # ---- control ----

    def control_restore(self, command):
        super().control_restore(command)
        self.forget()

    def control_lifetime(self, command):
        self.lifetime = command["seconds"]

    def control_trust(self, command):
        self.trusting = {command["arn"]}

    def control_given(self, _command):
        return {"given": self.count}

    def control_forget(self, _command):
        for access in self.given:
            self.state.credentials.pop(access, None)

    def control_spoil(self, command):
        self.spoiled[command["member"]] = command["value"]

    def control_multi(self, _command):
        self.multi = True

    def control_assumed(self, _command):
        return {"roles": self.assumed}
