"""AWS KMS for fake_service.py, as far as the tests need it, with the error codes of the real one.

    fake_service.py --handler fake_aws:FakeAws

It begins with one key, the alias `alias/index-keys` for it, and two sets of credentials: the
permanent AKIDGOOD with the secret good/secret+, and the temporary ASIAGOOD with the secret
other/secret+ and the session token good-session-token. It checks SigV4 fully: signature, Region,
service, and that the date is within five minutes. Its encryption is not one that anybody should
use: it only notices each change of ciphertext, context and key.

    {"do": "handler", "what": "save"}              what "restore" goes back to
    {"do": "handler", "what": "restore"}
    {"do": "handler", "what": "clock", "ahead": S} what its signatures are checked against
    {"do": "handler", "what": "xml"}               refuses who calls in XML, as moto does
    {"do": "handler", "what": "state", "state": S} Enabled, Disabled, PendingDeletion,
                                                   PendingImport, Unavailable, Odd
    {"do": "handler", "what": "metadata", "metadata": {…}}   of what DescribeKey answers
    {"do": "handler", "what": "rotation", "rotation": {…}}   of what GetKeyRotationStatus answers
    {"do": "handler", "what": "deny", "act": A}    Decrypt, Encrypt, GenerateDataKey, ReEncrypt,
                                                   DescribeKey, GetKeyRotationStatus
    {"do": "handler", "what": "delete_key"}
    {"do": "handler", "what": "move_alias"}        to a new key; the old one stays
    {"do": "handler", "what": "add", "file": F}    the credentials of a credentials file's [default]
    {"do": "handler", "what": "revoke", "access": A}
    {"do": "handler", "what": "expire", "access": A}
    {"do": "handler", "what": "alter", "member": M, "value": V}  of all later replies; null
                                                   drops it
    {"do": "handler", "what": "encrypt", "count": N}   {"ciphertexts": [of 32 random bytes each]}
    {"do": "handler", "what": "last"}              {"request": the JSON that came last}
"""
import base64
import binascii
import calendar
import configparser
import copy
import hashlib
import hmac
import json
import os
import time

REGION = "eu-central-1"
ARN = "arn:aws:kms:eu-central-1:111122223333:"
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
ALIAS = "alias/index-keys"
PREFIX = b"\x01\x02\x02\x00"
ID_LEN = 36
NONCE_LEN = 12
TAG_LEN = 16
SKEW_MAX = 300
ACTS = ("Decrypt", "Encrypt", "GenerateDataKey", "ReEncrypt", "DescribeKey",
        "GetKeyRotationStatus")
STATES = {
    "Disabled": ("DisabledException", "is disabled."),
    "PendingDeletion": ("KMSInvalidStateException", "is pending deletion."),
    "PendingImport": ("KMSInvalidStateException", "is pending import."),
    "Unavailable": ("KMSInvalidStateException", "is unavailable."),
    "Odd": ("KMSInvalidStateException", "is in no state to speak of."),
}


class Refused(Exception):
    def __init__(self, code, message="", status=400):
        super().__init__(code, message, status)
        self.code = code
        self.message = message
        self.status = status


def hmac_of(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Signature:
    """What the Authorization header claims, and what it ought to be."""

    def __init__(self, request):
        text = request.headers.get("authorization", "")
        if not text.startswith("AWS4-HMAC-SHA256 "):
            raise Refused("MissingAuthenticationTokenException", "Request is missing it")
        fields = dict(field.strip().split("=", 1) for field in text.partition(" ")[2].split(","))
        self.access, self.day, self.region, self.service, _ = fields["Credential"].split("/")
        self.names = fields["SignedHeaders"].split(";")
        self.claimed = fields["Signature"]
        self.date = request.headers["x-amz-date"]

    def expected(self, request, secret):
        headers = "".join(f"{name}:{request.headers[name]}\n" for name in self.names)
        canonical = "\n".join([request.method, request.path, request.query, headers,
                               ";".join(self.names), hashlib.sha256(request.body).hexdigest()])
        scope = f"{self.day}/{self.region}/{self.service}/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = ("AWS4" + secret).encode()
        for part in scope.split("/"):
            key = hmac_of(key, part)
        return hmac_of(key, f"AWS4-HMAC-SHA256\n{self.date}\n{scope}\n{digest}").hex()

    def seconds(self):
        return calendar.timegm(time.strptime(self.date, "%Y%m%dT%H%M%SZ"))


class Key:
    def __init__(self, key_id):
        self.id = key_id
        self.arn = ARN + "key/" + key_id
        self.state = "Enabled"
        self.secret = os.urandom(32)
        self.metadata = {}
        self.rotation = {}

    def describe(self):
        metadata = {"AWSAccountId": "111122223333", "KeyId": self.id, "Arn": self.arn,
                    "CreationDate": 1.7E9, "Enabled": self.state == "Enabled", "Description": "",
                    "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": self.state, "Origin": "AWS_KMS",
                    "KeyManager": "CUSTOMER", "KeySpec": "SYMMETRIC_DEFAULT",
                    "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"], "MultiRegion": False}
        if self.state == "PendingDeletion":
            metadata["DeletionDate"] = 1803859200.123
        return {"KeyMetadata": {**metadata, **self.metadata}}

    def rotation_status(self):
        return {"KeyId": self.arn, "KeyRotationEnabled": False, **self.rotation}

    def _tag(self, nonce, data, context):
        bound = json.dumps(context, sort_keys=True).encode()
        message = len(bound).to_bytes(8, "big") + bound + nonce + data
        return hmac.new(self.secret, message, hashlib.sha256).digest()[:TAG_LEN]

    def _mix(self, nonce, data):
        stream = hashlib.shake_256(self.secret + nonce).digest(len(data))
        return bytes(a ^ b for a, b in zip(data, stream))

    def encrypt(self, plaintext, context):
        nonce = os.urandom(NONCE_LEN)
        data = self._mix(nonce, plaintext)
        return PREFIX + self.id.encode() + nonce + data + self._tag(nonce, data, context)

    def decrypt(self, blob, context):
        nonce, data, tag = blob[:NONCE_LEN], blob[NONCE_LEN:-TAG_LEN], blob[-TAG_LEN:]
        if not hmac.compare_digest(tag, self._tag(nonce, data, context)):
            raise Refused("InvalidCiphertextException")
        return self._mix(nonce, data)


