"""AWS KMS with the stores of parameters beside it: Systems Manager and Secrets Manager.

    fake_service.py --handler fake_aws_stores:FakeAwsStores

Beside fake_aws.py's: GetParameter of Systems Manager, GetSecretValue of Secrets Manager, each
signed for its own service. Members and names that the real services do not take are refused. A
SecureString that is asked for without decryption is not its value.

    {"do": "handler", "what": "parameter", "name": N, "value": V, "type": T}  a new version
    {"do": "handler", "what": "secret", "name": N, "text": V | "bytes": base64}
    {"do": "handler", "what": "drop", "name": N}     the parameter, or the secret at once
    {"do": "handler", "what": "mark", "name": N}     the secret is marked for deletion
    {"do": "handler", "what": "empty", "name": N}    the secret has no value yet
    {"do": "handler", "what": "protect", "code": C, "message": M}  the KMS key of the values does
                                                     not serve, which the store tells so
    {"do": "handler", "what": "region", "region": R} that all of it stands in
"deny" takes GetParameter and GetSecretValue too, "alter" the members of a parameter or secret.
"""
import base64
import json
import re
import time

from fake_aws import REGION, FakeAws, Refused

ACCOUNT = "111122223333"
ID_OF_VERSION = "a1b2c3d4-5678-90ab-cdef-EXAMPLE11111"
SERVICES = {"TrentService": "kms", "AmazonSSM": "ssm", "secretsmanager": "secretsmanager"}


class FakeAwsStores(FakeAws):
    def __init__(self, options):
        super().__init__(options)
        self.state.parameters = {}
        self.state.secrets = {}
        self.state.protection = None
        self.state.region = REGION
        self.control_save(None)

    def _region_of(self, _request):
        return self.state.region

    def _answer(self, request):
        prefix, _, act = request.headers.get("x-amz-target", "").partition(".")
        if SERVICES.get(prefix, "kms") == "kms":
            return super()._answer(request)
        self._authenticate(request, SERVICES[prefix])
        if (prefix, act) not in (("AmazonSSM", "GetParameter"),
                                 ("secretsmanager", "GetSecretValue")) or \
                request.headers.get("content-type") != "application/x-amz-json-1.1":
            raise Refused("UnknownOperationException")
        if act in self.state.denied:
            raise Refused("AccessDeniedException", "User: arn:aws:iam::111122223333:user/x is not "
                          f"authorized to perform: {SERVICES[prefix]}:{act} on resource: x because "
                          "no identity-based policy allows the action")
        self.last = json.loads(request.body)
        return self._parameter() if act == "GetParameter" else self._secret()

    def _members(self, known, needed):
        for name in self.last:
            if name not in known:
                raise Refused("SerializationException", f"Unexpected member {name}")
        if not isinstance(self.last.get(needed), str):
            raise Refused("ValidationException", f"Value null at '{needed}' failed to satisfy")

    def _protected(self):
        if self.state.protection is not None:
            raise Refused(*self.state.protection)

    def _altered(self, answer):
        answer.update(self.state.alterations)
        return {name: value for name, value in answer.items() if value is not None}

    # ---- Systems Manager ----

    def _parameter(self):
        self._members({"Name", "WithDecryption"}, "Name")
        name = self.last["Name"]
        prefix = f"arn:aws:ssm:{self.state.region}:{ACCOUNT}:parameter"
        bare, _, selector = name.removeprefix(prefix).partition(":")
        if not re.fullmatch(r"[a-zA-Z0-9_.\-/]+", bare):
            raise Refused("ValidationException", "Invalid parameter name.")
        if name.startswith("arn:") and bare not in self.state.parameters:
            bare = bare[1:]
        versions = self.state.parameters.get(bare)
        if versions is None:
            raise Refused("ParameterNotFound")
        number = int(selector or len(versions))
        if not 1 <= number <= len(versions):
            raise Refused("ParameterVersionNotFound", f"Systems Manager could not find version "
                          f"{number} of {bare}.")
        value, kind = versions[number - 1]
        if kind == "SecureString":
            if self.last.get("WithDecryption") is True:
                self._protected()
            else:
                value = "AQICAHencryptedbyit"
        arn = prefix + (bare if bare.startswith("/") else "/" + bare)
        answer = {"Name": bare, "Type": kind, "Value": value, "Version": number, "ARN": arn,
                  "LastModifiedDate": time.time(), "DataType": "text"}
        if selector:
            answer["Selector"] = ":" + selector
        return {"Parameter": self._altered(answer)}

    # ---- Secrets Manager ----

    def _secret_of(self, wanted):
        for secret in self.state.secrets.values():
            if wanted in (secret["Name"], secret["ARN"], secret["ARN"][:-7]):
                return secret
        raise Refused("ResourceNotFoundException", "Secrets Manager can't find the specified "
                      "secret.")

    def _secret(self):
        self._members({"SecretId", "VersionId", "VersionStage"}, "SecretId")
        if not re.fullmatch(r"[a-zA-Z0-9/_+=.@:-]{1,2048}", self.last["SecretId"]):
            raise Refused("ValidationException", "Invalid name. Must be a valid name containing "
                          "alphanumeric characters, or any of the following: -/_+=.@!")
        answer = dict(self._secret_of(self.last["SecretId"]))
        if answer.pop("marked", False):
            raise Refused("InvalidRequestException", "You can't perform this operation on the "
                          "secret because it was marked for deletion.")
        if answer.pop("empty", False):
            raise Refused("ResourceNotFoundException", "Secrets Manager can't find the specified "
                          "secret value for staging label: AWSCURRENT")
        self._protected()
        return self._altered(answer | {"VersionId": ID_OF_VERSION, "CreatedDate": time.time(),
                                       "VersionStages": ["AWSCURRENT"]})

    # ---- control ----

    def control_parameter(self, command):
        versions = self.state.parameters.setdefault(command["name"], [])
        versions.append((command["value"], command.get("type", "SecureString")))

    def control_secret(self, command):
        name = command["name"]
        secret = {"Name": name, "ARN": f"arn:aws:secretsmanager:{self.state.region}:{ACCOUNT}:"
                                       f"secret:{name}-a1B2c3"}
        if "text" in command:
            secret["SecretString"] = command["text"]
        else:
            secret["SecretBinary"] = base64.b64encode(
                base64.b64decode(command["bytes"], validate=True)).decode()
        self.state.secrets[name] = secret

    def control_drop(self, command):
        self.state.parameters.pop(command["name"], None)
        self.state.secrets.pop(command["name"], None)

    def control_mark(self, command):
        self.state.secrets[command["name"]]["marked"] = True

    def control_empty(self, command):
        self.state.secrets[command["name"]]["empty"] = True

    def control_protect(self, command):
        self.state.protection = (command["code"], command["message"])

    def control_region(self, command):
        self.state.region = command["region"]
