#!/usr/bin/env python3
"""AWS's own client against the fake stores of parameters (fake_aws_stores.py), so that the fake is
not merely the mirror of our code: what it signs is taken, what it asks for is answered as it
expects, and refusals are the exceptions that the services' models name.

    aws.sh run python3 aws_client.py
"""
import json
import os
import pathlib
import subprocess
import sys

import botocore.config
import botocore.session
from botocore.exceptions import ClientError

HERE = pathlib.Path(__file__).resolve().parent
REGION = "eu-central-1"
passed = 0


class Fake:
    """A process of fake_service.py, which ends with this one."""

    def __init__(self):
        command = [sys.executable, str(HERE / "fake_service.py"), "--handler",
                   "fake_aws_stores:FakeAwsStores"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.url = f"http://127.0.0.1:{json.loads(self.process.stdout.readline())['port']}"

    def handler(self, what, **members):
        self.process.stdin.write(json.dumps({"do": "handler", "what": what} | members) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def client(self, service, secret="good/secret+", region=REGION):
        return botocore.session.Session().create_client(
            service, region_name=region, endpoint_url=self.url, aws_access_key_id="AKIDGOOD",
            aws_secret_access_key=secret,
            config=botocore.config.Config(retries={"total_max_attempts": 1}))


def case(name, good):
    global passed
    if not good:
        sys.exit(f"aws_client.py: wrong: {name}")
    passed += 1


def refused(name, client, error, call):
    try:
        call()
    except ClientError as refusal:
        code = refusal.response["Error"]["Code"]
        # Only what the service's model has is a class of its own.
        modelled = getattr(client.exceptions, error, ClientError)
        case(f"{name}: {refusal}", code == error and isinstance(refusal, modelled))
        return
    sys.exit(f"aws_client.py: not refused: {name}")


def try_parameters(fake):
    client = fake.client("ssm")

    def get(name, **members):
        return client.get_parameter(Name=name, **members)["Parameter"]

    refused("no parameter", client, "ParameterNotFound", lambda: get("/index/key"))
    fake.handler("parameter", name="/index/key", value="first")
    fake.handler("parameter", name="/index/key", value="second")
    told = get("/index/key", WithDecryption=True)
    case("parameter", (told["Name"], told["Value"], told["Type"], told["Version"]) ==
         ("/index/key", "second", "SecureString", 2))
    case("not decrypted", get("/index/key")["Value"] not in ("first", "second"))
    case("version", get("/index/key:1", WithDecryption=True)["Value"] == "first")
    case("ARN", get(told["ARN"], WithDecryption=True)["Value"] == "second")
    refused("no version", client, "ParameterVersionNotFound", lambda: get("/index/key:3"))
    refused("a name that is none", client, "ValidationException", lambda: get("a b"))
    fake.handler("protect", code="InvalidKeyId", message="k is disabled")
    refused("disabled key", client, "InvalidKeyId", lambda: get("/index/key", WithDecryption=True))
    fake.handler("deny", act="GetParameter")
    refused("denied", client, "AccessDeniedException", lambda: get("/index/key"))
    fake.handler("restore")


def try_secrets(fake):
    client = fake.client("secretsmanager")

    def get(name):
        return client.get_secret_value(SecretId=name)

    refused("no secret", client, "ResourceNotFoundException", lambda: get("index/key"))
    fake.handler("secret", name="index/key", text="text")
    fake.handler("secret", name="bytes", bytes="AQIC")
    told = get("index/key")
    case("secret", (told["Name"], told["SecretString"]) == ("index/key", "text"))
    case("ARN", get(told["ARN"])["SecretString"] == "text")
    case("ARN without its end", get(told["ARN"][:-7])["Name"] == "index/key")
    case("bytes", get("bytes")["SecretBinary"] == b"\1\2\2")
    fake.handler("mark", name="bytes")
    refused("marked", client, "InvalidRequestException", lambda: get("bytes"))
    fake.handler("empty", name="index/key")
    refused("empty", client, "ResourceNotFoundException", lambda: get("index/key"))
    fake.handler("restore")
    fake.handler("secret", name="index/key", text="text")
    fake.handler("protect", code="DecryptionFailure", message="x")
    refused("disabled key", client, "DecryptionFailure", lambda: get("index/key"))
    fake.handler("deny", act="GetSecretValue")
    refused("denied", client, "AccessDeniedException", lambda: get("index/key"))
    fake.handler("restore")


def try_signatures(fake):
    for service, call in (("ssm", lambda client: client.get_parameter(Name="x")),
                          ("secretsmanager", lambda client: client.get_secret_value(SecretId="x"))):
        wrong = fake.client(service, secret="wrong/secret+")
        refused("wrong secret", wrong, "InvalidSignatureException", lambda c=wrong, f=call: f(c))
        away = fake.client(service, region="us-east-1")
        refused("wrong Region", away, "InvalidSignatureException", lambda c=away, f=call: f(c))


def main():
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["NO_PROXY"] = "*"
    fake = Fake()
    fake.handler("save")
    try_parameters(fake)
    try_secrets(fake)
    try_signatures(fake)
    print(f"{passed} checks of the fake stores by botocore {botocore.__version__}: ok")


if __name__ == "__main__":
    main()