class State:
    def __init__(self):
        self.keys = {KEY_ID: Key(KEY_ID)}
        self.alias = KEY_ID
        self.credentials = {"AKIDGOOD": ("good/secret+", ""),
                            "ASIAGOOD": ("other/secret+", "good-session-token")}
        self.expired = set()
        self.denied = set()
        self.alterations = {}
        self.ahead = 0
        self.xml = False


class FakeAws:
    def __init__(self, _options):
        self.state = State()
        self.saved = copy.deepcopy(self.state)
        self.last = {}

    # ---- who calls ----

    def _authenticate(self, request, service="kms"):
        signature = Signature(request)
        known = self.state.credentials.get(signature.access)
        token = request.headers.get("x-amz-security-token", "")
        if known is None or known[1] != token:
            raise self._refuse_caller("UnrecognizedClientException", "InvalidClientTokenId",
                                      "The security token included in the request is invalid.")
        if signature.access in self.state.expired:
            raise Refused("ExpiredTokenException",
                          "The security token included in the request is expired")
        if signature.region != self._region_of(request) or signature.service != service:
            raise Refused("InvalidSignatureException",
                          f"Credential should be scoped to a valid region, not '{REGION}'.")
        for name in ("host", "x-amz-date", "x-amz-target", "x-amz-security-token"):
            if name in request.headers and name not in signature.names:
                raise Refused("InvalidSignatureException", f"'{name}' must be signed.")
        if not hmac.compare_digest(signature.claimed, signature.expected(request, known[0])):
            raise self._refuse_caller("InvalidSignatureException", "SignatureDoesNotMatch",
                                      "The request signature we calculated does not match.")
        if abs(signature.seconds() - time.time() - self.state.ahead) > SKEW_MAX:
            raise Refused("InvalidSignatureException", "Signature expired.")

    def _region_of(self, _request):
        """The Region that this endpoint stands in."""
        return REGION

    def _refuse_caller(self, code, xml_code, message):
        if self.state.xml:
            return Refused(xml_code, message, 403)
        return Refused(code, message)

    # ---- what is called ----

    def _find_key(self, name):
        resource = name.removeprefix(ARN)
        key_id = self.state.alias if resource == ALIAS else resource.removeprefix("key/")
        if key_id not in self.state.keys:
            raise Refused("NotFoundException", f"Key '{name}' does not exist")
        return self.state.keys[key_id]

    def _key_of(self, name):
        key = self._find_key(name)
        if key.state != "Enabled":
            code, text = STATES[key.state]
            raise Refused(code, f"{key.arn} {text}")
        return key

    def _decrypt(self, key, text, context):
        blob = base64.b64decode(text, validate=True)
        if not blob.startswith(PREFIX):
            raise Refused("InvalidCiphertextException")
        if blob[len(PREFIX):][:ID_LEN] != key.id.encode():
            raise Refused("IncorrectKeyException", "The key ID in the request does not "
                          "identify a CMK that can perform this operation.")
        return key.decrypt(blob[len(PREFIX) + ID_LEN:], context)

    def _re_encrypt(self, body):
        source = self._key_of(body["SourceKeyId"])
        destination = self._key_of(body["DestinationKeyId"])
        plaintext = self._decrypt(source, body["CiphertextBlob"],
                                  body.get("SourceEncryptionContext", {}))
        blob = destination.encrypt(plaintext, body.get("DestinationEncryptionContext", {}))
        return {"KeyId": destination.arn, "SourceKeyId": source.arn,
                "CiphertextBlob": base64.b64encode(blob).decode(),
                "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
                "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT"}

    def _act(self, act, body):
        if act in self.state.denied:
            raise Refused("AccessDeniedException", f"User is not authorized to perform: kms:{act}")
        if act == "ReEncrypt":
            return self._re_encrypt(body)
        if act == "DescribeKey":
            return self._find_key(body["KeyId"]).describe()
        if act == "GetKeyRotationStatus":
            if body["KeyId"].removeprefix(ARN).startswith("alias/"):
                raise Refused("NotFoundException", "Invalid keyId")
            return self._find_key(body["KeyId"]).rotation_status()
        key = self._key_of(body["KeyId"])
        context = body.get("EncryptionContext", {})
        answer = {"KeyId": key.arn}
        if act == "Decrypt":
            plaintext = self._decrypt(key, body["CiphertextBlob"], context)
            answer["EncryptionAlgorithm"] = "SYMMETRIC_DEFAULT"
        elif act == "Encrypt":
            plaintext = base64.b64decode(body["Plaintext"], validate=True)
        else:
            plaintext = os.urandom({"AES_256": 32, "AES_128": 16}[body["KeySpec"]])
        if act != "Encrypt":
            answer["Plaintext"] = base64.b64encode(plaintext).decode()
        if act != "Decrypt":
            blob = key.encrypt(plaintext, context)
            answer["CiphertextBlob"] = base64.b64encode(blob).decode()
        return answer

    def _answer(self, request):
        self._authenticate(request)
        service, _, act = request.headers.get("x-amz-target", "").partition(".")
        if service != "TrentService" or act not in ACTS:
            raise Refused("UnknownOperationException")
        if request.headers.get("content-type") != "application/x-amz-json-1.1":
            raise Refused("UnknownOperationException")
        try:
            self.last = json.loads(request.body)
            answer = self._act(act, self.last)
        except (KeyError, ValueError, binascii.Error) as error:
            raise Refused("ValidationException", repr(error)) from None
        answer.update(self.state.alterations)
        return {name: value for name, value in answer.items() if value is not None}

    def handle(self, request):
        headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": "5f3c-9a"}
        try:
            return 200, headers, json.dumps(self._answer(request)).encode()
        except Refused as refused:
            return self._refusal(refused, headers)

    def throttled(self):
        refused = Refused("ThrottlingException", "You have exceeded the rate at which you may call "
                          "KMS. Reduce the frequency of your calls.")
        return self._refusal(refused, {"Content-Type": "application/x-amz-json-1.1"})

    def _refusal(self, refused, headers):
        if refused.status == 403:
            headers["Content-Type"] = "text/xml"
            text = (f"<ErrorResponse><Error><Type>Sender</Type><Code>{refused.code}</Code>"
                    f"<Message>{refused.message}</Message></Error></ErrorResponse>")
        else:
            text = json.dumps({"__type": refused.code, "message": refused.message})
        return refused.status, headers, text.encode()

    # ---- control ----

    def control(self, command):
        return getattr(self, "control_" + command["what"])(command) or {}

    def control_save(self, _command):
        self.saved = copy.deepcopy(self.state)

    def control_restore(self, _command):
        self.state = copy.deepcopy(self.saved)

    def control_clock(self, command):
        self.state.ahead = command["ahead"]

    def control_xml(self, _command):
        self.state.xml = True

    def control_state(self, command):
        self.state.keys[KEY_ID].state = command["state"]

    def control_metadata(self, command):
        self.state.keys[KEY_ID].metadata = command["metadata"]

    def control_rotation(self, command):
        self.state.keys[KEY_ID].rotation = command["rotation"]

    def control_deny(self, command):
        self.state.denied.add(command["act"])

    def control_delete_key(self, _command):
        del self.state.keys[KEY_ID]

    def control_move_alias(self, _command):
        self.state.alias = "9876fedc-12ab-34cd-56ef-1234567890ab"
        self.state.keys[self.state.alias] = Key(self.state.alias)

    def control_add(self, command):
        parser = configparser.ConfigParser(interpolation=None)
        with open(command["file"], encoding="ascii") as file:
            parser.read_file(file)
        profile = parser["default"]
        self.state.credentials[profile["aws_access_key_id"]] = (
            profile["aws_secret_access_key"], profile.get("aws_session_token", ""))

    def control_revoke(self, command):
        del self.state.credentials[command["access"]]

    def control_expire(self, command):
        self.state.expired.add(command["access"])

    def control_alter(self, command):
        self.state.alterations[command["member"]] = command["value"]

    def control_encrypt(self, command):
        key = self.state.keys[KEY_ID]
        blobs = [key.encrypt(os.urandom(32), {}) for _ in range(command["count"])]
        return {"ciphertexts": [base64.b64encode(blob).decode() for blob in blobs]}

    def control_last(self, _command):
        return {"request": self.last}
